"""``nudge fit --corpus`` and ``nudge apply`` over files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_doubles import ANIMALS, ENCODER, ENCODER_PATH, animal_dataset
from scale_files import list_array, write_parquet
from typer.testing import CliRunner

from nudge_integrations import Nudge, RetrievalDataset
from nudge_integrations.cli.app import app
from nudge_integrations.cli.measure import measure
from nudge_integrations.dataset import Splits


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Labels without texts, and their documents among others in two files."""
    whole = animal_dataset()
    RetrievalDataset({}, whole.queries, whole.qrels).to_json(tmp_path / "labels.json")
    vectors = np.concatenate([ENCODER.encode_documents(list(whole.corpus.values())), others(50)])
    ids = [*ANIMALS, *(f"other {row}" for row in range(50))]
    folder = tmp_path / "files"
    folder.mkdir()
    for number, rows in enumerate((slice(0, 30), slice(30, 58))):
        table = pa.table({"key": ids[rows], "v": list_array(vectors[rows])})
        pq.write_table(table, folder / f"{number}.parquet")
    return tmp_path


def others(count: int) -> Any:
    return ENCODER.encode_documents([f"text number {row} about nothing" for row in range(count)])


def test_a_fit_over_files_measures_what_a_fit_over_texts_does(labels: Path) -> None:
    columns = ("--corpus", f"{labels}/files/*.parquet", "--id", "key", "--vector", "v")
    out = labels / "out"
    done = run("fit", labels / "labels.json", "-e", ENCODER_PATH, *columns, "-o", out, "--method", "nudge-n", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    texts = {**animal_dataset().corpus, **{f"other {row}": f"text number {row} about nothing" for row in range(50)}}
    whole = animal_dataset()
    RetrievalDataset(texts, whole.queries, whole.qrels).to_json(labels / "whole.json")
    expected = measure(Splits.read(labels / "whole.json"), ENCODER, "nudge-n").result()
    assert result["status"] == "improved"
    for side in ("before", "after"):
        assert result[side] == pytest.approx(expected[side], abs=1e-6)
    nudge = Nudge.load(out)
    assert set(nudge.ids) <= set(ANIMALS)
    assert json.loads((out / "result.json").read_text()) == result
    assert not Path(f"{out}.partial").exists()

    done = run("apply", out, f"{labels}/files/*.parquet", *columns[2:], "-o", labels / "new", "--json")
    assert done.exit_code == 0, done.output
    written = json.loads(done.stdout)
    assert (written["rows"], written["moved"], written["absent"]) == (58, len(nudge), 0)
    table = pq.read_table(labels / "new")
    vectors = dict(zip(table.column("key").to_pylist(), table.column("v").to_pylist(), strict=True))
    np.testing.assert_allclose([vectors[i] for i in nudge.ids], nudge.vectors, atol=1e-6)
    done = run("apply", out, labels / "new", *columns[2:], "-o", labels / "third")
    assert done.exit_code == 1
    assert "nudged already" in " ".join(done.output.split())


def test_a_dry_run_checks_and_writes_nothing(labels: Path) -> None:
    columns = ("--corpus", labels / "files", "--id", "key", "--vector", "v")
    done = run("fit", labels / "labels.json", "-e", ENCODER_PATH, *columns, "-o", labels / "out", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "58 documents of 32 dimensions in 2 pieces" in " ".join(done.output.split())
    assert sorted(path.name for path in labels.iterdir()) == ["files", "labels.json"]


def test_wrong_columns_words_and_places_are_refused(labels: Path) -> None:
    fit = ("fit", labels / "labels.json", "-e", ENCODER_PATH, "-o", labels / "out", "--corpus", labels / "files")
    named = ("--id", "key", "--vector", "v")
    write_parquet(labels / "narrow", np.eye(8), id=list(ANIMALS))
    for arguments, code, words in (
        (fit, 1, "no column 'id': give id=, one of 'key'"),
        ((*fit, *named, "--signals", "bm25"), 2, "needs the texts"),
        ((*fit[:-1], labels / "none", *named), 1, "names no Parquet files"),
        ((*fit[:-1], labels / "narrow"), 1, "vectors of 8 numbers and the encoder makes 32"),
        (("apply", labels, labels / "files", "-o", labels / "new"), 1, "nudge.json"),
    ):
        done = run(*arguments)
        assert done.exit_code == code, done.output
        assert words in " ".join(done.output.replace("│", " ").split())
