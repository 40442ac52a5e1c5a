"""Signals beside dense scores: the exact weight, judged without a query's own labels, and nothing where it is noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from selection_problems import ndcg, planted, unit

from nudge_integrations.errors import InputError
from nudge_integrations.fusion import LexicalIndex, LexicalSignal, Scorer
from nudge_integrations.selection import select
from nudge_integrations.selection.fused import FusedPools, best_weights
from nudge_integrations.selection.fusing import fuse
from nudge_integrations.solver import Prepared, Solution, prepare, solve
from nudge_integrations.solver.served_scores import served_by_nudge

Texts = tuple[list[str], list[str]]


def coded(gains: sparse.csr_array, share: float, seed: int = 0) -> Texts:
    """Texts of documents with a code each, and of queries, some of which name that of the document they want."""
    random = np.random.default_rng(seed)
    documents = [f"part xk{row:04d} of series {row % 7}" for row in range(gains.shape[1])]
    wanted = gains.indices[gains.indptr[:-1]]
    named = random.random(gains.shape[0]) < share
    return documents, [
        f"xk{row:04d} please" if name else "one of a series" for row, name in zip(wanted, named, strict=True)
    ]


def bm25(texts: Sequence[str]) -> LexicalSignal:
    index = LexicalIndex()
    index.insert([str(row) for row in range(len(texts))], texts)
    return LexicalSignal(index)


def problem(share: float = 0.5, **options: Any) -> tuple[Prepared, Texts]:
    corpus, queries, gains = planted(1, **options)
    return prepare(corpus, queries, gains), coded(gains, share)


def table(signal: NDArray[np.float64], name: str) -> Scorer:
    """A signal of known scores (m, n), whose queries are numbers."""

    def scores(queries: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.take_along_axis(signal[[int(query) for query in queries]], rows, axis=1)

    def best(queries: Sequence[str], k: int) -> NDArray[np.int64]:
        return np.argsort(-signal[[int(query) for query in queries]], axis=1)[:, :k]

    return Scorer(name, scores, best)


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m", "nudge-m+n", "nudge-s", "contrastive"])
def test_without_weight_queries_score_as_in_leave_one_out(method: str) -> None:
    prepared, (documents, queries) = problem(turned=1.0)
    solution = solve(prepared, method=method)
    assert solution.step > 0.0
    for served, expected in zip(
        served_by_nudge(prepared, solution), (solution.per_query.score, solution.per_query.unseen), strict=True
    ):
        pools = FusedPools.of(prepared, [served], [bm25(documents)], queries)
        np.testing.assert_allclose(pools.values(np.zeros(1)), expected, atol=1e-9)


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m"])
def test_leave_one_out_of_the_fused_score_is_a_refit_without_the_query(method: str) -> None:
    corpus, vectors, gains = planted(2, documents=30, queries=60, turned=1.0)
    prepared, (documents, queries) = prepare(corpus, vectors, gains), coded(gains, 0.5)
    solution, signal = solve(prepared, method=method), bm25(documents)
    pools = FusedPools.of(prepared, [served_by_nudge(prepared, solution)[0]], [signal], queries)
    values, lexical = pools.values(np.array([0.3])), signal.index.scores(queries)
    for row in range(0, 60, 7):
        others = np.flatnonzero(np.arange(60) != row)
        refitted = solve(corpus, vectors[others], gains[others], method=method, step=solution.step)
        scores = refitted.apply(corpus) @ vectors[row] + 0.3 * lexical[row]
        assert values[row] == pytest.approx(ndcg(scores[:, None], np.ones(1), gains[[row]].toarray()[0]), abs=1e-6)


def test_the_smallest_weight_is_taken_that_no_weight_of_a_grid_beats_by_more_than_a_standard_error() -> None:
    prepared, (documents, queries) = problem(turned=1.0)
    solution = solve(prepared, method="nudge-n")
    pools = FusedPools.of(prepared, [served_by_nudge(prepared, solution)[0]], [bm25(documents)], queries)
    (weight,) = best_weights(pools, None, 0.0, [0])
    at_best = pools.values(np.array([weight]))
    grid = np.linspace(0.0, 3.0, 301)
    lost = [pools.values(np.array([other])) - at_best for other in grid]
    behind = np.array([one.mean() - one.std() / np.sqrt(len(one)) for one in lost])
    assert behind.max() <= 1e-3
    best = pools.values(grid[[int(np.argmax([one.mean() for one in lost]))]])
    smaller = [best - pools.values(np.array([other])) for other in grid[grid < weight - 0.05]]
    assert all(one.mean() > one.std() / np.sqrt(len(one)) - 1e-3 for one in smaller)
    assert at_best.mean() > pools.values(np.zeros(1)).mean() + 0.03


def test_weights_run_on_until_dense_scores_no_longer_count() -> None:
    corpus, queries, gains = planted(1)
    prepared = prepare(corpus, unit(np.random.default_rng(0).normal(size=queries.shape)), gains)
    documents, texts = coded(gains, 1.0)
    solution = fuse(prepared, solve(prepared, method="nudge-n"), [bm25(documents)], texts)
    assert solution.fusion is not None
    assert solution.fusion.weights["bm25"] > 1.0
    assert solution.score > 0.99


def served_scores(
    solution: Solution, corpus: NDArray[Any], queries: NDArray[Any], signal: NDArray[Any]
) -> NDArray[Any]:
    mapped = queries if solution.query_map is None else unit(queries + queries @ solution.query_map)
    dense = mapped @ solution.apply(corpus).T
    return dense if solution.fusion is None else solution.fusion.fused(dense, {"bm25": signal})


@pytest.mark.parametrize("candidates", [("nudge",), ("ridge",), ("ridge+nudge-n",)])
def test_select_adds_what_words_know_and_fresh_queries_gain_as_much_as_it_says(candidates: tuple[str, ...]) -> None:
    corpus, queries, gains = planted(1, documents=160, queries=1280, turned=1.0)
    documents, texts = coded(gains, 0.4)
    signal, half = bm25(documents), np.arange(1280) < 640
    known = (corpus, queries[half], gains[half])
    alone = select(*known, candidates=candidates)
    solution = select(*known, candidates=candidates, signals=[signal], query_texts=texts[:640])
    assert alone.fusion is None
    assert solution.fusion is not None
    assert (solution.method, solution.status) == (alone.method, "improved")
    assert solution.candidates[-1].method.endswith("bm25")
    assert any("must add the signals" in warning for warning in solution.warnings)
    assert solution.score > alone.score + 0.03
    assert solution.score == pytest.approx(solution.per_query.score.mean())
    lexical = signal.index.scores(texts[640:])
    fresh = served_scores(solution, corpus, queries[~half], lexical)
    values = [ndcg(fresh[row][:, None], np.ones(1), gains[[640 + row]].toarray()[0]) for row in range(640)]
    assert np.mean(values) == pytest.approx(solution.score, abs=3.0 * np.std(values) / np.sqrt(640))


def test_words_that_say_nothing_get_no_weight() -> None:
    prepared, (documents, queries) = problem(0.0, turned=1.0)
    nudge = solve(prepared, method="nudge-n")
    solution = fuse(prepared, nudge, [bm25(documents)], queries)
    assert solution.fusion is None
    assert (solution.score, solution.reason) == (nudge.score, nudge.reason)
    assert solution.candidates[-1].method == "nudge-n+bm25"


def test_words_can_be_worth_it_where_no_nudge_is() -> None:
    corpus, gains = planted(1, documents=320)[0], sparse.csr_array(np.eye(320))
    prepared = prepare(corpus, unit(np.random.default_rng(0).normal(size=corpus.shape)), gains)
    documents, texts = coded(gains, 0.5)
    nothing = solve(prepared, method="nudge-n")
    solution = fuse(prepared, nothing, [bm25(documents)], texts)
    assert nothing.status == "no_gain"
    assert solution.fusion is not None
    assert (solution.status, solution.method, len(solution.rows)) == ("improved", "none", 0)
    assert solution.unseen_score == pytest.approx(solution.score)


def test_of_two_signals_the_one_that_adds_nothing_is_left_out() -> None:
    prepared, _ = problem(turned=1.0)
    random, gains = np.random.default_rng(0), prepared.labels.gains.toarray()
    useful = np.zeros((320, 80))
    useful[:, prepared.labels.rows] = gains * (random.random((320, 1)) < 0.5)
    noise = random.random((320, 80))
    signals = [table(noise, "noise"), table(useful, "useful")]
    solution = fuse(prepared, solve(prepared, method="nudge-n"), signals, [str(row) for row in range(320)])
    assert solution.fusion is not None
    assert set(solution.fusion.weights) == {"useful"}


def test_two_signals_that_know_different_things_both_count() -> None:
    prepared, _ = problem(turned=1.0)
    gains, knows = prepared.labels.gains.toarray(), np.random.default_rng(0).random((320, 1)) < 0.5
    parts = np.zeros((2, 320, 80))
    parts[:, :, prepared.labels.rows] = np.stack([gains * knows, 2.0 * gains * ~knows])
    signals = [table(parts[0], "one"), table(parts[1], "two")]
    texts = [str(row) for row in range(320)]
    nudge = solve(prepared, method="nudge-n")
    both, alone = fuse(prepared, nudge, signals, texts), fuse(prepared, nudge, signals[:1], texts)
    assert both.fusion is not None
    assert set(both.fusion.weights) == {"one", "two"}
    assert both.score > alone.score + 0.05


def test_what_is_not_served_is_still_told() -> None:
    prepared, (documents, queries) = problem(turned=1.0)
    nudge = solve(prepared, method="nudge-n")
    told = fuse(prepared, nudge, [bm25(documents)], queries, serve=False)
    assert told.candidates[-1].gain > 0.03
    assert replace(told, candidates=nudge.candidates).__dict__ == nudge.__dict__


def test_what_would_be_gained_is_told_by_some_of_the_queries_as_by_all() -> None:
    corpus, queries, gains = planted(1, queries=1200, turned=1.0)
    documents, texts = coded(gains, 0.4)
    given: dict[str, Any] = {"signals": [bm25(documents)], "query_texts": texts}
    told = select(corpus, queries, gains, serve_signals=False, **given).candidates[-1]
    alone, served = select(corpus, queries, gains), select(corpus, queries, gains, **given)
    assert served.fusion is not None
    assert told.queries == 256
    assert "not served: ask for it with signals=('bm25',)" in told.note
    assert told.gain == pytest.approx(served.fusion.gain, abs=3.0 * told.standard_error)
    assert served.score - alone.score == pytest.approx(served.fusion.gain, abs=1e-9)


def test_held_out_queries_choose_the_weight_where_they_choose_the_step() -> None:
    corpus, queries, gains = planted(1, turned=1.0)
    documents, texts = coded(gains, 0.5)
    prepared = prepare(corpus, queries[:200], gains[:200], validation=(queries[200:], gains[200:]))
    solution = fuse(prepared, solve(prepared, method="nudge-n"), [bm25(documents)], texts[200:])
    assert solution.fusion is not None
    assert solution.protocol == "validation"


@pytest.mark.parametrize(
    ("signals", "texts", "words"),
    [(1, None, "320 queries .*got none"), (1, ["one"], "got 1"), (2, ["t"] * 320, "two signals have one name")],
)
def test_signals_that_cannot_be_asked_are_refused(signals: int, texts: list[str] | None, words: str) -> None:
    prepared, (documents, _) = problem()
    with pytest.raises(InputError, match=words):
        select(prepared, signals=[bm25(documents)] * signals, query_texts=texts)
