"""Vector stores of LlamaIndex: what each ranks by, and whether vectors fit in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from llama_index.core.vector_stores.types import BasePydanticVectorStore

from nudge_integrations.artifact import Nudge
from nudge_integrations.errors import SimilarityError

__all__ = ["needs_extra_coordinate", "ranking_of", "reader_for", "width_of"]

Ranking = Literal["dot", "cosine", "l2"]
_Answer = TypeVar("_Answer")
_Entry = TypeVar("_Entry")

_RANKINGS: Mapping[str, Ranking] = {"ip": "dot", "dot": "dot", "cosine": "cosine", "l2": "l2", "euclid": "l2"}
# faiss.METRIC_INNER_PRODUCT and faiss.METRIC_L2.
_FAISS: Mapping[int, Ranking] = {0: "dot", 1: "l2"}


def ranking_of(store: BasePydanticVectorStore) -> Ranking | None:
    """Return what a store ranks by; None where that is unknown."""
    return _read(_RANKING_OF, store)


def width_of(store: BasePydanticVectorStore) -> int | None:
    """Return how many numbers a store's vectors have; None where that is unknown, or the first vector decides."""
    return _read(_WIDTH_OF, store)


def needs_extra_coordinate(store: BasePydanticVectorStore, nudge: Nudge) -> bool:
    """Decide whether vectors go to a store with one more coordinate, so that it ranks them by inner product.

    Unit vectors rank alike under cosine, L2 and inner product and need none. Vectors with lengths need it everywhere
    but in a store that ranks by inner product itself. A store that has room for it gets it in any case.

    Raises:
        SimilarityError: If they need it and the store has no room, or the store is for vectors of another width.
    """
    ranking, width = ranking_of(store), width_of(store)
    needed = nudge.similarity == "dot" and ranking != "dot"
    if width is None:
        return needed
    if width == nudge.dimension + 1:
        return True
    if width == nudge.dimension and not needed:
        return False
    why = (
        f"{nudge.method} vectors have lengths that matter: give it room for {nudge.dimension + 1} numbers, for one "
        "more coordinate that makes it rank rightly, or take a store of inner products"
        if needed
        else f"the model's have {nudge.dimension}"
    )
    ranks = f"ranks by {ranking or 'an unknown similarity'}"
    raise SimilarityError(f"{type(store).__name__} {ranks} and is for vectors of {width} numbers; {why}")


def reader_for(table: Mapping[str, _Entry], store: BasePydanticVectorStore) -> _Entry | None:
    """Return what a table says for a store's class, or the nearest class that it is derived from; None without any."""
    # By name: none of these packages needs to be installed.
    return next((table[kind.__name__] for kind in type(store).__mro__ if kind.__name__ in table), None)


def _read(readers: Mapping[str, Callable[[Any], _Answer | None]], store: BasePydanticVectorStore) -> _Answer | None:
    reader = reader_for(readers, store)
    return None if reader is None else reader(store)


def _chroma_ranking(store: Any) -> Ranking | None:
    configuration = store._collection.configuration
    index = configuration.get("hnsw") or configuration.get("spann") or {}
    return _RANKINGS.get(str(index.get("space", "l2")))


def _chroma_width(store: Any) -> int | None:
    vectors = store._collection.get(limit=1, include=["embeddings"])["embeddings"]
    return len(vectors[0]) if len(vectors) else None


def _qdrant_vectors(store: Any) -> Any:
    """Return the parameters of a collection's dense vectors: of the one that is there, else of the one to be made."""
    if not store.client.collection_exists(store.collection_name):
        return store._dense_config
    vectors = store.client.get_collection(store.collection_name).config.params.vectors
    return vectors.get(store.dense_vector_name) if isinstance(vectors, dict) else vectors


def _qdrant_ranking(store: Any) -> Ranking | None:
    vectors = _qdrant_vectors(store)
    return "cosine" if vectors is None else _RANKINGS.get(str(vectors.distance.value).lower())


def _lance_width(store: Any) -> int | None:
    table = getattr(store, "_table", None)
    return None if table is None else int(table.schema.field(store.vector_column_name).type.list_size)


_RANKING_OF: Mapping[str, Callable[[Any], Ranking | None]] = {
    "SimpleVectorStore": lambda store: "cosine",
    "FaissVectorStore": lambda store: _FAISS.get(int(store.client.metric_type)),
    "ChromaVectorStore": _chroma_ranking,
    "QdrantVectorStore": _qdrant_ranking,
    "LanceDBVectorStore": lambda store: "l2",
    "PGVectorStore": lambda store: "cosine",
}
_WIDTH_OF: Mapping[str, Callable[[Any], int | None]] = {
    "FaissVectorStore": lambda store: int(store.client.d),
    "ChromaVectorStore": _chroma_width,
    "QdrantVectorStore": lambda store: getattr(_qdrant_vectors(store), "size", None),
    "LanceDBVectorStore": _lance_width,
    "PGVectorStore": lambda store: int(store.embed_dim),
}
