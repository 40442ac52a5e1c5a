"""A search that was killed goes on where it was, and finds the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scale_files import unit_queries, write_parquet

from nudge_integrations.corpus import ArrayCorpus, Neighbours
from nudge_integrations.scale import open_corpus
from nudge_integrations.scale.checkpoints import Checkpoints

CHILD = Path(__file__).resolve().parents[1] / "helpers" / "scale_child.py"


def test_a_search_killed_at_nine_tenths_reads_one_piece_again(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    vectors, queries = random.normal(size=(100_000, 8)).astype(np.float32), unit_queries(random, 60, 8)
    files = write_parquet(tmp_path / "files", vectors, range(10_000, 100_000, 10_000), group=10_000)
    np.save(tmp_path / "queries.npy", queries)
    arguments = [str(files), str(tmp_path / "partial"), str(tmp_path / "queries.npy"), "20", "90000"]
    done = subprocess.run([sys.executable, str(CHILD), *arguments], timeout=600, check=False)
    assert done.returncode == -signal.SIGKILL
    corpus = open_corpus(files, checkpoints=tmp_path / "partial")
    found, expected = corpus.search(queries, 20), ArrayCorpus(vectors).search(queries, 20)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    assert 0 < corpus.rows_read <= 10_000 + 2 * 10_000  # what was left, a piece, and blocks that were on their way
    again = open_corpus(files, checkpoints=tmp_path / "partial")
    np.testing.assert_array_equal(again.search(queries, 20).rows, expected.rows)
    assert again.rows_read == 0
    assert again.checkpoints is not None
    again.checkpoints.clear()
    assert not (tmp_path / "partial").exists()


def test_partial_results_are_of_one_corpus_one_set_of_queries_and_one_depth(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    vectors, queries = random.normal(size=(3000, 8)).astype(np.float32), unit_queries(random, 6, 8)
    files = write_parquet(tmp_path / "files", vectors, [1000])
    open_corpus(files, checkpoints=tmp_path / "partial").search(queries, 5)
    for asked, k, changed in ((queries[::-1].copy(), 5, vectors), (queries, 6, vectors), (queries, 5, vectors[::-1])):
        write_parquet(tmp_path / "files", changed, [1000])
        corpus = open_corpus(files, checkpoints=tmp_path / "partial")
        np.testing.assert_array_equal(corpus.search(asked, k).rows, ArrayCorpus(changed).search(asked, k).rows)
        assert corpus.rows_read == 3000


@pytest.mark.parametrize("name", ["search.json", "partial.safetensors"])
def test_damaged_partial_results_are_not_used(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(0)
    vectors, queries = random.normal(size=(3000, 8)).astype(np.float32), unit_queries(random, 6, 8)
    files = write_parquet(tmp_path / "files", vectors, [1000])
    open_corpus(files, checkpoints=tmp_path / "partial").search(queries, 5)
    (damaged,) = (tmp_path / "partial").glob(f"*/{name}")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    corpus = open_corpus(files, checkpoints=tmp_path / "partial")
    np.testing.assert_array_equal(corpus.search(queries, 5).rows, ArrayCorpus(vectors).search(queries, 5).rows)
    assert corpus.rows_read == 3000
    assert "the search begins anew" in caplog.text


def test_clearing_partial_results_leaves_files_of_the_user(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    files = write_parquet(tmp_path / "files", random.normal(size=(300, 8)).astype(np.float32), [100])
    theirs = ["config/search.json", f"{'0' * 32}/notes.txt", "search.json", f"{'f' * 32}.txt", "x/partial.safetensors"]
    for name in theirs:
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_text("the user's")
    corpus = open_corpus(files, checkpoints=tmp_path / "project")
    corpus.search(unit_queries(random, 2, 8), 5)
    assert len(list((tmp_path / "project").iterdir())) == len(theirs) + 1
    assert corpus.checkpoints is not None
    corpus.checkpoints.clear()
    assert {(tmp_path / "project" / name).read_text() for name in theirs} == {"the user's"}
    assert len(list((tmp_path / "project").iterdir())) == len(theirs)


@pytest.mark.parametrize("row", [-1, "5", None, 1.5, True])
def test_partial_results_of_no_row_are_not_used(row: object, tmp_path: Path) -> None:
    key, found = "0" * 32, Neighbours(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.int64))
    kept = Checkpoints(tmp_path)
    kept.save(key, row, found)  # type: ignore[arg-type]
    assert kept.load(key) == (0, None)
    assert not list(tmp_path.iterdir())
