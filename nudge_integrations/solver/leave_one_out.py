r"""Exact leave-one-out: the scores of evaluation queries along the path, each without its own labels.

Two matrix products give the scores of all labelled documents at the base and at the target. A query that is a label
itself must not be evaluated on what it moved, so its share is removed exactly. With w = W_qi, a = q.D_i, g = q.G_i,
s = \|G_i\|^2, h = D_i.G_i and unit q, leaving q out turns them into

    g' = g - w          s' = s - 2 w g + w^2          h' = h - w a

(for a group: the sums over its queries), and a document that no other query labels rests. Documents that the group
labels are worked out from their vectors instead, because there the differences can cancel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.solver.labels import EvaluationQueries, Labels
from nudge_integrations.solver.path import Path
from nudge_integrations.solver.ragged import ragged
from nudge_integrations.solver.targets import NO_DIRECTION, Targets, cosine_between

__all__ = ["Pairs", "Scores", "labelled_pairs", "query_blocks", "scores_of"]


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

    def coefficients(self, path: Path, resting: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return (R, p) the path's coefficients, where some more of the documents (p,) rest."""
        end = np.where(resting, path.rest(torch.from_numpy(self.base)).numpy(), self.end)
        return path.coefficients(self.base, end, np.where(resting, 1.0, self.cosine))


def query_blocks(
    evaluation: EvaluationQueries, labels: Labels, block_bytes: int, most: int | None = None
) -> Iterator[slice]:
    """Yield blocks of at most so many evaluation queries whose scores and labelled pairs fit in ``block_bytes``."""
    documents, width = labels.documents.shape
    # A query takes as many rows of scores as its group has members, unless it follows one of them.
    sizes = np.stack([np.ones(len(evaluation.queries)), np.diff(evaluation.gains.indptr)])
    if evaluation.own is not None:
        incidence = labels.members()[evaluation.groups]
        counted = np.append(False, evaluation.groups[1:] == evaluation.groups[:-1])
        members = np.where(counted, 1.0, incidence.sum(axis=1))
        sizes = np.stack([members, incidence @ labels.counts()])
    size = np.cumsum(64.0 * np.array([documents, width]) @ sizes)
    start = 0
    while start < len(size):
        limit = (size[start - 1] if start else 0.0) + block_bytes
        stop = max(start + 1, int(np.searchsorted(size, limit, side="right")))
        stop = stop if most is None else min(stop, start + most)
        yield slice(start, stop)
        start = stop


def scores_of(targets: Targets, labels: Labels, evaluation: EvaluationQueries, block: slice) -> Scores:
    """Return base and end scores of a block of evaluation queries, each without the negatives of its own group.

    Pairs that a query's own group labels are not meant to be read here: see `labelled_pairs`.
    """
    queries = evaluation.queries[block]
    base = queries @ labels.documents.T
    cosine = torch.from_numpy(targets.cosine).to(base)
    if evaluation.own is None or targets.direction.temperature is None:
        end = queries @ targets.vectors.T
    else:
        own, groups = evaluation.own[block], evaluation.groups[block]
        end, cosine = _without_own_negatives(targets, labels, queries, own, base)
        several = np.flatnonzero(np.bincount(labels.groups)[groups] > 1)
        if len(several):
            at = torch.from_numpy(several).to(base.device)
            end[at], cosine[at] = _without_negatives_of_group(targets, labels, groups[several], own[several])
    resting = torch.from_numpy(np.flatnonzero(~targets.moving)).to(base.device)
    if len(resting):
        end[:, resting] = targets.path.rest(base[:, resting])
    return Scores(base, end, cosine)


