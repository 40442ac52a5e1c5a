"""A nudge after a map: documents move towards queries adapted by the map that is best with it.

Each query that moves documents is adapted by a map fitted without it, as new queries will be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.query_map.ridge import TEMPERATURES
from nudge_integrations.query_map.search import coordinate_search, line_search
from nudge_integrations.selection.fitted import FittedCandidate, QueryScores
from nudge_integrations.selection.iterated import StepMaps
from nudge_integrations.selection.maps import QueryMaps
from nudge_integrations.selection.problem import Problem, positions
from nudge_integrations.selection.settings import WHITENINGS, Key, Setting
from nudge_integrations.solver import Solution
from nudge_integrations.solver.options import Options

__all__ = ["best_pair", "pairs_in_steps", "pairs_of_ridge"]

Key_contra = TypeVar("Key_contra", contravariant=True)

# Strengths of the best map alone that are tried before a nudge, which does a part of the work, for some documents
# better; and where the search begins.
_PARTS = (0.5, 1.0, 0.25)
_FIRST_PART = 0.5


@dataclass(frozen=True, eq=False)
class Pair:
    """A nudge towards queries that a map has adapted.

    Attributes:
        nudge: How documents move.
        scores: The metric of the evaluation queries.
    """

    nudge: Solution
    scores: QueryScores

    def value(self, unseen_weight: float) -> float:
        """Return the mean of the objective."""
        return float(self.scores.objective(unseen_weight).mean())


class _Maps(Protocol[Key_contra]):
    """Maps of one kind, told apart by a key; see `QueryMaps`."""

    def of(self, key: Key_contra, /) -> torch.Tensor: ...

    def seen(self, key: Key_contra, /) -> torch.Tensor: ...

    def unseen(self, key: Key_contra, /) -> torch.Tensor: ...

    def held_out_folds(self, key: Key_contra, /) -> Iterable[tuple[NDArray[np.bool_], torch.Tensor]]: ...


def best_pair(problem: Problem, name: str, maps: _Maps[Key], pairs: Mapping[Key, Pair]) -> list[FittedCandidate]:
    """Return the best of some nudges towards queries that were adapted by maps fitted without each."""
    pairs = {key: pair for key, pair in pairs.items() if pair.nudge.status == "improved"}
    if not pairs:
        return []
    objectives = np.stack([pair.scores.objective(problem.options.unseen_weight) for pair in pairs.values()])
    key, pair = list(pairs.items())[int(objectives.mean(axis=1).argmax())]
    nudge = pair.nudge
    # Each cross-selection fold is evaluated with the pair chosen on the other: the best of many is too good on its own.
    cross_selection = problem.folds.cross_selection[positions(problem, problem.full)]
    suited = [
        list(pairs.values())[int(objectives[:, cross_selection == side].mean(axis=1).argmax())]
        for side in (False, True)
    ]
    seen = np.where(cross_selection, suited[0].scores.seen, suited[1].scores.seen)
    unseen = problem.nudged(maps.unseen(key), _again(problem, nudge)).per_query.unseen
    return [
        FittedCandidate("query-map+nudge", f"{name}+{nudge.method}", QueryScores(seen, unseen), nudge, maps.of(key))
    ]


def pairs_of_ridge(problem: Problem, maps: QueryMaps) -> dict[Setting, Pair]:
    """Search for the map that is best with a nudge; return all pairs visited, none where the first gains nothing."""
    strengths = [part * maps.setting.strength for part in _PARTS]
    start = maps.setting._replace(strength=_FIRST_PART * maps.setting.strength)
    options = _options_of_pairs(problem)
    first = problem.nudged(maps.seen(start), options)
    if first.status != "improved":
        return {}
    # All share a method, so that most of them cost one direction.
    options = replace(options, method=first.method, temperature=first.temperature)
    pairs: dict[Setting, Pair] = {}

    def value(point: tuple[float, ...]) -> float:
        setting = Setting(*point)
        loss_to_others = maps.evaluate(setting).loss_to_others
        if loss_to_others < 0.0:
            return loss_to_others
        nudge = first if setting == start else problem.nudged(maps.seen(setting), options)
        pairs[setting] = _pair(problem, maps, setting, nudge)
        return pairs[setting].value(options.unseen_weight)

    coordinate_search((strengths, TEMPERATURES, WHITENINGS, (start.penalty,)), start, value, rounds=1)
    return pairs


def pairs_in_steps(problem: Problem, maps: StepMaps) -> dict[int, Pair]:
    """Take fewer steps as long as they are better with a nudge; return all pairs visited."""
    options = _options_of_pairs(problem)
    pairs: dict[int, Pair] = {}

    def value(steps: int) -> float:
        pairs[steps] = _pair(problem, maps, steps, problem.nudged(maps.seen(steps), options))
        return pairs[steps].value(options.unseen_weight)

    line_search(list(maps.adapted), maps.steps, value)
    return pairs


def _options_of_pairs(problem: Problem) -> Options:
    """Return the options for the nudge of a pair: the method of the best nudge alone, if there is one.

    The pair is guarded against doing nothing; beside the map alone it only must not be a coincidence.
    """
    options, alone = problem.options, problem.nudge
    options = replace(options, standard_errors=min(1.0, options.standard_errors))
    return (
        replace(options, method=alone.method, temperature=alone.temperature) if alone.status == "improved" else options
    )


def _pair(problem: Problem, maps: _Maps[Key], key: Key, nudge: Solution) -> Pair:
    """Evaluate each query by documents and maps that were fitted without it.

    Leave-one-out of the nudge alone is too optimistic: the maps that adapt the other queries were fitted to the
    held-out one as well.
    """
    rows = nudge.per_query.rows
    if nudge.status != "improved":
        return Pair(nudge, QueryScores(nudge.per_query.score, nudge.per_query.unseen))
    places = positions(problem, problem.full)
    scores = QueryScores(np.zeros(len(rows)), np.zeros(len(rows)))
    for fold, queries in maps.held_out_folds(key):
        inside = fold[places]
        if inside.any():
            results = problem.nudged(queries, _again(problem, nudge), rows[inside]).per_query
            scores.seen[inside], scores.unseen[inside] = results.score, results.unseen
    return Pair(nudge, scores)


def _again(problem: Problem, nudge: Solution) -> Options:
    return replace(problem.options, method=nudge.method, temperature=nudge.temperature, step=nudge.step, progress=False)
