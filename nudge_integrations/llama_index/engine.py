"""NudgeFinetuneEngine: labelled queries and nodes in; retriever, index, embedding model and artifact out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any, Literal, Self, Unpack

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.constants import DEFAULT_SIMILARITY_TOP_K
from llama_index.core.indices.query.query_transform.base import BaseQueryTransform
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import BaseNode
from llama_index.core.storage.storage_context import StorageContext
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from numpy.typing import NDArray

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus.arrays import checked_device
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Bm25, Signal
from nudge_integrations.index import with_extra_coordinate
from nudge_integrations.llama_index.embedding import NudgedEmbedding, base_model
from nudge_integrations.llama_index.encoder import check_model
from nudge_integrations.llama_index.encoder_finetuning import EncoderFinetuning, EncoderOptions
from nudge_integrations.llama_index.events import send_end, send_start
from nudge_integrations.llama_index.former_engine import chosen_method, register
from nudge_integrations.llama_index.live_index import LiveIndexEngine
from nudge_integrations.llama_index.nodes import with_embeddings
from nudge_integrations.llama_index.refitting import RefittingEngine
from nudge_integrations.llama_index.retriever import NudgeRetriever
from nudge_integrations.llama_index.served_index import filled_index
from nudge_integrations.llama_index.store import needs_extra_coordinate
from nudge_integrations.llama_index.training import Training
from nudge_integrations.solver import Options, OptionValues

__all__ = ["NudgeFinetuneEngine"]


class NudgeFinetuneEngine(RefittingEngine):
    """Fits a nudge to labelled queries and serves nodes with it; an engine like the framework's former ones.

    Nodes are embedded once, as an index embeds them (``MetadataMode.EMBED``), in the model's batches; those that come
    with an ``embedding`` keep it, image nodes go through a multi-modal model's image path. Queries go through the query
    path. Every fit starts from base vectors, so fitting twice is fitting once.

    Args:
        train_dataset: Queries and the documents that answer them: a ``RetrievalDataset``, an
            ``EmbeddingQAFinetuneDataset`` or an object like one, or the path of its JSON.
        embed_model: The embedding model, or encoder. The base model of a ``NudgedEmbedding`` is used.
        val_dataset: Other queries to choose the step by, with their documents; None takes exact leave-one-out.
        nodes: The nodes to serve; None makes one of each document. Labels find them by id, source document or text.
        method: As in ``nudge_integrations.fit``.
        signals: ``("bm25",)`` adds BM25 to the scores with the weight that is best; `as_retriever` serves it.
        duplicates: ``"merge"`` moves nodes with the same text as one, ``"keep"`` each alone, ``"error"`` refuses them.
        finetune_encoder: True, or a mapping of options of ``nudge_integrations.finetune.finetune_encoder``: first train
            ``embed_model``, a sentence-transformers model in any form or its name, on the same labels. Give a
            ``val_dataset`` with it: queries that were trained on say little about the step.
        query_transform: Rewrites queries, alike when fitting and in ``as_retriever``, such as ``HyDEQueryTransform``.
        use_nudge_n: As in the framework's former engine: True is ``method="nudge-n"``, False ``"nudge-m"``.
        callback_manager: Traces the fit, and is passed to retrievers and indexes.
        show_progress: Whether to show progress bars.
        weights: How much labels count; None for what comes with them, as of ``Feedback.labels``, else 1.
        **options: All others of ``nudge_integrations.fit``, such as ``device``; ``Options`` says what each means.

    Raises:
        DatasetError: If a dataset cannot be read, or a relevant document is not among the nodes.
        InputError: If node ids come twice, the device is not there, or options contradict each other.

    >>> NudgeFinetuneEngine("pairs.json", embed_model).finetune()  # doctest: +SKIP
    """

    def __init__(
        self,
        train_dataset: RetrievalDataset | Any,
        embed_model: BaseEmbedding | Encoder | Any,
        val_dataset: RetrievalDataset | Any | None = None,
        *,
        nodes: Sequence[BaseNode] | None = None,
        method: str = "auto",
        signals: Sequence[str | Bm25 | Signal] = (),
        duplicates: Literal["keep", "merge", "error"] = "merge",
        finetune_encoder: EncoderOptions = False,
        query_transform: BaseQueryTransform | None = None,
        use_nudge_n: bool | None = None,
        callback_manager: CallbackManager | None = None,
        show_progress: bool = False,
        weights: LabelWeights | None = None,
        **options: Unpack[OptionValues],
    ) -> None:
        self._tuning = EncoderFinetuning.of(embed_model, finetune_encoder, query_transform)
        self.embed_model = base_model(embed_model if self._tuning is None else self._tuning.base)
        self.method = chosen_method(method, use_nudge_n)
        self.metric = Options().changed(**options).metric
        self.query_transform = query_transform
        self.callback_manager = callback_manager or CallbackManager([])
        self.show_progress = show_progress
        checked_device(options.get("device"))
        self._options: Any = {"progress": show_progress, **options, "signals": signals, "duplicates": duplicates}
        self._training = Training(self.embed_model, query_transform, show_progress=show_progress)
        self._training.add(train_dataset, val_dataset, nodes, weights=weights)
        self._nudge: Nudge | None = None

    @classmethod
    def from_artifact(
        cls,
        path: str | os.PathLike[str] | Nudge,
        embed_model: BaseEmbedding | Encoder,
        nodes: Sequence[BaseNode],
        train_dataset: RetrievalDataset | Any | None = None,
        val_dataset: RetrievalDataset | Any | None = None,
        **options: Any,
    ) -> Self:
        """Serve nodes with a nudge that was fitted before, by whichever framework.

        Args:
            path: The folder of a saved nudge, or the nudge.
            embed_model: The embedding model, or encoder, that it was fitted with.
            nodes: The nodes to serve.
            train_dataset: The labels that it was fitted to, for `finetune`; `refit` takes those that the nudge keeps.
            val_dataset: The validation labels.
            **options: As in the constructor.

        Raises:
            CorruptArtifactError: If a file is missing, truncated or altered.
            MismatchError: If the nudge belongs to another model.
        """
        engine = cls(train_dataset or RetrievalDataset({}, {}, {}), embed_model, val_dataset, nodes=nodes, **options)
        engine._nudge = path if isinstance(path, Nudge) else Nudge.load(path)
        check_model(engine.embed_model, engine._nudge)
        return engine

    @classmethod
    def from_index(
        cls, index: VectorStoreIndex, train_dataset: RetrievalDataset | Any = None, **options: Any
    ) -> LiveIndexEngine:
        """Fit to the vectors that the store of an index holds, and move them there; options as in `LiveIndexEngine`."""
        return LiveIndexEngine(index, train_dataset, **options)

    @property
    def nudge(self) -> Nudge | None:
        """The nudge that nodes are served with; None before the first fit."""
        return self._nudge

    @property
    def nodes(self) -> list[BaseNode]:
        """The nodes that are served, in order."""
        return list(self._training.nodes)

    def finetune(self) -> None:
        """Embed what is not embedded yet, and fit; the result is ``nudge``, which everything built from now on uses.

        Raises:
            DatasetError: If the dataset has problems; ``RetrievalDataset.repaired`` leaves them out.
            InputError: If there are no labels, or vectors cannot be used.
        """
        self._begin()
        with self.callback_manager.as_trace("nudge_finetune"):
            self._tune()
            self._training.embed()
            self._fit()

    async def afinetune(self) -> None:
        """Do the same as `finetune` without blocking: ``num_workers`` calls of the model at once."""
        self._begin()
        with self.callback_manager.as_trace("nudge_finetune"):
            await asyncio.to_thread(self._tune)
            await self._training.aembed()
            await asyncio.to_thread(self._fit)

    def insert_data_and_finetune(
        self,
        new_train_dataset_batch: RetrievalDataset | Any,
        new_val_dataset_batch: RetrievalDataset | Any | None = None,
        new_nontrain_dataset_batch: RetrievalDataset | Any | None = None,
    ) -> None:
        """Add documents and queries, and fit all labels together, from base vectors; only what is new is embedded.

        Args:
            new_train_dataset_batch: New queries, about new documents or old ones.
            new_val_dataset_batch: New validation queries.
            new_nontrain_dataset_batch: A dataset of which only the documents are taken.

        Raises:
            DatasetError: If an id that is there comes with another text.
            InputError: If the engine serves a saved nudge without its labels, which a fit would forget.
        """
        if self._nudge is not None and not self._training.queries:
            raise InputError(
                "this engine serves a saved nudge, which a fit of new labels alone would undo: refit() fits them "
                "beside those that the nudge keeps; or give from_artifact its train_dataset"
            )
        self._training.add(new_train_dataset_batch, new_val_dataset_batch, more=new_nontrain_dataset_batch)
        self.finetune()

    def get_finetuned_model(self, **model_kwargs: Any) -> NudgedEmbedding:
        """Return a `NudgedEmbedding`: known texts get nudged vectors, queries go through the map if there is one."""
        return NudgedEmbedding(self.embed_model, self._fitted(), **model_kwargs)

    def get_finetuned_corpus_embeddings(self) -> NDArray[np.float32]:
        """Return the nudged vectors of all nodes, (n, d) float32 in the order of the nodes.

        Where ``nudge.similarity == "dot"`` they are right under inner product alone; `as_index` sees to that. With a
        query map, search by ``nudge.transform_queries``.
        """
        return self._training.nudged(self._fitted())

    def get_finetuned_nodes(self, *, extra_coordinate: bool | None = None) -> list[BaseNode]:
        """Return copies of the nodes with nudged vectors as ``embedding``, for an index or a store.

        Args:
            extra_coordinate: As in `NudgedEmbedding`, which embeds the queries for them: give both the same.
        """
        nudge, vectors = self._fitted(), self.get_finetuned_corpus_embeddings()
        if nudge.similarity == "dot" if extra_coordinate is None else extra_coordinate:
            vectors = with_extra_coordinate(vectors, nudge.max_norm)
        return with_embeddings(self._training.nodes, vectors)

    def as_retriever(self, similarity_top_k: int = DEFAULT_SIMILARITY_TOP_K, **kwargs: Any) -> NudgeRetriever:
        """Return a retriever that searches nudged vectors exactly.

        Args:
            similarity_top_k: How many nodes to return.
            **kwargs: As in `NudgeRetriever`.
        """
        nudge = self._fitted()
        self._training.embed_nodes()
        options = {"query_transform": self.query_transform, "callback_manager": self.callback_manager, **kwargs}
        options |= {"similarity_top_k": similarity_top_k, "vectors": self._training.vectors}
        return NudgeRetriever(self._training.nodes, self.embed_model, nudge, **options)

    def as_index(
        self,
        vector_store: BasePydanticVectorStore | None = None,
        storage_context: StorageContext | None = None,
        *,
        extra_coordinate: bool | None = None,
        **kwargs: Any,
    ) -> VectorStoreIndex:
        """Write nudged vectors to a vector store and return its index; nothing is embedded again.

        Nodes that differ replace what the store holds; none is lost if writing fails. What is inserted or deleted
        through the index, the engine inserts and deletes too. It embeds by `get_finetuned_model`, without the
        ``query_transform``: wrap its retriever in the framework's ``TransformRetriever``.

        Args:
            vector_store: The store; None takes that of the ``storage_context``, else the framework's in memory.
            storage_context: A storage context with the store in it.
            extra_coordinate: Whether vectors get one more coordinate, with which cosine and L2 rank by inner product.
                None decides by what the store ranks by, and adds it where that is unknown and lengths matter.
            **kwargs: As in ``VectorStoreIndex``.

        Raises:
            SimilarityError: If the store would rank the vectors wrongly and cannot take the coordinate.
            InputError: If both a store and a context are given, or the store cannot replace its nodes.
        """
        if vector_store is not None and storage_context is not None:
            raise InputError("as_index got a vector_store and a storage_context; the context has a store of its own")
        context = storage_context or StorageContext.from_defaults(vector_store=vector_store)
        if extra_coordinate is None:
            extra_coordinate = needs_extra_coordinate(context.vector_store, self._fitted())
        asked: Any = {"extra_coordinate": extra_coordinate}
        nodes, model = self.get_finetuned_nodes(**asked), self.get_finetuned_model(**asked)
        options = {"callback_manager": self.callback_manager, "show_progress": self.show_progress, **kwargs}
        return filled_index(context, nodes, model, self._training, **options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the nudge for `from_artifact` and `Nudge.load`; ArtifactError if a foreign file is in its place."""
        self._fitted().save(path)

    def __repr__(self) -> str:
        result = f"method={self.method!r}, not fitted" if self._nudge is None else repr(self._nudge)
        return f"NudgeFinetuneEngine({len(self._training.nodes)} nodes, {self._training.queries} queries, {result})"

    def _fitted(self) -> Nudge:
        if self._nudge is None:
            raise InputError("nothing was fitted yet: call finetune() first")
        return self._nudge

    def _begin(self) -> None:
        if not self._training.queries:
            raise InputError("there are no labelled queries to fit: this engine serves a saved nudge, or got none")
        send_start(self.method, self.metric, len(self._training.nodes), self._training.queries)

    def _tune(self) -> None:
        if self._tuning is not None:
            self.embed_model = self._tuning.run(self._training)

    def _fit(self) -> None:
        self._nudge = self._training.fit(method=self.method, **self._options)
        send_end(self._nudge)


register(NudgeFinetuneEngine)
