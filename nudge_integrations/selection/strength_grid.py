"""Many query maps compared at a few strengths: cheap figures, by which settings are chosen for the exact search.

Each query is ranked among the best documents of its pool and the documents that are relevant to it; float32, no ties.
A strong map may lead a query far from its pool: a few documents stand for all that are outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus.metrics import Metric
from nudge_integrations.corpus.threads import in_threads
from nudge_integrations.corpus.topk import row_blocks
from nudge_integrations.selection.pool_evaluator import PoolEvaluator
from nudge_integrations.solver import Prepared
from nudge_integrations.solver.labels import EvaluationQueries
from nudge_integrations.solver.segments import SLACK

__all__ = ["STRENGTHS", "StrengthGrid"]

STRENGTHS = (0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0, 1.5)

# Documents of a query: the best of its pool, and the best of those that are relevant to it.
_DEPTH, _RELEVANT = 64, 32

# So many documents stand for those outside a query's pool.
_OUTSIDE = 64

# Queries that are shifted at a time; scores that are compared at a time, and queries whose documents are gathered, so
# few that what they take stays in the processor's cache.
_QUERIES, _SCORES, _GATHERED = 256, 1 << 16, 32


@dataclass(frozen=True, eq=False)
class StrengthGrid:
    """Queries with a few documents each.

    Attributes:
        rows: (p,) int64, which of the evaluation queries these are, those with most relevant documents first.
        metric: What is measured.
        table: (k, d) float32 unit vectors of the documents, along the axes of the evaluator.
        place: (p, w) int64, which of them each query has, the relevant ones first.
        base: (p, w) float32, the queries' scores of them; -inf where there is none.
        weight: (p, r) float64, the weights of the relevant ones.
        relevant: (p,) int64, how many of these there are.
        others: (o, d) float32 unit vectors, a uniform sample of the corpus.
        others_base: (p, o) float32, the queries' scores of them; -inf where one is in the pool.
        stands_for: How many documents outside the pool each of them stands for.
    """

    rows: NDArray[np.int64]
    metric: Metric
    table: torch.Tensor
    place: torch.Tensor
    base: NDArray[np.float32]
    weight: NDArray[np.float64]
    relevant: NDArray[np.int64]
    others: torch.Tensor
    others_base: NDArray[np.float32]
    stands_for: float

    @classmethod
    def of(cls, evaluator: PoolEvaluator, prepared: Prepared, kept: NDArray[np.int64]) -> StrengthGrid:
        """Take some of an evaluator's queries, by their ascending place in its rows.

        Args:
            evaluator: Has the documents of the pools.
            prepared: The labels and the pools.
            kept: (p,) which of the evaluator's queries.
        """
        rows = evaluator.rows[kept]
        evaluation, outside = prepared.evaluation.take(rows), _sample(prepared)
        own_rows, own_scores, weight = _relevant(prepared, evaluation)
        pool_rows, pool_scores = _best_others(prepared, evaluation, rows)
        base, row = np.hstack([own_scores, pool_scores]), np.hstack([own_rows, pool_rows])
        place = np.searchsorted(evaluator.documents, np.where(np.isfinite(base), row, evaluator.documents[0]))
        last = np.where(np.isfinite(pool_scores), pool_scores, np.inf).min(axis=1, initial=np.inf)
        others = (evaluation.queries @ outside.T).cpu().numpy()
        others[others >= last[:, None] - SLACK] = -np.inf
        beyond = len(prepared.corpus) - np.isfinite(base).sum(axis=1).mean()
        relevant = np.isfinite(own_scores).sum(axis=1)
        order = np.argsort(-relevant, kind="stable")
        return cls(
            rows[order],
            evaluator.metric,
            evaluator.table,
            torch.from_numpy(place[order]),
            base[order],
            weight[order],
            relevant[order],
            outside @ evaluator.axes,
            others[order],
            float(beyond / max(1.0, np.isfinite(others).sum(axis=1).mean())),
        )

    def values(
        self, shifts: Callable[[slice], torch.Tensor], strengths: Sequence[float] = STRENGTHS
    ) -> NDArray[np.float64]:
        """Return the metric (s, g, p) of every query shifted by s maps at some strengths.

        Args:
            shifts: Takes a slice of the queries, and returns what each map adds to them, (p, s, d).
            strengths: (g,) by how much these are multiplied.
        """

        def block_values(block: slice) -> NDArray[np.float64]:
            moved = shifts(block)
            found = np.zeros((moved.shape[1], len(strengths), len(moved)))
            width = max(1, moved.shape[1] * (self.base.shape[1] + len(self.others)))
            for part in row_blocks(len(moved), max(1, min(_GATHERED, _SCORES // width))):
                place = slice(block.start + part.start, block.start + part.stop)
                ends = torch.bmm(moved[part], self.table[self.place[place]].mT)
                others = moved[part].transpose(0, 1) @ self.others.T
                moving = ends.transpose(0, 1).contiguous().cpu().numpy()
                self._add(found[:, :, part], place, moving, others.cpu().numpy(), np.asarray(strengths, np.float32))
            return found

        first, *rest = row_blocks(len(self.rows), _QUERIES)
        # The first block makes what all share.
        return np.concatenate([block_values(first), *in_threads(block_values, rest)], axis=2)

    @cached_property
    def unmapped(self) -> NDArray[np.float64]:
        """The metric (p,) of the queries as they are."""
        found = np.zeros((1, 1, len(self.rows)))
        pools, others = np.zeros_like(self.base)[None], np.zeros_like(self.others_base)[None]
        self._add(found, slice(0, len(self.rows)), pools, others, np.zeros(1, np.float32))
        at_rest: NDArray[np.float64] = found[0, 0]
        return at_rest

    def _add(
        self,
        found: NDArray[np.float64],
        part: slice,
        ends: NDArray[np.float32],
        others: NDArray[np.float32],
        strengths: NDArray[np.float32],
    ) -> None:
        """Add to (s, g, p) what each relevant document is worth, from what maps add to scores, (s, p, w) and (s, p, o).

        Another document is above a relevant one where it gains more with the strength than it was behind.
        """
        relevant, weight = self.relevant[part], self.weight[part]
        for column in range(int(relevant.max(initial=0))):
            have = slice(0, int(np.searchsorted(-relevant, -column, side="left")))
            own, own_base = ends[:, have, column, None], self.base[part][have, column, None]
            behind = own_base - self.base[part][have], own_base - self.others_base[part][have] + SLACK
            faster = ends[:, have] - own, others[:, have] - own
            for number, strength in enumerate(strengths):
                above = strength * faster[0] > behind[0]
                rank = 1 + _count(above).astype(np.int64)
                if self.stands_for:
                    beyond = self.stands_for * _count(strength * faster[1] > behind[1])
                    rank += np.rint(beyond).astype(np.int64)
                order = 1 + _count(above[:, :, : weight.shape[1]]).astype(np.int64)
                found[:, number, have] += weight[have, column] * self.metric.contribution(rank, order)


def _count(above: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return how many are true along the last axis, of at most 255: several times as fast as `numpy.count_nonzero`."""
    counts: NDArray[np.uint8] = np.einsum("...w->...", above.view(np.uint8))
    return counts


