"""When ranks change: where the scores of a relevant and another document cross, and what that does to the metric.

Along a path the order of two documents changes only where their scores are equal. The paths give the few parameters at
which that can be; the order in between is read off at the middle of each piece, so an extra root changes nothing.
Scores closer than ``TIE`` there (duplicates) are ordered by corpus row, as a stable sort of the ranking would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.solver.arrays import ragged
from nudge_integrations.solver.metrics import Metric
from nudge_integrations.solver.path import Path
from nudge_integrations.solver.segments import PathScores, Segment

__all__ = ["Changes", "changes_on", "is_above"]

# The rounding of a float32 inner product of unit vectors.
TIE = 2e-7

# Pairs of documents compared at a time: bounds the temporary memory of one comparison to about 100 MB.
_COMPARED = 1 << 18


@dataclass(frozen=True, eq=False)
class Changes:
    """A metric of several queries along the path: where it starts, and each change.

    Attributes:
        start: (e,) float64 at parameter 0 itself.
        first: (e,) float64 just after 0: differs from ``start`` only where documents tie there.
        query: (c,) int64 whose metric changes.
        parameter: (c,) float64 where.
        change: (c,) float64 by how much.
    """

    start: NDArray[np.float64]
    first: NDArray[np.float64]
    query: NDArray[np.int64]
    parameter: NDArray[np.float64]
    change: NDArray[np.float64]

    @staticmethod
    def side_by_side(parts: list[Changes]) -> Changes:
        """Return the changes of consecutive blocks of queries as one."""
        offsets = np.cumsum([0, *(len(part.start) for part in parts)])[:-1]
        return Changes(
            np.concatenate([np.zeros(0), *(part.start for part in parts)]),
            np.concatenate([np.zeros(0), *(part.first for part in parts)]),
            np.concatenate([np.zeros(0, np.int64), *(p.query + o for p, o in zip(parts, offsets, strict=True))]),
            np.concatenate([np.zeros(0), *(part.parameter for part in parts)]),
            np.concatenate([np.zeros(0), *(part.change for part in parts)]),
        )

    def placed(self, order: NDArray[np.int64]) -> Changes:
        """Return the same queries in the places ``order`` (e,), a permutation."""
        back = np.argsort(order)
        return Changes(self.start[back], self.first[back], order[self.query], self.parameter, self.change)

    def at(self, parameter: float) -> NDArray[np.float64]:
        """Return each query's metric at a parameter."""
        if parameter <= 0.0:
            return self.start
        past = self.parameter < parameter
        return self.first + np.bincount(self.query[past], weights=self.change[past], minlength=len(self.first))

    def squared(self) -> Changes:
        """Return how the square of each query's distance from its start changes."""
        order = np.lexsort((self.parameter, self.query))
        query, change = self.query[order], self.change[order]
        counts = np.bincount(query, minlength=len(self.start))
        total = np.concatenate([[0.0], np.cumsum(change)])
        before_query = total[(np.cumsum(counts) - counts)[query]]
        away = (self.first - self.start)[query] + total[:-1] - before_query
        moved = (away + change) ** 2 - away**2
        return Changes(np.zeros(len(counts)), (self.first - self.start) ** 2, query, self.parameter[order], moved)


@dataclass(frozen=True, eq=False)
class _Toggles:
    """For each relevant document: how many stand above it, and each time that one more or one fewer does.

    Counts are (2, p): irrelevant, and other relevant documents.
    """

    at_begin: NDArray[np.int64]
    just_after: NDArray[np.int64]
    relevant: NDArray[np.int64]
    parameter: NDArray[np.float64]
    sign: NDArray[np.int64]
    among_relevant: NDArray[np.bool_]


def changes_on(path: Path, metric: Metric, segment: Segment, queries: int) -> Changes:
    """Return how a metric changes on one segment of the path, for a block of queries.

    Args:
        path: The path that all documents take.
        metric: What to measure.
        segment: Where on the path, and the documents that can come within the cutoff there.
        queries: How many queries the block has.

    Returns:
        Changes whose ``start`` and ``first`` are those at the beginning of the segment.
    """
    relevant = np.flatnonzero(segment.path_scores.relevant)
    parts = [
        _changes_of(path, metric, segment, relevant[part], queries) for part in _parts(segment.path_scores, relevant)
    ]
    return Changes(
        sum((part.start for part in parts), np.zeros(queries)),
        sum((part.first for part in parts), np.zeros(queries)),
        np.concatenate([np.zeros(0, np.int64), *(part.query for part in parts)]),
        np.concatenate([np.zeros(0), *(part.parameter for part in parts)]),
        np.concatenate([np.zeros(0), *(part.change for part in parts)]),
    )


