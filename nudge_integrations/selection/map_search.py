"""The query map that serves queries best that did not teach it: settings compared on pools, strengths searched exactly.

A linear map is fitted to all queries at once, so it may only memorise their style or their topics. Two clusters of the
queries tell: each is served by the map of the other, and may lose next to nothing, however much is gained within.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.query_map.iterated import IteratedMaps
from nudge_integrations.query_map.ridge import RidgeMaps, Setting
from nudge_integrations.query_map.teaching import Teaching, teaching_of
from nudge_integrations.selection.pool_evaluator import STRENGTH, PoolEvaluator
from nudge_integrations.selection.strength_grid import STRENGTHS, StrengthGrid
from nudge_integrations.solver import Prepared
from nudge_integrations.solver.curve import Bound, best_step, mixed
from nudge_integrations.solver.decision import mean
from nudge_integrations.solver.nudge_search import coarse_rows
from nudge_integrations.solver.rank_changes import RankChanges

__all__ = ["TEMPERATURES", "WHITENINGS", "EvaluatedSetting", "FoundMap", "MapSearch", "search_map"]

TEMPERATURES, WHITENINGS, PENALTIES = (0.1, 0.05, 0.03), (1.0, 0.1, 0.03), (0.001, 0.01, 0.1, 1.0)

# Queries of another cluster may lose a tenth of a point.
TOLERATED = 0.001

# Settings are first compared by about so many groups of queries, fewer where each has many relevant documents; so many
# of the best are then searched exactly.
_FEWEST, _MOST, _COMPARED, _FINALISTS = 512, 2048, 8192, 2

# So many settings are tried on other clusters at a time.
_AT_ONCE = 6

# Strengths are searched exactly up to that of the grid so many places behind its best.
_BEYOND = 3

# The numbers of steps that are tried one after another, and the penalty of each.
_STEPS, _STEP_PENALTY = (2, 3, 4), 0.1

# Documents of either kind in their softmax: every step takes it anew, so that they are fewer than for one step.
_STEP_SUPPORT = 1024


Shifts = Callable[[Sequence[Setting], NDArray[np.int64]], torch.Tensor]
"""Takes settings (s,) and places among the teaching queries (p,); returns what they are shifted by, (p, s, d)."""


@dataclass(frozen=True, eq=False)
class EvaluatedSetting:
    """A setting, with the exact best of its strengths.

    Attributes:
        setting: The setting.
        parameter: The strength in the path's own parameter; 0 where none helps.
        objective: The metric of queries that did not teach the map, along the strength.
        seen: The same for queries as they are asked.
        bounds: What others may lose.
        end: The parameter up to which strengths were searched.
    """

    setting: Setting
    parameter: float
    objective: RankChanges
    seen: RankChanges
    bounds: tuple[Bound, ...]
    end: float

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
        parameter = best_step(STRENGTH, part, self.bounds, self.end)
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
    """The maps of all settings, and the queries that they are compared by.

    Attributes:
        prepared: The labels and the pools.
        maps: The maps of every setting.
        full: All evaluation queries that settings are compared by.
        grid: Some of them, for many settings at a few strengths.
        places: (e,) int64, where the evaluation queries are among the teaching ones.
        learner: The teaching queries with the documents of the softmax for several steps.
    """

    prepared: Prepared
    maps: RidgeMaps
    full: PoolEvaluator
    grid: StrengthGrid
    places: NDArray[np.int64]
    learner: Teaching

    @classmethod
    def of(cls, prepared: Prepared, rows: NDArray[np.int64]) -> MapSearch:
        """Set up a search that compares by some of the evaluation queries."""
        options = prepared.options
        teaching = teaching_of(prepared)
        maps = RidgeMaps.of(teaching, prepared.covariance, options.seed, TEMPERATURES, options.block_bytes)
        full = PoolEvaluator.of(prepared, rows, maps.axes)
        relevant = int(full.paths.relevant.sum()) / max(1, len(rows))
        most = max(_FEWEST, min(_MOST, int(_COMPARED / (1.0 + relevant))))
        some = coarse_rows(prepared.evaluation.groups[rows], options.seed, most)
        places = np.searchsorted(teaching.rows, prepared.evaluation_rows)
        learner = teaching.with_support(prepared, _STEP_SUPPORT).turned(maps.axes)
        grid = StrengthGrid.of(full, prepared, some)
        return cls(prepared, maps, full, grid, places, learner)

    def gains(self, settings: Sequence[Setting]) -> NDArray[np.float64]:
        """Return how much settings gain at the strengths of the grid, (s, g), whatever it costs others."""
        weight = self.prepared.options.unseen_weight
        seen: NDArray[np.float64] = self._risen(self.maps.seen, settings).mean(axis=2)
        if not weight:
            return seen
        unseen = self._risen(self.maps.unseen, settings)
        # Where they are protected, queries for documents that nobody labelled must surely gain.
        error = unseen.std(axis=2) / np.sqrt(unseen.shape[2])
        lost = self.prepared.options.protects_unseen & (unseen.mean(axis=2) < error)
        return np.where(lost, 0.0, (1.0 - weight) * seen + weight * unseen.mean(axis=2))

    def best_of(
        self, settings: Sequence[Setting], gains: NDArray[np.float64], count: int
    ) -> list[tuple[Setting, float]]:
        """Return the settings that gain most at a strength that other clusters can bear, with it, the best first."""
        most = gains.max(axis=1)
        order = np.argsort(-most, kind="stable")
        found: list[tuple[float, Setting, float]] = []
        for start in range(0, len(order), _AT_ONCE):
            part = order[start : start + _AT_ONCE]
            if most[part[0]] <= 0.0 or (len(found) >= count and found[count - 1][0] >= most[part[0]]):
                break
            lost = self._risen(self.maps.other_cluster, [settings[place] for place in part]).mean(axis=2) < -TOLERATED
            for place, allowed in zip(part, np.where(lost, 0.0, gains[part]), strict=True):
                found.append((float(allowed.max()), settings[place], STRENGTHS[int(allowed.argmax())]))
            found = sorted((one for one in found if one[0] > 0.0), key=lambda one: -one[0])
        return [(setting, strength) for _, setting, strength in found[:count]]

    def _risen(self, shifts: Shifts, settings: Sequence[Setting]) -> NDArray[np.float64]:
        """Return by how much each query's metric rises, (s, g, p)."""
        places = self.places[self.grid.rows]

        def block(part: slice) -> torch.Tensor:
            return shifts(settings, places[part])

        # Queries for one document are left out together, for which some of them would cost as much as all.
        every = shifts(settings, places) if shifts == self.maps.unseen else None
        risen = self.grid.values(block if every is None else every.__getitem__)
        return risen - self.grid.unmapped[None, None]

    def evaluated(self, setting: Setting, near: float) -> EvaluatedSetting:
        """Return a setting at the exact best of its strengths, by all queries, where the grid's best is near."""
        maps, evaluator, options = self.maps, self.full, self.prepared.options
        places, weight = self.places[evaluator.rows], options.unseen_weight
        beyond = STRENGTHS.index(near) + _BEYOND
        end = STRENGTH.parameter(STRENGTHS[beyond]) if beyond < len(STRENGTHS) else STRENGTH.limit

        def changes(shifts: Shifts) -> RankChanges:
            return evaluator.changes(shifts([setting], places)[:, 0], end)

        seen = changes(maps.seen)
        unseen = changes(maps.unseen) if weight else None
        bounds = [Bound(changes(maps.other_cluster), TOLERATED)]
        if unseen is not None and options.protects_unseen:
            bounds.append(Bound(unseen, 0.0, 1.0))
        objective = mixed(seen, unseen, weight)
        parameter = best_step(STRENGTH, objective, bounds, end)
        return EvaluatedSetting(setting, parameter, objective, seen, tuple(bounds), end)


