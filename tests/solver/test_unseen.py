"""Queries for unlabelled documents: evaluated without any label of the document, and protected by a bound."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import Floats, Problem, left_out, random_problem, unit
from scipy import sparse

from nudge_integrations.solver import Solution
from nudge_integrations.solver.nudging import solve_with
from nudge_integrations.solver.options import Options
from nudge_integrations.solver.problem import Labels
from nudge_integrations.solver.rank_changes import Changes

Ints = NDArray[np.int64]


def by_document(gains: Floats) -> Ints:
    """Return (m,) the most relevant document of each query, a number of its own for a query without one."""
    return np.array([row.argmax() if row.any() else -1 - query for query, row in enumerate(gains)], np.int64)


def labels_of(gains: Floats, groups: Ints) -> Labels:
    queries, documents = gains.shape
    vectors = torch.zeros(queries, 3), torch.zeros(documents, 3)
    return Labels(vectors[0], sparse.csr_array(gains), groups, np.arange(documents), vectors[1])


@settings(max_examples=40, derandomize=True, deadline=None)
@given(data=st.data())
def test_queries_are_grouped_by_the_document_that_they_want_most(data: st.DataObject) -> None:
    queries, documents = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 7))
    gain = st.sampled_from([0, 0, 0, 1, 2])
    drawn = data.draw(st.lists(gain, min_size=queries * documents, max_size=queries * documents))
    gains = np.array(drawn, np.float64).reshape(queries, documents)
    found = labels_of(gains, np.zeros(queries, np.int64)).by_document().groups
    expected = by_document(gains)
    np.testing.assert_array_equal(found[:, None] == found, expected[:, None] == expected)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(data=st.data())
def test_squares_are_those_of_each_querys_distance_from_its_start(data: st.DataObject) -> None:
    queries, count = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 14))
    random = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    start = random.uniform(size=queries)
    first = start + np.where(random.random(queries) < 0.5, 0.0, random.normal(size=queries))
    # Half of the changes share a parameter with others, some with those of the same query.
    parameter = np.where(
        random.random(count) < 0.5, random.integers(1, 4, count) / 2.0, random.uniform(0.0, 2.0, count)
    )
    changes = Changes(start, first, random.integers(0, queries, count), parameter, random.normal(size=count))
    squared = changes.squared()
    for at in (0.0, np.nextafter(0.0, 1.0), 0.5, 1.0, 1.5, *random.uniform(0.0, 2.0, 20), 9.0):
        np.testing.assert_allclose(squared.at(at), (changes.at(at) - start) ** 2, atol=1e-12)


def families(seed: int) -> Problem:
    """Return 10 families of four near documents; 90 queries ask for three of each by what the family has in common.

    A document that turns towards its queries stands in front of its family, so queries for the others lose.
    """
    random = np.random.default_rng(seed)

    def scattered(count: int) -> Floats:
        return unit(random.normal(size=(count, 20)))

    corpus = unit(np.repeat(scattered(10), 4, axis=0) + 0.6 * scattered(40))
    away = 0.6 * np.repeat(scattered(10), 4, axis=0) + 0.5 * scattered(40)
    relevant = random.permutation(np.repeat(np.arange(40)[np.arange(40) % 4 < 3], 3))
    gains = np.zeros((90, 40))
    gains[np.arange(90), relevant] = 1
    asked = unit((corpus + away)[relevant] + 0.4 * scattered(90))
    return Problem(corpus, asked, gains, relevant)


FAMILIES = families(0)


def planned(problem: Problem, groups: Ints | None = None, **options: Any) -> Solution:
    chosen = Options(**{"standard_errors": 0.0, **options})
    return solve_with(chosen, problem.documents, problem.queries, problem.relevance, groups=groups)


@cache
def slow(step: float, temperature: float | None, *, unseen: bool) -> Floats:
    """Return each query's metric, refitted without it; or without all queries for its document, which so rests."""
    method = "nudge-n" if temperature is None else "contrastive"
    return left_out(FAMILIES, method, step, "ndcg@10", temperature=temperature, grouped=unseen)


def risen(step: float, temperature: float | None) -> tuple[float, float]:
    """Return how much queries for documents that nobody labelled gain, slowly, and the standard error of that."""
    difference = slow(step, temperature, unseen=True) - slow(0.0, temperature, unseen=True)
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


