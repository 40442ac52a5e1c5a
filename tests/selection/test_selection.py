"""The choice among nudges, query maps, both, and nothing, on labels whose pattern is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from selection_problems import Arrays, planted, two_topics, unit

from nudge_integrations.errors import InputError
from nudge_integrations.selection import CANDIDATES, SINGLE_CANDIDATES, select
from nudge_integrations.solver import Solution, prepare, solve


def served(solution: Solution, documents: NDArray[np.float64], queries: NDArray[np.float64]) -> NDArray[np.float64]:
    labelled = queries if solution.query_map is None else unit(queries + queries @ solution.query_map)
    return labelled @ solution.apply(documents).T.astype(np.float64)


def memorable(seed: int) -> tuple[Arrays, Arrays]:
    """Return labels of 40 of 50 documents, each with an offset of its own, and fresh queries for the others.

    Two topics lie at right angles, so a map that memorises one of them does nothing to the other.
    """
    random = np.random.default_rng(seed)
    topic = np.arange(50) % 2

    def scattered(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        vectors = np.zeros((len(rows), 2, 24))
        vectors[np.arange(len(rows)), topic[rows]] = unit(random.normal(size=(len(rows), 24)))
        return vectors.reshape(len(rows), 48)

    corpus = unit(scattered(np.arange(50)) + np.eye(48)[24 * topic])
    labelled = corpus + 1.5 * scattered(np.arange(50))

    def labels_for(relevant: NDArray[np.int64]) -> Arrays:
        positives = (np.ones(len(relevant)), (np.arange(len(relevant)), relevant))
        queries = unit(labelled[relevant] + 0.4 * scattered(relevant))
        return corpus, queries, sparse.csr_array(positives, shape=(len(relevant), 50))

    return labels_for(np.repeat(np.arange(40), 6)), labels_for(np.repeat(np.arange(40, 50), 20))


def families(seed: int) -> tuple[Arrays, Arrays]:
    """Return labels of three of each four near documents, and fresh queries for the fourth, which nobody labelled.

    A document that turns towards what its family's queries have in common stands in front of the fourth.
    """
    random = np.random.default_rng(seed)

    def scattered(count: int) -> NDArray[np.float64]:
        return unit(random.normal(size=(count, 24)))

    corpus = unit(np.repeat(scattered(15), 4, axis=0) + 0.6 * scattered(60))
    away = 0.6 * np.repeat(scattered(15), 4, axis=0) + 0.6 * scattered(60)

    def labels_for(relevant: NDArray[np.int64]) -> Arrays:
        positives = (np.ones(len(relevant)), (np.arange(len(relevant)), relevant))
        labelled = unit((corpus + away)[relevant] + 0.3 * scattered(len(relevant)))
        return corpus, labelled, sparse.csr_array(positives, shape=(len(relevant), 60))

    rows = np.arange(60)
    return labels_for(np.repeat(rows[rows % 4 < 3], 8)), labels_for(np.repeat(rows[rows % 4 == 3], 24))


def mean_ndcg(solution: Solution | None, problem: Arrays) -> float:
    documents, queries, gains = problem
    values = queries @ documents.T if solution is None else served(solution, documents, queries)
    relevant = values[np.arange(len(queries)), gains.toarray().argmax(axis=1)]
    rank = (values > relevant[:, None]).sum(axis=1)
    return float(np.where(rank < 10, 1.0 / np.log2(rank + 2.0), 0.0).mean())


def test_a_turn_that_all_queries_share_is_corrected_by_a_query_map() -> None:
    documents, queries, gains = planted(0, documents=300, queries=1200, turned=1.5)
    solution = select(documents, queries[:600], gains[:600])
    values, plain = served(solution, documents, queries[600:]), queries[600:] @ documents.T
    relevant = gains[600:].toarray().argmax(axis=1)
    assert solution.query_map is not None
    assert solution.status == "improved"
    assert (values.argmax(axis=1) == relevant).mean() > (plain.argmax(axis=1) == relevant).mean() + 0.5


def test_new_queries_gain_as_much_as_is_reported() -> None:
    documents, queries, gains = planted(3, documents=80, queries=1000, turned=0.7, hidden=0.9)
    for candidates in CANDIDATES:
        solution = select(documents, queries[:500], gains[:500], candidates=candidates)
        fresh = mean_ndcg(solution, (documents, queries[500:], gains[500:]))
        assert solution.score == pytest.approx(fresh, abs=0.03)
        assert solution.score > solution.baseline + 0.1


def test_an_offset_of_each_document_is_corrected_by_a_nudge() -> None:
    documents, queries, gains = planted(1, hidden=1.5)
    solution, alone = select(documents, queries, gains), solve(documents, queries, gains)
    assert solution.status == "improved"
    assert len(solution.rows) > 0
    assert solution.score >= alone.score


def test_a_nudge_alone_is_what_the_solver_answers() -> None:
    documents, queries, gains = planted(1, hidden=1.5)
    solution, alone = select(documents, queries, gains, candidates="nudge"), solve(documents, queries, gains)
    assert (solution.method, solution.step, solution.score) == (alone.method, alone.step, alone.score)
    assert solution.candidates == alone.candidates
    np.testing.assert_array_equal(solution.vectors, alone.vectors)


@pytest.mark.parametrize("candidates", [CANDIDATES, ("query-map",), ("query-map+nudge",)])
@pytest.mark.parametrize(("seed", "standard_errors"), [(0, 2.0), (0, 3.0), (1, 3.0)])
def test_labels_without_a_pattern_change_nothing(
    candidates: tuple[str, ...], seed: int, standard_errors: float
) -> None:
    documents, queries, _ = planted(2)
    positives = (np.ones(320), (np.arange(320), np.random.default_rng(seed).integers(0, 80, 320)))
    labels = sparse.csr_array(positives, shape=(320, 80))
    solution = select(documents, queries, labels, candidates=candidates, standard_errors=standard_errors)
    assert (solution.status, solution.method, solution.query_map) == ("no_gain", "none", None)
    assert len(solution.rows) == 0
    assert solution.score == solution.unseen_score == solution.baseline
    np.testing.assert_array_equal(solution.per_query.score, solution.per_query.baseline)
    np.testing.assert_allclose(solution.apply(documents), documents, atol=1e-6)


def test_a_map_is_held_back_until_another_topic_loses_nothing() -> None:
    topic, relevant, (documents, queries, gains) = two_topics(600)
    one = topic[relevant] == 0
    free = select(documents, queries[one], gains[one], candidates="query-map")
    held_back = select(documents, queries, gains, candidates="query-map")
    others = (documents, queries[~one], gains[~one])
    # What one topic teaches costs the other, so a map of both may do little.
    assert mean_ndcg(free, others) < mean_ndcg(None, others) - 0.05
    strengths = [0.0 if one.query_map is None else np.linalg.norm(one.query_map) for one in (free, held_back)]
    assert strengths[1] < 0.5 * strengths[0]
    assert held_back.score > held_back.baseline - 1e-9


def test_from_unseen_weight_half_queries_for_unlabelled_documents_are_protected() -> None:
    gains = []
    for seed in range(3):
        labelled, unlabelled = families(seed)
        solution = select(*labelled, unseen_weight=0.5)
        assert solution.status == "improved"
        gains.append(mean_ndcg(solution, unlabelled) - mean_ndcg(None, unlabelled))
    assert np.mean(gains) > -0.002
    labelled, unlabelled = families(0)
    lightly = mean_ndcg(select(*labelled, unseen_weight=0.4), unlabelled) - mean_ndcg(None, unlabelled)
    assert lightly < -0.01 < gains[0] - 0.005


def test_a_map_that_memorises_documents_is_not_chosen_where_unlabelled_ones_are_protected() -> None:
    labelled, unlabelled = memorable(0)
    lightly, heavily = (select(*labelled, candidates=("query-map",), unseen_weight=weight) for weight in (0.4, 0.5))
    assert mean_ndcg(lightly, unlabelled) < mean_ndcg(None, unlabelled) - 0.02
    assert (heavily.status, heavily.query_map) == ("no_gain", None)


def test_a_turn_that_all_queries_share_is_corrected_with_unlabelled_documents_protected_too() -> None:
    documents, queries, gains = planted(0, turned=1.5)
    solution = select(documents, queries, gains, candidates=("query-map",), unseen_weight=0.5)
    assert solution.query_map is not None
    assert solution.unseen_score > solution.unseen_baseline + 0.1
    # It must be a gain beyond noise to every query, as if nobody had labelled what is relevant to it.
    change = solution.per_query.unseen - solution.per_query.baseline
    assert change.mean() > 2.0 * change.std(ddof=1) / np.sqrt(len(change))


def test_a_query_map_alone_says_that_it_heeds_no_label_that_says_no() -> None:
    documents, queries, gains = planted(0, turned=1.5)
    refused = sparse.csr_array(np.roll(gains.toarray(), 1, axis=1) * (gains.toarray() == 0))
    told = [
        any("say no were not heeded" in warning for warning in solution.warnings)
        for candidates in ("query-map", "nudge")
        for solution in [select(documents, queries, gains, candidates=candidates, negatives=refused)]
    ]
    assert told == [True, False]
    assert not select(documents, queries, gains, candidates="query-map").warnings


def test_a_choice_that_costs_unlabelled_documents_is_warned_of() -> None:
    documents, queries, gains = planted(6, hidden=1.5)
    solution = select(documents, queries, gains, candidates="nudge")
    assert solution.unseen_score < solution.unseen_baseline - 0.005
    assert any("nobody labelled lose" in warning for warning in solution.warnings)


def test_few_queries_are_left_to_nudges_and_warned_of() -> None:
    for groups, inputs in ((None, slice(60)), (np.arange(198) // 2, slice(198))):
        documents, queries, gains = planted(0, queries=198, turned=1.5)
        solution = select(documents, queries[inputs], gains[inputs], groups=groups)
        assert solution.query_map is None
        assert "fewer than 100" in solution.warnings[-1]
        alone = solve(documents, queries[inputs], gains[inputs], groups=groups)
        assert (solution.method, solution.score) == (alone.method, alone.score)


def test_candidates_that_take_too_long_are_left_out_and_named() -> None:
    documents, queries, gains = planted(0, turned=1.5)
    solution = select(documents, queries, gains, max_seconds=0.0)
    assert solution.query_map is None
    assert all(name in solution.warnings[-1] for name in CANDIDATES[1:])
    assert not any("time" in warning for warning in select(documents, queries, gains, max_seconds=1e6).warnings)


@pytest.mark.parametrize("name", SINGLE_CANDIDATES)
@pytest.mark.parametrize(("turned", "hidden"), [(0.7, 0.9), (0.0, 1.5)])
def test_a_single_candidate_gives_that_method_or_nothing(name: str, turned: float, hidden: float) -> None:
    documents, queries, gains = planted(0, queries=200, turned=turned, hidden=hidden)
    solution = select(documents, queries, gains, candidates=(name,))
    assert solution.method == (name if solution.status == "improved" else "none")
    assert {line.method for line in solution.candidates} <= {name}
    assert (len(solution.rows) > 0, solution.query_map is not None) == (
        solution.status == "improved" and "+" in name,
        solution.status == "improved",
    )
    if turned:
        assert solution.status == "improved"


@pytest.mark.parametrize(("turned", "hidden"), [(1.5, 0.0), (1.2, 0.3)])
def test_what_is_answered_may_be_asked_for_and_is_answered_again(turned: float, hidden: float) -> None:
    documents, queries, gains = planted(0, turned=turned, hidden=hidden)
    solution = select(documents, queries, gains)
    assert solution.method in SINGLE_CANDIDATES
    again = select(documents, queries, gains, candidates=(solution.method,))
    assert again.method == solution.method
    assert again.score >= solution.score - 0.01


@pytest.mark.parametrize(("turned", "hidden"), [(1.5, 0.0), (1.2, 0.3)])
def test_the_same_input_gives_the_same_answer_and_a_table(turned: float, hidden: float) -> None:
    documents, queries, gains = planted(0, turned=turned, hidden=hidden)
    one, two = (select(documents, queries, gains, block_bytes=size) for size in (1 << 16, 1 << 26))
    assert one.method == two.method
    assert one.query_map is not None
    assert two.query_map is not None
    np.testing.assert_allclose(one.query_map, two.query_map, atol=1e-5)
    np.testing.assert_allclose(one.vectors, two.vectors, atol=1e-5)
    assert one.score == pytest.approx(two.score, abs=1e-9)
    names = {candidate.method for candidate in one.candidates}
    assert {"nudge-n", "contrastive"} < names
    assert all(name in str(one) for name in names)
    assert one.score == pytest.approx(one.per_query.score.mean())
    assert one.unseen_score == pytest.approx(one.per_query.unseen.mean())
    assert one.baseline == pytest.approx(one.per_query.baseline.mean())


@pytest.mark.parametrize(("turned", "hidden"), [(1.5, 0.0), (1.2, 0.3)])
def test_queries_that_are_asked_twice_give_the_estimate_and_the_step_of_once(turned: float, hidden: float) -> None:
    documents, queries, gains = planted(0, queries=200, turned=turned, hidden=hidden)
    once = select(documents, queries, gains)
    twice = select(documents, np.concatenate([queries, queries]), sparse.vstack([gains, gains]))
    assert twice.method == once.method
    figures = ("baseline", "score", "unseen_score")
    assert [getattr(twice, name) for name in figures] == pytest.approx([getattr(once, name) for name in figures])
    assert twice.step == pytest.approx(once.step, abs=1e-4)
    assert once.query_map is not None
    assert twice.query_map is not None
    np.testing.assert_allclose(twice.query_map, once.query_map, atol=1e-3)
    errors = [{line.method: line.standard_error for line in one.candidates}[once.method] for one in (once, twice)]
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)


def test_groups_are_left_out_together() -> None:
    documents, queries, gains = planted(1, queries=200, hidden=1.5)
    # Every question once more, a little otherwise: alone each answers the other.
    again = unit(queries + 1e-3 * np.random.default_rng(0).normal(size=queries.shape))
    inputs = documents, np.concatenate([queries, again]), sparse.vstack([gains, gains])
    once, alone = select(documents, queries, gains), select(*inputs)
    together = select(*inputs, groups=np.tile(np.arange(200), 2))
    assert alone.score > once.score + 0.003
    assert together.score == pytest.approx(once.score, abs=0.003)


def test_some_queries_evaluate_where_there_are_more_than_asked_for() -> None:
    documents, queries, gains = planted(0, queries=600, turned=1.5)
    solution = select(documents, queries, gains, candidates="query-map", max_queries=150)
    assert (solution.queries, solution.evaluable, len(solution.per_query.rows)) == (150, 600, 150)
    assert solution.query_map is not None
    plain = [mean_ndcg(None, (documents, queries[[row]], gains[[row]])) for row in solution.per_query.rows]
    np.testing.assert_allclose(solution.per_query.baseline, plain, atol=1e-6)


@pytest.mark.parametrize("candidates", [("magic",), "ridge+magic", ("nudge", "ridge+nudge-m"), ()])
def test_unknown_candidates_and_none_are_refused(candidates: Any) -> None:
    with pytest.raises(InputError, match=r"unknown candidates.*expected some of nudge, query-map"):
        select(*planted(0), candidates=candidates)


@pytest.mark.parametrize("options", [{"step": 0.3}, {"shift": True}])
def test_a_given_step_a_shift_and_validation_are_for_the_solver(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"give step=, shift= and validation= to solve\(\)"):
        select(*planted(0), **options)
    documents, queries, gains = planted(0)
    with pytest.raises(InputError, match=r"validation= to solve\(\)"):
        select(prepare(documents, queries[:200], gains[:200], validation=(queries[200:], gains[200:])))


def test_an_option_that_there_is_not_is_refused() -> None:
    options: dict[str, Any] = {"methode": "auto"}
    with pytest.raises(InputError, match="unknown option 'methode'"):
        select(*planted(0), **options)
