"""Exact search in LangChain's words: by text or vector, with scores, filters and marginal relevance, also async."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from nudge_integrations.corpus.counts import whole_number
from nudge_integrations.corpus.texts import whole
from nudge_integrations.errors import InputError
from nudge_integrations.index import Filter, with_extra_coordinate, with_zero_coordinate
from nudge_integrations.langchain.encoder import checked_query
from nudge_integrations.pipeline.nudged_index import Hit, NudgedIndex

__all__ = ["ExactSearch", "document_of"]

_OF_MARGINAL_RELEVANCE = ("fetch_k", "lambda_mult")


class ExactSearch(VectorStore):
    """The searches of `NudgeVectorStore`, over its embeddings and its index.

    Every query is a base vector, also one that is given as a vector: the index puts it through the nudge's query map.
    Filters are values that the metadata must have, Chroma's operators or a function, as `metadata_test` reads them.
    ``fetch_k`` and ``lambda_mult`` may come with any search and count in that by marginal relevance alone.
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
        self, query: str, k: int = 4, *, filter: Filter | None = None, words: str | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k documents nearest to a query and their scores, best first.

        Args:
            query: The query.
            k: How many at most.
            filter: Values that the metadata must have (``{"language": "en"}``), operators
                (``{"year": {"$gte": 2020}}``, ``{"$or": [...]}``), or a function of the metadata that must be true.
            words: The query as it was asked, where ``query`` was rewritten: what a nudge that weighs words looks for.
            **kwargs: ``fetch_k`` and ``lambda_mult`` are known and do not count here.

        Returns:
            Documents and inner products, to which the nudge's weight of words is added where it has one.

        Raises:
            InputError: If k is no whole number or < 1, the filter or an option is unknown, or the embeddings return no
                vector.
        """
        vector = checked_query(query, self._embedding.embed_query(whole(query)))
        return self._searched(vector, k, filter, query if words is None else words, kwargs)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filter | None = None, words: str | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Do what `similarity_search_with_score` does with the embeddings' own async path."""
        vector = checked_query(query, await self._embedding.aembed_query(whole(query)))
        return await run_in_executor(None, self._searched, vector, k, filter, query if words is None else words, kwargs)

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the k documents nearest to a (d,) base vector; ``filter`` as in `similarity_search_with_score`."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, **kwargs)]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k documents nearest to a (d,) base vector of a query and their inner products, best first.

        It goes through the nudge's query map where there is one. In another store, which has no map, search by
        the vectors of `NudgedEmbeddings.embed_query` instead.

        Raises:
            InputError: If k is no whole number or < 1, d differs, or the filter or an option is unknown.
        """
        return self._searched(embedding, k, filter, None, kwargs)

    def _searched(
        self, embedding: list[float], k: int, where: Filter | None, words: str | None, options: dict[str, Any]
    ) -> list[tuple[Document, float]]:
        _refuse_unknown(options, _OF_MARGINAL_RELEVANCE)
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

        Raises:
            InputError: If k or fetch_k is no whole number or < 1, lambda_mult is not between 0 and 1, or the filter or
                an option is unknown.
        """
        vector = checked_query(query, self._embedding.embed_query(whole(query)))
        options = {"words": query, **kwargs}
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **options)

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Do what `max_marginal_relevance_search` does with the embeddings' own async path."""
        vector = checked_query(query, await self._embedding.aembed_query(whole(query)))
        options = {"words": query, **kwargs}
        return await self.amax_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **options)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Do what `max_marginal_relevance_search` does for the (d,) base vector of a query."""
        _refuse_unknown(kwargs, ("filter", "words"))
        wanted, among = whole_number(k, "k"), whole_number(fetch_k, "fetch_k")
        if not isinstance(lambda_mult, int | float) or not 0 <= lambda_mult <= 1:
            raise InputError(
                f"lambda_mult must be a number between 0 (the most different) and 1 (the nearest); got {lambda_mult!r}"
            )
        where, words = kwargs.get("filter"), kwargs.get("words")
        query, hits = self._index.search_mapped(embedding, max(wanted, among), where=where, text=words)
        if not hits:
            return []
        # Cosine over one more coordinate orders as the inner product does, so lambda_mult=1 is the plain search.
        vectors = with_extra_coordinate([hit.vector for hit in hits])
        asked = with_zero_coordinate([query])[0]
        chosen = maximal_marginal_relevance(asked, list(vectors), lambda_mult=lambda_mult, k=wanted)
        return [document_of(hits[position]) for position in chosen]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Map inner products, of queries of unit length, to 0 .. 1."""
        nudge = self._index.nudge
        largest = 1.0 if nudge is None else nudge.max_norm
        return lambda score: min(1.0, max(0.0, (score / largest + 1.0) / 2.0))


def document_of(hit: Hit) -> Document:
    """Return a hit as a document, with a copy of its metadata."""
    return Document(id=hit.id, page_content=hit.text, metadata=copy.deepcopy(dict(hit.metadata)))


def _refuse_unknown(options: dict[str, Any], known: Sequence[str]) -> None:
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InputError(
            f"unknown option {', '.join(map(repr, unknown))} of a search; expected k, filter, and for marginal "
            "relevance fetch_k and lambda_mult"
        )
