"""`nudge init` and `nudge doctor`: what a newcomer runs first."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cli_doubles import ENCODER_PATH, animal_folder
from typer.testing import CliRunner

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.app import app
from nudge_integrations.cli.estimate import estimate
from nudge_integrations.dataset import Splits


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    animal_folder(tmp_path / "animals")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_finds_the_data_and_fit_takes_the_file(folder: Path) -> None:
    result = run("init", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["dataset"] == "animals"
    text = (folder / "nudge.toml").read_text(encoding="utf-8")
    options = tomllib.loads(text)["fit"]
    assert options["dataset"] == "animals"
    assert "8 documents; 96 labelled queries to learn from, 24 to test on" in text
    assert sum(line.startswith("#") for line in text.splitlines()) >= 6
    fitted = run("fit", "--config", "nudge.toml", "--encoder", ENCODER_PATH, "--method", "nudge-n")
    assert fitted.exit_code == 0, fitted.output
    assert Nudge.load(options["output"]).method == "nudge-n"


def test_every_commented_option_is_one(folder: Path) -> None:
    assert run("init").exit_code == 0
    lines = (folder / "nudge.toml").read_text(encoding="utf-8").splitlines()
    plain = [line.removeprefix("# ") if " = " in line and line.startswith("# ") else line for line in lines]
    (folder / "all.toml").write_text("\n".join(plain), encoding="utf-8")
    result = run("fit", "--config", "all.toml", "--encoder", ENCODER_PATH, "--dry-run")
    assert result.exit_code == 0, result.output


def test_init_keeps_what_is_there(folder: Path) -> None:
    (folder / "nudge.toml").write_text("mine", encoding="utf-8")
    refused = run("init")
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert (folder / "nudge.toml").read_text(encoding="utf-8") == "mine"
    assert "[fit]" in run("init", "--dry-run").output
    assert (folder / "nudge.toml").read_text(encoding="utf-8") == "mine"
    assert run("init", "--force").exit_code == 0
    animal_folder(folder / "others")
    several = run("init", "--force")
    assert several.exit_code == 1
    assert "animals, others" in several.output


def test_doctor_says_what_is_there_and_what_a_fit_would_cost(folder: Path) -> None:
    bare = run("doctor")
    assert bare.exit_code == 0, bare.output
    assert "extras installed" in bare.output
    result = run("doctor", "animals", "--encoder", ENCODER_PATH, "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["extras"]["cli"] is True
    assert content["machine"]["python"].startswith("3.")
    assert content["data"]["documents"] == 8
    assert content["data"]["problems"] == {"train": 0, "test": 0}
    assert content["model"]["ready"] is True
    assert content["fit"]["embedding_seconds"] >= 0
    assert content["fit"]["in_words"].startswith("about ")
    assert not [path for path in folder.iterdir() if path.name != "animals"]


def test_an_estimate_grows_with_the_labels(folder: Path) -> None:
    splits = Splits.read("animals")
    assert estimate(splits).embedding is None
    assert 0 < estimate(splits).fitting < 60
