"""One more search of the corpus: the exact figures of the query map, or the pair, that was chosen on pools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus.metrics import Metric
from nudge_integrations.selection.map_search import FoundMap, MapSearch
from nudge_integrations.selection.pairs import FoundPair, Static, fold_scores, unseen_scores
from nudge_integrations.selection.pool_evaluator import STRENGTH
from nudge_integrations.solver import Prepared
from nudge_integrations.solver.decision import QueryScores
from nudge_integrations.solver.labels import values_of_pairs
from nudge_integrations.solver.pools import best_unlabelled, searched_without

__all__ = ["Confirmed", "confirm_map", "confirm_pair", "mapped_queries"]


@dataclass(frozen=True, eq=False)
class Confirmed:
    """Exact figures.

    Attributes:
        scores: The metric of all evaluation queries (e,) each.
        rows: (e, k) int64, the best documents of the mapped queries in the whole corpus.
    """

    scores: QueryScores
    rows: NDArray[np.int64]


def confirm_map(search: MapSearch, found: FoundMap) -> Confirmed:
    """Return what a map alone is worth: each half of the queries is served by the setting that suits the other."""
    prepared, mapped = search.prepared, mapped_queries(search, found)
    k = min(prepared.options.measured.k, max(1, len(prepared.corpus)))
    ignored = prepared.evaluation.ignored
    twice = None if ignored is None else np.tile(ignored, 2)
    queries = torch.cat(mapped).cpu().numpy()
    rows = searched_without(prepared.corpus, queries, min(k, len(prepared.corpus)), twice)[1]
    seen, unseen = (_metric(prepared, part) for part in np.split(rows, 2))
    return Confirmed(QueryScores(seen, unseen), rows[: len(mapped[0])])


def mapped_queries(search: MapSearch, found: FoundMap) -> list[torch.Tensor]:
    """Return the evaluation queries (e, d) by maps that do not know their labels; and as if nobody had labelled those.

    Each half of the queries goes through the setting that suits the other.
    """
    half = torch.from_numpy(search.maps.teaching.cross_selection[search.places])[:, None]
    mapped = []
    for shifts in (search.maps.seen, search.maps.unseen):
        sides = [
            float(STRENGTH.steps(np.array(at))) * shifts([one], search.places)[:, 0] for one, at in found.for_halves
        ]
        shift = search.maps.as_given(torch.where(half, sides[0], sides[1]))
        mapped.append(torch.nn.functional.normalize(search.prepared.evaluation.queries + shift, dim=1))
    return mapped


def confirm_pair(search: MapSearch, pair: FoundPair) -> Confirmed:
    """Return what a pair is worth: by folds of queries whose labels no map has seen."""
    rows = np.arange(len(search.prepared.evaluation))
    static, best = _searched(search, pair)
    seen = np.zeros(len(rows))
    compared = search.full.rows
    seen[compared] = pair.seen
    # Only where the corpus holds better documents than the pool does the figure change.
    same = np.zeros(len(rows), bool)
    same[compared] = (static(0)(compared, search.prepared.evaluation.queries)[1] == pair.static_rows).all(axis=1)
    again = np.flatnonzero(~same)
    seen[again] = fold_scores(search, pair.setting, pair.strength, pair.nudge, pair.labels.negatives, again, static(0))[
        0
    ]
    unseen = unseen_scores(search, pair.setting, pair.strength, pair.nudge, pair.labels.negatives, rows, static(1))
    return Confirmed(QueryScores(seen, unseen), best)


def _searched(search: MapSearch, pair: FoundPair) -> tuple[Callable[[int], Static], NDArray[np.int64]]:
    """Search once for queries mapped without their folds, and without the documents that are relevant to them."""
    prepared, maps, places = search.prepared, search.maps, search.places
    by_fold = torch.empty_like(prepared.evaluation.queries)
    for fold, shifts in maps.by_fold(pair.setting):
        inside = torch.from_numpy(np.flatnonzero(fold[places]))
        by_fold[inside] = shifts[torch.from_numpy(places)[inside]]
    shifts = maps.as_given(torch.cat([by_fold, maps.unseen([pair.setting], places)[:, 0]]))
    queries = prepared.evaluation.queries.repeat(2, 1)
    mapped = torch.nn.functional.normalize(queries + pair.strength * shifts, dim=1)
    k = min(prepared.options.measured.k, max(1, len(prepared.corpus)))
    depth = prepared.pools.rows.shape[1]
    ignored = None if prepared.evaluation.ignored is None else np.tile(prepared.evaluation.ignored, 2)
    asked = mapped.cpu().numpy()
    scores, rows = best_unlabelled(prepared.corpus, asked, prepared.labels.rows, k, depth, ignored)
    halves = list(zip(np.split(scores, 2), np.split(rows, 2), strict=True))

    def static(part: int) -> Static:
        return lambda of, _: (halves[part][0][of], halves[part][1][of])

    return static, halves[0][1]


def _metric(prepared: Prepared, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the metric (e,) of rankings of corpus rows (e, k)."""
    metric: Metric = prepared.options.measured
    evaluation, query = prepared.evaluation, np.arange(len(rows))[:, None]
    column = prepared.labels.columns_of(rows)
    weight = np.nan_to_num(values_of_pairs(evaluation.gains, evaluation.weights(metric), query, column))
    relevant = weight > 0.0
    rank = np.broadcast_to(np.arange(1, rows.shape[1] + 1), rows.shape)
    value: NDArray[np.float64] = (weight * metric.contribution(rank, np.cumsum(relevant, axis=1))).sum(axis=1)
    return value
