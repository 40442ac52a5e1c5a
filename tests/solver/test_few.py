"""Fewer than 30 labelled queries: documents are what was drawn, and those that nobody labelled are protected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import Problem, unit
from scipy import stats

from nudge_integrations.selection import select
from nudge_integrations.solver import Solution, solve

DIMENSIONS, DOCUMENTS = 16, 60


def few(
    queries: int, relevant: int, *, hidden: int | None = None, documents: int = DOCUMENTS, seed: int = 0
) -> Problem:
    """Return queries that ask in turn for a few documents, the first ``hidden`` of them by a topic of its own each."""
    random = np.random.default_rng(seed)
    corpus, topics = (unit(random.normal(size=(documents, DIMENSIONS))) for _ in range(2))
    asked = np.arange(queries) % relevant
    topic = (asked < (relevant if hidden is None else hidden))[:, None] * topics[asked]
    gains = np.zeros((queries, documents))
    gains[np.arange(queries), asked] = 1
    vectors = unit(0.4 * corpus[asked] + topic + 0.1 * unit(random.normal(size=(queries, DIMENSIONS))))
    return Problem(corpus, vectors, gains, np.arange(queries))


def auto(problem: Problem, **options: Any) -> Solution:
    return solve(problem.documents, problem.queries, problem.relevance, **options)


def draws(problem: Problem, solution: Solution) -> tuple[float, float, int]:
    """Return the gain, its standard error over documents and their number, by the textbook."""
    difference = solution.per_query.score - solution.per_query.baseline
    relevant = problem.gains.argmax(axis=1)
    sums = np.array([(difference - difference.mean())[relevant == document].sum() for document in np.unique(relevant)])
    return difference.mean(), np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(difference), len(sums)


ALMOST_NOTHING = 1e-9  # standard errors: 0 would turn the caution off


@pytest.mark.parametrize(("queries", "relevant", "seed"), [(28, 14, 1), (28, 7, 2), (20, 10, 2), (12, 6, 4)])
def test_the_gain_must_exceed_its_errors_over_documents_in_students_t(queries: int, relevant: int, seed: int) -> None:
    problem = few(queries, relevant, seed=seed)
    gain, error, documents = draws(problem, auto(problem, standard_errors=ALMOST_NOTHING))
    assert documents == relevant
    least = stats.norm.ppf(stats.t.cdf(gain / error, documents - 1)) / 1.5
    assert auto(problem, standard_errors=least * 0.999).status == "improved"
    refused = auto(problem, standard_errors=least * 1.001)
    assert refused.status == "no_gain"
    assert f"standard errors of {error:.4f} over {relevant} documents or groups" in refused.reason


def test_what_holds_for_many_documents_is_learnt_from_few_queries_about_them() -> None:
    solution = auto(few(28, 14, seed=2))
    assert solution.status == "improved"
    assert solution.score > solution.baseline + 0.5


def test_queries_for_unlabelled_documents_lose_next_to_nothing() -> None:
    problem = few(28, 14, seed=3)
    assert auto(problem, standard_errors=0).unseen_score < auto(problem, standard_errors=0).baseline - 0.02
    careful = auto(problem, standard_errors=ALMOST_NOTHING)
    assert careful.unseen_score > careful.baseline - 0.001


@pytest.mark.parametrize("seed", range(4))
def test_what_a_few_documents_show_is_not_taken_for_all(seed: int) -> None:
    refused = auto(few(28, 7, hidden=2, seed=seed))
    assert refused.status == "no_gain"
    assert "over 7 documents or groups, as fewer than 30 queries are labelled" in refused.reason
    # From 30 queries on each is a draw of its own.
    assert auto(few(30, 7, hidden=2, seed=seed)).status == "improved"


def test_the_stricter_guard_is_for_auto_and_unlabelled_documents_only() -> None:
    problem = few(28, 3, seed=1)
    assert auto(problem).status == "no_gain"
    assert select(problem.documents, problem.queries, problem.relevance).status == "no_gain"
    assert auto(problem, standard_errors=0).status == "improved"
    assert solve(problem.documents, problem.queries, problem.relevance, method="nudge-n").status == "improved"
    assert auto(few(28, 3, documents=3, seed=1)).status == "improved"


def test_a_caller_s_groups_count_where_they_are_fewer_than_documents() -> None:
    problem = few(28, 14, seed=2)
    assert auto(problem).status == "improved"
    twice = np.arange(28) // 14
    solution = solve(problem.documents, problem.queries, problem.relevance, groups=twice)
    assert solution.status == "no_gain"
    assert "over 2 documents or groups" in solution.reason
