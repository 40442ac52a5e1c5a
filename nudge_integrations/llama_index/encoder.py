"""Encoders as LlamaIndex embedding models, embedding models as encoders, and fingerprints of both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field
from numpy.typing import NDArray

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus.texts import whole
from nudge_integrations.encoding import Encoder
from nudge_integrations.encoding.encoder import checked_vectors
from nudge_integrations.encoding.identity import known_to_differ, settings_fingerprint
from nudge_integrations.errors import InputError

__all__ = [
    "EncoderEmbedding",
    "LlamaIndexEncoder",
    "as_embedding",
    "as_encoder",
    "check_model",
    "fingerprint_of",
    "pickled",
]


class EncoderEmbedding(BaseEmbedding):
    """An encoder as a LlamaIndex embedding model, made by `as_embedding`.

    Args:
        encoder: The encoder.
        embed_batch_size: How many texts the framework hands over at once; the encoder has batches of its own.
        **kwargs: Other fields of ``BaseEmbedding``.
    """

    encoder: Encoder = Field(exclude=True)
    fingerprint: str = ""

    def __init__(self, encoder: Encoder, *, embed_batch_size: int = 512, **kwargs: Any) -> None:
        fields: dict[str, Any] = {
            "encoder": encoder,
            "fingerprint": encoder.fingerprint,
            "model_name": encoder.fingerprint,
            "embed_batch_size": embed_batch_size,
        }
        super().__init__(**{**fields, **kwargs})

    @classmethod
    def class_name(cls) -> str:
        """Name the class, as the framework wants it."""
        return "EncoderEmbedding"

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return pickled(self, "encoder")

    def _get_query_embedding(self, query: str) -> list[float]:
        return _lists(self.encoder.encode_queries([query]))[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return _lists(self.encoder.encode_documents(texts))

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


@dataclass(frozen=True)
class LlamaIndexEncoder:
    """A LlamaIndex embedding model as an encoder: texts in batches, queries one by one through the query path.

    Args:
        embed_model: The embedding model.
    """

    embed_model: BaseEmbedding

    @property
    def fingerprint(self) -> str:
        """The model's name, settings and class, as `fingerprint_of` reads them."""
        return fingerprint_of(self.embed_model)

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts as (n, d) float32."""
        return checked_vectors(self.embed_model.get_text_embedding_batch([whole(text) for text in texts]), texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed m queries as (m, d) float32."""
        return checked_vectors([self.embed_model.get_query_embedding(whole(text)) for text in texts], texts)


def as_encoder(embedding: BaseEmbedding | Encoder) -> Encoder:
    """Return a LlamaIndex embedding model as an encoder, for ``fit`` and whatever else takes one.

    Args:
        embedding: An embedding model. One made by `as_embedding` gives back its encoder, and an encoder is returned
            as it is.

    Raises:
        InputError: If its vectors are nudged, since a fit starts from base vectors; or it is neither of the two.

    >>> nudge = fit(dataset, as_encoder(embed_model))  # doctest: +SKIP
    """
    if isinstance(getattr(embedding, "nudge", None), Nudge):
        raise InputError("this embedding model is nudged; a fit starts from base vectors, so give it the .base")
    if isinstance(embedding, EncoderEmbedding):
        return embedding.encoder
    if isinstance(embedding, BaseEmbedding):
        return LlamaIndexEncoder(embedding)
    if isinstance(embedding, Encoder):
        return embedding
    raise InputError(_neither(embedding))


def as_embedding(encoder: Encoder | BaseEmbedding) -> BaseEmbedding:
    """Return an encoder as a LlamaIndex embedding model, with its own paths for documents and queries.

    Args:
        encoder: An encoder, such as ``SentenceTransformerEncoder``; an embedding model is returned as it is.

    Raises:
        InputError: If it is neither of the two.

    >>> embed_model = as_embedding(SentenceTransformerEncoder("all-MiniLM-L6-v2"))  # doctest: +SKIP
    >>> len(embed_model.get_query_embedding("who purrs?"))  # doctest: +SKIP
    384
    """
    if isinstance(encoder, BaseEmbedding):
        return encoder
    if isinstance(encoder, Encoder):
        return EncoderEmbedding(encoder)
    raise InputError(_neither(encoder))


def fingerprint_of(embed_model: BaseEmbedding) -> str:
    """Return the fingerprint of an embedding model, the same in every process.

    It is the model's own ``fingerprint`` if it has one, else composed of its class, its name and the settings that
    decide vectors (see `settings_fingerprint`).
    """
    own = getattr(embed_model, "fingerprint", None)
    if isinstance(own, str) and own:
        return own
    return settings_fingerprint("llama_index", embed_model.class_name(), embed_model.model_name, embed_model.to_dict())


def check_model(embed_model: BaseEmbedding, nudge: Nudge) -> None:
    """Refuse a model that a nudge was not made with, as far as fingerprints can tell; vectors tell the rest later.

    Raises:
        MismatchError: If the fingerprints can be compared and differ.
    """
    given = fingerprint_of(embed_model)
    if known_to_differ(given, nudge.encoder):
        nudge.check_encoder(given)


def _neither(model: object) -> str:
    return (
        f"got {model!r}, expected a LlamaIndex embedding model or an encoder; "
        "resolve_embed_model() of llama_index.core makes one from a name"
    )


def pickled(model: BaseEmbedding, *positional: str) -> tuple[Any, ...]:
    """Return what another process needs to make a model again, for ``__reduce_ex__``.

    The framework's own way takes fields that cannot be pickled out of the model itself, which is of no use after that.

    Args:
        model: The model.
        positional: Names of its attributes that the constructor takes by position. All other fields go by name, but for
            the callbacks, which belong to this process.
    """
    left_out = {*positional, "callback_manager"}
    fields = {name: value for name, value in vars(model).items() if name not in left_out}
    return _rebuilt, (type(model), tuple(getattr(model, name) for name in positional), fields)


def _rebuilt(kind: type[BaseEmbedding], positional: tuple[Any, ...], fields: dict[str, Any]) -> BaseEmbedding:
    return kind(*positional, **fields)


def _lists(vectors: NDArray[np.float32]) -> list[list[float]]:
    rows: list[list[float]] = np.asarray(vectors, dtype=np.float32).tolist()
    return rows
