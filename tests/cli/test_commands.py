"""Every command of ``nudge`` on real files: what it writes and prints, and that a changed byte is refused."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_doubles import ANIMALS, ENCODER, ENCODER_PATH, animal_dataset, animal_folder
from query_maps import asked, map_alone
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli import demo
from nudge_integrations.cli.app import app
from nudge_integrations.cli.apply import ApplyJob
from nudge_integrations.cli.edge_check import EdgeCheck
from nudge_integrations.cli.formats import form_of
from nudge_integrations.cli.measure import measure
from nudge_integrations.cli.vector_files import read_ids
from nudge_integrations.dataset import RetrievalDataset, Splits
from nudge_integrations.errors import CorruptArtifactError, MismatchError
from nudge_integrations.evaluation import RunFolder, compare, evaluate, read_run
from nudge_integrations.solver import solve

NAMES = (
    *("nudge.json", "vectors.safetensors", "ids.jsonl", "test.json", "train.json", "validation.json"),
    *("before.json", "after.json", "embeddings.safetensors", "result.json"),
)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: object) -> Any:
    """Run a command that must succeed, and return what it printed as JSON where that was asked for."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


@pytest.fixture(scope="module")
def beir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return animal_folder(tmp_path_factory.mktemp("data") / "animals")


@pytest.fixture(scope="module")
def fitted(beir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    output = tmp_path_factory.mktemp("fit") / "out"
    return output, done("fit", beir, "-e", ENCODER_PATH, "-o", output, "--method", "nudge-n", "--json")


# --- labels


def test_tables_are_recognised_converted_fitted_and_evaluated(tmp_path: Path) -> None:
    dataset = animal_dataset()
    rows = [
        {"user_input": dataset.queries[query], "reference_contexts": [dataset.corpus[i] for i in grades]}
        for query, grades in dataset.qrels.items()
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    cells = (f"{row['user_input']},{row['reference_contexts'][0]}\n" for row in rows)
    (tmp_path / "rows.csv").write_text("ask,tell\n" + "".join(cells))
    for name in ("rows.jsonl", "rows.json"):
        assert form_of(tmp_path / name) == "table"
        assert done("convert", tmp_path / name, tmp_path / "qa.json", "--json")["judgements"] == 120
    keys = ["--question-key", "ask", "--doc-ids-key", "tell"]
    assert done("convert", tmp_path / "rows.csv", tmp_path / "qa.json", "--json", *keys)["queries"] == 120
    assert "'ask', 'tell'" in run("convert", tmp_path / "rows.csv", tmp_path / "qa.json").output
    assert "can only be read" in run("convert", tmp_path / "qa.json", tmp_path / "other.csv").output
    fitted = done("fit", tmp_path / "rows.jsonl", "-e", ENCODER_PATH, "-o", tmp_path / "out", "--json")
    assert fitted["queries"] == 24
    assert done("evaluate", tmp_path / "out", tmp_path / "rows.jsonl", "-e", ENCODER_PATH, "--json")["queries"] == 120


# --- fit


def test_fit_prints_a_table_and_writes_the_nudge(beir: Path, tmp_path: Path) -> None:
    text = done("fit", beir, "--encoder", ENCODER_PATH, "--output", tmp_path / "out", "--method", "nudge-n")
    assert "8 documents; 96 queries to train on, 24 to test on" in text
    assert "nDCG@10" in text
    assert Nudge.load(tmp_path / "out").method == "nudge-n"


def test_fit_as_json_prints_one_object(fitted: tuple[Path, dict[str, Any]]) -> None:
    output, result = fitted
    first = ["before", "after", "queries", "method", "step", "signals", "seconds", "status", "differences"]
    assert list(result) == [*first, "dataset", "encoder", "split"]
    assert result["queries"] == 24
    assert 0 <= result["before"]["ndcg@10"] < result["after"]["ndcg@10"] <= 1
    assert result["status"] == "improved"
    assert json.loads((output / "result.json").read_text()) == result


def test_run_folder_holds_labels_vectors_and_rankings_of_the_fit(
    fitted: tuple[Path, dict[str, Any]], beir: Path
) -> None:
    output, result = fitted
    stored = RunFolder.load(output)
    train, test = (RetrievalDataset.from_beir(beir, split) for split in ("train", "test"))
    assert (stored.train.hash, stored.test.hash, stored.validation) == (train.hash, test.hash, None)
    np.testing.assert_array_equal(stored.documents, ENCODER.encode_documents(list(test.corpus.values())))
    np.testing.assert_array_equal(stored.queries, ENCODER.encode_queries(list(test.queries.values())))
    for name, found in (("before", stored.before), ("after", stored.after)):
        assert evaluate(found, test).means == pytest.approx(result[name])
    assert set(path.name for path in output.iterdir()) == {*NAMES, "labels.jsonl"} - {"validation.json"}


def test_a_changed_byte_of_a_run_folder_is_refused(fitted: tuple[Path, dict[str, Any]]) -> None:
    output, _ = fitted
    for path in sorted(set(output.iterdir()) - {output / "labels.jsonl"}):  # whose lines have checksums of their own
        whole = path.read_bytes()
        for position in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
            with pytest.raises(CorruptArtifactError):
                Nudge.load(output)
        path.write_bytes(whole)
    assert Nudge.load(output).ids


def test_fitting_again_replaces_the_run_folder_and_no_other_file(beir: Path, tmp_path: Path) -> None:
    animal_dataset().to_json(tmp_path / "labels.json")
    done("fit", tmp_path / "labels.json", "-e", ENCODER_PATH, "-o", tmp_path / "out", "--cache", tmp_path / "cache")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert RunFolder.load(tmp_path / "out").validation is not None
    again = ("fit", beir, "-e", ENCODER_PATH, "-o", tmp_path / "out", "--cache", tmp_path / "cache")
    refused = run(*again)
    assert refused.exit_code == 1
    assert "holds a nudge already" in refused.stderr
    assert RunFolder.load(tmp_path / "out").validation is not None
    done(*again, "--force")
    assert RunFolder.load(tmp_path / "out").validation is None
    assert set(path.name for path in (tmp_path / "out").iterdir()) == (
        {*NAMES, "labels.jsonl", "notes.txt"} - {"validation.json"}
    )


def test_figures_on_labels_that_a_nudge_has_seen_are_printed_as_such(tmp_path: Path) -> None:
    for part, name in zip(animal_dataset().split((0.6, 0.2, 0.2), seed=1), ("train", "dev", "test"), strict=True):
        part.to_beir(tmp_path / "animals", name)
    given = (tmp_path / "animals", "-e", ENCODER_PATH)
    done("fit", *given, "-o", tmp_path / "out", "--method", "nudge-n")
    said = {}
    for split in ("train", "dev", "test"):
        said[split] = done("evaluate", tmp_path / "out", *given, "--split", split, "--json").get("warning", "")
    assert "was fitted to these labels" in said["train"]
    assert "The step was chosen on these labels" in said["dev"]
    assert not said["test"]
    shown = " ".join(done("evaluate", tmp_path / "out", *given, "--split", "dev").split())
    assert "better than those of new queries" in shown


def test_query_maps_that_would_take_too_long_are_left_out(tmp_path: Path) -> None:
    train, test = animal_dataset().split((0.9, 0.1), seed=1)
    train.to_beir(tmp_path / "animals", "train")
    test.to_beir(tmp_path / "animals", "test")
    done("fit", tmp_path / "animals", "-e", ENCODER_PATH, "-o", tmp_path / "out", "--max-seconds", "0")
    card = done("inspect", tmp_path / "out", "--json")
    assert "left out for want of time" in card["warnings"][-1]


def test_repair_leaves_out_what_is_wrong_and_says_so(tmp_path: Path) -> None:
    dataset = animal_dataset()
    wrong = {**dataset.qrels, "q0": {"cat": 1.0, "unicorn": 1.0}}
    RetrievalDataset(dataset.corpus, dataset.queries, wrong).to_json(tmp_path / "labels.json")
    given = ("fit", tmp_path / "labels.json", "-e", ENCODER_PATH, "-o", tmp_path / "out")
    refused = run(*given)
    assert refused.exit_code == 1
    assert "unicorn" in refused.stderr
    assert not (tmp_path / "out").exists()
    text = done(*given, "--repair")
    assert "Left out of" in text
    assert "unicorn" in text


# --- a save that was interrupted


def test_a_save_killed_at_any_rename_leaves_the_old_run_or_the_new_one_and_no_mix(
    beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, out = tmp_path / "old", tmp_path / "new", tmp_path / "out"
    done("fit", beir, "-e", ENCODER_PATH, "-o", old, "--method", "nudge-n")
    animal_dataset().to_json(tmp_path / "labels.json")
    done("fit", tmp_path / "labels.json", "-e", ENCODER_PATH, "-o", new, "--method", "nudge-n")
    whole = [RunFolder.load(old), RunFolder.load(new)]
    nudge, files = Nudge.load_with_files(new)
    attachments = {name: files[name] for name in set(files) - {"vectors.safetensors", "ids.jsonl"}}
    rename, seen = os.replace, set()
    for survivors in itertools.count():
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(old, out)
        left = iter(range(survivors))

        def dying(source: Any, target: Any, left: Any = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            rename(source, target)

        monkeypatch.setattr(os, "replace", dying)
        killed = False
        try:
            nudge.save(out, attachments=attachments)
        except KeyboardInterrupt:
            killed = True
        monkeypatch.setattr(os, "replace", rename)
        stored = RunFolder.load(out)
        one = whole[stored.test.hash == whole[1].test.hash]
        assert (stored.test.hash, stored.train.hash) == (one.test.hash, one.train.hash)
        assert (stored.before, stored.after, stored.result) == (one.before, one.after, one.result)
        assert (stored.validation is None) is (one.validation is None)
        np.testing.assert_array_equal(stored.queries, one.queries)
        assert stored.nudge.fingerprint == one.nudge.fingerprint
        card = done("inspect", out, "--json")
        assert card["files"] == done("inspect", (old, new)[one is whole[1]], "--json")["files"]
        seen.add(one is whole[1])
        if not killed:
            break
    assert seen == {False, True}


# --- demo


def test_demo_prints_figures_and_edge_check_and_writes_a_run_folder(
    beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = (RetrievalDataset.from_beir(beir, split) for split in ("train", "test"))
    splits = Splits(train, None, test, "animals")
    measured = measure(splits, ENCODER, method="nudge-n")
    check = EdgeCheck(agree=True, queries=24, example="who can purr?", llama_index=("cat",), langchain=("cat",))
    monkeypatch.setattr(demo, "demo_splits", lambda: splits)
    monkeypatch.setattr(demo, "run_demo", lambda *_: (measured, check))
    text = " ".join(done("demo", "--output", tmp_path / "out").split())
    for words in ("nDCG@10", "Time: embedding", "Ranks of the relevant document", "the same documents for 24 queries"):
        assert words in text
    assert RunFolder.load(tmp_path / "out").result["retrievers_agree"] is True
    result = done("demo", "--json")
    assert list(result) == ["before", "after", "queries", "method", "step", "signals", "seconds", "retrievers_agree"]


def test_demo_checks_both_frameworks(beir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llama_index.core")
    pytest.importorskip("langchain_core")
    train, test = (RetrievalDataset.from_beir(beir, split) for split in ("train", "test"))
    monkeypatch.setattr(demo, "demo_splits", lambda: Splits(train, None, test, "animals"))
    monkeypatch.setattr(demo, "SentenceTransformerEncoder", lambda _: ENCODER)
    assert done("demo", "--json")["retrievers_agree"] is True


# --- evaluate


def test_four_ways_to_the_same_figures(fitted: tuple[Path, dict[str, Any]], beir: Path, tmp_path: Path) -> None:
    output, result = fitted
    ours = done("evaluate", output, "--json")
    assert ours == {"metrics": result["after"], "queries": 24}
    assert done("evaluate", output, "--base", "--json")["metrics"] == result["before"]

    given = ("evaluate", output, beir, "-e", ENCODER_PATH, "--run", tmp_path / "run.trec", "--json")
    assert done(*given)["metrics"] == pytest.approx(result["after"])
    assert done("evaluate", tmp_path / "run.trec", beir, "--json") == ours
    assert done("evaluate", output / "after.json", beir, "--json") == ours

    done("convert", beir, tmp_path / "test.qrels")
    files = [str(tmp_path / name) for name in ("test.qrels", "run.trec")]
    command = [sys.executable, "-m", "ir_measures", *files, "nDCG@10", "R@10"]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()
    assert dict(zip(theirs[::2], theirs[1::2], strict=True)) == {
        "nDCG@10": f"{result['after']['ndcg@10']:.4f}",
        "R@10": f"{result['after']['recall@10']:.4f}",
    }


def test_the_figure_that_the_step_was_chosen_by_is_what_solve_says(fitted: tuple[Path, dict[str, Any]]) -> None:
    stored = RunFolder.load(fitted[0])
    learned = ENCODER.encode_queries(list(stored.train.queries.values()))
    relevance = stored.train.relevance(document_ids=stored.test.document_ids)
    solution = solve(stored.documents, learned, relevance, method="nudge-n")
    card = done("inspect", fitted[0], "--json")
    assert (card["step"], card["baseline"], card["score"]) == (solution.step, solution.baseline, solution.score)


def test_evaluate_takes_other_metrics(fitted: tuple[Path, dict[str, Any]]) -> None:
    found = done("evaluate", fitted[0], "--metric", "map@5", "--metric", "hit@3", "--json")
    assert list(found["metrics"]) == ["map@5", "hit@3"]


def test_evaluate_says_which_labels_the_fit_knows_already(tmp_path: Path) -> None:
    train, dev, test = animal_dataset().split((0.6, 0.2, 0.2), seed=1)
    for name, part in (("train", train), ("dev", dev), ("test", test)):
        part.to_beir(tmp_path / "animals", name)
    source = tmp_path / "out"
    done("fit", tmp_path / "animals", "-e", ENCODER_PATH, "-o", source, "--method", "nudge-n")
    for split, words in (("dev", "step was chosen on these"), ("train", "was fitted to these"), ("test", "")):
        arguments = ("evaluate", source, tmp_path / "animals", "-e", ENCODER_PATH, "--split", split)
        assert words in done(*arguments)
        assert words in done(*arguments, "--json").get("warning", "")
        assert ("warning" in done(*arguments, "--json")) == bool(words)


def test_a_rank_below_100_that_the_files_hold_is_printed(tmp_path: Path) -> None:
    corpus = {f"d{row}": f"document {row}" for row in range(200)}
    RetrievalDataset(corpus, {"q": "?"}, {"q": {"d161": 1}}).to_json(tmp_path / "labels.json")
    (tmp_path / "before.json").write_text(json.dumps({"q": list(corpus)}))
    (tmp_path / "after.json").write_text(json.dumps({"q": ["d161"]}))
    files = (tmp_path / "before.json", tmp_path / "after.json")
    shown = done("compare", *files, "--dataset", tmp_path / "labels.json", "--resamples", "10")
    assert "162 -> 1" in shown
    (tmp_path / "before.json").write_text(json.dumps({"q": ["d1", "d2"]}))
    shown = done("compare", *files, "--dataset", tmp_path / "labels.json", "--resamples", "10")
    assert "not found -> 1" in shown


def test_runs_survive_both_forms(fitted: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    stored = RunFolder.load(fitted[0])
    for name in ("run.json", "run.trec"):
        done("evaluate", fitted[0], "--run", tmp_path / name)
        again = {query: list(found) for query, found in read_run(tmp_path / name).items()}
        assert again == {query: list(found) for query, found in stored.after.items()}


# --- compare


def test_a_fit_is_compared_with_its_base(fitted: tuple[Path, dict[str, Any]], beir: Path) -> None:
    stored = RunFolder.load(fitted[0])
    expected = compare(stored.before, stored.after, stored.test, train=stored.train, query_vectors=stored.queries)
    assert done("compare", fitted[0], "--json") == json.loads(json.dumps(expected.to_dict()))
    text = done("compare", fitted[0])
    assert "24 queries" in text
    assert "whether the relevant document has training labels" in text
    assert run("compare", fitted[0], "--require-gain").exit_code == 0
    files = [fitted[0] / name for name in ("before.json", "after.json")]
    assert done("compare", *files, "--dataset", beir, "--json")["metrics"] == expected.to_dict()["metrics"]


def test_a_fit_is_no_better_than_itself(fitted: tuple[Path, dict[str, Any]]) -> None:
    result = run("compare", fitted[0], fitted[0], "--json", "--require-gain")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert {one["difference"] for one in found["metrics"].values()} == {0.0}
    assert {one["p_adjusted"] for one in found["metrics"].values()} == {1.0}
    assert found["moved"] == []


# --- report


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("report.html", "<!doctype html>"),
        ("report.md", "nDCG@10"),
        ("report.tex", "tabular"),
        ("report.csv", "query"),
        ("report.json", '"metrics"'),
    ],
)
def test_report_is_written_in_the_form_of_its_name(
    name: str, words: str, fitted: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    text = done("report", fitted[0], "--output", tmp_path / name, "--resamples", "100")
    assert name in text.replace("\n", "")
    assert words in (tmp_path / name).read_text(encoding="utf-8")


def test_report_shows_the_figures_of_the_fit(fitted: tuple[Path, dict[str, Any]]) -> None:
    output, result = fitted
    found = done("report", output, "--json")
    assert {metric: one["after"] for metric, one in found["metrics"].items()} == pytest.approx(result["after"])
    assert found["projection"] is not None
    assert found["drift"]["moved"] == 8
    assert found["curve"]["step"] == result["step"]
    assert "nDCG@10" in done("report", output)


# --- inspect


def test_inspect_names_origin_integrity_and_largest_moves(fitted: tuple[Path, dict[str, Any]]) -> None:
    nudge = Nudge.load(fitted[0])
    card = done("inspect", fitted[0], "--top", "3", "--json")
    assert card["intact"] is True
    assert set(card["files"]) == {path.name for path in fitted[0].iterdir()} - {"nudge.json", "labels.jsonl"}
    assert (card["encoder"], card["dataset_hash"]) == ("words", nudge.dataset_hash)
    cosines = np.einsum("ij,ij->i", nudge.vectors, nudge.base)
    largest = np.degrees(np.arccos(np.sort(cosines)[:3]))
    assert [move["degrees"] for move in card["moves"]] == pytest.approx(largest.tolist(), abs=1e-3)
    text = done("inspect", fitted[0])
    assert "every checksum fits" in text
    assert "cat" in text


# --- apply


def test_no_bars_are_drawn_off_a_terminal(beir: Path, tmp_path: Path) -> None:
    given = ("-e", ENCODER_PATH, "-o", tmp_path / "out", "--method", "nudge-n", "--cache", tmp_path / "cache")
    assert run("fit", beir, *given).stderr == ""
    np.save(tmp_path / "vectors.npy", ENCODER.encode_documents(["the cat lives here"]))
    (tmp_path / "ids.txt").write_text("cat")
    arguments = (tmp_path / "out", tmp_path / "vectors.npy", "--ids", tmp_path / "ids.txt", "-o", tmp_path / "new.npy")
    assert run("apply", *arguments).stderr == ""


def test_ids_end_at_newlines_alone_and_those_without_a_vector_are_said(
    fitted: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    names = ["cat", *(f"{sign}d{sign}" for sign in "\u2028\x85\x0b\x0c\x1c")]
    (tmp_path / "ids.txt").write_bytes("\r\n".join(names).encode())
    np.save(tmp_path / "vectors.npy", ENCODER.encode_documents(["the cat lives here"] * len(names)))
    assert read_ids(tmp_path / "ids.txt") == names
    arguments = (fitted[0], tmp_path / "vectors.npy", "--ids", tmp_path / "ids.txt", "-o", tmp_path / "new.npy")
    shown = " ".join(done("apply", *arguments).split())
    assert "7 of the 8 documents that it moves are not among the ids" in shown


@pytest.mark.parametrize("source", ["vectors.npy", "vectors.safetensors"])
@pytest.mark.parametrize("target", ["nudged.npy", "nudged.safetensors"])
@pytest.mark.parametrize("ids", ["ids.txt", "ids.json", "corpus.jsonl"])
def test_apply_writes_what_the_nudge_says(
    source: str, target: str, ids: str, fitted: tuple[Path, dict[str, Any]], beir: Path, tmp_path: Path
) -> None:
    base = ENCODER.encode_documents([f"the {name} lives here" for name in ANIMALS])
    np.save(tmp_path / "vectors.npy", base.astype(np.float16))
    save_file({"any": base}, tmp_path / "vectors.safetensors")
    (tmp_path / "ids.txt").write_text("".join(f"{name}\n" for name in ANIMALS))
    (tmp_path / "ids.json").write_text(json.dumps(ANIMALS))
    (tmp_path / "corpus.jsonl").write_bytes((beir / "corpus.jsonl").read_bytes())
    output = tmp_path / "new" / target
    given = (tmp_path / source, "--ids", tmp_path / ids, "--output", output)
    result = done("apply", fitted[0], *given, "--json")
    assert (result["moved"], result["vectors"], result["dimension"], result["absent"]) == (8, 8, 32, 0)
    written = np.load(output) if output.suffix == ".npy" else load_file(output)["vectors"]
    assert written.dtype == np.float32
    np.testing.assert_allclose(written, Nudge.load(fitted[0]).apply(ANIMALS, base), atol=1e-3)
    assert [path.name for path in output.parent.iterdir()] == [target]


def test_vectors_that_were_nudged_already_leave_the_output_alone(
    fitted: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    base = ENCODER.encode_documents([f"the {name} lives here" for name in ANIMALS])
    np.save(tmp_path / "nudged.npy", Nudge.load(fitted[0]).apply(ANIMALS, base))
    (tmp_path / "ids.txt").write_text("\n".join(ANIMALS))
    (tmp_path / "out.npy").write_bytes(b"kept")
    given = ("apply", fitted[0], tmp_path / "nudged.npy", "--ids", tmp_path / "ids.txt", "-o", tmp_path / "out.npy")
    for refused in (run(*given), run(*given, "--dry-run")):
        assert refused.exit_code == 1
        assert "nudged already" in refused.stderr.splitlines()[-1]
    assert (tmp_path / "out.npy").read_bytes() == b"kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids.txt", "nudged.npy", "out.npy"]


def test_a_nudge_that_only_maps_queries_is_inspected_evaluated_and_applied(
    fitted: tuple[Path, dict[str, Any]], beir: Path, tmp_path: Path
) -> None:
    nudge = map_alone(Nudge.load(fitted[0]))
    nudge.save(tmp_path / "map")
    assert "go through a query map" in done("inspect", tmp_path / "map")
    test = RetrievalDataset.from_beir(beir, "test")
    documents = ENCODER.encode_documents(list(test.corpus.values()))
    queries = ENCODER.encode_queries(list(test.queries.values()))
    turned = asked(nudge, queries)
    assert done("evaluate", tmp_path / "map", beir, "-e", ENCODER_PATH, "--json")["metrics"] == pytest.approx(
        dict(evaluate((documents, turned), test).means)
    )
    np.save(tmp_path / "queries.npy", queries)
    for folder, expected in ((tmp_path / "map", turned), (fitted[0], queries)):
        given = ("apply", folder, tmp_path / "queries.npy", "--queries", "-o", tmp_path / "out.npy", "--json")
        assert done(*given)["query_map"] is (folder != fitted[0])
        np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-6)
    assert f"{len(queries)} queries mapped" in done(*given[:1], tmp_path / "map", *given[2:-1], "--dry-run")
    np.save(tmp_path / "documents.npy", documents)
    (tmp_path / "ids.txt").write_text("\n".join(test.corpus))
    text = done("apply", tmp_path / "map", tmp_path / "documents.npy", "--ids", tmp_path / "ids.txt", *given[4:6])
    assert "0 of 8 vectors moved" in text
    assert "queries go through a map" in text
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), documents, atol=1e-6)


# --- convert


def test_labels_survive_all_forms(tmp_path: Path) -> None:
    corpus = {"d1": "cats purr", "d2": "dogs bark"}
    dataset = RetrievalDataset(corpus, {"q": "who?", "r": "what?"}, {"q": {"d1": 2.0, "d2": 1.0}, "r": {"d2": 1.0}})
    dataset.to_json(tmp_path / "a.json")
    done("convert", tmp_path / "a.json", tmp_path / "beir", "--split", "train")
    done("convert", tmp_path / "beir", tmp_path / "b.jsonl", "--split", "train")
    lines = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert [line["outputs"]["doc_ids"] for line in lines] == [{"d1": 2.0, "d2": 1.0}, ["d2"]]
    (tmp_path / "list.json").write_text(json.dumps(lines))
    for source in ("b.jsonl", "list.json"):
        found = done("convert", tmp_path / source, tmp_path / "c.json", "--corpus", tmp_path / "beir", "--json")
        assert (found["from"], found["to"], found["queries"], found["judgements"]) == ("langsmith", "qa", 2, 3)
        assert (tmp_path / "c.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    done("convert", tmp_path / "c.json", tmp_path / "labels", "--to", "qrels")
    assert (tmp_path / "labels").read_text() == "q 0 d1 2\nq 0 d2 1\nr 0 d2 1\n"


def test_examples_may_call_things_by_other_names(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"inputs": {"q": "who?"}, "outputs": {"ids": ["d1"]}}\n')
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "cats"}\n')
    keys = ("--question-key", "q", "--doc-ids-key", "ids")
    done("convert", tmp_path / "a.jsonl", tmp_path / "b.json", "--corpus", tmp_path / "corpus.jsonl", *keys)
    assert list(RetrievalDataset.from_json(tmp_path / "b.json").queries.values()) == ["who?"]


# --- generate


def test_questions_are_generated_and_paid_for_once(beir: Path, tmp_path: Path) -> None:
    output = tmp_path / "questions.json"
    given = ("generate", beir, "--output", output, "--llm")
    report = done(*given, "cli_doubles:ask", "--round-trip", "1", "-e", ENCODER_PATH, "--json")
    assert (report["documents"], report["questions"], report["resumed"]) == (8, 16, 0)
    dataset = RetrievalDataset.from_json(output)
    assert len(dataset) == report["kept"]
    assert dataset.queries[next(query for query, grades in dataset.qrels.items() if "owl" in grades)].endswith(
        "owl live?"
    )
    again = done(*given, "cli_doubles:broken", "--json")  # nothing is left to ask
    assert again["resumed"] == 8


def test_a_model_that_is_down_is_reported_in_one_line(beir: Path, tmp_path: Path) -> None:
    failed = run("generate", beir, "--llm", "cli_doubles:broken", "--output", tmp_path / "out.json", "--retries", "0")
    assert failed.exit_code == 1
    assert "no route to the model" in failed.stderr.splitlines()[-1]
    assert not (tmp_path / "out.json").exists()


def test_a_block_of_edited_documents_alone_is_no_reason_to_refuse_a_whole_file(
    fitted: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nudge_integrations.cli.apply.BLOCK_ROWS", 2)
    nudge, base = Nudge.load(fitted[0]), ENCODER.encode_documents([f"the {name} lives here" for name in ANIMALS])
    base[:2] = ENCODER.encode_documents(["another text", "yet another"])
    written = np.concatenate(list(ApplyJob(nudge, ANIMALS, base).blocks()))
    np.testing.assert_array_equal(written, nudge.apply(ANIMALS, base))
    base[:6] = -base[:6]
    with pytest.raises(MismatchError, match="from another model"):
        next(ApplyJob(nudge, ANIMALS, base).blocks())
