"""Segments of the path, and the few documents that can matter on each.

A document matters on a segment of the path only if its best score there reaches what the query's k-th best document
never falls below there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.solver.path import Path

__all__ = ["SLACK", "PathScores", "Segment", "segment_of"]

# Rounding of float32 scores may not drop a document that reaches the threshold exactly.
SLACK = 1e-5


@dataclass(frozen=True, eq=False)
class PathScores:
    """Scores along the path, one (query, document) an entry.

    Attributes:
        query: (p,) int64, ascending.
        row: (p,) int64 corpus rows.
        coefficients: (R, p) float64, which the path makes scores from.
        relevant: (p,) bool, whether the document is relevant to the query.
        weight: (p,) float64, a relevant document's weight in its query's metric.
    """

    query: NDArray[np.int64]
    row: NDArray[np.int64]
    coefficients: NDArray[np.float64]
    relevant: NDArray[np.bool_]
    weight: NDArray[np.float64]

    def take(self, index: NDArray[np.bool_]) -> PathScores:
        """Return some of the entries."""
        return PathScores(
            self.query[index], self.row[index], self.coefficients[:, index], self.relevant[index], self.weight[index]
        )

    def mates(self) -> NDArray[np.int64]:
        """Return (p,) how many entries the query of each entry has."""
        return np.bincount(self.query)[self.query]

    @staticmethod
    def irrelevant(query: NDArray[np.int64], row: NDArray[np.int64], coefficients: NDArray[np.float64]) -> PathScores:
        """Return path scores of documents that are not relevant to their queries."""
        return PathScores(query, row, coefficients, np.zeros(len(query), dtype=bool), np.zeros(len(query)))

    @staticmethod
    def join(*parts: PathScores) -> PathScores:
        """Return all entries of several, by query."""
        query = np.concatenate([part.query for part in parts])
        order = np.argsort(query, kind="stable")
        return PathScores(
            query[order],
            np.concatenate([part.row for part in parts])[order],
            np.concatenate([part.coefficients for part in parts], axis=1)[:, order],
            np.concatenate([part.relevant for part in parts])[order],
            np.concatenate([part.weight for part in parts])[order],
        )


@dataclass(frozen=True, eq=False)
class Segment:
    """A piece of the path and the documents that can come within the cutoff on it.

    Attributes:
        begin, end: Parameters.
        path_scores: The documents.
        at_begin, at_end: (p,) their scores at the two ends.
    """

    begin: float
    end: float
    path_scores: PathScores
    at_begin: NDArray[np.float64]
    at_end: NDArray[np.float64]


def segment_of(path: Path, path_scores: PathScores, k: int, begin: float, end: float) -> Segment:
    """Return a segment of the path without the documents that stay below their query's k-th best throughout."""
    scores = [path.score(path_scores.coefficients, np.array(parameter)) for parameter in (begin, end)]
    # On an arc of angle a no score exceeds its larger end by more than the factor 1 / cos(a / 2).
    spread = 1.0 / np.cos(
        (path.turned(path_scores.coefficients, end) - path.turned(path_scores.coefficients, begin)) / 2.0
    )
    low, high = np.minimum(*scores), np.maximum(*scores)
    low, high = np.minimum(low, low * spread), np.maximum(high, high * spread)
    kept = high >= _kth_largest(path_scores.query, low, k)[path_scores.query] - SLACK
    return Segment(begin, end, path_scores.take(kept), scores[0][kept], scores[1][kept])


def _kth_largest(query: NDArray[np.int64], values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return each query's k-th largest value, -inf where it has fewer."""
    counts = np.bincount(query)
    width = int(counts.max(initial=0))
    if width < k:
        return np.full(len(counts), -np.inf)
    table = np.full((len(counts), width), -np.inf)
    table[query, np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)] = values
    return np.partition(table, width - k, axis=1)[:, width - k]
