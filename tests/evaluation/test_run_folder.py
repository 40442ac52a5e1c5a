"""A run folder in Python, without the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_doubles import ENCODER, animal_dataset

from nudge_integrations.artifact import Nudge
from nudge_integrations.errors import CorruptArtifactError, DatasetError, InputError
from nudge_integrations.evaluation import RunFolder, compare, evaluate
from nudge_integrations.pipeline import fit


@pytest.fixture(scope="module")
def run() -> RunFolder:
    train, validation, test = animal_dataset().split((0.6, 0.2, 0.2), seed=1)
    documents = ENCODER.encode_documents(list(test.corpus.values()))
    queries = ENCODER.encode_queries(list(test.queries.values()))
    nudge = fit(train, ENCODER, validation=validation, method="nudge-n")
    before = evaluate((documents, queries), test).rankings
    after = evaluate((nudge.apply(test.document_ids, documents), queries), test).rankings
    return RunFolder(nudge, {"dataset": "animals"}, train, validation, test, before, after, documents, queries)


def test_a_saved_run_comes_back_whole(run: RunFolder, tmp_path: Path) -> None:
    run.save(tmp_path / "run")
    loaded = RunFolder.load(tmp_path / "run")
    assert loaded.nudge.fingerprint == run.nudge.fingerprint == Nudge.load(tmp_path / "run").fingerprint
    assert loaded.validation is not None
    assert run.validation is not None
    for ours, theirs in ((loaded.train, run.train), (loaded.validation, run.validation), (loaded.test, run.test)):
        assert ours.hash == theirs.hash
    np.testing.assert_array_equal(loaded.documents, run.documents)
    np.testing.assert_array_equal(loaded.queries, run.queries)
    assert loaded.after == {query: list(ranking) for query, ranking in run.after.items()}


def test_its_comparison_and_report_are_those_of_its_parts(run: RunFolder) -> None:
    expected = compare(run.before, run.after, run.test, train=run.train, query_vectors=run.queries, resamples=100)
    assert run.compare(resamples=100).to_dict() == expected.to_dict()
    report = run.report(run.compare(["hit@1"], resamples=100), title="Animals")
    assert (report.title, [one.metric for one in report.differences]) == ("Animals", ["hit@1"])
    assert ("Data", "animals") in report.card
    assert [one.metric for one in run.report().differences] == run.metrics


def test_a_nudge_alone_is_no_run(run: RunFolder, tmp_path: Path) -> None:
    run.nudge.save(tmp_path / "nudge")
    with pytest.raises(DatasetError, match=r"no test\.json"):
        RunFolder.load(tmp_path / "nudge")


@pytest.mark.parametrize("name", ["test.json", "train.json", "before.json", "embeddings.safetensors"])
def test_attachments_of_another_form_are_refused_as_corrupt(name: str, run: RunFolder, tmp_path: Path) -> None:
    run.save(tmp_path / "run")
    nudge, files = Nudge.load_with_files(tmp_path / "run")
    nudge.save(tmp_path / "run", attachments={**_attachments(files), name: b"[1, "})
    with pytest.raises(CorruptArtifactError, match="whole run"):
        RunFolder.load(tmp_path / "run")


def test_a_target_is_refused_only_for_files_of_another_origin(run: RunFolder, tmp_path: Path) -> None:
    RunFolder.check_target(tmp_path / "absent")
    run.save(tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    RunFolder.check_target(tmp_path / "run")
    replace(run, validation=None).save(tmp_path / "run")
    (tmp_path / "run" / "validation.json").write_text("mine")
    with pytest.raises(InputError, match=r"validation\.json of another origin"):
        RunFolder.check_target(tmp_path / "run")
    with pytest.raises(InputError, match="is a file"):
        RunFolder.check_target(tmp_path / "run" / "notes.txt")


def _attachments(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name not in {"vectors.safetensors", "ids.jsonl"}}
