"""A nudge in a vector store of LangChain itself: fitted to its vectors, moved there, searched as the nudge wants it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import unit_rows
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.feedback import labels_and_weights
from nudge_integrations.langchain.embeddings import NudgedEmbeddings
from nudge_integrations.langchain.encoder import as_encoder, checked_query
from nudge_integrations.langchain.fitting import QueryTransform, rewritten
from nudge_integrations.langchain.live_documents import LiveDocuments, id_of
from nudge_integrations.langchain.similarity import check_store, nudged_embeddings
from nudge_integrations.langchain.stored_vectors import check_vectors
from nudge_integrations.stores import FusedStore, LiveStore, fit_store, open_store, ranks_by
from nudge_integrations.stores.store import fetched

__all__ = ["LiveNudgedStore", "fitted_in_place", "nudged_store"]

# How many documents that moved are read, and how far they may be from where they should be: half precision's rounding.
_READ, _STORED_AS = 256, 2e-3
# What stores call a search by vector with scores, for which LangChain has no name.
_BY_VECTOR = (
    "similarity_search_with_score_by_vector",
    "similarity_search_by_vector_with_relevance_scores",
    "_similarity_search_with_score_by_vector",
)


class LiveNudgedStore(VectorStore):
    """A vector store whose documents a nudge has moved in place, or whose queries it maps.

    Queries go through the embeddings of the store, then through the nudge's query map where it has one; everything
    else is the store's own. Where the nudge weighs words, they are added: by the store's own text search, or by BM25 in
    this process beside it, whichever it was fitted with; ``repr`` says which. Scores are then inner products plus
    weighed words, and documents that are added or deleted here are heeded at once (``fused.refresh()`` for others').

    Args:
        store: The store.
        nudge: What its vectors were moved by.
        live: The store as it can be verified and rolled back; None opens it.

    Attributes:
        fused: The text side of the store; None where the nudge weighs no words.

    Raises:
        InputError: If the store has no embeddings, or no search by vector that gives scores, or the nudge weighs a
            signal that the store does not have.
        MissingExtraError: If bm25s is needed and not installed.
    """

    def __init__(self, store: VectorStore, nudge: Nudge, live: LiveStore | None = None) -> None:
        if store.embeddings is None:
            raise InputError(f"this {type(store).__name__} has no embeddings, which queries need; make it with some")
        self.store, self.nudge, self.live = store, nudge, live or open_store(store)
        self._embeddings: Embeddings = store.embeddings
        nudged = isinstance(self._embeddings, NudgedEmbeddings)
        self._base = self._embeddings.base if isinstance(self._embeddings, NudgedEmbeddings) else self._embeddings
        self._plain = nudged or nudge.query_map is None  # the store's own search by text is right as it is
        self._search = self._by_vector()
        self._documents = LiveDocuments(store)
        self.fused = FusedStore.of(self.live, nudge, self._documents.texts)

    def __repr__(self) -> str:
        words = "" if self.fused is None else f", {self.fused!r}"
        return f"LiveNudgedStore({type(self.store).__name__}, {self.nudge!r}{words})"

    @property
    def embeddings(self) -> Embeddings:
        """The embeddings of the store."""
        return self._embeddings

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the k documents nearest to a query, best first; ``kwargs`` are the store's own."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, words: str | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k documents nearest to a query with their scores, best first.

        Args:
            query: The query.
            k: How many at most.
            words: The query as it was asked, where ``query`` was rewritten: what a nudge that weighs words looks for.
            **kwargs: The store's own, such as ``filter``.

        Returns:
            Documents and the store's own scores; where words count, inner products with weighed words added.
        """
        if self.fused is None and self._plain:
            return self.store.similarity_search_with_score(query, k, **kwargs)
        return self._searched(query, self._base.embed_query(query), k, words, kwargs)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, *, words: str | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Do the same with the embeddings' own async path."""
        if self.fused is None and self._plain:
            return await self.store.asimilarity_search_with_score(query, k, **kwargs)
        vector = await self._base.aembed_query(query)
        return await run_in_executor(None, self._searched, query, vector, k, words, kwargs)

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Do what `similarity_search` does with the embeddings' own async path."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **kwargs)]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Return k documents that are near to a query and unlike each other.

        Args:
            query: The query.
            k: How many.
            fetch_k: How many of the best, words included, to choose from.
            lambda_mult: 1 for the nearest, 0 for the most different.
            **kwargs: As in `similarity_search_with_score`.
        """
        vector = self._base.embed_query(query)
        found = self._searched(query, vector, max(k, fetch_k), kwargs.pop("words", None), kwargs)
        by_id = {id_of(document): document for document, _ in found}
        there, rows = fetched(self.live.adapter, list(by_id))
        documents = [one for one, held in zip(by_id.values(), there, strict=True) if held]
        asked = np.asarray(self._mapped(query, vector), np.float32)
        chosen = maximal_marginal_relevance(asked, list(rows[there]), lambda_mult=lambda_mult, k=k)
        return [documents[place] for place in chosen]

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the k documents nearest to the base vector of a query, which goes through the query map."""
        return self.store.similarity_search_by_vector(self._mapped("query", embedding), k, **kwargs)

    def add_texts(self, texts: Any, metadatas: Any = None, *, ids: Any = None, **kwargs: Any) -> list[str]:
        """Add documents to the store, at their base vectors."""
        texts = list(texts)
        added = self.store.add_texts(texts, metadatas, ids=ids, **kwargs)
        if self.fused is not None:
            self.fused.insert(added, texts)
        return added

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete documents from the store."""
        deleted = self.store.delete(ids, **kwargs)
        if self.fused is not None and ids is not None:
            self.fused.delete(ids)
        return deleted

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents of the store."""
        return self.store.get_by_ids(ids)

    @classmethod
    def from_texts(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a store is filled first and nudged then.

        Raises:
            InputError: Always.
        """
        raise InputError("fill a store of your own and nudge it: NudgeRetriever.from_vectorstore(store, dataset=...)")

    def _searched(
        self, query: str, vector: Any, k: int, words: str | None, options: dict[str, Any]
    ) -> list[tuple[Document, float]]:
        asked, hits = self._mapped(query, vector), dict[str, Document]()
        if self.fused is None:
            found: list[tuple[Document, float]] = self._search(asked, k=k, **options)
            return found

        def near(depth: int) -> list[str]:
            found = {id_of(document): document for document, _ in self._search(asked, k=depth, **options)}
            hits.update(found)
            return list(found)

        passing = self._documents.passing(options)
        best = self.fused.ranked(np.asarray(asked, np.float32), words or query, k, near, passing)
        hits |= self._documents.by_id([one for one, _ in best if one not in hits])
        return [(hits[one], score) for one, score in best if one in hits]

    def _mapped(self, query: str, vector: Any) -> list[float]:
        row: list[float] = self.nudge.transform_queries([checked_query(query, vector)])[0].tolist()
        return row

    def _by_vector(self) -> Callable[..., Any]:
        names = [name for name in _BY_VECTOR if callable(getattr(self.store, name, None))]
        if not names:
            raise InputError(f"a {type(self.store).__name__} cannot be searched by a vector with scores")
        found: Callable[..., Any] = getattr(self.store, names[0])
        return found


def fitted_in_place(
    store: VectorStore,
    dataset: Any,
    journal: str | os.PathLike[str] | None,
    query_transform: QueryTransform | None,
    **options: Any,
) -> LiveNudgedStore:
    """Fit a nudge to the vectors that a store holds, move them there, and return the store as it is searched then.

    Args:
        store: A store that `open_store` knows, filled with base vectors.
        dataset: Queries and ids of the documents that answer them.
        journal: Folder for the journal; None for the user's own.
        query_transform: Rewrites the dataset's queries before they are embedded.
        **options: As in `fit_store`.

    Raises:
        DatasetError: If a labelled document is not in the store.
        RolloutError: If the store fails while it is changed; says how to go on.
    """
    embeddings = store.embeddings
    if embeddings is None:
        raise InputError(f"this {type(store).__name__} has no embeddings, which queries need; make it with some")
    base = embeddings.base if isinstance(embeddings, NudgedEmbeddings) else embeddings
    live = open_store(store, journal=journal)
    (labels, weights), encoder = labels_and_weights(dataset, options.pop("weights", None)), as_encoder(base)
    queries = None if query_transform is None else encoder.encode_queries(rewritten(labels, query_transform))
    texts = LiveDocuments(store).texts
    nudge = fit_store(live, labels, encoder, query_vectors=queries, texts=texts, weights=weights, **options)
    served = LiveNudgedStore(store, nudge, live)  # refuses what cannot be served before anything moves
    plan = live.plan(nudge)
    if plan.rows:
        live.apply(plan)
    return served


def _holds(store: VectorStore, nudge: Nudge) -> bool:
    """Say whether a store holds the vectors of a nudge: of up to 256 documents that it moves, all that are there."""
    if ranks_by(store) is None:
        return False
    live = open_store(store)
    try:
        ids = list(nudge.ids)[:_READ]
        there, rows = fetched(live.adapter, ids)
        if nudge.dimension not in (0, rows.shape[1]):
            return False
    finally:
        live.close()
    if not there.any():
        return not len(nudge)
    held, wanted = (unit_rows(part, "vectors") for part in (rows[there], nudge.vectors[: len(ids)][there]))
    return bool((np.linalg.norm(held - wanted, axis=1) <= _STORED_AS).all())


def nudged_store(store: VectorStore, nudge: Nudge, journal: str | os.PathLike[str] | None) -> VectorStore:
    """Return a store that holds a nudge's vectors, as it is to be searched: through it, or through `NudgedEmbeddings`.

    Raises:
        InputError: If it holds none of them, and its embeddings are not nudged.
        MismatchError: If its embeddings are nudged by another nudge, or its vectors are not the nudge's.
        SimilarityError: If it would rank them wrongly.
    """
    if not isinstance(store.embeddings, NudgedEmbeddings) and _holds(store, nudge):
        return LiveNudgedStore(store, nudge, open_store(store, journal=journal))
    fuses = nudge.fusion is not None and nudge.similarity == "cosine" and ranks_by(store) is not None
    embedding = nudged_embeddings(store) if fuses else check_store(store)
    if embedding.nudge.fingerprint != nudge.fingerprint:
        raise MismatchError(
            f"the store's embeddings serve {embedding.nudge!r}, not {nudge!r}: fill a store through "
            "NudgedEmbeddings(base, nudge) with this one"
        )
    check_vectors(store, embedding)
    if fuses and not embedding.extra_coordinate:
        return LiveNudgedStore(store, nudge, open_store(store, journal=journal))
    return store
