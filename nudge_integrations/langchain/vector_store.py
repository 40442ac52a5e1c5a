"""NudgeVectorStore: a vector store that searches exactly, by inner product, and fits, applies and reverts nudges."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Unpack

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError
from nudge_integrations.langchain.embeddings import NudgedEmbeddings
from nudge_integrations.langchain.encoder import (
    as_embedding,
    check_index,
    check_model,
    fingerprint_of,
    query_vectors_of,
)
from nudge_integrations.langchain.fitting import (
    PARENT_KEY,
    Fit,
    FitOptions,
    QueryTransform,
    Refit,
    arewritten,
    rewritten,
)
from nudge_integrations.langchain.stored_documents import StoredDocuments
from nudge_integrations.pipeline.nudged_index import NudgedIndex

__all__ = ["NudgeVectorStore"]


class NudgeVectorStore(StoredDocuments):
    """A store in memory that compares a query with every vector, by inner product, and fits nudges to labelled queries.

    Base vectors are kept beside the nudged ones: every fit starts from them, and ``revert`` is exact. Equal scores are
    ordered by insertion.

    Setup:
        ``pip install 'nudge-integrations[langchain]'``

    Key init args:
        embedding: Embeddings | Encoder
            Makes the vectors of documents and queries: base embeddings, not nudged ones.
        id_key: str | None
            The metadata key that holds the id of documents without ``id``.

    Instantiate:
        .. code-block:: python

            store = NudgeVectorStore(embedding)

    Add, replace, delete:
        .. code-block:: python

            store.add_documents([Document(id="1", page_content="cats purr", metadata={"kind": "cat"})])
            store.add_embeddings(["dogs bark"], [vector], ids=["2"])  # nothing is embedded
            store.delete(["2"])

    Search:
        .. code-block:: python

            store.similarity_search("who purrs?", k=1, filter={"kind": "cat"})
            store.similarity_search("who purrs?", filter={"year": {"$gte": 2020}, "kind": {"$in": ["cat", "dog"]}})
            store.similarity_search_with_score("who purrs?", filter=lambda metadata: "kind" in metadata)
            store.max_marginal_relevance_search("who purrs?", k=2)
            store.as_retriever(search_kwargs={"k": 3}).invoke("who purrs?")

    Fit and save:
        .. code-block:: python

            store.fit(dataset)  # a RetrievalDataset, or anything that RetrievalDataset.from_object accepts
            store.refit(feedback)  # new labels beside those
            store.revert()
            store.save_local("folder")
            store = NudgeVectorStore.load_local("folder", embedding)

    Async:
        .. code-block:: python

            await store.aadd_documents(documents)
            await store.asimilarity_search("who purrs?")
            await store.afit(dataset)

    Raises:
        InputError: If the embeddings are nudged ones.
    """

    def __init__(self, embedding: Embeddings | Encoder, *, id_key: str | None = None) -> None:
        if isinstance(embedding, NudgedEmbeddings):
            raise InputError("this store nudges its own vectors; give it the base embeddings (embedding.base)")
        self._embedding = as_embedding(embedding)
        self.id_key = id_key
        self._index = NudgedIndex()
        self._query_vectors = query_vectors_of(self._embedding)

    def __repr__(self) -> str:
        return f"NudgeVectorStore({len(self)} documents, {type(self._embedding).__name__}, nudge={self.nudge!r})"

    def __len__(self) -> int:
        return len(self._index)

    @property
    def embeddings(self) -> Embeddings:
        """The base embeddings."""
        return self._embedding

    @property
    def nudge(self) -> Nudge | None:
        """The nudge that documents are served with; None before the first and after `revert`."""
        return self._index.nudge

    def fit(
        self,
        dataset: RetrievalDataset | Any,
        *,
        parent_key: str | None = PARENT_KEY,
        query_transform: QueryTransform | None = None,
        query_vectors: Any = None,
        validation_query_vectors: Any = None,
        **options: Unpack[FitOptions],
    ) -> Nudge:
        """Fit a nudge to labelled queries and serve it, in place of any nudge before.

        Args:
            dataset: Queries and the documents that answer them, known by id, else by their pieces, else by text;
                anything that ``RetrievalDataset.from_object`` accepts, or feedback.
            parent_key: The metadata key that holds the id of the document that a piece was cut from, whose labels count
                for all its pieces; by default that of LangChain's ``ParentDocumentRetriever``, None reads no parents.
            query_transform: Rewrites the dataset's queries before they are embedded; search with the same one.
            query_vectors: (m, d) in the order of the dataset's queries, if they are there already; else they are
                embedded, and kept for the next fit, also where embedding fails halfway.
            validation_query_vectors: The same for the queries of ``validation``.
            **options: As `FitOptions` says.

        Returns:
            The nudge, which is also the property `nudge` from now on.

        Raises:
            DatasetError: If the dataset has problems, or a relevant document is not there.
            InputError: If an option is unknown or cannot be used, or query vectors do not fit the dataset.
        """
        task = Fit(self._index, self._embedding, dataset, parent_key, options)
        if query_vectors is None:
            query_vectors = self._query_vectors.of(rewritten(task.train, query_transform))
        if validation_query_vectors is None and task.validation is not None:
            validation_query_vectors = self._query_vectors.of(rewritten(task.validation, query_transform))
        nudge = task.nudge(query_vectors, validation_query_vectors)
        self.apply(nudge)
        return nudge

    async def afit(
        self,
        dataset: RetrievalDataset | Any,
        *,
        parent_key: str | None = PARENT_KEY,
        query_transform: QueryTransform | None = None,
        query_vectors: Any = None,
        validation_query_vectors: Any = None,
        **options: Unpack[FitOptions],
    ) -> Nudge:
        """Do what `fit` does with the async paths of the embeddings and the transform, without blocking."""
        task = await run_in_executor(None, Fit, self._index, self._embedding, dataset, parent_key, options)
        if query_vectors is None:
            query_vectors = await self._query_vectors.aof(await arewritten(task.train, query_transform))
        if validation_query_vectors is None and task.validation is not None:
            texts = await arewritten(task.validation, query_transform)
            validation_query_vectors = await self._query_vectors.aof(texts)
        nudge = await run_in_executor(None, task.nudge, query_vectors, validation_query_vectors)
        await run_in_executor(None, self.apply, nudge)
        return nudge

    def refit(
        self,
        labels: RetrievalDataset | Any | None = None,
        *,
        parent_key: str | None = PARENT_KEY,
        query_transform: QueryTransform | None = None,
        weights: LabelWeights | None = None,
        **options: Any,
    ) -> Nudge:
        """Fit again to all labels, those that the nudge keeps and new ones, and serve the result from now on.

        Only new queries are embedded. Documents are known by id, else by text; labels of those gone or edited wait.

        Args:
            labels: New labels, a `FeedbackLog` too; None for those that ``nudge.labels`` has got since.
            parent_key: As in `fit`.
            query_transform: As in `fit`.
            weights: How much the new labels count; None for what comes with them, else 1.
            **options: As in ``nudge_integrations.refit``, such as ``source``; options of the fit are those of the last.

        Raises:
            InputError: If there is no nudge yet, or it keeps no labels.
        """
        task = Refit(self._index, self._embedding, labels, parent_key, weights)
        rows = None if task.new is None else self._query_vectors.of(rewritten(task.new, query_transform))
        nudge = task.nudge(self.nudge, rows, options)
        self.apply(nudge)
        return nudge

    async def arefit(self, labels: RetrievalDataset | Any | None = None, **options: Any) -> Nudge:
        """Do what `refit` does without blocking."""
        return await run_in_executor(None, partial(self.refit, labels, **options))

    def apply(self, nudge: Nudge) -> None:
        """Serve documents where a nudge puts them, in place of any nudge before.

        Raises:
            MismatchError: If it moves documents but none of these, or comes from another model.
        """
        check_model(self._embedding, nudge)
        self._index.apply(nudge)

    def revert(self) -> None:
        """Serve base vectors again, exactly."""
        self._index.revert()

    def base_copy(self) -> NudgeVectorStore:
        """Return another store with the same documents at their base vectors, to `fit` or `apply` another nudge to."""
        other = type(self)(self._embedding, id_key=self.id_key)
        other._index = self._index.copy()
        other._query_vectors = self._query_vectors
        return other

    def save_local(self, path: str | os.PathLike[str]) -> None:
        """Write documents, vectors, nudge and the model's fingerprint to a folder: nothing that could run.

        Raises:
            InputError: If metadata would not come back as it is: what is no JSON, tuples, keys that are no strings;
                names the document.
            ArtifactError: If something else is in the way.
        """
        self._index.save(path, model=fingerprint_of(self._embedding))

    @classmethod
    def load_local(
        cls,
        path: str | os.PathLike[str],
        embedding: Embeddings | Encoder,
        *,
        id_key: str | None = None,
        verify: bool = True,
    ) -> NudgeVectorStore:
        """Open a saved store.

        Args:
            path: The folder.
            embedding: The embeddings that it was filled with.
            id_key: As in the constructor.
            verify: Hash every byte, and embed a few documents again to see that their vectors are this model's, but for
                vectors that came through `add_embeddings`. False checks sizes and fingerprints only, and maps large
                files from the disk.

        Raises:
            CorruptArtifactError: If a file is missing, truncated or altered.
            MismatchError: If the vectors are another model's.
            ArtifactError: If the folder holds something else, or a newer format.
        """
        store = cls(embedding, id_key=id_key)
        store._index = NudgedIndex.load(path, verify=verify)
        check_index(store._embedding, store._index, embed=verify)
        return store

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | Encoder,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> NudgeVectorStore:
        """Make a store of texts; ``kwargs`` go to the constructor."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | Encoder,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> NudgeVectorStore:
        """Do what `from_texts` does with the embeddings' own async path."""
        store = cls(embedding, **kwargs)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store
