"""A nudge after a map: documents move towards queries adapted by the map that is best with it.

Each query that moves documents is adapted by a map fitted without it, as new queries will be. Leave-one-out of the
nudge alone would be too kind: the maps that adapt the *other* queries, towards which documents move, were fitted to the
one left out as well. So pairs are compared by folds of queries whose labels no map has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus.threads import in_threads
from nudge_integrations.query_map.ridge import Setting
from nudge_integrations.selection.map_search import EvaluatedSetting, FoundMap, MapSearch
from nudge_integrations.solver import Prepared
from nudge_integrations.solver.decision import QueryScores, gain_and_error
from nudge_integrations.solver.labels import EvaluationQueries, Labels
from nudge_integrations.solver.nudge_search import NudgeResult, evaluated_by, search_nudges, target_of
from nudge_integrations.solver.sweep import Sweep

__all__ = ["FoundPair", "Static", "adapted_labels", "fold_scores", "search_pair", "unseen_scores"]

# Parts of a map's strength alone that are tried before a nudge, which does some of its work, for some documents better.
# A map serves documents that nobody labelled too, so that less of it has to be better by more than a standard error.
_PARTS = (1.0, 0.5)

Static = Callable[[NDArray[np.int64], torch.Tensor], tuple[NDArray[np.float64], NDArray[np.int64]]]
"""Takes places among the evaluation queries (p,) and their adapted vectors (p, d); returns scores and rows (p, k) of
the best documents that nobody labelled."""


@dataclass(frozen=True, eq=False)
class FoundPair:
    """A map, and a nudge towards the queries that it adapts.

    Attributes:
        kind: Which kind of map it is.
        setting: The map's setting.
        strength: Its strength.
        nudge: The documents moved.
        labels: The labels with mapped queries, towards which they move.
        baseline: (p,) float64, the metric of the compared queries as they are.
        seen: (p,) float64, the metric of the compared queries, by folds.
        static_rows: (p, k) int64, the best documents of their pools that nobody labelled, by folds.
        objective: (p,) float64, what is maximised.
        attempts: How many it is the best of: maps by the same queries, and strengths of the best.
        beats: Whether it is better than each of its rivals by more than a standard error.
    """

    kind: str
    setting: Setting
    strength: float
    nudge: NudgeResult
    labels: Labels
    baseline: NDArray[np.float64]
    seen: NDArray[np.float64]
    static_rows: NDArray[np.int64]
    objective: NDArray[np.float64]
    attempts: int = 1
    beats: bool = True


def search_pair(
    search: MapSearch,
    found: FoundMap,
    alone: NudgeResult,
    only: str | None,
    *,
    alone_gains: bool,
    rivals: Sequence[NDArray[np.float64]] = (),
) -> FoundPair | None:
    """Return the pair of the best map with a nudge; None where no nudge gains after the map.

    Args:
        search: What maps are made and compared with.
        found: The best map alone.
        alone: The best nudge alone.
        only: The only way in which documents may move; None for any.
        alone_gains: Whether that gains; after a map documents then move in the same way, else in the best way.
        rivals: (p,) float64 each, the objective of what is simpler and may win too, by the compared queries.
    """
    options = search.prepared.options
    method = alone.candidate.method
    temperatures: tuple[float | None, ...] = (alone.candidate.temperature,)
    if only not in (None, method):
        method = str(only)
        temperatures = tuple(
            one for one in replace(options, method=only).temperatures if (one is None) == (only == "nudge-n")
        )
    elif not alone_gains:
        method, temperatures = "auto", options.temperatures
    tried = (_pair(search, found.best, part * found.best.strength, (method, temperatures)) for part in _PARTS)
    best = None
    for pair in tried:
        if pair is not None and (best is None or _surely_better(search, pair, best.objective)):
            best = pair
    if best is None:
        return None
    beats = all(_surely_better(search, best, rival) for rival in rivals)
    return replace(best, attempts=len(_PARTS) * len(found.finalists), beats=beats)


def _surely_better(search: MapSearch, pair: FoundPair, other: NDArray[np.float64]) -> bool:
    groups = search.prepared.evaluation.groups[search.full.rows]
    gain, error = gain_and_error(pair.objective - other, groups)
    return gain > error


def _pair(
    search: MapSearch,
    evaluated: EvaluatedSetting,
    strength: float,
    way: tuple[str, tuple[float | None, ...]],
) -> FoundPair | None:
    """Return the nudge after a map of some strength, evaluated by folds; None where others lose or it gains nothing."""
    setting, prepared, rows = evaluated.setting, search.prepared, search.full.rows
    if not evaluated.allowed(strength):
        return None
    options = replace(prepared.options, method=way[0], step=None, progress=False)
    shifts = search.maps.seen([setting], np.arange(len(search.maps.teaching.rows)))[:, 0]
    labels = adapted_labels(search, setting, strength, shifts)
    static = pool_static(search)
    compared = evaluated_by(replace(prepared, labels=labels), rows)
    labels = compared.labels
    adapted = replace(compared, evaluation=_evaluation(prepared, labels, rows, static))
    nudge = search_nudges(adapted, options, way[1])[0]
    if nudge.candidate.gain <= nudge.candidate.standard_error * min(1.0, options.standard_errors):
        return None
    seen, static_rows = fold_scores(search, setting, strength, nudge, labels.negatives, rows, static)
    objective = seen
    if options.unseen_weight:
        unseen = unseen_scores(search, setting, strength, nudge, labels.negatives, rows, static)
        objective = QueryScores(seen, unseen).objective(options.unseen_weight)
    kind, baseline = evaluated.kind, evaluated.objective.start
    return FoundPair(kind, setting, strength, nudge, labels, baseline, seen, static_rows, objective)


def adapted_labels(search: MapSearch, setting: Setting, strength: float, shifts: torch.Tensor) -> Labels:
    """Return the labels with queries mapped: those that teach by their own shifts (t, d), the others by the map.

    Shifts lie along the axes of the maps.
    """
    labels, rows = search.prepared.labels, torch.from_numpy(search.maps.teaching.rows)
    queries = labels.queries
    if len(rows) < len(queries):
        queries = _unit(queries + strength * (queries @ search.maps.map(setting)))
    adapted = queries.clone()
    adapted[rows] = _unit(labels.queries[rows] + strength * search.maps.as_given(shifts))
    return replace(labels, queries=adapted)


def fold_scores(
    search: MapSearch,
    setting: Setting,
    strength: float,
    nudge: NudgeResult,
    negatives: NDArray[np.int64],
    rows: NDArray[np.int64],
    static: Static,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the metric (p,) of evaluation queries, each by maps and documents that do not know the labels of its fold.

    And the rows (p, k) of the best documents that nobody labelled.
    """
    prepared, scores = search.prepared, np.zeros(len(rows))
    best = np.zeros((len(rows), prepared.options.measured.k), np.int64)

    def add(one: tuple[NDArray[np.bool_], torch.Tensor]) -> None:
        fold, shifts = one
        inside = np.flatnonzero(fold[search.places[rows]])
        if len(inside):
            labels = replace(adapted_labels(search, setting, strength, shifts), negatives=negatives)
            scores[inside], best[inside] = _values(prepared, labels, rows[inside], static, nudge, unseen=False)

    in_threads(add, search.maps.by_fold(setting))
    return scores, best


