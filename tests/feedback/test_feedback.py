"""Readers of every log, click weights against what they were simulated with, and a log that many processes share."""

from __future__ import annotations

import copy
import json
import math
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nudge_integrations import DatasetError, InputError, fit
from nudge_integrations.feedback import (
    Feedback,
    FeedbackLog,
    PositionWeights,
    Shown,
    Verdict,
    by_week,
    from_judgements,
    from_langfuse,
    from_langsmith,
    from_lines,
    from_phoenix,
    from_ubi,
    read_feedback,
)
from nudge_integrations.feedback.reading import FORMS

CORPUS = {"d1": "cats purr", "d2": "dogs bark", "d3": "cows moo"}


def said(feedback: Feedback) -> list[tuple[str, str, float, float]]:
    return [(one.query, one.document, one.grade, round(one.weight, 3)) for one in feedback.verdicts]


def test_our_own_lines_are_read_with_everything_that_is_left_out_named() -> None:
    feedback = from_lines(
        [
            {"query": "q", "document": "d1", "verdict": "yes", "unknown": [1]},
            {"query": "q", "document": "d2", "verdict": "no", "time": "2026-01-02T10:00:00"},
            {"query": "q", "document": "d2", "verdict": "correction", "instead": "d3"},
            {"query": "q", "verdict": "no", "cited": ["d1"], "shown": ["d1", "d2"]},
            {"query": "q", "verdict": "no", "shown": ["d1", "d2"]},
            {"query": "q", "verdict": "yes"},
            {"query": "q", "shown": ["d2", "d1", "d3"], "time": "2026-01-01T00:00:00"},
            {"query": "q", "document": "d1", "verdict": "click", "shown": ["d2", "d1"]},
            {"query": "q", "document": "d1", "verdict": "click"},
            {"query": "q", "document": "d1", "verdict": "perhaps"},
            {"document": "d1", "verdict": "yes"},
            {"query": "q"},
        ]
    )
    assert said(feedback) == [
        ("q", "d1", 1, 1),
        ("q", "d2", -1, 1),
        ("q", "d2", -1, 1),
        ("q", "d3", 1, 1),
        ("q", "d1", -1, 1),
        ("q", "d1", -1, 0.5),
        ("q", "d2", -1, 0.5),
    ]
    # The click is one of the three impressions, not a fourth.
    assert sorted((one.document, one.position, one.clicked) for one in feedback.shown) == [
        ("d1", 1, True),
        ("d2", 0, False),
        ("d3", 2, False),
    ]
    assert sum(feedback.left_out.values()) == 6
    assert any("left out, as nothing says what was shown" in why for why in feedback.left_out)
    assert any("perhaps" in why for why in feedback.left_out)
    assert [(one.week, one.source, one.no) for one in by_week(feedback)] == [("", "", 4), ("2025-12-29", "", 1)]


def test_labels_take_the_last_verdict_and_any_before_clicks_and_impressions_are_no_noes() -> None:
    feedback = Feedback(
        (
            Verdict("q", "d1", 1.0, time="2026-02"),
            Verdict("q", "d1", -1.0, time="2026-01"),
            Verdict("q", "gone", 1.0),
            Verdict("r", "d2", -1.0),
        ),
        (Shown("q", "d1", 0, clicked=True), Shown("q", "d2", 1), Shown("s", "d3", 3, clicked=True)),
    )
    labels = feedback.labels(CORPUS)
    by_text = {labels.dataset.queries[query]: dict(grades) for query, grades in labels.dataset.qrels.items()}
    assert by_text == {"q": {"d1": 1.0}, "r": {"d2": -1.0}, "s": {"d3": 1.0}}
    assert labels.left_out == {"labels of a document that the corpus does not hold": 1}
    assert labels.positions is not None
    assert "assumed" in labels.positions.reason
    assert labels.dataset.validate().ok
    vectors = np.eye(3) + 0.1
    nudge = fit(labels.dataset, "toy", weights=labels.weights, document_vectors=vectors, query_vectors=vectors)
    assert nudge.status in ("improved", "no_gain")


