"""When ranks change: every crossing of a relevant document's score with another's, and what it does to the metric.

Along a path the order of two documents changes only where their scores are equal. The paths give the few parameters at
which that can be; the order in between is read off at the middle of each piece, so a root too many does no harm.
Scores closer than ``TIE`` there (duplicates) are ordered by corpus row, as a stable sort of the ranking would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.corpus.metrics import Metric
from nudge_integrations.solver.path import Path
from nudge_integrations.solver.ragged import ragged
from nudge_integrations.solver.segments import ScorePaths, Segment

__all__ = ["RankChanges", "changes_on", "is_above", "one_after_another"]

# The rounding of a float32 inner product of unit vectors.
TIE = 2e-7

# Sums of the same changes in another order differ by this much.
_ROUNDING = 1e-9

# Pairs of documents compared at a time: bounds the temporary memory of one comparison to about 100 MB.
_COMPARED = 1 << 18


@dataclass(frozen=True, eq=False)
class RankChanges:
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
    def side_by_side(parts: list[RankChanges]) -> RankChanges:
        """Return the changes of consecutive blocks of queries as one."""
        offsets = np.cumsum([0, *(len(part.start) for part in parts)])[:-1]
        return RankChanges(
            np.concatenate([np.zeros(0), *(part.start for part in parts)]),
            np.concatenate([np.zeros(0), *(part.first for part in parts)]),
            np.concatenate([np.zeros(0, np.int64), *(p.query + o for p, o in zip(parts, offsets, strict=True))]),
            np.concatenate([np.zeros(0), *(part.parameter for part in parts)]),
            np.concatenate([np.zeros(0), *(part.change for part in parts)]),
        )

    def placed(self, order: NDArray[np.int64]) -> RankChanges:
        """Return the same queries in the places ``order`` (e,), a permutation."""
        back = np.argsort(order)
        return RankChanges(self.start[back], self.first[back], order[self.query], self.parameter, self.change)

    def at(self, parameter: float) -> NDArray[np.float64]:
        """Return each query's metric at a parameter."""
        if parameter <= 0.0:
            return self.start
        past = self.parameter < parameter
        return self.first + np.bincount(self.query[past], weights=self.change[past], minlength=len(self.first))

    def only(self, queries: NDArray[np.bool_]) -> RankChanges:
        """Return the changes of some of the queries (e,)."""
        kept = queries[self.query]
        place = np.cumsum(queries) - 1
        return RankChanges(
            self.start[queries],
            self.first[queries],
            place[self.query[kept]],
            self.parameter[kept],
            self.change[kept],
        )

    def squared(self) -> RankChanges:
        """Return how the square of each query's distance from its start changes."""
        order = np.lexsort((self.parameter, self.query))
        query, change = self.query[order], self.change[order]
        counts = np.bincount(query, minlength=len(self.start))
        total = np.concatenate([[0.0], np.cumsum(change)])
        before_query = total[(np.cumsum(counts) - counts)[query]]
        away = (self.first - self.start)[query] + total[:-1] - before_query
        moved = (away + change) ** 2 - away**2
        return RankChanges(np.zeros(len(counts)), (self.first - self.start) ** 2, query, self.parameter[order], moved)


@dataclass(frozen=True, eq=False)
class _Toggles:
    """For each relevant document: how many stand above it, and each time that one more or one fewer does.

    Counts are (2, p): documents that are not relevant, and other relevant ones.
    """

    at_begin: NDArray[np.int64]
    just_after: NDArray[np.int64]
    relevant: NDArray[np.int64]
    parameter: NDArray[np.float64]
    sign: NDArray[np.int64]
    among_relevant: NDArray[np.bool_]


def changes_on(path: Path, metric: Metric, segment: Segment, queries: int) -> RankChanges:
    """Return how a metric changes on one segment of the path, for a block of queries.

    Args:
        path: The path that all documents take.
        metric: What to measure.
        segment: Where on the path, and the documents that can come within the cutoff there.
        queries: How many queries the block has.

    Returns:
        RankChanges whose ``start`` and ``first`` are those at the beginning of the segment.
    """
    relevant = np.flatnonzero(segment.paths.relevant)
    parts = [_changes_of(path, metric, segment, relevant[part], queries) for part in _parts(segment.paths, relevant)]
    return RankChanges(
        sum((part.start for part in parts), np.zeros(queries)),
        sum((part.first for part in parts), np.zeros(queries)),
        np.concatenate([np.zeros(0, np.int64), *(part.query for part in parts)]),
        np.concatenate([np.zeros(0), *(part.parameter for part in parts)]),
        np.concatenate([np.zeros(0), *(part.change for part in parts)]),
    )


