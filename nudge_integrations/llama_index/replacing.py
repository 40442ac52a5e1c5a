"""Nodes written to a live vector store in place of those with their ids: never a moment at which one is lost."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.utils import doc_to_json
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from nudge_integrations.errors import InputError
from nudge_integrations.llama_index.nodes import bare
from nudge_integrations.llama_index.stored_nodes import lance_nodes
from nudge_integrations.stores import ranks_by
from nudge_integrations.stores.frameworks import by_class

__all__ = ["ReplacingStore", "check_replaceable"]

# A node as a store holds it: its vector, and the rest in whatever form the store gives it back.
_Held = Mapping[str, tuple[Any, Any]]


class ReplacingStore:
    """The store that an index is filled through: rows that the store below holds already are not written.

    Where a store can replace a node by its id, or in one transaction, it does. Any other store has its nodes taken out
    and put back if the new ones cannot be written.

    Args:
        store: The vector store itself.
    """

    def __init__(self, store: BasePydanticVectorStore) -> None:
        self.store = store
        self.stores_text = store.stores_text

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Write nodes with embeddings in place of nodes with their ids, and return the ids that the store gives them.

        Raises:
            InputError: If nodes were taken out and neither they nor the new ones could be written.
        """
        held = self._held([node.node_id for node in nodes])
        changed = [node for node in nodes if node.node_id not in held or not self._same(node, *held[node.node_id])]
        given = {node.node_id: node.node_id for node in nodes}
        if changed:
            names = (by_class(_WRITE, self.store) or _exchanged)(self.store, changed)
            given.update(zip((node.node_id for node in changed), names or (), strict=False))
        return list(given.values())

    def _held(self, ids: list[str]) -> _Held:
        return (by_class(_HELD, self.store) or _nodes_held)(self.store, ids)

    def _same(self, node: BaseNode, vector: Any, content: Any) -> bool:
        wanted = np.asarray(node.get_embedding(), dtype=np.float32)
        if vector is None or len(vector) != len(wanted):
            return False
        stored = np.asarray(vector, dtype=np.float32)
        forms = [wanted]
        if ranks_by(self.store) == "cosine":  # Qdrant keeps vectors at unit length then
            forms.append(wanted / np.linalg.norm(wanted))
        if not any(np.allclose(stored, form, rtol=1e-6, atol=1e-7) for form in forms):
            return False
        return bool(content == (by_class(_CONTENT, self.store) or _json_of)(node))


def check_replaceable(store: BasePydanticVectorStore, nodes: Sequence[BaseNode]) -> None:
    """Refuse what a store could not take, before anything is written.

    Raises:
        InputError: If the store holds vectors and cannot replace any, or takes no such ids.
    """
    check = by_class(_CHECK, store)
    if check is not None:
        check(store, [node.node_id for node in nodes])


def _json_of(node: BaseNode) -> Any:
    return doc_to_json(bare(node))


def _nodes_held(store: Any, ids: list[str]) -> _Held:
    try:
        nodes = store.get_nodes(node_ids=ids)
    except NotImplementedError:
        return {}
    return {node.node_id: (node.embedding, _json_of(node)) for node in nodes}


def _exchanged(store: Any, nodes: list[BaseNode]) -> None:
    """Delete and add again, since some stores ignore an id that is added twice, and some double it."""
    ids = [node.node_id for node in nodes]
    try:
        former = [node for node in store.get_nodes(node_ids=ids) if node.embedding is not None]
    except NotImplementedError:
        former = []
    store.delete_nodes(ids)
    try:
        store.add(nodes)
    except Exception as error:
        try:
            store.delete_nodes(ids)
            if former:
                store.add(former)
        except Exception:  # the store is gone; the error below says what it lacks
            former = []
        if len(former) < len(ids):
            raise InputError(
                f"{len(ids) - len(former)} nodes, such as {ids[0]!r}, are no longer in the {type(store).__name__}, "
                f"which failed while they were replaced ({error}): write them again once it answers; the engine still "
                "has them"
            ) from error
        raise


def _added(store: Any, nodes: list[BaseNode]) -> list[str]:
    names: list[str] = store.add(nodes)
    return names


def _simple_held(store: Any, ids: list[str]) -> _Held:
    data = store.data
    return {i: (data.embedding_dict[i], data.metadata_dict.get(i)) for i in ids if i in data.embedding_dict}


def _simple_content(node: BaseNode) -> Any:
    metadata = node_to_metadata_dict(node, remove_text=True)
    return {key: value for key, value in metadata.items() if key != "_node_content"}


class _Upserting:
    """The store that an adapter adds rows to: rows whose ids are there are replaced."""

    def __init__(self, add: Callable[..., Any]) -> None:
        self.add = add


def _chroma_held(store: Any, ids: list[str]) -> _Held:
    got = store._collection.get(ids=ids, include=["embeddings", "metadatas", "documents"])
    held = {}
    for row, node_id in enumerate(got["ids"]):
        try:
            content = _json_of(metadata_dict_to_node(got["metadatas"][row], text=got["documents"][row]))
        except (TypeError, ValueError):  # no node of this framework
            content = None
        held[node_id] = got["embeddings"][row], content
    return held


