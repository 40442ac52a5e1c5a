"""A LangChain retriever over nudged documents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, Self, Unpack

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import Runnable, RunnableLambda, run_in_executor
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict, Field, field_validator

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus.counts import whole_number
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError
from nudge_integrations.langchain.embeddings import NudgedEmbeddings
from nudge_integrations.langchain.fitting import PARENT_KEY, FitOptions, QueryTransform
from nudge_integrations.langchain.live_nudge import LiveNudgedStore, fitted_in_place, nudged_store
from nudge_integrations.langchain.vector_store import NudgeVectorStore

__all__ = ["NudgeRetriever"]


class NudgeRetriever(BaseRetriever):
    """A retriever that finds documents where labelled queries have moved them; no model is trained.

    Every document has its score in ``metadata["score"]``: the inner product, or what another store's search gives. A
    document that has such a key of its own keeps its value; ``score_key`` may name another key.

    Setup:
        .. code-block:: bash

            pip install 'nudge-integrations[langchain]'

    Key init args:
        vectorstore: VectorStore
            The store that is searched; its vectors are nudged. The constructors below make or check it.
        k: int
            How many documents to return; each call may say another number.
        filter: Mapping | Callable | None
            Passed to the store's search; each call may say another one.
        query_transform: Runnable[str, str] | Callable[[str], str] | None
            Rewrites queries before they are embedded, alike when fitting and when searching (HyDE, say).
        score_key: str | None
            The metadata key that scores are written under, where a document has no such key; None writes none.

    Instantiate:
        .. code-block:: python

            from nudge_integrations.langchain import NudgeRetriever

            retriever = NudgeRetriever.from_documents(documents, embedding, dataset, k=10)
            retriever.nudge.save("nudged")

            retriever = NudgeRetriever.from_artifact("nudged", embedding, documents)
            retriever = NudgeRetriever.from_vectorstore(store, nudge)
            retriever = NudgeRetriever.from_vectorstore(store, dataset=dataset)  # moves vectors in the store itself

    Use:
        .. code-block:: python

            retriever.invoke("who purrs?")
            retriever.invoke("who purrs?", k=3, filter={"language": "en"})

    Use within a chain:
        .. code-block:: python

            chain = {"context": retriever, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()
            chain.invoke("who purrs?")

    Async:
        .. code-block:: python

            retriever = await NudgeRetriever.afrom_documents(documents, embedding, dataset)
            await retriever.ainvoke("who purrs?")
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    vectorstore: VectorStore
    k: int = Field(default=10, ge=1)
    filter: Any = None
    query_transform: Runnable[Any, Any] | None = None
    score_key: str | None = "score"

    @field_validator("query_transform", mode="before")
    @classmethod
    def _runnable(cls, value: QueryTransform | None) -> Runnable[str, str] | None:
        return value if value is None or isinstance(value, Runnable) else RunnableLambda(value)

    @property
    def nudge(self) -> Nudge | None:
        """The nudge that documents are served with; None where there is none."""
        store = self.vectorstore
        serving = store if isinstance(store, NudgeVectorStore | LiveNudgedStore) else store.embeddings
        return serving.nudge if isinstance(serving, NudgeVectorStore | LiveNudgedStore | NudgedEmbeddings) else None

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Document],
        embedding: Embeddings | Encoder,
        dataset: RetrievalDataset | Any,
        *,
        k: int = 10,
        id_key: str | None = None,
        parent_key: str | None = PARENT_KEY,
        filter: Any = None,
        query_transform: QueryTransform | None = None,
        score_key: str | None = "score",
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Embed documents, fit a nudge to labelled queries and serve the documents with it.

        Args:
            documents: The documents to search.
            embedding: Base embeddings, or an encoder.
            dataset: Queries and the documents that answer them, known by id, else by text; anything that
                ``RetrievalDataset.from_object`` accepts.
            k: How many documents to return.
            id_key: The metadata key that holds the id of documents without ``id``.
            parent_key: As in `NudgeVectorStore.fit`.
            filter: As in the class.
            query_transform: As in the class; also applied to the dataset's queries.
            score_key: As in the class.
            tags: Tags of every run.
            metadata: Metadata of every run.
            **options: How to fit, see `FitOptions`.

        Raises:
            DatasetError: If the dataset has problems, or a relevant document is not there.
            InputError: If two documents have one id.
        """
        store = NudgeVectorStore(embedding, id_key=id_key)
        store.add_documents(list(documents))
        store.fit(dataset, parent_key=parent_key, query_transform=query_transform, **options)
        given = {"k": k, "filter": filter, "query_transform": query_transform, "score_key": score_key}
        return cls(vectorstore=store, tags=tags, metadata=metadata, **given)

    @classmethod
    async def afrom_documents(
        cls,
        documents: Sequence[Document],
        embedding: Embeddings | Encoder,
        dataset: RetrievalDataset | Any,
        *,
        k: int = 10,
        id_key: str | None = None,
        parent_key: str | None = PARENT_KEY,
        filter: Any = None,
        query_transform: QueryTransform | None = None,
        score_key: str | None = "score",
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Do what `from_documents` does with the embeddings' own async paths, without blocking."""
        store = NudgeVectorStore(embedding, id_key=id_key)
        await store.aadd_documents(list(documents))
        await store.afit(dataset, parent_key=parent_key, query_transform=query_transform, **options)
        given = {"k": k, "filter": filter, "query_transform": query_transform, "score_key": score_key}
        return cls(vectorstore=store, tags=tags, metadata=metadata, **given)

    @classmethod
    def from_artifact(
        cls,
        path: str | os.PathLike[str] | Nudge,
        embedding: Embeddings | Encoder,
        documents: Sequence[Document],
        *,
        id_key: str | None = None,
        **fields: Any,
    ) -> Self:
        """Embed documents and serve them with a nudge that was fitted before, by whichever framework.

        Args:
            path: The folder of a saved nudge, or the nudge.
            embedding: The embeddings, or the encoder, that it was fitted with.
            documents: The documents to search, known by id, else by text.
            id_key: The metadata key that holds the id of documents without ``id``.
            **fields: As in the class: ``k``, ``filter``, ``query_transform``, ``score_key``, ``tags``, ``metadata``.

        Raises:
            CorruptArtifactError: If a file of the nudge is missing, truncated or altered.
            MismatchError: If the nudge belongs to other embeddings, or moves documents but none of these.
            InputError: If two documents have one id.
        """
        nudge = path if isinstance(path, Nudge) else Nudge.load(path)
        store = NudgeVectorStore(embedding, id_key=id_key)
        store.add_documents(list(documents))
        store.apply(nudge)
        return cls(vectorstore=store, **fields)

    @classmethod
    def from_vectorstore(
        cls,
        store: VectorStore,
        nudge: Nudge | None = None,
        *,
        dataset: RetrievalDataset | Any = None,
        journal: str | os.PathLike[str] | None = None,
        **fields: Any,
    ) -> Self:
        """Search a store that holds nudged vectors, or fit a nudge to the store that there is and move its vectors.

        With a dataset, documents move in the store itself, journal first; ``retriever.vectorstore.live.rollback()``
        undoes it. ``method="query-map"`` writes nothing. ``signals=("bm25",)`` weighs words too, by the store's own
        search or by BM25 in this process; ``repr(retriever.vectorstore)`` says which.

        Args:
            store: A store with its embeddings. A `NudgeVectorStore` that serves another nudge or none is copied.
            nudge: The nudge that its vectors are from: of `NudgedEmbeddings`, or moved in place before.
            dataset: Queries and ids of documents that answer them, to fit to, where no nudge is given.
            journal: Folder for the journal of a store that is changed in place; None for the user's own.
            **fields: As in the class, such as ``k``; with a dataset also how to fit, as `FitOptions` says.

        Raises:
            InputError: If neither a nudge nor a dataset is given, or the store does not hold the nudge's vectors.
            MismatchError: If it holds those of another nudge, or none of the documents that the nudge moves.
            SimilarityError: If the store would rank the vectors wrongly.
            RolloutError: If the store fails while it is changed; says how to go on.
        """
        options = {name: fields.pop(name) for name in list(fields) if name in {*FitOptions.__annotations__, "groups"}}
        if (nudge is None) == (dataset is None):
            raise InputError("give a nudge that the store holds, or a dataset= to fit one to it")
        if nudge is not None and options:
            raise InputError(f"{', '.join(options)} say how to fit to a dataset=, and a nudge is given: leave them out")
        transform = fields.get("query_transform")
        if not isinstance(store, NudgeVectorStore):
            fit = partial(fitted_in_place, store, dataset, journal, transform, **options)
            return cls(vectorstore=fit() if nudge is None else nudged_store(store, nudge, journal), **fields)
        if nudge is None:
            (store := store.base_copy()).fit(dataset, query_transform=transform, **options)
        elif store.nudge is None or store.nudge.fingerprint != nudge.fingerprint:
            (store := store.base_copy()).apply(nudge)
        return cls(vectorstore=store, **fields)

    def refit(self, labels: RetrievalDataset | Any | None = None, **options: Any) -> Nudge:
        """Fit again to all labels and serve the result from now on; see `NudgeVectorStore.refit`.

        Raises:
            InputError: If the documents are in another store, which has a refit of its own.
        """
        if not isinstance(self.vectorstore, NudgeVectorStore):
            kind = type(self.vectorstore).__name__
            raise InputError(f"{kind} holds vectors of one nudge: refit that (nudge.refit), and serve the result anew")
        return self.vectorstore.refit(labels, query_transform=self.query_transform, **options)

    async def arefit(self, labels: RetrievalDataset | Any | None = None, **options: Any) -> Nudge:
        """Do what `refit` does without blocking."""
        return await run_in_executor(None, partial(self.refit, labels, **options))

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, filter: Any = None
    ) -> list[Document]:
        options = self._search_options(k, filter, query)
        if self.query_transform is not None:
            query = self.query_transform.invoke(query, {"callbacks": run_manager.get_child()})
        return self._scored(self.vectorstore.similarity_search_with_score(query, **options))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None, filter: Any = None
    ) -> list[Document]:
        options = self._search_options(k, filter, query)
        if self.query_transform is not None:
            query = await self.query_transform.ainvoke(query, {"callbacks": run_manager.get_child()})
        return self._scored(await self.vectorstore.asimilarity_search_with_score(query, **options))

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = type(self.vectorstore).__name__
        if self.vectorstore.embeddings is not None:
            params["ls_embedding_provider"] = type(self.vectorstore.embeddings).__name__
        return params

    def _search_options(self, k: int | None, where: Any, words: str) -> dict[str, Any]:
        where = self.filter if where is None else where
        options = {"k": whole_number(self.k if k is None else k, "k"), **({} if where is None else {"filter": where})}
        # Words were weighed as the labelled queries were asked, not as they were rewritten.
        words_count = isinstance(self.vectorstore, NudgeVectorStore | LiveNudgedStore)
        return options | {"words": words} if words_count else options

    def _scored(self, results: list[tuple[Document, float]]) -> list[Document]:
        return [
            Document(
                id=document.id,
                page_content=document.page_content,
                metadata=({} if self.score_key is None else {self.score_key: score}) | document.metadata,
            )
            for document, score in results
        ]
