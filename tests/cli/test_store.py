"""``nudge store`` on real stores: fitted, planned, applied, verified and rolled back from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_doubles import ANIMALS, ENCODER, ENCODER_PATH, animal_folder
from live_stores import KINDS
from typer.testing import CliRunner

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.app import app
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.stores.store import fetched

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

# How the command line names what `live_stores` fills.
NAMED: dict[str, Callable[[Path, Any], list[object]]] = {
    "lancedb": lambda folder, held: [folder / "lance", "-c", "documents"],
    "pgvector": lambda folder, held: [held, "-c", "documents"],
    "faiss": lambda folder, held: [folder / "index", "--ids", folder / "ids"],
}


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["store", *map(str, arguments)])


def done(*arguments: object) -> dict[str, Any]:
    """Run a command that must succeed, with and without ``--json``, and return its JSON."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("name", NAMED)
def test_whole_life_of_a_nudge(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUDGE_JOURNALS", str(tmp_path / "journals"))
    kind = next(kind for kind in KINDS if kind.name == name)
    labels = animal_folder(tmp_path / "animals")
    texts = RetrievalDataset.from_beir(labels, "test").corpus
    assert list(texts) == list(ANIMALS)
    vectors = ENCODER.encode_documents(list(texts.values()))
    store = NAMED[name](tmp_path, kind.fill(tmp_path, ANIMALS, vectors))
    nudge = tmp_path / "nudged"
    fitted = done("fit", store[0], labels, *store[1:], "-e", ENCODER_PATH, "-o", nudge, "--method", "nudge-n")
    assert fitted["after"] > fitted["before"]

    planned = done("plan", *store, "--nudge", nudge)
    assert (planned["rows"], planned["count"]) == (len(Nudge.load(nudge)), len(ANIMALS))
    assert planned["prediction"]["after"] > planned["prediction"]["before"]
    read = done("plan", *store, "--nudge", nudge, "--labels", labels, "-e", ENCODER_PATH)
    assert read["prediction"]["queries"] == 24
    assert run("status", *store).exit_code == 1

    applied = done("apply", *store, "--nudge", nudge)
    assert (applied["state"], applied["skipped"]) == ("applied", {})
    assert applied["canary"]["found"] == pytest.approx(planned["prediction"]["after"])
    assert Path(applied["journal"]).is_relative_to(tmp_path / "journals")
    assert (done("verify", *store)["at_target"], done("status", *store)["state"]) == (planned["rows"], "applied")
    live = kind.open(tmp_path, store[0] if name == "pgvector" else None)
    there, rows = fetched(live.adapter, list(ANIMALS))
    assert there.all()
    np.testing.assert_allclose(rows, Nudge.load(nudge).apply(list(ANIMALS), vectors), atol=1e-5)
    live.close()

    assert done("resume", *store)["state"] == "applied"
    assert done("rollback", *store)["state"] == "rolled back"
    assert "8 at their base" in run("verify", *store).output


def test_errors_say_what_came_and_what_to_do(tmp_path: Path) -> None:
    for address, options, words in (
        (tmp_path, (), "is no store that is known"),
        ("ftp://there", (), "is no store that is known"),
        ("postgresql://there", (), "give the name of the table"),
        (tmp_path, ("--ranking", "near"), "--ranking must be"),
        (tmp_path, ("--where", "tenant"), "expected key=value"),
    ):
        result = run("status", address, *options)
        assert (result.exit_code, result.output.count("\n")) == (1, 1)
        assert words in result.output


def test_a_row_that_is_not_where_it_should_be_is_an_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUDGE_JOURNALS", str(tmp_path / "journals"))
    kind, labels = next(kind for kind in KINDS if kind.name == "faiss"), animal_folder(tmp_path / "animals")
    texts = RetrievalDataset.from_beir(labels, "test").corpus
    vectors = ENCODER.encode_documents(list(texts.values()))
    store = NAMED["faiss"](tmp_path, kind.fill(tmp_path, ANIMALS, vectors))
    done("fit", store[0], labels, *store[1:], "-e", ENCODER_PATH, "-o", tmp_path / "nudged", "--method", "nudge-n")
    done("apply", *store, "--nudge", tmp_path / "nudged")
    kind.fill(tmp_path, ANIMALS, vectors)  # restored from a backup by somebody
    result = run("verify", *store)
    assert result.exit_code == 1
    assert "not as it should be" in result.output
