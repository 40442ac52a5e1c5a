"""The contrastive ridge against slow and obvious numpy: really refitted without each query, really dense softmax."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import Problem, random_problem, unit
from query_map_problems import evaluator_of, turned
from scipy import sparse

from nudge_integrations.errors import InputError
from nudge_integrations.query_map import ContrastiveRidge, contrastive_ridge, fit_ridge, read_training, residuals
from nudge_integrations.query_map.query_map import moved
from nudge_integrations.query_map.ridge import regression
from nudge_integrations.query_map.search import coordinate_search, line_search

Floats = NDArray[np.float64]
PROBLEM = random_problem(0, documents=60, queries=40, width=6)


def dense_residual(problem: Problem, temperature: float) -> Floats:
    scores = np.exp(problem.queries @ problem.documents.T / temperature)
    target = problem.gains / problem.gains.sum(axis=1, keepdims=True)
    return np.asarray((target - scores / scores.sum(axis=1, keepdims=True)) @ problem.documents)


def dense_shift(
    problem: Problem, temperature: float, whitening: float, penalty: float, unit_of_penalty: float
) -> Floats:
    """Return M0 = K Q^T R, written out."""
    covariance = np.cov(problem.documents.T, bias=True)
    floor = whitening * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    residual = dense_residual(problem, temperature) @ floor @ np.linalg.inv(covariance + floor)
    ridge = problem.queries.T @ problem.queries + penalty * unit_of_penalty * np.eye(len(covariance))
    return np.asarray(np.linalg.solve(ridge, problem.queries.T @ residual))


def ridge_of(problem: Problem, temperature: float = 0.1) -> ContrastiveRidge:
    training = read_training(problem.documents, problem.queries, problem.relevance)
    results = residuals(training, training.labelled_queries, training.positives, [temperature])
    return contrastive_ridge(training.labelled_queries, results, training.covariance)


def refitted(problem: Problem, groups: NDArray[Any], whitening: float, penalty: float) -> Floats:
    """Return (m, d): the shift of each query by a map fitted to all queries outside its group."""
    energy = np.trace(problem.queries.T @ problem.queries) / problem.queries.shape[1]
    shifts = np.empty_like(problem.queries)
    for group in np.unique(groups):
        left = dense_shift(problem.part(np.flatnonzero(groups != group)), 0.1, whitening, penalty, energy)
        shifts[groups == group] = problem.queries[groups == group] @ left
    return shifts


@pytest.mark.parametrize("temperature", [0.1, 0.03])
@pytest.mark.parametrize("block_bytes", [1 << 10, 1 << 24])
def test_residuals_are_those_of_a_dense_softmax(temperature: float, block_bytes: int) -> None:
    training = read_training(PROBLEM.documents, PROBLEM.queries, PROBLEM.relevance, block_bytes=block_bytes)
    results = residuals(training, training.labelled_queries, training.positives, [temperature], block_bytes)[
        temperature
    ]
    assert training.normaliser == "exact"
    np.testing.assert_allclose(results.numpy(), dense_residual(PROBLEM, temperature), atol=1e-5)


def test_the_covariance_is_that_of_all_documents() -> None:
    problem = turned(queries=10)
    training = read_training(problem.documents, problem.queries, problem.relevance, sample=3, block_bytes=1 << 10)
    assert training.normaliser == "sampled"
    np.testing.assert_allclose(training.covariance.numpy(), np.cov(problem.documents.T, bias=True), atol=1e-6)


def test_the_map_is_the_formula_written_out() -> None:
    energy = np.trace(PROBLEM.queries.T @ PROBLEM.queries) / PROBLEM.queries.shape[1]
    expected = dense_shift(PROBLEM, 0.1, 0.3, 0.01, energy)
    results, scale = ridge_of(PROBLEM).map(0.1, 0.3, 0.01)
    np.testing.assert_allclose(results.numpy(), expected, atol=1e-5)
    deviations = [
        (vectors @ PROBLEM.documents.T).std(axis=1).mean() for vectors in (PROBLEM.queries, PROBLEM.queries @ expected)
    ]
    assert scale == pytest.approx(deviations[0] / deviations[1], rel=1e-4)


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param(np.arange(40), id="each query alone"),
        pytest.param(np.arange(40) // 3, id="groups smaller than the width"),
        pytest.param(np.arange(40) // 17, id="groups larger than the width"),
        pytest.param(np.array(["a", "b", *"c" * 38]), id="alone and together, by name"),
    ],
)
@pytest.mark.parametrize("penalty", [0.001, 1.0])
def test_held_out_queries_are_those_of_a_fit_without_their_group(groups: NDArray[Any], penalty: float) -> None:
    ridge = ridge_of(PROBLEM)
    scale = ridge.map(0.1, 0.3, penalty)[1]
    expected = unit(PROBLEM.queries + 0.5 * scale * refitted(PROBLEM, groups, 0.3, penalty))
    results = ridge.held_out(0.5, 0.1, 0.3, penalty, groups=groups)
    np.testing.assert_allclose(results.numpy(), expected, atol=2e-5)


def test_several_partitions_are_left_out_at_once_each_for_itself() -> None:
    ridge = ridge_of(PROBLEM)
    partitions = np.arange(40), np.arange(40) // 3, np.array(["a", "b"] * 20), np.zeros(40)
    shifts = ridge.shifts(0.1, 0.3, 0.01, *partitions)
    scale = ridge.map(0.1, 0.3, 0.01)[1]
    for shift, groups in zip(shifts, partitions, strict=True):
        held_out = ridge.held_out(0.7, 0.1, 0.3, 0.01, groups=groups)
        torch.testing.assert_close(moved(ridge.queries, 0.7 * shift), held_out, rtol=0.0, atol=1e-7)
        np.testing.assert_allclose(shift.numpy(), scale * refitted(PROBLEM, groups, 0.3, 0.01), atol=2e-5)
    assert ridge.shifts(0.1, 0.3, 0.01) == []


@settings(max_examples=60, derandomize=True, deadline=None)
@given(rising=st.sets(st.integers(0, 99)), falling=st.sets(st.integers(0, 99)), start=st.integers(0, 10**6))
def test_line_search_ends_at_the_maximum_and_visits_nothing_twice(
    rising: set[int], falling: set[int], start: int
) -> None:
    heights = [*sorted(rising), 100, *sorted(falling, reverse=True)]
    options = [10.0 + place / 4.0 for place in range(len(heights))]
    visited: list[float] = []

    def height(option: float) -> float:
        visited.append(option)
        return heights[options.index(option)]

    begin = options[start % len(options)]
    assert line_search(options, begin, height) == (options[len(rising)], 100)
    assert len(visited) == len(set(visited))
    # Besides the way to the summit only its neighbours and those of the start are looked at.
    assert len(visited) <= abs(options.index(begin) - len(rising)) + 3


def test_line_search_stops_where_the_next_option_is_no_better() -> None:
    heights = {1.0: 9.0, 2.0: 3.0, 3.0: 4.0, 4.0: 4.0, 5.0: 8.0}
    assert line_search((1.0, 2.0, 3.0, 4.0, 5.0), 3.0, heights.__getitem__) == (3.0, 4.0)


def test_few_queries_in_many_dimensions_are_left_out_exactly() -> None:
    problem = random_problem(1, documents=30, queries=5, width=24)
    expected = refitted(problem, np.arange(5), 0.3, 0.001)
    ridge = ridge_of(problem)
    expected = unit(problem.queries + ridge.map(0.1, 0.3, 0.001)[1] * expected)
    np.testing.assert_allclose(ridge.held_out(1.0, 0.1, 0.3, 0.001).numpy(), expected, atol=2e-5)


def test_without_some_queries_the_map_is_that_of_the_others() -> None:
    held_out = np.arange(40) % 3 == 1
    fewer, others = ridge_of(PROBLEM).without(held_out), ridge_of(PROBLEM.part(np.flatnonzero(~held_out)))
    torch.testing.assert_close(fewer.map(0.1, 0.3, 0.01)[0], others.map(0.1, 0.3, 0.01)[0], rtol=0.0, atol=1e-6)
    torch.testing.assert_close(
        fewer.held_out(0.7, 0.1, 0.3, 0.01), others.held_out(0.7, 0.1, 0.3, 0.01), rtol=0.0, atol=1e-6
    )


def test_coordinate_search_of_one_round_visits_each_axis_once() -> None:
    visited: list[tuple[float, ...]] = []

    def value(point: tuple[float, ...]) -> float:
        visited.append(point)
        return -abs(point[0] - point[1]) + 2.0 * point[1]

    axes = ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0))
    assert coordinate_search(axes, (1.0, 1.0), value, rounds=1) == ((1.0, 3.0), 4.0)
    assert visited == [(1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (1.0, 2.0), (1.0, 3.0)]
    assert coordinate_search(axes, (1.0, 1.0), value) == ((3.0, 3.0), 6.0)


def test_a_group_of_all_leaves_nothing_to_learn_from() -> None:
    held_out = ridge_of(PROBLEM).held_out(1.0, 0.1, 0.3, 0.1, groups=np.zeros(40))
    np.testing.assert_allclose(held_out.numpy(), PROBLEM.queries, atol=1e-6)


def test_a_sampled_softmax_is_close_to_the_exact_one() -> None:
    problem = turned(documents=4000, queries=30)
    exact, sampled = (
        residuals(training, training.labelled_queries, training.positives, [0.1])[0.1]
        for size in (4000, 2000)
        for training in [read_training(problem.documents, problem.queries, problem.relevance, sample=size)]
    )
    assert torch.cosine_similarity(exact, sampled).min() > 0.99


def test_queries_of_a_turned_space_are_turned_back() -> None:
    problem = turned()
    train, test = problem.part(np.arange(160)), problem.part(np.arange(160, 240))
    query_map = fit_ridge(train.documents, train.queries, train.relevance, evaluate=evaluator_of(train))
    evaluate = evaluator_of(test)
    base, adapted = (
        float(evaluate(rows).mean()) for rows in map(torch.from_numpy, (test.queries, query_map.apply(test.queries)))
    )
    assert adapted > base + 0.1
    assert query_map.score == pytest.approx(adapted, abs=0.08)
    assert query_map.score > query_map.baseline
    assert query_map.held_out_queries is not None
    assert float(evaluator_of(train)(torch.from_numpy(query_map.held_out_queries)).mean()) == pytest.approx(
        query_map.score
    )


def test_nothing_to_gain_is_no_map() -> None:
    problem = random_problem(3, documents=30, queries=20, width=6, noise=0.0)
    flat: Callable[[torch.Tensor], torch.Tensor] = lambda adapted: torch.ones(len(adapted))  # noqa: E731
    query_map = fit_ridge(problem.documents, problem.queries, problem.relevance, evaluate=flat)
    assert query_map.strength == 0.0
    assert not query_map.map.any()
    np.testing.assert_allclose(query_map.apply(problem.queries), problem.queries, atol=1e-6)


def test_a_rotation_of_everything_rotates_the_map() -> None:
    problem = turned()
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(8, 8)))[0]
    rotated = Problem(problem.documents @ turn, problem.queries @ turn, problem.gains, problem.groups)
    maps = [ridge_of(part).map(0.1, 0.3, 0.01)[0].numpy() for part in (problem, rotated)]
    np.testing.assert_allclose(maps[1], turn.T @ maps[0] @ turn, atol=1e-5)


@pytest.mark.parametrize(("documents", "queries"), [(1, 1), (1, 3), (20, 1)])
def test_one_of_anything_is_enough(documents: int, queries: int) -> None:
    problem = random_problem(2, documents=documents, queries=queries, width=4)
    query_map = fit_ridge(problem.documents, problem.queries, problem.relevance, evaluate=evaluator_of(problem))
    assert np.isfinite(query_map.map).all()
    assert query_map.score >= query_map.baseline


def test_queries_without_a_relevant_document_change_nothing() -> None:
    problem = turned()
    more = np.concatenate([problem.gains, np.zeros((5, 80))])
    with_unlabelled = np.concatenate([problem.queries, unit(np.ones((5, 8)))])
    evaluated = Problem(problem.documents, with_unlabelled, more, np.arange(245))
    first = fit_ridge(problem.documents, problem.queries, problem.relevance, evaluate=evaluator_of(problem))
    second = fit_ridge(problem.documents, with_unlabelled, sparse.csr_array(more), evaluate=evaluator_of(evaluated))
    np.testing.assert_array_equal(first.map, second.map)
    assert second.held_out_queries is not None
    assert second.held_out_queries.shape == (245, 8)
    assert second.score == first.score


def test_no_label_at_all_is_no_map() -> None:
    evaluate = evaluator_of(PROBLEM)
    query_map = fit_ridge(PROBLEM.documents, PROBLEM.queries, sparse.csr_array((40, 60)), evaluate=evaluate)
    assert not query_map.map.any()


def test_memory_maps_and_half_precision_are_read(tmp_path: Path) -> None:
    problem = turned()
    np.save(tmp_path / "documents.npy", problem.documents.astype(np.float16))
    documents = np.load(tmp_path / "documents.npy", mmap_mode="r")
    inputs = (problem.queries.astype(np.float32), problem.relevance)
    one = fit_ridge(documents, *inputs, evaluate=evaluator_of(problem))
    other = fit_ridge(np.array(documents, np.float32), *inputs, evaluate=evaluator_of(problem), block_bytes=1 << 12)
    np.testing.assert_allclose(one.map, other.map, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"documents": PROBLEM.documents[0]}, "documents must be a matrix"),
        ({"queries": np.ones((40, 6), int)}, "queries must be a matrix of float16"),
        ({"queries": np.ones((40, 5))}, "queries have 5 dimensions and documents 6"),
        ({"queries": np.zeros((40, 6))}, "queries row 0 is zero"),
        ({"documents": np.full((60, 6), np.nan)}, "documents row 0 is zero, NaN or infinite"),
        ({"relevance": sparse.csr_array((3, 60))}, r"relevance must be .* = \(40, 60\); got 3x60"),
        ({"relevance": -PROBLEM.relevance}, "finite gains >= 0"),
        ({"relevance": "labels"}, "scipy sparse matrix of gains; got str"),
        ({"groups": [1, 2]}, r"one group for each of the 40 queries; got shape \(2,\)"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    inputs: dict[str, Any] = {
        "documents": PROBLEM.documents,
        "queries": PROBLEM.queries,
        "relevance": PROBLEM.relevance,
    }
    with pytest.raises(InputError, match=message):
        fit_ridge(**inputs | changes, evaluate=evaluator_of(PROBLEM))


def test_a_map_is_for_one_width() -> None:
    query_map = fit_ridge(PROBLEM.documents, PROBLEM.queries, PROBLEM.relevance, evaluate=evaluator_of(PROBLEM))
    with pytest.raises(InputError, match="for queries of 6 dimensions; got 5"):
        query_map.apply(np.ones((2, 5)))


def test_a_regression_uses_the_given_penalty() -> None:
    rows = torch.from_numpy(PROBLEM.queries)
    responses = torch.from_numpy(PROBLEM.queries[:, ::-1].copy())
    ridge = rows.T @ rows + 0.1 * torch.trace(rows.T @ rows) / 6 * torch.eye(6, dtype=torch.float64)
    expected = torch.linalg.solve(ridge, rows.T @ responses)
    torch.testing.assert_close(regression(rows).fit(responses, 0.1), expected)
