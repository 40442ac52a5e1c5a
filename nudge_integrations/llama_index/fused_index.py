"""FusedIndex: an index over a store that serves, whose retriever adds words to vectors as a nudge weighs them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.constants import DEFAULT_SIMILARITY_TOP_K
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters, VectorStoreQueryMode

from nudge_integrations.llama_index.embedding import NudgedEmbedding
from nudge_integrations.llama_index.filters import passes
from nudge_integrations.llama_index.nodes import check_count, text_of
from nudge_integrations.llama_index.served_index import ServedIndex
from nudge_integrations.llama_index.stored_nodes import nodes_by_id
from nudge_integrations.llama_index.vectors import aquery_vector, query_vector
from nudge_integrations.stores import FusedStore, LiveStore

__all__ = ["FusedIndex", "FusedIndexRetriever"]

logger = logging.getLogger(__name__)


class _Words:
    """Takes note of nodes that come and go."""

    def __init__(self, fused: FusedStore, reopened: Callable[[], LiveStore] | None) -> None:
        self._fused, self._reopened = fused, reopened

    def insert(self, nodes: Sequence[BaseNode]) -> None:
        if self._reopened is not None:
            self._fused.live = self._reopened()
        self._fused.insert([node.node_id for node in nodes], [text_of(node) for node in nodes])

    def delete(self, node_ids: Sequence[str]) -> None:
        self._fused.delete(node_ids)

    def delete_document(self, ref_doc_id: str) -> None:
        """Do nothing: nodes that the store does not hold any more are left out when they are found."""


class FusedIndex(ServedIndex):
    """A ``VectorStoreIndex`` over a store that serves, which finds nodes by vectors and words.

    ``as_retriever``, ``as_query_engine`` and ``as_chat_engine`` add what the nudge weighs: the store's own text search,
    or BM25 in this process beside it. Nodes that are inserted or deleted here are heeded at once.

    Args:
        index: The index over the store.
        embed_model: The model that queries and new nodes go through.
        fused: The text side of the store.
        reopened: Opens the store again where it numbers its rows anew after an insertion; None where it never does.
    """

    def __init__(
        self,
        index: VectorStoreIndex,
        embed_model: NudgedEmbedding,
        fused: FusedStore,
        reopened: Callable[[], LiveStore] | None = None,
    ) -> None:
        context = index.storage_context
        super().__init__(index_struct=index.index_struct, storage_context=context, embed_model=embed_model)
        self.fused, self.embed_model, self.changes = fused, embed_model, _Words(fused, reopened)

    def __repr__(self) -> str:
        """Show what words are searched by."""
        return f"FusedIndex({type(self.vector_store).__name__}, {self.fused!r})"

    def as_retriever(self, **kwargs: Any) -> BaseRetriever:
        """Return a retriever by vectors and words; the framework's own where a ``vector_store_query_mode`` is given."""
        if VectorStoreQueryMode(kwargs.get("vector_store_query_mode", "default")) != VectorStoreQueryMode.DEFAULT:
            logger.warning("%s", self.fused.fusion.left_out_by(self.vector_store))
            return super().as_retriever(**kwargs)
        return FusedIndexRetriever(self, **kwargs)

    def by_vectors(self, **kwargs: Any) -> BaseRetriever:
        """Return the framework's own retriever, by vectors alone."""
        return super().as_retriever(**kwargs)


class FusedIndexRetriever(BaseRetriever):
    """A retriever of a `FusedIndex`.

    Args:
        index: The index.
        similarity_top_k: How many nodes to return at most.
        filters: Only nodes whose metadata pass.
        doc_ids: Only nodes that were cut from these documents.
        **kwargs: ``callback_manager``, ``object_map``, ``objects`` and ``verbose`` of ``BaseRetriever``.

    Raises:
        InputError: If ``similarity_top_k`` is no whole number above 0.
    """

    def __init__(
        self,
        index: FusedIndex,
        similarity_top_k: int = DEFAULT_SIMILARITY_TOP_K,
        *,
        filters: MetadataFilters | None = None,
        doc_ids: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.index, self.similarity_top_k = index, check_count("similarity_top_k", similarity_top_k)
        self.filters, self.doc_ids = filters, doc_ids
        super().__init__(**{"callback_manager": index._callback_manager, "object_map": index._object_map, **kwargs})

    def __repr__(self) -> str:
        """Show the number of results and what words are searched by."""
        return f"FusedIndexRetriever({self.index!r}, similarity_top_k={self.similarity_top_k})"

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._ranked(query_vector(query_bundle, self.index.embed_model.base), query_bundle.query_str)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        vector = await aquery_vector(query_bundle, self.index.embed_model.base)
        return await asyncio.to_thread(self._ranked, vector, query_bundle.query_str)

    def _ranked(self, vector: Sequence[float], words: str) -> list[NodeWithScore]:
        asked: Any = self.index.embed_model.nudge.transform_queries(np.asarray([vector], np.float32))[0]
        limits = {"filters": self.filters, "doc_ids": self.doc_ids}
        bundle, hits = QueryBundle(words, embedding=asked.tolist()), dict[str, BaseNode]()

        def near(depth: int) -> list[str]:
            found = self.index.by_vectors(similarity_top_k=depth, **limits)._retrieve(bundle)
            hits.update({one.node.node_id: one.node for one in found})
            return [one.node.node_id for one in found]

        k = check_count("similarity_top_k", self.similarity_top_k)
        passing = None if self.filters is None and self.doc_ids is None else self._passing
        best = self.index.fused.ranked(asked, words, k, near, passing)
        hits |= nodes_by_id(self.index, [one for one, _ in best if one not in hits])
        return [NodeWithScore(node=hits[one], score=score) for one, score in best if one in hits]

    def _passing(self, ids: list[str]) -> set[str]:
        found = nodes_by_id(self.index, ids)
        return {
            one
            for one, node in found.items()
            if (self.filters is None or passes(self.filters, node.metadata))
            and (self.doc_ids is None or node.ref_doc_id in self.doc_ids)
        }
