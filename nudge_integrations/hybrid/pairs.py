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

from nudge_integrations.adaptor.choice import climb, walk
from nudge_integrations.adaptor.ridge import TEMPERATURES
from nudge_integrations.hybrid.maps import QueryMaps
from nudge_integrations.hybrid.problem import Problem, positions
from nudge_integrations.hybrid.settings import WHITENINGS, Key, Setting
from nudge_integrations.hybrid.steps import StepMaps
from nudge_integrations.hybrid.trial import Trial, Worth
from nudge_integrations.solver import Solution
from nudge_integrations.solver._plan import Plan

__all__ = ["best_pair", "pairs_in_steps", "pairs_of_ridge"]

Key_contra = TypeVar("Key_contra", contravariant=True)

# Strengths of the best map alone that are tried before a nudge, which does a part of the work and for some documents
# better; and where the search begins.
_PARTS = (0.5, 1.0, 0.25)
_FIRST_PART = 0.5


@dataclass(frozen=True, eq=False)
class Pair:
    """A nudge towards queries that a map has adapted.

    Attributes:
        nudge: The documents moved.
        worth: Of the judged queries.
    """

    nudge: Solution
    worth: Worth

    def value(self, unseen_weight: float) -> float:
        """Return the mean of the objective."""
        return float(self.worth.objective(unseen_weight).mean())


class _Maps(Protocol[Key_contra]):
    """Maps of one kind, told apart by a key; see `QueryMaps`."""

    def of(self, key: Key_contra, /) -> torch.Tensor: ...

    def seen(self, key: Key_contra, /) -> torch.Tensor: ...

    def unseen(self, key: Key_contra, /) -> torch.Tensor: ...

    def left_out(self, key: Key_contra, /) -> Iterable[tuple[NDArray[np.bool_], torch.Tensor]]: ...


def best_pair(problem: Problem, name: str, maps: _Maps[Key], pairs: Mapping[Key, Pair]) -> list[Trial]:
    """Return the best of some nudges towards queries that were adapted by maps fitted without each."""
    pairs = {key: pair for key, pair in pairs.items() if pair.nudge.status == "improved"}
    if not pairs:
        return []
    objectives = np.stack([pair.worth.objective(problem.plan.unseen_weight) for pair in pairs.values()])
    key, pair = list(pairs.items())[int(objectives.mean(axis=1).argmax())]
    nudge = pair.nudge
    # Each half of the queries is judged by the pair that suits the other: the best of many looks too good to its own.
    halves = problem.folds.halves[positions(problem, problem.ranking)]
    suited = [list(pairs.values())[int(objectives[:, halves == side].mean(axis=1).argmax())] for side in (False, True)]
    seen = np.where(halves, suited[0].worth.seen, suited[1].worth.seen)
    unseen = problem.nudged(maps.unseen(key), _again(problem, nudge)).per_query.unseen
    return [Trial("adaptor+nudge", f"{name}+{nudge.method}", Worth(seen, unseen), nudge, maps.of(key))]


def pairs_of_ridge(problem: Problem, maps: QueryMaps) -> dict[Setting, Pair]:
    """Climb to the map that is best with a nudge; return all pairs on the way, none where the first gains nothing."""
    strengths = [part * maps.setting.strength for part in _PARTS]
    start = maps.setting._replace(strength=_FIRST_PART * maps.setting.strength)
    plan = _plan_of_pairs(problem)
    first = problem.nudged(maps.seen(start), plan)
    if first.status != "improved":
        return {}
    # All share a method, so that most of them cost one direction.
    plan = replace(plan, method=first.method, temperature=first.temperature)
    pairs: dict[Setting, Pair] = {}

    def value(point: tuple[float, ...]) -> float:
        setting = Setting(*point)
        harm = maps.judge(setting).harm
        if harm < 0.0:
            return harm
        nudge = first if setting == start else problem.nudged(maps.seen(setting), plan)
        pairs[setting] = _pair(problem, maps, setting, nudge)
        return pairs[setting].value(plan.unseen_weight)

    climb((strengths, TEMPERATURES, WHITENINGS, (start.penalty,)), start, value, rounds=1)
    return pairs


def pairs_in_steps(problem: Problem, maps: StepMaps) -> dict[int, Pair]:
    """Take fewer steps as long as they are better with a nudge; return all pairs on the way."""
    plan = _plan_of_pairs(problem)
    pairs: dict[int, Pair] = {}

    def value(steps: int) -> float:
        pairs[steps] = _pair(problem, maps, steps, problem.nudged(maps.seen(steps), plan))
        return pairs[steps].value(plan.unseen_weight)

    walk(list(maps.adapted), maps.steps, value)
    return pairs


def _plan_of_pairs(problem: Problem) -> Plan:
    """Return a plan for the nudge of a pair: as documents move best alone, where they do.

    The pair is guarded against doing nothing; beside the map alone it needs no more than to be no coincidence.
    """
    plan, alone = problem.plan, problem.nudge
    plan = replace(plan, standard_errors=min(1.0, plan.standard_errors))
    return replace(plan, method=alone.method, temperature=alone.temperature) if alone.status == "improved" else plan


def _pair(problem: Problem, maps: _Maps[Key], key: Key, nudge: Solution) -> Pair:
    """Judge each query by documents and maps that have not seen it.

    Leave-one-out of the nudge alone is too kind: the maps that adapt the other queries, towards which documents move,
    were fitted to the one left out as well.
    """
    rows = nudge.per_query.rows
    if nudge.status != "improved":
        return Pair(nudge, Worth(nudge.per_query.score, nudge.per_query.unseen))
    places = positions(problem, problem.ranking)
    worth = Worth(np.zeros(len(rows)), np.zeros(len(rows)))
    for fold, queries in maps.left_out(key):
        inside = fold[places]
        if inside.any():
            found = problem.nudged(queries, _again(problem, nudge), rows[inside]).per_query
            worth.seen[inside], worth.unseen[inside] = found.score, found.unseen
    return Pair(nudge, worth)


def _again(problem: Problem, nudge: Solution) -> Plan:
    return replace(problem.plan, method=nudge.method, temperature=nudge.temperature, step=nudge.step, progress=False)