def test_ubi_is_read_with_its_published_statistics(collection: Callable[[str], Path]) -> None:
    folder = collection("ubi")
    feedback = read_feedback(folder / "ubi_queries_events.ndjson")
    records = feedback.records
    assert (records["query"], records["impression"], records["click"]) == (473, 1999, 287)
    assert {"events named 'search'"} <= set(feedback.left_out)
    assert all(one.query and one.document and one.position >= 0 for one in feedback.shown)
    judged = read_feedback(folder / "esci_us_judgments.json")
    assert len({one.query for one in judged.verdicts}) == 150
    assert len(judged.verdicts) + sum(judged.left_out.values()) == 6678


def test_ubi_takes_positions_and_impressions_from_the_query_where_events_have_none() -> None:
    query = {"query_id": "1", "user_query": "tea", "query_response_hit_ids": ["d1", "d2"], "timestamp": "2026-01-01"}
    click = {"query_id": "1", "action_name": "click", "event_attributes": {"object": {"object_id": "d2"}}}
    assert [(one.document, one.position, one.clicked) for one in from_ubi([click, query]).shown] == [
        ("d1", 0, False),
        ("d2", 1, True),
    ]


def test_phoenix_langsmith_and_langfuse() -> None:
    spans: list[dict[str, Any]] = [
        {
            "context.span_id": "s",
            "attributes.input.value": "tea",
            "attributes.retrieval.documents": [{"document.id": "d1"}, {"document": {"id": "d2"}}],
        },
        {"span_id": "s", "name": "relevance", "document_position": 1, "result": {"label": "irrelevant", "score": 0}},
        {"span_id": "s", "name": "relevance", "document_position": 0, "result": {"label": "relevant"}},
        {"span_id": "s", "name": "relevance", "document_position": 7, "result": {"score": 1}},
        {"span_id": "other", "name": "relevance", "result": {"score": 1}},
    ]
    phoenix = from_phoenix(spans)
    assert said(phoenix) == [("tea", "d2", -1, 1), ("tea", "d1", 1, 1)]
    assert sum(phoenix.left_out.values()) == 2
    runs: list[dict[str, Any]] = [
        {"run_id": "r", "key": "thumb", "score": 0, "correction": {"document": "d3"}},
        {
            "id": "r",
            "run_type": "retriever",
            "inputs": {"query": "tea"},
            "outputs": {"documents": [{"page_content": "x", "metadata": {"id": "d1"}, "type": "Document"}]},
        },
        {"run_id": "r", "key": "note", "score": None, "value": None, "comment": "hm"},
    ]
    langsmith = from_langsmith(runs)
    assert said(langsmith) == [("tea", "d3", 1, 1), ("tea", "d1", -1, 1)]
    assert langsmith.left_out["scores and labels that are neither yes nor no"] == 1
    langfuse = from_langfuse(
        [
            {"id": "t", "input": {"question": "tea"}, "output": {"documents": ["d1", "d2"]}},
            {"id": "x", "traceId": "t", "name": "user", "value": 1, "source": "API"},
        ]
    )
    assert said(langfuse) == [("tea", "d1", 1, 0.5), ("tea", "d2", 1, 0.5)]


