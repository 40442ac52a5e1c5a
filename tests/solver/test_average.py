"""Each query or each document counts the same; and rare documents, which popular ones may not pay with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from selection_problems import planted, unit

from nudge_integrations.errors import InputError
from nudge_integrations.selection import select
from nudge_integrations.solver import prepare, solve
from nudge_integrations.solver.decision import QueryScores, rare_queries, rare_warning


def uneven(seed: int = 0) -> tuple[NDArray[Any], NDArray[Any], sparse.csr_array]:
    """Forty documents: ten that 20 queries each want, thirty that 3 each want."""
    corpus, _, _ = planted(seed, documents=40)
    random = np.random.default_rng(seed)
    wanted = np.concatenate([np.repeat(np.arange(10), 20), np.repeat(np.arange(10, 40), 3)])
    hidden = random.normal(size=corpus.shape)
    queries = unit(corpus[wanted] + 0.9 * hidden[wanted] + 1.5 * random.normal(size=(len(wanted), corpus.shape[1])))
    gains = sparse.csr_array((np.ones(len(wanted)), (np.arange(len(wanted)), wanted)), shape=(len(wanted), 40))
    return corpus, queries, gains


def by_document(values: NDArray[np.float64], gains: sparse.csr_array) -> float:
    """The mean over documents of the mean over the queries that want each."""
    return float(np.mean([values[gains.indices == document].mean() for document in np.unique(gains.indices)]))


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m", "contrastive"])
def test_average_over_documents_is_the_mean_of_their_means(method: str) -> None:
    corpus, queries, gains = uneven()
    prepared = prepare(corpus, queries, gains)
    given: dict[str, Any] = {"method": method, "step": 0.3, **({"temperature": 0.1} if method == "contrastive" else {})}
    plain = solve(prepared, **given)
    averaged = solve(prepared, **given, average="document")
    assert averaged.baseline == pytest.approx(by_document(plain.per_query.baseline, gains))
    assert averaged.score == pytest.approx(by_document(plain.per_query.score, gains))
    assert averaged.unseen_score == pytest.approx(by_document(plain.per_query.unseen, gains))
    assert averaged.per_query.score.mean() == pytest.approx(averaged.score)
    afresh = solve(corpus, queries, gains, **given, average="document")
    assert afresh.score == averaged.score


def test_a_query_with_several_documents_counts_for_each_in_part() -> None:
    gains = sparse.csr_array(np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]]))
    prepared = prepare(np.eye(2), unit(np.ones((3, 2))), gains, average="document", groups=[0, 1, 2])
    # The first is one of 2.5 queries' worth for document 0, and all there is for document 1.
    shares = np.array([0.5 / 2.5 + 1.0, 1.0 / 2.5, 1.0 / 2.5])
    assert prepared.evaluation.shares == pytest.approx(shares / shares.mean())


def test_no_step_is_better_on_average_over_documents() -> None:
    corpus, queries, gains = uneven(1)
    prepared = prepare(corpus, queries, gains)
    best = solve(prepared, method="nudge-n", average="document", standard_errors=0.0)
    for step in np.linspace(0.0, 1.2, 25):
        assert best.score >= solve(prepared, method="nudge-n", average="document", step=step).score - 1e-9


def test_select_averages_over_documents_throughout() -> None:
    corpus, queries, gains = planted(1, queries=400, turned=1.0)
    solution = select(corpus, queries, gains, average="document")
    plain = select(corpus, queries, gains)
    baseline = by_document(plain.per_query.baseline, gains)
    assert solution.baseline == pytest.approx(baseline)
    assert all(one.score == pytest.approx(baseline + one.gain, abs=0.02) for one in solution.candidates if one.exact)


def test_rare_queries_may_not_pay_for_popular_ones() -> None:
    corpus, queries, gains = uneven()
    prepared = prepare(corpus, queries, gains)
    rare = rare_queries(prepared)
    assert rare.tolist() == (gains.indices >= 10).tolist()
    baseline = np.full(len(rare), 0.5)
    hurt = QueryScores(np.where(rare, 0.4, 0.9) + np.random.default_rng(0).normal(0, 0.01, len(rare)), baseline)
    (warning,) = rare_warning(prepared, hurt, baseline)
    assert "at most 3 labels lose: ndcg@10 0.5000 -> 0.39" in warning
    assert rare_warning(prepared, QueryScores(np.where(rare, 0.5, 0.1), baseline), baseline) == ()


def crowded() -> tuple[NDArray[Any], NDArray[Any], sparse.csr_array]:
    """Queries for ten popular documents lie where forty of one query are: what moves towards them gets in the way."""
    axes, random = np.eye(52), np.random.default_rng(0)
    corpus = unit(np.concatenate([axes[:10], axes[10] + axes[11:51]]))
    wanted = np.concatenate([np.repeat(np.arange(10), 20), np.arange(10, 50)])
    asked = axes[10] + np.where(wanted < 10, 0.7, 0.1)[:, None] * axes[wanted + (wanted >= 10)]
    queries = unit(asked + 0.06 * random.normal(size=asked.shape))
    gains = sparse.csr_array((np.ones(len(wanted)), (np.arange(len(wanted)), wanted)), shape=(len(wanted), 50))
    return corpus, queries, gains


def test_a_step_that_costs_rare_documents_is_not_taken_by_auto() -> None:
    corpus, queries, gains = crowded()
    prepared, rare = prepare(corpus, queries, gains), gains.indices >= 10
    free, auto = solve(prepared, method="nudge-n"), solve(prepared, method="auto")
    risen = [one.per_query.score - one.per_query.baseline for one in (free, auto)]
    behind = [one[rare].mean() + 2.0 * one[rare].std() / np.sqrt(rare.sum() - 1) for one in risen]
    assert behind[0] < 0.0 <= behind[1] + 1e-9
    assert risen[1].mean() > 0.0
    assert any("at most 3 labels lose" in warning for warning in free.warnings)
    assert not any("at most 3 labels lose" in warning for warning in auto.warnings)
    chosen = select(prepared, candidates=("query-map", "query-map+nudge"))
    assert not any("at most 3 labels lose" in warning for warning in chosen.warnings)


def test_an_unknown_average_is_refused() -> None:
    with pytest.raises(InputError, match="average must be"):
        solve(np.eye(2), np.eye(2), sparse.csr_array(np.eye(2)), average="topic")  # type: ignore[arg-type]
