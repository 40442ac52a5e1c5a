"""The figures of `select` are exact: rankings of the whole corpus really sorted, also where pools hold a part of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oracle import Floats, Problem, direction, place, unit
from query_map_problems import dense_map, dense_scale, shifts_of, shifts_without
from selection_problems import planted

from nudge_integrations.selection import outcome, select
from nudge_integrations.selection.map_search import FoundMap, MapSearch
from nudge_integrations.selection.pairs import FoundPair
from nudge_integrations.selection.pool_evaluator import STRENGTH
from nudge_integrations.solver import Solution

QUERIES = 240
EVERY = np.arange(QUERIES)


# How deep pools are, and how many documents there are.
SIZES = [pytest.param((200, 80), id="whole pools"), pytest.param((15, 200), id="small pools")]


@dataclass
class Spied:
    """A solution, and the map or the pair that was confirmed for it."""

    problem: Problem
    solution: Solution
    query_map: NDArray[np.float32]
    search: MapSearch
    found: Any


Fit = Callable[..., Spied]


def problem_of(
    turned: float, hidden: float, groups: NDArray[np.int64] = EVERY, documents: int = 80, *, ignoring: bool = False
) -> Problem:
    """With ``ignoring`` three queries of four never find the best document that does not answer them."""
    corpus, queries, gains = planted(6, documents=documents, queries=QUERIES, turned=turned, hidden=hidden)
    nearest = np.where(gains.toarray() > 0, -1.0, queries @ corpus.T).argmax(axis=1)
    return Problem(corpus, queries, gains.toarray(), groups, np.where(EVERY % 4, nearest, -1) if ignoring else None)


@pytest.fixture(params=SIZES)
def fit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Fit:
    monkeypatch.setattr(importlib.import_module("nudge_integrations.solver.prepare"), "_POOL", request.param[0])
    kept: list[tuple[MapSearch, Any]] = []

    def spy(name: str) -> None:
        confirm = getattr(outcome, name)

        def spied(search: MapSearch, found: Any) -> Any:
            kept.append((search, found))
            return confirm(search, found)

        monkeypatch.setattr(outcome, name, spied)

    spy("confirm_map")
    spy("confirm_pair")

    def fitted(
        turned: float,
        hidden: float,
        candidate: str,
        groups: NDArray[np.int64] = EVERY,
        *,
        ignoring: bool = False,
        **options: Any,
    ) -> Spied:
        problem = problem_of(turned, hidden, groups, request.param[1], ignoring=ignoring)
        inputs = problem.documents, problem.queries, problem.relevance
        options = {"groups": problem.groups, "ignored": problem.ignored, **options}
        solution = select(*inputs, candidates=(candidate,), **options)
        assert solution.query_map is not None
        return Spied(problem, solution, solution.query_map, *kept[-1])

    return fitted


def sorted_out(problem: Problem, mapped: Floats, metric: str = "ndcg@10") -> Floats:
    scores = mapped @ problem.documents.T
    return np.array([problem.metric(query, row, metric) for query, row in enumerate(scores)])


def strength_of(parameter: float) -> float:
    return float(STRENGTH.steps(np.array(parameter)))


@pytest.mark.parametrize("candidate", ["ridge", "iterated-ridge"])
@pytest.mark.parametrize(("metric", "ignoring"), [("ndcg@10", False), ("mrr@5", False), ("ndcg@10", True)])
def test_the_figures_of_a_map_are_those_of_the_whole_corpus(
    fit: Fit, candidate: str, metric: str, ignoring: bool
) -> None:
    spied = fit(1.5, 0.0, candidate, metric=metric, ignoring=ignoring)
    solution, found, maps = spied.solution, spied.found, spied.search.maps
    assert isinstance(found, FoundMap)
    assert solution.method == candidate
    half, queries = maps.teaching.cross_selection, solution.per_query
    for values, kind in ((queries.score, "seen"), (queries.unseen, "unseen")):
        expected = np.empty(QUERIES)
        for side, (setting, parameter) in zip((True, False), found.for_halves, strict=True):
            shifts = strength_of(parameter) * shifts_of(maps, kind, setting, EVERY).astype(np.float64)
            inside = half == side
            expected[inside] = sorted_out(spied.problem, spied.problem.queries + shifts, metric)[inside]
        np.testing.assert_allclose(values, expected, atol=1e-6)
    np.testing.assert_allclose(queries.baseline, sorted_out(spied.problem, spied.problem.queries, metric), atol=1e-6)
    means = (solution.baseline, solution.score, solution.unseen_score)
    assert means == pytest.approx([part.mean() for part in (queries.baseline, queries.score, queries.unseen)])
    (line,) = solution.candidates
    assert line.exact
    assert (line.score, line.unseen_score, line.queries) == (solution.score, solution.unseen_score, QUERIES)
    np.testing.assert_allclose(spied.query_map, found.best.strength * maps.map(found.best.setting).numpy(), atol=1e-6)


def test_a_map_is_worth_what_refits_without_each_group_are_worth(fit: Fit) -> None:
    groups = EVERY // 2
    spied = fit(1.5, 0.0, "ridge", groups)
    problem, wanted = spied.problem, spied.problem.gains.argmax(axis=1)
    half, queries = spied.search.maps.teaching.cross_selection, spied.solution.per_query
    for values, codes in ((queries.score, groups), (queries.unseen, wanted)):
        shifts = {setting: shifts_without(problem, setting, codes) for setting, _ in spied.found.for_halves}
        for side, (setting, parameter) in zip((True, False), spied.found.for_halves, strict=True):
            expected = sorted_out(problem, problem.queries + strength_of(parameter) * shifts[setting])
            # A document that is as near as another to seven digits may change places with it.
            assert (np.abs(values - expected) > 1e-6)[half == side].mean() < 0.02
            assert values[half == side].mean() == pytest.approx(expected[half == side].mean(), abs=2e-3)
    served = dense_map(problem, spied.found.best.setting)
    served *= spied.found.best.strength * dense_scale(problem, served)
    np.testing.assert_allclose(spied.query_map, served, atol=1e-3 * np.abs(served).max())


@pytest.mark.parametrize("candidate", ["ridge+nudge-n", "iterated-ridge+nudge-n", "ridge+contrastive"])
@pytest.mark.parametrize(("groups", "ignoring"), [(EVERY, False), (EVERY // 2, False), (EVERY, True)])
def test_the_figures_of_a_pair_are_those_of_folds_whose_labels_no_map_knows(
    fit: Fit, candidate: str, groups: NDArray[np.int64], ignoring: bool
) -> None:
    temperature = 0.1 if candidate.endswith("contrastive") else None
    spied = fit(0.7, 0.9, candidate, groups, temperature=temperature, ignoring=ignoring)
    problem, solution, pair, maps = spied.problem, spied.solution, spied.found, spied.search.maps
    assert isinstance(pair, FoundPair)
    assert (solution.method, solution.temperature) == (candidate, temperature)

    def adapted(shifts: NDArray[np.float32]) -> Problem:
        mapped = unit(problem.queries + pair.strength * shifts.astype(np.float64))
        return Problem(problem.documents, mapped, problem.gains, groups, problem.ignored)

    moved = adapted(shifts_of(maps, "seen", pair.setting, EVERY))

    def sums_of(labels: Problem, rows: Any) -> Floats:
        if temperature is None:
            return direction(labels.part(rows))
        # The softmax is normalised as for the nudge that is served, and not anew for every fold.
        soft, every = (
            np.exp(problem.without_ignored(those.queries @ problem.documents.T) / temperature)
            for those in (labels, moved)
        )
        weights = problem.gains - soft / every.sum(axis=1, keepdims=True)
        labelled = problem.gains[rows].any(axis=0)
        return np.where(labelled[:, None], weights[rows].T @ labels.queries[rows], 0.0)

    def worth(labels: Problem, row: int, *, unseen: bool) -> float:
        sums = sums_of(labels, np.not_equal(groups, groups[row]))
        if unseen:
            sums[problem.gains[row] > 0] = 0.0
        placed = place(problem.documents, sums, "nudge-n", solution.step)
        return labels.metric(row, placed @ labels.queries[row], "ndcg@10")

    without_document = adapted(shifts_of(maps, "unseen", pair.setting, EVERY))
    for fold, shifts in maps.by_fold(pair.setting):
        labels, rows = adapted(maps.as_given(shifts).numpy()), np.flatnonzero(fold)[::12]
        seen = [worth(labels, row, unseen=False) for row in rows]
        unseen = [worth(without_document, row, unseen=True) for row in rows]
        np.testing.assert_allclose(solution.per_query.score[rows], seen, atol=1e-6)
        np.testing.assert_allclose(solution.per_query.unseen[rows], unseen, atol=1e-6)
    assert solution.score == pytest.approx(solution.per_query.score.mean())
    assert solution.unseen_score == pytest.approx(solution.per_query.unseen.mean())
    placed = place(problem.documents, sums_of(moved, np.ones(QUERIES, bool)), "nudge-n", solution.step)
    np.testing.assert_allclose(solution.vectors, placed[solution.rows], atol=1e-4)
    np.testing.assert_allclose(spied.query_map, pair.strength * maps.map(pair.setting).numpy(), atol=1e-6)


def test_figures_on_pools_are_said_to_be_such_and_the_winner_is_confirmed() -> None:
    problem = problem_of(1.5, 0.0, documents=500)
    solution = select(problem.documents, problem.queries, problem.relevance)
    lines = {line.method: line for line in solution.candidates}
    assert lines[solution.method].exact
    assert not all(line.exact for line in lines.values())
    for line in str(solution).splitlines()[2:]:
        assert line.endswith("on pools") != lines[line.split()[0]].exact
