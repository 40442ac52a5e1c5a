"""LiveIndexEngine: a nudge fitted to the vectors that an index's store holds, and moved there."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.constants import DEFAULT_SIMILARITY_TOP_K
from llama_index.core.indices.vector_store.base import VectorStoreIndex

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError
from nudge_integrations.feedback import labels_and_weights
from nudge_integrations.llama_index.embedding import NudgedEmbedding, base_model
from nudge_integrations.llama_index.encoder import as_encoder, check_model
from nudge_integrations.llama_index.events import send_end, send_start
from nudge_integrations.llama_index.fused_index import FusedIndex
from nudge_integrations.llama_index.nodes import weighted_labels_over_nodes
from nudge_integrations.llama_index.stored_nodes import nodes_by_id, texts_by_id
from nudge_integrations.solver import Options
from nudge_integrations.stores import FusedStore, LiveStore, RolloutPlan, Where, fit_store, open_store

__all__ = ["LiveIndexEngine"]


class LiveIndexEngine:
    """Fits a nudge to an index that serves and moves its vectors in the store itself; nothing but queries is embedded.

    ``NudgeFinetuneEngine.from_index`` makes one. ``method="query-map"`` moves nothing: queries alone change.
    ``signals=("bm25",)`` weighs words too: by the store's own text search where it has one (a full-text index of
    LanceDB, a tsvector column of Postgres, sparse vectors of Qdrant), else by BM25 in this process beside it;
    ``repr(engine.as_index())`` says which.

    Args:
        index: An index over a store that `nudge_integrations.stores.open_store` knows.
        train_dataset: Queries and the documents that answer them, known by node id, else by source document or text.
            None where a nudge is given.
        embed_model: The model that filled the store; None for the index's own.
        method: As in ``nudge_integrations.fit``.
        where: Metadata that rows must have, for one tenant of the store.
        path: For FAISS, the file that the index is kept in, which is swapped.
        journal: Folder for the journals; None for the user's own.
        nudge: A nudge that was fitted before, or its folder, to serve what it moved, or to move it now.
        **options: As in ``nudge_integrations.stores.fit_store``.

    Raises:
        InputError: If the store is none that is known, or embeds its queries itself, or neither labels nor a nudge are
            given.
        StoreError: If it cannot be read.

    >>> engine = NudgeFinetuneEngine.from_index(index, labels)  # doctest: +SKIP
    >>> engine.finetune()  # doctest: +SKIP
    >>> print(engine.plan())  # doctest: +SKIP
    >>> retriever = engine.as_index().as_retriever()  # doctest: +SKIP
    """

    def __init__(
        self,
        index: VectorStoreIndex,
        train_dataset: RetrievalDataset | Any = None,
        embed_model: BaseEmbedding | Encoder | None = None,
        *,
        method: str = "auto",
        where: Where | None = None,
        path: str | os.PathLike[str] | None = None,
        journal: str | os.PathLike[str] | None = None,
        nudge: Nudge | str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        if (train_dataset is None) == (nudge is None):
            raise InputError("give labels to fit a nudge to, or nudge= that was fitted before")
        self.index, self.method = index, method
        self.embed_model = base_model(index._embed_model if embed_model is None else embed_model)
        self._opened = partial(open_store, index.vector_store, where=where, path=path, journal=journal)
        self.store: LiveStore = self._opened(ids=_row_ids(index))
        labels = RetrievalDataset({}, {}, {}) if nudge is not None else train_dataset
        self._dataset, self._weights = labels_and_weights(labels, options.pop("weights", None))
        self._options = options
        self._nudge: Nudge | None = nudge if nudge is None or isinstance(nudge, Nudge) else Nudge.load(nudge)
        if self._nudge is not None:
            check_model(self.embed_model, self._nudge)

    @property
    def nudge(self) -> Nudge | None:
        """The nudge that was given or fitted; None before."""
        return self._nudge

    def finetune(self) -> None:
        """Read base vectors from the store, embed the queries, and fit; the store is not changed.

        Raises:
            DatasetError: If a relevant document is not in the store.
        """
        send_start(
            self.method, Options().changed(**_known(self._options)).metric, self.store.info.count, len(self._dataset)
        )
        if not self._dataset.queries:
            raise InputError("this engine serves a nudge that was fitted before: give it labels to fit one")
        (labels, weights), encoder = self._labels(), as_encoder(self.embed_model)
        beside: Any = {"texts": partial(texts_by_id, self.index), "weights": weights, **self._options}
        self._nudge = fit_store(self.store, labels, encoder, method=self.method, **beside)
        send_end(self._nudge)

    def plan(self) -> RolloutPlan:
        """Say what `as_index` would change in the store; nothing is written."""
        return self.store.plan(self._fitted())

    def as_index(self) -> VectorStoreIndex:
        """Move the vectors that differ in the store, and return an index over it whose queries are as the nudge wants.

        Journal first, compared before it is written, read back, checked by the labelled queries; ``store.rollback()``
        gives base vectors back. A nudge that weighs words gives a `FusedIndex`, whose retriever adds them.

        Raises:
            InputError: If the nudge weighs a signal that the store does not have; nothing is moved then.
            RolloutError: If the store fails while it is changed; says how to go on.
            CanaryError: If queries did worse than predicted; the store was rolled back.
        """
        fused = FusedStore.of(self.store, self._fitted(), partial(texts_by_id, self.index))
        plan = self.plan()
        if plan.rows:
            self.store.apply(plan)
        if fused is not None:
            numbered = type(self.index.vector_store).__name__ == "FaissVectorStore"
            return FusedIndex(self.index, self.get_finetuned_model(), fused, self._reopened if numbered else None)
        context, struct = self.index.storage_context, self.index.index_struct
        return VectorStoreIndex(index_struct=struct, storage_context=context, embed_model=self.get_finetuned_model())

    def as_retriever(self, similarity_top_k: int = DEFAULT_SIMILARITY_TOP_K, **kwargs: Any) -> BaseRetriever:
        """Return a retriever of `as_index`, which moves what differs first."""
        return self.as_index().as_retriever(similarity_top_k=similarity_top_k, **kwargs)

    def get_finetuned_model(self, **model_kwargs: Any) -> NudgedEmbedding:
        """Return the model that queries go through, and nodes that are inserted later."""
        return NudgedEmbedding(self.embed_model, self._fitted(), **model_kwargs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the nudge to a folder.

        Raises:
            ArtifactError: If files of those names are there that are no nudge.
        """
        self._fitted().save(path)

    def __repr__(self) -> str:
        """Show the store and the result of the fit."""
        return f"LiveIndexEngine({self.store!r}, {'not fitted' if self._nudge is None else repr(self._nudge)})"

    def _reopened(self) -> LiveStore:
        self.store = self._opened(ids=_row_ids(self.index))
        return self.store

    def _fitted(self) -> Nudge:
        if self._nudge is None:
            raise InputError("nothing was fitted yet: call finetune() first")
        return self._nudge

    def _labels(self) -> tuple[RetrievalDataset, LabelWeights | None]:
        """Return the labels by node id, and what they count; by source document or text where they name others."""
        wanted = {i for grades in self._dataset.qrels.values() for i, grade in grades.items() if grade > 0}
        held = self.store.corpus().ids
        nodes = list(nodes_by_id(self.index, held).values()) if wanted - set(held) else []
        if not nodes:
            return self._dataset, self._weights
        return weighted_labels_over_nodes(nodes, self._dataset, self._weights)


def _row_ids(index: VectorStoreIndex) -> list[str] | None:
    """Return the node of each row of a flat FAISS index, which the index alone knows; None for other stores."""
    if type(index.vector_store).__name__ != "FaissVectorStore":
        return None
    named = index.index_struct.nodes_dict
    return [named[str(row)] for row in range(len(named))]


def _known(options: dict[str, Any]) -> Any:
    return {name: value for name, value in options.items() if name in Options.__dataclass_fields__}
