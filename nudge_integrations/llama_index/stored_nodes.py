"""Nodes that an index's stores hold, by their ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import BaseNode

from nudge_integrations.llama_index.nodes import text_of
from nudge_integrations.stores.frameworks import by_class

__all__ = ["lance_nodes", "nodes_by_id", "texts_by_id"]

# How many nodes are read from a store at once.
_AT_ONCE = 1000


def nodes_by_id(index: VectorStoreIndex, ids: Sequence[str]) -> dict[str, BaseNode]:
    """Return those nodes that are there: from the index's document store, else from its vector store."""
    known = {one: index.docstore.get_document(one, raise_error=False) for one in ids}
    found = {one: node for one, node in known.items() if node is not None}
    missing = [one for one in ids if one not in found]
    for start in range(0, len(missing) if index.vector_store.stores_text else 0, _AT_ONCE):
        read = by_class(_READ, index.vector_store) or _nodes_of
        found |= {node.node_id: node for node in read(index.vector_store, missing[start : start + _AT_ONCE])}
    return found


def texts_by_id(index: VectorStoreIndex, ids: Sequence[str]) -> list[str]:
    """Return the text that is embedded of each node; none of one that is not there."""
    found = nodes_by_id(index, ids)
    return [text_of(found[one]) if one in found else "" for one in ids]


def _nodes_of(store: Any, ids: list[str]) -> Sequence[BaseNode]:
    nodes: Sequence[BaseNode] = store.get_nodes(node_ids=ids)
    return nodes


def lance_nodes(store: Any, ids: Sequence[str]) -> Sequence[BaseNode]:
    """Return those nodes of a ``LanceDBVectorStore`` that are there."""
    # The adapter itself puts ids in double quotes, which LanceDB reads as names of columns.
    quoted = ", ".join("'" + node_id.replace("'", "''") + "'" for node_id in ids)
    nodes: Sequence[BaseNode] = store.get_nodes(where=f"id in ({quoted})")
    return nodes


_READ: Mapping[str, Callable[[Any, list[str]], Sequence[BaseNode]]] = {"LanceDBVectorStore": lance_nodes}
