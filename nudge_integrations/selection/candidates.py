"""The candidates beside a nudge alone: fitted, and evaluated by queries that they were not fitted to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from nudge_integrations.query_map.iterated import iterated_ridge
from nudge_integrations.query_map.ridge import TEMPERATURES
from nudge_integrations.query_map.training import residuals
from nudge_integrations.selection.after_nudge import MovedCorpus
from nudge_integrations.selection.evaluator import Evaluator
from nudge_integrations.selection.fitted import FittedCandidate
from nudge_integrations.selection.iterated import step_maps
from nudge_integrations.selection.maps import QueryMaps, query_maps
from nudge_integrations.selection.pairs import best_pair, pairs_in_steps, pairs_of_ridge
from nudge_integrations.selection.problem import Problem, by_base, positions
from nudge_integrations.selection.settings import Evaluators
from nudge_integrations.solver.nudging import method_targets, prepare_for
from nudge_integrations.solver.prepare import read_inputs

__all__ = ["CANDIDATES", "affordable", "fit_candidates"]

CANDIDATES = ("nudge", "query-map", "query-map+nudge", "nudge+query-map")

# Maps that are evaluated until a setting and a number of steps are chosen.
_EVALUATED_MAPS = 100


def affordable(
    names: Sequence[str], problem: Problem, nudge_seconds: float, left: float | None
) -> tuple[list[str], tuple[str, ...]]:
    """Return the candidates there is time for, without the slowest ones, and what was left out in words."""
    together = problem.groups is not None or problem.options.unseen_loss is not None
    kept = [name for name in names if name != "nudge+query-map" or not together]
    ruled_out = len(kept) < len(names)
    grouped = ("nudge+query-map was not tried: it can hold out single queries only",) if ruled_out else ()
    if left is None:
        return kept, grouped
    start = time.monotonic()
    problem.coarse.of(problem.training.queries)
    seconds = _EVALUATED_MAPS * (time.monotonic() - start)
    cost = {
        "query-map": seconds,
        "query-map+nudge": seconds + 6.0 * nudge_seconds,
        "nudge+query-map": 2.5 * seconds,
    }
    dropped = []
    while kept and sum(cost[name] for name in kept) > left:
        dropped.append(max(kept, key=cost.__getitem__))
        kept.remove(dropped[-1])
    late = (f"left out for want of time: {', '.join(dropped)}",) if dropped else ()
    return kept, (*grouped, *late)


def fit_candidates(problem: Problem, names: Sequence[str]) -> list[FittedCandidate]:
    """Fit and evaluate the candidates; those whose map is of no use are absent."""
    fitted = []
    if {"query-map", "query-map+nudge"} & set(names):
        options, training = problem.options, problem.training
        results = residuals(training, training.labelled_queries, training.positives, TEMPERATURES, options.block_bytes)
        coarse, full = by_base(problem, problem.coarse), by_base(problem, problem.full)
        maps = query_maps(training, problem.folds, results, coarse, full, options.unseen_weight, options.seed)
        if maps is not None:
            if "query-map" in names:
                fitted.append(FittedCandidate("query-map", "ridge", maps.scores, None, maps.of(maps.setting)))
            if "query-map+nudge" in names:
                fitted += best_pair(problem, "ridge", maps, pairs_of_ridge(problem, maps))
            fitted += _in_steps(problem, maps, coarse, full, names)
    if "nudge+query-map" in names and problem.nudge.status == "improved":
        fitted += _after_nudge(problem)
    return fitted


def _in_steps(
    problem: Problem, ridge: QueryMaps, coarse: Evaluators, full: Evaluators, names: Sequence[str]
) -> list[FittedCandidate]:
    """Take the ridge in several steps, where that is better than in one."""
    options, training = problem.options, problem.training
    steps = iterated_ridge(
        problem.documents,
        training.queries,
        problem.relevance,
        ridge.setting.temperature,
        ridge.setting.whitening,
        seed=options.seed,
        device=training.queries.device,
        block_bytes=options.block_bytes,
    )
    maps = step_maps(steps, problem.folds, coarse, full, options.unseen_weight, options.seed)
    if maps is None or maps.gain <= ridge.evaluate(ridge.setting).gain():
        return []
    fitted = (
        [FittedCandidate("query-map", "iterated-ridge", maps.scores, None, maps.of(maps.steps))]
        if "query-map" in names
        else []
    )
    if "query-map+nudge" in names:
        fitted += best_pair(problem, "iterated-ridge", maps, pairs_in_steps(problem, maps))
    return fitted


def _after_nudge(problem: Problem) -> list[FittedCandidate]:
    """Fit a map to documents that were nudged without each query's own label."""
    training, nudge = problem.training, problem.nudge
    options = replace(problem.options, method=nudge.method, temperature=nudge.temperature)
    inputs = read_inputs(
        problem.documents, training.queries, problem.relevance, None, None, None, normalize_queries=True
    )
    prepared = prepare_for(options, inputs, sample=True)
    targets = next(method_targets(options, prepared))[1]

    def evaluators(evaluator: Evaluator) -> Evaluators:
        moved = MovedCorpus(prepared, targets, nudge.step, evaluator)
        return Evaluators(
            positions(problem, evaluator),
            lambda queries: moved.of(training.every(queries)),
            lambda queries: moved.of(training.every(queries), relevant_at_rest=True),
            by_base(problem, evaluator).other_cluster,
        )

    moved = MovedCorpus(prepared, targets, nudge.step, problem.full)
    results = moved.residuals(training.rows.cpu().numpy(), TEMPERATURES)
    maps = query_maps(
        training,
        problem.folds,
        results,
        evaluators(problem.coarse),
        evaluators(problem.full),
        problem.options.unseen_weight,
        problem.options.seed,
    )
    if maps is None:
        return []
    return [FittedCandidate("nudge+query-map", f"{nudge.method}+ridge", maps.scores, nudge, maps.of(maps.setting))]
