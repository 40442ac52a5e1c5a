"""Properties of every fit, whatever the documents and labels: drawn at random, with the seed printed.

``make test-properties`` tries 10,000 cases; NUDGE_CASES says how many, in all, and NUDGE_SEED which.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from oracle import Problem, direction
from scipy import sparse

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import ArrayCorpus
from nudge_integrations.index import ExactIndex
from nudge_integrations.solver import Solution, solve

CASES = int(os.environ.get("NUDGE_CASES", "200"))
SEED = int(os.environ.get("NUDGE_SEED", secrets.randbelow(1 << 31)))
METHODS = ("nudge-n", "nudge-m", "nudge-m+n", "contrastive")


@dataclass(frozen=True)
class Case:
    """One problem."""

    name: str
    documents: NDArray[np.float32]
    queries: NDArray[np.float32]
    relevance: Any
    method: Any
    metric: str

    def solved(self, **options: Any) -> Solution:
        chosen = {"method": self.method, "metric": self.metric, **options}
        return solve(self.documents, self.queries, self.relevance, **chosen)


def case_of(number: int) -> Case:
    name = f"seed {SEED}, case {number}"
    rng = np.random.default_rng([SEED, number])
    n, m, d = (int(rng.integers(low, high)) for low, high in ((3, 40), (1, 25), (2, 12)))
    documents = rng.standard_normal((n, d)).astype(np.float32)
    answers = rng.integers(0, n, m)
    queries = documents[answers] + rng.uniform(0.1, 2) * rng.standard_normal((m, d))
    gains = sparse.lil_array((m, n))
    for query, answer in enumerate(answers):
        gains[query, answer] = int(rng.integers(1, 3))
        if rng.random() < 0.3:
            gains[query, int(rng.integers(0, n))] = 1
    metric = str(rng.choice(["ndcg@10", "hit@1", "recall@5", "mrr@10", "map@3"]))
    return Case(name, documents, queries.astype(np.float32), sparse.csr_array(gains), METHODS[number % 4], metric)


def unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return scaled


def check_never_below_step_0(case: Case, solution: Solution) -> None:
    assert solution.score >= solution.baseline - 1e-9


def check_unlabelled_rows_are_the_same_bits(case: Case, solution: Solution) -> None:
    labelled = set(np.unique(case.relevance.tocoo().col).tolist())
    assert set(solution.rows.tolist()) <= labelled
    others = np.setdiff1d(np.arange(len(case.documents)), solution.rows)
    base = unit(case.documents).astype(np.float32)
    applied = solution.apply(base)
    untouched = solve(base, case.queries, case.relevance, method="nudge-n", step=0.0).apply(base)
    np.testing.assert_array_equal(applied[others], untouched[others])


def check_unit_length(case: Case, solution: Solution) -> None:
    if solution.similarity == "cosine":
        np.testing.assert_allclose(np.linalg.norm(solution.apply(case.documents), axis=1), 1.0, atol=1e-6)


def check_order_of_documents_and_queries_does_not_matter(case: Case, solution: Solution) -> None:
    rng = np.random.default_rng(len(case.documents))
    rows, columns = rng.permutation(len(case.queries)), rng.permutation(len(case.documents))
    step: dict[str, Any] = {"step": solution.step if solution.method == case.method and solution.step else 0.2}
    plain = case.solved(**step)
    relevance = sparse.csr_array(case.relevance[rows][:, columns])
    # The best of several directions may hang on documents whose scores are equal but for rounding: one is compared.
    one: dict[str, Any] = {"method": "nudge-n" if case.method == "contrastive" else case.method}
    if plain.temperature is not None:
        one = {"method": case.method, "temperature": plain.temperature}
    other = solve(case.documents[columns], case.queries[rows], relevance, metric=case.metric, **one, **step)
    # Where what pulls a document and what pushes it away nearly cancel each other out, rounding says where it goes.
    problem = Problem(unit(case.documents), unit(case.queries), case.relevance.toarray(), np.arange(len(rows)))
    clear = np.linalg.norm(direction(problem, plain.temperature), axis=1)[columns] > 0.3
    unlabelled = case.relevance.sum(axis=0)[columns] == 0
    compared = clear | unlabelled
    expected = plain.apply(case.documents)[columns][compared]
    np.testing.assert_allclose(other.apply(case.documents[columns])[compared], expected, atol=1e-5)


def check_blocks_and_threads_do_not_matter(case: Case, solution: Solution) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        other = case.solved(block_bytes=65536)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(other.apply(case.documents), solution.apply(case.documents), atol=1e-5)


def check_backend_does_not_matter(case: Case, solution: Solution) -> None:
    for documents in (torch.from_numpy(case.documents), ArrayCorpus(case.documents), case.documents.astype(np.float64)):
        chosen: dict[str, Any] = {"method": case.method, "metric": case.metric}
        other = solve(documents, case.queries, case.relevance, **chosen)
        np.testing.assert_allclose(other.apply(case.documents), solution.apply(case.documents), atol=1e-5)


def check_search_equals_brute_force(case: Case, solution: Solution) -> None:
    served = solution.apply(case.documents)
    ids = [f"d{row}" for row in range(len(served))]
    _, scores = ExactIndex(ids, served, similarity="dot").search(case.queries, 3)
    every = case.queries.astype(np.float64) @ served.astype(np.float64).T
    best = -np.sort(-every, axis=1)[:, :3]
    np.testing.assert_allclose(np.asarray(scores)[:, : best.shape[1]], best, atol=1e-4)


def check_fitting_twice_is_fitting_once(case: Case, solution: Solution) -> None:
    again = case.solved()
    assert (again.step, again.score) == (solution.step, solution.score)
    np.testing.assert_array_equal(again.vectors, solution.vectors)


def check_taking_back_what_was_applied_gives_what_was_there(case: Case, solution: Solution) -> None:
    ids = [f"d{row}" for row in range(len(case.documents))]
    nudge = Nudge.from_solution(solution, ids=ids, documents=case.documents, texts=None, encoder="toy", dataset_hash="")
    base = unit(case.documents).astype(np.float32)
    np.testing.assert_allclose(nudge.revert(ids, nudge.apply(ids, base)), base, atol=1e-6)


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_every_fit_keeps_what_is_promised(check: Any) -> None:
    print(f"seed {SEED}: NUDGE_SEED={SEED} tries the same cases")  # noqa: T201
    for number in range(-(-CASES // len(CHECKS))):
        case = case_of(number)
        try:
            check(case, case.solved())
        except Exception as error:
            raise AssertionError(f"{case.name} ({case.method}, {case.metric}): {error}") from error