def _without_own_negatives(
    targets: Targets, labels: Labels, queries: torch.Tensor, own: NDArray[np.int64], base: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return end and cosine (c, u) without the negative weights w of the query itself: G' = G - w q."""
    weights = targets.direction.negatives(base, own)
    overlap = weights * queries.square().sum(dim=1, keepdim=True)
    along = (queries @ targets.sums.T).sub_(overlap)
    # |G'|^2 = |G|^2 - w (2 q.G - w |q|^2) and D.G' = D.G - w q.D.
    squared = overlap.add_(along, alpha=2.0).mul_(weights).neg_().add_(targets.sums.square().sum(dim=1))
    scale = squared.clamp_min_(1e-30).rsqrt_()
    cosine = weights.mul_(base).neg_().add_((targets.sums * labels.documents).sum(dim=1))
    cosine = cosine.mul_(scale).clamp_(-1.0, 1.0)
    cosine[:, torch.from_numpy(~targets.moving).to(base.device)] = 1.0
    return along.mul_(scale), cosine


def _without_negatives_of_group(
    targets: Targets, labels: Labels, groups: NDArray[np.int64], own: NDArray[np.int64]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return end and cosine (c, u) without the negative weights of the groups of labelled queries ``own`` (c,)."""
    group, of_query = np.unique(groups, return_inverse=True)
    of_member, rows = (axis.astype(np.int64) for axis in labels.members()[group].tocoo().coords)
    device = labels.documents.device
    queries = labels.queries[torch.from_numpy(rows).to(device)]
    base = queries @ labels.documents.T
    weights = targets.direction.negatives(base, rows)
    owner = torch.from_numpy(of_member).to(device)
    along = queries @ targets.sums.T
    # The removed vectors are r = sum of w q over a group: overlap is q.r, and the sums below are 2 r.G - |r|^2 and r.D.
    overlap = ((queries @ queries.T) * (owner[:, None] == owner)) @ weights

    def by_group(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(len(group), values.shape[1]).index_add_(0, owner, values)

    squared = targets.sums.square().sum(dim=1) - by_group(weights * (2.0 * along - overlap))
    inner = (targets.sums * labels.documents).sum(dim=1) - by_group(weights * base)
    scale = torch.rsqrt(squared.clamp_min(1e-30))
    cosine = (inner * scale).clamp(-1.0, 1.0)
    cosine[:, torch.from_numpy(~targets.moving).to(device)] = 1.0
    order = np.argsort(rows)
    mine = torch.from_numpy(order[np.searchsorted(rows, own, sorter=order)]).to(device)
    pick = torch.from_numpy(of_query).to(device)
    return (along - overlap)[mine] * scale[pick], cosine[pick]


def labelled_pairs(targets: Targets, labels: Labels, evaluation: EvaluationQueries, block: slice) -> Pairs:
    """Return every pair of an evaluation query and a document that its group labels, with the group's labels left out.

    For held-out queries: their relevant documents, as they move for everybody.
    """
    queries = evaluation.queries[block]
    if evaluation.own is None:
        relevant = evaluation.gains[block].tocoo()
        query, column = (axis.astype(np.int64) for axis in relevant.coords)
        resting = ~targets.moving[column]
        return _pairs(targets.path, labels, queries, query, column, _rows_of(targets.vectors, column), resting)
    group, of_query = np.unique(evaluation.groups[block], return_inverse=True)
    pair_group, column, left, removed = _left_out(targets, labels, group)
    sums = _rows_of(targets.sums, column) - removed
    vectors = targets.path.aim(sums)
    resting = (left == 0) | (torch.linalg.vector_norm(sums, dim=1).cpu().numpy() <= NO_DIRECTION)
    counts = np.bincount(pair_group, minlength=len(group))
    query, position = ragged(counts[of_query])
    pair = (np.cumsum(counts) - counts)[of_query][query] + position
    return _pairs(targets.path, labels, queries, query, column[pair], _rows_of(vectors, pair), resting[pair])


def _rows_of(matrix: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
    return matrix[torch.from_numpy(rows).to(matrix.device)]


def _left_out(
    targets: Targets, labels: Labels, group: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], torch.Tensor]:
    """Return the pairs of groups and documents they label: group, column, labels left, and what the group adds to G."""
    documents = len(labels.rows)
    of_member, rows = (axis.astype(np.int64) for axis in labels.members()[group].tocoo().coords)
    own = targets.direction.weights(labels)[rows].tocoo()
    member, labelled, data = own.coords[0], own.coords[1], own.data
    if labels.stand_ins is not None:
        # These are relevant without a label: there is nothing to take out of their directions.
        more = labels.stand_ins[rows].tocoo()
        member, labelled = np.append(member, more.coords[0]), np.append(labelled, more.coords[1])
        data = np.append(data, np.zeros(more.nnz))
    pairs, pair = np.unique(of_member[member] * documents + labelled, return_inverse=True)
    pair_group, column = np.divmod(pairs, documents)
    removed = torch.zeros(len(pairs), labels.queries.shape[1], device=labels.queries.device)
    _add(removed, pair, torch.from_numpy(data).to(removed), labels.queries, rows[member])
    if targets.direction.temperature is not None:
        _add_negatives(
            removed, targets, labels, np.split(rows, np.searchsorted(of_member, range(1, len(group)))), pairs
        )
    left = labels.support()[column] - np.bincount(pair[: own.nnz], minlength=len(pairs))
    return pair_group, column, left, removed


def _add(
    total: torch.Tensor, into: NDArray[np.int64], weights: torch.Tensor, queries: torch.Tensor, rows: NDArray[np.int64]
) -> None:
    total.index_add_(0, torch.from_numpy(into).to(total.device), weights[:, None] * _rows_of(queries, rows))


def _add_negatives(
    total: torch.Tensor, targets: Targets, labels: Labels, members: list[NDArray[np.int64]], pairs: NDArray[np.int64]
) -> None:
    """Add to (p, d) the negative weights of each group's queries times these; pairs are sorted, group first."""
    pair_group, column = np.divmod(pairs, len(labels.rows))
    size = np.array([len(rows) for rows in members])
    alone = np.flatnonzero(size[pair_group] == 1)
    first = np.concatenate(members)[np.cumsum(size) - size]
    own = first[pair_group[alone]]
    _add(total, alone, _negative_at(targets, labels, own, column[alone]), labels.queries, own)
    for number in np.flatnonzero(size > 1):
        part = slice(*np.searchsorted(pair_group, [number, number + 1]))
        queries = _rows_of(labels.queries, members[number])
        scores = queries @ _rows_of(labels.documents, column[part]).T
        total[part] += targets.direction.negatives(scores, members[number], column[part]).T @ queries


def _negative_at(targets: Targets, labels: Labels, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> torch.Tensor:
    """Return the negative weights of single (query, document) pairs, (p,)."""
    scores = (_rows_of(labels.queries, rows) * _rows_of(labels.documents, columns)).sum(dim=1, keepdim=True)
    return targets.direction.negatives(scores, rows, columns[:, None])[:, 0]


def _pairs(
    path: Path,
    labels: Labels,
    queries: torch.Tensor,
    query: NDArray[np.int64],
    column: NDArray[np.int64],
    targets: torch.Tensor,
    resting: NDArray[np.bool_],
) -> Pairs:
    """Return scores of pairs whose documents head for ``targets`` (p, d), or rest."""
    vectors, documents = _rows_of(queries, query), _rows_of(labels.documents, column)
    base = (vectors * documents).sum(dim=1).double()
    end = (vectors * targets).sum(dim=1).double().cpu().numpy()
    cosine = cosine_between(documents, targets)
    resting = resting | ~path.moves(cosine)
    end = np.where(resting, path.rest(base).cpu().numpy(), end)
    return Pairs(query, column, base.cpu().numpy(), end, np.where(resting, 1.0, cosine), resting)
