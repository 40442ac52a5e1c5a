"""Evaluation: values worked out by hand, every query counted, plain refusals."""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nudge_integrations.corpus import METRICS, parse_metric
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError, MissingExtraError
from nudge_integrations.evaluation import Evaluation, evaluate


def dataset_of(qrels: dict[str, dict[str, float]], documents: int = 12) -> RetrievalDataset:
    corpus = {f"d{row}": f"document {row}" for row in range(documents)}
    return RetrievalDataset(corpus, {query: f"text of {query}" for query in qrels}, qrels)


GRADED = dataset_of({"a": {"d1": 2, "d2": 1, "d9": 1}, "b": {"d3": 1}, "c": {"d0": 1}})
RUN = {"a": {"d0": 0.9, "d1": 0.8, "d5": 0.7, "d2": 0.6}, "b": {"d3": 5.0, "d1": 4.0}}


def test_values_worked_out_by_hand() -> None:
    names = ["hit@1", "hit@2", "recall@4", "precision@4", "mrr@4", "mrr@1", "map@4", "ndcg@4", "ndcg@2"]
    result = evaluate(RUN, GRADED, names)
    ideal = 2 + 1 / math.log2(3) + 1 / 2
    a = {
        "hit@1": 0.0,
        "hit@2": 1.0,
        "recall@4": 2 / 3,
        "precision@4": 2 / 4,
        "mrr@4": 1 / 2,
        "mrr@1": 0.0,
        "map@4": (1 / 2 + 2 / 4) / 3,
        "ndcg@4": (2 / math.log2(3) + 1 / math.log2(5)) / ideal,
        "ndcg@2": (2 / math.log2(3)) / (2 + 1 / math.log2(3)),
    }
    b = {**dict.fromkeys(names, 1.0), "precision@4": 1 / 4}
    assert list(result.means) == names
    for name in names:
        assert result.per_query[name] == pytest.approx({"a": a[name], "b": b[name], "c": 0.0}, abs=1e-9), name
        assert result.means[name] == pytest.approx((a[name] + b[name]) / 3)
    assert result.queries == 3


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("k", [1, 3, 10])
def test_agrees_with_the_metric_that_the_solver_maximises(name: str, k: int) -> None:
    random = np.random.default_rng(k)
    grades = random.integers(0, 4, (20, 12)) * (random.random((20, 12)) < 0.3)
    grades[:, 0] += 1
    dataset = dataset_of({f"q{q}": {f"d{d}": float(grades[q, d]) for d in range(12)} for q in range(20)})
    rankings = [random.permutation(12) for _ in range(20)]
    result = evaluate({f"q{q}": [f"d{d}" for d in rankings[q]] for q in range(20)}, dataset, [f"{name}@{k}"])
    metric, gains = parse_metric(f"{name}@{k}"), dataset.relevance()
    weights = metric.weights(gains)
    for query in range(20):
        stored = slice(gains.indptr[query], gains.indptr[query + 1])
        ranks = 1 + np.argsort(rankings[query])[gains.indices[stored]]
        order = 1 + np.argsort(np.argsort(ranks))
        expected = float((weights[stored] * metric.contribution(ranks, order)).sum())
        assert result.per_query[f"{name}@{k}"][f"q{query}"] == pytest.approx(expected, abs=1e-6)


def test_every_query_counts_also_without_results() -> None:
    assert evaluate({}, GRADED).means == dict.fromkeys(("ndcg@10", "recall@10", "mrr@10", "hit@1"), 0.0)
    half = evaluate({"b": ["d3"], "a": []}, GRADED, ["hit@1"])
    assert half.means == {"hit@1": pytest.approx(1 / 3)}
    assert half.per_query["hit@1"] == {"a": 0.0, "b": 1.0, "c": 0.0}


def test_queries_that_are_not_the_datasets_do_not_count() -> None:
    assert evaluate({**RUN, "other": {"d0": 1.0}}, GRADED).queries == 3


def test_equal_scores_keep_the_order_of_the_run() -> None:
    dataset = dataset_of({"a": {"d1": 1}})
    assert evaluate({"a": {"d1": 1.0, "d9": 1.0}}, dataset, ["hit@1"]).means["hit@1"] == 1.0
    assert evaluate({"a": {"d9": 1.0, "d1": 1.0}}, dataset, ["hit@1"]).means["hit@1"] == 0.0


def test_a_document_listed_twice_counts_once_at_its_best_rank() -> None:
    result = evaluate({"a": ["d1", "d1", "d2"]}, dataset_of({"a": {"d1": 1, "d2": 1}}), ["recall@2", "precision@2"])
    assert result.means == {"recall@2": 1.0, "precision@2": 1.0}


class Searcher:
    def search(self, queries: Sequence[str], k: int) -> tuple[list[list[str]], None]:
        return [list(RUN.get(text.split()[-1], {}))[:k] for text in queries], None


@pytest.mark.parametrize(
    "source",
    [
        RUN,
        {query: list(scores) for query, scores in RUN.items()},
        {query: tuple(scores) for query, scores in RUN.items()},
        lambda text: RUN.get(text.split()[-1], {}),
        lambda text: list(RUN.get(text.split()[-1], {})),
        Searcher(),
    ],
    ids=["scores", "lists", "tuples", "function to scores", "function to ids", "searcher"],
)
def test_runs_functions_and_searchers_are_evaluated_alike(source: Any) -> None:
    assert evaluate(source, GRADED) == evaluate(RUN, GRADED)


