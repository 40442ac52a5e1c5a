"""Which documents can come among a query's best on the way: found for a block of queries with a few dense operations.

Along the whole path first. Where too many documents remain (most of the corpus is labelled and moves), the path is cut
into segments, on each of which the scores at both ends bound what lies between. Bounds are made of one angle a
document; where leaving a query out turns a document's target by more than a trifle, the document is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.solver.labels import EvaluationQueries, Labels
from nudge_integrations.solver.leave_one_out import Scores
from nudge_integrations.solver.path import Path
from nudge_integrations.solver.segments import SLACK, ScorePaths

__all__ = ["candidate_segments"]

# Candidates per query from which it pays to cut the path, and into how many segments.
_MANY, _CUTS = 64, 8

# Blending in float32 is off by this much at most, but for documents almost at their targets or opposite to them, whose
# plane is hardly known.
_BLENDED, _LEAST_SINE = 1e-4, 0.1


def candidate_segments(
    path: Path,
    labels: Labels,
    evaluation: EvaluationQueries,
    block: slice,
    k: int,
    scores: Scores,
    apart: tuple[NDArray[np.int64], NDArray[np.int64]],
    at: float | None = None,
) -> Iterator[tuple[float, float, ScorePaths]]:
    """Yield segments of the path (begin, end) in order, with the documents that can be among a query's best k on each.

    The pairs ``apart`` of queries and labelled documents are left out: their scores are worked out elsewhere, or do not
    count. With ``at`` the one segment is that parameter.
    """
    left_out = tuple(torch.from_numpy(index).to(scores.base.device) for index in apart)
    resting = _Resting(path, evaluation.scores[block], evaluation.rows[block])
    edges = [0.0, path.limit] if at is None else [at, at]
    whole = _whole_path(path, scores) if at is None else None
    if whole is not None:
        low, high = whole
        low[left_out] = -torch.inf
        floor = _kth(low, resting.low(0.0, path.limit), k) - SLACK
        mask = high >= floor[:, None]
        mask[left_out] = False
        if int(mask.sum()) <= _MANY * len(floor):
            yield 0.0, path.limit, _candidates(path, labels, scores, mask, resting, floor, edges)
            return
        edges = _edges(path, scores.cosine)
    for begin, end, low, high in _bounds(path, scores, edges):
        low[left_out] = -torch.inf
        floor = _kth(low, resting.low(begin, end), k) - _BLENDED
        mask = high >= floor[:, None]
        mask[left_out] = False
        yield begin, end, _candidates(path, labels, scores, mask, resting, floor, [begin, end])


class _Resting:
    """The best documents that never move, for each query of a block."""

    def __init__(self, path: Path, scores: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        self._path, self._rows, self._exist = path, rows, np.isfinite(scores)
        static = np.where(self._exist, scores, 0.0)
        rest = path.rest(torch.from_numpy(static.ravel())).numpy()
        self._coefficients = path.coefficients(static.ravel(), rest, np.ones(static.size))

    def low(self, begin: float, end: float) -> NDArray[np.float64]:
        """Return (c, k) the least score of each between two parameters; -inf where there is no document."""
        return np.minimum(self._at(begin), self._at(end))

    def reaching(self, floor: NDArray[np.float64], begin: float, end: float) -> ScorePaths:
        """Return the paths of those that reach the floor (c,) somewhere between two parameters."""
        reaching = np.maximum(self._at(begin), self._at(end)) >= floor[:, None]
        found = np.flatnonzero(reaching & self._exist)
        query = found // max(1, self._rows.shape[1])
        return ScorePaths.static(query, self._rows.ravel()[found], self._coefficients[:, found])

    def _at(self, parameter: float) -> NDArray[np.float64]:
        scores = self._path.score(self._coefficients, np.array(parameter)).reshape(self._rows.shape)
        return np.where(self._exist, scores, -np.inf)


def _whole_path(path: Path, scores: Scores) -> tuple[torch.Tensor, torch.Tensor]:
    """Return bounds (c, u) from below and above on all scores of the whole path."""
    low, high = torch.minimum(scores.base, scores.end), torch.maximum(scores.base, scores.end)
    spread = path.spread(scores.cosine)
    return torch.minimum(low, low * spread), torch.maximum(high, high * spread)


def _edges(path: Path, cosine: torch.Tensor) -> list[float]:
    """Return where to cut: evenly while documents move, and once more to the end of the path."""
    last = path.end(np.array([float(cosine.min())]))
    edges = np.linspace(0.0, last, _CUTS + 1).tolist()
    return edges if last >= path.limit else [*edges, path.limit]


def _bounds(
    path: Path, scores: Scores, edges: list[float]
) -> Iterator[tuple[float, float, torch.Tensor, torch.Tensor]]:
    """Yield (begin, end) and bounds (c, u) from below and above on all scores between."""
    cosine = scores.cosine if scores.cosine.ndim == 1 else scores.cosine.median(dim=0).values
    slack = _slack(path, scores, cosine)
    values, turned = _blended(path, scores, cosine, edges[0])
    for begin, end in pairwise(edges):
        before, turned_before = values, turned
        values, turned = (values, turned) if end == begin else _blended(path, scores, cosine, end)
        low, high = torch.minimum(before, values), torch.maximum(before, values)
        if bool((turned != turned_before).any()):
            spread = 1.0 / torch.cos((turned - turned_before) / 2.0)
            low, high = torch.minimum(low, low * spread), torch.maximum(high, high * spread)
        yield begin, end, low.sub_(slack), high.add_(slack)


def _slack(path: Path, scores: Scores, cosine: torch.Tensor) -> torch.Tensor:
    """Return (u,) or (c, u), how far off scores are that are blended with one cosine (u,) a document.

    The blend's factors are sin(phi - x) / sin(phi) and sin(x) / sin(phi); neither changes faster with the cosine of phi
    than by 1 / sin(phi)^3.
    """
    sine = (1.0 - cosine.square()).clamp_min(0.0).sqrt()
    unknown = (sine < _LEAST_SINE) & (cosine < 1.0)
    slack = torch.zeros_like(cosine).masked_fill_(unknown & (cosine < 0.0), torch.inf)
    if scores.cosine.ndim == 1:
        return slack
    largest = float(scores.base.abs().max()) + float(scores.end.abs().max()) if scores.base.numel() else 0.0
    steep = (largest / sine.clamp_min(_LEAST_SINE) ** 3).masked_fill_(unknown, torch.inf)
    apart = (scores.cosine - cosine).abs_()
    return torch.where(apart > 0.0, apart * steep, 0.0).add_(slack)


def _blended(path: Path, scores: Scores, cosine: torch.Tensor, parameter: float) -> tuple[torch.Tensor, torch.Tensor]:
    base, end, turned = path.blend(cosine, parameter)
    return (scores.base * base).addcmul_(scores.end, end), turned


def _kth(low: torch.Tensor, static: NDArray[np.float64], k: int) -> torch.Tensor:
    """Return (c,) each query's k-th largest lower bound among moving and resting documents."""
    best = torch.topk(low, min(k, low.shape[1]), dim=1).values
    every = torch.cat([best, torch.from_numpy(static).to(best)], dim=1)
    return torch.topk(every, k, dim=1).values[:, -1] if every.shape[1] >= k else low.new_full((len(low),), -torch.inf)


def _candidates(
    path: Path,
    labels: Labels,
    scores: Scores,
    mask: torch.Tensor,
    resting: _Resting,
    floor: torch.Tensor,
    ends: list[float],
) -> ScorePaths:
    """Return the paths of the (query, document) entries in a mask (c, u), and of the resting documents that matter."""
    entry: NDArray[np.int64] = np.flatnonzero(mask.cpu().numpy())
    query, column = np.divmod(entry, max(1, mask.shape[1]))
    at = torch.from_numpy(entry).to(mask.device)
    cosine = scores.cosine.ravel()[at] if scores.cosine.ndim == 2 else scores.cosine[torch.from_numpy(column)]
    parts = (part.double().cpu().numpy() for part in (scores.base.ravel()[at], scores.end.ravel()[at], cosine))
    moving = ScorePaths.static(query, labels.rows[column], path.coefficients(*parts))
    return ScorePaths.join(moving, resting.reaching(floor.double().cpu().numpy(), ends[0], ends[-1]))
