"""Encoders as LangChain embeddings, LangChain embeddings as encoders, and fingerprints of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus.texts import whole
from nudge_integrations.encoding import Encoder
from nudge_integrations.encoding.encoder import checked_vectors
from nudge_integrations.encoding.identity import check_stored_vectors, known_to_differ, settings_fingerprint
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.langchain.query_vectors import QueryVectors
from nudge_integrations.pipeline.nudged_index import NudgedIndex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "EncoderEmbeddings",
    "LangChainEncoder",
    "as_embedding",
    "as_encoder",
    "check_index",
    "check_model",
    "checked_query",
    "fingerprint_of",
    "query_vectors_of",
]

# Wrappers that give the vectors of the embeddings inside, by name: none of these packages needs to be installed.
_TRANSPARENT = {"CacheBackedEmbeddings": "underlying_embeddings"}


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
    """LangChain embeddings as an encoder: texts in one call, queries through the query path, see `QueryVectors`.

    Args:
        embedding: The embeddings.
    """

    def __init__(self, embedding: Embeddings) -> None:
        self.embedding = embedding
        self._unfinished = QueryVectors(embedding)

    @property
    def fingerprint(self) -> str:
        """The embeddings' own ``fingerprint``, else their class, model and settings, as `fingerprint_of` reads them."""
        return fingerprint_of(self.embedding)

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts as (n, d) float32, in one call that the embeddings may cut into batches."""
        return checked_vectors(self.embedding.embed_documents([whole(text) for text in texts]), texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed m queries as (m, d) float32, a query a call; what was embedded before a call failed is kept."""
        vectors = self._unfinished.of(texts)
        self._unfinished = QueryVectors(self.embedding)
        return vectors


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


def query_vectors_of(embedding: Embeddings) -> QueryVectors:
    """Return an empty store of query vectors; embeddings that were made of an encoder embed many in one call."""
    encode = embedding.encoder.encode_queries if isinstance(embedding, EncoderEmbeddings) else None
    return QueryVectors(embedding, encode)


def fingerprint_of(embedding: Embeddings) -> str:
    """Return the fingerprint of embeddings, the same in every process.

    It is that of their encoder if they were made of one, their own ``fingerprint`` if they have one, else composed of
    their class, the name of their model and the settings that decide vectors (see `settings_fingerprint`).
    """
    if isinstance(embedding, EncoderEmbeddings):
        return embedding.encoder.fingerprint
    own = getattr(embedding, "fingerprint", None)
    if isinstance(own, str):
        return own
    kind = type(embedding)
    inside = getattr(embedding, _TRANSPARENT.get(kind.__name__, ""), None)
    if isinstance(inside, Embeddings):
        return fingerprint_of(inside)
    settings = {
        f"model inside {name}" if isinstance(value, Embeddings) else name: (
            fingerprint_of(value) if isinstance(value, Embeddings) else value
        )
        for name, value in _attributes(embedding).items()
    }
    names = (settings.get(name) for name in ("model", "model_name", "model_id", "deployment"))
    name = next((name for name in names if isinstance(name, str)), "")
    return settings_fingerprint("langchain", f"{kind.__module__}.{kind.__qualname__}", name, settings)


def check_model(embedding: Embeddings, nudge: Nudge) -> None:
    """Refuse embeddings that a nudge was not made with, as far as fingerprints can tell; vectors tell the rest later.

    Raises:
        MismatchError: If the fingerprints can be compared and differ.
    """
    given = fingerprint_of(embedding)
    if known_to_differ(given, nudge.encoder):
        nudge.check_encoder(given)


def check_index(embedding: Embeddings, index: NudgedIndex, *, embed: bool) -> None:
    """Refuse embeddings that did not make the base vectors of a saved index.

    Args:
        embedding: The embeddings.
        index: The index.
        embed: Whether to embed a few of its documents again and compare; fingerprints are compared in any case.

    Raises:
        MismatchError: If they are others.
    """
    given = fingerprint_of(embedding)
    if index.model and known_to_differ(given, index.model):
        raise MismatchError(f"the saved vectors are those of {index.model!r}, not of {given!r}: give that model")
    if index.nudge is not None:
        check_model(embedding, index.nudge)
    if embed:
        documents = index.snapshot()
        check_stored_vectors(embedding.embed_documents, documents.texts, documents.vectors, documents.embedded)


def checked_query(text: str, vector: Any) -> list[float]:
    """Return what embeddings gave for a query.

    Raises:
        InputError: If it is no vector of finite numbers; names the query.
    """
    checked_vectors([vector], [text])
    given: list[float] = vector
    return given


def _attributes(embedding: Embeddings) -> dict[str, Any]:
    """Return what the class and the object itself hold, but for methods."""
    found: dict[str, Any] = {}
    for kind in reversed(type(embedding).__mro__):
        if kind.__module__.partition(".")[0] not in ("builtins", "abc", "pydantic", "langchain_core"):
            found |= {name: value for name, value in vars(kind).items() if isinstance(value, bool | int | float | str)}
    found |= getattr(embedding, "__dict__", {})
    return {name: value for name, value in found.items() if not name.startswith("__")}


def _neither(model: object) -> str:
    return f"got {model!r}, expected LangChain embeddings or an encoder"
