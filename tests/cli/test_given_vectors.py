"""Vectors that are there already, in files or in an earlier run; and what a fit says while it chooses."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_doubles import ENCODER, ENCODER_PATH, animal_dataset, animal_folder
from safetensors.numpy import save_file
from tqdm import tqdm
from typer.testing import CliRunner

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli import encoders
from nudge_integrations.cli.app import app
from nudge_integrations.cli.screen import Lines
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.selection import select, stages


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    return animal_folder(tmp_path / "animals")


def lines_of(path: Path) -> dict[str, str]:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return {record["_id"]: record["text"] for record in records}


@pytest.fixture
def vectors(beir: Path, tmp_path: Path) -> dict[str, Path]:
    """Files of vectors in the orders of corpus.jsonl and queries.jsonl."""
    documents = ENCODER.encode_documents(list(lines_of(beir / "corpus.jsonl").values()))
    queries = ENCODER.encode_queries(list(lines_of(beir / "queries.jsonl").values()))
    files = {"documents": tmp_path / "documents.npy", "queries": tmp_path / "queries.npz"}
    np.save(files["documents"], documents)
    np.savez(files["queries"], vectors=queries)
    return files


def test_fit_and_evaluate_take_vectors_from_files_and_need_no_model(
    beir: Path, vectors: dict[str, Path], tmp_path: Path
) -> None:
    files = ["--document-vectors", vectors["documents"], "--query-vectors", vectors["queries"]]
    by_model = done("fit", beir, "-e", ENCODER_PATH, "-o", tmp_path / "model")
    by_files = done("fit", beir, "-o", tmp_path / "files", *files)
    assert {**by_files, "seconds": 0, "encoder": ""} == {**by_model, "seconds": 0, "encoder": ""}
    assert by_files["encoder"].startswith("vectors:")
    for folder in ("model", "files"):
        evaluated = done("evaluate", tmp_path / folder, beir, *files)
        assert evaluated["metrics"] == pytest.approx(by_model["after"])
    named = done("fit", beir, "-o", tmp_path / "named", "-e", ENCODER_PATH, *files)
    assert Nudge.load(tmp_path / "named").encoder == ENCODER.fingerprint
    assert named["after"] == by_files["after"]


def test_ids_say_in_which_order_vectors_are_and_more_may_be_there(
    beir: Path, vectors: dict[str, Path], tmp_path: Path
) -> None:
    names = list(lines_of(beir / "queries.jsonl"))
    queries = np.load(vectors["queries"])["vectors"]
    order = np.random.default_rng(0).permutation(len(names))
    save_file({"vectors": np.concatenate([queries[order], queries[:1]])}, tmp_path / "queries.safetensors")
    (tmp_path / "ids.txt").write_text("".join(f"{names[row]}\n" for row in order) + "somebody else\n")
    files = ["--document-vectors", vectors["documents"], "--query-vectors", tmp_path / "queries.safetensors"]
    mixed = done("fit", beir, "-o", tmp_path / "mixed", *files, "--query-ids", tmp_path / "ids.txt")
    assert mixed["after"] == done("fit", beir, "-e", ENCODER_PATH, "-o", tmp_path / "model")["after"]
    refused = run("fit", beir, "-o", tmp_path / "out", *files)
    assert "121 vectors, and the dataset has 120 ids (name others with --query-ids)" in refused.output


def test_vectors_that_are_missing_or_no_vectors_are_named(beir: Path, vectors: dict[str, Path], tmp_path: Path) -> None:
    output = "-o", tmp_path / "out"
    assert "give --encoder, or the vectors" in run("fit", beir, *output).output
    assert "give --encoder, or the vectors" in run("fit", beir, *output, "--dry-run").output
    assert "--document-vectors, which are missing" in run("fit", beir, *output, "--document-ids", beir).output
    alone = run("fit", beir, *output, "--document-vectors", vectors["documents"])
    assert "96 texts have no vector" in alone.output
    np.save(tmp_path / "whole.npy", np.zeros((8, 4), np.int64))
    for name in ("whole.npy", "absent.npy", "ids.txt"):
        (tmp_path / "ids.txt").write_text("x")
        refused = run("fit", beir, *output, "--document-vectors", tmp_path / name)
        assert refused.exit_code == 1
        assert "unexpected" not in refused.output
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no zip")
    assert (
        "broken.npz cannot be read" in run("fit", beir, *output, "--document-vectors", tmp_path / "broken.npz").output
    )
    assert not (tmp_path / "out").exists()


def test_embeddings_of_a_kept_run_are_used_again(beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = done("fit", beir, "-e", ENCODER_PATH, "-o", tmp_path / "out")
    embedded: list[str] = []

    class Counting(type(ENCODER)):  # type: ignore[misc]
        def encode_documents(self, texts: Any) -> Any:
            embedded.extend(texts)
            return super().encode_queries(texts)

    monkeypatch.setattr(encoders, "load_object", lambda _: Counting())
    again = run("fit", beir, "-e", ENCODER_PATH, "-o", tmp_path / "out", "--force", "--metric", "mrr@10")
    assert again.exit_code == 0, again.output
    assert "embeddings of the run in" in again.output
    other = done("fit", beir, "-e", ENCODER_PATH, "-o", tmp_path / "other", "--reuse", tmp_path / "out")
    assert not embedded
    assert other["after"] == first["after"]
    # Labels of the run's own queries need no model any more.
    kept = done("evaluate", tmp_path / "other", beir)
    assert kept["metrics"] == pytest.approx(first["after"])
    assert "96 texts have no vector" in run("evaluate", tmp_path / "other", beir, "--split", "train").output
    refused = run("fit", beir, "-e", "cli_doubles:OtherEncoder", "-o", tmp_path / "x", "--reuse", tmp_path / "absent")
    assert (refused.exit_code, "absent" in refused.output) == (1, True)


def test_a_run_of_another_model_is_not_used_again(beir: Path, tmp_path: Path) -> None:
    done("fit", beir, "-e", ENCODER_PATH, "-o", tmp_path / "out")
    other = "-e", "cli_doubles:OtherEncoder"
    assert (
        "belongs to the encoder" in run("fit", beir, *other, "-o", tmp_path / "b", "--reuse", tmp_path / "out").output
    )
    replaced = run("fit", beir, *other, "-o", tmp_path / "out", "--force")
    assert replaced.exit_code == 0
    assert "are used again" not in replaced.output


def test_fit_says_whether_dev_queries_choose_and_whether_query_maps_are_tried(tmp_path: Path) -> None:
    for name, part in zip(("train", "dev", "test"), animal_dataset().split((0.5, 0.25, 0.25), seed=1), strict=True):
        part.to_beir(tmp_path / "animals", name)
    given = "fit", tmp_path / "animals", "-e", ENCODER_PATH, "-o", tmp_path / "out", "--dry-run"
    with_dev = " ".join(run(*given).output.split())
    assert "30 dev queries choose the step: query maps, which need leave-one-out, are not tried" in with_dev
    without = " ".join(run(*given, "--leave-one-out").output.split())
    assert "90 queries to train on, 30 to test on" in without
    assert "left out in turn to choose among nudges and query maps" in without
    nudge = " ".join(run(*given, "--method", "nudge-n").output.split())
    assert "30 dev queries choose the step." in nudge


def test_what_is_logged_reaches_the_terminal_as_lines_without_escape_sequences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = Lines()
    for name, message in (("nudge_integrations.x", "of \x1b]52;c;aGk=\x07 two\nlines"), ("other", "said")):
        handler.emit(logging.LogRecord(name, logging.WARNING, "", 0, message, (), None))
    assert capsys.readouterr().err == "nudge: of ]52;c;aGk= two lines\nnudge: other: said\n"
    corpus, queries = {"c": "cats purr"}, {f"q{row}": f"who purrs {row}?" for row in range(12)}
    labels = RetrievalDataset(corpus, queries, {query: {"c": 1} for query in queries})
    labels.to_json(tmp_path / "labels.json")
    command = [sys.executable, "-c", "from nudge_integrations.cli import main; main()", "fit", tmp_path / "labels.json"]
    arguments = ["-e", ENCODER_PATH, "-o", tmp_path / "out"]
    helpers = str(Path(__file__).parents[1] / "helpers")
    process = subprocess.run(
        [*map(str, command), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{helpers}:{Path(__file__).parents[2]}"},
    )
    assert all(line.startswith("nudge: ") for line in process.stderr.splitlines()), process.stderr


def test_a_selection_shows_its_stages_with_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    from selection_problems import planted

    shown = io.StringIO()
    monkeypatch.setattr(stages, "tqdm", lambda **options: tqdm(**options, file=shown, mininterval=0))
    select(*planted(0, queries=120), progress=True)
    for words in ("choosing, nudges", "choosing, query maps", " left"):
        assert words in shown.getvalue()
    shown.truncate(0)
    select(*planted(0, queries=120))
    assert not shown.getvalue().strip("\0")
