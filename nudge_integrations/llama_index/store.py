"""Vector stores behind LlamaIndex: what each ranks by, whether our vectors fit, and writing over what is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from llama_index.core.vector_stores.types import BasePydanticVectorStore

from nudge_integrations.artifact import Nudge
from nudge_integrations.errors import InputError, SimilarityError

__all__ = ["needs_extra_coordinate", "ranking_of", "remove"]

Ranking = Literal["dot", "cosine", "l2"]

# faiss.METRIC_INNER_PRODUCT and faiss.METRIC_L2, which faiss keeps stable across versions.
_FAISS: Mapping[int, Ranking] = {0: "dot", 1: "l2"}
_SPACES: Mapping[str, Ranking] = {"ip": "dot", "dot": "dot", "cosine": "cosine", "l2": "l2", "euclid": "l2"}


def ranking_of(store: BasePydanticVectorStore) -> Ranking | None:
    """Say what a store ranks by; None where that cannot be told."""
    reader = _READERS.get(type(store).__name__)
    return None if reader is None else reader(store)


def needs_extra_coordinate(store: BasePydanticVectorStore, nudge: Nudge) -> bool:
    """Decide whether vectors go to a store with one more coordinate, so that it ranks them by inner product.

    Unit vectors rank alike under cosine, L2 and inner product and need none. Vectors with lengths need it everywhere
    but in a store that ranks by inner product itself.

    Raises:
        SimilarityError: If they need it, and the store was made for vectors without it.
    """
    if nudge.similarity == "cosine":
        return False
    ranking, width = ranking_of(store), _width_of(store)
    if ranking == "dot" and width in (None, nudge.dimension):
        return False
    if width not in (None, nudge.dimension + 1):
        raise SimilarityError(
            f"{type(store).__name__} ranks by {ranking or 'an unknown similarity'} and was made for vectors of {width} "
            f"numbers, but {nudge.method} vectors have lengths that matter: make it for inner product and "
            f"{nudge.dimension} numbers, or for {nudge.dimension + 1}, which leaves room for one more coordinate"
        )
    return True


def remove(store: BasePydanticVectorStore, node_ids: Sequence[str]) -> None:
    """Take nodes out of a store before they are written: adding an id again is ignored by some, doubled by others.

    Raises:
        InputError: If the store cannot delete and is not empty.
    """
    index = getattr(store, "_faiss_index", None)
    if type(store).__name__ == "FaissVectorStore" and index is not None:
        if index.ntotal:
            raise InputError(
                f"FaissVectorStore holds {index.ntotal} vectors and cannot delete any: give an empty one, "
                "or FaissMapVectorStore"
            )
        return
    if type(store).__name__ == "LanceDBVectorStore" and getattr(store, "_table", None) is None:
        return
    store.delete_nodes(list(node_ids))


def _width_of(store: Any) -> int | None:
    """Return the number of coordinates that a store was made for; None where it takes what comes first."""
    index = getattr(store, "_faiss_index", None)
    config = getattr(store, "_dense_config", None)
    width = (
        getattr(index, "d", None)
        or getattr(config, "size", None)
        or (getattr(store, "embed_dim", None) if type(store).__name__ == "PGVectorStore" else None)
    )
    return None if width is None else int(width)


def _faiss(store: Any) -> Ranking | None:
    return _FAISS.get(int(store.client.metric_type))


def _chroma(store: Any) -> Ranking | None:
    configuration = getattr(store._collection, "configuration", None) or {}
    index = configuration.get("hnsw") or configuration.get("spann") or {}
    return _SPACES.get(str(index.get("space", "l2")))


def _qdrant(store: Any) -> Ranking | None:
    distance = getattr(store._dense_config, "distance", "Cosine")
    return _SPACES.get(str(getattr(distance, "value", distance)).lower())


_READERS: Mapping[str, Callable[[Any], Ranking | None]] = {
    "SimpleVectorStore": lambda store: "cosine",
    "FaissVectorStore": _faiss,
    "FaissMapVectorStore": _faiss,
    "ChromaVectorStore": _chroma,
    "QdrantVectorStore": _qdrant,
    "LanceDBVectorStore": lambda store: "l2",
    "PGVectorStore": lambda store: "cosine",
}
