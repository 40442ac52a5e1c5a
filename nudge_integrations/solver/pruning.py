"""Candidate pruning: which documents can come among the best of a query, for a block of queries at once.

The whole path comes first. Where too many documents remain (most of the corpus is labelled and moves), the path is
cut into segments, on each of which the scores at both ends bound those in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.solver.leave_one_out import Pairs, Scores
from nudge_integrations.solver.path import Path
from nudge_integrations.solver.problem import EvaluationQueries, Labels
from nudge_integrations.solver.segments import SLACK, PathScores

__all__ = ["candidate_segments"]

# Candidates per query from which it pays to cut the path, and into how many segments.
_MANY, _CUTS = 64, 8

# Blending in float32 is off by this much at most, but for documents almost opposite to their targets.
_BLENDED, _OPPOSITE = 1e-4, -0.999


def candidate_segments(
    path: Path, labels: Labels, evaluation: EvaluationQueries, block: slice, k: int, scores: Scores, pairs: Pairs
) -> Iterator[tuple[float, float, PathScores]]:
    """Yield segments of the path (begin, end) in order, with the documents that can be among a query's best k on each.

    Labelled pairs are not included: their scores are computed separately.
    """
    apart = tuple(torch.from_numpy(index).to(scores.base.device) for index in (pairs.query, pairs.column))
    exists = np.isfinite(evaluation.scores[block])
    static = np.where(exists, evaluation.scores[block], 0.0)
    rested = path.coefficients(
        static.ravel(), path.rest(torch.from_numpy(static.ravel())).numpy(), np.ones(static.size)
    )

    def at(parameter: float) -> NDArray[np.float64]:
        return np.where(exists, path.score(rested, np.array(parameter)).reshape(static.shape), -np.inf)

    def candidates(mask: torch.Tensor, floor: NDArray[np.float64], static_high: NDArray[np.float64]) -> PathScores:
        mask[apart] = False
        reaching = np.flatnonzero((static_high >= floor[:, None]) & exists)
        rows = evaluation.rows[block].ravel()[reaching]
        others = PathScores.irrelevant(reaching // max(1, static.shape[1]), rows, rested[:, reaching])
        return PathScores.join(_moving(path, labels, scores, mask), others)

    high = torch.maximum(scores.base, scores.end)
    high = torch.maximum(high, high * path.spread(scores.cosine))
    ends = at(0.0), at(path.limit)
    floor = np.minimum(*ends).min(axis=1) - SLACK
    mask = high >= torch.from_numpy(floor).to(high)[:, None]
    if int(mask.sum()) <= _MANY * len(floor):
        yield 0.0, path.limit, candidates(mask, floor, np.maximum(*ends))
        return
    edges = _edges(path, scores.cosine)
    for begin, end, low, high in _bounds(path, scores, edges):
        low[apart] = -torch.inf
        ends = at(begin), at(end)
        floor = _kth(low, np.minimum(*ends), k) - _BLENDED
        mask = high >= torch.from_numpy(floor).to(high)[:, None]
        yield begin, end, candidates(mask, floor, np.maximum(*ends))


def _edges(path: Path, cosine: torch.Tensor) -> list[float]:
    """Return where to cut: evenly while documents move, and once more to the end of the path."""
    last = path.end(np.array([float(cosine.min())]))
    edges = np.linspace(0.0, last, _CUTS + 1).tolist()
    return edges if last >= path.limit else [*edges, path.limit]


def _bounds(
    path: Path, scores: Scores, edges: list[float]
) -> Iterator[tuple[float, float, torch.Tensor, torch.Tensor]]:
    """Yield (begin, end) and bounds (c, u) from below and above on all scores between."""
    opposite = scores.cosine < _OPPOSITE
    values, turned = _blended(path, scores, edges[0])
    for begin, end in pairwise(edges):
        before, turned_before = values, turned
        values, turned = _blended(path, scores, end)
        low, high = torch.minimum(before, values), torch.maximum(before, values, out=before)
        if bool((turned != turned_before).any()):
            spread = 1.0 / torch.cos((turned - turned_before) / 2.0)
            low, high = torch.minimum(low, low * spread), torch.maximum(high, high * spread)
        if bool(opposite.any()):
            low, high = low.masked_fill(opposite, -torch.inf), high.masked_fill(opposite, torch.inf)
        yield begin, end, low, high


def _blended(path: Path, scores: Scores, parameter: float) -> tuple[torch.Tensor, torch.Tensor]:
    base, end, turned = path.blend(scores.cosine, parameter)
    return (scores.base * base).addcmul_(scores.end, end), turned


def _kth(low: torch.Tensor, static: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return each query's k-th largest lower bound among moving and resting documents."""
    best = torch.topk(low, min(k, low.shape[1]), dim=1).values.double().cpu().numpy()
    lowest = np.concatenate([best, static], axis=1)
    kth: NDArray[np.float64] = np.partition(lowest, best.shape[1], axis=1)[:, best.shape[1]]
    return kth


def _moving(path: Path, labels: Labels, scores: Scores, mask: torch.Tensor) -> PathScores:
    """Return the path scores of the (query, document) entries in a mask (c, u)."""
    query, column = torch.nonzero(mask, as_tuple=True)
    cosine = scores.cosine[query, column] if scores.cosine.ndim == 2 else scores.cosine[column]
    coefficients = (
        part.double().cpu().numpy() for part in (scores.base[query, column], scores.end[query, column], cosine)
    )
    return PathScores.irrelevant(
        query.cpu().numpy(), labels.rows[column.cpu().numpy()], path.coefficients(*coefficients)
    )
