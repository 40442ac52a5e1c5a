"""Unlabelled documents move too, by the mean displacement of the labelled ones, and are made unit length again.

The shift touches every vector of the corpus, so it is evaluated in a second pass over it, at the step that was chosen
without it. It is a mean over all labelled documents; the part of a single query in it is not taken out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus.arrays import ArrayCorpus
from nudge_integrations.corpus.metrics import Metric
from nudge_integrations.corpus.topk import row_blocks
from nudge_integrations.errors import InputError
from nudge_integrations.solver.decision import QueryScores, gain_and_error, mean, noise_groups
from nudge_integrations.solver.labels import Labels
from nudge_integrations.solver.leave_one_out import labelled_pairs, query_blocks, scores_of
from nudge_integrations.solver.nudge_search import NudgeResult
from nudge_integrations.solver.pools import best_unlabelled
from nudge_integrations.solver.prepare import Prepared
from nudge_integrations.solver.rank_changes import is_above
from nudge_integrations.solver.targets import Targets

__all__ = ["mean_displacement", "with_shift"]


def mean_displacement(targets: Targets, labels: Labels, step: float) -> torch.Tensor:
    """Return (d,) float32, how far the documents that move are moved on average; zeros where none does."""
    moving = torch.from_numpy(np.flatnonzero(targets.moving)).to(labels.documents.device)
    if not len(moving):
        return torch.zeros_like(labels.documents[:1].sum(dim=0))
    documents = labels.documents[moving]
    return (targets.path.place(documents, targets.vectors[moving], step) - documents).mean(dim=0)


def with_shift(result: NudgeResult, prepared: Prepared) -> NudgeResult:
    """Return a result evaluated with the shift, at the step that it has.

    Raises:
        InputError: If the corpus is no array: the shift changes every document.
    """
    corpus, labels, evaluation, options = prepared.corpus, prepared.labels, prepared.evaluation, prepared.options
    if not isinstance(corpus, ArrayCorpus):
        raise InputError(f"shift=True moves every document and needs them as an array; got {type(corpus).__name__}")
    shift = mean_displacement(result.targets, labels, result.candidate.step)
    shifted = replace(corpus, shift=shift.cpu().numpy())
    queries, k = evaluation.queries.cpu().numpy(), min(options.measured.k, max(1, len(corpus)))
    static = best_unlabelled(shifted, queries, labels.rows, k, ignored=evaluation.ignored)
    both = list(_evaluated(result, prepared, shift, static))
    scores = QueryScores(*(np.concatenate([np.zeros(0), *(part[side] for part in both)]) for side in (0, 1)))
    objective = scores.objective(options.unseen_weight) - result.baseline
    gain, error = gain_and_error(objective, noise_groups(prepared))
    candidate = replace(
        result.candidate,
        score=mean(scores.seen),
        unseen_score=mean(scores.unseen),
        gain=gain,
        standard_error=error,
    )
    return replace(result, candidate=candidate, scores=scores)


def _evaluated(
    result: NudgeResult,
    prepared: Prepared,
    shift: torch.Tensor,
    static: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield each block's metric with everything moved, and with the relevant documents only shifted."""
    targets, labels, evaluation = result.targets, prepared.labels, prepared.evaluation
    path, parameter, metric = targets.path, np.array(result.parameter), prepared.options.measured
    weights = evaluation.weights(metric)
    shifted = torch.nn.functional.normalize(labels.documents + shift, dim=1)
    # A line's scores come divided by 1 + t.
    scale = 1.0 + result.candidate.step if path.similarity == "dot" else 1.0
    for block in query_blocks(evaluation, labels, prepared.options.block_bytes):
        pairs, scores = (
            labelled_pairs(targets, labels, evaluation, block),
            scores_of(targets, labels, evaluation, block),
        )
        at_rest = (evaluation.queries[block] @ shifted.T).double().cpu().numpy()
        base, end = (part.double().cpu().numpy() for part in (scores.base, scores.end))
        cosine = np.broadcast_to(scores.cosine.double().cpu().numpy(), base.shape)
        moved = path.score(path.coefficients(base.ravel(), end.ravel(), cosine.ravel()), parameter).reshape(base.shape)
        placed = np.where(targets.moving, scale * moved, at_rest)
        own = scale * path.score(path.coefficients(pairs.base, pairs.end, pairs.cosine), parameter)
        apart = (pairs.query, pairs.column)
        placed[apart] = np.where(pairs.resting, at_rest[apart], own)
        gains = evaluation.gains[block].tocoo()
        query, column = (axis.astype(np.int64) for axis in gains.coords)
        found = ~evaluation.ignores(query + block.start, labels.rows[column])
        relevant = query[found], column[found]
        mine = weights[evaluation.gains.indptr[block.start] : evaluation.gains.indptr[block.stop]][found]
        left = placed.copy()
        left[relevant] = at_rest[relevant]
        for scores_at in (placed, left):
            scores_at[evaluation.ignored_among(labels.rows, block)] = -np.inf
        rows = np.concatenate([np.broadcast_to(labels.rows, placed.shape), static[1][block]], axis=1)
        seen, unseen = (
            _metric(metric, np.concatenate([values, static[0][block]], axis=1), rows, relevant, mine)
            for values in (placed, left)
        )
        yield seen, unseen


def _metric(
    metric: Metric,
    scores: NDArray[np.float64],
    rows: NDArray[np.int64],
    relevant_at: tuple[NDArray[np.int64], NDArray[np.int64]],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return each query's metric for (c, u + k) scores and rows: the labelled documents, then the best others."""
    query, column = relevant_at
    relevant = np.zeros(scores.shape, dtype=bool)
    relevant[relevant_at] = True
    total = np.zeros(len(scores))
    for part in row_blocks(len(query), 4096):
        of, own = query[part], (query[part], column[part])
        above = is_above(scores[of] - scores[own][:, None], rows[of] < rows[own][:, None])
        order = 1 + (above & relevant[of]).sum(axis=1)
        contribution = metric.contribution(1 + above.sum(axis=1), order)
        total += np.bincount(of, weights=weights[part] * contribution, minlength=len(total))
    return total
