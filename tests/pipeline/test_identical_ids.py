"""Tickets that look for similar tickets: every query is a document, and none of them ever finds itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_doubles import ENCODER, ENCODER_PATH, WordEncoder
from selection_problems import ndcg
from typer.testing import CliRunner

from nudge_integrations import (
    InputError,
    Nudge,
    Options,
    RetrievalDataset,
    evaluate,
    fit,
    langchain,
    llama_index,
    migrate,
    suspects,
)
from nudge_integrations.cli.app import app
from nudge_integrations.evaluation import RunFolder, compare, write_run
from nudge_integrations.evaluation.explain import learning_curve
from nudge_integrations.pipeline import labels_over_documents, refit_details
from nudge_integrations.stores import fit_store, open_store

AREAS = ("login", "invoice", "printer", "network", "mouse", "license")
WAYS = ("fails", "broken", "missing", "slow", "wrong", "again", "today", "since monday")


def tickets() -> RetrievalDataset:
    """Answers to a ticket are the other tickets about its area, which every second ticket names by another word."""
    names = {area: area if number % 2 else f"the {area} thing" for number, area in enumerate(AREAS)}
    corpus = {
        f"t{number}-{way}": f"{names[area] if way % 2 else f'case {number}'} {words} {'x' * number}"
        for number, area in enumerate(AREAS)
        for way, words in enumerate(WAYS)
    }
    qrels = {one: {other: 1.0 for other in corpus if other != one and other[:2] == one[:2]} for one in corpus}
    return RetrievalDataset(corpus, corpus, qrels)


DATASET = tickets()
DOCUMENTS = ENCODER.encode_documents(list(DATASET.corpus.values())).astype(np.float64)


def by_hand(dataset: RetrievalDataset, documents: Any) -> float:
    """nDCG@10 of every query's ranking, its own document taken out of it."""
    ids, values = list(DATASET.corpus), []
    for query in dataset.queries:
        own = ids.index(query)
        others = [row for row in range(len(ids)) if row != own]
        gains = np.array([dataset.qrels[query].get(ids[row], 0.0) for row in others])
        values.append(ndcg(documents[others], DOCUMENTS[own], gains))
    return float(np.mean(values))


def test_evaluate_leaves_each_query_out_of_its_own_ranking() -> None:
    vectors = DOCUMENTS, DOCUMENTS
    evaluation = evaluate(vectors, DATASET, ["ndcg@10"], depth=5, ignore_identical_ids=True)
    assert evaluation.means["ndcg@10"] == pytest.approx(by_hand(DATASET, DOCUMENTS), abs=1e-6)
    assert all(query not in ranking for query, ranking in evaluation.rankings.items())
    assert {len(ranking) for ranking in evaluation.rankings.values()} == {10}
    assert evaluate(vectors, DATASET, ["ndcg@10"]).rankings["t0-0"][0] == "t0-0"
    whole = evaluate(vectors, DATASET, ["ndcg@10"], depth=11).rankings
    run = evaluate(whole, DATASET, ["ndcg@10"], ignore_identical_ids=True)
    assert run.means == evaluation.means
    # As in BEIR, labels stay: what a query says about itself counts in the ideal ranking and can not be found.
    itself = RetrievalDataset({"a": "x", "b": "y"}, {"a": "x"}, {"a": {"a": 1, "b": 1}})
    assert evaluate({"a": ["a", "b"]}, itself, ["recall@2"], ignore_identical_ids=True).means == {"recall@2": 0.5}


@pytest.mark.parametrize("method", ["nudge-n", "contrastive", "auto"])
def test_fit_chooses_by_rankings_that_the_query_is_not_in(method: str) -> None:
    nudge = fit(DATASET, ENCODER, method=method, ignore_identical_ids=True)
    assert nudge.baseline == pytest.approx(by_hand(DATASET, DOCUMENTS), abs=1e-6)
    assert nudge.baseline > fit(DATASET, ENCODER, method=method).baseline + 0.05


def test_fit_chooses_by_held_out_queries_that_do_not_find_themselves() -> None:
    train, validation = DATASET.split((0.7, 0.3), seed=1)
    nudge = fit(train, ENCODER, validation=validation, method="nudge-n", ignore_identical_ids=True)
    assert nudge.baseline == pytest.approx(by_hand(validation, DOCUMENTS), abs=1e-6)


