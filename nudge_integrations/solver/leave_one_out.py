r"""Leave-one-out scores: what each evaluation query scores along the path without its own labels.

Most documents are the same for every query: two matrix products give their scores at the base and at the target. A
evaluation query that is itself a label must not be scored on what it moved, so its share is removed exactly. With w =
W_qi, a = q.D_i, g = q.G_i, s = \|G_i\|^2, h = D_i.G_i and unit q, leaving q out turns them into

    g' = g - w          s' = s - 2 w g + w^2          h' = h - w a

(for a group: the sums over its queries), and a document without any other query rests. Documents that the group labels
are computed from their vectors instead, because there the differences can cancel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.solver.arrays import ragged
from nudge_integrations.solver.problem import NO_DIRECTION, EvaluationQueries, Labels, Targets, accurate_cosine

__all__ = ["Pairs", "Scores", "evaluation_blocks", "labelled_pairs", "scores_of"]


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a block of queries with every labelled document.

    Attributes:
        base: (c, u) float32 with the documents as they are.
        end: (c, u) float32 with the documents at their targets.
        cosine: (u,) or (c, u) float32 between the two.
    """

    base: torch.Tensor
    end: torch.Tensor
    cosine: torch.Tensor


@dataclass(frozen=True, eq=False)
class Pairs:
    """Scores of (query, document) pairs, one an entry.

    Attributes:
        query: (p,) int64 within the block, ascending.
        column: (p,) int64 labelled document.
        base, end, cosine: (p,) float64.
        resting: (p,) bool, whether nothing moves the document for this query.
    """

    query: NDArray[np.int64]
    column: NDArray[np.int64]
    base: NDArray[np.float64]
    end: NDArray[np.float64]
    cosine: NDArray[np.float64]
    resting: NDArray[np.bool_]


def evaluation_blocks(evaluation: EvaluationQueries, labels: Labels, block_bytes: int) -> Iterator[slice]:
    """Yield blocks of evaluation queries whose scores and labelled pairs fit in ``block_bytes``."""
    documents, width = labels.documents.shape
    # Per query: how many queries its group has, unless it follows one of them, and how many documents they name.
    sizes = np.stack([np.ones(len(evaluation.queries)), np.diff(evaluation.gains.indptr)])
    if evaluation.own is not None:
        incidence = labels.members()[evaluation.groups]
        counted = np.append(False, evaluation.groups[1:] == evaluation.groups[:-1])
        members = np.where(counted, 1.0, incidence.sum(axis=1))
        sizes = np.stack([members, incidence @ np.diff(labels.gains.indptr)])
    size = np.cumsum(32.0 * np.array([documents, width]) @ sizes)
    start = 0
    while start < len(size):
        limit = (size[start - 1] if start else 0.0) + block_bytes
        stop = max(start + 1, int(np.searchsorted(size, limit, side="right")))
        yield slice(start, stop)
        start = stop


def scores_of(targets: Targets, labels: Labels, evaluation: EvaluationQueries, block: slice) -> Scores:
    """Return base and end scores of a block of evaluation queries, without their own labels in a contrastive direction.

    Pairs that a query's own group labels are not meant to be read here: see `labelled_pairs`.
    """
    queries = evaluation.queries[block]
    base = queries @ labels.documents.T
    cosine = torch.from_numpy(targets.cosine).to(base)
    if evaluation.own is None or targets.direction.temperature is None:
        end = queries @ targets.vectors.T
    else:
        end, cosine = _without_own_negatives(targets, labels, evaluation, evaluation.own, block)
    resting = torch.from_numpy(np.flatnonzero(~targets.moving)).to(base.device)
    if len(resting):
        end[:, resting] = targets.path.rest(base[:, resting])
    return Scores(base, end, cosine)


