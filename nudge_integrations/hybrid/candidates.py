"""The candidates beside a nudge alone: made, and judged by queries that they were not made from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from nudge_integrations.adaptor.ridge import TEMPERATURES
from nudge_integrations.adaptor.softmax import ascent
from nudge_integrations.adaptor.training import residuals
from nudge_integrations.hybrid.after_nudge import MovedCorpus
from nudge_integrations.hybrid.maps import QueryMaps, query_maps
from nudge_integrations.hybrid.pairs import best_pair, pairs_in_steps, pairs_of_ridge
from nudge_integrations.hybrid.problem import Problem, by_base, positions
from nudge_integrations.hybrid.ranking import Ranking
from nudge_integrations.hybrid.settings import Judges
from nudge_integrations.hybrid.steps import step_maps
from nudge_integrations.hybrid.trial import Trial
from nudge_integrations.solver._solve import headings, prepare_plan
from nudge_integrations.solver.inputs import read_inputs

__all__ = ["CANDIDATES", "affordable", "trials_of"]

CANDIDATES = ("nudge", "adaptor", "adaptor+nudge", "nudge+adaptor")

# Maps that are judged until a setting and a number of steps are found.
_JUDGED_MAPS = 100


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
    cost = {"adaptor": judged, "adaptor+nudge": judged + 6.0 * nudge_seconds, "nudge+adaptor": 2.5 * judged}
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
        plan, training = problem.plan, problem.training
        found = residuals(training, training.asked, training.answers, TEMPERATURES, plan.block_bytes)
        climbing, judges = by_base(problem, problem.climbing), by_base(problem, problem.ranking)
        maps = query_maps(training, problem.folds, found, climbing, judges, plan.unseen_weight, plan.seed)
        if maps is not None:
            if "adaptor" in names:
                trials.append(Trial("adaptor", "adaptor", maps.worth, None, maps.of(maps.setting)))
            if "adaptor+nudge" in names:
                trials += best_pair(problem, "adaptor", maps, pairs_of_ridge(problem, maps))
            trials += _in_steps(problem, maps, climbing, judges, names)
    if "nudge+adaptor" in names and problem.nudge.status == "improved":
        trials += _after_nudge(problem)
    return trials


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
        trials += best_pair(problem, "softmax", maps, pairs_in_steps(problem, maps))
    return trials


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
            positions(problem, ranking),
            lambda queries: moved.of(training.every(queries)),
            lambda queries: moved.of(training.every(queries), wanted_at_rest=True),
            by_base(problem, ranking).elsewhere,
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
        problem.plan.seed,
    )
    if maps is None:
        return []
    return [Trial("nudge+adaptor", f"{nudge.method}+adaptor", maps.worth, nudge, maps.of(maps.setting))]
