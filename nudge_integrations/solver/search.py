"""How far to go: the exact curve of a ranking metric along a path, and the best step on it.

A metric is piecewise constant along a path, so its maximum is found among the crossings of scores, without a grid. A
document can matter to a query only if its best score on the way reaches what the query's k-th best document never
falls below; those few are compared one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from tqdm import tqdm

from nudge_integrations.solver._solution import Curve
from nudge_integrations.solver.crossings import Changes, changes_on
from nudge_integrations.solver.metrics import Metric
from nudge_integrations.solver.path import Path
from nudge_integrations.solver.problem import Heading, Judged, Labels
from nudge_integrations.solver.stretches import SLACK, Tracks, stretches
from nudge_integrations.solver.tracks import Pairs, Scores, judged_blocks, labelled_pairs, scores_of

__all__ = ["Sweep", "best_parameter", "curve_of", "sweep"]

# A plateau narrower than this cannot be told from its neighbours once the vectors are float32.
_NARROWEST = 3e-6

# Candidates per query from which it pays to look for a higher threshold.
_MANY = 64

# Sums of the same changes in another order differ by this much.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Sweep:
    """A metric along one path, judged in two ways.

    Attributes:
        path: The path.
        seen: Every judged query with its own labels left out (or held-out queries as they are).
        unseen: The same with every document that a query wants at rest, as if nobody had labelled it.
    """

    path: Path
    seen: Changes
    unseen: Changes

    def objective(self, unseen_weight: float) -> Changes:
        """Return (1 - w) seen + w unseen."""
        if unseen_weight == 0.0:
            return self.seen
        parts = ((self.seen, 1.0 - unseen_weight), (self.unseen, unseen_weight))
        return Changes(
            np.sum([weight * part.start for part, weight in parts], axis=0),
            np.sum([weight * part.first for part, weight in parts], axis=0),
            np.concatenate([part.query for part, _ in parts]),
            np.concatenate([part.parameter for part, _ in parts]),
            np.concatenate([weight * part.change for part, weight in parts]),
        )


def sweep(
    heading: Heading, labels: Labels, judged: Judged, metric: Metric, block_bytes: int, *, progress: bool = False
) -> Sweep:
    """Return the exact metric of the judged queries along the path of a heading."""
    weights = metric.weights(judged.gains)
    seen, unseen = [], []
    with tqdm(total=len(judged.queries), desc="searching the step", unit="query", disable=not progress) as bar:
        for block in judged_blocks(judged, labels, block_bytes):
            moving, resting = _block_changes(heading, labels, judged, block, metric, weights)
            seen.append(moving)
            unseen.append(resting)
            bar.update(block.stop - block.start)
    return Sweep(heading.path, Changes.side_by_side(seen), Changes.side_by_side(unseen))


def _block_changes(
    heading: Heading, labels: Labels, judged: Judged, block: slice, metric: Metric, weights: NDArray[np.float64]
) -> tuple[Changes, Changes]:
    path = heading.path
    pairs = labelled_pairs(heading, labels, judged, block)
    rivals = _rivals(path, labels, judged, block, metric, scores_of(heading, labels, judged, block), pairs)
    weight = _weights_at(pairs, judged.gains[block], weights[judged.gains.indptr[block.start] :])
    rest = path.rest(torch.from_numpy(pairs.base)).numpy()
    wanted = ~np.isnan(weight)
    at_rest = np.where(wanted, rest, pairs.end), np.where(wanted, 1.0, pairs.cosine)
    results = []
    for end, cosine in ((pairs.end, pairs.cosine), at_rest):
        numbers = path.tracks(pairs.base, end, cosine)
        own = Tracks(pairs.query, labels.rows[pairs.column], numbers, wanted, np.where(wanted, weight, 0.0))
        results.append(_changes(path, metric, Tracks.join(rivals, own), block.stop - block.start))
    return results[0], results[1]


def _changes(path: Path, metric: Metric, tracks: Tracks, queries: int) -> Changes:
    """Return the changes along the whole path, stretch by stretch."""
    parts: list[Changes] = []
    value = np.zeros(0)
    for stretch in stretches(path, tracks, metric.k, 0.0, path.limit):
        part = changes_on(path, metric, stretch, queries)
        if parts:
            # What changes exactly where two stretches meet belongs to neither.
            jump = part.first - value
            at = np.flatnonzero(np.abs(jump) > _ROUNDING)
            parts.append(Changes(part.start, part.first, at, np.full(len(at), stretch.begin), jump[at]))
        value = part.first + np.bincount(part.query, weights=part.change, minlength=queries)
        parts.append(part)
    return Changes(
        parts[0].start,
        parts[0].first,
        np.concatenate([part.query for part in parts]),
        np.concatenate([part.parameter for part in parts]),
        np.concatenate([part.change for part in parts]),
    )


def _weights_at(pairs: Pairs, gains: sparse.csr_array, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (p,) the weight of each pair that has a gain, NaN for the others; both are sorted by query and column."""
    documents = gains.shape[1]
    key = np.repeat(np.arange(gains.shape[0]), np.diff(gains.indptr)) * documents + gains.indices
    wanted = pairs.query * documents + pairs.column
    place = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
    return np.where(key[place] == wanted, weights[place], np.nan)


