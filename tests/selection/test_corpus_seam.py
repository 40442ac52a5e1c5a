"""A corpus of one's own: `select` asks it for a few searches, however many candidates, and answers as for arrays."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from selection_problems import planted, unit

from nudge_integrations.corpus import Neighbours
from nudge_integrations.errors import InputError
from nudge_integrations.selection import select
from nudge_integrations.solver import Solution, prepare, solve

Vectors = NDArray[np.float32]


class CountingCorpus:
    """Unit vectors that are searched by sorting all scores; counts the searches."""

    def __init__(self, vectors: NDArray[np.float64], *, exact: bool = True) -> None:
        self.vectors, self.dimension = unit(vectors).astype(np.float32), vectors.shape[1]
        self.exact, self.searches = exact, 0

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Vectors, k: int) -> Neighbours:
        self.searches += 1
        scores = queries @ self.vectors.T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return Neighbours(np.take_along_axis(scores, rows, axis=1), rows, self.exact)

    def take(self, rows: NDArray[np.int64]) -> Vectors:
        return self.vectors[rows]

    def sample(self, count: int, seed: int) -> Vectors:
        rows = np.random.default_rng(seed).choice(len(self), min(count, len(self)), replace=False)
        return self.vectors[np.sort(rows)]


def same(one: Solution, other: Solution) -> None:
    assert (one.method, one.status, len(one.candidates)) == (other.method, other.status, len(other.candidates))
    assert (one.score, one.unseen_score) == pytest.approx((other.score, other.unseen_score), abs=1e-9)
    assert one.step == pytest.approx(other.step, abs=1e-5)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5)
    assert (one.query_map is None) == (other.query_map is None)
    if one.query_map is not None and other.query_map is not None:
        np.testing.assert_allclose(one.query_map, other.query_map, atol=1e-5)


@pytest.mark.parametrize("candidates", [("nudge",), ("query-map",), ("nudge", "query-map", "query-map+nudge")])
@pytest.mark.parametrize(("documents", "turned", "hidden"), [(80, 1.5, 0.0), (400, 0.7, 0.9)])
def test_a_corpus_is_searched_at_most_four_times_and_is_served_as_an_array_is(
    candidates: tuple[str, ...], documents: int, turned: float, hidden: float
) -> None:
    vectors, queries, gains = planted(0, documents=documents, turned=turned, hidden=hidden)
    corpus = CountingCorpus(vectors)
    solution = select(corpus, queries, gains, candidates=candidates)
    # A second one looks deeper where most documents near a query are labelled.
    assert 1 <= corpus.searches <= (2 if candidates == ("nudge",) else 4)
    same(solution, select(vectors, queries, gains, candidates=candidates))


def test_an_approximate_corpus_serves_as_well_and_says_so() -> None:
    vectors, queries, gains = planted(0, turned=1.5)
    corpus = CountingCorpus(vectors, exact=False)
    prepared = prepare(corpus, queries, gains)
    assert not prepared.exact
    assert prepare(vectors, queries, gains).exact
    same(select(prepared), select(CountingCorpus(vectors), queries, gains))


def test_what_was_prepared_costs_no_further_first_pass() -> None:
    vectors, queries, gains = planted(0, documents=400, turned=0.7, hidden=0.9)
    corpus = CountingCorpus(vectors)
    prepared = prepare(corpus, queries, gains)
    first = corpus.searches
    for options in ({}, {"method": "nudge-n"}, {"method": "contrastive"}, {"metric": "mrr@5"}, {"unseen_weight": 0.5}):
        chosen: dict[str, Any] = dict(options)
        same(solve(prepared, **chosen), solve(vectors, queries, gains, **chosen))
    assert select(prepared, candidates="nudge").status == "improved"
    assert corpus.searches == first
    for weight in (0.5,):
        before = corpus.searches
        solution = select(prepared, unseen_weight=weight)
        assert corpus.searches - before <= 3
        same(solution, select(vectors, queries, gains, unseen_weight=weight))


def test_the_method_something_was_prepared_with_does_not_matter_to_select() -> None:
    vectors, queries, gains = planted(0, documents=400, turned=0.7, hidden=0.9)
    prepared = prepare(vectors, queries, gains, metric="ndcg@20")
    solve(prepared, method="nudge-m")
    same(select(prepared, metric="mrr@5"), select(vectors, queries, gains, metric="mrr@5"))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ("queries", {}, "give it alone"),
        (None, {"groups": np.arange(320)}, "give it alone"),
        (None, {"seed": 3}, "seed cannot change any more"),
        (None, {"max_queries": 7}, "max_queries cannot change any more"),
        (None, {"metric": "ndcg@30"}, "metric cannot change any more"),
    ],
)
def test_what_was_prepared_takes_no_other_data(arguments: str | None, options: dict[str, Any], message: str) -> None:
    vectors, queries, gains = planted(0)
    prepared = prepare(vectors, queries, gains)
    with pytest.raises(InputError, match=message):
        select(prepared, queries if arguments else None, **options)


def test_pools_that_miss_documents_are_filled_up_and_not_searched_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("nudge_integrations.solver.prepare"), "_POOL", 40)
    vectors, queries, gains = planted(0, documents=3000, turned=0.7, hidden=0.9)
    corpus = CountingCorpus(vectors)
    solution = select(corpus, queries, gains)
    assert corpus.searches <= 4
    assert next(line for line in solution.candidates if line.method == solution.method).exact


def test_a_corpus_whose_documents_are_nearly_all_labelled_is_searched_at_most_four_times() -> None:
    vectors, queries, gains = planted(0, documents=1000, queries=3000, turned=1.5)
    corpus = CountingCorpus(vectors)
    select(corpus, queries, gains)
    assert corpus.searches <= 4
