"""Many query maps compared at a few strengths: cheap figures, by which settings are chosen for the exact search.

Each query is ranked among the best documents of its pool and the documents that are relevant to it; float32, no ties.
A strong map may lead a query far from its pool: a few documents stand for all that are outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus.metrics import Metric
from nudge_integrations.corpus.topk import row_blocks
from nudge_integrations.selection.pool_evaluator import PoolEvaluator
from nudge_integrations.solver.segments import SLACK

__all__ = ["STRENGTHS", "StrengthGrid"]

STRENGTHS = (0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0, 1.5)

# Documents of a query: the best of its pool, and the best of those that are relevant to it.
_DEPTH, _RELEVANT = 64, 32

# Scores that are compared at a time: what they take stays in the processor's cache.
_SCORES = 1 << 19


@dataclass(frozen=True, eq=False)
class StrengthGrid:
    """Queries with a few documents each.

    Attributes:
        rows: (p,) int64, which of the evaluation queries these are, those with most relevant documents first.
        metric: What is measured.
        table: (k, d) float32 unit vectors of all their documents.
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
    def of(
        cls,
        evaluator: PoolEvaluator,
        kept: NDArray[np.int64],
        axes: torch.Tensor,
        queries: torch.Tensor,
        sample: tuple[torch.Tensor, int],
    ) -> StrengthGrid:
        """Take some of an evaluator's queries, by their ascending place in its rows, with vectors along other axes.

        Args:
            evaluator: Has the pools.
            kept: (p,) which of its queries.
            axes: (d, d), one a column.
            queries: (p, d) float32, these queries.
            sample: (o, d) unit vectors of a sample of the corpus, and how many documents that has.
        """
        paths = evaluator.paths.take(inside := np.isin(evaluator.paths.query, kept))
        query, score = np.searchsorted(kept, paths.query), paths.coefficients[0]
        order = np.lexsort((-score, ~paths.relevant, query))
        query, score, relevant = query[order], score[order], paths.relevant[order]
        count = np.bincount(query[relevant], minlength=len(kept))
        rank = np.arange(len(query)) - np.searchsorted(query, query)
        most = min(_RELEVANT, int(count.max(initial=0)))
        column = np.where(relevant, rank, rank - count[query] + most)
        taken = np.where(relevant, rank < most, column < most + _DEPTH)
        count = np.minimum(count, most)
        first = np.argsort(-count, kind="stable")
        at = np.argsort(first)[query[taken]], column[taken]
        shape = len(kept), min(most + _DEPTH, int(column.max(initial=-1)) + 1)
        base, weight = np.full(shape, -np.inf, np.float32), np.zeros(shape)
        place = np.zeros(shape, np.int64)
        base[at], weight[at] = score[taken], paths.weight[order][taken]
        used, place[at] = np.unique(evaluator.place[inside][order][taken], return_inverse=True)
        table, places = evaluator.table[torch.from_numpy(used)] @ axes, torch.from_numpy(place)
        best = base[:, most:]
        last = np.where(np.isfinite(best), best, np.inf).min(axis=1, initial=np.inf)
        others = (queries[torch.from_numpy(first)] @ sample[0].T).cpu().numpy()
        others[others >= last[:, None] - SLACK] = -np.inf
        stands_for = (sample[1] - np.isfinite(base).sum(axis=1).mean()) / max(
            1.0, np.isfinite(others).sum(axis=1).mean()
        )
        rows, turned = evaluator.rows[kept[first]], sample[0] @ axes
        return cls(
            rows,
            evaluator.metric,
            table,
            places,
            base,
            weight[:, :most],
            count[first],
            turned,
            others,
            float(stands_for),
        )

    def values(self, shifts: torch.Tensor, strengths: Sequence[float] = STRENGTHS) -> NDArray[np.float64]:
        """Return the metric (s, g, p) of every query shifted by s maps, (p, s, d), at some strengths."""
        found = np.zeros((shifts.shape[1], len(strengths), len(self.rows)))
        width = self.base.shape[1]
        for part in row_blocks(len(self.rows), max(1, _SCORES // max(1, width * shifts.shape[1]))):
            ends = torch.bmm(shifts[part], self.table[self.place[part]].mT).cpu().numpy()
            others = (shifts[part] @ self.others.T).cpu().numpy()
            for number, strength in enumerate(np.asarray(strengths, np.float32)):
                pool, outside = (
                    self.base[part, None] + strength * ends,
                    self.others_base[part, None] + strength * others,
                )
                found[:, number, part] = self._metric(pool, outside, part).T
        return found

    @cached_property
    def unmapped(self) -> NDArray[np.float64]:
        """The metric (p,) of the queries as they are."""
        return self._metric(self.base[:, None], self.others_base[:, None], slice(None))[:, 0]

    def _metric(self, pool: NDArray[np.float32], outside: NDArray[np.float32], part: slice) -> NDArray[np.float64]:
        """Return the metric (p, s) of scores of pools (p, s, w) and of documents outside (p, s, o)."""
        relevant, weight = self.relevant[part], self.weight[part]
        found = np.zeros(pool.shape[:2])
        for column in range(int(relevant.max(initial=0))):
            have = int(np.searchsorted(-relevant, -column, side="left"))
            own = pool[:have, :, column, None]
            above = pool[:have] > own
            rank = 1 + np.count_nonzero(above, axis=2)
            if self.stands_for:
                rank += np.rint(self.stands_for * np.count_nonzero(outside[:have] > own + SLACK, axis=2)).astype(
                    np.int64
                )
            order = 1 + np.count_nonzero(above[:, :, : weight.shape[1]], axis=2)
            found[:have] += weight[:have, None, column] * self.metric.contribution(rank, order)
        return found
