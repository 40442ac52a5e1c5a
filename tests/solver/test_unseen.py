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

from nudge_integrations.solver import Candidate, Solution, nudge_search, solve
from nudge_integrations.solver.labels import Labels
from nudge_integrations.solver.rank_changes import RankChanges

Ints = NDArray[np.int64]


def by_document(gains: Floats) -> Ints:
    """Return (m,) the most relevant document of each query, a number of its own for a query without one."""
    return np.array([row.argmax() if row.any() else -1 - query for query, row in enumerate(gains)], np.int64)


def labels_of(gains: Floats, groups: Ints) -> Labels:
    queries, documents = gains.shape
    vectors = torch.zeros(queries, 3), torch.zeros(documents, 3)
    return Labels(vectors[0], sparse.csr_array(gains), groups, np.arange(documents), vectors[1], np.arange(queries))


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
    changes = RankChanges(start, first, random.integers(0, queries, count), parameter, random.normal(size=count))
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

# Fewer than 30 groups are few labels: then "auto" protects documents that nobody labelled, whatever their weight.
FEW = FAMILIES.groups // 4
ALMOST_NOTHING = 1e-9  # standard errors: 0 would turn the caution off


def protected(problem: Problem, temperature: float | None, **options: Any) -> tuple[Solution, Candidate]:
    """Return what "auto" does where queries for documents that nobody labelled are half of the traffic.

    The candidate is that of a temperature.
    """
    options = {"unseen_weight": 0.5, "standard_errors": 0.0, "temperature": temperature, **options}
    solution = solve(problem.documents, problem.queries, problem.relevance, **options)
    (found,) = (line for line in solution.candidates if line.temperature == temperature)
    return solution, found


def bounded_by(monkeypatch: pytest.MonkeyPatch, loss: float) -> None:
    monkeypatch.setattr(nudge_search, "_UNSEEN_LOSS", loss)


@cache
def slow(step: float, temperature: float | None, *, unseen: bool, few: bool = False) -> Floats:
    """Return each query's metric, refitted without it or its few group; or without all queries for its document."""
    method = "nudge-n" if temperature is None else "contrastive"
    groups = FEW if few and not unseen else FAMILIES.groups
    problem = Problem(FAMILIES.documents, FAMILIES.queries, FAMILIES.gains, groups)
    return left_out(problem, method, step, "ndcg@10", temperature=temperature, grouped=unseen or few)


def risen(step: float, temperature: float | None) -> tuple[float, float]:
    """Return how much queries for documents that nobody labelled gain, slowly, and the standard error of that."""
    difference = slow(step, temperature, unseen=True) - slow(0.0, temperature, unseen=True)
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


@pytest.mark.parametrize("temperature", [None, 0.2, 0.05])
@pytest.mark.parametrize("step", [0.1, 0.6])
def test_protected_queries_are_evaluated_without_any_label_of_their_document(
    temperature: float | None, step: float
) -> None:
    solution, found = protected(FAMILIES, temperature, step=step)
    unseen, seen = (slow(step, temperature, unseen=side) for side in (True, False))
    assert (found.unseen_score, found.score) == pytest.approx((unseen.mean(), seen.mean()), abs=1e-9)
    chosen = solution.temperature
    np.testing.assert_allclose(solution.per_query.unseen, slow(step, chosen, unseen=True), atol=1e-9)
    np.testing.assert_allclose(solution.per_query.score, slow(step, chosen, unseen=False), atol=1e-9)
    # A softmax also moves the document's competitors away from its queries; without protection that counts.
    method = "nudge-n" if temperature is None else "contrastive"
    _, kinder = protected(FAMILIES, temperature, method=method, step=step)
    assert kinder.unseen_score >= found.unseen_score
    assert (kinder.unseen_score > found.unseen_score) == (temperature is not None)


