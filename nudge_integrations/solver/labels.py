"""Labels and the documents that they name, and the queries that a step is evaluated by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations.corpus.metrics import Metric

__all__ = ["EvaluationQueries", "Labels", "able_to_push", "group_codes", "mean_share", "values_of_pairs"]


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels and the documents that they name.

    Attributes:
        queries: (m, d) float32.
        gains: (m, u) gains of the documents below, each times the weight of its label.
        groups: (m,) int64, queries of one group are left out together.
        rows: (u,) int64 corpus rows, ascending.
        documents: (u, d) float32 unit vectors.
        negatives: (p,) int64, the queries whose softmax pushes documents away, a uniform sample where there are many.
        shares: (m, u) the weight of every label that has a gain, stored as ``gains`` is; None where all weigh one.
        noes: (m, u) how much each query says that a document does not answer it; None where none does.
        negative_weight: How much of ``noes`` enters the directions; with 0 it is as if nobody had said no.
        stand_ins: (m, u) gains that queries are evaluated by and that move nothing, where labels say no and nothing
            else; else None.
        hidden: (m,) int64, the document that each query never finds and that no softmax of it takes: its column, or
            ``u`` and its place in the sample of the others; -1 where it is in neither. None where none has one.
    """

    queries: torch.Tensor
    gains: sparse.csr_array
    groups: NDArray[np.int64]
    rows: NDArray[np.int64]
    documents: torch.Tensor
    negatives: NDArray[np.int64]
    shares: sparse.csr_array | None = None
    noes: sparse.csr_array | None = None
    negative_weight: float = 1.0
    stand_ins: sparse.csr_array | None = None
    hidden: NDArray[np.int64] | None = None

    def members(self) -> sparse.csr_array:
        """Return the (groups, m) incidence of queries in groups."""
        ones = np.ones(len(self.groups))
        shape = (int(self.groups.max(initial=-1)) + 1, len(self.groups))
        return sparse.csr_array((ones, (self.groups, np.arange(len(self.groups)))), shape=shape)

    def by_document(self) -> Labels:
        """Return the same labels, queries grouped by their most relevant document; those without one are alone."""
        codes = len(self.rows) + np.arange(len(self.groups))
        able = np.flatnonzero(np.diff(self.gains.indptr))
        if len(able):  # scipy finds no argmax among no columns
            codes[able] = self.gains[able].argmax(axis=1)
        return replace(self, groups=group_codes(codes))

    def support(self) -> NDArray[np.int64]:
        """Return (u,) how many queries move each document: those it is relevant to, and those that say no to it."""
        support = np.bincount(self.gains.indices, minlength=len(self.rows))
        pushes = self.pushes()
        return support if pushes is None else support + np.bincount(pushes.indices, minlength=len(self.rows))

    def pushes(self) -> sparse.csr_array | None:
        """Return (m, u) the weights with which queries push documents away; None where none does."""
        if self.noes is None or self.negative_weight == 0.0:
            return None
        return self.noes * self.negative_weight

    def counts(self) -> NDArray[np.int64]:
        """Return (m,) how many labels each query has, noes among them, and what stands for labels."""
        parts = (part for part in (self.gains, self.noes, self.stand_ins) if part is not None)
        counts: NDArray[np.int64] = np.sum([np.diff(part.indptr) for part in parts], axis=0, dtype=np.int64)
        return counts

    def able_to_push(self) -> NDArray[np.int64]:
        """Return the queries whose softmax may push documents away: a query with noes alone hides what answers it."""
        return able_to_push(self.gains, self.noes)

    def importance(self) -> NDArray[np.float64]:
        """Return (m,) how much each query counts: the mean weight of its labels, 1 where it has none."""
        return mean_share(self.gains, self.shares)

    def columns_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which of the labelled documents corpus rows are, -1 for others."""
        if not len(self.rows):
            return np.full(rows.shape, -1)
        column = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.where(self.rows[column] == rows, column, -1)


@dataclass(frozen=True, eq=False)
class EvaluationQueries:
    """The queries that a step is evaluated by.

    Attributes:
        queries: (e, d) float32.
        gains: (e, u) gains of the labelled documents.
        own: (e,) int64 rows of these queries in the labels, for leave-one-out; None for held-out queries.
        groups: (e,) int64, queries whose metric varies together.
        scores: (e, k) float64 best scores of the documents that never move.
        rows: (e, k) int64 corpus rows of those scores.
        ignored: (e,) int64 corpus rows, the document that each query never finds, -1 for none; None where none has one.
        importance: (e,) float64 > 0, the mean weight of each query's labels, 1 on average; None where labels have none.
        shares: (e,) float64, what each query counts, 1 on average; None where all count the same. What is measured of a
            query comes multiplied by it, so that every mean is the weighted one.
    """

    queries: torch.Tensor
    gains: sparse.csr_array
    own: NDArray[np.int64] | None
    groups: NDArray[np.int64]
    scores: NDArray[np.float64]
    rows: NDArray[np.int64]
    ignored: NDArray[np.int64] | None = None
    importance: NDArray[np.float64] | None = None
    shares: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.groups)

    def take(self, order: NDArray[np.int64]) -> EvaluationQueries:
        """Return the same queries in another order, or some of them."""
        at = torch.from_numpy(order).to(self.queries.device)
        own = None if self.own is None else self.own[order]
        ignored = None if self.ignored is None else self.ignored[order]
        importance = None if self.importance is None else self.importance[order]
        shares = None if self.shares is None else self.shares[order]
        return EvaluationQueries(
            self.queries[at],
            self.gains[order],
            own,
            self.groups[order],
            self.scores[order],
            self.rows[order],
            ignored,
            importance,
            shares,
        )

    def averaged(self, average: str) -> EvaluationQueries:
        """Return the same queries, each counting the same (``"query"``), or each document's as one (``"document"``).

        Among these a query counts as much as its labels weigh.
        """
        if average == "query" or not len(self):
            return replace(self, shares=self.importance)
        counts, wants = np.diff(self.gains.indptr), self.gains.indices
        weight = np.ones(len(self)) if self.importance is None else self.importance
        asked = np.repeat(weight / np.maximum(counts, 1), counts)
        of_document = np.bincount(wants, weights=asked, minlength=self.gains.shape[1])
        query = np.repeat(np.arange(len(self)), counts)
        shares = np.bincount(query, weights=asked / of_document[wants], minlength=len(self))
        return replace(self, shares=shares / shares.mean())

    def weights(self, metric: Metric) -> NDArray[np.float64]:
        """Return what each gain counts in the metric of its query, times what the query counts."""
        weights = metric.weights(self.gains)
        return weights if self.shares is None else weights * np.repeat(self.shares, np.diff(self.gains.indptr))

    def ignores(self, query: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether queries, by their place, never find documents, by their corpus row; both (p,)."""
        return np.zeros(len(query), bool) if self.ignored is None else self.ignored[query] == row

    def ignored_among(self, rows: NDArray[np.int64], block: slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the queries of a block that ignore one of some documents, and which; ``rows`` are ascending."""
        if self.ignored is None or not len(rows):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        ignored = self.ignored[block]
        column = np.minimum(np.searchsorted(rows, ignored), len(rows) - 1)
        query = np.flatnonzero(rows[column] == ignored)
        return query, column[query]


def able_to_push(gains: sparse.csr_array, noes: sparse.csr_array | None) -> NDArray[np.int64]:
    """Return the queries (of m) that have a gain, or no label at all."""
    unanswered = np.zeros(gains.shape[0], bool) if noes is None else np.diff(noes.indptr) > 0
    return np.flatnonzero((np.diff(gains.indptr) > 0) | ~unanswered)


def mean_share(gains: sparse.csr_array, shares: sparse.csr_array | None) -> NDArray[np.float64]:
    """Return (m,) the mean weight of each query's labels; 1 where it has none, or labels have no weights."""
    counts = np.diff(gains.indptr)
    if shares is None:
        return np.ones(len(counts))
    means: NDArray[np.float64] = np.where(counts > 0, np.asarray(shares.sum(axis=1)).ravel() / np.maximum(counts, 1), 1)
    return means


def values_of_pairs(
    gains: sparse.csr_array, values: NDArray[np.float64], query: NDArray[np.int64], column: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return (p,) the values of (query, labelled document) pairs, one for each stored gain; NaN for pairs without.

    Columns of gains are ascending; a column of -1 has no gain.
    """
    documents = gains.shape[1]
    stored = np.repeat(np.arange(gains.shape[0]), np.diff(gains.indptr)) * documents + gains.indices
    pair = query * documents + column
    place = np.minimum(np.searchsorted(stored, pair), max(len(stored) - 1, 0))
    if not len(stored):
        return np.full(pair.shape, np.nan)
    return np.where((column >= 0) & (stored[place] == pair), values[place], np.nan)


def group_codes(names: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return a number from 0 for each of the distinct names.

    Example:
        >>> group_codes(np.array(["b", "a", "b"])).tolist()
        [1, 0, 1]
    """
    codes: NDArray[np.int64] = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return codes
