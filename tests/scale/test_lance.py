"""A Lance dataset as a corpus, and a nudge of it as one commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scale_files import labelled, list_array, names, unit_queries

from nudge_integrations import fit, solve
from nudge_integrations.corpus import ArrayCorpus
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.scale import nudge_lance, open_corpus, restore_lance, rewrite

lance = pytest.importorskip("lance")


def write(folder: Path, vectors: Any, kind: str = "fixed", rows: int = 700, **columns: Any) -> str:
    table = pa.table({"id": names(len(vectors)), "vector": list_array(vectors, kind), **columns})
    lance.write_dataset(table, folder / "x.lance", max_rows_per_file=rows, max_rows_per_group=rows, mode="overwrite")
    return str(folder / "x.lance")


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_a_dataset_answers_as_the_array_does(kind: str, tmp_path: Path) -> None:
    vectors, queries, _, gains = labelled(0, 3000, 200, kind=kind)
    corpus = open_corpus(write(tmp_path, vectors, "list" if kind == "float64" else "fixed"))
    assert len(corpus.table.shards) > 2
    found, expected = corpus.search(queries, 30), ArrayCorpus(vectors).search(queries, 30)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(
        corpus.take(np.array([2999, 5, 5])), ArrayCorpus(vectors).take(np.array([2999, 5, 5]))
    )
    one, other = solve(corpus, queries, gains, method="nudge-n"), solve(vectors, queries, gains, method="nudge-n")
    assert one.step == other.step
    np.testing.assert_array_equal(one.rows, other.rows)
    assert corpus.rows_of([names(3000)[2500]]) == {names(3000)[2500]: 2500}


def test_deleted_rows_and_those_of_a_filter_are_no_documents(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(2000, 4)).astype(np.float32)
    language = np.array(["en", "de"])[np.arange(2000) % 2]
    location = write(tmp_path, vectors, lang=language)
    lance.dataset(location).delete("id IN ('doc-000004', 'doc-000900')")
    rows = np.array([row for row in range(2000) if row not in (4, 900)])
    queries = unit_queries(np.random.default_rng(1), 30, 4)
    for given, kept in (
        (None, rows),
        ("lang = 'en'", rows[language[rows] == "en"]),
        (pc.field("lang") == "de", rows[language[rows] == "de"]),
        ([("lang", "==", "de")], rows[language[rows] == "de"]),
    ):
        corpus = open_corpus(location, filter=given)
        assert corpus.ids_of(np.arange(len(corpus))) == [names(2000)[row] for row in kept]
        np.testing.assert_array_equal(
            corpus.search(queries, 9).rows, ArrayCorpus(vectors[kept]).search(queries, 9).rows
        )
        np.testing.assert_array_equal(corpus.take(np.arange(9)), vectors[kept[:9]])
    with pytest.raises(InputError, match="cannot be used on"):
        open_corpus(location, filter="tongue = 'en'")


def test_a_nudge_is_one_commit_and_is_taken_back_bit_for_bit(tmp_path: Path) -> None:
    vectors, queries, dataset, _ = labelled(0, 3000, 200)
    location = write(tmp_path, vectors, text=[f"text {row}" for row in range(3000)])
    corpus = open_corpus(location)
    nudge = fit(dataset, "toy", method="nudge-n", step=0.2, document_vectors=corpus, query_vectors=queries)
    commit = nudge_lance(nudge, corpus)
    assert (commit.rows, commit.before) == (len(nudge), 1)
    assert commit.after == commit.before + 1
    table = lance.dataset(location).to_table().sort_by("id")
    assert table.column("text").to_pylist() == [f"text {row}" for row in range(3000)]
    written = np.array(table.column("vector").to_pylist(), np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(written / lengths, nudge.apply(names(3000), vectors), atol=1e-6)
    moved = np.array([one in nudge for one in names(3000)])
    np.testing.assert_array_equal(written[~moved], vectors[~moved])
    with pytest.raises(MismatchError, match="nudged already"):
        nudge_lance(nudge, open_corpus(location))
    with pytest.raises(InputError, match="was opened at 1: open it again"):
        nudge_lance(nudge, corpus)
    restore_lance(location, commit.before)
    back = lance.dataset(location).to_table().sort_by("id")
    np.testing.assert_array_equal(np.array(back.column("vector").to_pylist(), np.float32), vectors)
    with pytest.raises(InputError, match="nudge_lance"):
        rewrite(nudge, corpus, tmp_path / "new")


def test_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Lance dataset"):
        open_corpus(tmp_path / "none.lance")
