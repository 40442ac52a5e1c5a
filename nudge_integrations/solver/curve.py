"""How far to go: the exact curve of a ranking metric along a path, and the best step on it.

A metric is piecewise constant along a path, so its maximum is found among the points where ranks change, without a
grid. A document can matter to a query only if its best score along the path reaches the lowest score of the query's
k-th best document; those few are compared one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from tqdm import tqdm

from nudge_integrations.solver.leave_one_out import Pairs, evaluation_blocks, labelled_pairs, scores_of
from nudge_integrations.solver.metrics import Metric
from nudge_integrations.solver.path import Path
from nudge_integrations.solver.problem import EvaluationQueries, Labels, Targets
from nudge_integrations.solver.pruning import candidate_segments
from nudge_integrations.solver.rank_changes import Changes, changes_on
from nudge_integrations.solver.segments import PathScores, segment_of
from nudge_integrations.solver.solution import Curve

__all__ = ["Sweep", "best_parameter", "curve_of", "sweep", "sweep_by_document"]

# A plateau narrower than this cannot be told from its neighbours once the vectors are float32.
_NARROWEST = 1e-5

# Sums of the same changes in another order differ by this much.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Sweep:
    """A metric along one path, with and without the labels of the relevant documents.

    Attributes:
        path: The path.
        seen: Each evaluation query without its own labels (or held-out queries as they are).
        unseen: The same with every document that is relevant to the query at rest, as if it had no label.
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

    def curve(self, unseen_weight: float, unseen_loss: float | None) -> tuple[NDArray[np.float64], Curve]:
        """Return the mean objective along the path; -inf where ``unseen``, less its standard error, falls too far."""
        objective = curve_of(self.objective(unseen_weight), self.path)
        if unseen_loss is None:
            return objective
        curves = (objective, *(curve_of(changes, self.path) for changes in (self.unseen, self.unseen.squared())))
        every = np.unique(np.concatenate([at for at, _ in curves]))
        value, unseen, square = (curve.values[np.searchsorted(at, every, side="right") - 1] for at, curve in curves)
        risen = unseen - unseen[0]
        error = np.sqrt(np.maximum(square - risen**2, 0.0) / max(1, len(self.unseen.start) - 1))
        value = np.where(risen - error < -unseen_loss, -np.inf, value)
        changed = np.append(True, value[1:] != value[:-1])
        return every[changed], Curve(self.path.steps(every[changed]), value[changed], objective[1].end)


def sweep(
    targets: Targets,
    labels: Labels,
    evaluation: EvaluationQueries,
    metric: Metric,
    block_bytes: int,
    *,
    progress: bool = False,
) -> Sweep:
    """Return the exact metric of the evaluation queries along the path to the targets."""
    weights = metric.weights(evaluation.gains)
    seen, unseen = [], []
    with tqdm(total=len(evaluation.queries), desc="searching the step", unit="query", disable=not progress) as bar:
        for block in evaluation_blocks(evaluation, labels, block_bytes):
            moving, resting = _block_changes(targets, labels, evaluation, block, metric, weights)
            seen.append(moving)
            unseen.append(resting)
            bar.update(block.stop - block.start)
    return Sweep(targets.path, Changes.side_by_side(seen), Changes.side_by_side(unseen))


def sweep_by_document(
    targets: Targets,
    labels: Labels,
    evaluation: EvaluationQueries,
    metric: Metric,
    block_bytes: int,
    *,
    progress: bool = False,
) -> Changes:
    """Return the metric of labelled queries, each without any label of its most relevant document.

    Relevant documents rest, as with `sweep`'s ``unseen``; but there, with a contrastive direction, the other queries
    for the same document are still negatives of its competitors.
    """
    labels = labels.by_document()
    evaluation = replace(evaluation, groups=labels.groups[evaluation.own])
    # Group after group, so that what its queries share is computed once.
    order = np.argsort(evaluation.groups, kind="stable")
    return sweep(targets, labels, evaluation.take(order), metric, block_bytes, progress=progress).unseen.placed(order)