def _chroma_written(store: Any, nodes: list[BaseNode]) -> None:
    beside = copy.copy(store)
    collection = store._collection

    def exchange(**rows: Any) -> None:
        former = collection.get(ids=rows["ids"], include=["embeddings", "metadatas", "documents"])
        if former["ids"]:
            collection.delete(ids=former["ids"])
        try:
            collection.add(**rows)
        except Exception:
            if former["ids"]:
                collection.upsert(**{name: former[name] for name in ("ids", "embeddings", "metadatas", "documents")})
            raise

    # Updated in place, a graph of inner products no longer finds all that is near.
    beside._collection = _Upserting(exchange if ranks_by(store) == "dot" else collection.upsert)
    beside.add(nodes)


def _qdrant_held(store: Any, ids: list[str]) -> _Held:
    return _nodes_held(store, ids) if store.client.collection_exists(store.collection_name) else {}


def _lance_held(store: Any, ids: list[str]) -> _Held:
    if getattr(store, "_table", None) is None:
        return {}
    return {node.node_id: (node.embedding, _json_of(node)) for node in lance_nodes(store, ids)}


def _lance_written(store: Any, nodes: list[BaseNode]) -> None:
    table = getattr(store, "_table", None)
    if table is None:
        store.add(nodes)
        return

    def merge(rows: Any) -> None:
        table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)

    beside = copy.copy(store)
    beside._table = _Upserting(merge)
    beside.add(nodes)
    store._metadata_keys, store._fts_index_ready = beside._metadata_keys, False


def _postgres_written(store: Any, nodes: list[BaseNode]) -> None:
    store._initialize()
    table = store._table_class
    with store._session() as session, session.begin():
        rows = session.query(table).filter(table.node_id.in_([node.node_id for node in nodes]))
        rows.delete(synchronize_session=False)
        session.add_all([store._node_to_table_row(node) for node in nodes])


def _faiss_held(store: Any, ids: list[str]) -> _Held:
    places = store._node_id_to_faiss_id_map
    return {i: (store.client.reconstruct(int(places[i])), None) for i in ids if i in places}


def _faiss_written(store: Any, nodes: list[BaseNode]) -> None:
    """Give each node its own row again, or the first that is free: the adapter numbers rows by how many there are."""
    places, names = store._node_id_to_faiss_id_map, store._faiss_id_to_node_id_map
    free = (row for row in range(len(names) + len(nodes)) if row not in names)
    vectors = np.asarray([node.get_embedding() for node in nodes], dtype=np.float32)
    if vectors.shape[1] != store.client.d:
        raise InputError(f"the index is for vectors of {store.client.d} numbers; these have {vectors.shape[1]}")
    for node, vector in zip(nodes, vectors, strict=True):
        row = places[node.node_id] if node.node_id in places else next(free)
        chosen = np.asarray([row], dtype=np.int64)
        store.client.remove_ids(chosen)
        store.client.add_with_ids(vector[np.newaxis], chosen)
        places[node.node_id], names[row] = row, node.node_id


def _check_faiss(store: Any, node_ids: Sequence[str]) -> None:
    if store.client.ntotal:
        raise InputError(
            f"FaissVectorStore holds {store.client.ntotal} vectors and cannot delete any: give an empty one, or "
            "FaissMapVectorStore"
        )


def _check_uuids(store: Any, node_ids: Sequence[str]) -> None:
    for node_id in node_ids:
        try:
            UUID(node_id)
        except ValueError as error:
            raise InputError(
                f"Qdrant takes UUIDs as node ids; {node_id!r} is none: give nodes that have some, as nodes do unless "
                "they are given others, and labels find them by their text"
            ) from error


_HELD: Mapping[str, Callable[[Any, list[str]], _Held]] = {
    "SimpleVectorStore": _simple_held,
    "FaissMapVectorStore": _faiss_held,
    "FaissVectorStore": lambda store, ids: {},
    "ChromaVectorStore": _chroma_held,
    "QdrantVectorStore": _qdrant_held,
    "LanceDBVectorStore": _lance_held,
}
_CONTENT: Mapping[str, Callable[[BaseNode], Any]] = {
    "SimpleVectorStore": _simple_content,
    "FaissMapVectorStore": lambda node: None,
}
_WRITE: Mapping[str, Callable[[Any, list[BaseNode]], list[str] | None]] = {
    "SimpleVectorStore": _added,  # overwrites what has the id
    "FaissMapVectorStore": _faiss_written,
    "FaissVectorStore": _added,  # is empty
    "ChromaVectorStore": _chroma_written,
    "QdrantVectorStore": _added,  # upserts
    "LanceDBVectorStore": _lance_written,
    "PGVectorStore": _postgres_written,
}
_CHECK: Mapping[str, Callable[[Any, Sequence[str]], None]] = {
    "FaissMapVectorStore": lambda store, ids: None,
    "FaissVectorStore": _check_faiss,
    "QdrantVectorStore": _check_uuids,
}
