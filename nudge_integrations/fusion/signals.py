"""Scores beside those of the vectors: BM25, the text search of a store, or any callable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nudge_integrations.errors import InputError
from nudge_integrations.fusion.lexical import LexicalIndex
from nudge_integrations.fusion.weights import over_largest

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LexicalSignal", "QueryScorer", "Scorer", "SearchSignal", "Signal"]


class QueryScorer(Protocol):
    """A signal's scores of a block of queries."""

    def best(self, k: int) -> NDArray[np.int64]:
        """Return (m, k) document rows, the best of each query; fewer columns where there are none to add."""

    def at(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (m, p) scores of the documents in ``rows`` (m, p)."""


class Signal(Protocol):
    """Scores of documents beside the dense ones, for queries given as texts."""

    @property
    def name(self) -> str:
        """The key of its weight."""

    def of(self, queries: Sequence[str]) -> QueryScorer:
        """Return the scores of some queries."""


@dataclass(frozen=True, eq=False)
class LexicalSignal:
    """BM25, for documents whose rows are those of an index.

    Attributes:
        index: The documents.
        name: The key of its weight.
    """

    index: LexicalIndex
    name: str = "bm25"

    def of(self, queries: Sequence[str]) -> QueryScorer:
        """Return the scores of some queries, each divided by the query's largest."""
        return _Table(self.index.scores(queries))


@dataclass(frozen=True, eq=False)
class Scorer:
    """Any signal: a second embedding model, a sparse encoder, a reranker, how new a document is.

    Scores are used as they are: bring them to about the same scale for every query, such as 0 to 1.

    Attributes:
        name: The key of its weight.
        score: Takes m queries and (m, p) rows of documents, returns (m, p) scores.
        best_rows: Takes m queries and k, returns (m, k) rows of its best documents; None for a signal that only scores
            what others find, as a reranker does.

    Example:
        >>> newest = Scorer("recency", lambda queries, rows: 1.0 / (1.0 + rows))
        >>> newest.of(["any query"]).at(np.array([[0, 1]])).tolist()
        [[1.0, 0.5]]
    """

    name: str
    score: Callable[[Sequence[str], NDArray[np.int64]], NDArray[np.floating]]
    best_rows: Callable[[Sequence[str], int], NDArray[np.int64]] | None = None

    def of(self, queries: Sequence[str]) -> QueryScorer:
        """Return the scores of some queries."""
        return _Called(self, queries)


@dataclass(frozen=True, eq=False)
class SearchSignal:
    """The text search that a store has of its own: full text or sparse vectors, as it ranks them.

    What a query finds is divided by its largest score; what it does not find scores 0. The weight is thus learned on
    the scores that are served: see `Fusion.ranked`.

    Attributes:
        name: The key of its weight.
        search: Takes a query and k, returns the ids of the k best documents with their scores, the best first.
        ids: The ids of all documents in the order of their rows, as ``dataset.document_ids`` has them.
        depth: How many a query is asked for.

    Example:
        >>> found = SearchSignal("fts", lambda query, k: [("b", 4.0), ("a", 1.0)][:k], ["a", "b", "c"])
        >>> found.of(["any query"]).at(np.array([[0, 1, 2]])).tolist()
        [[0.25, 1.0, 0.0]]
    """

    name: str
    search: Callable[[str, int], Sequence[tuple[str, float]]]
    ids: Sequence[str]
    depth: int = 100

    def of(self, queries: Sequence[str]) -> QueryScorer:
        """Search for each query.

        Raises:
            InputError: If the search finds a document that is not among ``ids``, or its scores are no finite numbers.
        """
        row_of = {document_id: row for row, document_id in enumerate(self.ids)}
        scores = np.zeros((len(queries), len(row_of)), np.float32)
        for number, query in enumerate(queries):
            for document_id, score in over_largest(self.name, self.search(query, self.depth)).items():
                if document_id not in row_of:
                    raise InputError(
                        f"signal {self.name!r} found document {document_id!r}, which is not among the {len(row_of)} "
                        "ids; give the ids of all documents that it searches"
                    )
                scores[number, row_of[document_id]] = score
        return _Table(scores)


@dataclass(frozen=True, eq=False)
class _Table:
    """Scores of every document, (m, n) float32."""

    scores: NDArray[np.float32]
    _best: dict[int, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    def best(self, k: int) -> NDArray[np.int64]:
        count = self.scores.shape[1]
        if k >= count:
            return np.broadcast_to(np.arange(count), self.scores.shape)
        if k not in self._best:
            self._best[k] = np.argpartition(self.scores, count - k, axis=1)[:, count - k :]
        return self._best[k]

    def at(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.take_along_axis(self.scores, rows, axis=1).astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Called:
    """A callable's scores, checked."""

    scorer: Scorer
    queries: Sequence[str]

    def best(self, k: int) -> NDArray[np.int64]:
        if self.scorer.best_rows is None:
            return np.zeros((len(self.queries), 0), np.int64)
        rows = np.asarray(self.scorer.best_rows(self.queries, k))
        if rows.ndim != 2 or len(rows) != len(self.queries) or rows.dtype.kind not in "iu":
            raise InputError(
                f"signal {self.scorer.name!r}: best_rows must return one line of document rows a query, "
                f"{len(self.queries)} lines; got shape {rows.shape} of {rows.dtype}"
            )
        return rows.astype(np.int64)

    def at(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        scores = np.asarray(self.scorer.score(self.queries, rows), dtype=np.float64)
        if scores.shape != rows.shape or not np.isfinite(scores).all():
            raise InputError(
                f"signal {self.scorer.name!r}: score must return one finite number a document, shape {rows.shape}; "
                f"got shape {scores.shape}{'' if scores.shape != rows.shape else ' with NaN or infinity'}"
            )
        return scores