def _relevant(
    prepared: Prepared, evaluation: EvaluationQueries
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float64]]:
    """Return rows, scores and weights (p, r) of each query's best relevant documents; -inf where it has fewer."""
    labels, gains = prepared.labels, evaluation.gains
    query, column = np.repeat(np.arange(len(evaluation)), np.diff(gains.indptr)), gains.indices
    device = labels.documents.device
    vectors = labels.documents[torch.from_numpy(column.astype(np.int64)).to(device)]
    scores = torch.linalg.vecdot(vectors, evaluation.queries[torch.from_numpy(query).to(device)]).cpu().numpy()
    scores[evaluation.ignores(query, labels.rows[column])] = -np.inf
    order = np.lexsort((-scores, query))
    rank = np.arange(len(query)) - np.searchsorted(query, query)
    shape = len(evaluation), min(_RELEVANT, int(rank.max(initial=-1)) + 1)
    order, at = order[rank < _RELEVANT], (query[rank < _RELEVANT], rank[rank < _RELEVANT])
    rows, found, weights = np.zeros(shape, np.int64), np.full(shape, -np.inf, np.float32), np.zeros(shape)
    rows[at], found[at] = labels.rows[column[order]], scores[order]
    weights[at] = evaluation.weights(prepared.options.measured)[order]
    return rows, found, weights


def _best_others(
    prepared: Prepared, evaluation: EvaluationQueries, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return rows and scores (p, w) of the best documents of each query's pool that are not relevant to it."""
    at, count = prepared.pools.at(prepared.evaluation_rows[rows]), len(prepared.corpus)
    scores, row = prepared.pools.scores[at], prepared.pools.rows[at]
    gains = evaluation.gains
    wanted = np.repeat(np.arange(len(rows)) * count, np.diff(gains.indptr)) + prepared.labels.rows[gains.indices]
    scores = np.where(np.isin(np.arange(len(rows))[:, None] * count + row, wanted), -np.inf, scores)
    best = torch.topk(torch.from_numpy(scores), min(_DEPTH, scores.shape[1]), dim=1)
    return np.take_along_axis(row, best.indices.numpy(), axis=1), best.values.numpy()


def _sample(prepared: Prepared) -> torch.Tensor:
    """Return a few documents (o, d) of the corpus, of both kinds as many as it has; none where pools are all of it."""
    random, labelled = np.random.default_rng(prepared.options.seed), len(prepared.labels.rows)
    few = 0 if prepared.pools.whole else min(_OUTSIDE, len(prepared.corpus))
    of_labelled = round(few * labelled / max(1, len(prepared.corpus)))
    parts = []
    for vectors, count in ((prepared.labels.documents, of_labelled), (prepared.sample, few - of_labelled)):
        drawn = np.sort(random.choice(len(vectors), min(count, len(vectors)), replace=False))
        parts.append(vectors[torch.from_numpy(drawn).to(vectors.device)])
    return torch.cat(parts)
