"""The map in several steps against numpy loops, and the choice of its setting by folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from oracle import Problem, random_problem, unit
from query_map_problems import evaluator_of, turned

from nudge_integrations.errors import InputError
from nudge_integrations.query_map import QueryMap, fit_iterated_ridge, fit_ridge

PROBLEM = turned()


def fitted(problem: Problem = PROBLEM, **options: Any) -> QueryMap:
    inputs = problem.documents, problem.queries, problem.relevance
    return fit_iterated_ridge(*inputs, evaluate=evaluator_of(problem), **options)


def after_steps(problem: Problem, query_map: QueryMap) -> np.ndarray:
    """Return the map after its steps, written out with a dense softmax."""
    assert query_map.whitening is not None
    assert query_map.penalty is not None
    covariance = np.cov(problem.documents.T, bias=True)
    width = len(covariance)
    floor = query_map.whitening * np.trace(covariance) / width * np.eye(width)
    projection = floor @ np.linalg.inv(covariance + floor)
    energy = problem.queries.T @ problem.queries
    kernel = np.linalg.inv(energy + query_map.penalty * np.trace(energy) / width * np.eye(width))
    target = problem.gains / problem.gains.sum(axis=1, keepdims=True)
    total = np.zeros((width, width))
    for _ in range(query_map.steps):
        scores = np.exp((problem.queries + problem.queries @ total) @ problem.documents.T / query_map.temperature)
        residual = (target - scores / scores.sum(axis=1, keepdims=True)) @ problem.documents
        change = kernel @ problem.queries.T @ residual @ projection
        total += query_map.strength * query_map.scale * change
    return total


def test_the_map_is_the_steps_written_out() -> None:
    query_map = fitted()
    assert query_map.steps >= 1
    np.testing.assert_allclose(query_map.map, after_steps(PROBLEM, query_map), atol=1e-3 * np.abs(query_map.map).max())


def test_new_queries_gain_as_much_as_the_held_out_score() -> None:
    train, test = PROBLEM.part(np.arange(160)), PROBLEM.part(np.arange(160, 240))
    query_map = fitted(train)
    evaluate = evaluator_of(test)
    base, adapted = (
        float(evaluate(torch.from_numpy(rows)).mean()) for rows in (test.queries, query_map.apply(test.queries))
    )
    assert adapted > base + 0.1
    assert query_map.score == pytest.approx(adapted, abs=0.08)
    assert query_map.held_out_queries is not None
    again = evaluator_of(train)(torch.from_numpy(query_map.held_out_queries)).mean()
    assert float(again) == pytest.approx(query_map.score)


def test_a_group_is_in_one_fold() -> None:
    query_map = fitted(groups=np.zeros(len(PROBLEM.queries)))
    assert query_map.held_out_queries is not None
    np.testing.assert_allclose(query_map.held_out_queries, PROBLEM.queries, atol=1e-6)
    assert not query_map.map.any()


def test_a_given_ridge_is_not_fitted_again_and_blocks_change_nothing() -> None:
    ridge = fit_ridge(PROBLEM.documents, PROBLEM.queries, PROBLEM.relevance, evaluate=evaluator_of(PROBLEM))
    one, other = fitted(ridge=ridge), fitted(block_bytes=1 << 12)
    np.testing.assert_allclose(one.map, other.map, atol=1e-3 * np.abs(one.map).max())
    assert one.score == pytest.approx(other.score, abs=0.01)


@pytest.mark.parametrize(("documents", "queries"), [(1, 1), (20, 1), (1, 3)])
def test_one_of_anything_is_enough(documents: int, queries: int) -> None:
    problem = random_problem(2, documents=documents, queries=queries, width=4)
    query_map = fitted(problem)
    assert np.isfinite(query_map.map).all()
    np.testing.assert_allclose(np.linalg.norm(query_map.apply(unit(problem.queries)), axis=1), 1.0, atol=1e-6)


def test_one_fold_is_refused() -> None:
    with pytest.raises(InputError, match="folds at least 2"):
        fitted(folds=1)
