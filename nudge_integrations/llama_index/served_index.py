"""ServedIndex: the index of an engine, which learns what is inserted into it and deleted from it later."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import BaseNode
from llama_index.core.storage.storage_context import StorageContext

from nudge_integrations.llama_index.embedding import NudgedEmbedding
from nudge_integrations.llama_index.replacing import ReplacingStore, check_replaceable

__all__ = ["ServedIndex", "filled_index"]

logger = logging.getLogger(__name__)


class _Changes(Protocol):
    """Who is told of changes."""

    def insert(self, nodes: Sequence[BaseNode]) -> None: ...

    def delete(self, node_ids: Sequence[str]) -> None: ...

    def delete_document(self, ref_doc_id: str) -> None: ...


class ServedIndex(VectorStoreIndex):
    """A ``VectorStoreIndex`` that tells its engine of every node that is inserted or deleted through it."""

    changes: _Changes | None = None

    def delete_nodes(self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Delete nodes, here and from the engine."""
        super().delete_nodes(node_ids, delete_from_docstore, **delete_kwargs)
        if self.changes is not None:
            self.changes.delete(node_ids)

    async def adelete_nodes(
        self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """Do the same without blocking."""
        await super().adelete_nodes(node_ids, delete_from_docstore, **delete_kwargs)
        if self.changes is not None:
            self.changes.delete(node_ids)

    def delete_ref_doc(self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Delete a document's nodes, here and from the engine."""
        super().delete_ref_doc(ref_doc_id, delete_from_docstore, **delete_kwargs)
        if self.changes is not None:
            self.changes.delete_document(ref_doc_id)

    async def adelete_ref_doc(self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Do the same without blocking."""
        await super().adelete_ref_doc(ref_doc_id, delete_from_docstore, **delete_kwargs)
        if self.changes is not None:
            self.changes.delete_document(ref_doc_id)

    def _add_nodes_to_index(self, index_struct: Any, nodes: Sequence[BaseNode], *args: Any, **kwargs: Any) -> None:
        super()._add_nodes_to_index(index_struct, nodes, *args, **kwargs)
        if self.changes is not None:
            self.changes.insert(nodes)

    async def _async_add_nodes_to_index(
        self, index_struct: Any, nodes: Sequence[BaseNode], *args: Any, **kwargs: Any
    ) -> None:
        await super()._async_add_nodes_to_index(index_struct, nodes, *args, **kwargs)
        if self.changes is not None:
            self.changes.insert(nodes)


def filled_index(
    context: StorageContext, nodes: Sequence[BaseNode], embed_model: BaseEmbedding, changes: _Changes, **options: Any
) -> ServedIndex:
    """Write nodes with their vectors to the store of a context, in place of nodes with their ids, and index it.

    Args:
        context: A storage context.
        nodes: Nodes with embeddings.
        embed_model: Embeds queries, and nodes that are inserted later.
        changes: Is told of every node that is inserted or deleted later.
        **options: As in ``VectorStoreIndex``.

    Raises:
        InputError: If the store cannot replace what it holds.
    """
    check_replaceable(context.vector_store, nodes)
    if isinstance(embed_model, NudgedEmbedding) and embed_model.nudge.fusion is not None:
        logger.warning("%s", embed_model.nudge.fusion.left_out_by(context.vector_store))
    index = ServedIndex([], embed_model=embed_model, storage_context=context, **options)
    filling: Any = ReplacingStore(context.vector_store)
    index._vector_store = filling
    try:
        # Not through the constructor, which leaves out nodes without text even where they have a vector.
        index.insert_nodes(nodes)
    finally:
        index._vector_store = context.vector_store
    index.changes = changes
    return index
