"""Training: nodes, labels and their base vectors, each embedded once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.indices.query.query_transform.base import BaseQueryTransform
from llama_index.core.schema import BaseNode, TextNode
from numpy.typing import NDArray

from nudge_integrations.artifact import Nudge
from nudge_integrations.artifact.matching import apply_documents
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights, weights_of_queries
from nudge_integrations.feedback import labels_and_weights
from nudge_integrations.llama_index.encoder import fingerprint_of
from nudge_integrations.llama_index.nodes import (
    bare,
    check_ids,
    own_copy,
    raw_texts,
    text_of,
    to_nodes,
    weighted_labels_over_nodes,
)
from nudge_integrations.llama_index.vectors import anode_vectors, aquery_vectors, node_vectors, query_vectors
from nudge_integrations.pipeline import RefitDetails, fit, labels_over_documents, refit_details, similarity_of
from nudge_integrations.pipeline.label_keeping import kept_labels

__all__ = ["Training"]

logger = logging.getLogger(__name__)


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
        self._weights: LabelWeights = {}
        self._query_vectors: dict[str, NDArray[np.float32]] = {}
        # Ids and texts of nodes and documents that were deleted.
        self._deleted: set[str] = set()

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
        (train, _), (validation, _) = (self._served(part, self.nodes) for part in (self._train, self._validation))
        return train, validation if len(validation) else None

    def insert(self, nodes: Sequence[BaseNode]) -> None:
        """Take nodes that an index got, in place of those with their ids; they are embedded before the next fit."""
        new = [own_copy(bare(node)) for node in nodes]
        self._keep(~np.isin([node.node_id for node in self.nodes], [node.node_id for node in new]))
        self.nodes = [*self.nodes, *new]
        self._deleted -= _names(new)

    def delete(self, node_ids: Iterable[str]) -> None:
        """Leave nodes out from now on, and labels that nothing else answers."""
        ids = set(node_ids)
        self._delete([node.node_id in ids for node in self.nodes])

    def delete_document(self, ref_doc_id: str) -> None:
        """Leave all nodes out that were cut from a document."""
        self._delete([node.ref_doc_id == ref_doc_id for node in self.nodes])

    def add(
        self,
        train: Any,
        validation: Any | None = None,
        nodes: Sequence[BaseNode] | None = None,
        *,
        more: Any = None,
        weights: LabelWeights | None = None,
    ) -> None:
        """Add labels and documents; nothing is added if something is wrong.

        Args:
            train: A dataset, or whatever holds one.
            validation: Another one, or None.
            nodes: What is served; None makes a node of every new document that is not there yet, by its id, by its
                pieces or, where nodes have other ids than the datasets, by its text.
            more: A dataset of which only the documents count, or None.
            weights: How much the training labels count; None for what comes with them, else 1.

        Raises:
            DatasetError: If one id has two texts, or labels are about documents that are not there.
            InputError: If node ids come twice.
        """
        texts = {node.node_id: text_of(node) for node in (self.nodes if nodes is None else nodes)}
        new_train, counts = labels_and_weights(train, weights, texts)
        new_validation = (
            RetrievalDataset({}, {}, {}) if validation is None else RetrievalDataset.from_object(validation)
        )
        extra = RetrievalDataset({}, {}, {}) if more is None else RetrievalDataset.from_object(more)
        merged = self._train.merge(new_train), self._validation.merge(new_validation)
        named = RetrievalDataset({**merged[0].corpus}, {}, {}).merge(RetrievalDataset(merged[1].corpus, {}, {}))
        named.merge(RetrievalDataset(extra.corpus, {}, {}))  # refuses an id with two texts
        batch = {**new_train.corpus, **new_validation.corpus, **extra.corpus}
        served = [*self.nodes, *(self._unknown(batch) if nodes is None else map(own_copy, nodes))]
        check_ids(served)
        for labels in merged:
            self._served(labels, served)
        self.nodes = served
        self._train, self._validation = merged
        self._weights = {**self._weights, **(counts or {})}

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
        weights = self._served(self._train, self.nodes, self._weights)[1]
        model, queries = fingerprint_of(self.embed_model), self._rows(train.queries.values())
        held_out = None if validation is None else self._rows(validation.queries.values())
        return fit(
            train,
            model,
            validation=validation,
            document_vectors=self.vectors,
            query_vectors=queries,
            similarity=similarity_of(getattr(self.embed_model, "encoder", self.embed_model)),
            validation_query_vectors=held_out,
            labels=kept_labels(
                model, train, queries, validation, held_out, raw_texts=raw_texts(self.nodes), weights=weights
            ),
            weights=weights,
            **options,
        )

    def refit(
        self, nudge: Nudge, labels: Any | None, *, weights: LabelWeights | None = None, **options: Any
    ) -> RefitDetails:
        """Fit to the labels that a nudge keeps and new ones; all of them are the training labels from now on."""
        self.embed_nodes()
        texts, raw = {node.node_id: text_of(node) for node in self.nodes}, raw_texts(self.nodes)
        given, counts = (None, None) if labels is None else labels_and_weights(labels, weights, texts)
        new, counts = (None, None) if given is None else self._served(given, self.nodes, counts)
        path = _QueryPath(nudge.encoder, self)
        rows = None if new is None else path.encode_queries(list(new.queries.values()))
        beside: dict[str, Any] = {"documents": texts, "raw_texts": raw, "query_vectors": rows, "encoder": path}
        details = refit_details(nudge, new, self.vectors, weights=counts, **beside, **options)
        self._train, kept, _ = labels_over_documents(details.nudge.labels, texts, raw_texts=raw)
        self._weights = kept or {}
        self._validation = RetrievalDataset({}, {}, {})
        return details

    def query_rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (m, d) vectors of queries; each is embedded once."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._query_vectors]:
            options = {"show_progress": self.show_progress}
            self._keep_queries(new, query_vectors(new, self.embed_model, self.query_transform, **options))
        return self._rows(texts)

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

    def _unknown(self, documents: Mapping[str, str]) -> list[TextNode]:
        ids = {node.node_id for node in self.nodes} | {node.ref_doc_id for node in self.nodes} | self._deleted
        named = self._train.corpus.keys() | self._validation.corpus.keys()
        # Two documents of a dataset may share a text; a node with an id of its own is the document with its text.
        texts = {text_of(node) for node in self.nodes if node.node_id not in named} | self._deleted
        new = {i: text for i, text in documents.items() if i not in ids and text not in texts}
        return to_nodes(RetrievalDataset(new, {}, {}))

    def _served(
        self, labels: RetrievalDataset, nodes: Sequence[BaseNode], weights: LabelWeights | None = None
    ) -> tuple[RetrievalDataset, LabelWeights | None]:
        """Read labels and what they count over nodes, without those of documents that were deleted."""
        if gone := self._deleted - _names(nodes):
            left = {
                query: {i: grade for i, grade in judged.items() if not gone & {i, labels.corpus.get(i, i)}}
                for query, judged in labels.qrels.items()
            }
            qrels = {query: judged for query, judged in left.items() if any(judged.values())}
            if missing := len(labels.qrels) - len(qrels):
                logger.warning("%d labelled queries are left out: their documents were deleted", missing)
            labels = RetrievalDataset(labels.corpus, {query: labels.queries[query] for query in qrels}, qrels)
        return weighted_labels_over_nodes(nodes, labels, weights_of_queries(weights, labels.queries))

    def _delete(self, chosen: Sequence[bool]) -> None:
        self._deleted |= _names([node for node, gone in zip(self.nodes, chosen, strict=True) if gone])
        self._keep(~np.asarray(chosen, dtype=bool))

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        self.vectors = self.vectors[kept[: len(self.vectors)]]
        self.nodes = [node for node, stays in zip(self.nodes, kept, strict=True) if stays]


class _QueryPath:
    """The query path of an engine as an encoder under the name that its nudge knows."""

    def __init__(self, fingerprint: str, training: Training) -> None:
        self.fingerprint, self._training = fingerprint, training

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._training.query_rows(texts)

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise NotImplementedError("an engine embeds its nodes itself")


def _names(nodes: Iterable[BaseNode]) -> set[str]:
    """Return what labels may call nodes: their ids, the ids of what they were cut from, and their texts."""
    return {name for node in nodes for name in (node.node_id, node.ref_doc_id, text_of(node)) if name}
