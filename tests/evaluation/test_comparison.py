"""Comparisons: figures against scipy's, error rates at the stated level, queries that moved, groups, refusals."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.evaluation import Comparison, Difference, Evaluation, compare, evaluate
from nudge_integrations.evaluation.significance import holm, paired_differences

METRICS = ("ndcg@10", "recall@10", "mrr@10", "hit@1")


def evaluation_of(values: NDArray[np.float64], metrics: Sequence[str] = METRICS) -> Evaluation:
    per_query = {
        metric: {f"q{row}": float(value) for row, value in enumerate(values[:, column])}
        for column, metric in enumerate(metrics)
    }
    means = {metric: math.fsum(found.values()) / len(values) for metric, found in per_query.items()}
    return Evaluation(means, per_query, len(values))


def one_difference(before: ArrayLike, after: ArrayLike, **options: Any) -> Difference:
    old, new = (np.array(values, dtype=np.float64)[:, None] for values in (before, after))
    return paired_differences(old, new, ["mrr@10"], **options)["mrr@10"]


def collection_of(count: int, documents: int = 30) -> RetrievalDataset:
    corpus = {f"d{row}": f"document {row}" for row in range(documents)}
    queries = {f"q{row}": f"text {row}" for row in range(count)}
    return RetrievalDataset(corpus, queries, {f"q{row}": {f"d{row % documents}": 1.0} for row in range(count)})


def run_with_ranks(dataset: RetrievalDataset, ranks: Sequence[int]) -> dict[str, list[str]]:
    """A run of 20 documents a query with the relevant one at a rank, or without it where the rank is above 20."""
    run = {}
    for (query, grades), rank in zip(dataset.qrels.items(), ranks, strict=True):
        others = [document for document in dataset.corpus if document not in grades][:20]
        run[query] = [*others[: rank - 1], *grades, *others[rank - 1 :]][:20]
    return run


# ------------------------------------------------------------------------------------- intervals and tests


@pytest.mark.parametrize("seed", range(4))
def test_intervals_and_tests_are_scipys(seed: int) -> None:
    random = np.random.default_rng(seed)
    before = random.random(80)
    after = np.clip(before + np.where(random.random(80) < 0.4, random.exponential(0.2, 80) - 0.1, 0.0), 0, 1)
    found = one_difference(before, after, confidence=0.9)
    change = (after - before,)
    interval = stats.bootstrap(change, np.mean, n_resamples=10_000, confidence_level=0.9, random_state=seed)
    width = interval.confidence_interval.high - interval.confidence_interval.low
    assert (found.low, found.high) == pytest.approx(interval.confidence_interval, abs=0.05 * width)
    flipped = stats.permutation_test(
        change, np.mean, permutation_type="samples", n_resamples=10_000, vectorized=True, random_state=seed
    )
    chance = float(flipped.pvalue)
    spread = math.sqrt(max(chance * (1 - chance), 1e-4) / 10_000)
    assert found.p_value == pytest.approx(chance, abs=6 * spread)


@given(arrays(np.float64, st.integers(1, 9), elements=st.sampled_from([-1.0, -0.5, -0.2, 0.0, 0.25, 0.5, 1.0])))
def test_the_test_of_few_queries_is_exact(change: NDArray[np.float64]) -> None:
    found = one_difference(np.zeros(len(change)), change, resamples=600)
    nonzero = change[change != 0]
    signs = (
        np.array(np.meshgrid(*[[-1, 1]] * len(nonzero))).reshape(len(nonzero), -1) if len(nonzero) else np.ones((0, 1))
    )
    expected = (np.abs(nonzero @ signs) >= abs(nonzero.sum()) - 1e-9).mean()
    assert found.p_value == pytest.approx(expected)


@given(st.integers(1, 40), st.integers(0, 10_000), st.floats(0.5, 0.99))
def test_figures_are_finite_in_order_and_turn_round_with_the_sides(count: int, seed: int, confidence: float) -> None:
    random = np.random.default_rng(seed)
    before, after = random.integers(0, 4, (2, count)) / 3
    found, turned = (
        one_difference(*sides, resamples=300, confidence=confidence) for sides in ((before, after), (after, before))
    )
    assert found.wins + found.losses + found.ties == count
    assert (found.wins, found.losses, found.difference) == (turned.losses, turned.wins, -turned.difference)
    assert found.difference == pytest.approx(found.after - found.before)
    assert 0 < found.p_value <= found.p_adjusted <= 1
    assert min(change := after - before) - 1e-9 <= found.low <= found.high <= max(change) + 1e-9
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low), abs=1e-6)


def test_holms_correction_worked_out_by_hand() -> None:
    def family(*p_values: float) -> dict[str, Difference]:
        return {f"m{i}": Difference(f"m{i}", 0, 0, 0, 0, 0, p, p, 0, 0, 1) for i, p in enumerate(p_values)}

    assert [d.p_adjusted for d in holm([family(0.01, 0.04, 0.03, 0.5)])[0].values()] == pytest.approx(
        [0.04, 0.09, 0.09, 0.5]
    )
    together = holm([family(0.01, 0.9), family(0.02)])
    assert [[d.p_adjusted for d in one.values()] for one in together] == [pytest.approx([0.03, 0.9]), [0.04]]


def test_draws_depend_on_the_seed_alone() -> None:
    random = np.random.default_rng(0)
    before, after = random.random((2, 50))
    assert one_difference(before, after, seed=3) == one_difference(before, after, seed=3)
    assert one_difference(before, after, seed=3) != one_difference(before, after, seed=4)


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_the_same_difference_everywhere_has_no_spread(value: float) -> None:
    found = one_difference([0.1] * 30, [0.1 + value] * 30)
    assert [found.low, found.high] == pytest.approx([value, value])


# --------------------------------------------------------------------------- 500 comparisons: what is promised is kept

REPETITIONS = 500


def within(count: int, chance: float) -> bool:
    """Whether a count of so many repetitions is what a chance gives in all but one in a thousand cases."""
    low, high = (stats.binom.ppf(tail, REPETITIONS, chance) for tail in (0.0005, 0.9995))
    return bool(low <= count <= high)


def repeated(draw: Any, metrics: Sequence[str]) -> list[Comparison]:
    random = np.random.default_rng(11)
    pairs = (draw(random) for _ in range(REPETITIONS))
    return [
        compare(evaluation_of(old, metrics), evaluation_of(new, metrics), resamples=399, seed=seed)
        for seed, (old, new) in enumerate(pairs)
    ]


def test_equal_retrievers_differ_significantly_as_rarely_as_stated() -> None:
    found = repeated(lambda random: random.beta(0.5, 0.5, (2, 40, 1)), ["mrr@10"])
    for level in (0.05, 0.2):
        assert within(sum(one.differences["mrr@10"].p_adjusted <= level for one in found), level)


def test_several_metrics_together_raise_no_more_false_alarms_than_one() -> None:
    def draw(random: np.random.Generator) -> Any:
        reciprocal = 1 / random.geometric(0.3, (2, 40))
        return np.stack([reciprocal, reciprocal > 0.9, reciprocal > 0.3, reciprocal**2], axis=2).astype(np.float64)

    found = repeated(draw, METRICS)
    alarms = sum(min(d.p_adjusted for d in one.differences.values()) <= 0.05 for one in found)
    assert alarms <= stats.binom.ppf(0.999, REPETITIONS, 0.05)


def test_a_planted_difference_is_found_as_often_as_its_size_promises() -> None:
    planted, spread, queries = 0.1, 0.2, 40

    def draw(random: np.random.Generator) -> Any:
        before = random.random((queries, 1))
        return before, before + random.normal(planted, spread, (queries, 1))

    found = [one.differences["mrr@10"] for one in repeated(draw, ["mrr@10"])]
    # The power of the t-test, which the randomisation test has too where differences are normal: 0.87.
    shift, limit = planted / spread * math.sqrt(queries), stats.t.ppf(0.975, queries - 1)
    assert within(sum(one.p_value <= 0.05 for one in found), stats.nct.sf(limit, queries - 1, shift))
    assert np.mean([one.difference for one in found]) == pytest.approx(
        planted, abs=4 * spread / math.sqrt(queries * 500)
    )


def test_intervals_cover_the_true_difference_as_often_as_stated() -> None:
    def draw(random: np.random.Generator) -> Any:
        moved = random.random((100, 1)) < 0.3
        return np.zeros((100, 1)), np.where(moved, random.uniform(-0.2, 0.8, (100, 1)), 0.0)

    covered = sum(d.low <= 0.09 <= d.high for d in (one.differences["mrr@10"] for one in repeated(draw, ["mrr@10"])))
    assert within(covered, 0.95)


# ------------------------------------------------------------------------------------------------------ compare


def test_against_itself_nothing_differs() -> None:
    dataset = collection_of(40)
    run = run_with_ranks(dataset, [1 + row % 25 for row in range(40)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare(run, run, dataset, train=dataset, query_vectors=np.random.default_rng(0).random((40, 5)))
    assert found.moved == found.risen() == found.fallen() == ()
    groups = [group.differences for one in found.breakdowns for group in one.groups]
    for difference in (d for differences in [found.differences, *groups] for d in differences.values()):
        assert (difference.difference, difference.low, difference.high) == (0.0, 0.0, 0.0)
        assert (difference.p_value, difference.p_adjusted, difference.wins, difference.losses) == (1.0, 1.0, 0, 0)
    assert "nan" not in json.dumps(found.to_dict()).lower()


def test_a_difference_that_was_planted_is_found_with_its_queries() -> None:
    dataset = collection_of(60)
    old = [4] * 30 + [2] * 30
    new = [1] * 10 + [4] * 20 + [2] * 28 + [12, 30]
    found = compare(run_with_ranks(dataset, old), run_with_ranks(dataset, new), dataset, metrics=["mrr@10", "hit@1"])
    difference = found.differences["mrr@10"]
    assert difference.difference == pytest.approx((10 * 0.75 - 2 * 0.5) / 60)
    assert (difference.wins, difference.losses, difference.ties) == (10, 2, 48)
    assert 0 < difference.low < difference.difference < difference.high
    assert difference.p_adjusted < 0.05
    assert difference.before == evaluate(run_with_ranks(dataset, old), dataset).means["mrr@10"]
    assert [one.query_id for one in found.risen(3)] == ["q0", "q1", "q2"]
    worst, next_worst = found.fallen(5)
    assert (worst.query_id, worst.text, worst.old_rank, worst.new_rank) == ("q59", "text 59", 2, None)
    assert (next_worst.document_id, next_worst.new_rank, next_worst.change) == ("d28", 12, -0.5)
    assert len(found.moved) == 12


def test_a_rank_that_no_metric_sees_has_moved_too() -> None:
    dataset = collection_of(3)
    found = compare(run_with_ranks(dataset, [1, 15, 12]), run_with_ranks(dataset, [1, 12, 15]), dataset)
    assert [(one.query_id, one.change, one.old_rank, one.new_rank) for one in found.moved] == [
        ("q1", 0.0, 15, 12),
        ("q2", 0.0, 12, 15),
    ]
    assert (found.risen()[0].query_id, found.fallen()[0].query_id) == ("q1", "q2")


def test_of_several_relevant_documents_the_one_that_made_the_change_stands_for_the_query() -> None:
    dataset = RetrievalDataset({d: d for d in "abcdef"}, {"q": "?"}, {"q": {"a": 1, "b": 1, "c": 0}})
    found = compare({"q": ["a", "c", "d", "e", "b"]}, {"q": ["c", "d", "a", "b", "e"]}, dataset, metrics=["mrr@10"])
    assert (found.moved[0].document_id, found.moved[0].old_rank, found.moved[0].new_rank) == ("a", 1, 3)
    risen = compare(
        {"q": ["c", "d", "a", "b", "e"]}, {"q": ["c", "b", "d", "e", "f", "a"]}, dataset, metrics=["mrr@10"]
    )
    assert (risen.moved[0].document_id, risen.moved[0].old_rank, risen.moved[0].new_rank) == ("b", 4, 2)


def test_every_figure_is_split_by_what_train_labelled() -> None:
    corpus = {f"d{row}": f"text {row}" for row in range(8)}
    test_labels: dict[str, dict[str, float]] = {
        "one": {"d1": 1},
        "two": {"d2": 1},
        "four": {"d4": 2},
        "none": {"d0": 1, "d1": 0},
        "both": {"d1": 1, "d0": 1},
    }
    labels: dict[str, dict[str, float]] = {"t1": {"d1": 1, "d2": 1, "d0": 0}, "t2": {"d2": 1}}
    labels |= {f"u{row}": {"d4": 1.0} for row in range(4)}
    dataset, train = (RetrievalDataset(corpus, {q: q for q in found}, found) for found in (test_labels, labels))
    run = {query: ["d7"] for query in test_labels}
    found = compare(run, {**run, "one": ["d1"], "none": ["d0"]}, dataset, metrics=["mrr@10"], train=train)
    documents, counts = found.breakdown("documents"), found.breakdown("labels")
    assert {group.label: group.query_ids for group in documents.groups} == {
        "seen": ("one", "two", "four"),
        "in part": ("both",),
        "unseen": ("none",),
    }
    assert {group.label: group.query_ids for group in counts.groups} == {
        "0 labels": ("none",),
        "1 label": ("one", "both"),
        "2 to 3 labels": ("two",),
        "4 or more labels": ("four",),
    }
    assert documents["seen"].means_before == {"mrr@10": 0.0}
    assert documents["seen"].means_after == {"mrr@10": pytest.approx(1 / 3)}
    assert documents["unseen"].differences["mrr@10"].difference == 1.0
    with pytest.raises(InputError, match=r"no breakdown 'clusters', only \['documents', 'labels'\]"):
        found.breakdown("clusters")


def test_groups_put_together_are_all_queries_and_clusters_are_those_of_the_vectors() -> None:
    dataset = collection_of(60)
    random = np.random.default_rng(5)
    far_apart = np.repeat(np.eye(3), [30, 20, 10], axis=0)
    vectors = far_apart + random.normal(0, 0.02, (60, 3))
    before, after = (run_with_ranks(dataset, random.integers(1, 12, 60).tolist()) for _ in range(2))
    found = compare(before, after, dataset, query_vectors=vectors, clusters=3, metrics=["mrr@10"])
    groups = found.breakdown("clusters").groups
    assert [group.queries for group in groups] == [30, 20, 10]
    whole = found.differences["mrr@10"].difference
    assert sum(g.queries * g.differences["mrr@10"].difference for g in groups) / 60 == pytest.approx(whole)


def test_evaluations_are_compared_by_the_metrics_they_have() -> None:
    dataset = collection_of(10)
    runs = [run_with_ranks(dataset, ranks) for ranks in ([3] * 10, [1] * 10)]
    one, other = evaluate(runs[0], dataset, ["map@5", "hit@1"]), evaluate(runs[1], dataset, ["hit@1", "mrr@3"])
    assert list(compare(one, other).differences) == ["hit@1"]
    assert (
        compare(one, runs[1]).differences == compare(runs[0], runs[1], dataset, metrics=["map@5", "hit@1"]).differences
    )
    with pytest.raises(InputError, match=r"an evaluation has no 'mrr@3', only \['map@5', 'hit@1'\]"):
        compare(one, other, metrics=["mrr@3"])
    with pytest.raises(InputError, match="no metric in common"):
        compare(one, evaluate(runs[1], dataset, ["recall@2"]))


@pytest.mark.parametrize(
    ("other", "options", "error", "words"),
    [
        ({}, {}, DatasetError, "give compare a dataset"),
        (evaluation_of(np.zeros((3, 4))), {}, DatasetError, "2 are only in the first, 0 only in the second"),
        (evaluation_of(np.zeros((5, 4))), {"dataset": collection_of(6)}, DatasetError, "5 queries .* the dataset's 6"),
        (evaluation_of(np.zeros((5, 4))), {"resamples": 0}, InputError, "resamples"),
        (evaluation_of(np.zeros((5, 4))), {"confidence": 95}, InputError, "confidence"),
        (evaluation_of(np.zeros((5, 4))), {"train": collection_of(5)}, DatasetError, "no labels to split"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    other: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        compare(evaluation_of(np.zeros((5, 4))), other, **options)


def test_evaluations_by_different_labels_are_refused() -> None:
    dataset = collection_of(5)
    other = RetrievalDataset(dataset.corpus, dataset.queries, {**dataset.qrels, "q0": {"d3": 1.0}})
    run = run_with_ranks(dataset, [1] * 5)
    with pytest.raises(DatasetError, match="different labels"):
        compare(evaluate(run, dataset), evaluate(run, other))
    with pytest.raises(DatasetError, match="different labels"):
        compare(evaluate(run, dataset), run, other)
    with pytest.raises(InputError, match="query vectors: 4 vectors came with 5 ids"):
        compare(run, run, dataset, query_vectors=np.ones((4, 2)))


def test_it_is_readable_as_text_and_as_json() -> None:
    dataset = collection_of(20)
    found = compare(run_with_ranks(dataset, [2] * 20), run_with_ranks(dataset, [1] * 20), dataset, train=dataset)
    assert repr(found).startswith("Comparison(ndcg@10 0.6309 -> 1.0000, recall@10 1.0000 -> 1.0000")
    lines = str(found).splitlines()
    assert "95% interval" in lines[0]
    assert lines[1:3] == [
        "all queries (20)",
        "  ndcg@10     0.6309  1.0000  +0.3691  [+0.3691, +0.3691]    0.0004  20/0/0",
    ]
    assert "documents: seen (20)" in lines
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["metrics"]["mrr@10"]["wins"] == 20
    assert plain["breakdowns"][1]["groups"][0]["label"] == "1 label"
    assert plain["moved"][0]["old_rank"] == 2


def test_every_relevant_document_may_count_the_same() -> None:
    corpus = {name: name for name in "abc"}
    queries = {query: query for query in "qrst"}
    dataset = RetrievalDataset(corpus, queries, {"q": {"a": 1}, "r": {"a": 1}, "s": {"a": 1, "b": 1}, "t": {"c": 1}})
    before = {"q": ["b", "a"], "r": ["b", "a"], "s": ["a"], "t": ["c"]}
    after = {"q": ["a"], "r": ["a"], "s": ["c", "b"], "t": ["a", "c"]}
    found = compare(before, after, dataset, metrics=["hit@1"]).document_means()
    # a is wanted by q, r and half of s; b by the other half of s; c by t.
    assert found["hit@1"] == pytest.approx(((0.5 / 2.5 + 1 + 1) / 3, (2 / 2.5 + 0 + 0) / 3))
