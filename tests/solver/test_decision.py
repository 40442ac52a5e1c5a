"""Whether to move, by which method and how far; what the solution says about it; and when it says no."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from oracle import Problem, direction, leave_one_out, mean_metric, moved, unit
from scipy import sparse

from nudge_integrations.corpus import ArrayCorpus
from nudge_integrations.solver import METHODS, Solution, solve
from nudge_integrations.solver.decision import gain_and_error
from nudge_integrations.solver.direction import log_normalisers


def learnable(seed: int = 0, documents: int = 40, queries: int = 120, noise: float = 0.6) -> Problem:
    """Return queries that ask for documents by topics of the documents' own, one of 40 each."""
    random = np.random.default_rng(seed)
    corpus, topics = unit(random.normal(size=(documents, 12))), unit(random.normal(size=(documents, 12)))
    relevant = random.permutation(np.arange(queries) % min(30, documents))
    gains = np.zeros((queries, documents))
    gains[np.arange(queries), relevant] = 1
    asked = unit(unit(topics + corpus)[relevant] + noise * unit(random.normal(size=(queries, 12))))
    return Problem(corpus, asked, gains, random.integers(0, queries // 3, queries))


def noise(seed: int) -> Problem:
    """Return labels that have nothing to do with their queries."""
    problem = learnable(seed)
    return Problem(
        problem.documents, problem.queries, np.random.default_rng(seed).permutation(problem.gains), problem.groups
    )


def fit(problem: Problem, **options: Any) -> Solution:
    return solve(problem.documents, problem.queries, problem.relevance, **options)


def test_labels_with_a_pattern_improve_the_score_and_give_a_reason() -> None:
    problem = learnable()
    solution = fit(problem)
    assert solution.status == "improved"
    assert solution.score > solution.baseline + 0.05
    assert (
        f"ndcg@10 {solution.baseline:.4f} -> {solution.score:.4f} over 120 queries (leave-one-out)" in solution.reason
    )
    assert (solution.queries, solution.evaluable, solution.documents) == (120, 120, 40)
    assert solution.metric == "ndcg@10"
    assert len(solution.rows) == 30


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", ["auto", "nudge-m"])
def test_labels_that_are_noise_move_nothing(seed: int, method: str) -> None:
    problem = noise(seed)
    solution = fit(problem, method=method)
    assert (solution.status, solution.method, solution.step, len(solution.rows)) == ("no_gain", "none", 0.0, 0)
    assert "standard errors" in solution.reason or "no step beats" in solution.reason
    assert solution.score == solution.baseline == solution.unseen_score
    assert (solution.similarity, solution.temperature, solution.shift) == ("cosine", None, None)
    np.testing.assert_allclose(solution.apply(problem.documents), problem.documents, atol=1e-6)
    assert len(solution.candidates) == (6 if method == "auto" else 1)


def test_documents_with_one_query_each_give_no_gain_and_a_reason() -> None:
    problem = noise(0).part(np.arange(0, 120, 4))
    once = Problem(problem.documents, problem.queries, np.eye(30, 40), problem.groups)
    solution = fit(once)
    assert solution.status == "no_gain"
    assert solution.reason.startswith("every labelled document is asked for once")
    assert "validation=" in solution.reason
    many = learnable()
    assert fit(many).status == "improved"
    # Asked for often, but by one group each: leaving the group out leaves nothing.
    grouped = fit(many, groups=many.gains.argmax(axis=1), standard_errors=100)
    assert grouped.reason.startswith("every labelled document is asked for once")


def test_validation_queries_that_cannot_evaluate_a_step_give_a_reason() -> None:
    problem = learnable()
    nothing = sparse.csr_array(problem.gains.shape)
    solution = fit(problem, validation=(problem.queries, nothing))
    assert (solution.status, solution.queries) == ("no_gain", 0)
    assert "no validation query has a relevant document" in solution.reason
    elsewhere = np.zeros_like(problem.gains)
    elsewhere[:, 35] = 1
    solution = fit(problem, validation=(problem.queries, sparse.csr_array(elsewhere)), standard_errors=100)
    assert solution.status == "no_gain"
    assert solution.reason.startswith("no validation query wants a document that a training query asks for")


def test_the_gain_must_exceed_its_standard_errors() -> None:
    problem = learnable(noise=2.0)
    free = fit(problem, method="nudge-n", standard_errors=0)
    candidate = free.candidates[0]
    assert candidate.gain == pytest.approx(free.score - free.baseline)
    ratio = candidate.gain / candidate.standard_error
    assert fit(problem, method="nudge-n", standard_errors=ratio * 0.999).status == "improved"
    refused = fit(problem, method="nudge-n", standard_errors=ratio * 1.001)
    assert refused.status == "no_gain"
    assert f"gains {candidate.gain:.4f}" in refused.reason
    assert f"{candidate.standard_error:.4f}" in refused.reason


def test_the_standard_error_is_the_spread_of_a_paired_bootstrap() -> None:
    random = np.random.default_rng(0)
    difference = random.normal(0.1, 1.0, 80)
    gain, error = gain_and_error(difference, np.arange(80))
    draws = difference[random.integers(0, 80, (20_000, 80))].mean(axis=1)
    assert gain == pytest.approx(difference.mean())
    assert error == pytest.approx(draws.std(), rel=0.05)
    # Ten copies of each query are no more evidence than one, when they are drawn together.
    copies = gain_and_error(np.repeat(difference, 10), np.repeat(np.arange(80), 10))
    assert copies == pytest.approx((gain, error))
    assert gain_and_error(difference[:1], np.zeros(1, int))[1] == np.inf


def test_near_duplicate_queries_flatter_unless_they_are_left_out_together() -> None:
    alone = noise(3)
    twins = Problem(
        alone.documents,
        unit(np.repeat(alone.queries, 2, axis=0) + 1e-4 * np.random.default_rng(0).normal(size=(240, 12))),
        np.repeat(alone.gains, 2, axis=0),
        np.repeat(np.arange(120), 2),
    )
    assert fit(twins, method="nudge-n").score > fit(alone, method="nudge-n").score + 0.2
    grouped = fit(twins, method="nudge-n", groups=[f"user {group}" for group in twins.groups])
    assert grouped.status == "no_gain"
    assert grouped.candidates[0].score == pytest.approx(
        leave_one_out(twins, "nudge-n", grouped.candidates[0].step, "ndcg@10", grouped=True), abs=1e-6
    )


@pytest.mark.parametrize("method", ["auto", "nudge-n", "nudge-m", "contrastive"])
def test_a_question_that_is_asked_twice_under_two_ids_does_not_answer_itself(method: str) -> None:
    for problem in (learnable(), noise(3)):
        once = fit(problem, method=method)
        twice = Problem(
            problem.documents,
            np.concatenate([problem.queries, problem.queries]),
            np.concatenate([problem.gains, problem.gains]),
            np.arange(240),
        )
        again = fit(twice, method=method)
        assert (again.status, again.method, again.temperature) == (once.status, once.method, once.temperature)
        assert (again.queries, once.queries) == (240, 120)
        assert (again.step, again.baseline, again.score) == pytest.approx((once.step, once.baseline, once.score))
        for one, two in zip(once.candidates, again.candidates, strict=True):
            assert (two.step, two.score, two.gain) == pytest.approx((one.step, one.score, one.gain), rel=1e-5, abs=1e-6)
            assert two.standard_error == pytest.approx(one.standard_error, abs=1e-6)
        np.testing.assert_allclose(again.vectors, once.vectors, atol=1e-5)


def test_groups_that_are_given_keep_equal_questions_apart() -> None:
    alone = noise(3)
    queries, relevance = np.repeat(alone.queries, 2, axis=0), np.repeat(alone.gains, 2, axis=0)
    solution = solve(alone.documents, queries, sparse.csr_array(relevance), method="nudge-n", groups=np.arange(240))
    assert solution.score > fit(alone, method="nudge-n").score + 0.2


def test_candidates_that_fall_behind_on_a_sample_of_384_groups_are_evaluated_only_there() -> None:
    problem = learnable(5, documents=300, queries=1300)
    solution = fit(problem)
    counts = [candidate.queries for candidate in solution.candidates]
    assert set(counts) == {384, 1300}
    assert 1 <= counts.count(1300) <= 3
    assert all(candidate.exact for candidate in solution.candidates)
    complete = [candidate for candidate in solution.candidates if candidate.queries == 1300]
    best = max(complete, key=lambda candidate: candidate.gain)
    assert (solution.method, solution.temperature, solution.step) == (best.method, best.temperature, best.step)
    assert (solution.score, solution.queries, len(solution.per_query.rows)) == (best.score, 1300, 1300)
    for candidate in complete:
        alone = fit(problem, method=candidate.method, temperature=candidate.temperature)
        if len(alone.candidates) == 1:
            assert (alone.step, alone.score) == pytest.approx((candidate.step, candidate.score), abs=1e-6)
            assert alone.queries == 1300
    # Whole groups are drawn.
    pairs = fit(problem, groups=np.arange(1300) // 2)
    assert {candidate.queries for candidate in pairs.candidates} == {768, 1300}


def test_of_many_queries_all_evaluate_only_the_best_of_the_few_that_1152_groups_compare() -> None:
    solution = fit(learnable(5, documents=300, queries=2000))
    counts = [candidate.queries for candidate in solution.candidates]
    assert counts.count(2000) == 1
    assert counts.count(1152) <= 2
    assert set(counts) <= {384, 1152, 2000}
    (best,) = (candidate for candidate in solution.candidates if candidate.queries == 2000)
    assert (solution.method, solution.temperature, solution.score) == (best.method, best.temperature, best.score)


def test_auto_tries_nudge_n_and_every_temperature_and_takes_the_best() -> None:
    problem = learnable(1)
    solution = fit(problem)
    methods = [(candidate.method, candidate.temperature) for candidate in solution.candidates]
    assert methods == [("nudge-n", None), *(("contrastive", tau) for tau in (0.2, 0.1, 0.07, 0.05, 0.03))]
    best = max(solution.candidates, key=lambda candidate: candidate.gain)
    assert (solution.method, solution.temperature, solution.step) == (best.method, best.temperature, best.step)
    assert (solution.score, solution.unseen_score) == (best.score, best.unseen_score)
    for candidate in solution.candidates:
        alone = fit(problem, method=candidate.method, temperature=candidate.temperature)
        assert (alone.step, alone.score) == pytest.approx((candidate.step, candidate.score), abs=1e-9)


def test_auto_takes_nudge_n_where_a_softmax_does_not_help() -> None:
    methods = {fit(learnable(seed, noise=0.3)).method for seed in range(3)}
    assert methods <= {"nudge-n", "contrastive"}
    only = fit(learnable(), temperature=0.05)
    assert [(c.method, c.temperature) for c in only.candidates] == [("nudge-n", None), ("contrastive", 0.05)]


def test_contrastive_searches_its_temperature_or_keeps_the_one_given() -> None:
    problem = learnable(2)
    searched = fit(problem, method="contrastive")
    assert [candidate.temperature for candidate in searched.candidates] == [None, 0.2, 0.1, 0.07, 0.05, 0.03]
    assert {candidate.method for candidate in searched.candidates} == {"contrastive"}
    assert searched.temperature == max(searched.candidates, key=lambda candidate: candidate.gain).temperature
    fixed = fit(problem, method="contrastive", temperature=0.15)
    assert (fixed.temperature, len(fixed.candidates)) == (0.15, 1)


def test_a_cool_softmax_becomes_nudge_ns_direction_where_negatives_vanish() -> None:
    # At a high temperature over many documents each negative weighs little.
    problem = learnable(3, documents=40)
    far = unit(np.random.default_rng(0).normal(size=(4000, 12)))
    wide = Problem(
        np.concatenate([problem.documents, far]),
        problem.queries,
        np.pad(problem.gains, ((0, 0), (0, 4000))),
        problem.groups,
    )
    contrastive = fit(wide, method="contrastive", temperature=100.0, step=0.4)
    plain = fit(wide, method="nudge-n", step=0.4)
    np.testing.assert_array_equal(contrastive.rows, plain.rows)
    assert (contrastive.vectors * plain.vectors).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_given_step_is_taken_and_still_evaluated(method: str) -> None:
    problem = learnable(4)
    temperature = 0.1 if method == "contrastive" else None
    solution = fit(problem, method=method, step=0.35, temperature=temperature, standard_errors=50)
    assert (solution.status, solution.step, solution.method) == ("fixed", 0.35, method)
    assert solution.reason.startswith("the step was given; ndcg@10 ")
    assert solution.score == pytest.approx(
        leave_one_out(problem, method, 0.35, "ndcg@10", temperature=temperature), abs=1e-9
    )
    assert solution.similarity == ("dot" if method in ("nudge-m", "nudge-s") else "cosine")
    expected = moved(problem, method, 0.35, temperature)
    np.testing.assert_allclose(solution.apply(problem.documents), expected, atol=2e-6)
    nowhere = fit(problem, method=method, step=0, temperature=temperature)
    assert (nowhere.status, nowhere.score, len(nowhere.rows)) == ("fixed", nowhere.baseline, 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("method", ["nudge-n", "nudge-m"])
def test_equal_maxima_give_the_middle_of_the_widest_plateau(method: str, seed: int) -> None:
    problem = learnable(seed)
    solution = fit(problem, method=method, metric="hit@1")
    sums = direction(problem)[problem.gains.any(axis=0)]
    cosines = (unit(sums) * problem.documents[problem.gains.any(axis=0)]).sum(axis=1)
    # The path ends where the last document arrives; a line's steps t are measured as t / (1 + t).
    edges = np.append(solution.curve.steps, np.arccos(cosines).max())
    step = solution.step
    if method == "nudge-m":
        edges, step = np.append(solution.curve.steps / (1 + solution.curve.steps), 1.0), step / (1 + step)
    best = np.where(solution.curve.values == solution.curve.values.max(), np.diff(edges), 0.0)
    widest = int(best.argmax())
    assert step == pytest.approx((edges[widest] + edges[widest + 1]) / 2, abs=1e-6)


def test_step_0_is_taken_where_it_is_among_the_best() -> None:
    random = np.random.default_rng(0)
    documents = unit(random.normal(size=(20, 16)))
    queries = unit(np.repeat(documents, 3, axis=0) + 0.02 * random.normal(size=(60, 16)))
    gains = np.kron(np.eye(20), np.ones((3, 1)))
    solution = solve(documents, queries, sparse.csr_array(gains), standard_errors=0)
    assert solution.baseline == 1.0
    assert (solution.status, solution.reason) == ("no_gain", "no step beats leaving the documents where they are")


def partly_labelled(seed: int) -> Problem:
    """Return pairs of near documents and near queries; six queries ask for one of a pair, two for the other."""
    random = np.random.default_rng(seed)

    def scattered(count: int) -> NDArray[np.float64]:
        return unit(random.normal(size=(count, 16)))

    corpus = unit(np.concatenate([np.repeat(scattered(10), 2, axis=0) + 0.4 * scattered(20), scattered(5)]))
    relevant = np.concatenate([np.repeat(np.arange(0, 20, 2), 6), np.repeat(np.arange(1, 20, 2), 2)])
    queries = unit(corpus[relevant] + 0.6 * scattered(10)[relevant // 2] + 0.3 * scattered(80))
    gains = np.zeros((80, 25))
    gains[np.arange(80), relevant] = 1
    return Problem(corpus, queries, gains, np.arange(80))


def test_unseen_documents_that_lose_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    problem = partly_labelled(3)
    with caplog.at_level(logging.INFO, logger="nudge_integrations"):
        solution = fit(problem, method="nudge-n", metric="mrr@10")
    assert solution.status == "improved"
    assert solution.unseen_score < solution.unseen_baseline == solution.baseline
    (warning,) = solution.warnings
    assert "queries for documents that nobody labelled lose" in warning
    assert "unseen_weight" in warning
    assert f"{solution.unseen_score:.4f}" in warning
    assert warning in [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.7, 1.0])
def test_the_step_maximises_the_weighted_objective(weight: float) -> None:
    problem = partly_labelled(4)
    solution = fit(problem, method="nudge-n", metric="mrr@10", unseen_weight=weight, standard_errors=0)

    def objective(step: float) -> float:
        seen, unseen = (leave_one_out(problem, "nudge-n", step, "mrr@10", unseen=side) for side in (False, True))
        return (1 - weight) * seen + weight * unseen

    best = objective(solution.step)
    assert max(objective(step) for step in np.linspace(0, 1.2, 7)) <= best + 1e-9
    assert (1 - weight) * solution.score + weight * solution.unseen_score == pytest.approx(best, abs=1e-9)


def test_more_weight_on_unseen_documents_never_leaves_them_worse_off() -> None:
    problem = partly_labelled(6)
    unseen = [
        fit(problem, method="nudge-n", unseen_weight=weight, standard_errors=0).unseen_score
        for weight in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert unseen == sorted(unseen)
    assert unseen[-1] > unseen[0]


@pytest.mark.parametrize("limit", [1, 17, 119, 120, 500])
def test_a_sample_of_the_queries_evaluates_and_the_solution_counts_them(limit: int) -> None:
    problem = learnable(6)
    solution = fit(problem, method="nudge-n", max_queries=limit, step=0.3)
    assert (solution.queries, solution.evaluable) == (min(limit, 120), 120)
    if limit >= 120:
        assert solution.score == fit(problem, method="nudge-n", step=0.3).score
    # All labels set the direction, whichever queries evaluate.
    np.testing.assert_array_equal(solution.vectors, fit(problem, method="nudge-n", step=0.3).vectors)


def test_sampled_queries_score_as_they_do_among_all() -> None:
    problem = learnable(7)
    sampled = fit(problem, method="nudge-n", max_queries=40, step=0.5, seed=3)
    rows, scores = sampled.per_query.rows, []
    assert len(rows) == 40
    for row in rows:
        rest = problem.part(np.delete(np.arange(120), row))
        placed = moved(rest, "nudge-n", 0.5)
        scores.append(mean_metric(placed, problem.queries[[row]], problem.gains[[row]], "ndcg@10"))
    assert sampled.score == pytest.approx(np.mean(scores), abs=1e-9)


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m", "nudge-m+n", "contrastive"])
def test_a_shift_moves_unlabelled_documents_and_is_evaluated_with_them(method: str) -> None:
    problem = learnable(8)
    temperature = 0.1 if method == "contrastive" else None
    solution = fit(problem, method=method, step=0.3, shift=True, temperature=temperature)
    placed = moved(problem, method, 0.3, temperature)
    labelled = problem.gains.any(axis=0)
    mean = (placed - problem.documents)[labelled].mean(axis=0)
    assert solution.shift is not None
    np.testing.assert_allclose(solution.shift, mean, atol=2e-6)
    placed[~labelled] = unit(problem.documents[~labelled] + mean)
    np.testing.assert_allclose(solution.apply(problem.documents), placed, atol=2e-6)
    options: dict[str, Any] = {"temperature": temperature, "shift": mean}
    assert solution.score == pytest.approx(leave_one_out(problem, method, 0.3, "ndcg@10", **options), abs=1e-9)
    unseen = leave_one_out(problem, method, 0.3, "ndcg@10", unseen=True, **options)
    assert solution.unseen_score == pytest.approx(unseen, abs=1e-9)
    assert solution.baseline == pytest.approx(leave_one_out(problem, method, 0.0, "ndcg@10"), abs=1e-9)
    plain = fit(problem, method=method, step=0.3, temperature=temperature)
    assert plain.shift is None
    np.testing.assert_array_equal(solution.vectors, plain.vectors)


@pytest.mark.parametrize("seed", range(4))
def test_copies_of_a_document_rank_by_row_with_a_shift_too(seed: int) -> None:
    random = np.random.default_rng(seed)
    kinds = unit(random.normal(size=(6, 7)))
    gains = np.zeros((30, 40))
    gains[np.arange(30), random.integers(0, 12, 30)] = 1
    problem = Problem(kinds[random.integers(0, 6, 40)], unit(random.normal(size=(30, 7))), gains, np.arange(30))
    solution = fit(problem, method="nudge-n", metric="ndcg@5", step=0.3, shift=True)
    mean = (moved(problem, "nudge-n", 0.3) - problem.documents)[gains.any(axis=0)].mean(axis=0)
    for unseen, score in ((False, solution.score), (True, solution.unseen_score)):
        expected = leave_one_out(problem, "nudge-n", 0.3, "ndcg@5", shift=mean, unseen=unseen)
        assert score == pytest.approx(expected, abs=1e-9)


def test_a_shift_that_does_not_help_moves_nothing() -> None:
    solution = fit(noise(1), shift=True)
    assert (solution.status, solution.shift) == ("no_gain", None)


class SmallSample(ArrayCorpus):
    """An array that gives 500 documents as its sample, however many are asked for."""

    def sample(self, count: int, seed: int) -> NDArray[np.float32]:
        return super().sample(min(count, 500), seed)


def test_the_softmax_is_exact_for_a_whole_corpus_and_estimated_from_a_sample_of_it() -> None:
    problem = learnable(9, documents=2000)
    exact = fit(problem, method="contrastive", temperature=0.1, step=0.3)
    assert exact.normaliser == "exact"
    np.testing.assert_allclose(exact.apply(problem.documents), moved(problem, "contrastive", 0.3, 0.1), atol=3e-6)
    few = SmallSample(problem.documents)
    sampled = solve(few, problem.queries, problem.relevance, method="contrastive", temperature=0.1, step=0.3)
    assert sampled.normaliser == "sampled"
    assert not np.array_equal(sampled.vectors, exact.vectors)
    assert (sampled.vectors * exact.vectors).sum(axis=1).min() > 0.995
    assert sampled.score == pytest.approx(exact.score, abs=0.03)
    assert fit(problem, method="nudge-n", step=0.3).normaliser is None


@pytest.mark.parametrize(("documents", "normaliser"), [(8192, "exact"), (8193, "sampled")])
def test_more_than_8192_documents_are_sampled(documents: int, normaliser: str) -> None:
    problem = learnable(9, documents=documents)
    assert fit(problem, method="contrastive", temperature=0.1, step=0.3).normaliser == normaliser
    exact = moved(problem, "contrastive", 0.3, 0.1)
    found = fit(problem, method="contrastive", temperature=0.1, step=0.3).apply(problem.documents)
    assert (found * exact).sum(axis=1).min() > 0.9999


def test_unlabelled_copies_of_labelled_documents_count_in_the_softmax() -> None:
    problem = learnable(2)
    documents, gains = problem.documents.copy(), problem.gains
    documents[30:] = documents[:10]
    copies = Problem(documents, problem.queries, gains, problem.groups)
    solution = fit(copies, method="contrastive", temperature=0.1, step=0.3)
    assert solution.normaliser == "exact"
    np.testing.assert_allclose(solution.apply(documents), moved(copies, "contrastive", 0.3, 0.1), atol=3e-6)
    assert solution.score == pytest.approx(leave_one_out(copies, "contrastive", 0.3, "ndcg@10", temperature=0.1))


def test_where_there_are_more_queries_than_evaluate_some_push_for_all() -> None:
    problem = learnable(9, queries=600)
    options: dict[str, Any] = {"method": "contrastive", "temperature": 0.1, "step": 3.2, "max_queries": 200}
    solutions = [fit(problem, **options, seed=seed) for seed in range(8)]
    assert {(each.normaliser, each.queries, each.evaluable) for each in solutions} == {("sampled", 200, 600)}
    # At the end of the path a document is at its direction. Did 200 push for themselves alone, this would be 0.81.
    near = unit(np.mean([each.vectors for each in solutions], axis=0))
    assert (near * moved(problem, "contrastive", 3.2, 0.1)[:30]).sum(axis=1).mean() > 0.95


@pytest.mark.parametrize("held", [150, 450])
def test_refitting_to_more_queries_than_evaluate_lets_some_of_both_sets_push(held: int) -> None:
    problem = learnable(9, queries=600)
    train, validation = problem.part(np.arange(held, 600)), problem.part(np.arange(held))
    solutions = [
        fit(
            train,
            method="contrastive",
            temperature=0.1,
            step=3.2,
            validation=(validation.queries, validation.relevance),
            max_queries=100,
            seed=seed,
        )
        for seed in range(12)
    ]
    near = unit(np.mean([each.vectors for each in solutions], axis=0))
    assert (near * moved(problem, "contrastive", 3.2, 0.1)[:30]).sum(axis=1).mean() > 0.95


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_a_scaled_sample_estimates_the_softmax(temperature: float) -> None:
    random = np.random.default_rng(0)
    corpus, queries = unit(random.normal(size=(5000, 16))), unit(random.normal(size=(20, 16)))
    exact = np.log(np.exp(queries @ corpus.T / temperature).sum(axis=1))

    def estimate(sample: NDArray[np.float64]) -> NDArray[np.float32]:
        tensors = [torch.from_numpy(part.astype(np.float32)) for part in (queries, corpus[:100], sample)]
        values = log_normalisers(tensors[0], tensors[1], tensors[2], 4900, (temperature,), 1 << 20)[temperature]
        return np.asarray(values.numpy())

    np.testing.assert_allclose(estimate(corpus[100:]), exact, atol=1e-5)
    np.testing.assert_allclose(estimate(corpus[100 + random.choice(4900, 2000, replace=False)]), exact, atol=0.2)
    # Without the scale the sample would be taken for the whole corpus.
    assert np.abs(np.log(np.exp(queries @ corpus[:2100].T / temperature).sum(axis=1)) - exact).min() > 0.3


def test_nothing_is_printed_and_the_log_says_what_was_chosen(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="nudge_integrations"):
        good, bad = fit(learnable()), fit(noise(0))
    assert capfd.readouterr() == ("", "")
    messages = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert (logging.INFO, f"{good.method}: {good.reason}") in messages
    assert (logging.WARNING, f"nothing moved: {bad.reason}") in messages
    assert sum(level == logging.DEBUG for level, _ in messages) == 12
    assert all(record.name.startswith("nudge_integrations.solver") for record in caplog.records)


def test_progress_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    fit(learnable(), method="nudge-n", progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "reading the corpus" in err
    assert "searching the step" in err
    assert "120/120" in err
