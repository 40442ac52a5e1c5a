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
from nudge_integrations.query_map.teaching import Teaching, teaching_of
from nudge_integrations.selection.pool_evaluator import STRENGTH, PoolEvaluator
from nudge_integrations.solver import Prepared
from nudge_integrations.solver.curve import Bound, best_step, mixed
from nudge_integrations.solver.decision import mean
from nudge_integrations.solver.nudge_search import coarse_rows
from nudge_integrations.solver.rank_changes import RankChanges

__all__ = ["TEMPERATURES", "WHITENINGS", "EvaluatedSetting", "FoundMap", "MapSearch", "search_map"]

TEMPERATURES, WHITENINGS, PENALTIES = (0.1, 0.05, 0.03), (1.0, 0.1, 0.03), (0.001, 0.01, 0.1, 1.0)
_START = Setting(0.05, 0.1, 0.1)

# Queries of another cluster may lose a tenth of a point.
TOLERATED = 0.001

# Settings are first compared by some groups of queries, on pools of some depth, and so many of the best by all. Scores
# of documents and comparisons with relevant ones say how many groups are affordable.
_FEWEST, _MOST, _DEPTH, _FINALISTS = 384, 1024, 64, 2
_SCORES, _COMPARED = 2_500_000, 3000

# The numbers of steps that are tried one after another, and the penalty of each.
_STEPS, _STEP_PENALTY = (2, 3, 4, 6, 8), 0.1

# How many walks of steps are tried, each from the best setting with another whitening.
_WALKS = 1

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
    def kind(self) -> str:
        """``"ridge"``, or ``"iterated-ridge"`` where it took several steps."""
        return "ridge" if isinstance(self.setting.responses, float) else "iterated-ridge"

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
        finalists: The settings that were compared by all queries, with their strengths, the best first.
        for_halves: The setting and the strength's parameter that suit the queries outside and inside the half.
        seen: (e,) float64, the metric of each half of the queries served by what suits the other; on pools.
        objective: (e,) float64, what is maximised.
        unseen: The mean metric as if nobody had labelled the documents that are relevant, of some of the queries.
        baseline: (e,) float64, the metric of the queries as they are.
    """

    finalists: tuple[EvaluatedSetting, ...]
    for_halves: tuple[tuple[Setting, float], tuple[Setting, float]]
    seen: NDArray[np.float64]
    objective: NDArray[np.float64]
    unseen: float
    baseline: NDArray[np.float64]

    @property
    def best(self) -> EvaluatedSetting:
        """The best setting with its strength."""
        return self.finalists[0]


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
            teaching.residuals(teaching.queries, teaching.positives, TEMPERATURES, options.block_bytes).items()
        )
        full = PoolEvaluator.of(prepared, rows)
        relevant = int(full.paths.relevant.sum()) / max(1, len(rows))
        most = max(_FEWEST, min(_MOST, _SCORES // max(1, len(full.table)), int(_COMPARED / (1.0 + relevant))))
        some = coarse_rows(prepared.evaluation.groups[rows], options.seed, most)
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
    steps = _in_steps(search, tried) if "iterated-ridge" in kinds else []
    ranked = sorted((one for one in tried if one.gain > 0.0), key=lambda one: -one.gain)
    ranked = ranked[:_FINALISTS] if "ridge" in kinds else []
    finalists = search.best_of((one.setting for one in (*ranked, *steps)), search.full)
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


def _in_steps(search: MapSearch, tried: list[EvaluatedSetting]) -> list[EvaluatedSetting]:
    """Return maps in several steps: of the best setting, and of the best with another whitening."""
    ranked = sorted(tried, key=lambda one: -one.gain)
    starts = {one.setting.whitening: one for one in reversed(ranked) if one.gain > 0.0}
    first = sorted(starts.values(), key=lambda one: -one.gain)[:_WALKS]
    learner = teaching_of(search.prepared, _STEP_SUPPORT)
    return [found for one in first if (found := _walked(search, learner, one.setting)) is not None]


def _walked(search: MapSearch, learner: Teaching, start: Setting) -> EvaluatedSetting | None:
    """Return the map after as many steps as each is better than the one before; None where the first is not."""
    found, start = None, start._replace(penalty=_STEP_PENALTY)
    steps = iterated_maps(search.maps, learner, start, search.prepared.options.block_bytes)
    for maps in islice(steps, _STEPS[-1]):
        if maps.steps in _STEPS:
            setting = start._replace(responses=(start.responses, maps.steps))
            search.maps.iterated[setting] = maps
            evaluated = search.evaluated(setting, search.coarse, 0.0 if found is None else found.gain)
            if evaluated.gain <= (0.0 if found is None else found.gain):
                break
            found = evaluated
    return found


def _cross_selected(search: MapSearch, finalists: list[EvaluatedSetting]) -> FoundMap:
    """Serve each half of the queries by what suits the other half: the best of many looks too good to its own."""
    half = search.maps.teaching.cross_selection[search.places[search.full.rows]]
    chosen = []
    for side in (False, True):
        options = [(one, *one.best_for(half == side)) for one in finalists]
        chosen.append(max(options, key=lambda option: option[2])[:2])
    seen = np.where(half, *(one.seen.at(parameter) for one, parameter in chosen))
    objective = np.where(half, *(one.objective.at(parameter) for one, parameter in chosen))
    best, some = finalists[0], search.coarse
    unseen = some.changes(search.maps.unseen(best.setting, search.places[some.rows]))
    (outside, at_outside), (inside, at_inside) = chosen
    return FoundMap(
        tuple(finalists),
        ((outside.setting, at_outside), (inside.setting, at_inside)),
        seen,
        objective,
        mean(unseen.at(best.parameter)),
        best.seen.start,
    )
