"""The candidates beside a nudge alone: made, and judged by queries that they were not made from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from nudge_integrations.adaptor.choice import climb, walk
from nudge_integrations.adaptor.ridge import TEMPERATURES
from nudge_integrations.adaptor.softmax import ascent
from nudge_integrations.adaptor.training import Training, read_training, residuals
from nudge_integrations.hybrid.after_nudge import MovedCorpus
from nudge_integrations.hybrid.maps import QueryMaps, folds_of, query_maps
from nudge_integrations.hybrid.ranking import Ranking
from nudge_integrations.hybrid.settings import WHITENINGS, Folds, Judges, Key, Setting
from nudge_integrations.hybrid.steps import StepMaps, step_maps
from nudge_integrations.hybrid.trial import Trial, Worth
from nudge_integrations.solver import Solution
from nudge_integrations.solver._plan import Plan
from nudge_integrations.solver._solve import headings, prepare_plan, solve_plan
from nudge_integrations.solver.arrays import check_matrix, check_relevance
from nudge_integrations.solver.inputs import read_inputs

__all__ = ["CANDIDATES", "FEWEST_QUERIES", "Problem", "affordable", "problem_of", "trials_of"]

Key_contra = TypeVar("Key_contra", contravariant=True)

CANDIDATES = ("nudge", "adaptor", "adaptor+nudge", "nudge+adaptor")

# A map has as many numbers as a vector squared: fewer queries say too little about it.
FEWEST_QUERIES = 100

# Scores that one judged map may cost while settings are compared; above it fewer queries judge them.
_SCORES = 200_000_000

# Maps that are judged until a setting and a number of steps are found.
_JUDGED_MAPS = 100

# Strengths of the best map alone that are tried before a nudge, which does a part of the work and for some documents
# better; and where the search begins.
_PARTS = (0.5, 1.0, 0.25)
_FIRST_PART = 0.5


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
    cost = {"adaptor": judged, "adaptor+nudge": judged + 5.0 * nudge_seconds, "nudge+adaptor": 2.5 * judged}
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
        maps = query_maps(training, problem.folds, found, climbing, judges, problem.plan.unseen_weight)
        if maps is not None:
            if "adaptor" in names:
                trials.append(Trial("adaptor", "adaptor", maps.worth, None, maps.of(maps.setting)))
            if "adaptor+nudge" in names:
                trials += _then_nudge(problem, "adaptor", maps, _pairs(problem, maps, _milder(problem.plan)))
            trials += _in_steps(problem, maps, climbing, judges, names)
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


def _in_steps(
    problem: Problem, ridge: QueryMaps, climbing: Judges, judges: Judges, names: Sequence[str]
) -> list[Trial]:
    """Take the ridge in several steps, where that is better than in one."""
    plan, training = problem.plan, problem.training
    steps = ascent(
        problem.documents,
        training.queries,
        problem.relevance,
        ridge.setting.temperature,
        ridge.setting.whitening,
        seed=plan.seed,
        device=training.queries.device,
        block_bytes=plan.block_bytes,
    )
    maps = step_maps(steps, problem.folds, climbing, judges, plan.unseen_weight, plan.seed)
    if maps is None or maps.gain <= ridge.judge(ridge.setting).gain():
        return []
    trials = [Trial("adaptor", "softmax", maps.worth, None, maps.of(maps.steps))] if "adaptor" in names else []
    if "adaptor+nudge" in names:
        trials += _then_nudge(problem, "softmax", maps, _pairs_in_steps(problem, maps, _milder(plan)))
    return trials


def _milder(plan: Plan) -> Plan:
    """Return a plan for the nudge of a pair.

    The pair is guarded against doing nothing; beside the map alone it needs no more than to be no coincidence.
    """
    return replace(plan, standard_errors=min(1.0, plan.standard_errors))


class _Maps(Protocol[Key_contra]):
    """Maps of one kind, told apart by a key; see `QueryMaps`."""

    def of(self, key: Key_contra, /) -> torch.Tensor: ...

    def unseen(self, key: Key_contra, /) -> torch.Tensor: ...


def _then_nudge(problem: Problem, name: str, maps: _Maps[Key], pairs: Mapping[Key, Solution]) -> list[Trial]:
    """Return the best of some nudges towards queries that were adapted by maps fitted without each."""
    if not pairs:
        return []
    objectives = np.stack([_objective(nudge, problem.plan) for nudge in pairs.values()])
    key, nudge = list(pairs.items())[int(objectives.mean(axis=1).argmax())]
    if nudge.status != "improved":
        return []
    # Each half of the queries is judged by the pair that suits the other: the best of many looks too good to its own.
    halves = problem.folds.halves[_positions(problem, problem.ranking)]
    suited = [list(pairs.values())[int(objectives[:, halves == side].mean(axis=1).argmax())] for side in (False, True)]
    seen = np.where(halves, suited[0].per_query.score, suited[1].per_query.score)
    fixed = replace(problem.plan, method=nudge.method, temperature=nudge.temperature, step=nudge.step)
    unseen = problem.nudged(maps.unseen(key), fixed).per_query.unseen
    return [Trial("adaptor+nudge", f"{name}+{nudge.method}", Worth(seen, unseen), nudge, maps.of(key))]


def _pairs(problem: Problem, maps: QueryMaps, plan: Plan) -> dict[Setting, Solution]:
    """Climb to the map that is best with a nudge; return all nudges on the way, none where the first gains nothing."""
    strengths = [part * maps.setting.strength for part in _PARTS]
    start = maps.setting._replace(strength=_FIRST_PART * maps.setting.strength)
    first = problem.nudged(maps.seen(start), plan)
    if first.status != "improved":
        return {}
    # All share a method, so that most of them cost one direction.
    fixed = replace(plan, method=first.method, temperature=first.temperature)
    pairs = {} if maps.judge(start).harm < 0.0 else {start: first}

    def value(point: tuple[float, ...]) -> float:
        setting = Setting(*point)
        if setting not in pairs:
            harm = maps.judge(setting).harm
            if harm < 0.0:
                return harm
            pairs[setting] = problem.nudged(maps.seen(setting), fixed)
        return float(_objective(pairs[setting], plan).mean())

    climb((strengths, TEMPERATURES, WHITENINGS, (start.penalty,)), start, value)
    return pairs


def _pairs_in_steps(problem: Problem, maps: StepMaps, plan: Plan) -> dict[int, Solution]:
    """Take fewer steps as long as they are better with the nudge that is best alone; return all nudges on the way."""
    alone = problem.nudge
    if alone.status == "improved":
        plan = replace(plan, method=alone.method, temperature=alone.temperature)
    pairs: dict[int, Solution] = {}

    def value(steps: int) -> float:
        pairs[steps] = problem.nudged(maps.seen(steps), plan)
        return float(_objective(pairs[steps], plan).mean())

    walk(list(maps.adapted), maps.steps, value)
    return pairs


def _objective(nudge: Solution, plan: Plan) -> NDArray[np.float64]:
    return Worth(nudge.per_query.score, nudge.per_query.unseen).objective(plan.unseen_weight)


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
    maps = query_maps(
        training,
        problem.folds,
        found,
        judges(problem.climbing),
        judges(problem.ranking),
        problem.plan.unseen_weight,
    )
    if maps is None:
        return []
    return [Trial("nudge+adaptor", f"{nudge.method}+adaptor", maps.worth, nudge, maps.of(maps.setting))]