@pytest.mark.parametrize("scale", [0.5, 0.1, 1e-3, 7.0, 1e7])
def test_grades_on_any_scale_give_the_same_ndcg(scale: float) -> None:
    scaled = {q: {d: round(g * scale, 6) for d, g in grades.items()} for q, grades in GRADED.qrels.items()}
    assert evaluate(RUN, dataset_of(scaled)).means == pytest.approx(evaluate(RUN, GRADED).means)


def test_grades_that_cannot_be_whole_are_refused_for_ndcg_alone() -> None:
    dataset = dataset_of({"a": {"d1": 1 / 3, "d2": 0.7123456789}})
    with pytest.raises(DatasetError, match=r"nDCG needs whole grades, and grades such as 0\.333333, 0\.712346"):
        evaluate({"a": ["d1"]}, dataset)
    assert evaluate({"a": ["d1"]}, dataset, ["recall@10"]).means == {"recall@10": 0.5}


@pytest.mark.parametrize("metrics", [["ndcg"], ["ndcg@0"], ["NDCG@10"], ["hits@3"], ["ndcg@10 "], [7], []])
def test_metrics_that_do_not_exist_are_refused(metrics: list[Any]) -> None:
    with pytest.raises(InputError, match="metric"):
        evaluate(RUN, GRADED, metrics)


def test_one_metric_may_be_given_by_its_name_alone() -> None:
    assert list(evaluate(RUN, GRADED, "map@5").means) == ["map@5"]


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ({"x": ["d1"]}, DatasetError, "answers none of the dataset's 3 queries; its first query id is 'x'"),
        ({"a": ["node-7"]}, DatasetError, "none of the documents found is in the dataset's corpus.*'node-7'"),
        ({"a": [1, 2]}, InputError, "must be strings; got 1"),
        ({"a": "d1"}, InputError, "expected document ids"),
        ({"a": None}, InputError, "expected document ids"),
        ({"a": {"d1": math.nan}}, InputError, "NaN"),
        (7, InputError, "cannot evaluate a int"),
    ],
)
def test_what_is_no_run_is_refused(source: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        evaluate(source, GRADED)


@pytest.mark.parametrize(
    ("qrels", "words"),
    [
        ({"a": {"d1": 1.0}, "b": {}}, "query 'b' .* has no relevant document"),
        ({"a": {"d1": 1.0}, "b": {"d1": 0.0}}, "query 'b' .* has no relevant document"),
        ({"a": {"elsewhere": 1.0}}, "'elsewhere'"),
        ({"a": {"d1": -1.0}}, "query 'a' .* has no relevant document"),
        ({}, "no queries"),
    ],
)
def test_a_dataset_without_usable_labels_is_refused(qrels: dict[str, dict[str, float]], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        evaluate({"a": ["d1"]}, dataset_of(qrels))


def test_a_judgement_that_says_no_is_not_relevant() -> None:
    judged = {query: {**grades, "d11": -2.0} for query, grades in GRADED.qrels.items()}
    ranked = {query: ["d11", "d1", "d3"] for query in judged}
    assert evaluate(ranked, dataset_of(judged)).per_query == evaluate(ranked, GRADED).per_query


def test_without_ir_measures_the_error_names_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("ir_measures"):
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'nudge-integrations\[evaluation\]'"):
        evaluate(RUN, GRADED)


def test_the_result_is_frozen_and_readable() -> None:
    result = evaluate(RUN, GRADED, ["hit@1", "mrr@10"])
    assert repr(result) == "Evaluation(hit@1=0.3333, mrr@10=0.5000, queries=3)"
    assert isinstance(result, Evaluation)
    with pytest.raises(AttributeError):
        result.queries = 1  # type: ignore[misc]


def test_known_figure_of_scifact(collection: Callable[[str], Path]) -> None:
    folder = collection("scifact")
    dataset = RetrievalDataset.from_beir(folder, "test")
    documents = np.load(folder / "minilm" / "corpus.f16.npy").astype(np.float32)
    queries = np.load(folder / "minilm" / "queries.f16.npy").astype(np.float32)
    rows = {query: row for row, query in enumerate(ids_in(folder / "queries.jsonl"))}
    asked = queries[[rows[query] for query in dataset.query_ids]]
    order = np.argsort(-(asked @ documents.T), axis=1, kind="stable")[:, :100]
    ids = np.array(dataset.document_ids)
    run = {query: ids[order[row]].tolist() for row, query in enumerate(dataset.query_ids)}
    # MTEB's leaderboard gives 64.51 for all-MiniLM-L6-v2 on SciFact
    assert evaluate(run, dataset, ["ndcg@10"]).means["ndcg@10"] == pytest.approx(0.645, abs=0.002)


def ids_in(path: Path) -> list[str]:
    return [json.loads(line)["_id"] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("odd", ["\ud800", "\x00", "\x00\x00", "a b", "\t", "\n", "\u2028", "x" * 5000])
def test_ids_of_any_characters_are_evaluated_and_none_are_taken_for_each_other(odd: str) -> None:
    documents = {f"d{odd}1": "one", f"d{odd}2": "two", "d": "three"}
    queries = {f"q{odd}1": "first", f"q{odd}2": "second", "q": "third"}
    labels = {query: {document: 1} for query, document in zip(queries, documents, strict=True)}
    run = {query: [document for document in documents if document != wanted] for query, (wanted,) in labels.items()}
    run["q"] = ["d"]
    found = evaluate(run, RetrievalDataset(documents, queries, labels), ["hit@2"])
    assert dict(found.per_query["hit@2"]) == {f"q{odd}1": 0.0, f"q{odd}2": 0.0, "q": 1.0}
