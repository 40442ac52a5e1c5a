"""Noes and weights of labels against an oracle that fits again without each query, in slow and obvious numpy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import Floats, Problem, metric_of, place, random_problem, same_question
from scipy import sparse

from nudge_integrations import InputError
from nudge_integrations.selection import select
from nudge_integrations.solver import Solution, prepare, solve


@dataclass(frozen=True)
class Feedback:
    """A problem with noes (m, n) and a weight for every label (m, n)."""

    problem: Problem
    noes: Floats
    shares: Floats

    def sums(self, kept: NDArray[np.bool_], beta: float, temperature: float | None) -> Floats:
        """Return G (n, d) of some of the queries: yes, minus the softmax, minus beta times no."""
        problem, gains = self.problem, self.problem.gains * self.shares
        yes = (gains > 0).astype(float)
        if temperature is None:
            weights = yes * self.shares
        else:
            counts = np.maximum(yes.sum(axis=1), 1)
            importance = np.where(yes.sum(axis=1) > 0, (yes * self.shares).sum(axis=1) / counts, 1.0)[:, None]
            total = np.where(gains.any(axis=1), gains.sum(axis=1), 1.0)[:, None]
            logits = np.exp(problem.queries @ problem.documents.T / temperature)
            soft = logits / logits.sum(axis=1, keepdims=True)
            able = (yes.sum(axis=1) > 0) | ((self.noes * self.shares).sum(axis=1) == 0)
            weights = importance * (gains / total - soft * able[:, None])
        weights = weights - beta * self.noes * self.shares
        labelled = yes[kept].sum(axis=0) + beta * (self.noes * self.shares)[kept].sum(axis=0) > 0
        return np.where(labelled[:, None], weights[kept].T @ problem.queries[kept], 0.0)

    def left_out(self, step: float, metric: str, beta: float, temperature: float | None, method: str) -> Floats:
        """Return the metric of every query that has an answer, by documents that moved without it and its copies."""
        problem, groups = self.problem, same_question(self.problem.queries)
        gains = problem.gains * self.shares
        values = []
        for query in np.flatnonzero(gains.any(axis=1)):
            sums = self.sums(groups != groups[query], beta, temperature)
            placed = place(problem.documents, sums, method, step)
            values.append(metric_of(placed @ problem.queries[query], gains[query], metric))
        return np.array(values)

    def importance(self) -> Floats:
        """Return the weight of every query that has an answer."""
        gains = self.problem.gains * self.shares
        rows = np.flatnonzero(gains.any(axis=1))
        return np.array([self.shares[row][gains[row] > 0].mean() for row in rows])


def feedback(seed: int, *, weighted: bool, copies: bool = False) -> Feedback:
    problem = random_problem(seed, documents=14, queries=12)
    random = np.random.default_rng(seed + 100)
    queries, gains = problem.queries.copy(), problem.gains.copy()
    if copies:
        queries[1], queries[5] = queries[0], queries[4]
    gains[9:] = 0.0  # these say no, or nothing
    noes = (random.random(gains.shape) < 0.15) * random.choice([1.0, 2.0], gains.shape)
    noes[gains > 0] = 0.0
    shares = random.choice([0.25, 1.0, 3.0], gains.shape) if weighted else np.ones(gains.shape)
    return Feedback(replace(problem, queries=queries, gains=gains), noes, shares)


def solved(given: Feedback, **options: Any) -> Solution:
    shares = sparse.csr_array(given.shares) if (given.shares != 1.0).any() else None
    problem = given.problem
    return solve(
        problem.documents, problem.queries, problem.relevance - sparse.csr_array(given.noes), weights=shares, **options
    )


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m", "contrastive"])
@settings(max_examples=6, derandomize=True, deadline=None)
@given(
    seed=st.integers(0, 999),
    weighted=st.booleans(),
    copies=st.booleans(),
    beta=st.sampled_from([1.0, 0.25, 0.0]),
    step=st.sampled_from([0.1, 0.4, 1.0]),
    metric=st.sampled_from(["ndcg@3", "mrr@5", "recall@2", "map@4"]),
)
def test_every_query_is_evaluated_without_its_own_yes_and_no(
    method: str, seed: int, weighted: bool, copies: bool, beta: float, step: float, metric: str
) -> None:
    given_ = feedback(seed, weighted=weighted, copies=copies)
    temperature = 0.3 if method == "contrastive" else None
    path = "nudge-n" if method == "contrastive" else method
    solution = solved(
        given_,
        method=method,
        metric=metric,
        step=step,
        negative_weight=beta,
        temperature=temperature,
        block_bytes=1 << 16,
    )
    expected = given_.left_out(step, metric, beta, temperature, path)
    np.testing.assert_allclose(solution.per_query.score, expected, atol=1e-9)
    np.testing.assert_allclose(solution.score, np.average(expected, weights=given_.importance()), atol=1e-9)
    at_rest = given_.left_out(0.0, metric, beta, temperature, path)
    np.testing.assert_allclose(solution.baseline, np.average(at_rest, weights=given_.importance()), atol=1e-9)
    np.testing.assert_allclose(solution.curve.at(step), solution.score, atol=1e-9)
    sums = given_.sums(np.ones(12, bool), beta, temperature)
    placed = place(given_.problem.documents, sums, path, step)
    np.testing.assert_allclose(solution.vectors, placed[solution.rows], atol=2e-5)
    still = np.delete(np.arange(14), solution.rows)
    np.testing.assert_allclose(placed[still], given_.problem.documents[still], atol=1e-6)


def test_negatives_are_the_same_as_negative_relevance() -> None:
    given_ = feedback(3, weighted=False)
    problem = given_.problem
    one = solved(given_, method="nudge-n", step=0.3)
    two = solve(
        problem.documents,
        problem.queries,
        problem.relevance,
        negatives=sparse.csr_array(given_.noes),
        method="nudge-n",
        step=0.3,
    )
    np.testing.assert_array_equal(one.vectors, two.vectors)
    assert one.negative_weight == two.negative_weight


def test_a_document_moves_away_from_who_says_no_and_no_further_than_the_step() -> None:
    documents, queries = np.eye(4)[:3], np.array([[0.8, 0.6, 0.0, 0.0]])
    solution = solve(documents, queries, sparse.csr_array([[-1.0, 0.0, 0.0]]), method="nudge-n", step=0.2)
    assert solution.rows.tolist() == [0]
    assert float(solution.vectors[0] @ documents[0]) == pytest.approx(np.cos(0.2), abs=1e-6)
    assert float(solution.vectors[0] @ queries[0]) == pytest.approx(np.cos(np.arccos(0.8) + 0.2), abs=1e-6)


def test_the_weight_of_a_no_is_chosen_and_one_that_harms_is_left_out() -> None:
    random = np.random.default_rng(0)
    documents = random.normal(size=(40, 12))
    relevant = np.arange(240) % 40
    queries = documents[(relevant + 1) % 40] + 0.7 * random.normal(size=(240, 12))
    yes = sparse.csr_array((np.ones(240), (np.arange(240), relevant)), shape=(240, 40))
    # The other half of those that want a document say no to it.
    lies = sparse.lil_array((240, 40))
    lies[np.arange(120), relevant[:120]] = 3.0
    honest = sparse.csr_array((np.r_[np.zeros(120), np.ones(120)], (np.arange(240), relevant)), shape=(240, 40))
    harmed = solve(documents, queries, honest, negatives=lies, method="nudge-n")
    assert harmed.negative_weight == 0.0
    documents, queries, noes, wanted = hubs()
    yes = sparse.csr_array((np.ones(400), (np.arange(400), wanted)), shape=(400, 60))
    helped, alone = (solve(documents, queries, yes, negatives=given_, method="nudge-n") for given_ in (noes, None))
    assert helped.negative_weight is not None
    assert alone.negative_weight is None
    assert helped.score >= alone.score


def hubs(seed: int = 0) -> tuple[Floats, Floats, sparse.csr_array, NDArray[np.int64]]:
    """Return documents of which one in four lies in the way of the queries for its neighbour, and noes to these."""
    random = np.random.default_rng(seed)
    documents = random.normal(size=(60, 16))
    documents[1::4] = documents[::4] + 0.55 * random.normal(size=(15, 16))
    wanted = 4 * random.integers(0, 15, 400)
    towards = 0.8 * documents[wanted + 1] + 0.5 * documents[wanted]
    queries = towards + 0.5 * random.normal(size=(400, 16))
    unit = documents / np.linalg.norm(documents, axis=1, keepdims=True)
    top = np.argmax(queries @ unit.T, axis=1)
    said = np.flatnonzero(top == wanted + 1)
    noes = sparse.csr_array((np.ones(len(said)), (said, top[said])), shape=(400, 60))
    return documents, queries, noes, wanted


def test_noes_alone_move_documents_out_of_the_way_by_leave_one_out() -> None:
    documents, queries, noes, wanted = hubs()
    teach, test = np.arange(200), np.arange(200, 400)
    solution = solve(documents, queries[teach], -noes[teach])
    assert solution.status == "improved"
    assert "labels only say no" in solution.reason
    unit = documents / np.linalg.norm(documents, axis=1, keepdims=True)

    def rank(vectors: Any) -> float:
        scores = queries[test] @ vectors.T
        own = scores[np.arange(len(test)), wanted[test]]
        return float(((scores > own[:, None]).sum(axis=1) + 1).mean())

    assert rank(solution.apply(documents)) < rank(unit) - 0.2


@pytest.mark.parametrize("metric", ["ndcg@10", "mrr@10", "hit@1", "recall@3"])
def test_noes_alone_never_fail(metric: str) -> None:
    documents, queries, noes, _ = hubs(1)
    for run in (solve, select):
        assert run(documents, queries, -noes, metric=metric).status in ("improved", "no_gain")
        assert run(documents, queries[:1], -noes[[0]], metric=metric).status == "no_gain"
        everything = sparse.csr_array(-np.ones((2, 60)))
        assert run(documents, queries[:2], everything, metric=metric).status == "no_gain"


def test_what_was_prepared_takes_another_weight_and_select_heeds_noes_and_weights() -> None:
    given_ = feedback(8, weighted=True)
    problem = given_.problem
    prepared = prepare(
        problem.documents,
        problem.queries,
        problem.relevance,
        negatives=sparse.csr_array(given_.noes),
        weights=sparse.csr_array(given_.shares),
    )
    for beta in (0.0, 0.5):
        again = solve(prepared, method="nudge-n", step=0.3, negative_weight=beta)
        fresh = solved(given_, method="nudge-n", step=0.3, negative_weight=beta)
        np.testing.assert_allclose(again.per_query.score, fresh.per_query.score, atol=1e-9)
    chosen = select(prepared, standard_errors=0.0)
    expected = given_.left_out(0.0, "ndcg@10", 1.0, None, "nudge-n")
    assert chosen.baseline == pytest.approx(np.average(expected, weights=given_.importance()))
    np.testing.assert_allclose(chosen.per_query.baseline, expected, atol=1e-9)


def test_labels_of_weight_zero_are_no_labels_and_equal_weights_change_nothing() -> None:
    problem = random_problem(5)
    weights = np.ones(len(problem.queries))
    plain = solve(problem.documents, problem.queries, problem.relevance, standard_errors=0.0)
    equal = solve(problem.documents, problem.queries, problem.relevance, weights=7 * weights, standard_errors=0.0)
    assert equal.score == pytest.approx(plain.score)
    assert equal.step == pytest.approx(plain.step)
    np.testing.assert_allclose(equal.vectors, plain.vectors, atol=1e-6)
    weights[3:7] = 0.0
    gains = problem.gains.copy()
    gains[3:7] = 0.0
    zero = solve(problem.documents, problem.queries, problem.relevance, weights=weights, step=0.2, method="nudge-n")
    none = solve(problem.documents, problem.queries, sparse.csr_array(gains), step=0.2, method="nudge-n")
    np.testing.assert_allclose(zero.vectors, none.vectors, atol=1e-6)
    assert zero.queries == none.queries
    assert zero.score == pytest.approx(none.score)


def test_labels_of_a_validation_set_join_the_final_directions_with_their_noes() -> None:
    given_ = feedback(11, weighted=False)
    problem, half = given_.problem, np.arange(12) < 6
    both = problem.relevance - sparse.csr_array(given_.noes)
    held = (problem.queries[~half], both[np.flatnonzero(~half)])
    solution = solve(
        problem.documents,
        problem.queries[half],
        both[np.flatnonzero(half)],
        validation=held,
        method="nudge-n",
        step=0.3,
        negative_weight=0.5,
    )
    placed = place(problem.documents, given_.sums(np.ones(12, bool), 0.5, None), "nudge-n", 0.3)
    np.testing.assert_allclose(solution.vectors, placed[solution.rows], atol=1e-5)


def test_what_cannot_be_meant_is_refused() -> None:
    problem = random_problem(2)
    data = (problem.documents, problem.queries, problem.relevance)
    query, document = np.argwhere(problem.gains > 0)[0]
    with pytest.raises(InputError, match=rf"query row {query} says yes and no to document row {document}"):
        solve(*data, negatives=problem.relevance)
    with pytest.raises(InputError, match=r"negatives must hold finite numbers >= 0"):
        solve(*data, negatives=-problem.relevance)
    missing = problem.gains.copy()
    missing[query, document] = 0.0
    with pytest.raises(InputError, match=rf"no entry for query row {query} and document row {document}"):
        solve(*data, weights=sparse.csr_array(missing))
    for weights in (np.ones(3), -np.ones(len(problem.queries)), np.full(len(problem.queries), np.nan)):
        with pytest.raises(InputError, match="weights must be finite numbers >= 0"):
            solve(*data, weights=weights)
    with pytest.raises(InputError, match="give it alone"):
        solve(prepare(*data), weights=np.ones(len(problem.queries)))