def test_words_beside_vectors_do_not_find_the_query_either() -> None:
    plain = fit(DATASET, ENCODER, signals=("bm25",), method="nudge-n", ignore_identical_ids=True)
    assert plain.baseline == pytest.approx(by_hand(DATASET, DOCUMENTS), abs=1e-6)
    assert score_of_words(plain) != pytest.approx(
        score_of_words(fit(DATASET, ENCODER, signals="bm25", method="nudge-n"))
    )


def score_of_words(nudge: Nudge) -> float:
    return next(float(one["score"]) for one in nudge.candidates if "bm25" in one["method"])


def test_both_edges_and_live_stores_take_the_option() -> None:
    expected = by_hand(DATASET, DOCUMENTS)
    embedding = langchain.as_embedding(ENCODER)
    documents = [langchain_document(i, text) for i, text in DATASET.corpus.items()]
    retriever = langchain.NudgeRetriever.from_documents(
        documents, embedding, DATASET, method="nudge-n", ignore_identical_ids=True
    )
    engine = llama_index.NudgeFinetuneEngine(
        DATASET, llama_index.as_embedding(ENCODER), method="nudge-n", ignore_identical_ids=True
    )
    engine.finetune()
    store = open_store({i: row.tolist() for i, row in zip(DATASET.corpus, DOCUMENTS, strict=True)})
    live = fit_store(store, DATASET, ENCODER, method="nudge-n", ignore_identical_ids=True)
    for nudge in (retriever.nudge, engine.nudge, live):
        assert nudge is not None
        assert nudge.baseline == pytest.approx(expected, abs=1e-6)


def langchain_document(identifier: str, text: str) -> Any:
    from langchain_core.documents import Document

    return Document(text, id=identifier)


def test_evaluators_of_both_edges_take_the_option() -> None:
    engine = llama_index.NudgeFinetuneEngine(DATASET, llama_index.as_embedding(ENCODER), method="nudge-n", step=0.0)
    engine.finetune()
    found = engine.as_retriever(similarity_top_k=2)
    options: dict[str, Any] = {"metrics": ["ndcg@10"], "ignore_identical_ids": True}
    for evaluation in (
        llama_index.evaluate_retriever(found, DATASET, **options),
        asyncio.run(llama_index.aevaluate_retriever(found, DATASET, **options)),
    ):
        assert evaluation.means["ndcg@10"] == pytest.approx(by_hand(DATASET, DOCUMENTS), abs=1e-6)
    (evaluator,) = langchain.langsmith_evaluators(DATASET, ["hit@1"], ignore_identical_ids=True)
    outputs = {"documents": ["t0-1", "t0-3"]}
    assert evaluator({"question": DATASET.corpus["t0-1"]}, outputs)["score"] == 1.0


def test_the_command_line_takes_the_option(tmp_path: Path) -> None:
    train, test = DATASET.split((0.7, 0.3), seed=1)
    train.to_beir(tmp_path / "tickets", "train")
    test.to_beir(tmp_path / "tickets", "test")

    def done(*arguments: object) -> dict[str, Any]:
        result = CliRunner().invoke(app, [*map(str, arguments), "--ignore-identical-ids", "--json"])
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    fitted = done("fit", tmp_path / "tickets", "-e", ENCODER_PATH, "-o", tmp_path / "out")
    assert fitted["before"]["ndcg@10"] == pytest.approx(by_hand(test, DOCUMENTS), abs=1e-6)
    run = RunFolder.load(tmp_path / "out")
    assert all(query not in ranking for side in (run.before, run.after) for query, ranking in side.items())
    write_run(evaluate((DOCUMENTS, DOCUMENTS), DATASET).rankings, tmp_path / "run.trec")
    read = done("evaluate", tmp_path / "run.trec", tmp_path / "tickets")
    assert read["metrics"]["ndcg@10"] == pytest.approx(fitted["before"]["ndcg@10"])
    again = done("evaluate", tmp_path / "out", tmp_path / "tickets", "-e", ENCODER_PATH)
    assert again["metrics"] == pytest.approx(fitted["after"])


def test_the_option_stands_in_the_list_of_all_options() -> None:
    assert Options().ignore_identical_ids is False
    assert Options(ignore_identical_ids=True).ignore_identical_ids


def test_two_rankings_are_compared_without_the_query_itself() -> None:
    found = evaluate((DOCUMENTS, DOCUMENTS), DATASET, ["ndcg@10"], depth=11)
    other: Any = {query: ids[::-1] for query, ids in found.rankings.items()}
    comparison = compare(
        dict(found.rankings), other, DATASET, metrics=["ndcg@10"], resamples=10, ignore_identical_ids=True
    )
    assert comparison.before.means["ndcg@10"] == pytest.approx(by_hand(DATASET, DOCUMENTS), abs=1e-6)
    assert all(
        query not in ids for side in (comparison.before, comparison.after) for query, ids in side.rankings.items()
    )
    with pytest.raises(InputError, match="among their own results"):
        compare(found, found, ignore_identical_ids=True)


