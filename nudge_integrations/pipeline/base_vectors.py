"""Base vectors of documents and queries: given, or made by the encoder."""

from __future__ import annotations

from typing import Any

from nudge_integrations.corpus import as_matrix, as_rows
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError

__all__ = ["document_vectors_of", "query_vectors_of"]


def document_vectors_of(dataset: RetrievalDataset, encoder: Encoder | str, given: Any) -> Any:
    """Return (n, d) base vectors of the documents: those given, else what the encoder makes.

    Raises:
        InputError: If there is not one a document, or the encoder is none, or given by its fingerprint alone.
    """
    if given is None:
        texts = list(dataset.corpus.values())
        return as_rows(
            _encoder(encoder, "document_vectors").encode_documents(texts), "document vectors", ids=dataset.document_ids
        )
    return _checked(given, len(dataset.corpus), "document_vectors", "documents")


def query_vectors_of(dataset: RetrievalDataset, encoder: Encoder | str, given: Any, name: str) -> Any:
    """Return (m, d) vectors of the queries: those given, else what the encoder makes.

    Raises:
        InputError: If there is not one a query, or the encoder is given by its fingerprint alone.
    """
    if given is None:
        texts = list(dataset.queries.values())
        return as_rows(_encoder(encoder, name).encode_queries(texts), "query vectors", ids=dataset.query_ids)
    return _checked(given, len(dataset.queries), name, "queries")


def _checked(vectors: Any, count: int, name: str, things: str) -> Any:
    # Counted only: a memory map may be larger than memory, and the solver looks at every vector anyway.
    rows = as_matrix(vectors, name)
    if len(rows) != count:
        raise InputError(f"{name} has {len(rows)} vectors, the dataset {count} {things}; give one each, in their order")
    return rows


def _encoder(encoder: Encoder | str, name: str) -> Encoder:
    if isinstance(encoder, str):
        raise InputError(
            f"the encoder is given by its fingerprint {encoder!r} alone, which cannot encode: "
            f"give the encoder itself, or all vectors, {name}= too"
        )
    if not callable(getattr(encoder, "encode_documents", None)) or not hasattr(encoder, "fingerprint"):
        raise InputError(
            f"a {type(encoder).__name__} is no encoder, which has encode_documents, encode_queries and a fingerprint: "
            "give SentenceTransformerEncoder(name), as_encoder(embedding) of an edge, or one of your own"
        )
    return encoder
