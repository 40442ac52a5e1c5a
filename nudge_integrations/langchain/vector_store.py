"""NudgeVectorStore: a vector store that searches exactly, by inner product, and fits, applies and reverts nudges."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError
from nudge_integrations.langchain.documents import distinct, document_id
from nudge_integrations.langchain.embeddings import NudgedEmbeddings
from nudge_integrations.langchain.encoder import as_embedding, check_model
from nudge_integrations.langchain.fitting import PARENT_KEY, FitOptions, QueryTransform, fit_documents
from nudge_integrations.langchain.vector_search import ExactSearch, document_of
from nudge_integrations.pipeline.nudged_index import NudgedIndex

__all__ = ["NudgeVectorStore"]


class NudgeVectorStore(ExactSearch):
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
            store.similarity_search_with_score("who purrs?", filter=lambda metadata: "kind" in metadata)
            store.max_marginal_relevance_search("who purrs?", k=2)
            store.as_retriever(search_kwargs={"k": 3}).invoke("who purrs?")

    Fit and save:
        .. code-block:: python

            store.fit(dataset)  # a RetrievalDataset, or anything that RetrievalDataset.from_object accepts
            store.nudge.score
            store.revert()
            store.save_local("folder")
            store = NudgeVectorStore.load_local("folder", embedding)

    Async:
        .. code-block:: python

            await store.aadd_documents(documents)
            await store.asimilarity_search("who purrs?")

    Raises:
        InputError: If the embeddings are nudged ones.
    """

    def __init__(self, embedding: Embeddings | Encoder, *, id_key: str | None = None) -> None:
        if isinstance(embedding, NudgedEmbeddings):
            raise InputError("this store nudges its own vectors; give it the base embeddings (embedding.base)")
        self._embedding = as_embedding(embedding)
        self.id_key = id_key
        self._index = NudgedIndex()

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

    def add_documents(
        self, documents: list[Document], ids: Sequence[str | None] | None = None, **kwargs: Any
    ) -> list[str]:
        """Embed documents and add them, or replace those whose ids are there.

        Args:
            documents: n documents.
            ids: n ids, in place of the documents' own; None where the document's own counts (see `document_id`).
            **kwargs: None are known.

        Returns:
            The n ids.

        Raises:
            InputError: If the numbers differ, or one id comes with two contents; nothing was added then.
        """
        named, order = self._named(documents, ids)
        vectors = self._embedding.embed_documents([document.page_content for document in named.values()])
        self._insert(named, vectors)
        return order

    async def aadd_documents(
        self, documents: list[Document], ids: Sequence[str | None] | None = None, **kwargs: Any
    ) -> list[str]:
        """Do what `add_documents` does with the embeddings' own async path."""
        named, order = self._named(documents, ids)
        vectors = await self._embedding.aembed_documents([document.page_content for document in named.values()])
        await run_in_executor(None, self._insert, named, vectors)
        return order

    def add_embeddings(
        self,
        texts: Iterable[str],
        embeddings: Any,
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        ids: Sequence[str | None] | None = None,
    ) -> list[str]:
        """Add documents whose vectors are there already; nothing is embedded.

        Args:
            texts: n texts.
            embeddings: (n, d) base vectors: lists, or an array.
            metadatas: n metadata; none when None.
            ids: n ids; as `add_documents`.

        Returns:
            The n ids.

        Raises:
            InputError: If the numbers differ, d differs from that of the store, a value is not finite, or an id comes
                twice.
            MismatchError: If the store is nudged and a document that moved comes with another vector than its base.
        """
        listed = list(texts)
        entries: Sequence[Mapping[str, Any]] = [{}] * len(listed) if metadatas is None else metadatas
        if not len(listed) == len(entries) == len(embeddings):
            raise InputError(f"{len(listed)} texts came with {len(embeddings)} embeddings and {len(entries)} metadatas")
        documents = [
            Document(page_content=text, metadata=dict(entry)) for text, entry in zip(listed, entries, strict=True)
        ]
        order = self._ids(documents, ids)
        self._index.insert(order, embeddings, listed, [document.metadata for document in documents])
        return order

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Remove documents by id; ids that are not there are no error.

        Returns:
            True.

        Raises:
            InputError: If no ids are given.
        """
        if ids is None:
            raise InputError("delete needs ids; to remove everything, make a new store")
        self._index.delete([identifier for identifier in dict.fromkeys(ids) if identifier in self._index])
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids that are there, in this order."""
        return [document_of(hit) for hit in self._index.get([i for i in ids if i in self._index])]

    def fit(
        self,
        dataset: RetrievalDataset | Any,
        *,
        parent_key: str | None = PARENT_KEY,
        query_transform: QueryTransform | None = None,
        **options: Unpack[FitOptions],
    ) -> Nudge:
        """Fit a nudge to labelled queries and serve it, in place of any nudge before.

        Every fit starts from base vectors. To use more labels, fit all of them together: ``pairs.merge(feedback)``.

        Args:
            dataset: Queries and the documents that answer them, known by id, else by their pieces, else by text. A
                `RetrievalDataset`, or anything that ``RetrievalDataset.from_object`` accepts.
            parent_key: The metadata key that holds the id of the document that a piece was cut from; a label of that
                document then counts for all its pieces. By default the key of LangChain's ``ParentDocumentRetriever``;
                None reads no parents.
            query_transform: Rewrites the dataset's queries before they are embedded; search with the same one.
            **options: As `FitOptions` says.

        Returns:
            The nudge, which is also the property `nudge` from now on.

        Raises:
            DatasetError: If the dataset has problems, or a relevant document is not there.
        """
        nudge = fit_documents(self._index, self._embedding, dataset, parent_key, query_transform, options)
        self.apply(nudge)
        return nudge

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
        return other

    def save_local(self, path: str | os.PathLike[str]) -> None:
        """Write documents, vectors and nudge to a folder: JSON and raw numbers, nothing that could run.

        Raises:
            InputError: If metadata is no JSON; names the document.
            ArtifactError: If something else is in the way.
        """
        self._index.save(path)

    @classmethod
    def load_local(
        cls,
        path: str | os.PathLike[str],
        embedding: Embeddings | Encoder,
        *,
        id_key: str | None = None,
        verify: bool = True,
    ) -> NudgeVectorStore:
        """Open a saved store; its vectors are mapped from the disk.

        Args:
            path: The folder.
            embedding: The embeddings that it was filled with.
            id_key: As in the constructor.
            verify: Hash every byte. False checks sizes only.

        Raises:
            CorruptArtifactError: If a file is missing, truncated or altered.
            ArtifactError: If the folder holds something else, or a newer format.
        """
        store = cls(embedding, id_key=id_key)
        store._index = NudgedIndex.load(path, verify=verify)
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

    def _insert(self, named: Mapping[str, Document], vectors: Any) -> None:
        texts = [document.page_content for document in named.values()]
        self._index.insert(list(named), vectors, texts, [document.metadata for document in named.values()])

    def _named(
        self, documents: Sequence[Document], ids: Sequence[str | None] | None
    ) -> tuple[dict[str, Document], list[str]]:
        order = self._ids(documents, ids)
        return distinct(documents, order), order

    def _ids(self, documents: Sequence[Document], ids: Sequence[str | None] | None) -> list[str]:
        given = [None] * len(documents) if ids is None else ids
        if len(given) != len(documents):
            raise InputError(f"{len(documents)} documents came with {len(given)} ids; give one each")
        pairs = zip(documents, given, strict=True)
        return [document_id(document, self.id_key) if name is None else str(name) for document, name in pairs]
