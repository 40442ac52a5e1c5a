"""The log in which a nudge keeps its labels: what it holds, what it forgets, and that no crash or save loses any."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudge_integrations import Nudge, RetrievalDataset, fit
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import ArtifactError, CorruptArtifactError, DatasetError, InputError
from nudge_integrations.feedback import LabelLog
from nudge_integrations.storage import Log

CORPUS = {"d1": "cats purr", "d2": "dogs bark", "d3": "cows moo"}
VECTORS = np.eye(3, 4, dtype=np.float32)


def dataset(**qrels: dict[str, float]) -> RetrievalDataset:
    return RetrievalDataset(CORPUS, {query: f"text of {query}" for query in qrels}, qrels)


def vectors(data: RetrievalDataset) -> Any:
    return np.random.default_rng(len(data)).normal(size=(len(data), 4)).astype(np.float32)


def fitted(data: RetrievalDataset, **options: Any) -> Nudge:
    return fit(
        data, "toy", method="nudge-n", step=0.1, document_vectors=VECTORS, query_vectors=vectors(data), **options
    )


def pairs(log: LabelLog) -> list[tuple[str, str, float]]:
    return [(label.query, label.document, label.grade) for label in log.labels]


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture(params=["memory", "file"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> LabelLog:
    return LabelLog(tmp_path / "labels.jsonl" if request.param == "file" else None)


def test_a_label_keeps_who_said_what_when_about_which_text(log: LabelLog) -> None:
    data = dataset(q={"d1": 2.0, "d2": 0.0})
    given_vectors = vectors(data)
    log.add(
        data,
        query_vectors=given_vectors,
        encoder="toy",
        source="thumbs",
        time="2026-01-02T03:04:05+01:00",
        weight={("q", "d1"): 0.5},
        raw_texts={"d1": "purr"},
    )
    first, second = log.labels
    assert (first.query, first.document, first.grade, first.weight, first.source) == ("q", "d1", 2.0, 0.5, "thumbs")
    assert (first.time, first.text_hash) == ("2026-01-02T02:04:05+00:00", text_hash("cats purr"))
    assert (first.raw_hash, second.raw_hash, second.weight) == (text_hash("purr"), None, 1.0)
    assert log.queries == {"q": "text of q"}
    assert np.array_equal(log.query_vectors("toy")["q"], given_vectors[0])
    assert log.query_vectors("another model") == {}


def test_the_last_label_of_a_pair_counts_and_what_was_said_before_is_not_said_again(log: LabelLog) -> None:
    assert log.add(dataset(q={"d1": 1.0}, r={"d2": 1.0})) == 2
    assert log.add(dataset(q={"d1": 1.0})) == 0
    assert log.add(dataset(q={"d1": 3.0, "d3": 1.0})) == 2
    assert pairs(log) == [("q", "d1", 1.0), ("r", "d2", 1.0), ("q", "d1", 3.0), ("q", "d3", 1.0)]
    assert log.dataset(CORPUS) == dataset(q={"d1": 3.0, "d3": 1.0}, r={"d2": 1.0})


def test_old_labels_count_half_after_the_half_life() -> None:
    log = LabelLog()
    log.add(dataset(q={"d1": 1.0}), time="2026-01-01", weight=0.5)
    log.add(dataset(r={"d1": 4.0}), time="2026-01-11")
    weights = log.weights(half_life=10.0, now="2026-01-21")
    assert weights == {"q": {"d1": 0.125}, "r": {"d1": 0.5}}
    assert log.dataset(CORPUS) == dataset(q={"d1": 1.0}, r={"d1": 4.0})
    assert log.dataset().corpus == {"d1": ""}


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ({"source": "thumbs"}, ["q", "r"]),
        ({"query": "s"}, ["q", "r"]),
        ({"query": " text  of r"}, ["q", "s"]),
        ({"before": "2026-02-01"}, ["r", "s"]),
        ({"after": "2026-02-01"}, ["q", "r"]),
        ({"before": "2026-02-02", "after": "2026-01-02"}, ["q", "s"]),
        ({"source": "dataset", "before": "2026-01-20"}, ["r", "s"]),
    ],
)
def test_deletion_removes_labels_with_the_texts_of_their_queries(
    log: LabelLog, which: dict[str, str], left: list[str]
) -> None:
    for day, query, source in (("01-01", "q", "dataset"), ("02-01", "r", "dataset"), ("03-01", "s", "thumbs")):
        log.add(dataset(**{query: {"d1": 1.0}}), time=f"2026-{day}", source=source)
    assert log.delete(**which) == 1
    assert sorted(log.queries) == sorted(label.query for label in log.labels) == left
    if log.path is not None:
        written = log.path.read_text()
        assert all((f"text of {query}" in written) == (query in left) for query in "qrs")


def test_deletion_needs_to_be_told_what(log: LabelLog) -> None:
    with pytest.raises(InputError, match="source=, query=, before= or after="):
        log.delete()
    with pytest.raises(InputError, match="'yesterday' is no time"):
        log.delete(before="yesterday")


def test_what_does_not_fit_is_refused_and_nothing_is_added(log: LabelLog) -> None:
    log.add(dataset(q={"d1": 1.0}))
    other = RetrievalDataset(CORPUS, {"r": "new", "q": "another text"}, {"r": {"d1": 1}, "q": {"d1": 2}})
    with pytest.raises(DatasetError, match="query 'q' has two texts"):
        log.add(other)
    with pytest.raises(InputError, match="2 vectors came with 1 ids"):
        log.add(dataset(s={"d1": 1.0}), query_vectors=np.eye(2, 4))
    with pytest.raises(InputError, match="weight"):
        log.add(dataset(s={"d1": 1.0}), weight=-1.0)
    assert pairs(log) == [("q", "d1", 1.0)]


def test_a_full_log_leaves_out_vectors_first_and_then_the_oldest_labels(caplog: pytest.LogCaptureFixture) -> None:
    log = LabelLog(most_bytes=9_000)
    for number in range(20):
        log.add(dataset(**{f"q{number}": {"d1": 1.0}}), query_vectors=np.ones((1, 4)), encoder="toy")
    assert len(log.query_vectors("toy")) < len(log) < 20
    assert log.labels[-1].query == "q19"
    assert log.labels[0].query == f"q{20 - len(log)}"
    assert "oldest labels" in caplog.text


# -- in a nudge's folder


def test_a_fit_keeps_its_labels_and_a_saved_nudge_gives_them_back(tmp_path: Path) -> None:
    data = dataset(q={"d1": 1.0}, r={"d2": 2.0})
    nudge = fitted(data)
    nudge.save(tmp_path / "nudged")
    loaded = Nudge.load(tmp_path / "nudged")
    assert loaded.labels.dataset(CORPUS) == data
    assert np.array_equal(np.stack(list(loaded.labels.query_vectors("toy").values())), vectors(data))
    assert loaded.labels.since(loaded.fingerprint) == ()
    noted = loaded.labels.fit_of(loaded.fingerprint)
    assert noted is not None
    assert noted.options == {"method": "nudge-n", "step": 0.1}
    assert noted.documents == 3
    loaded.labels.add(dataset(s={"d3": 1.0}), source="thumbs")
    again = Nudge.load(tmp_path / "nudged")
    assert [label.query for label in again.labels.since(again.fingerprint)] == ["s"]


def test_labels_can_be_left_out_of_the_folder(tmp_path: Path) -> None:
    fitted(dataset(q={"d1": 1.0})).save(tmp_path, labels=False)
    assert not (tmp_path / "labels.jsonl").exists()
    assert len(Nudge.load(tmp_path).labels) == 0


def test_labels_that_came_while_another_fit_ran_are_kept_and_count_as_new(tmp_path: Path) -> None:
    fitted(dataset(q={"d1": 1.0}, r={"d2": 1.0})).save(tmp_path)
    nudge = Nudge.load(tmp_path)
    mine = nudge.labels.copy()
    mine.add(dataset(mine={"d1": 1.0}))
    LabelLog(tmp_path / "labels.jsonl").add(dataset(late={"d2": 1.0}))
    LabelLog(tmp_path / "labels.jsonl").delete(query="r")
    mine.note_fit("another", encoder="toy", documents=3, options={})
    mine.save(tmp_path / "labels.jsonl")
    assert [label.query for label in nudge.labels.labels] == ["q", "mine", "late"]
    assert [label.query for label in nudge.labels.since("another")] == ["late"]
    assert "r" not in nudge.labels.queries


def test_a_fresh_fit_in_the_same_folder_starts_anew_but_keeps_labels_that_no_fit_has_used(tmp_path: Path) -> None:
    fitted(dataset(wrong={"d1": 1.0}, q={"d2": 1.0})).save(tmp_path)
    Nudge.load(tmp_path).labels.add(dataset(thumb={"d3": 1.0}), source="thumbs")
    fresh = fitted(dataset(q={"d2": 1.0}, r={"d1": 1.0}))
    fresh.save(tmp_path)
    log = Nudge.load(tmp_path).labels
    assert [label.query for label in log.labels] == ["q", "r", "thumb"]
    assert [label.query for label in log.since(fresh.fingerprint)] == ["thumb"]


def test_a_file_of_the_user_with_that_name_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text("mine\n")
    with pytest.raises(ArtifactError, match="no log of this format"):
        fitted(dataset(q={"d1": 1.0})).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.jsonl"]


def test_a_damaged_label_is_named_and_the_nudge_still_serves(tmp_path: Path) -> None:
    fitted(dataset(q={"d1": 1.0}, r={"d2": 1.0})).save(tmp_path)
    path = tmp_path / "labels.jsonl"
    path.write_bytes(path.read_bytes().replace(b"text of q", b"text of x"))
    nudge = Nudge.load(tmp_path)
    assert len(nudge) == 2
    with pytest.raises(CorruptArtifactError, match="line 3"):
        _ = nudge.labels.labels


def test_records_of_another_kind_are_refused(tmp_path: Path) -> None:
    log = LabelLog(tmp_path / "labels.jsonl")
    log.add(dataset(q={"d1": 1.0}))
    log._log.append([{"kind": "label", "query": "nobody"}])
    with pytest.raises(CorruptArtifactError, match="does not hold labels"):
        len(log)


def test_a_save_that_is_cut_off_leaves_the_old_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted(dataset(q={"d1": 1.0})).save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        fitted(dataset(q={"d1": 1.0}, r={"d2": 1.0})).save(tmp_path)
    with pytest.raises(OSError, match="disk full"):
        Nudge.load(tmp_path).labels.delete(query="q")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_nudge_takes_its_labels_along_to_another_process_and_another_folder(tmp_path: Path) -> None:
    nudge = fitted(dataset(q={"d1": 1.0}))
    assert pairs(copy.deepcopy(nudge).labels) == [("q", "d1", 1.0)]
    nudge.save(tmp_path / "one")
    Nudge.load(tmp_path / "one").save(tmp_path / "two")
    assert pairs(Nudge.load(tmp_path / "two").labels) == [("q", "d1", 1.0)]


def test_validation_labels_are_kept_as_such() -> None:
    validation = RetrievalDataset(CORPUS, {"v": "held out"}, {"v": {"d1": 1}})
    nudge = fitted(dataset(q={"d1": 1.0}), validation=validation, validation_query_vectors=np.eye(1, 4))
    assert [(label.query, label.source) for label in nudge.labels.labels] == [("q", "dataset"), ("v", "validation")]


def test_options_that_json_cannot_hold_do_not_fail_a_fit(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        import torch

        nudge = fitted(dataset(q={"d1": 1.0}), device=torch.device("cpu"))
    noted = nudge.labels.fit_of(nudge.fingerprint)
    assert noted is not None
    assert "device" not in noted.options


@given(
    st.lists(
        st.tuples(st.sampled_from("pqrs"), st.sampled_from(["d1", "d2", "d3"]), st.sampled_from([0.0, 1.0, 2.0])),
        max_size=12,
    )
)
def test_a_log_read_again_is_what_a_dictionary_of_the_last_grades_is(said: list[tuple[str, str, float]]) -> None:
    log, expected = LabelLog(), {}
    for query, document, grade in said:
        log.add(dataset(**{query: {document: grade}}))
        expected[query, document] = grade
    assert {(label.query, label.document): label.grade for label in log.current} == expected
    assert json.dumps(log._records)
    assert len(log) <= len(said)


@pytest.mark.parametrize(
    "wrong", [{"source": 5}, {"encoder": 5}, {"weight": "much"}, {"time": "0001-01-01T00:00:00+10:00"}]
)
def test_what_would_make_a_log_unreadable_is_not_written(wrong: dict[str, Any], tmp_path: Path) -> None:
    log = LabelLog(tmp_path / "labels.jsonl")
    log.add(dataset(q={"d1": 1.0}), source="before")
    more = RetrievalDataset({"new": "a text"}, {"new": "a question"}, {"new": {"new": 1}})
    with pytest.raises(InputError):
        log.add(more, query_vectors=[[1.0, 0.0]], **wrong)
    assert {label.source for label in LabelLog(tmp_path / "labels.jsonl").labels} == {"before"}


@pytest.mark.parametrize("days", [0, -1, float("nan"), "a week"])
def test_a_half_life_that_is_none_is_refused(days: Any) -> None:
    log = LabelLog()
    log.add(dataset(q={"d1": 1.0}))
    with pytest.raises(InputError, match="half_life"):
        log.weights(half_life=days)


def test_a_log_can_be_copied_and_pickled(log: LabelLog) -> None:
    log.add(dataset(q={"d1": 1.0}))
    for other in (copy.deepcopy(log), pickle.loads(pickle.dumps(log))):  # noqa: S301
        assert pairs(other) == pairs(log)
        other.add(dataset(r={"d2": 1.0}))
    assert len(log) == (1 if log.path is None else 2)


def test_labels_whose_time_or_vector_is_damaged_are_refused(tmp_path: Path) -> None:
    good: dict[str, Any] = {"kind": "query", "id": "q", "text": "t", "vector": None, "encoder": ""}
    label: dict[str, Any] = {"kind": "label", "query": "q", "document": "d", "text_sha256": None, "raw_sha256": None}
    label |= {"grade": 1.0, "weight": 1.0, "source": "s", "time": "2026-01-01T00:00:00+00:00"}
    odd: Any = (
        [{**good, "vector": "AAA="}],
        [good, {**label, "time": "2026-01-01"}],
        [good, {**label, "grade": 10**400}],
    )
    for number, records in enumerate(odd):
        Log(tmp_path / f"{number}.jsonl", "nudge-integrations/labels").append(records)
        with pytest.raises(CorruptArtifactError, match="does not hold labels"):
            len(LabelLog(tmp_path / f"{number}.jsonl"))
