"""The query map that serves queries best that did not teach it: settings compared on pools, strengths searched exactly.

A linear map is fitted to all queries at once, so it may only memorise their style or their topics. Two clusters of the
queries tell: each is served by the map of the other, and may lose next to nothing, however much is gained within.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.query_map.iterated import iterated_maps
from nudge_integrations.query_map.ridge import RidgeMaps, Setting
from nudge_integrations.query_map.teaching import teaching_of
from nudge_integrations.selection.pool_evaluator import STRENGTH, PoolEvaluator
from nudge_integrations.solver import Prepared
from nudge_integrations.solver.curve import Bound, best_step, mixed
from nudge_integrations.solver.decision import QueryScores, mean
from nudge_integrations.solver.nudge_search import coarse_rows
from nudge_integrations.solver.rank_changes import RankChanges

__all__ = ["TEMPERATURES", "WHITENINGS", "EvaluatedSetting", "FoundMap", "MapSearch", "search_map"]

TEMPERATURES, WHITENINGS, PENALTIES = (0.1, 0.05, 0.03), (1.0, 0.1, 0.03), (0.001, 0.01, 0.1, 1.0)
_START = Setting(0.05, 0.1, 0.1)

# Queries of another cluster may lose a tenth of a point.
TOLERATED = 0.001

# How many groups of queries, on pools of which depth, settings are first compared by; how many of the best by all.
_COARSE, _DEPTH, _FINALISTS = 384, 64, 3

# The numbers of steps that are tried one after another, and the penalty of each.
_STEPS, _STEP_PENALTY = (2, 3, 4, 6, 8), 0.1

# Documents of either kind in their softmax: every step takes it anew, so that they are fewer than for one step.
_STEP_SUPPORT = 1024


@dataclass(frozen=True, eq=False)
class EvaluatedSetting:
    """A setting, with the exact best of its strengths.

    Attributes:
        setting: The setting.
        parameter: The strength in the path's own parameter; 0 where none helps.
        objective: The metric of queries that did not teach the map, along the strength.
        seen: The same for queries as they are asked.
        bounds: What others may lose.
    """

    setting: Setting
    parameter: float
    objective: RankChanges
    seen: RankChanges
    bounds: tuple[Bound, ...]

    @property
    def strength(self) -> float:
        """The strength u."""
        return float(STRENGTH.steps(np.array(self.parameter)))

    @property
    def gain(self) -> float:
        """How much the mean objective rises at the strength."""
        return mean(self.objective.at(self.parameter) - self.objective.start)

    def allowed(self, strength: float) -> bool:
        """Return whether nobody loses more than tolerated at a strength."""
        at = STRENGTH.parameter(strength)
        return all(mean(bound.changes.at(at) - bound.changes.start) >= -bound.loss for bound in self.bounds)

    def best_for(self, queries: NDArray[np.bool_]) -> tuple[float, float]:
        """Return the strength's parameter that is best for some of the queries (e,), and their gain."""
        part = self.objective.only(queries)
        parameter = best_step(STRENGTH, part, self.bounds, STRENGTH.limit)
        return parameter, mean(part.at(parameter) - part.start)


@dataclass(frozen=True, eq=False)
class FoundMap:
    """The best query map, and what it is worth.

    Attributes:
        best: Its setting and strength, by all evaluation queries.
        for_halves: The setting and the strength's parameter that suit the queries outside and inside the half.
        scores: (e,) each, each half of the queries served by what suits the other; on pools.
        baseline: (e,) float64, the metric of the queries as they are.
    """

    best: EvaluatedSetting
    for_halves: tuple[tuple[Setting, float], tuple[Setting, float]]
    scores: QueryScores
    baseline: NDArray[np.float64]


