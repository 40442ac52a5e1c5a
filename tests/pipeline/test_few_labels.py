"""`nudge fit` with as few labels as people begin with: it ends well, and leaves the run and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_doubles import ENCODER_PATH
from typer.testing import CliRunner

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.app import app
from nudge_integrations.dataset import RetrievalDataset


@pytest.mark.parametrize("labels", [5, 10, 14, 15, 20])
def test_nudge_fit_works_with_few_labels_and_leaves_no_temporary_files(tmp_path: Path, labels: int) -> None:
    corpus = {f"d{number}": f"document {number} about topic {number % 7}" for number in range(40)}
    queries = {f"q{number}": f"topic {number % 7}, which is {number}?" for number in range(labels)}
    dataset = RetrievalDataset(corpus, queries, {query: {f"d{row % 9}": 1} for row, query in enumerate(queries)})
    dataset.to_beir(tmp_path / "data", "train")
    output = tmp_path / "out"
    result = CliRunner().invoke(app, ["fit", str(tmp_path / "data"), "-e", ENCODER_PATH, "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert not [name for name in os.listdir(output) if name.startswith(".")]
    loaded = Nudge.load(output)
    assert str(loaded).startswith("Nudge(")
