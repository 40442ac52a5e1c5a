"""Nudges of the labelled documents: every direction with its exact best step, and the best of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus.threads import in_threads
from nudge_integrations.solver.curve import Bound, Curve, best_step, curve_of, first_step, mixed
from nudge_integrations.solver.decision import (
    QueryScores,
    gain_and_error,
    is_careful,
    mean,
    noise_groups,
    rare_queries,
)
from nudge_integrations.solver.direction import Answered, Contrastive, Direction, log_normalisers
from nudge_integrations.solver.labels import Labels
from nudge_integrations.solver.normalised_line import NormalisedLine
from nudge_integrations.solver.options import Options
from nudge_integrations.solver.path import Arc, Line, Path, SparseLine
from nudge_integrations.solver.prepare import Prepared
from nudge_integrations.solver.rank_changes import RankChanges
from nudge_integrations.solver.solution import Candidate
from nudge_integrations.solver.sweep import Sweep
from nudge_integrations.solver.targets import Targets, targets_of

__all__ = ["NudgeResult", "coarse_rows", "directions_of", "evaluated_by", "search_nudges", "search_step", "target_of"]

logger = logging.getLogger(__name__)

_PATHS: dict[str, Path] = {
    "nudge-n": Arc(),
    "nudge-m": Line(),
    "nudge-m+n": NormalisedLine(),
    "nudge-s": SparseLine(),
    "contrastive": Arc(),
}

# Protected queries for documents that nobody labelled lose a tenth of a point at most.
_UNSEEN_LOSS = 0.001

# Where labels only say no, the first step is taken that is no more than so many standard errors behind the best. With 0
# of them one collection of eight lost .2 points in one of three draws; with 1 most gains were given away.
_SHORT = 0.5

# Directions are compared by the queries of about so many groups first; the best of them, and those within a standard
# error of it, but no more than so many, by more, and the best of these by all.
_ROUNDS = ((384, 3), (1152, 1))


@dataclass(frozen=True, eq=False)
class NudgeResult:
    """A direction with its exact curve and its best step.

    Attributes:
        targets: Where documents go.
        parameter: The step in the path's own parameter.
        curve: The metric along the path, each query without its own labels.
        baseline: (e,) float64, each query's metric at step 0.
        scores: Each query's metric at the best step.
        candidate: What it was worth.
    """

    targets: Targets
    parameter: float
    curve: Curve
    baseline: NDArray[np.float64]
    scores: QueryScores
    candidate: Candidate


def search_nudges(
    prepared: Prepared, options: Options, temperatures: tuple[float | None, ...] | None = None
) -> tuple[NudgeResult, list[Candidate]]:
    """Return the best direction with its best step, and what every direction was worth."""
    tried = options.temperatures if temperatures is None else temperatures
    groups = prepared.evaluation.groups
    lines: dict[float | None, Candidate] = {}
    for most, finalists in _ROUNDS:
        part = coarse_rows(groups, options.seed, most)
        if len(tried) == 1 or len(part) == len(groups):
            break
        coarse = evaluated_by(prepared, part)
        found = _searched(coarse, options, tried)
        lines |= {temperature: result.candidate for temperature, result in found.items()}
        objectives = {key: result.scores.objective(options.unseen_weight) for key, result in found.items()}
        tried = _close_to_best(objectives, coarse, finalists)
    results = _searched(prepared, options, tried)
    lines |= {temperature: result.candidate for temperature, result in results.items()}
    # Equal gains, which the order of the queries alone may tell apart in the last digit, go to the first direction.
    return max(results.values(), key=lambda result: round(result.candidate.gain, 12)), list(lines.values())


def _searched(
    prepared: Prepared, options: Options, temperatures: tuple[float | None, ...]
) -> dict[float | None, NudgeResult]:
    """Return the best step of the direction of each temperature."""
    labels = prepared.labels

    def searched(direction: Direction) -> NudgeResult:
        name = "nudge-n" if options.method == "auto" and direction.temperature is None else options.method
        name = "contrastive" if name == "auto" else name
        return search_step(prepared, labels, name, target_of(labels, direction, name, options), options)

    directions = directions_of(prepared, options, labels, temperatures)
    results = in_threads(searched, directions)
    return {direction.temperature: result for direction, result in zip(directions, results, strict=True)}


def evaluated_by(prepared: Prepared, part: NDArray[np.int64]) -> Prepared:
    """Return the same with some of the evaluation queries (e,), which alone are negatives where queries are labels."""
    evaluation = prepared.evaluation.take(part)
    labels = prepared.labels
    if evaluation.own is not None and len(labels.negatives) > len(part):
        labels = replace(labels, negatives=np.sort(evaluation.own))
    rows = prepared.evaluation_rows[part]
    return replace(prepared, labels=labels, evaluation=evaluation, evaluation_rows=rows)


def coarse_rows(groups: NDArray[np.int64], seed: int, most: int) -> NDArray[np.int64]:
    """Return the rows of a seeded sample of whole groups (e,), or all where there are hardly more."""
    names = np.unique(groups)
    if len(names) <= most + most // 2:
        return np.arange(len(groups))
    drawn = np.random.default_rng(seed).choice(names, most, replace=False)
    return np.flatnonzero(np.isin(groups, drawn))


def _close_to_best(
    objectives: dict[float | None, NDArray[np.float64]], prepared: Prepared, most: int
) -> tuple[float | None, ...]:
    """Return the temperature of the best, and of those that are no more than a standard error behind."""
    ranked = sorted(objectives, key=lambda temperature: -mean(objectives[temperature]))
    best, near = objectives[ranked[0]], [ranked[0]]
    for temperature in ranked[1:most]:
        behind, error = gain_and_error(best - objectives[temperature], noise_groups(prepared))
        if behind <= error:
            near.append(temperature)
    return tuple(near)


def search_step(prepared: Prepared, labels: Labels, method: str, targets: Targets, options: Options) -> NudgeResult:
    """Find the best step of one direction, or evaluate the step given."""
    evaluation, path = prepared.evaluation, targets.path
    sweep = Sweep(labels, evaluation, options.measured, options.block_bytes, options.progress)
    seen = sweep.changes(targets)
    careful = is_careful(prepared)
    protected = evaluation.own is not None and (options.protects_unseen or careful)
    unseen = _unseen_changes(sweep, targets, protected) if protected or options.unseen_weight else None
    objective = mixed(seen, unseen, options.unseen_weight)
    if options.step is None:
        bounds = [Bound(unseen, _UNSEEN_LOSS, 1.0)] if protected and unseen is not None else []
        rare = rare_queries(prepared)
        if options.method == "auto" and options.standard_errors and rare.any():
            bounds.append(Bound(seen.only(rare), 0.0, -options.standard_errors))
        parameter = best_step(path, objective, bounds, path.end(targets.cosine[targets.moving]))
        parameter = _about_as_good(prepared, path, objective, parameter)
    else:
        parameter = path.parameter(options.step)
    step = float(path.steps(np.array(parameter))) if options.step is None else options.step
    at_rest = sweep.values(targets, parameter, unseen=True) if unseen is None else unseen.at(parameter)
    scores = QueryScores(seen.at(parameter), at_rest)
    gain, error = gain_and_error(objective.at(parameter) - objective.start, noise_groups(prepared))
    candidate = Candidate(
        method,
        targets.direction.temperature,
        step,
        mean(scores.seen),
        mean(scores.unseen),
        gain,
        error,
        len(evaluation),
    )
    logger.debug("%s", candidate)
    return NudgeResult(targets, parameter, curve_of(seen, path)[1], seen.start, scores, candidate)


def _about_as_good(prepared: Prepared, path: Path, objective: RankChanges, best: float) -> float:
    """Return the first parameter that is about as good as the best, where no query knows what answers it."""
    if not prepared.noes_alone or best == 0.0:
        return best
    error = gain_and_error(objective.at(best) - objective.start, noise_groups(prepared))[1]
    return first_step(path, objective, best, _SHORT * error)


def _unseen_changes(sweep: Sweep, targets: Targets, protected: bool) -> RankChanges:
    if not protected:
        return sweep.changes(targets, unseen=True)
    by_document, order = sweep.by_document()
    return by_document.changes(targets, unseen=True).placed(order)


def target_of(labels: Labels, direction: Direction, method: str, options: Options) -> Targets:
    """Return where a method sends the labelled documents with a direction."""
    return targets_of(labels, direction, _PATHS[method], options.block_bytes)


def directions_of(
    prepared: Prepared, options: Options, labels: Labels, temperatures: tuple[float | None, ...]
) -> list[Direction]:
    """Return one direction a temperature, of the labels given; NUDGE's for None."""
    soft = tuple(temperature for temperature in temperatures if temperature is not None)
    directions: list[Direction] = [Answered(options.graded) for temperature in temperatures if temperature is None]
    if not soft:
        return directions
    rows = torch.from_numpy(labels.negatives).to(labels.queries.device)
    found = log_normalisers(
        labels.queries[rows],
        labels.documents,
        prepared.sample,
        len(prepared.corpus) - len(labels.rows),
        soft,
        options.block_bytes,
        None if labels.hidden is None else labels.hidden[labels.negatives],
    )
    # Where only some queries are taken as negatives, each stands for several.
    stands_for = len(labels.able_to_push()) / max(1, len(rows)) * labels.importance()[labels.negatives]
    for temperature in soft:
        every = labels.queries.new_full((len(labels.queries),), torch.inf)
        every[rows] = found[temperature] - torch.from_numpy(np.log(stands_for)).to(every)
        directions.append(Contrastive(temperature, every, labels.hidden))
    return directions
