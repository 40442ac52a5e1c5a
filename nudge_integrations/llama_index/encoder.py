"""Encoders as LlamaIndex embedding models, embedding models as encoders, and fingerprints of both."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field
from numpy.typing import NDArray

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import as_rows
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError

__all__ = ["EncoderEmbedding", "LlamaIndexEncoder", "as_embedding", "as_encoder", "check_model", "fingerprint_of"]

# Prefixes of the fingerprints that are composed for the models of a framework.
_FRAMEWORKS = ("llama_index:", "langchain:")

# Settings that decide a model's vectors, by a part of their name. Others (keys, devices, folders, batch sizes) must not
# count: a nudge would be refused on another machine.
_DECISIVE = ("model", "instruction", "prompt", "prefix", "dimension", "max_length", "normalize", "pooling", "task")
_DECISIVE_NAMES = frozenset(
    {"input_type", "embed_dim", "truncate", "truncate_dim", "embedding_type", "mode", "revision"}
)
# Named like a setting of the model, but about running it.
_INCIDENTAL = frozenset({"model_kwargs"})


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
        vectors = self.embed_model.get_text_embedding_batch(list(texts))
        return as_rows(vectors, "document vectors")

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed m queries as (m, d) float32."""
        return as_rows([self.embed_model.get_query_embedding(text) for text in texts], "query vectors")


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

    It is the model's own ``fingerprint`` if it has one, else its class, its name and the settings that decide vectors,
    such as instructions and dimensions. Two models that this does not distinguish are distinguished by their vectors,
    when documents that moved are embedded again.
    """
    own = getattr(embed_model, "fingerprint", None)
    if isinstance(own, str) and own:
        return own
    settings = {
        name: value
        for name, value in embed_model.to_dict().items()
        if name not in _INCIDENTAL and (name in _DECISIVE_NAMES or any(part in name for part in _DECISIVE))
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]
    return f"llama_index:{embed_model.class_name()}:{embed_model.model_name}:{digest}"


def check_model(embed_model: BaseEmbedding, nudge: Nudge) -> None:
    """Refuse a model that a nudge was not made with, as far as fingerprints of one kind can tell.

    A nudge that was made through another framework, or with an encoder of its own, is checked by its vectors later.

    Raises:
        MismatchError: If the fingerprints differ.
    """
    given = fingerprint_of(embed_model)
    if _kind(given) == _kind(nudge.encoder):
        nudge.check_encoder(given)


def _kind(fingerprint: str) -> str:
    return next((framework for framework in _FRAMEWORKS if fingerprint.startswith(framework)), "")


def _neither(model: object) -> str:
    return (
        f"got {model!r}, expected a LlamaIndex embedding model or an encoder; "
        "resolve_embed_model() of llama_index.core makes one from a name"
    )


def _lists(vectors: NDArray[np.float32]) -> list[list[float]]:
    rows: list[list[float]] = np.asarray(vectors, dtype=np.float32).tolist()
    return rows