@pytest.mark.parametrize("temperature", [None, 0.2])
@pytest.mark.parametrize("grouped", [False, True])
def test_with_several_relevant_documents_the_labels_of_the_most_relevant_one_are_held_out(
    temperature: float | None, grouped: bool
) -> None:
    problem = random_problem(5, documents=25, queries=16, width=6, density=0.08)
    groups = problem.groups if grouped else None
    solution, found = protected(problem, temperature, groups=groups, step=0.5, metric="ndcg@5")
    relevant = by_document(problem.gains)
    assert 1 < len(np.unique(relevant)) < 16
    alike = Problem(problem.documents, problem.queries, problem.gains, relevant)

    def expected(temperature: float | None) -> Floats:
        method = "nudge-n" if temperature is None else "contrastive"
        return left_out(alike, method, 0.5, "ndcg@5", temperature=temperature, grouped=True, unseen=True)

    assert found.unseen_score == pytest.approx(expected(temperature).mean(), abs=1e-9)
    np.testing.assert_allclose(solution.per_query.unseen, expected(solution.temperature), atol=1e-9)


@pytest.mark.parametrize("temperature", [None, 0.1])
@pytest.mark.parametrize("unseen_weight", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("bound", [0.0, 0.001, 0.03])
def test_the_step_is_the_best_of_those_within_the_bound(
    monkeypatch: pytest.MonkeyPatch, temperature: float | None, unseen_weight: float, bound: float
) -> None:
    bounded_by(monkeypatch, bound)
    few = unseen_weight == 0.0
    options: dict[str, Any] = {"groups": FEW, "standard_errors": ALMOST_NOTHING} if few else {}
    _, chosen = protected(FAMILIES, temperature, unseen_weight=unseen_weight, **options)
    gain, error = risen(chosen.step, temperature)
    assert gain - error >= -bound - 1e-9
    assert chosen.unseen_score == pytest.approx(slow(chosen.step, temperature, unseen=True).mean(), abs=1e-9)

    def objective(step: float) -> float:
        seen, unseen = (slow(step, temperature, unseen=side, few=few).mean() for side in (False, True))
        return float((1 - unseen_weight) * seen + unseen_weight * unseen)

    assert chosen.gain == pytest.approx(objective(chosen.step) - objective(0.0), abs=1e-9)
    risks = {step: risen(step, temperature) for step in np.linspace(0.0, 1.2, 9)}
    allowed = [step for step, (mean, error) in risks.items() if mean - error >= -bound]
    assert 0 < len(allowed) < 9
    assert max(objective(step) for step in allowed) <= objective(chosen.step) + 1e-9


def test_protected_queries_lose_a_tenth_of_a_point_at_most() -> None:
    for temperature in (None, 0.1):
        _, chosen = protected(FAMILIES, temperature)
        gain, error = risen(chosen.step, temperature)
        assert gain - error >= -0.001 - 1e-9


@pytest.mark.parametrize("temperature", [None, 0.2])
def test_a_bound_out_of_reach_changes_nothing_and_a_tighter_one_never_gains_more(
    monkeypatch: pytest.MonkeyPatch, temperature: float | None
) -> None:
    few: dict[str, Any] = {"groups": FEW, "unseen_weight": 0.0}
    free, _ = protected(FAMILIES, temperature, **few)
    bounded = []
    for bound in (1.0, 0.1, 0.03, 0.01, 0.0):
        bounded_by(monkeypatch, bound)
        bounded.append(protected(FAMILIES, temperature, standard_errors=ALMOST_NOTHING, **few)[0])
    assert [line.step for line in bounded[0].candidates] == [line.step for line in free.candidates]
    np.testing.assert_array_equal(bounded[0].vectors, free.vectors)
    gains = np.array([[line.gain for line in solution.candidates] for solution in bounded])
    assert (np.diff(gains, axis=0) <= 1e-12).all()
    assert (gains[-1] < gains[0]).any()


def test_protection_without_any_label_is_no_error() -> None:
    nothing = sparse.csr_array((90, 40))
    solution = solve(FAMILIES.documents, FAMILIES.queries, nothing, unseen_weight=0.5)
    assert solution.reason.startswith("no query has a relevant document")
