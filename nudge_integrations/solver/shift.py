"""Unlabelled documents move too, by the mean displacement of the labelled ones, and are made unit length again.

The shift touches every vector of the corpus, so it is judged in a second pass over it, at the step that was chosen
without it. It is a mean over all labelled documents; the part of a single query in it is not taken out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.solver.arrays import Matrix, row_blocks
from nudge_integrations.solver.choice import Trial, gain_and_error, mean
from nudge_integrations.solver.crossings import is_above
from nudge_integrations.solver.inputs import Prepared
from nudge_integrations.solver.metrics import Metric
from nudge_integrations.solver.problem import Heading, Labels
from nudge_integrations.solver.topk import read_corpus
from nudge_integrations.solver.tracks import judged_blocks, labelled_pairs, scores_of

__all__ = ["mean_displacement", "with_shift"]


def mean_displacement(heading: Heading, labels: Labels, step: float) -> torch.Tensor:
    """Return (d,) float32, how far the documents that move are moved on average; zeros where none does."""
    moving = torch.from_numpy(np.flatnonzero(heading.moving)).to(labels.documents.device)
    if not len(moving):
        return torch.zeros_like(labels.documents[:1].sum(dim=0))
    documents = labels.documents[moving]
    return (heading.path.place(documents, heading.targets[moving], step) - documents).mean(dim=0)


def with_shift(
    trial: Trial,
    prepared: Prepared,
    documents: Matrix,
    metric: Metric,
    *,
    unseen_weight: float,
    block_bytes: int,
    progress: bool,
) -> Trial:
    """Return a trial judged with the shift, at the step that it has."""
    labels, judged = prepared.labels, prepared.judged
    shift = mean_displacement(trial.heading, labels, trial.candidate.step)
    nothing = np.zeros(0, np.int64)
    others = read_corpus(
        documents,
        labels.rows,
        nothing,
        judged.queries,
        metric.k,
        block_bytes=block_bytes,
        shift=shift,
        progress=progress,
    )
    static = others.scores.double().cpu().numpy(), others.rows.cpu().numpy()
    both = list(_judged(trial, prepared, metric, shift, static, block_bytes))
    seen, unseen = (np.concatenate([np.zeros(0), *(part[side] for part in both)]) for side in (0, 1))
    objective = (1.0 - unseen_weight) * (seen - trial.at_zero) + unseen_weight * (unseen - trial.at_zero)
    gain, error = gain_and_error(objective, judged.groups)
    unseen_gain, unseen_error = gain_and_error(unseen - trial.at_zero, judged.groups)
    candidate = replace(trial.candidate, score=mean(seen), unseen_score=mean(unseen), gain=gain, standard_error=error)
    return replace(
        trial,
        candidate=candidate,
        at_step=seen,
        unseen=unseen,
        unseen_gain=unseen_gain,
        unseen_error=unseen_error,
    )


def _judged(
    trial: Trial,
    prepared: Prepared,
    metric: Metric,
    shift: torch.Tensor,
    static: tuple[NDArray[np.float64], NDArray[np.int64]],
    block_bytes: int,
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield each block's metric with everything moved, and with the wanted documents only shifted."""
    heading, labels, judged = trial.heading, prepared.labels, prepared.judged
    path, parameter = heading.path, np.array(trial.parameter)
    weights = metric.weights(judged.gains)
    shifted = torch.nn.functional.normalize(labels.documents + shift, dim=1)
    # A line's scores come divided by 1 + t.
    stretch = 1.0 + trial.candidate.step if path.similarity == "dot" else 1.0
    for block in judged_blocks(judged, labels, block_bytes):
        pairs, scores = labelled_pairs(heading, labels, judged, block), scores_of(heading, labels, judged, block)
        at_rest = (judged.queries[block] @ shifted.T).double().cpu().numpy()
        base, end = (part.double().cpu().numpy() for part in (scores.base, scores.end))
        cosine = np.broadcast_to(scores.cosine.double().cpu().numpy(), base.shape)
        moved = path.score(path.tracks(base.ravel(), end.ravel(), cosine.ravel()), parameter).reshape(base.shape)
        placed = np.where(heading.moving, stretch * moved, at_rest)
        own = stretch * path.score(path.tracks(pairs.base, pairs.end, pairs.cosine), parameter)
        apart = (pairs.query, pairs.column)
        placed[apart] = np.where(pairs.resting, at_rest[apart], own)
        gains = judged.gains[block].tocoo()
        wanted = tuple(axis.astype(np.int64) for axis in gains.coords)
        mine = weights[judged.gains.indptr[block.start] : judged.gains.indptr[block.stop]]
        left = placed.copy()
        left[wanted] = at_rest[wanted]
        rows = np.concatenate([np.broadcast_to(labels.rows, placed.shape), static[1][block]], axis=1)
        seen, unseen = (
            _metric(metric, np.concatenate([values, static[0][block]], axis=1), rows, (wanted[0], wanted[1]), mine)
            for values in (placed, left)
        )
        yield seen, unseen


def _metric(
    metric: Metric,
    scores: NDArray[np.float64],
    rows: NDArray[np.int64],
    wanted: tuple[NDArray[np.int64], NDArray[np.int64]],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return each query's metric for (c, u + k) scores and rows: the labelled documents, then the best others."""
    query, column = wanted
    relevant = np.zeros(scores.shape, dtype=bool)
    relevant[wanted] = True
    total = np.zeros(len(scores))
    for part in row_blocks(len(query), 4096):
        of, own = query[part], (query[part], column[part])
        above = is_above(scores[of] - scores[own][:, None], rows[of] < rows[own][:, None])
        order = 1 + (above & relevant[of]).sum(axis=1)
        contribution = metric.contribution(1 + above.sum(axis=1), order)
        total += np.bincount(of, weights=weights[part] * contribution, minlength=len(total))
    return total