def _rivals(
    path: Path, labels: Labels, judged: Judged, block: slice, metric: Metric, scores: Scores, pairs: Pairs
) -> Tracks:
    """Return the documents that can reach what each query's k-th best never falls below.

    The labelled pairs are left out: their scores are worked out apart.
    """
    apart = tuple(torch.from_numpy(index).to(scores.base.device) for index in (pairs.query, pairs.column))
    spread = path.spread(scores.cosine)
    high = torch.maximum(scores.base, scores.end)
    high = torch.maximum(high, high * spread)
    high[apart] = -torch.inf
    static = judged.scores[block]
    ends = path.rest(torch.from_numpy(static)).numpy()
    lowest = np.minimum(static, ends)
    floor = lowest.min(axis=1) - SLACK
    if int((high >= torch.from_numpy(floor).to(high)[:, None]).sum()) > _MANY * len(floor):
        # Documents that never move are too few or too far to tell: those that move set a higher threshold.
        low = torch.minimum(scores.base, scores.end)
        low = torch.minimum(low, low * spread)
        low[apart] = -torch.inf
        best = torch.topk(low, min(metric.k, low.shape[1]), dim=1).values.double().cpu().numpy()
        lowest = np.concatenate([best, lowest], axis=1)
        floor = np.partition(lowest, best.shape[1], axis=1)[:, best.shape[1]] - SLACK
    query, column = torch.nonzero(high >= torch.from_numpy(floor).to(high)[:, None], as_tuple=True)
    reaching = torch.isfinite(high[query, column])
    query, column = query[reaching], column[reaching]
    cosine = scores.cosine[query, column] if scores.cosine.ndim == 2 else scores.cosine[column]
    numbers = (part.double().cpu().numpy() for part in (scores.base[query, column], scores.end[query, column], cosine))
    moving = Tracks.rivals(query.cpu().numpy(), labels.rows[column.cpu().numpy()], path.tracks(*numbers))
    rows, ranks = np.nonzero(np.isfinite(static) & (np.maximum(static, ends) >= floor[:, None]))
    rested = path.tracks(static[rows, ranks], ends[rows, ranks], np.ones(len(rows)))
    return Tracks.join(moving, Tracks.rivals(rows, judged.rows[block][rows, ranks], rested))


def curve_of(changes: Changes, path: Path) -> tuple[NDArray[np.float64], Curve]:
    """Return the parameters at which the mean metric changes, and the curve over the steps."""
    count = max(1, len(changes.start))
    order = np.argsort(changes.parameter, kind="stable")
    parameters, firsts = np.unique(changes.parameter[order], return_index=True)
    values = changes.first.sum() + np.cumsum(changes.change[order])
    last = np.append(firsts[1:], len(order))[: len(firsts)] - 1  # none where nothing ever changes
    values = np.concatenate([[changes.start.sum()], values[last]]) / count
    parameters = np.concatenate([[0.0], parameters])
    if changes.first.sum() != changes.start.sum():
        # Documents that tie at step 0 part right after it.
        parameters = np.insert(parameters, 1, np.nextafter(0.0, 1.0))
        values = np.insert(values, 1, changes.first.sum() / count)
    changed = np.concatenate([[True], np.abs(np.diff(values)) > _ROUNDING])
    parameters, values = parameters[changed], values[changed]
    return parameters, Curve(path.steps(parameters), values, float(path.steps(np.array(path.limit))))


def best_parameter(parameters: NDArray[np.float64], curve: Curve, end: float) -> float:
    """Return the middle of the widest plateau of the largest value, and 0 where that is as good.

    The width is measured in the path's own bounded parameter. Plateaus too narrow for float32 vectors do not count.

    Args:
        parameters: (c,) where the curve changes.
        curve: Its values.
        end: The parameter after which no document moves any more.
    """
    width = np.diff(np.append(parameters, max(end, parameters[-1] + _NARROWEST)))
    values = np.where((width >= _NARROWEST) | (parameters == 0.0), curve.values, -np.inf)
    best = values.max()
    if curve.values[0] >= best - _ROUNDING:
        return 0.0
    widest = int(np.argmax(np.where(values >= best - _ROUNDING, width, 0.0)))
    return float(parameters[widest] + width[widest] / 2.0)
