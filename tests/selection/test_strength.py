"""The strength of a query map, and pools: the exact curve against rankings that are really sorted."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from oracle import Floats, Problem, metric_of, random_problem
from query_map_problems import shifts_of as map_shifts
from selection_problems import Arrays, ndcg, planted, two_topics

from nudge_integrations.selection.map_search import MapSearch, search_map
from nudge_integrations.selection.pool_evaluator import STRENGTH, PoolEvaluator
from nudge_integrations.selection.strength_grid import STRENGTHS, StrengthGrid
from nudge_integrations.solver import Prepared, prepare
from nudge_integrations.solver.curve import Bound, best_step
from nudge_integrations.solver.rank_changes import RankChanges

PROBLEM = random_problem(0, documents=60, queries=40, width=6)
TURN = torch.from_numpy(np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]).float()
GRID = np.linspace(0.0, 1.0, 401)
METRICS = ("hit@3", "recall@5", "precision@5", "mrr@10", "map@10", "ndcg@10")


def prepared_of(problem: Problem = PROBLEM, **options: Any) -> Prepared:
    return prepare(problem.documents, problem.queries, problem.relevance, **options)


def evaluator_of(prepared: Prepared) -> PoolEvaluator:
    return PoolEvaluator.of(prepared, np.arange(len(prepared.evaluation)), TURN)


def shifts_of(seed: int, queries: int = 40) -> Floats:
    found: Floats = np.random.default_rng(seed).normal(size=(queries, 6)).astype(np.float32).astype(np.float64)
    return found


def along_axes(shifts: Floats) -> torch.Tensor:
    return torch.from_numpy(shifts).float() @ TURN


def sorted_out(
    shifts: Floats, strength: float, metric: str = "ndcg@10", pools: NDArray[np.bool_] | None = None
) -> Floats:
    """Return the metric of every query at a strength, each ranked among the documents of its pool (m, n)."""
    scores = (PROBLEM.queries + strength * shifts) @ PROBLEM.documents.T
    if pools is not None:
        scores = np.where(pools, scores, -1e9)
    return np.array([metric_of(row, gains, metric) for row, gains in zip(scores, PROBLEM.gains, strict=True)])


def at(changes: RankChanges, strength: float) -> Floats:
    return changes.at(STRENGTH.parameter(strength))


def steps(parameter: float) -> float:
    return float(STRENGTH.steps(np.array(parameter)))


@pytest.mark.parametrize("metric", METRICS)
def test_the_curve_is_that_of_sorted_rankings_and_its_maximum_is_never_below_a_grids(metric: str) -> None:
    shifts = shifts_of(1)
    changes = evaluator_of(prepared_of(metric=metric)).changes(along_axes(shifts))
    values = [sorted_out(shifts, strength, metric) for strength in GRID]
    for strength, value in zip(GRID, values, strict=True):
        np.testing.assert_allclose(at(changes, strength), value, atol=1e-9)
    best = best_step(STRENGTH, changes, (), STRENGTH.limit)
    assert steps(best) <= 1.0
    reached = sorted_out(shifts, steps(best), metric).mean()
    assert reached == pytest.approx(changes.at(best).mean(), abs=1e-9)
    assert reached >= max(value.mean() for value in values) - 1e-9


def test_no_shift_changes_nothing() -> None:
    changes = evaluator_of(prepared_of()).changes(torch.zeros(40, 6))
    assert best_step(STRENGTH, changes, (), STRENGTH.limit) == 0.0
    np.testing.assert_allclose(changes.at(STRENGTH.limit), sorted_out(np.zeros((40, 6)), 0.0), atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("loss", "standard_errors"), [(0.0, 0.0), (0.02, 0.0), (0.1, 0.0), (0.1, 1.0), (0.2, 1.0)])
def test_the_best_strength_within_bounds_is_never_below_a_grids(seed: int, loss: float, standard_errors: float) -> None:
    evaluator = evaluator_of(prepared_of())
    mine, others = shifts_of(seed), [0.3 * shifts_of(seed + 10), 0.3 * shifts_of(seed + 20)]
    bounds = [Bound(evaluator.changes(along_axes(one)), loss, standard_errors) for one in others]
    best = best_step(STRENGTH, evaluator.changes(along_axes(mine)), bounds, STRENGTH.limit)

    def allowed(strength: float) -> bool:
        lost = [sorted_out(one, strength) - sorted_out(one, 0.0) for one in others]
        errors = [standard_errors * one.std(ddof=1) / np.sqrt(40) for one in lost]
        return all(one.mean() - error >= -loss - 1e-9 for one, error in zip(lost, errors, strict=True))

    values = [sorted_out(mine, strength).mean() for strength in GRID[::4] if strength == 0.0 or allowed(strength)]
    assert best == 0.0 or allowed(steps(best))
    assert sorted_out(mine, steps(best)).mean() >= max(values) - 1e-9


@pytest.mark.parametrize("pool", [10, 17])
def test_a_mapped_query_is_ranked_among_its_pool_and_its_relevant_documents(
    pool: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("nudge_integrations.solver.prepare"), "_POOL", pool)
    prepared, shifts = prepared_of(), shifts_of(3)
    assert not prepared.pools.whole
    base = PROBLEM.queries @ PROBLEM.documents.T
    nearest = np.argsort(np.argsort(-base, axis=1), axis=1)
    changes = evaluator_of(prepared).changes(along_axes(shifts))
    for strength in GRID[::20]:
        expected = sorted_out(shifts, strength, pools=(nearest < pool) | (PROBLEM.gains > 0))
        np.testing.assert_allclose(at(changes, strength), expected, atol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_the_grid_is_that_of_sorted_rankings(metric: str) -> None:
    kept, shifts = np.arange(1, 40, 3), np.stack([shifts_of(seed) for seed in (3, 4)], axis=1)
    prepared = prepared_of(metric=metric)
    grid = StrengthGrid.of(evaluator_of(prepared), prepared, kept)
    assert set(grid.rows) == set(kept)
    found = grid.values(along_axes(shifts[grid.rows]).__getitem__)
    np.testing.assert_allclose(grid.unmapped, sorted_out(shifts[:, 0], 0.0, metric)[grid.rows], atol=1e-6)
    for number in range(2):
        for place, strength in enumerate(STRENGTHS):
            expected = sorted_out(shifts[:, number], strength, metric)[grid.rows]
            np.testing.assert_allclose(found[number, place], expected, atol=1e-6)


@pytest.mark.parametrize("depth", [3, 12])
def test_the_grid_counts_documents_outside_the_pool_by_a_sample(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("nudge_integrations.selection.strength_grid")
    monkeypatch.setattr(module, "_DEPTH", depth)
    monkeypatch.setattr(importlib.import_module("nudge_integrations.solver.prepare"), "_POOL", 20)
    first = np.arange(60) == PROBLEM.gains.argmax(axis=1)[:, None]
    problem, shifts = replace(PROBLEM, gains=np.where(first, 1.0, 0.0)), shifts_of(3)
    prepared = prepared_of(problem)

    def values(outside: int) -> Floats:
        monkeypatch.setattr(module, "_OUTSIDE", outside)
        grid = StrengthGrid.of(evaluator_of(prepared), prepared, np.arange(40))
        assert grid.base.shape[1] == depth + 1
        found = grid.values(along_axes(shifts[grid.rows, None]).__getitem__, (0.1, 0.5, 2.0))[0]
        ordered: Floats = found[:, np.argsort(grid.rows)]
        return ordered

    # Where the sample is everything each document stands for itself, and nothing is lost by shallow pools.
    found, none = values(60), values(0)
    for number, strength in enumerate((0.1, 0.5, 2.0)):
        scores = (problem.queries + strength * shifts) @ problem.documents.T
        expected = [metric_of(row, gains, "ndcg@10") for row, gains in zip(scores, problem.gains, strict=True)]
        np.testing.assert_allclose(found[number], expected, atol=1e-6)
    assert none[2].mean() > found[2].mean() + 0.05


def test_documents_that_surface_join_the_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("nudge_integrations.solver.prepare"), "_POOL", 10)
    shifts = shifts_of(3)
    surfaced = np.argsort(-(PROBLEM.queries + shifts) @ PROBLEM.documents.T, axis=1)[:, :10]
    surfaced[5, 4:] = 60  # nowhere
    prepared = prepared_of().with_documents(surfaced)
    inside = np.argsort(np.argsort(-(PROBLEM.queries @ PROBLEM.documents.T), axis=1), axis=1) < 10
    inside |= (surfaced[:, :, None] == np.arange(60)).any(axis=1) | (PROBLEM.gains > 0)
    changes = evaluator_of(prepared).changes(along_axes(shifts))
    for strength in GRID[::20]:
        np.testing.assert_allclose(at(changes, strength), sorted_out(shifts, strength, pools=inside), atol=1e-9)


def test_the_best_documents_that_nobody_labelled_are_those_of_a_sorted_pool() -> None:
    labelled, places = np.array([0, 1, 5, 9, 33]), np.array([2, 3, 17, 39])
    vectors = PROBLEM.queries[places] + shifts_of(5)[places]
    found = evaluator_of(prepared_of()).best_static(places, torch.from_numpy(vectors).float(), labelled, 58, 60)
    scores = vectors @ PROBLEM.documents.T
    scores[:, labelled] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")
    np.testing.assert_array_equal(found[1][:, :55], order[:, :55])
    np.testing.assert_allclose(found[0][:, :55], np.take_along_axis(scores, order, axis=1)[:, :55], atol=1e-5)
    assert (found[1][:, 55:] == 60).all()
    assert np.isneginf(found[0][:, 55:]).all()


def searched(problem: Arrays, **options: Any) -> MapSearch:
    prepared = prepare(*problem, **options)
    return MapSearch.of(prepared, np.arange(len(prepared.evaluation)))


def ranked(problem: Arrays, shifts: NDArray[np.float32], strength: float) -> Floats:
    documents, queries, gains = problem
    mapped = queries + strength * shifts.astype(np.float64)
    return np.array([ndcg(documents, query, row) for query, row in zip(mapped, gains.toarray(), strict=True)])


@pytest.mark.parametrize("weight", [0.0, 0.4, 0.5])
def test_the_map_that_is_found_is_as_strong_as_is_best_and_as_others_can_bear(weight: float) -> None:
    problem = two_topics(300)[2] if weight == 0.0 else planted(7, queries=200, turned=0.7, hidden=0.9)
    search = searched(problem, unseen_weight=weight)
    found = search_map(search, ("ridge",))
    assert found is not None
    best, every = found.best, np.arange(len(problem[1]))
    seen, unseen, others = (
        map_shifts(search.maps, kind, best.setting, every) for kind in ("seen", "unseen", "other_cluster")
    )
    plain = ranked(problem, seen, 0.0)

    def objective(strength: float) -> float:
        both = (1 - weight) * ranked(problem, seen, strength) + weight * ranked(problem, unseen, strength)
        return float(both.mean())

    def allowed(strength: float) -> bool:
        lost = ranked(problem, others, strength).mean() - plain.mean()
        change = ranked(problem, unseen, strength) - plain
        surely = change.mean() - change.std(ddof=1) / np.sqrt(len(change))
        return bool(lost >= -0.001 - 1e-9 and (weight < 0.5 or surely >= -1e-9))

    assert allowed(best.strength)
    assert best.gain == pytest.approx(objective(best.strength) - plain.mean(), abs=1e-6)
    grid = {strength: objective(strength) for strength in np.linspace(0.0, 1.0, 41)}
    assert objective(best.strength) >= max(value for at_, value in grid.items() if allowed(at_)) - 1e-9
    if weight == 0.0:
        # A stronger map would suit these queries better, and cost those of the other topic.
        assert max(grid.values()) > objective(best.strength) + 0.01


@pytest.mark.parametrize("kinds", [("ridge",), ("iterated-ridge",), ("ridge", "iterated-ridge")])
def test_each_half_is_served_by_what_suits_the_other(kinds: tuple[str, ...]) -> None:
    problem = planted(6, documents=60, queries=200, turned=1.0, hidden=0.6)
    search = searched(problem)
    found = search_map(search, kinds)
    assert found is not None
    half = search.maps.teaching.cross_selection
    for side, (setting, parameter) in zip((True, False), found.for_halves, strict=True):
        assert ("ridge" if isinstance(setting.responses, float) else "iterated-ridge") in kinds
        expected = ranked(problem, map_shifts(search.maps, "seen", setting, np.arange(200)), steps(parameter))
        np.testing.assert_allclose(found.seen[half == side], expected[half == side], atol=1e-6)