def one_after_another(parts: list[tuple[float, RankChanges]]) -> RankChanges:
    """Return the changes on consecutive segments of the path, each with its beginning, as one."""
    changes: list[RankChanges] = []
    value = parts[0][1].first
    for begin, part in parts:
        # What changes exactly where two segments meet belongs to neither.
        jump = part.first - value
        at = np.flatnonzero(np.abs(jump) > _ROUNDING)
        changes += [RankChanges(part.start, part.first, at, np.full(len(at), begin), jump[at]), part]
        value = part.first + np.bincount(part.query, weights=part.change, minlength=len(jump))
    return RankChanges(
        parts[0][1].start,
        parts[0][1].first,
        np.concatenate([part.query for part in changes]),
        np.concatenate([part.parameter for part in changes]),
        np.concatenate([part.change for part in changes]),
    )


def values_at(path: Path, metric: Metric, paths: ScorePaths, parameter: float, queries: int) -> NDArray[np.float64]:
    """Return (queries,) float64, the metric at one parameter, by sorting each query's documents there."""
    scores = path.score(paths.coefficients, np.array(parameter))
    # Scores that tie are ordered by corpus row, as a chain: each is compared with the one before it.
    order = np.lexsort((paths.row, -scores, paths.query))
    query, row, score = paths.query[order], paths.row[order], scores[order]
    chained = np.append(False, (query[1:] == query[:-1]) & (score[:-1] - score[1:] <= TIE))
    order = order[np.lexsort((row, np.cumsum(~chained)))]
    query, relevant, weight = paths.query[order], paths.relevant[order], paths.weight[order]
    first = np.searchsorted(query, query)
    rank = np.arange(len(query)) - first + 1
    earlier = np.concatenate([[0], np.cumsum(relevant)])
    among = earlier[1:] - earlier[first]
    worth = weight[relevant] * metric.contribution(rank[relevant], among[relevant])
    return _per_query(query[relevant], worth, queries)


def _parts(paths: ScorePaths, relevant: NDArray[np.int64]) -> Iterator[slice]:
    """Yield slices of the relevant documents with about ``_COMPARED`` comparisons each."""
    total = np.cumsum(paths.mates()[relevant])
    start = 0
    while start < len(relevant):
        limit = (total[start - 1] if start else 0) + _COMPARED
        stop = max(start + 1, int(np.searchsorted(total, limit, side="right")))
        yield slice(start, stop)
        start = stop


def _changes_of(path: Path, metric: Metric, segment: Segment, relevant: NDArray[np.int64], queries: int) -> RankChanges:
    paths = segment.paths
    toggles = _toggles(path, segment, relevant)
    weights, query = paths.weight[relevant], paths.query[relevant]

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
    return RankChanges(start, first, query[of][kept], toggles.parameter[order][kept], change[kept])


def _per_query(query: NDArray[np.int64], values: NDArray[np.float64], queries: int) -> NDArray[np.float64]:
    return np.bincount(query, weights=values, minlength=queries).astype(np.float64)


def _toggles(path: Path, segment: Segment, relevant: NDArray[np.int64]) -> _Toggles:
    """Compare relevant documents with every other candidate of their queries."""
    paths = segment.paths
    begins = np.searchsorted(paths.query, paths.query[relevant])
    mine, position = ragged(paths.mates()[relevant])
    other = begins[mine] + position
    mine, other = mine[other != relevant[mine]], other[other != relevant[mine]]
    ahead_begin = segment.at_begin[other] - segment.at_begin[relevant[mine]]
    ahead_end = segment.at_end[other] - segment.at_end[relevant[mine]]
    first_row = paths.row[other] < paths.row[relevant[mine]]
    inner = paths.relevant[other]
    # Most pairs keep their order; only the crossings of the others are worked out.
    apart = (ahead_begin * ahead_end >= 0.0) | (np.maximum(np.abs(ahead_begin), np.abs(ahead_end)) <= TIE)
    left = np.flatnonzero(~apart)
    maybe = np.flatnonzero(apart)
    one, two = relevant[mine[maybe]], other[maybe]
    sure = path.cross_once(paths.coefficients[:, one], paths.coefficients[:, two], segment.begin, segment.end)
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
    lower, upper = segment.paths.coefficients[:, one], segment.paths.coefficients[:, two]
    # Copies of a document start equal: rounding must not let them part a little later than at once.
    upper[0] = np.where(np.abs(upper[0] - lower[0]) <= TIE, lower[0], upper[0])
    begin, end = segment.begin, segment.end
    knots = path.crossings(lower, upper)
    knots = np.sort(np.where((knots > begin) & (knots < end), knots, end), axis=1)
    edges = np.concatenate([np.full((len(one), 1), begin), knots, np.full((len(one), 1), end)], axis=1)
    middles = (edges[:, :-1] + edges[:, 1:]) / 2.0
    return knots, is_above(path.score(upper, middles) - path.score(lower, middles), first_row[:, None])
