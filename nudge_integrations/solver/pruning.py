"""Which documents can come among a query's best on the way: found for a block of queries with a few dense operations.

The scores at both ends of the whole path bound what lies between, which leaves few of the documents. Where these are
still too many (most of the corpus is labelled and moves), the path is halved until few can come within the cutoff on
each piece.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.solver.labels import EvaluationQueries, Labels
from nudge_integrations.solver.leave_one_out import Pairs, Scores
from nudge_integrations.solver.path import Path
from nudge_integrations.solver.segments import SLACK, ScorePaths, Segment, segment_of

__all__ = ["candidates", "segments"]

# Documents of a query from which it pays to halve a piece of the path, and how often.
_MANY, _HALVINGS = 24, 3


def candidates(
    path: Path, labels: Labels, evaluation: EvaluationQueries, block: slice, k: int, scores: Scores, pairs: Pairs
) -> ScorePaths:
    """Return the paths of the documents that may be among the best k of a block's queries somewhere.

    The labelled pairs are left out, their scores are worked out apart, and so is what queries ignore.
    """
    ignored = evaluation.ignored_among(labels.rows, block)
    columns = (np.concatenate(both) for both in zip((pairs.query, pairs.column), ignored, strict=True))
    apart = tuple(torch.from_numpy(column).to(scores.base.device) for column in columns)
    resting = _Resting(path, evaluation.scores[block], evaluation.rows[block])
    low, high = torch.minimum(scores.base, scores.end), torch.maximum(scores.base, scores.end)
    spread = path.spread(scores.cosine)
    # A negative score is lowered by the same factor.
    low, high = torch.minimum(low, low * spread), torch.maximum(high, high * spread)
    low[apart] = -torch.inf
    floor = _kth(low, resting.low(), k) - SLACK
    mask = high >= floor[:, None]
    mask[apart] = False
    entry: NDArray[np.int64] = np.flatnonzero(mask.cpu().numpy())
    query, column = np.divmod(entry, max(1, mask.shape[1]))
    at = torch.from_numpy(entry).to(mask.device)
    cosine = scores.cosine.ravel()[at] if scores.cosine.ndim == 2 else scores.cosine[torch.from_numpy(column)]
    parts = (part.double().cpu().numpy() for part in (scores.base.ravel()[at], scores.end.ravel()[at], cosine))
    moving = ScorePaths.static(query, labels.rows[column], path.coefficients(*parts))
    return ScorePaths.join(moving, resting.reaching(floor.double().cpu().numpy()))


def segments(path: Path, paths: ScorePaths, k: int, last: float) -> Iterator[Segment]:
    """Yield pieces of the whole path in order, each with the documents that can be among a query's best k on it.

    Args:
        path: The path.
        paths: All documents that may be.
        k: The cutoff.
        last: The parameter after which nothing moves.
    """
    queries = max(1, len(np.unique(paths.query)))
    whole = segment_of(path, paths, k, 0.0, path.limit)
    if len(whole.paths.query) <= _MANY * queries or not 0.0 < last < path.limit:
        yield from _halved(path, whole, k, _MANY * queries, _HALVINGS)
        return
    yield from _halved(path, segment_of(path, whole.paths, k, 0.0, last), k, _MANY * queries, _HALVINGS)
    yield segment_of(path, whole.paths, k, last, path.limit)


def _halved(path: Path, segment: Segment, k: int, many: int, halvings: int) -> Iterator[Segment]:
    if not halvings or len(segment.paths.query) <= many:
        yield segment
        return
    middle = (segment.begin + segment.end) / 2.0
    for begin, end in ((segment.begin, middle), (middle, segment.end)):
        yield from _halved(path, segment_of(path, segment.paths, k, begin, end), k, many, halvings - 1)


class _Resting:
    """The best documents that never move, for each query of a block."""

    def __init__(self, path: Path, scores: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        self._path, self._rows, self._exist = path, rows, np.isfinite(scores)
        static = np.where(self._exist, scores, 0.0)
        rest = path.rest(torch.from_numpy(static.ravel())).numpy()
        self._coefficients = path.coefficients(static.ravel(), rest, np.ones(static.size))
        self._ends = [self._at(0.0), self._at(path.limit)]

    def low(self) -> NDArray[np.float64]:
        """Return (c, k) the least score of each on the path; -inf where there is no document."""
        return np.minimum(*self._ends)

    def reaching(self, floor: NDArray[np.float64]) -> ScorePaths:
        """Return the paths of those that reach the floor (c,) somewhere."""
        found = np.flatnonzero((np.maximum(*self._ends) >= floor[:, None]) & self._exist)
        query = found // max(1, self._rows.shape[1])
        return ScorePaths.static(query, self._rows.ravel()[found], self._coefficients[:, found])

    def _at(self, parameter: float) -> NDArray[np.float64]:
        scores = self._path.score(self._coefficients, np.array(parameter)).reshape(self._rows.shape)
        return np.where(self._exist, scores, -np.inf)


def _kth(low: torch.Tensor, static: NDArray[np.float64], k: int) -> torch.Tensor:
    """Return (c,) each query's k-th largest lower bound among moving and resting documents."""
    best = torch.topk(low, min(k, low.shape[1]), dim=1).values
    every = torch.cat([best, torch.from_numpy(static).to(best)], dim=1)
    return torch.topk(every, k, dim=1).values[:, -1] if every.shape[1] >= k else low.new_full((len(low),), -torch.inf)
