"""Exact search in LangChain's words: by text or vector, with scores, filters and marginal relevance, also async."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from nudge_integrations.index import Filter, with_extra_coordinate, with_zero_coordinate
from nudge_integrations.pipeline.nudged_index import Hit, NudgedIndex

__all__ = ["ExactSearch", "document_of"]


class ExactSearch(VectorStore):
    """The searches of `NudgeVectorStore`, over its embeddings and its index.

    Every query is a base vector, also one that is given as a vector: the index puts it through the nudge's query map.
    """

    _embedding: Embeddings
    _index: NudgedIndex

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the k documents nearest to a query, best first; ``filter`` as in `similarity_search_with_score`."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Do what `similarity_search` does with the embeddings' own async path."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filter | None = None, words: str | None = None
    ) -> list[tuple[Document, float]]:
        """Return the k documents nearest to a query and their scores, best first.

        Args:
            query: The query.
            k: How many at most.
            filter: Values that the metadata must have, or a function of the metadata that must be true.
            words: The query as it was asked, where ``query`` was rewritten: what a nudge that weighs words looks for.

        Returns:
            Documents and inner products, to which the nudge's weight of words is added where it has one.

        Raises:
            InputError: If k < 1.
        """
        return self._searched(self._embedding.embed_query(query), k, filter, query if words is None else words)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filter | None = None, words: str | None = None
    ) -> list[tuple[Document, float]]:
        """Do what `similarity_search_with_score` does with the embeddings' own async path."""
        vector = await self._embedding.aembed_query(query)
        return await run_in_executor(None, self._searched, vector, k, filter, query if words is None else words)

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the k documents nearest to a (d,) base vector; ``filter`` as in `similarity_search_with_score`."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, **kwargs)]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None
    ) -> list[tuple[Document, float]]:
        """Return the k documents nearest to a (d,) base vector of a query and their inner products, best first.

        It goes through the nudge's query map where there is one. In another store, which has no map, search by
        the vectors of `NudgedEmbeddings.embed_query` instead.

        Raises:
            InputError: If k < 1, or d differs.
        """
        return self._searched(embedding, k, filter, None)

    def _searched(
        self, embedding: list[float], k: int, where: Filter | None, words: str | None
    ) -> list[tuple[Document, float]]:
        return [(document_of(hit), hit.score) for hit in self._index.search(embedding, k, where=where, text=words)]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Return k documents that are near to a query and unlike each other.

        Args:
            query: The query.
            k: How many.
            fetch_k: How many of the nearest to choose from.
            lambda_mult: 1 for the nearest, 0 for the most different.
            **kwargs: ``filter`` as in `similarity_search_with_score`.
        """
        vector = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, words=query, **kwargs)

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Do what `max_marginal_relevance_search` does with the embeddings' own async path."""
        vector = await self._embedding.aembed_query(query)
        search = self.amax_marginal_relevance_search_by_vector
        return await search(vector, k, fetch_k, lambda_mult, words=query, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Do what `max_marginal_relevance_search` does for the (d,) base vector of a query."""
        index = self._index
        hits = index.search(embedding, max(k, fetch_k), where=kwargs.get("filter"), text=kwargs.get("words"))
        if not hits:
            return []
        base = np.atleast_2d(np.asarray(embedding, dtype=np.float32))
        # Cosine over one more coordinate orders as the inner product does, so lambda_mult=1 is the plain search.
        vectors = with_extra_coordinate(index.served.get([hit.id for hit in hits]))
        query = with_zero_coordinate(base if index.nudge is None else index.nudge.transform_queries(base))
        chosen = maximal_marginal_relevance(query[0], list(vectors), lambda_mult=lambda_mult, k=k)
        return [document_of(hits[position]) for position in chosen]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Map inner products, of queries of unit length, to 0 .. 1."""
        nudge = self._index.nudge
        largest = 1.0 if nudge is None else nudge.max_norm
        return lambda score: min(1.0, max(0.0, (score / largest + 1.0) / 2.0))


def document_of(hit: Hit) -> Document:
    """Return a hit as a document, with a copy of its metadata."""
    return Document(id=hit.id, page_content=hit.text, metadata=copy.deepcopy(dict(hit.metadata)))
