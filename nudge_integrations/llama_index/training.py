"""Training: nodes, labels and their base vectors, each embedded once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.indices.query.query_transform.base import BaseQueryTransform
from llama_index.core.schema import BaseNode
from numpy.typing import NDArray

from nudge_integrations.artifact import Nudge
from nudge_integrations.artifact.matching import apply_documents
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.llama_index.encoder import fingerprint_of
from nudge_integrations.llama_index.nodes import check_ids, labels_over_nodes, text_of, to_nodes
from nudge_integrations.llama_index.vectors import anode_vectors, aquery_vectors, node_vectors, query_vectors
from nudge_integrations.pipeline import fit, similarity_of

__all__ = ["Training"]


class Training:
    """Nodes, training and validation labels, which may grow, and base vectors of what was embedded so far.

    Args:
        embed_model: The base embedding model.
        query_transform: Rewrites queries before they are embedded.
        show_progress: Whether to show bars.
    """

    def __init__(
        self, embed_model: BaseEmbedding, query_transform: BaseQueryTransform | None, *, show_progress: bool
    ) -> None:
        self.embed_model = embed_model
        self.query_transform = query_transform
        self.show_progress = show_progress
        self.nodes: list[BaseNode] = []
        self.vectors: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
        self._train = self._validation = RetrievalDataset({}, {}, {})
        self._query_vectors: dict[str, NDArray[np.float32]] = {}

    @property
    def queries(self) -> int:
        """Number of training queries."""
        return len(self._train)

    def change_model(self, embed_model: BaseEmbedding) -> None:
        """Take another embedding model; whatever was embedded will be embedded again."""
        self.embed_model = embed_model
        self.vectors = np.empty((0, 0), dtype=np.float32)
        self._query_vectors = {}

    def labels(self) -> tuple[RetrievalDataset, RetrievalDataset | None]:
        """Return the training and the validation labels over the nodes; None for the latter where there are none.

        Raises:
            DatasetError: If a relevant document is not among the nodes.
        """
        validation = labels_over_nodes(self.nodes, self._validation) if len(self._validation) else None
        return labels_over_nodes(self.nodes, self._train), validation

    def add(
        self, train: Any, validation: Any | None = None, nodes: Sequence[BaseNode] | None = None, *, more: Any = None
    ) -> None:
        """Add labels and documents; nothing is added if something is wrong.

        Args:
            train: A dataset, or whatever holds one.
            validation: Another one, or None.
            nodes: What is served; None makes a node of every document that is not there yet.
            more: A dataset of which only the documents count, or None.

        Raises:
            DatasetError: If one id has two texts, or labels are about documents that are not there.
            InputError: If node ids come twice.
        """
        new_train = RetrievalDataset.from_object(train)
        new_validation = (
            RetrievalDataset({}, {}, {}) if validation is None else RetrievalDataset.from_object(validation)
        )
        extra = RetrievalDataset({}, {}, {}) if more is None else RetrievalDataset.from_object(more)
        parts = (self._train, self._validation, new_train, new_validation, extra)
        corpus = RetrievalDataset({}, {}, {})
        for part in parts:
            corpus = corpus.merge(RetrievalDataset(part.corpus, {}, {}))
        served = [*self.nodes, *(_unknown(corpus, self.nodes) if nodes is None else nodes)]
        check_ids(served)
        merged = self._train.merge(new_train), self._validation.merge(new_validation)
        for labels in merged:
            labels_over_nodes(served, labels)
        self.nodes = served
        self._train, self._validation = merged

    def embed(self) -> None:
        """Embed what was not embedded yet."""
        self.embed_nodes()
        if texts := self._new_queries():
            options = {"show_progress": self.show_progress}
            self._keep_queries(texts, query_vectors(texts, self.embed_model, self.query_transform, **options))

    def embed_nodes(self) -> None:
        """Embed the nodes that were not embedded yet."""
        if new := self.nodes[len(self.vectors) :]:
            self._keep_nodes(node_vectors(new, self.embed_model, show_progress=self.show_progress))

    async def aembed(self) -> None:
        """Embed what was not embedded yet, without blocking."""
        if new := self.nodes[len(self.vectors) :]:
            self._keep_nodes(await anode_vectors(new, self.embed_model, show_progress=self.show_progress))
        if texts := self._new_queries():
            options = {"show_progress": self.show_progress}
            self._keep_queries(texts, await aquery_vectors(texts, self.embed_model, self.query_transform, **options))

    def fit(self, **options: Any) -> Nudge:
        """Fit to all labels, from base vectors.

        Raises:
            DatasetError: If the labels have problems.
        """
        train, validation = self.labels()
        return fit(
            train,
            fingerprint_of(self.embed_model),
            validation=validation,
            document_vectors=self.vectors,
            query_vectors=self._rows(train.queries.values()),
            similarity=similarity_of(getattr(self.embed_model, "encoder", self.embed_model)),
            validation_query_vectors=None if validation is None else self._rows(validation.queries.values()),
            **options,
        )

    def nudged(self, nudge: Nudge) -> NDArray[np.float32]:
        """Return the vectors of all nodes with a nudge applied, (n, d) float32."""
        self.embed_nodes()
        ids, texts = [node.node_id for node in self.nodes], [text_of(node) for node in self.nodes]
        return apply_documents(nudge, ids, texts, self.vectors)

    def _new_queries(self) -> list[str]:
        texts = dict.fromkeys([*self._train.queries.values(), *self._validation.queries.values()])
        return [text for text in texts if text not in self._query_vectors]

    def _keep_nodes(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = np.concatenate([self.vectors, vectors]) if len(self.vectors) else vectors

    def _keep_queries(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        self._query_vectors.update(zip(texts, vectors, strict=True))

    def _rows(self, texts: Iterable[str]) -> NDArray[np.float32]:
        return np.asarray([self._query_vectors[text] for text in texts], dtype=np.float32)


def _unknown(corpus: RetrievalDataset, nodes: Sequence[BaseNode]) -> list[BaseNode]:
    known = {node.node_id for node in nodes}
    return [node for node in to_nodes(corpus) if node.node_id not in known]