def _without_own_negatives(
    targets: Targets, labels: Labels, evaluation: EvaluationQueries, own_rows: NDArray[np.int64], block: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return end and cosine (c, u) without the negatives of each query's group."""
    group, group_of = np.unique(evaluation.groups[block], return_inverse=True)
    of_member, rows = (axis.astype(np.int64) for axis in labels.members()[group].tocoo().coords)
    device = labels.documents.device
    queries = labels.queries[torch.from_numpy(rows).to(device)]
    base = queries @ labels.documents.T
    negative_weights = targets.direction.negative_weights(base, rows)
    owner = torch.from_numpy(of_member).to(device)
    along = queries @ targets.sums.T
    # The removed vectors are r = sum of w q over a group: overlap is q.r, and the sums below are 2 r.G - |r|^2 and r.D.
    overlap = ((queries @ queries.T) * (owner[:, None] == owner)) @ negative_weights

    def by_group(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(len(group), values.shape[1]).index_add_(0, owner, values)

    squared = (targets.sums**2).sum(dim=1) - by_group(negative_weights * (2.0 * along - overlap))
    inner = (targets.sums * labels.documents).sum(dim=1) - by_group(negative_weights * base)
    scale = torch.rsqrt(squared.clamp_min(1e-30))
    cosine = (inner * scale).clamp(-1.0, 1.0)
    cosine[:, torch.from_numpy(~targets.moving).to(device)] = 1.0
    order = np.argsort(rows)
    own = torch.from_numpy(order[np.searchsorted(rows, own_rows[block], sorter=order)]).to(device)
    pick = torch.from_numpy(group_of).to(device)
    return (along - overlap)[own] * scale[pick], cosine[pick]


def labelled_pairs(targets: Targets, labels: Labels, evaluation: EvaluationQueries, block: slice) -> Pairs:
    """Return every pair of a evaluation query and a document that its group labels, without the group's labels.

    For held-out queries: their relevant documents, with all labels.
    """
    if evaluation.own is None:
        relevant = evaluation.gains[block].tocoo()
        query, column = (axis.astype(np.int64) for axis in relevant.coords)
        aims, resting = targets.vectors, ~targets.moving[column]
        return _pairs(targets, labels, evaluation.queries[block], query, column, _rows_of(aims, column), resting)
    group, group_of = np.unique(evaluation.groups[block], return_inverse=True)
    pair_group, column, left, removed = _removed_labels(targets, labels, group)
    sums = _rows_of(targets.sums, column) - removed
    aims = targets.path.aim(sums)
    resting = (left == 0) | (torch.linalg.vector_norm(sums, dim=1).cpu().numpy() <= NO_DIRECTION)
    counts = np.bincount(pair_group, minlength=len(group))
    query, position = ragged(counts[group_of])
    pair = (np.cumsum(counts) - counts)[group_of][query] + position
    return _pairs(targets, labels, evaluation.queries[block], query, column[pair], _rows_of(aims, pair), resting[pair])


def _rows_of(matrix: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
    return matrix[torch.from_numpy(rows).to(matrix.device)]


def _removed_labels(
    targets: Targets, labels: Labels, group: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], torch.Tensor]:
    """Return the pairs of groups and documents they label: group, column, labels left, and what the group adds to G."""
    documents = len(labels.rows)
    of_member, rows = (axis.astype(np.int64) for axis in labels.members()[group].tocoo().coords)
    own = targets.direction.weights(labels.gains)[rows].tocoo()
    key = of_member[own.coords[0]] * documents + own.coords[1]
    pairs, pair = np.unique(key, return_inverse=True)
    pair_group, column = np.divmod(pairs, documents)
    removed = torch.zeros(len(pairs), labels.queries.shape[1], device=labels.queries.device)
    _add(removed, pair, torch.from_numpy(own.data).to(removed), labels.queries, rows[own.coords[0]])
    if targets.direction.temperature is not None:
        _add_negatives(
            removed, targets, labels, np.split(rows, np.searchsorted(of_member, range(1, len(group)))), pairs
        )
    left = labels.support()[column] - np.bincount(pair, minlength=len(pairs))
    return pair_group, column, left, removed


def _add(
    total: torch.Tensor, into: NDArray[np.int64], weights: torch.Tensor, queries: torch.Tensor, rows: NDArray[np.int64]
) -> None:
    total.index_add_(0, torch.from_numpy(into).to(total.device), weights[:, None] * _rows_of(queries, rows))


def _add_negatives(
    total: torch.Tensor, targets: Targets, labels: Labels, members: list[NDArray[np.int64]], pairs: NDArray[np.int64]
) -> None:
    """Add to (p, d) the negatives that each group's queries give the documents of its pairs, sorted by group."""
    pair_group, column = np.divmod(pairs, len(labels.rows))
    size = np.array([len(rows) for rows in members])
    alone = np.flatnonzero(size[pair_group] == 1)
    first = np.concatenate(members)[np.cumsum(size) - size]
    source = first[pair_group[alone]]
    _add(total, alone, _negative_weights_at(targets, labels, source, column[alone]), labels.queries, source)
    for number in np.flatnonzero(size > 1):
        part = slice(*np.searchsorted(pair_group, [number, number + 1]))
        queries = _rows_of(labels.queries, members[number])
        scores = queries @ _rows_of(labels.documents, column[part]).T
        total[part] += targets.direction.negative_weights(scores, members[number]).T @ queries


def _negative_weights_at(
    targets: Targets, labels: Labels, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> torch.Tensor:
    """Return the negative weights of single (query, document) pairs as (p,) float64."""
    scores = (_rows_of(labels.queries, rows) * _rows_of(labels.documents, columns)).sum(dim=1, keepdim=True)
    return targets.direction.negative_weights(scores, rows)[:, 0]


def _pairs(
    targets: Targets,
    labels: Labels,
    queries: torch.Tensor,
    query: NDArray[np.int64],
    column: NDArray[np.int64],
    aims: torch.Tensor,
    resting: NDArray[np.bool_],
) -> Pairs:
    """Return scores of pairs whose documents move towards ``aims`` (p, d), or rest."""
    vectors, documents = _rows_of(queries, query), _rows_of(labels.documents, column)
    base = (vectors * documents).sum(dim=1).double()
    end = (vectors * aims).sum(dim=1).double().cpu().numpy()
    cosine = accurate_cosine(documents, aims)
    resting = resting | ~targets.path.moves(cosine)
    end = np.where(resting, targets.path.rest(base).cpu().numpy(), end)
    return Pairs(query, column, base.cpu().numpy(), end, np.where(resting, 1.0, cosine), resting)
