"""A nudge after a map: documents move towards queries adapted by the map that is best with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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


def _milder(plan: Plan) -> Plan:
    """Return a plan for the nudge of a pair.

    The pair is guarded against doing nothing; beside the map alone it needs no more than to be no coincidence.
    """
    return replace(plan, standard_errors=min(1.0, plan.standard_errors))


class _Maps(Protocol[Key_contra]):
    """Maps of one kind, told apart by a key; see `QueryMaps`."""

    def of(self, key: Key_contra, /) -> torch.Tensor: ...

    def unseen(self, key: Key_contra, /) -> torch.Tensor: ...


def best_pair(problem: Problem, name: str, maps: _Maps[Key], pairs: Mapping[Key, Solution]) -> list[Trial]:
    """Return the best of some nudges towards queries that were adapted by maps fitted without each."""
    pairs = {key: nudge for key, nudge in pairs.items() if nudge.status == "improved"}
    if not pairs:
        return []
    objectives = np.stack([_objective(nudge, problem.plan) for nudge in pairs.values()])
    key, nudge = list(pairs.items())[int(objectives.mean(axis=1).argmax())]
    # Each half of the queries is judged by the pair that suits the other: the best of many looks too good to its own.
    halves = problem.folds.halves[positions(problem, problem.ranking)]
    suited = [list(pairs.values())[int(objectives[:, halves == side].mean(axis=1).argmax())] for side in (False, True)]
    seen = np.where(halves, suited[0].per_query.score, suited[1].per_query.score)
    fixed = replace(problem.plan, method=nudge.method, temperature=nudge.temperature, step=nudge.step)
    unseen = problem.nudged(maps.unseen(key), fixed).per_query.unseen
    return [Trial("adaptor+nudge", f"{name}+{nudge.method}", Worth(seen, unseen), nudge, maps.of(key))]


def pairs_of_ridge(problem: Problem, maps: QueryMaps) -> dict[Setting, Solution]:
    """Climb to the map that is best with a nudge; return all nudges on the way, none where the first gains nothing."""
    plan = _milder(problem.plan)
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


def pairs_in_steps(problem: Problem, maps: StepMaps) -> dict[int, Solution]:
    """Take fewer steps as long as they are better with the nudge that is best alone; return all nudges on the way."""
    plan, alone = _milder(problem.plan), problem.nudge
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