@pytest.mark.parametrize("temperature", [None, 0.2, 0.05])
@pytest.mark.parametrize("step", [0.1, 0.6])
def test_with_a_bound_queries_are_evaluated_without_any_label_of_their_document(
    temperature: float | None, step: float
) -> None:
    method = "nudge-n" if temperature is None else "contrastive"
    found = planned(FAMILIES, method=method, temperature=temperature, step=step, unseen_loss=1.0)
    np.testing.assert_allclose(found.per_query.unseen, slow(step, temperature, unseen=True), atol=1e-9)
    np.testing.assert_allclose(found.per_query.score, slow(step, temperature, unseen=False), atol=1e-9)
    assert found.candidates[0].unseen_score == pytest.approx(found.per_query.unseen.mean())
    # A softmax also moves the document's competitors away from its queries; without a bound that counts.
    kinder = planned(FAMILIES, method=method, temperature=temperature, step=step)
    assert (kinder.unseen_score > found.unseen_score) == (temperature is not None)


@pytest.mark.parametrize("temperature", [None, 0.2])
@pytest.mark.parametrize("grouped", [False, True])
def test_with_several_relevant_documents_the_labels_of_the_most_relevant_one_are_held_out(
    temperature: float | None, grouped: bool
) -> None:
    problem = random_problem(5, documents=25, queries=16, width=6, density=0.08)
    method = "nudge-n" if temperature is None else "contrastive"
    groups = problem.groups if grouped else None
    found = planned(problem, groups, method=method, temperature=temperature, step=0.5, metric="ndcg@5", unseen_loss=1.0)
    relevant = by_document(problem.gains)
    assert 1 < len(np.unique(relevant)) < 16
    alike = Problem(problem.documents, problem.queries, problem.gains, relevant)
    expected = left_out(alike, method, 0.5, "ndcg@5", temperature=temperature, grouped=True, unseen=True)
    np.testing.assert_allclose(found.per_query.unseen, expected, atol=1e-9)


@pytest.mark.parametrize("temperature", [None, 0.1])
@pytest.mark.parametrize("unseen_weight", [0.0, 0.5])
@pytest.mark.parametrize("bound", [0.0, 0.001, 0.03])
def test_the_step_is_the_best_of_those_within_the_bound(
    temperature: float | None, unseen_weight: float, bound: float
) -> None:
    method = "nudge-n" if temperature is None else "contrastive"
    options: dict[str, Any] = {"method": method, "temperature": temperature, "unseen_weight": unseen_weight}
    (chosen,) = planned(FAMILIES, unseen_loss=bound, **options).candidates
    gain, error = risen(chosen.step, temperature)
    assert gain - error >= -bound - 1e-9
    assert chosen.unseen_score == pytest.approx(slow(chosen.step, temperature, unseen=True).mean(), abs=1e-9)

    def objective(step: float) -> float:
        seen, unseen = (slow(step, temperature, unseen=side).mean() for side in (False, True))
        return float((1 - unseen_weight) * seen + unseen_weight * unseen)

    assert chosen.gain == pytest.approx(objective(chosen.step) - objective(0.0), abs=1e-9)
    risks = {step: risen(step, temperature) for step in np.linspace(0.0, 1.2, 9)}
    allowed = [step for step, (mean, error) in risks.items() if mean - error >= -bound]
    assert 0 < len(allowed) < 9
    assert max(objective(step) for step in allowed) <= objective(chosen.step) + 1e-9


@pytest.mark.parametrize("method", ["nudge-n", "contrastive"])
def test_a_bound_out_of_reach_changes_nothing_and_a_tighter_one_never_gains_more(method: str) -> None:
    free = planned(FAMILIES, method=method)
    bounded = [planned(FAMILIES, method=method, unseen_loss=bound) for bound in (1.0, 0.1, 0.03, 0.01, 0.0)]
    assert [line.step for line in bounded[0].candidates] == [line.step for line in free.candidates]
    np.testing.assert_array_equal(bounded[0].vectors, free.vectors)
    gains = np.array([[line.gain for line in solution.candidates] for solution in bounded])
    assert (np.diff(gains, axis=0) <= 1e-12).all()
    assert (gains[-1] < gains[0]).all()


def test_a_bound_without_any_label_is_no_error() -> None:
    nothing = Problem(FAMILIES.documents, FAMILIES.queries, np.zeros((90, 40)), FAMILIES.groups)
    assert planned(nothing, unseen_loss=0.001).reason.startswith("no query has a relevant document")
