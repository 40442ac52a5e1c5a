"""Parquet files as a corpus: the same answers as the array that they hold, however they are cut and typed."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from scale_files import KINDS, labelled, list_array, names, unit_queries, write_parquet

from nudge_integrations import Nudge, fit, solve
from nudge_integrations.corpus import ArrayCorpus, Corpus, Neighbours
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.feedback import LabelLog
from nudge_integrations.scale import merged, open_corpus
from nudge_integrations.selection import select
from nudge_integrations.solver import Solution

PARTITIONINGS = int(os.environ.get("NUDGE_PARTITIONINGS", "3"))


def same(one: Solution, other: Solution) -> None:
    assert (one.method, one.status, one.queries) == (other.method, other.status, other.queries)
    np.testing.assert_array_equal(one.rows, other.rows)
    assert one.step == other.step
    assert one.score == pytest.approx(other.score, abs=1e-6)
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)


@pytest.mark.parametrize("seed", range(PARTITIONINGS))
@pytest.mark.parametrize("threads", [1, 3])
def test_any_partitioning_answers_as_the_array_does(seed: int, threads: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    vectors, queries, _, gains = labelled(seed, 10_000, 200, kind=random.choice(list(KINDS)))
    vectors[random.choice(len(vectors), 50)] = vectors[7]  # ties across files
    cuts = random.integers(0, len(vectors), random.integers(0, 9)).tolist()
    write_parquet(
        tmp_path, vectors, cuts, kind=random.choice(["fixed", "list", "large"]), group=int(random.integers(50, 9999))
    )
    corpus = open_corpus(tmp_path / "*.parquet", threads=threads)
    assert isinstance(corpus, Corpus)
    found, expected = corpus.search(queries, 30), ArrayCorpus(vectors).search(queries, 30)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    rows = random.integers(0, len(vectors), 300)
    np.testing.assert_array_equal(corpus.take(rows), ArrayCorpus(vectors).take(rows))
    np.testing.assert_array_equal(corpus.sample(123, seed), ArrayCorpus(vectors).sample(123, seed))
    same(solve(corpus, queries, gains, method="nudge-n"), solve(vectors, queries, gains, method="nudge-n"))


def test_ranges_that_are_searched_apart_merge_to_the_whole(tmp_path: Path) -> None:
    vectors, queries, _, _ = labelled(3, 3000, 40)
    corpus = open_corpus(write_parquet(tmp_path, vectors, [10, 1700]))
    bounds = [0, 1, 900, 2999, 3000]
    asked = torch.from_numpy(queries)
    parts = [corpus.search_rows(asked, 20, start, stop, None) for start, stop in pairwise(bounds)]
    found, expected = merged(parts[::-1], 20), ArrayCorpus(vectors).search(queries, 20)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


def test_auto_answers_as_for_the_array_in_three_passes(tmp_path: Path) -> None:
    vectors, queries, _, gains = labelled(0, 3000, 200)
    corpus = open_corpus(write_parquet(tmp_path, vectors, [500, 900]))
    same(select(corpus, queries, gains), select(vectors, queries, gains))
    assert corpus.rows_read <= 3 * len(vectors)


def test_fit_takes_a_corpus_in_place_of_texts_and_vectors(tmp_path: Path) -> None:
    vectors, queries, dataset, gains = labelled(1, 3000, 300)
    corpus = open_corpus(write_parquet(tmp_path, vectors, [100]))
    nudge = fit(dataset, "toy", method="nudge-n", document_vectors=corpus, query_vectors=queries)
    solution = solve(vectors, queries, gains, method="nudge-n")
    assert list(nudge.ids) == [names(3000)[row] for row in solution.rows]
    assert (nudge.step, nudge.status) == (solution.step, "improved")
    np.testing.assert_allclose(nudge.vectors, solution.vectors, atol=1e-6)
    np.testing.assert_allclose(nudge.apply(names(3000), vectors), solution.apply(vectors), atol=1e-6)
    nudge.save(tmp_path / "nudge")
    assert Nudge.load(tmp_path / "nudge").fingerprint == nudge.fingerprint


def test_a_fit_over_files_keeps_its_labels_in_the_log_it_is_given_or_a_new_one(tmp_path: Path) -> None:
    vectors, queries, dataset, _ = labelled(1, 3000, 300)
    asked: dict[str, Any] = {"method": "nudge-n", "document_vectors": open_corpus(write_parquet(tmp_path, vectors))}
    asked["query_vectors"] = queries
    fit(dataset, "toy", **asked).save(tmp_path / "nudge")
    kept = Nudge.load(tmp_path / "nudge")
    assert kept.labels.dataset().qrels == dataset.qrels
    assert [(noted.nudge, noted.documents) for noted in kept.labels.fits] == [(kept.fingerprint, 3000)]
    assert kept.labels.query_vectors("toy").keys() == dataset.queries.keys()
    log = LabelLog()
    nudge = fit(dataset, "toy", labels=log, **asked)
    assert nudge.labels is log
    assert [noted.nudge for noted in log.fits] == [nudge.fingerprint]


def test_fit_refuses_labels_of_documents_that_are_not_there_and_what_needs_texts(tmp_path: Path) -> None:
    vectors, queries, dataset, _ = labelled(1, 300, 40)
    corpus = open_corpus(write_parquet(tmp_path / "few", vectors[:3]))
    with pytest.raises(DatasetError, match=r"labelled ones. is not among the 3 documents"):
        fit(dataset, "toy", document_vectors=corpus, query_vectors=queries)
    whole = open_corpus(write_parquet(tmp_path / "whole", vectors))
    warm = fit(dataset, "toy", method="nudge-n", step=0.1, document_vectors=whole, query_vectors=queries)
    for wrong in ({"signals": ("bm25",)}, {"similarity": "dot"}, {"duplicates": "error"}, {"warm": warm}):
        options: dict[str, Any] = dict(wrong)
        with pytest.raises(InputError, match="needs the texts"):
            fit(dataset, "toy", document_vectors=corpus, query_vectors=queries, **options)
    halves = dataset.split((0.5, 0.5))
    with pytest.raises(DatasetError, match="is a training query too"):
        fit(halves[0], "toy", validation=halves[0], document_vectors=whole)


def test_fit_chooses_the_step_by_validation_labels(tmp_path: Path) -> None:
    vectors, queries, dataset, _ = labelled(1, 3000, 300)
    train, held_out = dataset.split((0.7, 0.3))
    rows = {query: row for row, query in enumerate(dataset.queries)}
    asked: dict[str, Any] = {"query_vectors": queries[[rows[q] for q in train.queries]]}
    asked["validation_query_vectors"] = queries[[rows[q] for q in held_out.queries]]
    corpus = open_corpus(write_parquet(tmp_path, vectors, [100]))
    nudge = fit(train, "toy", validation=held_out, method="nudge-n", document_vectors=corpus, **asked)
    assert (nudge.protocol, nudge.queries, nudge.status) == ("validation", len(held_out), "improved")


IDS = {
    "text": (["a", "", "ü"], ["a", "", "ü"]),
    "numbers": ([7, -1, 2**62], ["7", "-1", str(2**62)]),
    "small numbers": (np.array([1, 2, 3], np.uint8), ["1", "2", "3"]),
    "bytes": ([b"\x00\xff", b"a", b""], ["00ff", "61", ""]),
    "dates": ([datetime.date(2026, 1, day) for day in (1, 2, 3)], ["2026-01-01", "2026-01-02", "2026-01-03"]),
    "categories": (pa.array(["x", "y", "z"]).dictionary_encode(), ["x", "y", "z"]),
    "large text": (pa.array(["x", "y", "z"], pa.large_string()), ["x", "y", "z"]),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_any_type_are_text_here(kind: str, tmp_path: Path) -> None:
    given_ids, texts = IDS[kind]
    pq.write_table(pa.table({"key": given_ids, "vector": list_array(np.eye(3))}), tmp_path / "a.parquet")
    corpus = open_corpus(tmp_path / "a.parquet", id="key")
    assert corpus.rows_of([*texts, "none"]) == {text: row for row, text in enumerate(texts)}
    assert corpus.ids_of(np.array([2, 0])) == [texts[2], texts[0]]


def test_uuids_are_written_as_usual(tmp_path: Path) -> None:
    ids = [uuid.UUID(int=number) for number in (5, 6, 7)]
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([i.bytes for i in ids], pa.binary(16)))
    pq.write_table(pa.table({"id": column, "vector": list_array(np.eye(3))}), tmp_path / "a.parquet")
    corpus = open_corpus(tmp_path / "a.parquet")
    assert corpus.ids_of(np.arange(3)) == [str(i) for i in ids]


def test_one_of_several_vector_columns_is_read(tmp_path: Path) -> None:
    columns = {"title": list_array(np.eye(3)), "body": list_array(-np.eye(3, 5), "list")}
    pq.write_table(pa.table({"id": [1, 2, 3], **columns}), tmp_path / "a.parquet")
    for name, width in (("title", 3), ("body", 5)):
        corpus = open_corpus(tmp_path, vector=name)
        assert corpus.dimension == width
        assert corpus.take(np.array([1])).tolist() == columns[name].to_pylist()[1:2]
    with pytest.raises(InputError, match="no column 'vector': give vector=, one of 'title', 'body'"):
        open_corpus(tmp_path)
    with pytest.raises(InputError, match="no column 'key': give id=, one of 'id'"):
        open_corpus(tmp_path, id="key", vector="body")
    with pytest.raises(InputError, match=r"column 'id' of .* is int64; expected lists of numbers"):
        open_corpus(tmp_path, vector="id")


def test_whole_numbers_are_vectors_too(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "vector": pa.array([[1, 2], [3, -4]], pa.list_(pa.int8()))}), tmp_path / "a")
    assert open_corpus(tmp_path).take(np.array([1])).tolist() == [[3.0, -4.0]]


def test_a_filter_takes_rows_by_columns_and_by_partitions(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    vectors, language = random.normal(size=(900, 4)).astype(np.float32), random.choice(["en", "de"], 900)
    for year, part in ((2024, slice(0, 400)), (2025, slice(400, 900))):
        folder = tmp_path / f"year={year}"
        folder.mkdir()
        table = {"id": names(900)[part], "lang": language[part], "vector": list_array(vectors[part])}
        pq.write_table(pa.table(table), folder / "a.parquet", row_group_size=70)
    every = np.arange(900)
    for given_filter, rows in (
        (None, every),
        ([("lang", "==", "en")], every[language == "en"]),
        (pads.field("year") == 2025, every[400:]),
        ((pads.field("year") == 2024) & (pads.field("lang") == "de"), every[:400][language[:400] == "de"]),
    ):
        corpus = open_corpus(tmp_path, filter=given_filter)
        assert len(corpus) == len(rows)
        assert corpus.ids_of(np.arange(len(rows))) == [names(900)[row] for row in rows]
        queries = unit_queries(random, 20, 4)
        np.testing.assert_array_equal(
            corpus.search(queries, 9).rows, ArrayCorpus(vectors[rows]).search(queries, 9).rows
        )
        np.testing.assert_array_equal(corpus.take(np.arange(5)), vectors[rows[:5]])
        present = {names(900)[row]: at for at, row in enumerate(rows)}
        assert corpus.rows_of(names(900)[::7]) == {i: present[i] for i in names(900)[::7] if i in present}
    with pytest.raises(InputError, match="no SQL"):
        open_corpus(tmp_path, filter="lang = 'en'")
    with pytest.raises(InputError, match="cannot be used on"):
        open_corpus(tmp_path, filter=[("tongue", "==", "en")])
    with pytest.raises(InputError, match="holds no documents"):
        open_corpus(tmp_path, filter=[("lang", "==", "fr")])


ODD: dict[str, tuple[Any, str]] = {
    "a NaN": ([float("nan"), 1.0], "not finite"),
    "infinity": ([float("inf"), 1.0], "not finite"),
    "zeros": ([0.0, 0.0], "a zero vector"),
    "too short": ([1.0], "1 number instead of 2"),
    "empty": ([], "0 numbers instead of 2"),
    "missing": (None, "missing"),
    "a missing number": ([None, 1.0], "not finite"),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_row_is_named_by_file_and_row_or_skipped_and_counted(what: str, tmp_path: Path) -> None:
    value, reason = ODD[what]
    for number, rows in enumerate(([[1.0, 0.0]] * 5, [[0.0, 1.0], [0.5, 1.0], value, [1.0, 1.0]])):
        table = pa.table({"id": [10 * number + row for row in range(len(rows))], "vector": pa.array(rows)})
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=2)
    corpus, queries = open_corpus(tmp_path), np.array([[0.0, 1.0]], np.float32)
    with pytest.raises(InputError, match=rf"1\.parquet, row 2: the vector is {reason}.*skip=True"):
        corpus.search(queries, 3)
    corpus = open_corpus(tmp_path, skip=True)
    assert len(corpus) == 8
    assert len(corpus.skipped) == 1
    assert corpus.skipped.examples[0][:2] == (str(tmp_path / "1.parquet"), 2)
    assert reason in str(corpus.skipped)
    assert corpus.ids_of(corpus.search(queries, 3).rows[0]) == ["10", "11", "13"]
    assert corpus.take(np.array([7])).tolist() == [[1.0, 1.0]]


def test_repeated_and_missing_ids_are_named_or_skipped(tmp_path: Path) -> None:
    write_parquet(tmp_path, np.eye(4), [2], id=["a", "b", "c", "a"])
    with pytest.raises(
        InputError, match=r"'a' is there twice: .*0000.parquet, row 0, and .*0001.parquet, row 1 \(1 rep"
    ):
        open_corpus(tmp_path)
    assert len(open_corpus(tmp_path, check_ids=False)) == 4
    corpus = open_corpus(tmp_path, skip=True)
    assert (len(corpus), corpus.skipped.counts) == (3, {"with an id that came before": 1})
    write_parquet(tmp_path, np.eye(4), [2], id=["a", "b", "c", None])
    with pytest.raises(InputError, match=r"0001.parquet, row 1 has no id"):
        open_corpus(tmp_path)
    assert open_corpus(tmp_path, skip=True).skipped.counts == {"without an id": 1}


@given(ids=st.lists(st.text(max_size=3), min_size=1, max_size=60), cut=st.integers(0, 60))
@example_settings(max_examples=25)
def test_every_repeated_id_is_found(ids: list[str], cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = write_parquet(tmp_path_factory.mktemp("ids"), np.ones((len(ids), 2)), [min(cut, len(ids))], id=ids)
    corpus = open_corpus(folder, skip=True)
    firsts = list(dict.fromkeys(ids))
    assert corpus.ids_of(np.arange(len(corpus))) == firsts
    assert len(corpus.skipped) == len(ids) - len(firsts)


def test_locations_that_hold_no_parquet_are_refused(tmp_path: Path) -> None:
    for location in (tmp_path, tmp_path / "none", tmp_path / "*.parquet", "nothing://x/y"):
        with pytest.raises(InputError):
            open_corpus(location)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and so on")
    with pytest.raises(InputError, match=r"a\.parquet is no Parquet file, or is damaged"):
        open_corpus(tmp_path)


def test_patterns_folders_and_uris_find_the_same_files_in_the_same_order(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 3))
    write_parquet(tmp_path / "deep" / "er", vectors, [10, 20])
    (tmp_path / "deep" / "er" / "_SUCCESS").write_text("")
    (tmp_path / "deep" / ".hidden").mkdir()
    (tmp_path / "deep" / ".hidden" / "x.parquet").write_text("")
    for location in ("", "deep/er/*.parquet", "deep/**/*.parquet", "*/*/part-*", "deep/er/"):
        for prefix in ("", "file://"):
            corpus = open_corpus(f"{prefix}{tmp_path}/{location}")
            assert corpus.ids_of(np.arange(len(corpus))) == names(40)
    assert len(open_corpus(tmp_path / "deep" / "er" / "part-0001.parquet")) == 10


def test_files_that_change_after_opening_are_refused(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 3))
    corpus = open_corpus(write_parquet(tmp_path, vectors, [10]))
    before = corpus.fingerprint
    write_parquet(tmp_path, vectors[:30], [10])
    with pytest.raises(InputError, match=r"part-0001.parquet has 20 rows now and had 30: open it again"):
        corpus.search(unit_queries(np.random.default_rng(0), 2, 3), 3)
    assert open_corpus(tmp_path).fingerprint != before


def test_parts_of_a_search_merge_with_ties_to_the_lower_row() -> None:
    random = np.random.default_rng(0)
    scores = random.integers(0, 4, (5, 60)).astype(np.float32)
    order = random.permutation(60)
    parts = [Neighbours(scores[:, part], np.tile(part, (5, 1))) for part in np.split(order, [7, 30])]
    found = merged(parts, 20)
    np.testing.assert_array_equal(found.rows, np.argsort(-scores, axis=1, kind="stable")[:, :20])


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys, nudge_integrations.scale\n"
        "print(sorted({'pyarrow', 'lance', 'ray', 'torch', 'numpy'} & set(sys.modules)))\n"
        "from nudge_integrations.scale import open_corpus\n"
        "print(sorted({'pyarrow', 'lance', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"dimension": 0},
        {"dimension": -1},
        {"dimension": "x"},
        {"threads": 0},
        {"threads": "x"},
        {"filter": 5},
        {"filter": [("id", "like", "d1")]},
        {"filter": [5]},
        {"location": ""},
        {"location": 5},
        {"location": "nul\0"},
        {"location": "/dev/zero"},
    ],
)
def test_options_that_are_none_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    files = write_parquet(tmp_path / "files", np.eye(8, dtype=np.float32), [8])
    given = {"location": files, **wrong}
    with pytest.raises(InputError):
        open_corpus(given.pop("location"), **given)


def test_a_file_that_lost_rows_since_it_was_opened_is_an_error(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    write_parquet(tmp_path, vectors, [20])
    corpus = open_corpus(tmp_path / "*.parquet", threads=1)
    shorter = tmp_path / "other"
    write_parquet(shorter, vectors[:5])
    (shorter / "part-0000.parquet").replace(tmp_path / "part-0001.parquet")
    with pytest.raises(InputError, match="had 20: open it again"):
        corpus.search(vectors[:1], 3)
    with pytest.raises(InputError, match="had 20: open it again"):
        corpus.take(np.array([2, 39]))
