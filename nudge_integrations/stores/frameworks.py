"""Store objects of both frameworks: how they rank, and how many numbers their vectors have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from nudge_integrations.stores.faiss_index import FAISS_RANKINGS
from nudge_integrations.stores.store import RANKINGS

__all__ = ["by_class", "ranks_by", "width_of"]

_Entry = TypeVar("_Entry")
_Reader = Callable[[Any], Any]


def ranks_by(store: object) -> str | None:
    """Return what a store object of LangChain or LlamaIndex ranks by.

    Args:
        store: In memory, FAISS, Chroma, Qdrant, LanceDB, PGVector or PGVectorStore.

    Returns:
        ``"cosine"``, ``"dot"`` (inner product), ``"l2"``, another word of the store's own, or None for an unknown
        store.

    >>> from llama_index.core.vector_stores import SimpleVectorStore
    >>> ranks_by(SimpleVectorStore()), ranks_by("no store")
    ('cosine', None)
    """
    read = by_class(_RANKING_OF, store)
    word = None if read is None else read(store)
    word = getattr(word, "value", word)
    return None if word is None else RANKINGS.get(str(word).lower(), str(word).lower())


def width_of(store: object) -> int | None:
    """Return how many numbers a store's vectors have; None where that is unknown, or the first vector decides."""
    read = by_class(_WIDTH_OF, store)
    width = None if read is None else read(store)
    return None if width is None else int(width)


def by_class(table: Mapping[str, _Entry], store: object) -> _Entry | None:
    """Return what a table says for an object's class, or the nearest class that it is derived from; None without any.

    >>> by_class({"int": 1, "object": 2}, True), by_class({}, True)
    (1, None)
    """
    # By name: none of these packages needs to be installed.
    return next((table[kind.__name__] for kind in type(store).__mro__ if kind.__name__ in table), None)


def _chroma_ranking(store: Any) -> Any:
    configuration = store._collection.configuration
    index = configuration.get("hnsw") or configuration.get("spann") or {}
    return index.get("space") or "l2"


def _chroma_width(store: Any) -> int | None:
    vectors = store._collection.get(limit=1, include=["embeddings"])["embeddings"]
    return len(vectors[0]) if len(vectors) else None


def _qdrant_vectors(store: Any) -> Any:
    """Return the parameters of a collection's dense vectors: of the one that is there, else of the one to be made."""
    if not store.client.collection_exists(store.collection_name):
        return store._dense_config
    vectors = store.client.get_collection(store.collection_name).config.params.vectors
    name = getattr(store, "dense_vector_name", None) or getattr(store, "vector_name", "")
    return vectors.get(name) if isinstance(vectors, dict) else vectors


def _qdrant_ranking(store: Any) -> Any:
    vectors = _qdrant_vectors(store)
    return "cosine" if vectors is None else vectors.distance


def _lance_width(store: Any) -> int | None:
    table = getattr(store, "_table", None)
    return None if table is None else int(table.schema.field(store.vector_column_name).type.list_size)


def _postgres_ranking(store: Any) -> Any:
    inside = getattr(store, "_PGVectorStore__vs", None)
    # LlamaIndex's searches by cosine. LangChain's says it in the store inside; the name is clearer than the operator.
    return "cosine" if inside is None else inside.distance_strategy.name


_RANKING_OF: Mapping[str, _Reader] = {
    "InMemoryVectorStore": lambda store: "cosine",
    "NudgeVectorStore": lambda store: "dot",
    "SimpleVectorStore": lambda store: "cosine",
    "FaissVectorStore": lambda store: FAISS_RANKINGS.get(int(store.client.metric_type)),
    "Chroma": _chroma_ranking,
    "ChromaVectorStore": _chroma_ranking,
    "QdrantVectorStore": _qdrant_ranking,
    "LanceDBVectorStore": lambda store: "l2",
    "PGVector": lambda store: store._distance_strategy,
    "PGVectorStore": _postgres_ranking,
}
_WIDTH_OF: Mapping[str, _Reader] = {
    "FaissVectorStore": lambda store: store.client.d,
    "ChromaVectorStore": _chroma_width,
    "QdrantVectorStore": lambda store: getattr(_qdrant_vectors(store), "size", None),
    "LanceDBVectorStore": _lance_width,
    "PGVectorStore": lambda store: getattr(store, "embed_dim", None),
}