def test_files_are_told_apart_and_refused_with_a_word(tmp_path: Path) -> None:
    quepid = tmp_path / "rated.csv"
    quepid.write_text("query,docid,rating,other\ntea,d1,3,x\ntea,d2,0,x\ntea,d3,,x\n", encoding="utf-8")
    feedback = read_feedback(quepid)
    assert said(feedback) == [("tea", "d1", 3, 1)]
    assert sum(feedback.left_out.values()) == 2
    assert from_judgements([{"query": "q", "docid": "d", "rating": -1}]).verdicts[0].grade == -1
    for text, message in (
        ("[1]", "expected JSON objects"),
        ("null", "expected JSON objects"),
        ("{", "not valid JSON"),
        ('{"a": 1}', "no known form"),
    ):
        (tmp_path / "odd.json").write_text(text, encoding="utf-8")
        with pytest.raises(DatasetError, match=message):
            read_feedback(tmp_path / "odd.json")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_feedback(tmp_path / "absent.jsonl")


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("eta", [0.5, 1.0, 1.5])
def test_the_bias_that_clicks_were_simulated_with_is_found(eta: float, shuffled: bool) -> None:
    random = np.random.default_rng(int(10 * eta))
    shown = []
    for _ in range(3000):
        query = int(random.integers(40))
        order = random.permutation(10) if shuffled else np.roll(np.arange(10), int(random.integers(4)))
        for place, document in enumerate(order):
            hit = random.random() < (place + 1.0) ** -eta * (0.8 if document % 3 == query % 3 else 0.05)
            shown.append(Shown(str(query), str(document), place, bool(hit), shuffled))
    weights = PositionWeights.of(shown)
    assert weights.weight(4) == pytest.approx(5.0**eta, rel=0.25)
    clicks = sum(one.clicked for one in shown)
    assert 0 < weights.effective_sample_size < clicks
    assert "assumed" not in weights.reason
    assert PositionWeights.of(shown, clip=0.5).weight(9) == pytest.approx(2.0)


def write(path: Path, number: int) -> None:
    log = FeedbackLog(path, largest=4000)
    for count in range(40):
        log.record(f"question {number}", f"d{count}", "yes", padding="x" * (count % 7))


def test_many_processes_share_a_log_that_rotates(tmp_path: Path) -> None:
    path = tmp_path / "log" / "feedback.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(path, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    feedback = FeedbackLog(path).read()
    assert sorted((one.query, one.document) for one in feedback.verdicts) == sorted(
        (f"question {number}", f"d{count}") for number in range(4) for count in range(40)
    )
    assert len(list(path.parent.glob("feedback.jsonl.[0-9]*"))) >= 3
    assert all(part.stat().st_size <= 4000 for part in path.parent.glob("feedback.jsonl*"))


