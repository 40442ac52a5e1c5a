"""BM25 beside the vectors, from the command line: fitted, shown, evaluated, and served alike by both edges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_doubles import ANIMALS, CODELESS
from typer.testing import CliRunner

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.app import app
from nudge_integrations.cli.edge_check import check_edges
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.evaluation import RunFolder
from nudge_integrations.langchain import NudgeRetriever, to_documents

pytest.importorskip("bm25s")

ENCODER_PATH = "cli_doubles:CODELESS"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def coded_dataset() -> RetrievalDataset:
    """Documents about one animal differ by their codes alone, which the encoder does not see."""
    corpus = {f"{name}{code}": f"the {name} of type x{code}" for name in ANIMALS for code in range(20, 26)}
    queries = {
        f"{document}-{i}": f"{('where', 'how', 'when')[i]} is {text}"
        for i in range(3)
        for document, text in corpus.items()
    }
    return RetrievalDataset(corpus, queries, {query: {query.split("-")[0]: 1.0} for query in queries})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "coded"
    train, test = coded_dataset().split((0.8, 0.2), seed=1)
    train.to_beir(folder, "train")
    test.to_beir(folder, "test")
    return folder


@pytest.fixture(scope="module")
def fitted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    output = tmp_path_factory.mktemp("fit") / "out"
    arguments = "fit", folder, "-e", ENCODER_PATH, "-o", output, "--method", "nudge-n"
    result = run(*arguments, "--signals", "bm25", "--json")
    assert result.exit_code == 0, result.output
    return output, json.loads(result.stdout)


def test_fit_adds_bm25_and_measures_what_is_served(fitted: tuple[Path, dict[str, Any]]) -> None:
    output, result = fitted
    nudge = Nudge.load(output)
    assert nudge.fusion is not None
    assert result["signals"] == dict(nudge.fusion.weights)
    assert result["after"]["ndcg@10"] > result["before"]["ndcg@10"] + 0.2


def test_both_edges_and_the_command_line_find_the_same_documents(fitted: tuple[Path, dict[str, Any]]) -> None:
    output, _ = fitted
    kept = RunFolder.load(output)
    assert check_edges(output, CODELESS, kept.test).agree
    retriever = NudgeRetriever.from_artifact(output, CODELESS, to_documents(kept.test), k=10)
    for query, text in kept.test.queries.items():
        assert [document.id for document in retriever.invoke(text)] == list(kept.after[query][:10])


def test_plain_fit_says_what_bm25_would_add(folder: Path, tmp_path: Path) -> None:
    result = run("fit", folder, "-e", ENCODER_PATH, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "BM25 would add +" in result.output
    assert "fit with --signals bm25" in " ".join(result.output.split())
    nudge = Nudge.load(tmp_path / "out")
    assert nudge.fusion is None
    assert "not served: ask for it with signals=('bm25',)" in str(nudge)


def test_evaluate_adds_the_signals_too(fitted: tuple[Path, dict[str, Any]], folder: Path) -> None:
    output, result = fitted
    for arguments in ((output,), (output, folder, "-e", ENCODER_PATH)):
        found = run("evaluate", *arguments, "--metric", "ndcg@10", "--json")
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["metrics"] == pytest.approx({"ndcg@10": result["after"]["ndcg@10"]})


def test_inspect_and_apply_name_the_signals(fitted: tuple[Path, dict[str, Any]]) -> None:
    output, result = fitted
    shown = run("inspect", output, "--json")
    assert json.loads(shown.stdout)["fusion"]["weights"] == result["signals"]
    assert "dense + " in run("inspect", output).stdout


def test_config_file_names_one_signal_or_several(folder: Path, tmp_path: Path) -> None:
    for number, value in enumerate(('"bm25"', '["bm25:de"]')):
        config = tmp_path / f"{number}.toml"
        config.write_text(f'[fit]\nsignals = {value}\nmethod = "nudge-n"\n')
        output = tmp_path / f"out{number}"
        result = run("fit", folder, "-e", ENCODER_PATH, "-o", output, "--config", config)
        assert result.exit_code == 0, result.output
        fusion = Nudge.load(output).fusion
        assert fusion is not None
        assert fusion.lexical is not None
        assert fusion.lexical["language"] == ("en", "de")[number]


@pytest.mark.parametrize("name", ["bm52", "bm25:", "colbert"])
def test_unknown_signal_is_refused_before_anything_is_encoded(folder: Path, tmp_path: Path, name: str) -> None:
    result = run("fit", folder, "-e", "cli_doubles:missing", "-o", tmp_path / "out", "--signals", name, "--dry-run")
    assert result.exit_code != 0
    assert f"unknown signal {name!r}" in " ".join(result.output.split())