def _block_changes(
    targets: Targets,
    labels: Labels,
    evaluation: EvaluationQueries,
    block: slice,
    metric: Metric,
    weights: NDArray[np.float64],
) -> tuple[Changes, Changes]:
    path = targets.path
    pairs = labelled_pairs(targets, labels, evaluation, block)
    weight = _weights_at(pairs, evaluation.gains[block], weights[evaluation.gains.indptr[block.start] :])
    relevant = ~np.isnan(weight)
    rest = path.rest(torch.from_numpy(pairs.base)).numpy()
    at_rest = np.where(relevant, rest, pairs.end), np.where(relevant, 1.0, pairs.cosine)
    own = [
        PathScores(
            pairs.query,
            labels.rows[pairs.column],
            path.coefficients(pairs.base, end, cosine),
            relevant,
            np.where(relevant, weight, 0.0),
        )
        for end, cosine in ((pairs.end, pairs.cosine), at_rest)
    ]
    parts: tuple[list[tuple[float, Changes]], list[tuple[float, Changes]]] = ([], [])
    scores = scores_of(targets, labels, evaluation, block)
    for begin, end, candidates in candidate_segments(path, labels, evaluation, block, metric.k, scores, pairs):
        for path_scores, results in zip(own, parts, strict=True):
            segment = segment_of(path, PathScores.join(candidates, path_scores), metric.k, begin, end)
            results.append((begin, changes_on(path, metric, segment, block.stop - block.start)))
    return _one_after_another(parts[0]), _one_after_another(parts[1])


def _one_after_another(parts: list[tuple[float, Changes]]) -> Changes:
    """Return the changes on consecutive segments of the path as one."""
    changes: list[Changes] = []
    value = parts[0][1].first
    for begin, part in parts:
        # A change exactly where two segments meet belongs to neither.
        jump = part.first - value
        at = np.flatnonzero(np.abs(jump) > _ROUNDING)
        changes += [Changes(part.start, part.first, at, np.full(len(at), begin), jump[at]), part]
        value = part.first + np.bincount(part.query, weights=part.change, minlength=len(jump))
    return Changes(
        parts[0][1].start,
        parts[0][1].first,
        np.concatenate([part.query for part in changes]),
        np.concatenate([part.parameter for part in changes]),
        np.concatenate([part.change for part in changes]),
    )


def _weights_at(pairs: Pairs, gains: sparse.csr_array, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (p,) the weight of each pair that has a gain, NaN for the others; both are sorted by query and column."""
    documents = gains.shape[1]
    key = np.repeat(np.arange(gains.shape[0]), np.diff(gains.indptr)) * documents + gains.indices
    pair_key = pairs.query * documents + pairs.column
    place = np.minimum(np.searchsorted(key, pair_key), max(len(key) - 1, 0))
    return np.where(key[place] == pair_key, weights[place], np.nan)


def curve_of(changes: Changes, path: Path) -> tuple[NDArray[np.float64], Curve]:
    """Return the parameters at which the mean metric changes, and the curve over the steps."""
    count = max(1, len(changes.start))
    # So close to the end of a line every step is out of float32's reach.
    within = np.flatnonzero(changes.parameter < path.limit - _NARROWEST)
    order = within[np.argsort(changes.parameter[within], kind="stable")]
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
    # Without its own labels a document may turn further than ``end``; a line's parameter never exceeds 1.
    beyond = parameters[-1] + 2.0 * _NARROWEST if np.isfinite(curve.end) else 1.0
    width = np.diff(np.append(parameters, max(end, beyond)))
    values = np.where((width >= _NARROWEST) | (parameters == 0.0), curve.values, -np.inf)
    best = values.max()
    if curve.values[0] >= best - _ROUNDING:
        return 0.0
    widest = int(np.argmax(np.where(values >= best - _ROUNDING, width, 0.0)))
    return float(parameters[widest] + width[widest] / 2.0)
