"""NudgeRetriever: exact search over nudged vectors of its own, as a LlamaIndex retriever."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.constants import DEFAULT_SIMILARITY_TOP_K
from llama_index.core.indices.query.query_transform.base import BaseQueryTransform
from llama_index.core.schema import BaseNode, IndexNode, NodeWithScore, QueryBundle
from llama_index.core.storage.docstore.utils import doc_to_json, json_to_doc
from llama_index.core.vector_stores.types import MetadataFilters
from numpy.typing import NDArray

from nudge_integrations.artifact import Nudge
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import ArtifactError, CorruptArtifactError
from nudge_integrations.llama_index.embedding import base_model
from nudge_integrations.llama_index.encoder import check_model
from nudge_integrations.llama_index.filters import passes
from nudge_integrations.llama_index.nodes import bare, check_count, check_ids, own_copy, text_of
from nudge_integrations.llama_index.vectors import anode_vectors, aquery_vector, node_vectors, query_vector, transformed
from nudge_integrations.pipeline.nudged_index import NudgedIndex

__all__ = ["NudgeRetriever"]

logger = logging.getLogger(__name__)


class NudgeRetriever(BaseRetriever):
    """A LlamaIndex retriever with nudged vectors of its own, which it searches exactly.

    Scores are inner products of query and served vector. Nodes of equal score come in the order in which they were
    inserted. A ``QueryBundle`` with an ``embedding``, which must be of the base model, is searched by that embedding,
    one with several ``embedding_strs`` by their mean; all of them through the query map if the nudge has one.

    Args:
        nodes: n nodes with distinct ids.
        embed_model: The embedding model, or encoder, that the nudge was fitted with.
        nudge: The nudge to serve the nodes with.
        similarity_top_k: How many nodes to return at most.
        filters: Only nodes whose metadata pass.
        query_transform: Rewrites queries before they are embedded, such as ``HyDEQueryTransform``.
        vectors: (n, d) base vectors of the nodes, if they are known already; else the nodes are embedded, except those
            that come with an ``embedding``.
        show_progress: Whether to show the framework's bar while nodes are embedded.
        **kwargs: ``callback_manager``, ``object_map``, ``objects`` and ``verbose`` of ``BaseRetriever``.

    Raises:
        InputError: If ids come twice, vectors do not fit, or ``similarity_top_k`` is no whole number above 0; on
            retrieving, if the query is empty.
        MismatchError: If the nudge was made with another model, or a node's vector is not its base vector.

    >>> retriever = NudgeRetriever(nodes, embed_model, Nudge.load("out"), similarity_top_k=5)  # doctest: +SKIP
    >>> [found.node.node_id for found in retriever.retrieve("who purrs?")]  # doctest: +SKIP
    ['d1', 'd7', 'd3', 'd2', 'd9']
    """

    def __init__(
        self,
        nodes: Sequence[BaseNode],
        embed_model: BaseEmbedding | Encoder,
        nudge: Nudge,
        *,
        similarity_top_k: int = DEFAULT_SIMILARITY_TOP_K,
        filters: MetadataFilters | None = None,
        query_transform: BaseQueryTransform | None = None,
        vectors: NDArray[Any] | None = None,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> None:
        self.embed_model = base_model(embed_model)
        check_model(self.embed_model, nudge)
        self._nudge = nudge
        self.similarity_top_k = check_count("similarity_top_k", similarity_top_k)
        self.filters = filters
        self.query_transform = query_transform
        self._show_progress = show_progress
        super().__init__(**kwargs)
        self._index = NudgedIndex()
        _insert(self._index, nodes, self._base_vectors(nodes) if vectors is None else vectors)
        self._index.apply(nudge)

    @property
    def nudge(self) -> Nudge:
        """The nudge that nodes are served with."""
        return self._nudge

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The (n, d) float32 vectors that are searched, in the order of insertion; read-only."""
        return self._index.served.vectors

    def insert_nodes(self, nodes: Sequence[BaseNode]) -> None:
        """Add nodes, or replace those whose ids are there; the next retrieval sees them.

        A node whose text was nudged gets its nudged vector, whatever its id.

        Raises:
            InputError: If ids come twice, or a vector does not fit; nothing was inserted then.
            MismatchError: If a node comes with an ``embedding`` that is not its base vector.
        """
        _insert(self._index, nodes, self._base_vectors(nodes))

    async def ainsert_nodes(self, nodes: Sequence[BaseNode]) -> None:
        """Do the same as `insert_nodes` without blocking."""
        _insert(self._index, nodes, await anode_vectors(nodes, self.embed_model, show_progress=self._show_progress))

    def delete_nodes(self, node_ids: Sequence[str]) -> None:
        """Remove nodes; the next retrieval does not see them.

        Raises:
            InputError: If an id is not there; nothing was removed then.
        """
        self._index.delete(node_ids)

    def with_filters(self, filters: MetadataFilters | None) -> NudgeRetriever:
        """Return a retriever with other filters over the same nodes and vectors, for one request: nothing is built.

        Nodes that are inserted into or deleted from either are so in both.

        Args:
            filters: Only nodes whose metadata pass; None takes all.

        >>> retriever.with_filters(filters).retrieve("who purrs?")  # doctest: +SKIP
        """
        other = copy.copy(self)
        other.filters = filters
        return other

    def persist(self, persist_dir: str | os.PathLike[str]) -> None:
        """Write nodes, vectors and nudge to a folder: JSON and numbers, nothing that can run.

        What an ``IndexNode`` leads to is written where it is a node or JSON; a retriever, a query engine and the like
        are left out, with a warning: give them to `from_persist_dir` as ``object_map``.

        Args:
            persist_dir: A folder; created if absent, and with a retriever in it replaced.

        Raises:
            InputError: If a node is no JSON.
            ArtifactError: If the folder holds files of those names that are something else.
        """
        documents = self._index.snapshot()
        nodes = [_json_of(entry["node"]) for entry in documents.metadata]
        written = NudgedIndex()
        # Before there are documents: all that it moves may have been deleted or edited since.
        written.apply(self.nudge)
        written.insert(list(documents.texts), documents.vectors, list(documents.texts.values()), nodes)
        written.save(persist_dir)

    @classmethod
    def from_persist_dir(
        cls, persist_dir: str | os.PathLike[str], embed_model: BaseEmbedding | Encoder, **kwargs: Any
    ) -> NudgeRetriever:
        """Open what `persist` wrote; nothing is embedded.

        Args:
            persist_dir: The folder.
            embed_model: The embedding model, or encoder, that the nudge was fitted with.
            **kwargs: As in the constructor: ``similarity_top_k``, ``filters``, ``object_map`` and so on.

        Raises:
            CorruptArtifactError: If an entry is no node, or a file is missing, truncated or altered.
            ArtifactError: If the folder holds something else.
            MismatchError: If the nudge was made with another model.
        """
        saved = NudgedIndex.load(persist_dir)
        if saved.nudge is None:
            raise ArtifactError(f"{persist_dir} holds an index without a nudge; give the folder of a NudgeRetriever")
        nodes = [_node_of(hit.id, hit.metadata, persist_dir) for hit in saved.get(saved.base.ids)]
        found = cls([], embed_model, saved.nudge, **kwargs)
        _insert(found._index, nodes, saved.base.vectors)
        return found

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self._index)

    def __bool__(self) -> bool:
        """Stay true without nodes: the framework asks for a retriever's presence this way."""
        return True

    def __repr__(self) -> str:
        """Show the number of nodes, the number of results and the nudge."""
        return f"NudgeRetriever({len(self)} nodes, similarity_top_k={self.similarity_top_k}, {self.nudge!r})"

    def _base_vectors(self, nodes: Sequence[BaseNode]) -> NDArray[np.float32]:
        return node_vectors(nodes, self.embed_model, show_progress=self._show_progress)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        query = transformed(query_bundle, self.query_transform)
        return self._search(query_vector(query, self.embed_model), query_bundle.query_str)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        query = await asyncio.to_thread(transformed, query_bundle, self.query_transform)
        vector = await aquery_vector(query, self.embed_model)
        return await asyncio.to_thread(self._search, vector, query_bundle.query_str)

    def _search(self, vector: Sequence[float], words: str) -> list[NodeWithScore]:
        filters = self.filters
        where = None if filters is None else lambda metadata: passes(filters, metadata["node"].metadata)
        k = check_count("similarity_top_k", self.similarity_top_k)
        hits = self._index.search(vector, k, where=where, text=words)
        # Copies, since postprocessors and callers change what they get.
        return [NodeWithScore(node=own_copy(hit.metadata["node"]), score=hit.score) for hit in hits]


