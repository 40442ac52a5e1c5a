"""What a nudge moved goes out again: a table of moved rows, files written again, and folders exchanged at once."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scale_files import labelled, list_array, names, write_parquet

from nudge_integrations import Nudge, fit
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.scale import open_corpus, rewrite, write_moved
from nudge_integrations.storage import exchange

Vectors = NDArray[np.float32]


def fitted(folder: Path, kind: str = "float32", method: str = "nudge-n") -> tuple[Nudge, Vectors]:
    """Files with other columns in a partitioned folder, of vectors that are not of unit length, and a nudge of them."""
    vectors, queries, dataset, _ = labelled(0, 2000, 200, kind=kind)
    ids = names(2000)
    for part, rows in (("kind=a", slice(0, 700)), ("kind=b", slice(700, 2000))):
        (folder / part).mkdir(parents=True)
        table = pa.table(
            {"text": [f"text {i}" for i in ids[rows]], "vector": list_array(vectors[rows]), "id": ids[rows]}
        )
        pq.write_table(table, folder / part / "x.parquet", row_group_size=300, compression="zstd")
    corpus = open_corpus(folder)
    nudge = fit(dataset, "toy", method=method, step=0.2, document_vectors=corpus, query_vectors=queries)
    assert len(nudge) > 30
    return nudge, vectors


def stored(folder: Path) -> tuple[list[str], Vectors]:
    parts = [pq.read_table(path, partitioning=None) for path in sorted(folder.rglob("*.parquet"))]
    ids = [one for part in parts for one in part.column("id").to_pylist()]
    return ids, np.concatenate([np.array(part.column("vector").to_pylist(), np.float32) for part in parts])


def test_moved_rows_are_a_table_of_ids_vectors_and_the_version(tmp_path: Path) -> None:
    nudge, _ = fitted(tmp_path / "old")
    assert write_moved(nudge, tmp_path / "moved.parquet") == len(nudge)
    table = pq.read_table(tmp_path / "moved.parquet")
    assert table.column("id").to_pylist() == list(nudge.ids)
    np.testing.assert_array_equal(np.array(table.column("vector").to_pylist(), np.float32), nudge.vectors)
    assert table.column("nudge_version").unique().to_pylist() == [nudge.fingerprint]


def test_moved_rows_have_the_names_and_types_of_the_corpus(tmp_path: Path) -> None:
    vectors, queries, dataset, _ = labelled(0, 300, 40, kind="float16")
    rows = {one: str(row) for row, one in enumerate(names(300))}
    qrels = {q: {rows[i]: g for i, g in grades.items()} for q, grades in dataset.qrels.items()}
    dataset = type(dataset)({}, dataset.queries, qrels)
    table = pa.table({"key": pa.array(range(300), pa.int32()), "v": list_array(vectors, "list")})
    pq.write_table(table, tmp_path / "a.parquet")
    corpus = open_corpus(tmp_path / "a.parquet", id="key", vector="v")
    nudge = fit(dataset, "toy", method="nudge-n", step=0.2, document_vectors=corpus, query_vectors=queries)
    write_moved(nudge, tmp_path / "moved.parquet", corpus)
    written = pq.read_table(tmp_path / "moved.parquet")
    assert [written.schema.field(name).type for name in ("key", "v")] == [pa.int32(), pa.list_(pa.float16())]
    assert written.column("key").to_pylist() == [int(one) for one in nudge.ids]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_a_copy_differs_in_the_moved_vectors_alone(kind: str, tmp_path: Path) -> None:
    nudge, vectors = fitted(tmp_path / "old", kind)
    done = rewrite(nudge, open_corpus(tmp_path / "old"), tmp_path / "new")
    assert (done.files, done.rows, done.moved, done.absent, done.exchanged) == (2, 2000, len(nudge), 0, False)
    ids, written = stored(tmp_path / "new")
    assert ids == names(2000)
    moved = np.array([one in nudge for one in ids])
    np.testing.assert_array_equal(written[~moved], vectors.astype(np.float32)[~moved])
    expected = nudge.apply(ids, vectors) * np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)
    np.testing.assert_allclose(written[moved], expected[moved], rtol=2e-3 if kind == "float16" else 1e-6, atol=1e-3)
    for path in (tmp_path / "old").rglob("*.parquet"):
        old, new = (
            pq.ParquetFile(base / path.relative_to(tmp_path / "old")) for base in (tmp_path / "old", tmp_path / "new")
        )
        assert old.schema_arrow == new.schema_arrow
        assert old.read().drop_columns("vector") == new.read().drop_columns("vector")
        assert (old.metadata.row_group(0).num_rows, old.metadata.num_row_groups) == (300, new.metadata.num_row_groups)
        assert new.metadata.row_group(0).column(0).compression == "ZSTD"
    assert [path.name for path in (tmp_path / "new").iterdir() if path.is_file()] == []


def test_where_lengths_count_all_vectors_are_those_of_apply(tmp_path: Path) -> None:
    nudge, vectors = fitted(tmp_path / "old", method="nudge-m")
    assert nudge.similarity == "dot"
    rewrite(nudge, open_corpus(tmp_path / "old"), tmp_path / "new")
    ids, written = stored(tmp_path / "new")
    np.testing.assert_allclose(written, nudge.apply(ids, vectors), atol=1e-6)


def test_folders_are_exchanged_on_request(tmp_path: Path) -> None:
    nudge, vectors = fitted(tmp_path / "old")
    done = rewrite(nudge, open_corpus(tmp_path / "old"), tmp_path / "new", swap=True)
    assert done.exchanged
    assert "holds the files as they were" in str(done)
    np.testing.assert_array_equal(stored(tmp_path / "new")[1], vectors)
    assert (stored(tmp_path / "old")[1] != vectors).any()
    with pytest.raises(MismatchError, match="nudged already"):
        rewrite(nudge, open_corpus(tmp_path / "old"), tmp_path / "third")
    assert not (tmp_path / "third").exists()
    with pytest.raises(OSError, match="No such file"):
        exchange(tmp_path / "new", tmp_path / "none")


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    nudge, _ = fitted(tmp_path / "old")
    done = rewrite(nudge, open_corpus(tmp_path / "old"), tmp_path / "new", dry_run=True)
    assert done.moved == len(nudge)
    assert not (tmp_path / "new").exists()


def test_a_run_that_was_killed_goes_on_with_the_files_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nudge, _ = fitted(tmp_path / "old")
    corpus = open_corpus(tmp_path / "old", threads=1)
    rewrite(nudge, corpus, tmp_path / "whole")
    real, written = pq.ParquetWriter, []

    class Full(real):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: object, **options: object) -> None:
            written.append(arguments[0])
            super().__init__(*arguments, **options)

        def write_table(self, *arguments: object) -> None:
            if len(written) == 2:
                raise OSError(28, "No space left on device")
            super().write_table(*arguments)

    monkeypatch.setattr(pq, "ParquetWriter", Full)
    with pytest.raises(OSError, match="No space left"):
        rewrite(nudge, corpus, tmp_path / "new")
    finished = [path for path in (tmp_path / "new").rglob("*.parquet")]
    assert len(finished) == 1
    stamp = os.stat(finished[0]).st_mtime_ns
    monkeypatch.setattr(pq, "ParquetWriter", real)
    assert rewrite(nudge, corpus, tmp_path / "new").moved == len(nudge)
    assert os.stat(finished[0]).st_mtime_ns == stamp
    np.testing.assert_array_equal(stored(tmp_path / "new")[1], stored(tmp_path / "whole")[1])
    assert not [path for path in (tmp_path / "new").rglob(".*")]


def test_places_that_are_taken_or_inside_the_corpus_are_refused(tmp_path: Path) -> None:
    nudge, _ = fitted(tmp_path / "old")
    corpus = open_corpus(tmp_path / "old")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    for place, why in (
        ("old", "write beside"),
        ("old/new", "write beside"),
        ("", "write beside"),
        ("taken", "mine.txt"),
    ):
        with pytest.raises(InputError, match=why):
            rewrite(nudge, corpus, tmp_path / place)
    assert (tmp_path / "taken" / "mine.txt").read_text() == "mine"


def test_edited_documents_stay_and_absent_ones_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nudge, vectors = fitted(tmp_path / "old")
    edited, absent = nudge.ids[3], nudge.ids[5]
    ids = names(2000)
    vectors[ids.index(edited)] = 1.0
    kept = [row for row in range(2000) if ids[row] != absent]
    write_parquet(tmp_path / "later", vectors[kept], [900], id=[ids[row] for row in kept])
    with caplog.at_level(logging.WARNING):
        done = rewrite(nudge, open_corpus(tmp_path / "later"), tmp_path / "new")
    assert (done.moved, done.absent) == (len(nudge) - 2, 1)
    assert edited in caplog.text
    written_ids, written = stored(tmp_path / "new")
    assert written[written_ids.index(edited)].tolist() == [1.0] * 16


def test_vectors_of_another_model_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    nudge, vectors = fitted(tmp_path / "old")
    write_parquet(tmp_path / "other", vectors[::-1])
    with pytest.raises(MismatchError, match="another model"):
        rewrite(nudge, open_corpus(tmp_path / "other"), tmp_path / "new")
    write_parquet(tmp_path / "strange", vectors, id=[f"x{row}" for row in range(2000)])
    with pytest.raises(MismatchError, match="none of the"):
        rewrite(nudge, open_corpus(tmp_path / "strange"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