def _parts(path_scores: PathScores, relevant: NDArray[np.int64]) -> Iterator[slice]:
    """Yield slices of the relevant documents with about ``_COMPARED`` comparisons each."""
    total = np.cumsum(path_scores.mates()[relevant])
    start = 0
    while start < len(relevant):
        limit = (total[start - 1] if start else 0) + _COMPARED
        stop = max(start + 1, int(np.searchsorted(total, limit, side="right")))
        yield slice(start, stop)
        start = stop


def _changes_of(path: Path, metric: Metric, segment: Segment, relevant: NDArray[np.int64], queries: int) -> Changes:
    path_scores = segment.path_scores
    toggles = _toggles(path, segment, relevant)
    weights, query = path_scores.weight[relevant], path_scores.query[relevant]

    def value(above: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.float64]:
        return weights[of] * metric.contribution(above.sum(axis=0) + 1, above[1] + 1)

    each = np.arange(len(relevant))
    start, first = (_per_query(query, value(above, each), queries) for above in (toggles.at_begin, toggles.just_after))
    order = np.lexsort((toggles.parameter, toggles.relevant))
    of, sign, inner = toggles.relevant[order], toggles.sign[order], toggles.among_relevant[order]
    moved = np.stack([np.where(inner, 0, sign), np.where(inner, sign, 0)])
    earlier = np.cumsum(moved, axis=1) - moved
    before = toggles.just_after[:, of] + earlier - earlier[:, np.searchsorted(of, of)]
    change = value(before + moved, of) - value(before, of)
    kept = change != 0.0
    return Changes(start, first, query[of][kept], toggles.parameter[order][kept], change[kept])


def _per_query(query: NDArray[np.int64], values: NDArray[np.float64], queries: int) -> NDArray[np.float64]:
    return np.bincount(query, weights=values, minlength=queries).astype(np.float64)


def _toggles(path: Path, segment: Segment, relevant: NDArray[np.int64]) -> _Toggles:
    """Compare relevant documents with every other candidate of their queries."""
    path_scores = segment.path_scores
    begins = np.searchsorted(path_scores.query, path_scores.query[relevant])
    mine, position = ragged(path_scores.mates()[relevant])
    other = begins[mine] + position
    mine, other = mine[other != relevant[mine]], other[other != relevant[mine]]
    ahead_begin = segment.at_begin[other] - segment.at_begin[relevant[mine]]
    ahead_end = segment.at_end[other] - segment.at_end[relevant[mine]]
    first_row = path_scores.row[other] < path_scores.row[relevant[mine]]
    inner = path_scores.relevant[other]
    # Most pairs keep their order; only the rank changes of the others are computed.
    apart = (ahead_begin * ahead_end >= 0.0) | (np.maximum(np.abs(ahead_begin), np.abs(ahead_end)) <= TIE)
    left = np.flatnonzero(~apart)
    maybe = np.flatnonzero(apart)
    one, two = relevant[mine[maybe]], other[maybe]
    sure = path.changes_once(
        path_scores.coefficients[:, one], path_scores.coefficients[:, two], segment.begin, segment.end
    )
    left = np.sort(np.concatenate([left, maybe[~sure]]))
    just_after = is_above((ahead_begin + ahead_end) / 2.0, first_row)
    knots, state = _orders(path, segment, relevant[mine[left]], other[left], first_row[left])
    just_after[left] = state[:, 0]
    which, piece = np.nonzero((state[:, 1:] != state[:, :-1]) & (knots < segment.end))

    def counts(above: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.stack([np.bincount(mine[above & (inner == side)], minlength=len(relevant)) for side in (False, True)])

    return _Toggles(
        at_begin=counts(is_above(ahead_begin, first_row)),
        just_after=counts(just_after),
        relevant=mine[left[which]],
        parameter=knots[which, piece],
        sign=np.where(state[which, piece + 1], 1, -1),
        among_relevant=inner[left[which]],
    )


def is_above(ahead: NDArray[np.float64], first_row: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which documents rank above others, by how far their scores are ahead and whether their row is first."""
    return (ahead > TIE) | ((ahead >= -TIE) & first_row)


def _orders(
    path: Path, segment: Segment, one: NDArray[np.int64], two: NDArray[np.int64], first_row: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the (N, P) parameters at which pairs may cross, and whether ``two`` is above on the P + 1 pieces."""
    lower, upper = segment.path_scores.coefficients[:, one], segment.path_scores.coefficients[:, two]
    # Copies of a document start equal: rounding must not let them part a little later than at once.
    upper[0] = np.where(np.abs(upper[0] - lower[0]) <= TIE, lower[0], upper[0])
    begin, end = segment.begin, segment.end
    knots = path.rank_changes(lower, upper)
    knots = np.sort(np.where((knots > begin) & (knots < end), knots, end), axis=1)
    edges = np.concatenate([np.full((len(one), 1), begin), knots, np.full((len(one), 1), end)], axis=1)
    middles = (edges[:, :-1] + edges[:, 1:]) / 2.0
    return knots, is_above(path.score(upper, middles) - path.score(lower, middles), first_row[:, None])
