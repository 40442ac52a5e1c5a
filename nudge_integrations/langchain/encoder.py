"""Encoders as LangChain embeddings, LangChain embeddings as encoders, and fingerprints of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from langchain_core.embeddings import Embeddings

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import as_rows
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EncoderEmbeddings", "LangChainEncoder", "as_embedding", "as_encoder", "check_model"]

# Prefixes of the fingerprints that are composed for the models of a framework.
_FRAMEWORKS = ("langchain:", "llama_index:")


class EncoderEmbeddings(Embeddings):
    """An encoder as LangChain embeddings, made by `as_embedding`.

    Args:
        encoder: The encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def __repr__(self) -> str:
        return f"EncoderEmbeddings({self.encoder!r})"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed n documents with the encoder's document prompt: n lists of d floats."""
        rows: list[list[float]] = self.encoder.encode_documents(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Embed a query with the encoder's query prompt: d floats."""
        row: list[float] = self.encoder.encode_queries([text])[0].tolist()
        return row


class LangChainEncoder:
    """LangChain embeddings as an encoder: texts in one call, queries one by one through the query path.

    Args:
        embedding: The embeddings.
    """

    def __init__(self, embedding: Embeddings) -> None:
        self.embedding = embedding

    @property
    def fingerprint(self) -> str:
        """The embeddings' own ``fingerprint`` if they have one, else their class and the name of their model."""
        given = getattr(self.embedding, "fingerprint", None)
        if isinstance(given, str):
            return given
        kind = type(self.embedding)
        names = (getattr(self.embedding, name, None) for name in ("model", "model_name", "model_id", "deployment"))
        name = next((name for name in names if isinstance(name, str)), "")
        return f"langchain:{kind.__module__}.{kind.__qualname__}:{name}"

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts as (n, d) float32, in one call that the embeddings may cut into batches."""
        return as_rows(self.embedding.embed_documents(list(texts)), "document vectors")

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed m queries as (m, d) float32, one by one, since LangChain has no batch of queries."""
        return as_rows([self.embedding.embed_query(text) for text in texts], "query vectors")


def as_encoder(embedding: Embeddings | Encoder) -> Encoder:
    """Return LangChain embeddings as an encoder, for ``fit`` and whatever else takes one.

    Args:
        embedding: The embeddings. Those made by `as_embedding` give back their encoder, and an encoder is returned as
            it is.

    Raises:
        InputError: If their vectors are nudged, since a fit starts from base vectors; or it is neither of the two.

    >>> nudge = fit(dataset, as_encoder(embedding))  # doctest: +SKIP
    """
    if isinstance(getattr(embedding, "nudge", None), Nudge):
        raise InputError("these embeddings are nudged; a fit starts from base vectors, so give it their .base")
    if isinstance(embedding, EncoderEmbeddings):
        return embedding.encoder
    if isinstance(embedding, Embeddings):
        return LangChainEncoder(embedding)
    if isinstance(embedding, Encoder):
        return embedding
    raise InputError(_neither(embedding))


def as_embedding(encoder: Encoder | Embeddings) -> Embeddings:
    """Return an encoder as LangChain embeddings, with its own paths for documents and queries.

    Args:
        encoder: An encoder, such as ``SentenceTransformerEncoder``; embeddings are returned as they are.

    Raises:
        InputError: If it is neither of the two.

    >>> embedding = as_embedding(SentenceTransformerEncoder("all-MiniLM-L6-v2"))  # doctest: +SKIP
    >>> len(embedding.embed_query("who purrs?"))  # doctest: +SKIP
    384
    """
    if isinstance(encoder, Embeddings):
        return encoder
    if isinstance(encoder, Encoder):
        return EncoderEmbeddings(encoder)
    raise InputError(_neither(encoder))


def check_model(embedding: Embeddings, nudge: Nudge) -> None:
    """Refuse an encoder that a nudge was not made with.

    A framework's embeddings have no fingerprint of their weights; they are checked by the vectors that they give.

    Raises:
        MismatchError: If the fingerprints differ.
    """
    if isinstance(embedding, EncoderEmbeddings) and not nudge.encoder.startswith(_FRAMEWORKS):
        nudge.check_encoder(embedding.encoder)


def _neither(model: object) -> str:
    return f"got {model!r}, expected LangChain embeddings or an encoder"