def test_a_line_that_was_cut_off_is_not_joined_to_the_next_and_odd_values_are_refused(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path / "feedback.jsonl")
    log.record("q", "d1", "yes")
    with (tmp_path / "feedback.jsonl").open("a", encoding="utf-8") as handle:
        handle.write('{"query": "half')
    log.record("q", "d2", "no")
    assert [one.document for one in log.read().verdicts] == ["d1", "d2"]
    for query, document, verdict in (("", "d", "yes"), ("q", 3, "yes"), ("q", "d", float("nan"))):
        with pytest.raises(InputError):
            log.record(query, document, verdict)  # type: ignore[arg-type]
    assert len((tmp_path / "feedback.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    assert json.loads((tmp_path / "feedback.jsonl").read_text(encoding="utf-8").splitlines()[1])["verdict"] == "no"


def test_a_log_is_read_while_its_last_line_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "feedback[1].jsonl"
    log = FeedbackLog(path, largest=200)
    path.write_text('{"query": "half', encoding="utf-8")
    assert log.read().verdicts == ()
    for count in range(8):
        log.record("q", f"d{count}", "yes")
    with path.open("a", encoding="utf-8") as handle:
        handle.write('{"query": "half')
    for feedback in (log.read(), read_feedback(*sorted(tmp_path.glob("*jsonl.[0-9]*")), path)):
        assert [one.document for one in feedback.verdicts] == [f"d{count}" for count in range(8)]
        assert feedback.left_out == {"lines cut off at the end of a file": 1}
    log.record("q", "d8", "yes")
    assert len(log.read().verdicts) == 9
    assert log.read().left_out == {}


def test_a_table_that_cannot_be_parsed_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "odd.csv"
    table.write_text("query,docid,rating\n" + "x" * 200_000, encoding="utf-8")
    with pytest.raises(DatasetError, match="cannot be read as a table"):
        read_feedback(table)


def test_a_click_at_an_absurd_position_takes_no_memory() -> None:
    weights = PositionWeights.of([Shown("q", "d", 0, clicked=True), Shown("q", "e", 10**30, clicked=True)])
    assert len(weights.propensity) == 10_000
    assert weights.weight(10**30) == weights.weight(9_999)


def test_what_frameworks_retrieve_is_logged(tmp_path: Path) -> None:
    pytest.importorskip("llama_index.core")
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever as LangChainRetriever
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    from nudge_integrations.langchain import FeedbackCallbackHandler
    from nudge_integrations.llama_index import log_feedback

    class Fixed(BaseRetriever):
        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            return [NodeWithScore(node=TextNode(id_=i, text=i), score=0.5) for i in ("n1", "n2")]

    class Constant(LangChainRetriever):
        def _get_relevant_documents(self, query: str, **_: object) -> list[Document]:
            return [Document("a", id="d1"), Document("b", metadata={"_id": "d2"})]

    log = log_feedback(tmp_path / "nodes.jsonl", model="minilm")
    try:
        Fixed().retrieve("who purrs?")
    finally:
        get_dispatcher().event_handlers.pop()
    assert [(one.query, one.document, one.position) for one in log.read().shown] == [
        ("who purrs?", "n1", 0),
        ("who purrs?", "n2", 1),
    ]
    assert json.loads((tmp_path / "nodes.jsonl").read_text(encoding="utf-8"))["model"] == "minilm"
    handler = FeedbackCallbackHandler(tmp_path / "documents.jsonl")
    Constant().with_config(callbacks=[handler]).invoke("who purrs?")
    assert [one.document for one in handler.log.read().shown] == ["d1", "d2"]


def test_a_document_clicked_less_than_half_as_often_as_the_best_was_clicked_by_chance() -> None:
    corpus = {"good": "a", "near": "b", "stray": "c"}
    # Of ten impressions each: 4 clicks at rank 2 are worth 8, 5 at rank 1 are worth 5, and 1 at rank 3 is worth 3.
    shown = [
        Shown("q", document, position, clicked=number < clicks)
        for document, position, clicks in (("near", 0, 5), ("good", 1, 4), ("stray", 2, 1))
        for number in range(10)
    ]
    labels = Feedback(shown=tuple(shown)).labels(corpus)
    (grades,), (weights,) = labels.dataset.qrels.values(), labels.weights.values()
    assert dict(grades) == pytest.approx({"good": 1.0, "near": 0.625})
    assert dict(weights) == pytest.approx({"good": 16 / 13, "near": 10 / 13})
    assert sum(labels.left_out.values()) == 1
    raw = Feedback(shown=tuple(shown)).labels(corpus, clicks="raw")
    (grades,) = raw.dataset.qrels.values()
    assert dict(grades) == pytest.approx({"near": 1.0, "good": 0.8, "stray": 0.2})


ODD: list[Any] = [None, "", "x", 0, -1, True, 1e999, -1e999, float("nan"), 10**400, -(10**400), 2**63, [], [[]], [None]]
ODD += [["x", 5, None], {}, {"a": 1}, {"object": "x"}, {"position": []}, {"id": {"id": []}}, "\ud800", "1" * 400]
WHOLE: dict[str, list[dict[str, Any]]] = {
    "lines": [
        {"query": "q", "document": "d1", "verdict": "click", "position": 1, "shown": ["d1"], "time": "2026-01-01"},
        {"query": "q", "verdict": "no", "cited": ["d1"], "instead": "d2", "source": "me", "shuffled": True},
    ],
    "ubi": [
        {
            "query_id": "1",
            "user_query": "q",
            "query_response_hit_ids": ["d1"],
            "query_attributes": {"shuffled": True},
            "timestamp": 5,
        },
        {
            "action_name": "click",
            "query_id": "1",
            "event_attributes": {"object": {"object_id": "d1"}, "position": {"ordinal": 2}},
        },
    ],
    "phoenix": [
        {"context.span_id": "s", "attributes.input.value": "q", "attributes.retrieval.documents": [{"id": "d1"}]},
        {"span_id": "s", "result": {"label": "relevant", "score": 1}, "document_position": 0, "annotator_kind": "X"},
    ],
    "langsmith": [
        {"id": "r", "inputs": {"query": "q"}, "outputs": {"documents": [{"metadata": {"id": "d1"}}]}},
        {"run_id": "r", "key": "user", "score": 1, "value": "x", "correction": {"documents": ["d2"]}},
    ],
    "langfuse": [
        {"id": "t", "input": "q", "output": [{"document": {"id": "d1"}}]},
        {"trace_id": "t", "name": "user", "value": 0, "observation_id": None},
    ],
    "judgements": [
        {"judgmentRatings": [{"query": "q", "ratings": [{"docId": "d1", "rating": "2"}]}]},
        {"query": "q", "docid": "d2", "rating": 3},
    ],
}


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of something in records."""
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places_in(one, (*path, key))


@pytest.mark.parametrize("form", list(FORMS))
def test_records_that_hold_anything_anywhere_are_read_or_counted(form: str) -> None:
    for path in places_in(WHOLE[form]):
        for odd in ODD if len(path) > 1 else [one for one in ODD if isinstance(one, dict)]:
            records = copy.deepcopy(WHOLE[form])
            inner: Any = records
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = odd
            feedback = FORMS[form](records)
            labels = feedback.labels(CORPUS).dataset
            assert all(math.isfinite(grade) for grades in labels.qrels.values() for grade in grades.values())
            texts = {one.query for one in feedback.verdicts} | {one.query for one in feedback.shown}
            assert feedback.statistics()["queries"] == len(texts)
            assert sum(one.clicks + one.shown for one in by_week(feedback)) == len(feedback.shown)


@pytest.mark.parametrize("position", [1, "1", 1.0, "1.0"])
def test_positions_that_tables_write_as_text_are_positions(position: object) -> None:
    spans = [{"context.span_id": "s", "input.value": "q", "retrieval.documents": [{"id": "d1"}, {"id": "d2"}]}]
    verdict = {"span_id": "s", "result": {"label": "irrelevant"}, "document_position": position}
    assert said(FORMS["phoenix"]([*spans, verdict])) == [("q", "d2", -1, 1)]
    whole = FORMS["phoenix"]([*spans, {**verdict, "document_position": float("nan")}])
    assert said(whole) == [("q", "d1", -1, 0.5), ("q", "d2", -1, 0.5)]
    click = {"query": "q", "document": "d1", "verdict": "click", "position": position}
    assert [one.position for one in from_lines([click]).shown] == [1]


def test_a_position_that_nobody_looks_at_is_none() -> None:
    for position in (10**12, 1e30, float("inf"), True, 1.5, -1, "ten"):
        click = {"query": "q", "document": "d1", "verdict": "click", "position": position}
        feedback = from_lines([click])
        assert not feedback.shown
        assert feedback.left_out == {"clicks without a position": 1}


def test_query_ids_that_are_numbers_are_those_of_events() -> None:
    query = {"query_id": 7, "user_query": "q", "query_response_hit_ids": ["d1", "d2"]}
    event = {"action_name": "impression", "query_id": 7, "event_attributes": {"object": {"object_id": "d1"}}}
    assert [(one.document, one.position) for one in FORMS["ubi"]([query, event]).shown] == [("d1", 0)]


def test_a_way_to_count_clicks_that_is_unknown_is_refused() -> None:
    feedback = from_lines([{"query": "q", "document": "d1", "verdict": "click", "position": 0}])
    options: list[dict[str, Any]] = [{"clicks": "weigthed"}, {"clip": 0}, {"clip": float("nan")}, {"clip": "x"}]
    for wrong in options:
        with pytest.raises(InputError):
            feedback.labels(CORPUS, **wrong)


def test_many_clicks_on_one_long_list_are_read_in_a_moment() -> None:
    hits = [f"d{number}" for number in range(20_000)]
    query = {"query_id": "1", "user_query": "q", "query_response_hit_ids": hits}
    events = [
        {"action_name": "click", "query_id": "1", "event_attributes": {"object": {"object_id": hit}}} for hit in hits
    ]
    assert len(FORMS["ubi"]([query, *events]).shown) == len(hits)


@pytest.mark.parametrize("documents", ["d1", [None], [{"id": "d1"}], [["d1"]]])
def test_what_was_shown_is_a_list_of_ids(documents: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="list of ids"):
        FeedbackLog(tmp_path / "log.jsonl").shown("who purrs?", documents)
    assert not (tmp_path / "log.jsonl").exists()
