"""What every candidate is made from, and who judges adapted queries by documents that nothing moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from nudge_integrations.adaptor.training import Training, read_training
from nudge_integrations.hybrid.maps import folds_of
from nudge_integrations.hybrid.ranking import Ranking
from nudge_integrations.hybrid.settings import Folds, Judges
from nudge_integrations.solver import Solution
from nudge_integrations.solver._plan import Plan
from nudge_integrations.solver._solve import solve_plan
from nudge_integrations.solver.arrays import check_matrix, check_relevance

__all__ = ["FEWEST_QUERIES", "Problem", "by_base", "positions", "problem_of"]

# A map has as many numbers as a vector squared: fewer queries say too little about it.
FEWEST_QUERIES = 100

# Scores that one judged map may cost while settings are compared; above it fewer queries judge them.
_SCORES = 200_000_000


@dataclass(frozen=True, eq=False)
class Problem:
    """What every candidate is made from.

    Attributes:
        plan: The options.
        documents: (n, d), as given.
        relevance: (m, n) gains.
        groups: As given, for each of the m queries.
        training: What a map learns from: the l queries that have an answer.
        folds: Which of them are left out together.
        ranking: Judges; of the same queries as ``nudge``.
        climbing: Judges while settings are compared; of some of them where the corpus is large.
        nudge: The best nudge alone.
    """

    plan: Plan
    documents: Any
    relevance: sparse.csr_array
    groups: ArrayLike | Sequence[object] | None
    training: Training
    folds: Folds
    ranking: Ranking
    climbing: Ranking
    nudge: Solution

    def nudged(self, queries: torch.Tensor, plan: Plan, rows: NDArray[np.int64] | None = None) -> Solution:
        """Nudge the documents for labelled queries (l, d); judged by some rows of the m, or as planned."""
        every = self.training.every(queries)
        return solve_plan(plan, self.documents, every, self.relevance, groups=self.groups, rows=rows)


def problem_of(
    plan: Plan,
    nudge: Solution,
    documents: object,
    queries: object,
    relevance: object,
    groups: ArrayLike | Sequence[object] | None,
    device: str | torch.device | None,
) -> Problem:
    """Read what the candidates are made from; the inputs are those that ``nudge`` was solved for."""
    training = read_training(
        documents, queries, relevance, groups=groups, seed=plan.seed, device=device, block_bytes=plan.block_bytes
    )
    corpus = check_matrix(documents, "documents")
    gains = check_relevance(relevance, len(training.queries), len(corpus), "relevance")
    folds = folds_of(training, gains[training.rows.cpu().numpy()], plan.seed)
    rows = nudge.per_query.rows
    ranking = Ranking(corpus, gains, rows, plan.measured, plan.block_bytes)
    most = max(FEWEST_QUERIES, _SCORES // max(1, len(corpus)))
    some = rows if len(rows) <= most else np.sort(np.random.default_rng(plan.seed).choice(rows, most, replace=False))
    climbing = replace(ranking, rows=some)
    return Problem(plan, corpus, gains, groups, training, folds, ranking, climbing, nudge)


def by_base(problem: Problem, ranking: Ranking) -> Judges:
    """Return judges for whom nothing moves."""

    def serve(queries: torch.Tensor) -> NDArray[np.float64]:
        return ranking.of(problem.training.every(queries))

    return Judges(positions(problem, ranking), serve, serve, serve)


def positions(problem: Problem, ranking: Ranking) -> NDArray[np.int64]:
    """Return (e,) which of the labelled queries are judged."""
    return np.searchsorted(problem.training.rows.cpu().numpy(), ranking.rows).astype(np.int64)
