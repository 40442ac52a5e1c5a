"""Queries that teach a map: where each should go, what is left out together, and which topics there are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from oracle import Problem, random_problem, unit
from query_map_problems import dense_residuals, turned
from scipy import sparse
from selection_problems import planted

from nudge_integrations.query_map.teaching import Teaching, labelled_queries, teaching_of
from nudge_integrations.solver import prepare

PROBLEM = random_problem(0, documents=60, queries=40, width=6)


def teaching(problem: Problem, support: int = 6144, **options: Any) -> Teaching:
    given = {"groups": problem.groups, "ignored": problem.ignored, **options}
    prepared = prepare(problem.documents, problem.queries, problem.relevance, **given)
    return teaching_of(prepared, support)


@pytest.mark.parametrize("block_bytes", [1, 1 << 24])
def test_residuals_are_those_of_a_dense_softmax(block_bytes: int) -> None:
    learner = teaching(PROBLEM)
    found = learner.residuals(learner.queries, (0.1, 0.03), block_bytes)
    for temperature, residuals in found.items():
        np.testing.assert_allclose(residuals.numpy(), dense_residuals(PROBLEM, temperature), atol=1e-5)


def test_residuals_of_queries_that_were_mapped_already_are_those_of_a_dense_softmax() -> None:
    learner, query_map = teaching(PROBLEM), np.random.default_rng(1).normal(size=(6, 6))
    mapped = learner.queries + learner.queries @ torch.from_numpy(query_map).float()
    found = learner.residuals(mapped, (0.1,), 1 << 24)[0.1]
    np.testing.assert_allclose(found.numpy(), dense_residuals(PROBLEM, 0.1, query_map), atol=1e-5)


@pytest.mark.parametrize("support", [6144, 12])
def test_the_document_that_a_query_is_itself_pushes_it_nowhere(support: int) -> None:
    random = np.random.default_rng(0)
    ignored = random.permutation(60)[:40]
    ignored[::7] = -1
    problem = replace(PROBLEM, ignored=ignored)
    learner = teaching(problem, support)
    assert learner.hidden is not None
    at = np.flatnonzero(learner.hidden >= 0)
    taken = problem.documents[ignored[learner.rows[at]]]
    np.testing.assert_allclose(learner.support[learner.hidden[at]].numpy(), taken, atol=1e-6)
    if support > 60:
        found = learner.residuals(learner.queries, (0.1, 0.03), 1 << 12)
        for temperature, residuals in found.items():
            np.testing.assert_allclose(residuals.numpy(), dense_residuals(problem, temperature), atol=1e-5)
            assert not np.allclose(residuals.numpy(), dense_residuals(PROBLEM, temperature), atol=1e-2)


def test_a_query_that_is_the_only_document_teaches_numbers() -> None:
    problem = Problem(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)), np.zeros(1, np.int64), np.zeros(1, np.int64))
    learner = teaching(problem)
    assert torch.isfinite(learner.residuals(learner.queries, (0.01,), 1 << 12)[0.01]).all()


def test_a_sampled_softmax_is_close_to_the_exact_one() -> None:
    problem = turned(documents=4000, queries=30)
    learner = teaching(problem, 2000)
    assert len(learner.support) < 2100
    found = learner.residuals(learner.queries, (0.1,), 1 << 24)[0.1]
    expected = torch.from_numpy(dense_residuals(problem, 0.1))
    assert torch.cosine_similarity(found.double(), expected).min() > 0.99


def test_every_document_of_the_softmax_stands_for_as_many_as_were_left_out() -> None:
    problem = turned(documents=500, queries=300)
    learner = teaching(problem, 100)
    labelled = int((problem.gains.sum(axis=0) > 0).sum())
    weights = np.exp(learner.log_weight.numpy())
    np.testing.assert_allclose([weights[:100].sum(), weights[100:].sum()], [labelled, 500 - labelled], rtol=1e-5)
    np.testing.assert_allclose(torch.linalg.vector_norm(learner.support, dim=1), 1.0, atol=1e-6)


def test_queries_without_a_relevant_document_teach_nothing() -> None:
    gains = PROBLEM.gains.copy()
    gains[[3, 17]] = 0.0
    problem = replace(PROBLEM, gains=gains)
    learner = teaching(problem)
    assert learner.rows.tolist() == [row for row in range(40) if row not in (3, 17)]
    fewer = teaching(PROBLEM.part(learner.rows))
    np.testing.assert_array_equal(learner.queries, fewer.queries)
    np.testing.assert_array_equal(learner.positives, fewer.positives)
    np.testing.assert_array_equal(learner.documents, fewer.documents)
    every = labelled_queries(prepare(problem.documents, problem.queries, problem.relevance, max_queries=5))
    np.testing.assert_array_equal(every.rows, learner.rows)


def test_a_positive_is_the_mean_of_the_relevant_documents_weighed_by_gain() -> None:
    expected = PROBLEM.gains / PROBLEM.gains.sum(axis=1, keepdims=True) @ PROBLEM.documents
    np.testing.assert_allclose(teaching(PROBLEM).positives, expected, atol=1e-6)


def test_halves_hold_whole_groups_and_queries_of_one_document_share_its_code() -> None:
    learner = teaching(PROBLEM)
    for half in (learner.cross_selection, ~learner.cross_selection):
        assert half.any()
        assert not set(PROBLEM.groups[half]) & set(PROBLEM.groups[~half])
    wanted = PROBLEM.gains.argmax(axis=1)
    np.testing.assert_array_equal(
        learner.documents[:, None] == learner.documents[None], wanted[:, None] == wanted[None]
    )


@pytest.mark.parametrize(("hidden", "parted"), [(0.0, True), (3.0, False)])
def test_clusters_share_no_document_unless_they_share_most(hidden: float, parted: bool) -> None:
    documents, queries, gains = planted(7, documents=60, queries=300)
    # What every other query says beside its document makes the topics, if it is loud.
    queries = unit(queries + hidden * np.eye(12)[np.arange(300) % 2])
    clusters = teaching_of(prepare(documents, queries, gains)).clusters
    relevant = gains.toarray().argmax(axis=1)
    assert set(clusters) == {0, 1}
    assert all(len(set(clusters[relevant == document])) == 1 for document in set(relevant)) == parted


def test_queries_with_equal_vectors_are_one_group() -> None:
    twice = np.concatenate([PROBLEM.queries, PROBLEM.queries])
    learner = teaching_of(prepare(PROBLEM.documents, twice, sparse.vstack([PROBLEM.relevance] * 2)))
    np.testing.assert_array_equal(learner.groups[:40], learner.groups[40:])
    assert len(set(learner.groups)) == 40
    np.testing.assert_array_equal(learner.cross_selection[:40], learner.cross_selection[40:])