def search_map(search: MapSearch, kinds: Sequence[str] = ("ridge", "iterated-ridge")) -> FoundMap | None:
    """Return the map of some kinds that is best for queries that did not teach it; None where none helps."""
    settings = [Setting(*one) for one in product(TEMPERATURES, WHITENINGS, PENALTIES)]
    settings.sort(key=lambda one: (one.responses, one.penalty))
    gains = search.gains(settings)
    best = search.best_of(settings, gains, _FINALISTS)
    if not best:
        return None
    chosen = best if "ridge" in kinds else []
    if "iterated-ridge" in kinds:
        start = best[0][0]._replace(penalty=_STEP_PENALTY)
        least = float(gains[settings.index(start)].max()) if "ridge" in kinds else 0.0
        chosen = [*chosen, *_in_steps(search, start, least)]
    finalists = sorted((search.evaluated(*one) for one in chosen), key=lambda one: -one.gain)
    finalists = [one for one in finalists if one.gain > 0.0]
    return _cross_selected(search, finalists) if finalists else None


def _in_steps(search: MapSearch, start: Setting, least: float) -> list[tuple[Setting, float]]:
    """Return the setting of as many steps as each is better than the one before, and its strength, if there is one."""
    steps = IteratedMaps(search.maps, search.learner, start, search.prepared.options.block_bytes)
    found = list[tuple[Setting, float]]()
    for count in _STEPS:
        setting = start._replace(responses=(start.responses, count))
        search.maps.iterated[setting] = steps.after(count)
        gains = search.gains([setting])
        if gains.max() <= least:
            break
        found, least = search.best_of([setting], gains, 1), float(gains.max())
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
    best, grid = finalists[0], search.grid
    at_rest = search.maps.unseen([best.setting], search.places[grid.rows])
    unseen = grid.values(lambda part: at_rest[part], (best.strength,))
    (outside, at_outside), (inside, at_inside) = chosen
    return FoundMap(
        tuple(finalists),
        ((outside.setting, at_outside), (inside.setting, at_inside)),
        seen,
        objective,
        float(unseen.mean()),
        best.seen.start,
    )