def unseen_scores(
    search: MapSearch,
    setting: Setting,
    strength: float,
    nudge: NudgeResult,
    negatives: NDArray[np.int64],
    rows: NDArray[np.int64],
    static: Static,
) -> NDArray[np.float64]:
    """Return the metric (p,) of evaluation queries as if nobody had labelled the documents relevant to them."""
    shifts = search.maps.unseen([setting], np.arange(len(search.maps.teaching.rows)))[:, 0]
    labels = replace(adapted_labels(search, setting, strength, shifts), negatives=negatives)
    return _values(search.prepared, labels, rows, static, nudge, unseen=True)[0]


def pool_static(search: MapSearch) -> Static:
    """Return what looks for documents that nobody labelled in the pools of queries."""
    prepared, evaluator = search.prepared, search.full
    k, labelled, nowhere = prepared.options.measured.k, prepared.labels.rows, len(prepared.corpus)

    def static(rows: NDArray[np.int64], adapted: torch.Tensor) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        return evaluator.best_static(np.searchsorted(evaluator.rows, rows), adapted, labelled, k, nowhere)

    return static


def _evaluation(prepared: Prepared, labels: Labels, rows: NDArray[np.int64], static: Static) -> EvaluationQueries:
    evaluation = prepared.evaluation.take(rows)
    queries = labels.queries[torch.from_numpy(prepared.evaluation_rows[rows])]
    scores, found = static(rows, queries)
    return replace(evaluation, queries=queries, scores=scores, rows=found)


def _values(
    prepared: Prepared, labels: Labels, rows: NDArray[np.int64], static: Static, nudge: NudgeResult, *, unseen: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the metric (p,) at a nudge's step of documents that move towards other labels' queries in the same way.

    And the rows (p, k) of the best documents that nobody labelled.
    """
    options, evaluation = prepared.options, _evaluation(prepared, labels, rows, static)
    # The softmax's normalisers are those of the nudge that is served.
    targets = target_of(labels, nudge.targets.direction, nudge.candidate.method, options)
    sweep = Sweep(labels, evaluation, options.measured, options.block_bytes)
    return sweep.values(targets, nudge.parameter, unseen=unseen), evaluation.rows


def _unit(queries: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(queries, dim=1)