def _insert(index: NudgedIndex, nodes: Sequence[BaseNode], vectors: NDArray[Any]) -> None:
    check_ids(nodes)
    # The vector lies in the index; a node goes out to language models and users without it.
    entries = [{"node": own_copy(bare(node))} for node in nodes]
    index.insert([node.node_id for node in nodes], vectors, [text_of(node) for node in nodes], entries)


def _json_of(node: BaseNode) -> dict[str, Any]:
    try:
        return doc_to_json(node)
    except ValueError:
        if not isinstance(node, IndexNode) or node.obj is None:
            raise
    logger.warning(
        "what node %r leads to, a %s, cannot be written: give it to from_persist_dir as object_map={%r: ...}",
        node.node_id,
        type(node.obj).__name__,
        node.index_id,
    )
    return doc_to_json(node.model_copy(update={"obj": None}))


def _node_of(node_id: str, content: Mapping[str, Any], folder: str | os.PathLike[str]) -> BaseNode:
    try:
        node = json_to_doc(dict(content))
        if node.node_id == node_id:
            return node
        fault = f"is of {node.node_id!r}"
    except Exception as error:  # whatever the framework says of what is no node
        fault = f"is none ({error!r})"
    raise CorruptArtifactError(f"the node that {folder} holds for {node_id!r} {fault}; persist the retriever again")
