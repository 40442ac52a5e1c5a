"""Which documents can matter where on the path: few enough to compare one by one.

A document matters on a segment of the path only if its best score there reaches what the query's k-th best document
never falls below there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.solver.path import Path

__all__ = ["SLACK", "ScorePaths", "Segment", "segment_of"]

# Rounding of float32 scores may not drop a document that reaches the threshold exactly.
SLACK = 1e-5


@dataclass(frozen=True, eq=False)
class ScorePaths:
    """Scores along the path, one (query, document) an entry.

    Attributes:
        query: (p,) int64, ascending.
        row: (p,) int64 corpus rows.
        coefficients: (R, p) float64, what the path makes scores from.
        relevant: (p,) bool, whether the document is relevant to the query.
        weight: (p,) float64, a relevant document's weight in its query's metric.
    """

    query: NDArray[np.int64]
    row: NDArray[np.int64]
    coefficients: NDArray[np.float64]
    relevant: NDArray[np.bool_]
    weight: NDArray[np.float64]

    def take(self, index: NDArray[np.bool_]) -> ScorePaths:
        """Return some of the entries."""
        return ScorePaths(
            self.query[index], self.row[index], self.coefficients[:, index], self.relevant[index], self.weight[index]
        )

    def mates(self) -> NDArray[np.int64]:
        """Return (p,) how many entries the query of each entry has."""
        return np.bincount(self.query)[self.query]

    @staticmethod
    def static(query: NDArray[np.int64], row: NDArray[np.int64], coefficients: NDArray[np.float64]) -> ScorePaths:
        """Return the paths of documents that are not relevant."""
        return ScorePaths(query, row, coefficients, np.zeros(len(query), dtype=bool), np.zeros(len(query)))

    @staticmethod
    def join(*parts: ScorePaths) -> ScorePaths:
        """Return all entries of several, by query."""
        query = np.concatenate([part.query for part in parts])
        order = np.argsort(query, kind="stable")
        return ScorePaths(
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
        paths: The documents.
        at_begin, at_end: (p,) their scores at the two ends.
    """

    begin: float
    end: float
    paths: ScorePaths
    at_begin: NDArray[np.float64]
    at_end: NDArray[np.float64]


def segment_of(path: Path, paths: ScorePaths, k: int, begin: float, end: float) -> Segment:
    """Return a segment of the path without the documents that stay below their query's k-th best throughout."""
    scores = [path.score(paths.coefficients, np.array(parameter)) for parameter in (begin, end)]
    # On an arc of angle a no score exceeds its larger end by more than the factor 1 / cos(a / 2).
    spread = 1.0 / np.cos((path.turned(paths.coefficients, end) - path.turned(paths.coefficients, begin)) / 2.0)
    low, high = np.minimum(*scores), np.maximum(*scores)
    low, high = np.minimum(low, low * spread), np.maximum(high, high * spread)
    kept = high >= _kth_largest(paths.query, low, k)[paths.query] - SLACK
    return Segment(begin, end, paths.take(kept), scores[0][kept], scores[1][kept])


def _kth_largest(query: NDArray[np.int64], values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return each query's k-th largest value, -inf where it has fewer."""
    counts = np.bincount(query)
    width = int(counts.max(initial=0))
    if width < k:
        return np.full(len(counts), -np.inf)
    table = torch.full((len(counts), width), -torch.inf, dtype=torch.float64)
    place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    table[torch.from_numpy(query), torch.from_numpy(place)] = torch.from_numpy(values)
    # numpy's partition takes ten times as long where many values are equal.
    kth: NDArray[np.float64] = torch.topk(table, k, dim=1).values[:, -1].numpy()
    return kth
