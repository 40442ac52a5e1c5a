"""``nudge refit``: new labels for a run folder, a required gain, and documents that changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_doubles import ANIMALS, ENCODER_PATH, animal_dataset
from typer.testing import CliRunner

from nudge_integrations import Nudge, RetrievalDataset
from nudge_integrations.cli.app import app
from nudge_integrations.cli.encoders import EncoderChoice, load_encoder
from nudge_integrations.encoding import Encoder
from nudge_integrations.evaluation import RunFolder


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def part(start: int, stop: int, corpus: dict[str, str] | None = None) -> RetrievalDataset:
    data = animal_dataset()
    ids = data.query_ids[start:stop]
    qrels = {query: data.qrels[query] for query in ids}
    return RetrievalDataset(corpus or data.corpus, {query: data.queries[query] for query in ids}, qrels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that was fitted to 40 labels and is tested by 40 others."""
    part(0, 40).to_beir(tmp_path / "beir", "train")
    part(80, 120).to_beir(tmp_path / "beir", "test")
    fit = run("fit", tmp_path / "beir", "-e", ENCODER_PATH, "-o", tmp_path / "run", "--method", "nudge-n")
    assert fit.exit_code == 0, fit.output
    return tmp_path / "run"


def test_new_labels_are_fitted_beside_the_old_ones_and_the_run_is_measured_again(folder: Path, tmp_path: Path) -> None:
    part(40, 80).to_json(tmp_path / "new.json")
    before = Nudge.load(folder)
    done = run("refit", folder, "--labels", tmp_path / "new.json", "-e", ENCODER_PATH, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["changed"], result["new_labels"], result["labels"]) == (True, 40, 80)
    after = RunFolder.load(folder)
    assert after.nudge.fingerprint != before.fingerprint
    assert len(after.train) == 80
    assert after.nudge.labels.since(after.nudge.fingerprint) == ()
    assert {label.source for label in after.nudge.labels.labels} == {"dataset", "feedback"}
    assert run("compare", folder).exit_code == 0


def test_a_dry_run_writes_nothing_and_a_required_gain_that_is_not_there_ends_in_three(
    folder: Path, tmp_path: Path
) -> None:
    part(40, 80).to_json(tmp_path / "new.json")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    given = ("refit", folder, "--labels", tmp_path / "new.json", "-e", ENCODER_PATH)
    assert run(*given, "--dry-run").exit_code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    part(0, 40).to_json(tmp_path / "old.json")
    held = run("refit", folder, "--labels", tmp_path / "old.json", "-e", ENCODER_PATH, "--require-gain")
    assert held.exit_code == 3
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "labels.jsonl"} == {
        name: content for name, content in files.items() if name != "labels.jsonl"
    }


def test_documents_that_changed_are_embedded_and_their_labels_wait(folder: Path, tmp_path: Path) -> None:
    corpus = {name: f"the {name} lives here" for name in ANIMALS if name != "cat"} | {"dog": "a wolf once"}
    lines = (json.dumps({"_id": name, "title": "", "text": text}) + "\n" for name, text in corpus.items())
    (tmp_path / "corpus.jsonl").write_text("".join(lines))
    done = run("refit", folder, "-e", ENCODER_PATH, "--corpus", tmp_path / "corpus.jsonl", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["gone"], result["edited"], result["waiting"]) == (["cat"], ["dog"], 10)
    assert list(RunFolder.load(folder).test.corpus) == list(corpus)


def test_the_model_that_the_folder_names_is_loaded_as_the_options_say(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = RunFolder.load(folder)
    asked: list[EncoderChoice] = []
    replace(kept, result={**kept.result, "encoder": "a-model"}).save(folder)

    def loaded(choice: EncoderChoice) -> Encoder:
        asked.append(choice)
        return load_encoder(EncoderChoice(ENCODER_PATH))

    monkeypatch.setattr("nudge_integrations.cli.refit.load_encoder", loaded)
    done = run("refit", folder, "--cache", tmp_path / "cache", "--device", "cpu", "--batch-size", 7, "--dry-run")
    assert done.exit_code == 0, done.output
    assert asked == [EncoderChoice("a-model", 7, "cpu", tmp_path / "cache")]


def test_a_folder_may_not_say_which_code_to_run(folder: Path) -> None:
    refused = run("refit", folder)
    assert refused.exit_code == 1
    assert "give --encoder" in refused.output
