"""The candidates beside a nudge alone: made, and judged by queries that they were not made from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from nudge_integrations.adaptor.ridge import TEMPERATURES
from nudge_integrations.adaptor.training import Training, read_training, residuals
from nudge_integrations.hybrid.after_nudge import MovedCorpus
from nudge_integrations.hybrid.maps import QueryMap, folds_of, ridge_map
from nudge_integrations.hybrid.ranking import Ranking
from nudge_integrations.hybrid.settings import Folds, Judges
from nudge_integrations.hybrid.trial import Trial, Worth
from nudge_integrations.solver import Solution
from nudge_integrations.solver._plan import Plan
from nudge_integrations.solver._solve import headings, prepare_plan, solve_plan
from nudge_integrations.solver.arrays import check_matrix, check_relevance
from nudge_integrations.solver.inputs import read_inputs

__all__ = ["CANDIDATES", "FEWEST_QUERIES", "Problem", "affordable", "problem_of", "trials_of"]

CANDIDATES = ("nudge", "adaptor", "adaptor+nudge", "nudge+adaptor")

# A map has as many numbers as a vector squared: fewer queries say too little about it.
FEWEST_QUERIES = 100

# Scores that one judged map may cost while settings are compared; above it fewer queries judge them.
_SCORES = 200_000_000

# Maps that are judged until a setting is found.
_JUDGED_MAPS = 60

# How much of a map is served before a nudge: what it does alone, the nudge does in part, and for some documents better.
_PARTS = (0.5, 1.0, 0.25)


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

    def nudged(self, queries: torch.Tensor, plan: Plan) -> Solution:
        """Nudge the documents for labelled queries (l, d)."""
        return solve_plan(plan, self.documents, self.training.every(queries), self.relevance, groups=self.groups)


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


def affordable(
    names: Sequence[str], problem: Problem, nudge_seconds: float, left: float | None
) -> tuple[list[str], tuple[str, ...]]:
    """Return the candidates there is time for, the dearest left out first, and what was left out in words."""
    together = problem.groups is not None or problem.plan.unseen_loss is not None
    kept = [name for name in names if name != "nudge+adaptor" or not together]
    ruled_out = len(kept) < len(names)
    grouped = ("nudge+adaptor was not tried: it can leave out single queries only",) if ruled_out else ()
    if left is None:
        return kept, grouped
    start = time.monotonic()
    problem.climbing.of(problem.training.queries)
    judged = _JUDGED_MAPS * (time.monotonic() - start)
    cost = {"adaptor": judged, "adaptor+nudge": judged + 3.0 * nudge_seconds, "nudge+adaptor": 4.0 * judged}
    dropped = []
    while kept and sum(cost[name] for name in kept) > left:
        dropped.append(max(kept, key=cost.__getitem__))
        kept.remove(dropped[-1])
    late = (f"left out for want of time: {', '.join(dropped)}",) if dropped else ()
    return kept, (*grouped, *late)


def trials_of(problem: Problem, names: Sequence[str]) -> list[Trial]:
    """Make and judge the candidates; those whose map has no use are absent."""
    trials = []
    if {"adaptor", "adaptor+nudge"} & set(names):
        training = problem.training
        found = residuals(training, training.asked, training.answers, TEMPERATURES, problem.plan.block_bytes)
        climbing, judges = _by_base(problem, problem.climbing), _by_base(problem, problem.ranking)
        fitted = ridge_map(training, problem.folds, found, climbing, judges, problem.plan.unseen_weight)
        if fitted is not None:
            trials += [Trial("adaptor", "adaptor", fitted.worth, None, fitted.map)] if "adaptor" in names else []
            trials += _then_nudge(problem, fitted) if "adaptor+nudge" in names else []
    if "nudge+adaptor" in names and problem.nudge.status == "improved":
        trials += _after_nudge(problem)
    return trials


def _by_base(problem: Problem, ranking: Ranking) -> Judges:
    def serve(queries: torch.Tensor) -> NDArray[np.float64]:
        return ranking.of(problem.training.every(queries))

    return Judges(_positions(problem, ranking), serve, serve, serve)


def _positions(problem: Problem, ranking: Ranking) -> NDArray[np.int64]:
    """Return (e,) which of the labelled queries are judged."""
    return np.searchsorted(problem.training.rows.cpu().numpy(), ranking.rows).astype(np.int64)


def _then_nudge(problem: Problem, fitted: QueryMap) -> list[Trial]:
    """Nudge documents towards adapted queries, each adapted by a map that was fitted without it."""
    # The pair is guarded against doing nothing; beside the map alone it needs no more than to be no coincidence.
    plan = replace(problem.plan, standard_errors=min(1.0, problem.plan.standard_errors))
    weight = plan.unseen_weight
    tried: list[tuple[float, float, Solution]] = []
    for part in _PARTS:
        nudge = problem.nudged(fitted.seen(part), plan)
        if nudge.status == "improved":
            worth = Worth(nudge.per_query.score, nudge.per_query.unseen)
            tried.append((float(worth.objective(weight).mean()), part, nudge))
            # The parts share a method, so that most of them cost one direction and not all.
            plan = replace(plan, method=nudge.method, temperature=nudge.temperature)
    if not tried:
        return []
    _, part, nudge = max(tried, key=lambda found: found[0])
    fixed = replace(problem.plan, method=nudge.method, temperature=nudge.temperature, step=nudge.step)
    unseen = problem.nudged(fitted.unseen(part), fixed).per_query.unseen
    worth = Worth(nudge.per_query.score, unseen)
    return [Trial("adaptor+nudge", f"adaptor+{nudge.method}", worth, nudge, part * fitted.map)]


def _after_nudge(problem: Problem) -> list[Trial]:
    """Fit a map to documents that were nudged without each query's own label."""
    training, nudge = problem.training, problem.nudge
    plan = replace(problem.plan, method=nudge.method, temperature=nudge.temperature)
    inputs = read_inputs(
        problem.documents, training.queries, problem.relevance, None, None, None, normalize_queries=True
    )
    prepared = prepare_plan(plan, inputs, sample=True)
    heading = next(headings(plan, prepared))[1]

    def judges(ranking: Ranking) -> Judges:
        moved = MovedCorpus(prepared, heading, nudge.step, ranking)
        return Judges(
            _positions(problem, ranking),
            lambda queries: moved.of(training.every(queries)),
            lambda queries: moved.of(training.every(queries), wanted_at_rest=True),
            _by_base(problem, ranking).elsewhere,
        )

    moved = MovedCorpus(prepared, heading, nudge.step, problem.ranking)
    found = moved.residuals(training.rows.cpu().numpy(), TEMPERATURES)
    fitted = ridge_map(
        training,
        problem.folds,
        found,
        judges(problem.climbing),
        judges(problem.ranking),
        problem.plan.unseen_weight,
    )
    return (
        [] if fitted is None else [Trial("nudge+adaptor", f"{nudge.method}+adaptor", fitted.worth, nudge, fitted.map)]
    )
