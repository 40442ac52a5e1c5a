"""``nudge feedback``: a log written, looked at and turned into labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from nudge_integrations import RetrievalDataset
from nudge_integrations.cli.app import app


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_verdicts_are_added_looked_at_and_become_labels_with_weights(tmp_path: Path) -> None:
    log, corpus, output = tmp_path / "log.jsonl", tmp_path / "corpus.jsonl", tmp_path / "labels.json"
    texts = {"cats": "cats purr", "dogs": "dogs bark", "cows": "cows moo"}
    corpus.write_text("".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items()))
    assert run("feedback", "add", log, "who purrs?", "cats", "yes").exit_code == 0
    assert run("feedback", "add", log, "who purrs?", "dogs", "no").exit_code == 0
    assert run("feedback", "add", log, "who moos?", "dogs", "correction", "--instead", "cows").exit_code == 0
    assert run("feedback", "add", log, "who sings?", "birds", "yes").exit_code == 0

    stats = run("feedback", "stats", log, "--json")
    assert stats.exit_code == 0, stats.output
    (week,) = json.loads(stats.stdout)["by week"]
    assert (week["source"], week["yes"], week["no"]) == ("command line", 3, 2)
    refused = run("fit", log, "--encoder", "nowhere", "--output", tmp_path / "run")
    assert refused.exit_code != 0
    assert "nudge feedback convert" in refused.output + str(refused.stderr) + str(refused.exception)

    done = run("feedback", "convert", log, "--corpus", corpus, "--output", output, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["queries"], result["labels"]) == (2, 4)
    assert sum(result["left_out"].values()) == 1  # the bird that the corpus does not hold
    dataset = RetrievalDataset.from_json(output)
    named = {dataset.queries[query]: dict(grades) for query, grades in dataset.qrels.items()}
    assert named == {"who purrs?": {"cats": 1, "dogs": -1}, "who moos?": {"dogs": -1, "cows": 1}}
    assert set(json.loads(Path(result["weights"]).read_text())) <= set(dataset.queries)


def test_what_is_no_verdict_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    done = run("feedback", "add", tmp_path / "log.jsonl", "who purrs?", "cats", "maybe")
    assert done.exit_code != 0
    assert "'maybe'" in done.output + str(done.stderr)
    assert not list(tmp_path.iterdir())
