"""Maps in several steps against numpy loops: of all queries, without folds, without documents, of clusters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from oracle import Floats, Problem, random_problem
from query_map_problems import dense_map, dense_scale, maps_of, shifts_of, turned, walked

from nudge_integrations.query_map.iterated import IteratedMaps
from nudge_integrations.query_map.ridge import FittedMaps, RidgeMaps, Setting

SETTING = Setting(0.1, 0.1, 0.1)
PROBLEM = replace(turned(), groups=np.arange(240) // 2)
BLOCK_BYTES = 1 << 24


def steps_of(problem: Problem, steps: int, block_bytes: int = BLOCK_BYTES) -> tuple[RidgeMaps, list[FittedMaps]]:
    maps = maps_of(problem)
    iterated = IteratedMaps(maps, maps.teaching, SETTING, block_bytes)
    return maps, [iterated.after(step) for step in range(1, steps + 1)]


def as_given(maps: RidgeMaps, query_map: torch.Tensor) -> Floats:
    """Return a map in the axes in which vectors were given."""
    found: Floats = (maps.axes @ query_map @ maps.axes.T).numpy().astype(np.float64)
    return found


def refitted(rows: NDArray[np.bool_], steps: int) -> Floats:
    """Return the map that some of the queries teach in steps as long as those of all."""
    return walked(PROBLEM.part(rows), SETTING, steps, dense_scale(PROBLEM, dense_map(PROBLEM, SETTING)))


def close(found: NDArray[np.floating[Any]], expected: Floats) -> None:
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_every_step_is_the_formula_with_the_softmax_taken_anew() -> None:
    maps, every = steps_of(PROBLEM, 4)
    for steps, fitted in enumerate(every, start=1):
        assert fitted.steps == steps
        close(as_given(maps, fitted.whole()), refitted(np.ones(240, bool), steps))


def test_maps_without_folds_and_of_clusters_are_those_of_the_other_queries_alone() -> None:
    maps, every = steps_of(PROBLEM, 3)
    for fitted in every[::2]:
        np.testing.assert_array_equal(np.sum([fold for fold, _ in fitted.without_fold()], axis=0), 1)
        for fold, found in fitted.without_fold():
            assert not set(PROBLEM.groups[fold]) & set(PROBLEM.groups[~fold])
            close(as_given(maps, found), refitted(~fold, fitted.steps))
        for cluster in (0, 1):
            expected = refitted(maps.teaching.clusters == cluster, fitted.steps)
            close(as_given(maps, fitted.of_cluster(cluster)), expected)


def test_maps_without_documents_leave_out_all_queries_for_them_and_take_as_many_steps() -> None:
    relevant = PROBLEM.gains.argmax(axis=1)
    # Made when they are wanted, after more steps have been taken.
    maps, every = steps_of(PROBLEM, 3)
    for fitted in every[::2]:
        for fold, found in fitted.without_documents():
            assert not set(relevant[fold]) & set(relevant[~fold])
            close(as_given(maps, found), refitted(~fold, fitted.steps))


def test_queries_are_shifted_by_the_maps_without_them() -> None:
    maps, every = steps_of(PROBLEM, 3)
    setting, fitted = SETTING._replace(responses=(0.1, 3)), every[-1]
    maps.iterated[setting] = fitted
    places = np.arange(0, 240, 3)
    total = refitted(np.ones(240, bool), 3)
    scale = dense_scale(PROBLEM, total)
    close(maps.map(setting).numpy(), scale * total)
    clusters = maps.teaching.clusters
    folds = [fold for fold, _ in fitted.without_fold()]
    for found, masks in (
        (shifts_of(maps, "seen", setting, places), folds),
        (shifts_of(maps, "unseen", setting, places), [fold for fold, _ in fitted.without_documents()]),
        (shifts_of(maps, "other_cluster", setting, places), [clusters == 0, clusters == 1]),
    ):
        expected = np.empty_like(PROBLEM.queries)
        for mask in masks:
            expected[mask] = scale * PROBLEM.queries[mask] @ refitted(~mask, 3)
        close(found, expected[places])
    whole = np.ones(240, bool)
    for fold, shifts in maps.by_fold(setting):
        expected, exact = np.empty_like(PROBLEM.queries), np.empty_like(PROBLEM.queries)
        for other in folds:
            same = np.array_equal(other, fold)
            both = refitted(~fold, 3) + (0.0 if same else refitted(~other, 3) - refitted(whole, 3))
            expected[other] = scale * PROBLEM.queries[other] @ both
            exact[other] = scale * PROBLEM.queries[other] @ refitted(~(fold | other), 3)
        close(maps.as_given(shifts).numpy(), expected)
        # Exact but for what two folds do together.
        assert np.linalg.norm(expected - exact) < 0.1 * np.linalg.norm(exact)


def test_blocks_change_nothing() -> None:
    one, other = (steps_of(PROBLEM, 3, size)[1][-1].whole().numpy() for size in (1 << 12, 1 << 26))
    close(one, other)


@pytest.mark.parametrize(("documents", "queries"), [(20, 1), (1, 3), (1, 1)])
def test_one_of_anything_gives_finite_maps(documents: int, queries: int) -> None:
    problem = random_problem(2, documents=documents, queries=queries, width=4)
    for fitted in steps_of(problem, 2)[1]:
        every = [fitted.whole(), *(found for _, found in (*fitted.without_fold(), *fitted.without_documents()))]
        assert all(np.isfinite(found.numpy()).all() for found in every)
