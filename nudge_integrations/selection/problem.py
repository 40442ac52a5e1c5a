"""What every candidate is fitted to, and the evaluators of adapted queries by unmoved documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from nudge_integrations.query_map.training import TrainingSet, read_training
from nudge_integrations.selection.evaluator import Evaluator
from nudge_integrations.selection.maps import folds_of
from nudge_integrations.selection.settings import Evaluators, Folds
from nudge_integrations.solver import Solution
from nudge_integrations.solver.arrays import check_matrix, check_relevance
from nudge_integrations.solver.nudging import solve_with
from nudge_integrations.solver.options import Options

__all__ = ["FEWEST_QUERIES", "Problem", "by_base", "positions", "problem_of"]

# A map has as many numbers as a vector squared: fewer queries determine it too poorly.
FEWEST_QUERIES = 100

# Scores that the evaluation of one map may cost while settings are compared; above it fewer queries are used.
_SCORES = 200_000_000


@dataclass(frozen=True, eq=False)
class Problem:
    """What every candidate is fitted to.

    Attributes:
        options: The options.
        documents: (n, d), as given.
        relevance: (m, n) gains.
        groups: As given, for each of the m queries.
        training: What a map learns from: the l queries that have a relevant document.
        folds: Which of them are held out together.
        full: Evaluator by the same queries as ``nudge``.
        coarse: Evaluator while settings are compared, by some of these queries where the corpus is large.
        nudge: The best nudge alone.
    """

    options: Options
    documents: Any
    relevance: sparse.csr_array
    groups: ArrayLike | Sequence[object] | None
    training: TrainingSet
    folds: Folds
    full: Evaluator
    coarse: Evaluator
    nudge: Solution

    def nudged(self, queries: torch.Tensor, options: Options, rows: NDArray[np.int64] | None = None) -> Solution:
        """Nudge the documents for labelled queries (l, d); evaluated by some rows of the m, or by a sample."""
        every = self.training.every(queries)
        return solve_with(options, self.documents, every, self.relevance, groups=self.groups, rows=rows)


def problem_of(
    options: Options,
    nudge: Solution,
    documents: object,
    queries: object,
    relevance: object,
    groups: ArrayLike | Sequence[object] | None,
    device: str | torch.device | None,
) -> Problem:
    """Read what the candidates are fitted to; the inputs are those that ``nudge`` was solved for."""
    training = read_training(
        documents, queries, relevance, groups=groups, seed=options.seed, device=device, block_bytes=options.block_bytes
    )
    corpus = check_matrix(documents, "documents")
    gains = check_relevance(relevance, len(training.queries), len(corpus), "relevance")
    folds = folds_of(training, gains[training.rows.cpu().numpy()], options.seed)
    rows = nudge.per_query.rows
    evaluator = Evaluator(corpus, gains, rows, options.measured, options.block_bytes)
    most = max(FEWEST_QUERIES, _SCORES // max(1, len(corpus)))
    some = rows if len(rows) <= most else np.sort(np.random.default_rng(options.seed).choice(rows, most, replace=False))
    coarse = replace(evaluator, rows=some)
    return Problem(options, corpus, gains, groups, training, folds, evaluator, coarse, nudge)


def by_base(problem: Problem, evaluator: Evaluator) -> Evaluators:
    """Return evaluators by unmoved documents."""

    def serve(queries: torch.Tensor) -> NDArray[np.float64]:
        return evaluator.of(problem.training.every(queries))

    return Evaluators(positions(problem, evaluator), serve, serve, serve)


def positions(problem: Problem, evaluator: Evaluator) -> NDArray[np.int64]:
    """Return (e,) which of the labelled queries are evaluation queries."""
    return np.searchsorted(problem.training.rows.cpu().numpy(), evaluator.rows).astype(np.int64)
