"""The map in several steps against numpy loops, and the choice of its setting by folds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from adaptor_problems import judge_of, turned
from oracle import Problem, random_problem, unit

from nudge_integrations.adaptor import Adaptor, fit_ridge, fit_softmax
from nudge_integrations.errors import InputError

PROBLEM = turned()


def fitted(problem: Problem = PROBLEM, **options: object) -> Adaptor:
    return fit_softmax(problem.documents, problem.queries, problem.relevance, judge=judge_of(problem), **options)  # type: ignore[arg-type]


def walked(problem: Problem, adaptor: Adaptor) -> np.ndarray:
    """Return the map after the adaptor's steps, written out with a dense softmax."""
    assert adaptor.whitening is not None
    assert adaptor.penalty is not None
    covariance = np.cov(problem.documents.T, bias=True)
    width = len(covariance)
    floor = adaptor.whitening * np.trace(covariance) / width * np.eye(width)
    projection = floor @ np.linalg.inv(covariance + floor)
    energy = problem.queries.T @ problem.queries
    kernel = np.linalg.inv(energy + adaptor.penalty * np.trace(energy) / width * np.eye(width))
    target = problem.gains / problem.gains.sum(axis=1, keepdims=True)
    total = np.zeros((width, width))
    for _ in range(adaptor.steps):
        scores = np.exp((problem.queries + problem.queries @ total) @ problem.documents.T / adaptor.temperature)
        residual = (target - scores / scores.sum(axis=1, keepdims=True)) @ problem.documents
        change = kernel @ problem.queries.T @ residual @ projection
        total += adaptor.strength * adaptor.scale * change
    return total


def test_the_map_is_the_steps_written_out() -> None:
    adaptor = fitted()
    assert adaptor.steps >= 1
    np.testing.assert_allclose(adaptor.map, walked(PROBLEM, adaptor), atol=1e-3 * np.abs(adaptor.map).max())


def test_queries_outside_the_folds_gain_what_the_score_says() -> None:
    train, test = PROBLEM.part(np.arange(160)), PROBLEM.part(np.arange(160, 240))
    adaptor = fitted(train)
    judge = judge_of(test)
    base, adapted = (
        float(judge(torch.from_numpy(rows)).mean()) for rows in (test.queries, adaptor.apply(test.queries))
    )
    assert adapted > base + 0.1
    assert adaptor.score == pytest.approx(adapted, abs=0.08)
    assert adaptor.held_out_queries is not None
    again = judge_of(train)(torch.from_numpy(adaptor.held_out_queries)).mean()
    assert float(again) == pytest.approx(adaptor.score)


def test_a_group_is_in_one_fold() -> None:
    adaptor = fitted(groups=np.zeros(len(PROBLEM.queries)))
    assert adaptor.held_out_queries is not None
    np.testing.assert_allclose(adaptor.held_out_queries, PROBLEM.queries, atol=1e-6)
    assert not adaptor.map.any()


def test_a_ridge_at_hand_is_not_fitted_again_and_blocks_change_nothing() -> None:
    ridge = fit_ridge(PROBLEM.documents, PROBLEM.queries, PROBLEM.relevance, judge=judge_of(PROBLEM))
    one, other = fitted(ridge=ridge), fitted(block_bytes=1 << 12)
    np.testing.assert_allclose(one.map, other.map, atol=1e-3 * np.abs(one.map).max())
    assert one.score == pytest.approx(other.score, abs=0.01)


@pytest.mark.parametrize(("documents", "queries"), [(1, 1), (20, 1), (1, 3)])
def test_one_of_anything_is_enough(documents: int, queries: int) -> None:
    problem = random_problem(2, documents=documents, queries=queries, width=4)
    adaptor = fitted(problem)
    assert np.isfinite(adaptor.map).all()
    np.testing.assert_allclose(np.linalg.norm(adaptor.apply(unit(problem.queries)), axis=1), 1.0, atol=1e-6)


def test_one_fold_is_refused() -> None:
    with pytest.raises(InputError, match="folds at least 2"):
        fitted(folds=1)