@dataclass(eq=False)
class MapSearch:
    """What settings are compared with.

    Attributes:
        prepared: The labels and the pools.
        maps: The maps of every setting.
        full: All evaluation queries that settings are compared by.
        coarse: Some of them.
        places: (e,) int64, where the evaluation queries are among the teaching ones.
    """

    prepared: Prepared
    maps: RidgeMaps
    full: PoolEvaluator
    coarse: PoolEvaluator
    places: NDArray[np.int64]
    _known: dict[tuple[int, Setting], EvaluatedSetting] = field(default_factory=dict)

    @classmethod
    def of(cls, prepared: Prepared, rows: NDArray[np.int64]) -> MapSearch:
        """Set up a search that compares by some of the evaluation queries."""
        options = prepared.options
        teaching = teaching_of(prepared)
        maps = RidgeMaps.of(teaching, prepared.covariance, options.seed)
        maps.responses.update(
            teaching.residuals(teaching.queries, teaching.positives, TEMPERATURES, options.block_bytes)
        )
        full = PoolEvaluator.of(prepared, rows)
        some = coarse_rows(prepared.evaluation.groups[rows], options.seed, _COARSE)
        places = np.searchsorted(teaching.rows, prepared.evaluation_rows)
        return cls(prepared, maps, full, full.some(some, _DEPTH), places)

    def first(self) -> EvaluatedSetting:
        """Return the setting that the search starts from."""
        return self.evaluated(_START, self.coarse)

    def evaluated(self, setting: Setting, evaluator: PoolEvaluator, least: float = 0.0) -> EvaluatedSetting:
        """Return a setting at its best strength; one that gains no more than ``least`` is not looked at further."""
        key = (id(evaluator), setting)
        if key not in self._known:
            self._known[key] = self._evaluated(setting, evaluator, least)
        return self._known[key]

    def _evaluated(self, setting: Setting, evaluator: PoolEvaluator, least: float) -> EvaluatedSetting:
        options, places = self.prepared.options, self.places[evaluator.rows]
        weight = options.unseen_weight
        seen = evaluator.changes(self.maps.seen(setting, places))
        unseen = evaluator.changes(self.maps.unseen(setting, places)) if weight else None
        objective = mixed(seen, unseen, weight)
        parameter = best_step(STRENGTH, objective, (), STRENGTH.limit)
        if mean(objective.at(parameter) - objective.start) <= least:
            return EvaluatedSetting(setting, 0.0, objective, seen, ())
        bounds = [Bound(evaluator.changes(self.maps.other_cluster(setting, places)), TOLERATED)]
        if unseen is not None and options.protects_unseen:
            bounds.append(Bound(unseen, 0.0, 1.0))
        parameter = best_step(STRENGTH, objective, bounds, STRENGTH.limit)
        return EvaluatedSetting(setting, parameter, objective, seen, tuple(bounds))

    def best_of(self, settings: Iterable[Setting], evaluator: PoolEvaluator) -> list[EvaluatedSetting]:
        """Return settings at their best strengths, the best first."""
        found = [self.evaluated(setting, evaluator) for setting in settings]
        return sorted(found, key=lambda one: -one.gain)


def search_map(search: MapSearch, kinds: Sequence[str] = ("ridge", "iterated-ridge")) -> FoundMap | None:
    """Return the map of some kinds that is best for queries that did not teach it; None where none helps."""
    tried = _coordinate_search(search)
    best = max(tried, key=lambda one: one.gain)
    if best.gain <= 0.0:
        return None
    steps = _in_steps(search, best) if "iterated-ridge" in kinds else []
    ranked = sorted((one for one in tried if one.gain > 0.0), key=lambda one: -one.gain)
    ranked = ranked[:_FINALISTS] if "ridge" in kinds else []
    finalists = search.best_of((one.setting for one in (*ranked, *steps[-2:])), search.full)
    finalists = [one for one in finalists if one.gain > 0.0]
    return _cross_selected(search, finalists) if finalists else None


def _coordinate_search(search: MapSearch) -> list[EvaluatedSetting]:
    """Go along one setting after another as long as something improves; return all that was tried."""
    best = search.first()
    tried = {best.setting: best}
    improved = True
    while improved:
        improved = False
        for name, options in zip(Setting._fields, (TEMPERATURES, WHITENINGS, PENALTIES), strict=True):
            for option in options:
                setting = best.setting._replace(**{name: option})
                if setting not in tried:
                    tried[setting] = search.evaluated(setting, search.coarse, best.gain)
                    if tried[setting].gain > best.gain:
                        best, improved = tried[setting], True
    return list(tried.values())


def _in_steps(search: MapSearch, one_step: EvaluatedSetting) -> list[EvaluatedSetting]:
    """Return maps in several steps, as long as each number of steps is better than the one before."""
    temperature = one_step.setting.responses
    if not isinstance(temperature, float):
        return []
    options, best = search.prepared.options, 0.0
    start = one_step.setting._replace(penalty=_STEP_PENALTY)
    learner = teaching_of(search.prepared, _STEP_SUPPORT)
    found: list[EvaluatedSetting] = []
    for maps in islice(iterated_maps(search.maps, learner, start, options.block_bytes), _STEPS[-1]):
        if maps.steps not in _STEPS:
            continue
        setting = start._replace(responses=(temperature, maps.steps))
        search.maps.iterated[setting] = maps
        evaluated = search.evaluated(setting, search.coarse, best)
        if evaluated.gain <= best:
            break
        best = evaluated.gain
        found.append(evaluated)
    return found


def _cross_selected(search: MapSearch, finalists: list[EvaluatedSetting]) -> FoundMap:
    """Serve each half of the queries by what suits the other half: the best of many looks too good to its own."""
    evaluator, maps = search.full, search.maps
    places = search.places[evaluator.rows]
    half = maps.teaching.cross_selection[places]
    chosen = []
    for side in (False, True):
        options = [(one, *one.best_for(half == side)) for one in finalists]
        chosen.append(max(options, key=lambda option: option[2])[:2])
    seen = np.where(half, chosen[0][0].seen.at(chosen[0][1]), chosen[1][0].seen.at(chosen[1][1]))
    unseen = [evaluator.changes(maps.unseen(one.setting, places)).at(parameter) for one, parameter in chosen]
    scores = QueryScores(seen, np.where(half, *unseen))
    (outside, at_outside), (inside, at_inside) = chosen
    return FoundMap(
        finalists[0],
        ((outside.setting, at_outside), (inside.setting, at_inside)),
        scores,
        finalists[0].seen.start,
    )
