"""The contrastive ridge against slow and obvious numpy: really refitted without each query, really dense softmax."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from oracle import Floats, Problem, random_problem
from query_map_problems import (
    dense_map,
    dense_projection,
    dense_ridge,
    dense_scale,
    maps_of,
    shifts_of,
    shifts_without,
    turned,
    unit_of_penalty,
)

from nudge_integrations.query_map.regression import Regression
from nudge_integrations.query_map.ridge import Setting

PROBLEM = random_problem(0, documents=60, queries=40, width=6)
EVERY = np.arange(40)
PENALTIES = (0.001, 0.01, 0.1, 1.0)
SETTING = Setting(0.1, 0.3, 0.01)

GROUPS = [
    pytest.param(np.arange(40), id="each query alone"),
    pytest.param(np.arange(40) // 3, id="groups smaller than the width"),
    pytest.param(np.arange(40) // 17, id="groups larger than the width"),
    pytest.param(np.array([0, 1, *[2] * 3, *[3] * 9, *[4] * 9, *range(5, 22)]), id="groups of several sizes"),
    pytest.param(np.zeros(40, np.int64), id="one group of all"),
]


def grouped(groups: NDArray[np.int64]) -> Problem:
    return replace(PROBLEM, groups=groups)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_regression_is_the_formula_for_every_penalty(penalty: float) -> None:
    responses = PROBLEM.queries[:, ::-1].copy()
    regression = Regression.on(torch.from_numpy(PROBLEM.queries))
    found = regression.fit(regression.products(torch.from_numpy(responses)), penalty)
    expected = dense_ridge(PROBLEM.queries, responses, penalty)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("places", [np.arange(40), np.array([0, 3, 4, 17, 18, 39]), np.array([5])])
def test_predictions_without_a_group_are_those_of_a_regression_on_the_others(
    groups: NDArray[np.int64], penalty: float, places: NDArray[np.int64]
) -> None:
    queries, responses = PROBLEM.queries, np.random.default_rng(1).normal(size=(40, 5))
    regression = Regression.on(torch.from_numpy(queries))
    products = regression.products(torch.from_numpy(responses))
    found = regression.left_out(torch.from_numpy(responses), products, penalty, groups, places).numpy()
    for place, row in enumerate(places):
        others = groups != groups[row]
        expected = queries[row] @ dense_ridge(queries[others], responses[others], penalty, unit_of_penalty(queries))
        np.testing.assert_allclose(found[place], expected, atol=1e-8)


def test_few_queries_in_many_dimensions_are_left_out_exactly() -> None:
    problem = replace(random_problem(1, documents=30, queries=5, width=24), groups=np.arange(5))
    setting = Setting(0.1, 0.3, 0.001)
    found = shifts_of(maps_of(problem), "seen", setting, np.arange(5))
    expected = shifts_without(problem, setting, np.arange(5))
    # With more dimensions than queries 1 - h is near 0, and float32 loses half of its digits.
    np.testing.assert_allclose(found, expected, atol=5e-3 * np.abs(expected).max())


@pytest.mark.parametrize("whitening", [1.0, 0.1, 0.03])
def test_whitening_is_the_formula(whitening: float) -> None:
    maps = maps_of(PROBLEM)
    found = maps.as_given(maps.axes * maps.damping(whitening))
    np.testing.assert_allclose(found.numpy(), dense_projection(PROBLEM.documents, whitening), atol=1e-5)


@pytest.mark.parametrize("setting", [SETTING, Setting(0.05, 1.0, 0.1), Setting(0.05, 0.03, 1.0)])
def test_the_served_map_is_the_formula_and_shifts_scores_as_much_as_they_differ(setting: Setting) -> None:
    maps, expected = maps_of(PROBLEM, (0.1, 0.05)), dense_map(PROBLEM, setting)
    scale = dense_scale(PROBLEM, expected)
    assert maps.scale(setting) == pytest.approx(scale, rel=1e-4)
    np.testing.assert_allclose(maps.map(setting).numpy(), scale * expected, atol=2e-5 * np.abs(scale * expected).max())


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_seen_queries_are_shifted_by_a_map_fitted_without_their_group(
    groups: NDArray[np.int64], penalty: float
) -> None:
    setting = SETTING._replace(penalty=penalty)
    found = shifts_of(maps_of(grouped(groups)), "seen", setting, EVERY)
    # The less penalty is left beside a group, the more digits float32 loses.
    np.testing.assert_allclose(found, shifts_without(PROBLEM, setting, groups), atol=max(5e-5, 3e-7 / penalty))


def test_settings_are_the_same_together_and_alone() -> None:
    settings = [Setting(tau, mu, penalty) for tau in (0.1, 0.05) for penalty in (0.01, 1.0) for mu in (1.0, 0.1)]
    together, alone = maps_of(PROBLEM, (0.1, 0.05)), maps_of(PROBLEM, (0.1, 0.05))
    for kind in ("seen", "unseen", "other_cluster"):
        found = getattr(together, kind)(settings, EVERY[::2])
        for number in np.random.default_rng(0).permutation(len(settings)):
            expected = getattr(alone, kind)([settings[number]], EVERY[::2])[:, 0]
            torch.testing.assert_close(found[:, number], expected)


def test_unseen_queries_are_shifted_by_a_map_fitted_without_all_queries_for_their_document() -> None:
    documents = PROBLEM.gains.argmax(axis=1)
    found = shifts_of(maps_of(PROBLEM), "unseen", SETTING, EVERY[::3])
    np.testing.assert_allclose(found, shifts_without(PROBLEM, SETTING, documents)[::3], atol=5e-5)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_another_topic_is_served_by_the_map_that_the_other_cluster_alone_teaches(penalty: float) -> None:
    problem, setting = turned(queries=120), SETTING._replace(penalty=penalty)
    maps = maps_of(problem)
    assert set(maps.teaching.clusters) == {0, 1}
    places = np.arange(0, 120, 2)
    expected = shifts_without(problem, setting, maps.teaching.clusters, own_unit=True)
    found = shifts_of(maps, "other_cluster", setting, places)
    np.testing.assert_allclose(found, expected[places], atol=1e-4)


def test_queries_that_are_all_the_same_have_no_other_topic_to_shift_them() -> None:
    problem = replace(PROBLEM, queries=np.repeat(PROBLEM.queries[:1], 40, axis=0))
    assert not shifts_of(maps_of(problem), "other_cluster", SETTING, EVERY).any()


@pytest.mark.parametrize("groups", [np.arange(240), np.arange(240) // 3])
def test_a_fold_is_shifted_by_the_others_and_these_by_the_others_but_their_own_group(groups: NDArray[np.int64]) -> None:
    problem = replace(turned(), groups=groups)
    maps = maps_of(problem)
    scale = dense_scale(problem, dense_map(problem, SETTING))
    folds = maps.by_fold(SETTING)
    np.testing.assert_array_equal(np.sum([fold for fold, _ in folds], axis=0), 1)
    for fold, shifts in folds:
        assert not set(groups[fold]) & set(groups[~fold])
        others = problem.part(~fold)
        expected = np.empty_like(problem.queries)
        expected[fold] = scale * problem.queries[fold] @ dense_map(others, SETTING)
        within = shifts_without(others, SETTING, groups[~fold])
        expected[~fold] = within * scale / dense_scale(others, dense_map(others, SETTING))
        np.testing.assert_allclose(maps.as_given(shifts).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("groups", [np.arange(240), np.arange(240) // 3])
def test_no_map_of_a_fold_depends_on_its_labels(groups: NDArray[np.int64]) -> None:
    problem, random = replace(turned(), groups=groups), np.random.default_rng(0)

    def directions(gains: Floats) -> list[tuple[NDArray[np.bool_], Floats]]:
        maps = maps_of(replace(problem, gains=gains))
        # How far is one number for all queries; where to must not be known.
        return [(fold, maps.as_given(one).numpy() / maps.scale(SETTING)) for fold, one in maps.by_fold(SETTING)]

    for place, (fold, shifts) in enumerate(directions(problem.gains)):
        wrong = problem.gains.copy()
        wrong[fold] = wrong[fold][:, random.permutation(80)]
        again = directions(wrong)[place]
        np.testing.assert_array_equal(again[0], fold)
        np.testing.assert_allclose(again[1], shifts, atol=1e-5)
        assert np.linalg.norm(shifts, axis=1).min() > 1e-3


def test_a_rotation_of_everything_rotates_the_map() -> None:
    problem = turned()
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(8, 8)))[0]
    rotated = Problem(problem.documents @ turn, problem.queries @ turn, problem.gains, problem.groups)
    maps = [maps_of(part).map(SETTING).numpy() for part in (problem, rotated)]
    np.testing.assert_allclose(maps[1], turn.T @ maps[0] @ turn, atol=1e-4)


@pytest.mark.parametrize(("documents", "queries"), [(1, 1), (1, 3), (20, 1)])
def test_one_of_anything_gives_finite_maps(documents: int, queries: int) -> None:
    maps = maps_of(random_problem(2, documents=documents, queries=queries, width=4))
    every: list[Any] = [maps.map(SETTING), *(shifts for _, shifts in maps.by_fold(SETTING))]
    every += [kind([SETTING], np.arange(queries)) for kind in (maps.seen, maps.unseen, maps.other_cluster)]
    assert all(torch.isfinite(part).all() for part in every)
