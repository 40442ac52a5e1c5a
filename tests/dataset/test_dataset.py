"""RetrievalDataset: what it reads, writes, refuses, repairs and shares out."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, NudgeError
from nudge_integrations.storage import write_atomically

CORPUS = {"d1": "cats purr", "d2": "dogs bark", "d3": "cows moo"}
QUERIES = {"q1": "who purrs?", "q2": "who barks?"}
SMALL = RetrievalDataset(CORPUS, QUERIES, {"q1": {"d1": 1}, "q2": {"d2": 1, "d3": 2}})

texts = st.text(max_size=12)
identifiers = st.text(min_size=1, max_size=6)
# What a tab-separated file can name: everything but its own separators and half characters.
plain_identifiers = st.text(
    st.characters(blacklist_characters="\t\n\r", blacklist_categories=["Cs"]), min_size=1, max_size=6
)


@st.composite
def datasets(draw: st.DrawFn, ids: st.SearchStrategy[str] = identifiers) -> RetrievalDataset:
    corpus = draw(st.dictionaries(ids, texts, min_size=1, max_size=6))
    queries = draw(st.dictionaries(ids, texts, min_size=1, max_size=6))
    documents = st.one_of(st.sampled_from(list(corpus)), ids)
    grades = st.one_of(st.integers(-2, 3).map(float), st.floats(-1e6, 1e6))
    judged = st.dictionaries(documents, grades, max_size=4)
    return RetrievalDataset(corpus, queries, draw(st.dictionaries(st.sampled_from(list(queries)), judged, max_size=6)))


@st.composite
def sound_datasets(draw: st.DrawFn, ids: st.SearchStrategy[str] = identifiers) -> RetrievalDataset:
    corpus = draw(st.dictionaries(ids, texts, min_size=1, max_size=8))
    queries = draw(st.dictionaries(ids, texts, min_size=1, max_size=8))
    grades = st.one_of(st.just(1.0), st.integers(1, 3).map(float), st.floats(0.01, 100))
    judged = st.dictionaries(st.sampled_from(list(corpus)), grades, min_size=1, max_size=4)
    return RetrievalDataset(corpus, queries, {query: draw(judged) for query in queries})


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def beir_folder(folder: Path) -> Path:
    write_lines(
        folder / "corpus.jsonl", '{"_id": "d1", "title": "cats", "text": "purr"}', '{"_id": "d2", "text": "bark"}'
    )
    write_lines(folder / "queries.jsonl", '{"_id": "q1", "text": "who purrs?"}', '{"_id": "q9", "text": "other split"}')
    write_lines(folder / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore", "q1\td1\t1")
    return folder


# ---------------------------------------------------------------------------------------------- the object itself


def test_mappings_are_copied_and_read_only() -> None:
    corpus, judged = dict(CORPUS), {"q1": {"d1": 1.0}}
    dataset = RetrievalDataset(corpus, QUERIES, judged)
    corpus["d1"] = "changed"
    judged["q1"]["d1"] = 9.0
    assert dataset.corpus["d1"] == "cats purr"
    assert dataset.qrels["q1"]["d1"] == 1.0
    with pytest.raises(TypeError):
        dataset.corpus["d1"] = "changed"  # type: ignore[index]
    with pytest.raises(TypeError):
        dataset.qrels["q1"]["d1"] = 2.0  # type: ignore[index]
    with pytest.raises(AttributeError):
        dataset.corpus = {}  # type: ignore[misc]


def test_copies_are_equal_and_travel_between_processes() -> None:
    assert copy.deepcopy(SMALL) == SMALL
    assert pickle.loads(pickle.dumps(SMALL)) == SMALL  # noqa: S301 - our own bytes


def test_length_ids_and_repr() -> None:
    assert len(SMALL) == 2
    assert SMALL.query_ids == ["q1", "q2"]
    assert SMALL.document_ids == ["d1", "d2", "d3"]
    assert repr(SMALL) == "RetrievalDataset(3 documents, 2 queries, 3 judgements)"


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        (({"d1": None}, QUERIES, {}), "'d1'"),
        (({7: "text"}, QUERIES, {}), "7"),
        (([("d1", "text")], QUERIES, {}), "list"),
        ((CORPUS, {"q1": 3}, {}), "'q1'"),
        ((CORPUS, QUERIES, {"q1": ["d1"]}), "from_records"),
        ((CORPUS, QUERIES, {"q1": {1: 1.0}}), "str(id)"),
        ((CORPUS, QUERIES, {"q1": {"d1": None}}), "'d1'"),
        ((CORPUS, QUERIES, {"q1": {"d1": "1"}}), "'d1'"),
        ((CORPUS, QUERIES, {"q1": {"d1": float("nan")}}), "'d1'"),
        ((CORPUS, QUERIES, {"q1": {"d1": float("inf")}}), "'d1'"),
        ((CORPUS, QUERIES, [("q1", "d1")]), "list"),
    ],
)
def test_wrong_types_and_grades_that_are_no_number_are_refused_by_name(parts: tuple[Any, Any, Any], named: str) -> None:
    with pytest.raises(DatasetError, match=r".") as caught:
        RetrievalDataset(*parts)
    assert named in str(caught.value)
    assert isinstance(caught.value, NudgeError)
    assert isinstance(caught.value, ValueError)


def test_numpy_grades_become_floats() -> None:
    dataset = RetrievalDataset(CORPUS, QUERIES, {"q1": {"d1": np.float32(2)}})  # type: ignore[dict-item]
    assert type(dataset.qrels["q1"]["d1"]) is float


# ------------------------------------------------------------------------------------------ problems and repairs


@pytest.mark.parametrize(
    ("parts", "field", "expected"),
    [
        ((CORPUS, QUERIES, {"q1": {"d1": 1}}), "queries_without_relevant", ("q2",)),
        ((CORPUS, QUERIES, {"q1": {"d1": 1}, "q2": {}}), "queries_without_relevant", ("q2",)),
        ((CORPUS, QUERIES, {"q1": {"d1": 1}, "q2": {"d2": 0}}), "queries_without_relevant", ("q2",)),
        ((CORPUS, QUERIES, {"q1": {"d1": 1}, "q2": {"d2": 1, "x": 1}}), "unknown_documents", (("q2", "x"),)),
        ((CORPUS, {"q1": "?"}, {"q1": {"d1": 1}, "q7": {"d1": 1}}), "unknown_queries", ("q7",)),
        ((CORPUS, {"q1": " \n"}, {"q1": {"d1": 1}}), "empty_queries", ("q1",)),
        (({"d1": "x", "d2": ""}, {"q1": "?"}, {"q1": {"d1": 1}}), "empty_documents", ("d2",)),
    ],
)
def test_every_problem_is_reported_with_its_ids(
    parts: tuple[Any, Any, Any], field: str, expected: tuple[Any, ...]
) -> None:
    dataset = RetrievalDataset(*parts)
    report = dataset.validate()
    assert not report.ok
    assert getattr(report, field) == expected
    assert len(report.problems) == 1
    assert repr(expected[0]) in str(report)
    with pytest.raises(DatasetError, match="repaired"):
        report.raise_for_problems()
    better, again = dataset.repaired()
    assert again == report
    assert better.validate().ok


def test_a_sound_dataset_has_a_clean_report() -> None:
    report = SMALL.validate()
    assert report.ok
    assert "no problem" in str(report)
    report.raise_for_problems()
    assert SMALL.repaired()[0] == SMALL


def test_repair_follows_what_it_removes() -> None:
    dataset = RetrievalDataset({"d1": "", "d2": "x"}, {"q1": "?", "q2": "?"}, {"q1": {"d1": 1}, "q2": {"d2": 1}})
    report = dataset.validate()
    assert report.queries_without_relevant == ("q1",)  # its only document has no text
    assert dataset.repaired()[0] == RetrievalDataset({"d2": "x"}, {"q2": "?"}, {"q2": {"d2": 1}})


def test_queries_with_equal_text_are_one_group_and_blank_ones_are_by_themselves() -> None:
    texts = ["who purrs?", "who barks?", " who\u00a0 purrs?\n", "", "\uff57ho barks\uff1f", " ", "Who purrs?"]
    queries = {f"q{number}": text for number, text in enumerate(texts)}
    assert RetrievalDataset({}, queries, {}).query_groups() == (0, 1, 0, 2, 1, 3, 4)


def test_queries_that_share_a_text_are_noted_and_no_problem() -> None:
    queries = {"a": "who purrs?", "b": "who barks?", "c": "who  purrs?", "d": "who purrs? "}
    dataset = RetrievalDataset({"d1": "cats purr", "d2": "dogs bark"}, queries, {q: {"d1": 1} for q in queries})
    report = dataset.validate()
    assert report.ok
    assert report.repeated_queries == (("a", "c", "d"),)
    assert "note, texts that several queries share: 1: ('a', 'c', 'd')" in str(report)
    assert dataset.repaired()[0] == dataset


def test_documents_that_share_a_text_are_noted_and_no_problem() -> None:
    report = RetrievalDataset({"d1": "x", "d2": "x", "d3": "y"}, {"q1": "?"}, {"q1": {"d1": 1}}).validate()
    assert report.ok
    assert report.duplicate_texts == (("d1", "d2"),)
    assert "'d1'" in str(report)


def test_a_long_report_counts_and_names_the_first() -> None:
    report = RetrievalDataset({f"d{i}": "" for i in range(2000)}, {}, {}).validate()
    assert "2,000: 'd0'" in str(report)
    assert len(str(report)) < 300


@given(datasets())
def test_a_repaired_dataset_has_no_problem_left(dataset: RetrievalDataset) -> None:
    better, report = dataset.repaired()
    assert better.validate().ok
    assert report.ok == (better == dataset)
    assert set(better.queries) | {*report.queries_without_relevant, *report.empty_queries} == set(dataset.queries)


# --------------------------------------------------------------------------------------------------------- JSON


def save_json_as_llama_index_did(path: Path, **fields: Any) -> None:
    """Write as EmbeddingQAFinetuneDataset.save_json does: json.dump(model_dump(), file, indent=4)."""
    with path.open("w") as file:
        json.dump(fields, file, indent=4)


@given(sound_datasets())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_json_keeps_everything(tmp_path: Path, dataset: RetrievalDataset) -> None:
    dataset.to_json(tmp_path / "data.json")
    back = RetrievalDataset.from_json(tmp_path / "data.json")
    assert back == dataset
    assert back.hash == dataset.hash
    assert (back.query_ids, back.document_ids) == (dataset.query_ids, dataset.document_ids)


@given(sound_datasets())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_json_of_equal_grades_is_byte_for_byte_the_former_one(tmp_path: Path, dataset: RetrievalDataset) -> None:
    save_json_as_llama_index_did(
        tmp_path / "theirs.json",
        queries=dict(dataset.queries),
        corpus=dict(dataset.corpus),
        relevant_docs={query: list(judged) for query, judged in dataset.qrels.items()},
        mode="text",
    )
    RetrievalDataset.from_json(tmp_path / "theirs.json").to_json(tmp_path / "ours.json")
    assert (tmp_path / "ours.json").read_bytes() == (tmp_path / "theirs.json").read_bytes()


def test_json_grades_go_to_a_key_that_the_former_reader_ignores(tmp_path: Path) -> None:
    dataset = RetrievalDataset(CORPUS, {"q1": "?"}, {"q1": {"d1": 2, "d2": 0, "d3": 0.5}})
    dataset.to_json(tmp_path / "data.json")
    data = json.loads((tmp_path / "data.json").read_text())
    assert list(data) == ["queries", "corpus", "relevant_docs", "mode", "relevance"]
    assert data["relevant_docs"] == {"q1": ["d1", "d3"]}
    assert data["relevance"] == {"q1": {"d1": 2, "d2": 0, "d3": 0.5}}
    assert RetrievalDataset.from_json(tmp_path / "data.json") == dataset


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"queries": {}, "corpus": {"d1": "a", "d1": "b"}, "relevant_docs": {}}', "'d1'"),
        ('{"queries": {"q1": "a", "q1": "b"}, "corpus": {}, "relevant_docs": {}}', "'q1'"),
        ('{"queries": {}, "corpus": {}, "relevant_docs": {"q1": [], "q1": []}}', "'q1'"),
        ('{"queries": {}, "corpus": {}}', "'relevant_docs'"),
        ('{"queries": {}, "corpus": {}, "relevant_docs": {"q1": "d1"}}', "'q1'"),
        ('{"queries": {}, "corpus": {}, "relevant_docs": {"q1": [3]}}', "'q1'"),
        ('{"queries": {}, "corpus": {}, "relevant_docs": {"q1": ["a"]}, "relevance": {"q1": {"b": 2}}}', "'q1'"),
        ('{"queries": {}, "corpus": {}, "relevant_docs": {"q1": ["a"]}, "relevance": {"q1": 2}}', "relevance"),
        ('{"queries": {}, "corpus": {}, "relevant_docs": {"q1": ["a"]}, "relevance": {"q1": {"a": NaN}}}', "'a'"),
        ('{"queries": {"q1": 3}, "corpus": {}, "relevant_docs": {}}', "'q1'"),
        ('{"queries": ', "not valid JSON"),
        ("[]", "list"),
        ("\xff", "UTF-8"),
    ],
)
def test_bad_json_is_refused_with_what_and_where(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError) as caught:
        RetrievalDataset.from_json(path)
    assert named in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere\.json does not exist"):
        RetrievalDataset.from_json(tmp_path / "nowhere.json")


def test_a_document_listed_twice_counts_once_and_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "d.json").write_text(
        '{"queries": {"q": "?"}, "corpus": {"a": "x"}, "relevant_docs": {"q": ["a", "a"]}}'
    )
    with caplog.at_level(logging.WARNING):
        dataset = RetrievalDataset.from_json(tmp_path / "d.json")
    assert dataset.qrels["q"] == {"a": 1.0}
    assert "1 judgements are repeated" in caplog.text


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    SMALL.to_json(path)
    before = path.read_bytes()

    def failing() -> Any:
        yield "half a file"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, failing())
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["data.json"]


# --------------------------------------------------------------------------------------------------------- BEIR


@given(sound_datasets(plain_identifiers))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_beir_keeps_everything(tmp_path_factory: pytest.TempPathFactory, dataset: RetrievalDataset) -> None:
    folder = tmp_path_factory.mktemp("beir")
    dataset.to_beir(folder, "train")
    back = RetrievalDataset.from_beir(folder, "train")
    assert back == dataset
    assert (back.query_ids, back.document_ids) == (dataset.query_ids, dataset.document_ids)


def test_beir_puts_titles_before_texts_and_keeps_the_labelled_queries(tmp_path: Path) -> None:
    dataset = RetrievalDataset.from_beir(beir_folder(tmp_path))
    assert dataset.corpus == {"d1": "cats purr", "d2": "bark"}
    assert dataset.query_ids == ["q1"]


def test_beir_splits_lie_beside_each_other(tmp_path: Path) -> None:
    train, test = SMALL.split((0.5, 0.5))
    train.to_beir(tmp_path, "train")
    test.to_beir(tmp_path, "test")
    assert RetrievalDataset.from_beir(tmp_path, "train") == train
    assert RetrievalDataset.from_beir(tmp_path, "test") == test


def test_beir_never_mixes_two_corpora_or_two_texts_of_a_query(tmp_path: Path) -> None:
    SMALL.to_beir(tmp_path, "train")
    with pytest.raises(DatasetError, match="another corpus"):
        RetrievalDataset({"d1": "other"}, QUERIES, {}).to_beir(tmp_path, "test")
    with pytest.raises(DatasetError, match="'q1'"):
        RetrievalDataset(CORPUS, {"q1": "other"}, {"q1": {"d1": 1}}).to_beir(tmp_path, "test")
    assert RetrievalDataset.from_beir(tmp_path, "train") == SMALL


@pytest.mark.parametrize("identifier", ["a\tb", "a\nb", "a\r", "\ud800"])
def test_beir_refuses_an_id_that_it_cannot_write(tmp_path: Path, identifier: str) -> None:
    with pytest.raises(DatasetError, match="rename"):
        RetrievalDataset({identifier: "x"}, QUERIES, {"q1": {identifier: 1}}).to_beir(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_beir_reads_windows_lines_a_byte_order_mark_and_no_header(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path)
    (folder / "queries.jsonl").write_bytes('\ufeff{"_id": 1, "text": "who\u2028purrs?"}\r\n'.encode())
    (folder / "qrels" / "test.tsv").write_bytes(b"1\td1\t2\r\n1\td2\t0\r\n")
    dataset = RetrievalDataset.from_beir(folder)
    assert dataset.queries == {"1": "who\u2028purrs?"}
    assert dataset.qrels == {"1": {"d1": 2.0, "d2": 0.0}}


@pytest.mark.parametrize(
    ("name", "line", "named"),
    [
        ("corpus.jsonl", '{"_id": "d1", "text": "again"}', "corpus.jsonl:3: id 'd1' appears twice"),
        ("corpus.jsonl", '{"_id": "d3", "_id": "d4", "text": ""}', "'_id'"),
        ("corpus.jsonl", '{"_id": "d3"}', "corpus.jsonl:3"),
        ("corpus.jsonl", '{"key": "d3", "text": "x"}', "corpus.jsonl:3"),
        ("corpus.jsonl", '{"_id": "d3", "text": "x"', "corpus.jsonl:3: not valid JSON"),
        ("corpus.jsonl", '"d3"', "corpus.jsonl:3: expected a JSON object"),
        ("queries.jsonl", '{"_id": "q1", "text": "again"}', "queries.jsonl:3: id 'q1' appears twice"),
        ("qrels/test.tsv", "q1 d1 1", "test.tsv:3: expected"),
        ("qrels/test.tsv", "q1\td1\tyes", "test.tsv:3: expected"),
        ("qrels/test.tsv", "q1\td1\t2", "test.tsv:3: query 'q1' judges document 'd1' twice"),
        ("qrels/test.tsv", "q1\td2\tnan", "document 'd2': grade nan"),
    ],
)
def test_bad_beir_lines_are_refused_with_their_number(tmp_path: Path, name: str, line: str, named: str) -> None:
    folder = beir_folder(tmp_path)
    with (folder / name).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DatasetError) as caught:
        RetrievalDataset.from_beir(folder)
    assert named in str(caught.value)


def test_an_absent_split_names_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"train\.tsv does not exist; splits in this folder: test"):
        RetrievalDataset.from_beir(beir_folder(tmp_path), "train")


@pytest.mark.parametrize(
    ("name", "split", "documents", "queries", "judgements"),
    [
        ("metatool", "test", 199, 4209, 4322),
        ("sealtools", "train", 4076, 1437, 3882),
        ("scifact", "test", 5183, 300, 339),
        ("nfcorpus", "train", 3633, 2590, 110575),
        ("stackfaq", "dev", 719, 125, 652),
        ("squad2", "test", 646, 582, 582),
    ],
)
def test_real_collections_are_read_whole(
    collection: Callable[[str], Path], name: str, split: str, documents: int, queries: int, judgements: int
) -> None:
    folder = collection(name)
    started = time.process_time()
    dataset = RetrievalDataset.from_beir(folder, split)
    assert time.process_time() - started < 5  # seconds of work, a fraction of one where nothing else runs
    assert (len(dataset.corpus), len(dataset)) == (documents, queries)
    assert dataset.relevance().nnz == judgements
    assert dataset.validate().ok


# ------------------------------------------------------------------------------------- records, examples, objects


def test_records_name_documents_by_id_or_by_text_with_or_without_grades() -> None:
    records: list[tuple[str, Any]] = [
        ("who purrs?", "d1"),
        ("who barks?", ["dogs bark", "d3"]),
        ("who moos?", {"d3": 2, "cats purr": 0}),
    ]
    dataset = RetrievalDataset.from_records(records, CORPUS)
    by_text = {dataset.queries[query]: dict(judged) for query, judged in dataset.qrels.items()}
    assert by_text == {
        "who purrs?": {"d1": 1.0},
        "who barks?": {"d2": 1.0, "d3": 1.0},
        "who moos?": {"d3": 2.0, "d1": 0.0},
    }
    assert dataset.corpus == CORPUS


def test_records_without_a_corpus_make_one_and_batches_merge() -> None:
    first = RetrievalDataset.from_records([("who purrs?", ["cats purr"])])
    second = RetrievalDataset.from_records([("who purrs?", ["lions purr"]), ("who barks?", "dogs bark")])
    merged = first.merge(second)
    assert sorted(merged.corpus.values()) == ["cats purr", "dogs bark", "lions purr"]
    assert len(merged) == 2
    assert max(map(len, merged.qrels.values())) == 2


@pytest.mark.parametrize(
    ("records", "named"),
    [
        ([("who?", ["d1"]), ("what?", ["d9"])], "record 1: 'd9'"),
        ([("who?", {"d1": 1}), ("who?", {"d1": 2})], "record 1: query"),
        ([("who?",)], "record 0"),
        ([(3, ["d1"])], "record 0: the query is 3"),
        ([("who?", 3)], "record 0: the documents are 3"),
        ([("who?", [3])], "record 0: the documents are [3]"),
    ],
)
def test_bad_records_are_refused_with_their_number(records: Any, named: str) -> None:
    with pytest.raises(DatasetError) as caught:
        RetrievalDataset.from_records(records, CORPUS)
    assert named in str(caught.value)


def test_a_record_made_twice_counts_once_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    dataset = RetrievalDataset.from_records([("who?", "d1"), ("who?", ["d1", "d1"])], CORPUS)
    assert [dict(judged) for judged in dataset.qrels.values()] == [{"d1": 1.0}]
    assert "2 judgements are repeated" in caplog.text


def test_langsmith_examples_are_objects_or_dictionaries() -> None:
    examples: list[Any] = [
        SimpleNamespace(id=7, inputs={"question": "who purrs?"}, outputs={"doc_ids": ["d1"]}),
        {"id": "e2", "inputs": {"question": "who barks?"}, "outputs": {"doc_ids": {"d2": 2, "d3": 0}}},
        {"inputs": {"question": "who moos?"}, "outputs": {"doc_ids": ["d3"]}},
    ]
    dataset = RetrievalDataset.from_langsmith(examples, corpus=CORPUS)
    assert dataset.query_ids[:2] == ["7", "e2"]
    assert dataset.qrels["e2"] == {"d2": 2.0, "d3": 0.0}
    assert len(dataset) == 3
    renamed = [{"inputs": {"input": "who?"}, "outputs": {"gold": ["d1"]}}]
    assert len(RetrievalDataset.from_langsmith(renamed, corpus=CORPUS, question_key="input", doc_ids_key="gold")) == 1


@pytest.mark.parametrize(
    ("examples", "named"),
    [
        ([{"inputs": {"input": "who?"}, "outputs": {"doc_ids": []}}], "no key 'question'; found ['input']"),
        ([{"id": "e1", "inputs": {"question": "who?"}, "outputs": None}], "example e1, outputs"),
        ([{"inputs": {"question": "who?"}, "outputs": {"doc_ids": ["d9"]}}], "'d9'"),
        ([{"id": 1, "inputs": {"question": "?"}, "outputs": {"doc_ids": ["d1"]}}] * 2, "id '1' appears twice"),
    ],
)
def test_bad_examples_are_refused_by_name(examples: list[Any], named: str) -> None:
    with pytest.raises(DatasetError) as caught:
        RetrievalDataset.from_langsmith(examples, corpus=CORPUS)
    assert named in str(caught.value)


def test_whatever_holds_a_dataset_is_accepted(tmp_path: Path) -> None:
    parts = {"queries": QUERIES, "corpus": CORPUS, "relevant_docs": {"q1": ["d1"], "q2": ["d2", "d3"]}}
    expected = RetrievalDataset(CORPUS, QUERIES, {"q1": {"d1": 1}, "q2": {"d2": 1, "d3": 1}})
    expected.to_json(tmp_path / "data.json")
    expected.to_beir(tmp_path / "beir", "train")
    assert RetrievalDataset.from_object(expected) is expected
    assert RetrievalDataset.from_object(SimpleNamespace(**parts, mode="text")) == expected
    assert RetrievalDataset.from_object(parts) == expected
    assert RetrievalDataset.from_object(str(tmp_path / "data.json")) == expected
    assert RetrievalDataset.from_object(tmp_path / "beir", split="train") == expected
    with pytest.raises(DatasetError, match="int: no object 'queries'"):
        RetrievalDataset.from_object(3)


# ------------------------------------------------------------------------------------------ split, merge, matrix


@given(sound_datasets(), st.integers(0, 5))
def test_parts_of_a_split_share_the_corpus_and_no_query(dataset: RetrievalDataset, seed: int) -> None:
    parts = dataset.split((1.0, 0.0), seed=seed)
    assert parts[0] == dataset
    assert (len(parts[1]), parts[1].corpus) == (0, dataset.corpus)
    if len(dataset) > 3:
        train, test = dataset.split((0.5, 0.5), seed=seed)
        assert not set(train.queries) & set(test.queries)
        assert train.merge(test).hash == dataset.hash
        assert set(train.qrels) == set(train.queries)


def test_a_split_has_the_sizes_asked_for_and_depends_on_the_seed_alone(collection: Callable[[str], Path]) -> None:
    dataset = RetrievalDataset.from_beir(collection("scifact"), "train")
    parts = dataset.split()
    assert [len(part) for part in parts] == [566, 81, 162]
    backwards = RetrievalDataset(dataset.corpus, dict(list(dataset.queries.items())[::-1]), dataset.qrels)
    assert [part.hash for part in backwards.split()] == [part.hash for part in parts]
    assert [part.hash for part in dataset.split(seed=1)] != [part.hash for part in parts]
    assert parts[0].query_ids == [query for query in dataset.query_ids if query in parts[0].queries]


@pytest.mark.parametrize("name", ["scifact", "metatool", "nfcorpus"])
def test_no_document_is_relevant_in_two_parts_of_a_split_by_document(
    collection: Callable[[str], Path], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    dataset = RetrievalDataset.from_beir(collection(name), "train")
    with caplog.at_level(logging.WARNING):
        parts = dataset.split(by="document")
    relevant = [{d for judged in part.qrels.values() for d in judged} for part in parts]
    assert not relevant[0] & relevant[1]
    assert not relevant[0] & relevant[2]
    assert not relevant[1] & relevant[2]
    astray = len(dataset) - sum(map(len, parts))
    assert (f"{astray} queries are in no part" in caplog.text) == (astray > 0)
    assert len(parts[0]) > 0.4 * len(dataset)


@pytest.mark.parametrize("fractions", [(), (0.5, 0.4), (1.2, -0.2), (float("nan"), 1.0)])
def test_fractions_that_do_not_add_up_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DatasetError, match="add up to 1"):
        SMALL.split(fractions)


def test_a_part_that_gets_no_query_is_an_error() -> None:
    with pytest.raises(DatasetError, match="has no query"):
        SMALL.split((0.9, 0.1))
    with pytest.raises(DatasetError, match="'documents'"):
        SMALL.split(by="documents")  # type: ignore[arg-type]


@given(datasets())
def test_merging_twice_changes_nothing_and_order_does_not_matter(dataset: RetrievalDataset) -> None:
    other = RetrievalDataset({"new document": "x"}, {"new query": "?"}, {"new query": {"new document": 1}})
    assert dataset.merge(dataset) == dataset
    assert dataset.merge(other).hash == other.merge(dataset).hash


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (RetrievalDataset({"d1": "other"}, {}, {}), "document 'd1'"),
        (RetrievalDataset({}, {"q1": "other"}, {}), "query 'q1'"),
        (RetrievalDataset(CORPUS, QUERIES, {"q2": {"d3": 1}}), "'q2' judges document 'd3' twice"),
    ],
)
def test_contradictions_are_not_merged(other: RetrievalDataset, named: str) -> None:
    with pytest.raises(DatasetError, match=named):
        SMALL.merge(other)


@given(sound_datasets())
def test_the_matrix_holds_every_relevant_judgement_in_the_order_asked_for(dataset: RetrievalDataset) -> None:
    rows, columns = dataset.query_ids[::-1], dataset.document_ids[::-1]
    matrix = dataset.relevance(rows, columns)
    expected = np.array([[dataset.qrels[query].get(document, 0.0) for document in columns] for query in rows])
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix.toarray(), expected)
    np.testing.assert_array_equal(dataset.relevance().toarray(), expected[::-1, ::-1])


def test_the_matrix_leaves_out_grade_0_and_refuses_what_it_cannot_place() -> None:
    dataset = RetrievalDataset(CORPUS, QUERIES, {"q1": {"d1": 1, "elsewhere": 0}, "q2": {"d2": -1, "d9": 1}})
    assert dataset.relevance(["q1"]).nnz == 1
    with pytest.raises(DatasetError, match="'q2' judges document 'd9', which is not among the documents"):
        dataset.relevance()
    noes = RetrievalDataset(CORPUS, QUERIES, {"q1": {"d1": 1, "d2": -2}, "q2": {"d2": -1}})
    assert noes.relevance().nnz == 1
    assert noes.relevance(["q1", "q2"], ["d1", "d2"], signed=True).toarray().tolist() == [[1, -2], [0, -1]]
    report = noes.validate()
    assert report.ok == (set(QUERIES) == {"q1", "q2"})
    assert report.negative_grades == (("q1", "d2"), ("q2", "d2"))
    assert noes.repaired()[0].qrels["q2"] == {"d2": -1}
    with pytest.raises(DatasetError, match="'q1' judges document 'd1'"):
        dataset.relevance(["q1"], ["d2"])
    with pytest.raises(DatasetError, match="'q7'"):
        dataset.relevance(["q7"])
    with pytest.raises(DatasetError, match="twice"):
        dataset.relevance(["q1"], ["d1", "d1"])


@given(sound_datasets(), identifiers)
def test_the_hash_sees_every_change(dataset: RetrievalDataset, text: str) -> None:
    first, query = dataset.document_ids[0], dataset.query_ids[0]
    judged = {**dataset.qrels, query: {**dataset.qrels[query], first: 1234.5}}
    changed = [
        RetrievalDataset({**dataset.corpus, first: dataset.corpus[first] + text}, dataset.queries, dataset.qrels),
        RetrievalDataset(dataset.corpus, {**dataset.queries, query: dataset.queries[query] + text}, dataset.qrels),
        RetrievalDataset(dataset.corpus, dataset.queries, judged),
    ]
    assert len({dataset.hash, *(other.hash for other in changed)}) == 4


def test_the_module_needs_neither_torch_nor_scipy_to_be_imported() -> None:
    code = "import sys, nudge_integrations.dataset; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("record", [{"question": "who purrs?", "passage": "cats purr"}, "ab", b"ab", {"a", "b"}])
def test_record_that_is_no_pair_is_refused_and_not_read_as_its_parts(record: Any) -> None:
    with pytest.raises(DatasetError, match=r"record 1 is .*, expected a pair \(query, documents\)"):
        RetrievalDataset.from_records([("who barks?", "dogs bark"), record])


def with_qrels(folder: Path, lines: str) -> Path:
    SMALL.to_beir(folder)
    (folder / "qrels" / "test.tsv").write_text(lines)
    return folder


def test_typo_in_the_first_grade_of_qrels_is_refused_and_not_taken_for_a_header(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"test\.tsv:1: expected a number for score, found '1o'"):
        RetrievalDataset.from_beir(with_qrels(tmp_path, "q1\td1\t1o\nq2\td2\t1\n"))


def test_qrels_header_says_which_column_is_which(tmp_path: Path) -> None:
    folder = with_qrels(tmp_path, "corpus-id\tquery-id\tscore\nd1\tq1\t1\nd2\tq2\t1\nd3\tq2\t2\n")
    assert RetrievalDataset.from_beir(folder).qrels == SMALL.qrels


@pytest.mark.parametrize("grade", ["1_0", "\u0663", "0x1", ""])
def test_grade_that_is_no_plain_number_is_refused_with_its_line(tmp_path: Path, grade: str) -> None:
    with pytest.raises(DatasetError, match=r"test\.tsv:2: expected"):
        RetrievalDataset.from_beir(with_qrels(tmp_path, f"q1\td1\t1\nq2\td2\t{grade}\n"))


def test_one_duplicate_among_many_json_keys_is_found_without_comparing_all_with_all(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    keys = [f'"d{number}": "text"' for number in range(400_000)]
    path.write_text('{"corpus": {' + ", ".join([*keys, keys[-1]]) + "}}")
    with pytest.raises(DatasetError, match="id 'd399999' appears twice"):
        RetrievalDataset.from_json(path)


def test_corrected_grade_of_the_later_dataset_replaces_the_former_one_on_request() -> None:
    corrected = RetrievalDataset(CORPUS, QUERIES, {"q2": {"d2": 0, "d1": 1}})
    with pytest.raises(DatasetError, match=r"grades 1\.0 and 0\.0"):
        SMALL.merge(corrected)
    assert SMALL.merge(corrected, on_conflict="new").qrels == {"q1": {"d1": 1}, "q2": {"d2": 0, "d3": 2, "d1": 1}}
    with pytest.raises(DatasetError, match="two texts"):
        SMALL.merge(RetrievalDataset({"d1": "dogs purr"}, {}, {}), on_conflict="new")
    with pytest.raises(DatasetError, match="on_conflict is 'old'"):
        SMALL.merge(corrected, on_conflict="old")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("test.tsv", "q1 0 d1 1\nq2 0 d2 1\nq2\t0\td3\t2\n"),
        ("test.qrels", "q1 Q0 d1 1\nq2 Q0 d2 1\nq2 Q0 d3 2\n"),
        ("test.tsv", "doc_id\tqid\trelevance\nd1\tq1\t1\nd2\tq2\t1\nd3\tq2\t2\n"),
        (
            "test.jsonl",
            '{"query-id": "q1", "corpus-id": "d1", "score": 1}\n{"query-id": "q2", "corpus-id": "d2", "score": 1.0}\n'
            '{"query-id": "q2", "corpus-id": "d3", "score": 2}\n',
        ),
    ],
)
def test_labels_of_a_folder_are_read_in_the_forms_of_trec_and_of_the_hub(tmp_path: Path, name: str, lines: str) -> None:
    SMALL.to_beir(tmp_path)
    (tmp_path / "qrels" / "test.tsv").unlink()
    (tmp_path / "qrels" / name).write_text(lines)
    assert RetrievalDataset.from_beir(tmp_path).qrels == SMALL.qrels


def test_json_label_without_a_document_is_refused_with_its_line(tmp_path: Path) -> None:
    SMALL.to_beir(tmp_path)
    (tmp_path / "qrels" / "dev.jsonl").write_text('{"query-id": "q1", "score": 1}\n')
    with pytest.raises(DatasetError, match=r"dev\.jsonl:1: expected the keys query-id, corpus-id, score"):
        RetrievalDataset.from_beir(tmp_path, "dev")


def test_sets_of_relevant_ids_as_sentence_transformers_takes_them_are_read() -> None:
    source = {"queries": QUERIES, "corpus": CORPUS, "relevant_docs": {"q1": {"d1"}, "q2": {"d3", "d2"}}}
    dataset = RetrievalDataset.from_object(source)
    assert {query: list(judged) for query, judged in dataset.qrels.items()} == {"q1": ["d1"], "q2": ["d2", "d3"]}


def test_half_characters_in_texts_are_reported_and_repaired_to_the_replacement_character() -> None:
    corpus = {"d1": "cats \ud83d purr", "d2": "dogs \ud83d\ude00 bark"}
    dataset = RetrievalDataset(corpus, {"q1": "who\udc00?"}, {"q1": {"d1": 1}})
    report = dataset.validate()
    assert (report.broken_queries, report.broken_documents) == (("q1",), ("d1", "d2"))
    assert "documents whose text holds half a character: 2: 'd1', 'd2'" in str(report)
    better, _ = dataset.repaired()
    assert dict(better.corpus) == {"d1": "cats \ufffd purr", "d2": "dogs \U0001f600 bark"}
    assert dict(better.queries) == {"q1": "who\ufffd?"}
    assert better.validate().ok
