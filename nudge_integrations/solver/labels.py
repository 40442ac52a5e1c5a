"""Labels and the documents that they name, and the queries that a step is evaluated by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations.corpus.metrics import Metric

__all__ = ["EvaluationQueries", "Labels", "group_codes", "values_of_pairs"]


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels and the documents that they name.

    Attributes:
        queries: (m, d) float32.
        gains: (m, u) gains of the documents below.
        groups: (m,) int64, queries of one group are left out together.
        rows: (u,) int64 corpus rows, ascending.
        documents: (u, d) float32 unit vectors.
        negatives: (p,) int64, the queries whose softmax pushes documents away, a uniform sample where there are many.
    """

    queries: torch.Tensor
    gains: sparse.csr_array
    groups: NDArray[np.int64]
    rows: NDArray[np.int64]
    documents: torch.Tensor
    negatives: NDArray[np.int64]

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
        """Return (u,) how many queries each document is relevant to."""
        return np.bincount(self.gains.indices, minlength=len(self.rows))

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
        shares: (e,) float64, what each query counts, 1 on average; None where all count the same.
    """

    queries: torch.Tensor
    gains: sparse.csr_array
    own: NDArray[np.int64] | None
    groups: NDArray[np.int64]
    scores: NDArray[np.float64]
    rows: NDArray[np.int64]
    ignored: NDArray[np.int64] | None = None
    shares: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.groups)

    def take(self, order: NDArray[np.int64]) -> EvaluationQueries:
        """Return the same queries in another order, or some of them."""
        at = torch.from_numpy(order).to(self.queries.device)
        own = None if self.own is None else self.own[order]
        ignored = None if self.ignored is None else self.ignored[order]
        shares = None if self.shares is None else self.shares[order]
        static = self.scores[order], self.rows[order]
        return EvaluationQueries(self.queries[at], self.gains[order], own, self.groups[order], *static, ignored, shares)

    def averaged(self, average: str) -> EvaluationQueries:
        """Return the same queries, each counting the same (``"query"``), or each document's as one (``"document"``)."""
        if average == "query" or not len(self):
            return replace(self, shares=None)
        counts, wants = np.diff(self.gains.indptr), self.gains.indices
        asked = np.repeat(1.0 / np.maximum(counts, 1), counts)
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
