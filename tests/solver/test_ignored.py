"""Queries that are documents themselves: none of them ever finds itself, in any figure that a fit reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from oracle import Problem, held_out, left_out, random_problem, unit
from scipy import sparse

from nudge_integrations.errors import InputError
from nudge_integrations.solver import Solution, prepare, solve

METHODS = ("nudge-n", "nudge-m", "nudge-m+n", "nudge-s", "contrastive")


def ignoring(seed: int, documents: int = 40, queries: int = 30, width: int = 5) -> Problem:
    """Return queries of which each ignores a document: the nearest, a relevant one, any other, or none."""
    problem = random_problem(seed, documents, queries, width)
    nearest = (problem.queries @ problem.documents.T).argmax(axis=1)
    relevant, random = problem.gains.argmax(axis=1), np.random.default_rng(seed)
    drawn = random.integers(0, documents, queries)
    ignored = np.select([drawn % 4 == part for part in range(3)], [nearest, relevant, drawn], -1)
    return replace(problem, ignored=ignored, groups=np.arange(queries))


def solved(problem: Problem, **options: Any) -> Solution:
    return solve(problem.documents, problem.queries, problem.relevance, ignored=problem.ignored, **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [0, 1])
def test_figures_are_those_of_rankings_without_the_document_that_is_the_query(method: str, seed: int) -> None:
    problem = ignoring(seed)
    temperature = 0.1 if method == "contrastive" else None
    for step, metric in ((0.0, "ndcg@10"), (0.4, "ndcg@10"), (0.4, "recall@3"), (0.9, "mrr@5")):
        solution = solved(problem, method=method, step=step, metric=metric, temperature=temperature)
        for values, unseen in ((solution.per_query.score, False), (solution.per_query.unseen, True)):
            expected = left_out(problem, method, step, metric, temperature=temperature, unseen=unseen)
            np.testing.assert_allclose(values, expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_curve_counts_no_query_among_its_own_results(method: str) -> None:
    problem = ignoring(2)
    temperature = 0.1 if method == "contrastive" else None
    solution = solved(problem, method=method, temperature=temperature)
    for step in (0.05, 0.3, 0.7):
        expected = left_out(problem, method, step, "ndcg@10", temperature=temperature).mean()
        assert solution.curve.at(step) == pytest.approx(expected, abs=1e-6)


def test_held_out_queries_ignore_their_own_documents() -> None:
    problem, evaluation = ignoring(3), ignoring(4)
    evaluation = replace(evaluation, documents=problem.documents)
    given = evaluation.queries, evaluation.relevance, evaluation.ignored
    solution = solved(problem, method="nudge-n", step=0.3, validation=given, refit=False)
    assert solution.score == pytest.approx(held_out(problem, evaluation, "nudge-n", 0.3, "ndcg@10"), abs=1e-6)
    other = solved(problem, method="nudge-n", step=0.3, validation=given[:2], refit=False)
    assert other.score != pytest.approx(solution.score)


@pytest.mark.parametrize("labelled", [5, 40])
def test_a_search_is_deep_enough_where_next_to_all_documents_are_labelled(labelled: int) -> None:
    random = np.random.default_rng(labelled)
    documents, queries = unit(random.normal(size=(45, 4))), unit(random.normal(size=(40, 4)))
    gains = np.zeros((40, 45))
    gains[np.arange(40), np.arange(40) % labelled] = 1.0
    ignored = (queries @ documents.T).argmax(axis=1)
    problem = Problem(documents, queries, gains, np.arange(40), ignored)
    for metric in ("ndcg@3", "ndcg@45"):
        solution = solved(problem, method="nudge-n", step=0.2, metric=metric)
        expected = left_out(problem, "nudge-n", 0.2, metric)
        # Beyond the last document found there is the one that is ignored, which the oracle ranks last.
        wanted = problem.gains[np.arange(40), ignored] > 0
        np.testing.assert_allclose(solution.per_query.score[~wanted], expected[~wanted], atol=1e-6)


def test_shifted_documents_leave_the_query_out_too() -> None:
    problem = ignoring(5)
    solution = solved(problem, method="nudge-n", step=0.3, shift=True)
    assert solution.shift is not None
    for values, unseen in ((solution.per_query.score, False), (solution.per_query.unseen, True)):
        shift = solution.shift.astype(np.float64)
        expected = left_out(problem, "nudge-n", 0.3, "ndcg@10", shift=shift, unseen=unseen)
        np.testing.assert_allclose(values, expected, atol=1e-6)


@pytest.mark.parametrize("ignored", [np.zeros(3), np.zeros(4, int), [[0], [0], [0]], [0, 1, 9], [0, -2, 1], ["a"] * 3])
def test_rows_that_are_no_rows_are_refused(ignored: Any) -> None:
    with pytest.raises(InputError, match="ignored"):
        solve(np.eye(3), np.eye(3), sparse.csr_array(np.eye(3)), ignored=ignored)


def test_arrays_have_no_ids_that_could_be_identical() -> None:
    labels = np.eye(3), np.eye(3), sparse.csr_array(np.eye(3))
    with pytest.raises(InputError, match="ignored="):
        solve(*labels, ignore_identical_ids=True)
    prepared = prepare(*labels, ignored=[0, -1, 1], ignore_identical_ids=True)
    with pytest.raises(InputError, match="prepare again"):
        solve(prepared, ignore_identical_ids=False)