def test_the_command_line_compares_without_the_query_itself(tmp_path: Path) -> None:
    DATASET.to_beir(tmp_path / "tickets", "test")
    whole = evaluate((DOCUMENTS, DOCUMENTS), DATASET, depth=11).rankings
    for name, ranking in (("one", whole), ("other", {query: ids[::-1] for query, ids in whole.items()})):
        write_run(ranking, tmp_path / f"{name}.trec")
    given = ["compare", tmp_path / "one.trec", tmp_path / "other.trec", "--dataset", tmp_path / "tickets", "--json"]
    result = CliRunner().invoke(app, [*map(str, given), "--resamples", "10", "--ignore-identical-ids"])
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)["metrics"]
    assert metrics["ndcg@10"]["before"] == pytest.approx(by_hand(DATASET, DOCUMENTS), abs=1e-6)


def test_canary_queries_of_a_live_store_do_not_find_themselves(tmp_path: Path) -> None:
    store = open_store({i: row.tolist() for i, row in zip(DATASET.corpus, DOCUMENTS, strict=True)}, journal=tmp_path)
    nudge = fit_store(store, DATASET, ENCODER, method="nudge-n", step=0.2, ignore_identical_ids=True)
    plan = store.plan(nudge)
    assert plan.prediction is not None
    assert plan.prediction.before == pytest.approx(by_hand(DATASET, DOCUMENTS), abs=1e-6)
    moved = nudge.apply(list(DATASET.corpus), DOCUMENTS)
    assert plan.prediction.after == pytest.approx(by_hand(DATASET, moved), abs=1e-6)
    rollout = store.apply(plan)
    figures = rollout.canary_figures
    assert figures is not None
    assert figures["found"] == pytest.approx(figures["predicted"], abs=1e-6)


class AnotherEncoder(WordEncoder):
    fingerprint = "another"


def test_a_refit_and_a_migration_measure_without_the_query_itself() -> None:
    first, second = DATASET.split((0.5, 0.5), seed=0)
    nudge = fit(first, ENCODER, method="nudge-n", step=0.2, ignore_identical_ids=True)
    details = refit_details(
        nudge, second, DOCUMENTS, query_vectors=ENCODER.encode_queries(list(second.queries.values()))
    )
    assert details.gain is not None
    moved = nudge.apply(list(DATASET.corpus), DOCUMENTS)
    assert details.gain.before == pytest.approx(by_hand(second, moved), abs=1e-6)
    moving = migrate(nudge, AnotherEncoder(), DATASET.corpus, old_vectors=DOCUMENTS, held_out=0.4)
    held_out = labels_over_documents(nudge.labels, DATASET.corpus)[0].split((0.6, 0.4), seed=0)[1]
    for name in ("old model", "new model"):
        assert moving.figures[name] == pytest.approx(by_hand(held_out, DOCUMENTS), abs=1e-6)


def test_suspects_are_told_without_the_query_itself() -> None:
    nudge = fit(DATASET, ENCODER, method="nudge-n", step=0.2, ignore_identical_ids=True)
    plain = fit(DATASET, ENCODER, method="nudge-n", step=0.2)
    given: Any = {"vectors": DOCUMENTS, "documents": DATASET.corpus, "most": 10_000}
    without, beside = (
        {(one.query_id, one.document): one.disagreement for one in found}
        for found in (suspects(nudge, **given), suspects(plain, **given))
    )
    assert all(without[pair] < beside[pair] for pair in without)


def test_a_curve_of_fewer_labels_is_measured_without_the_query_itself() -> None:
    train, test = DATASET.split((0.7, 0.3), seed=1)
    vectors = (ENCODER.encode_queries(list(part.queries.values())) for part in (train, test))
    given: Any = dict(zip(("query_vectors", "test_query_vectors"), vectors, strict=True))
    curve = learning_curve(
        train,
        test,
        document_vectors=DOCUMENTS,
        **given,
        method="nudge",
        sizes=[10, 20],
        repeats=1,
        ignore_identical_ids=True,
    )
    assert curve.means[0] == pytest.approx(by_hand(test, DOCUMENTS), abs=1e-6)
