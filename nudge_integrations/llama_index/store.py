"""Vector stores of LlamaIndex: what each ranks by, whether vectors fit in, and removing what they replace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar
from uuid import UUID

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import BaseNode
from llama_index.core.storage.storage_context import StorageContext
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from nudge_integrations.artifact import Nudge
from nudge_integrations.errors import InputError, SimilarityError

__all__ = ["filled_index", "make_room", "needs_extra_coordinate", "ranking_of", "width_of"]

Ranking = Literal["dot", "cosine", "l2"]
_Answer = TypeVar("_Answer")

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


def filled_index(
    context: StorageContext, nodes: Sequence[BaseNode], embed_model: BaseEmbedding, **options: Any
) -> VectorStoreIndex:
    """Write nodes with their vectors to the store of a context, in place of nodes with their ids, and index it.

    Args:
        context: A storage context.
        nodes: Nodes with embeddings.
        embed_model: Embeds queries, and nodes that are inserted later.
        **options: As in ``VectorStoreIndex``.

    Raises:
        InputError: If the store cannot replace what it holds.
    """
    make_room(context.vector_store, [node.node_id for node in nodes])
    index = VectorStoreIndex([], embed_model=embed_model, storage_context=context, **options)
    # Not through the constructor, which leaves out nodes without text even where they have a vector.
    index.insert_nodes(nodes)
    return index


def make_room(store: BasePydanticVectorStore, node_ids: Sequence[str]) -> None:
    """Take nodes out of a store before they are written: some ignore an id that is added again, some double it.

    Raises:
        InputError: If the store holds vectors and cannot delete any, or takes no such ids.
    """
    ready = _READY.get(type(store).__name__)
    if node_ids and (ready is None or ready(store, node_ids)):
        store.delete_nodes(list(node_ids))


def _read(readers: Mapping[str, Callable[[Any], _Answer | None]], store: BasePydanticVectorStore) -> _Answer | None:
    # By name: none of these packages needs to be installed.
    reader = next((readers[kind.__name__] for kind in type(store).__mro__ if kind.__name__ in readers), None)
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


def _faiss_ready(store: Any, node_ids: Sequence[str]) -> bool:
    if store.client.ntotal:
        raise InputError(
            f"FaissVectorStore holds {store.client.ntotal} vectors and cannot delete any: give an empty one, or "
            "FaissMapVectorStore"
        )
    return False


def _qdrant_ready(store: Any, node_ids: Sequence[str]) -> bool:
    for node_id in node_ids:
        try:
            UUID(node_id)
        except ValueError as error:
            raise InputError(
                f"Qdrant takes UUIDs as node ids; {node_id!r} is none: give nodes that have some, as nodes do unless "
                "they are given others, and labels find them by their text"
            ) from error
    return bool(store.client.collection_exists(store.collection_name))


def _lance_ready(store: Any, node_ids: Sequence[str]) -> bool:
    if getattr(store, "_table", None) is not None:
        # The adapter's own deletion puts ids in double quotes, which LanceDB reads as names of columns.
        quoted = ", ".join("'" + node_id.replace("'", "''") + "'" for node_id in node_ids)
        store.table.delete(f"id in ({quoted})")
    return False


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
_READY: Mapping[str, Callable[[Any, Sequence[str]], bool]] = {
    "FaissVectorStore": _faiss_ready,
    "QdrantVectorStore": _qdrant_ready,
    "LanceDBVectorStore": _lance_ready,
}
