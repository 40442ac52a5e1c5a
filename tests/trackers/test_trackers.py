"""Trackers are told of a fit: read back from what they wrote; each with the real library, offline."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from reports import made

from nudge_integrations.artifact import Nudge
from nudge_integrations.errors import MissingExtraError
from nudge_integrations.evaluation import Comparison
from nudge_integrations.trackers import MlflowCallback, TensorBoardCallback, WandbCallback, tracked

# The libraries' own warnings, about their future, are no errors of ours.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def fitted() -> tuple[Nudge, Comparison]:
    comparison, nudge, *_ = made()
    return nudge, comparison


def test_figures_are_those_of_the_fit_and_the_comparison(fitted: tuple[Nudge, Comparison]) -> None:
    nudge, comparison = fitted
    told = tracked(nudge, comparison)
    assert told.figures["fit/ndcg_at_10"] == nudge.score
    assert told.figures["test/hit_at_1_change"] == comparison.differences["hit@1"].difference
    assert told.settings["method"] == "nudge-n"
    assert 2 <= len(told.curve) <= 100
    assert not [name for name in told.figures if name.startswith("test/")] or comparison is not None
    assert not [name for name in tracked(nudge).figures if name.startswith("test/")]
    assert all("question" not in value for value in told.settings.values())


def test_a_fit_tells_nobody_by_itself() -> None:
    program = (
        "import sys; from nudge_integrations import fit; import nudge_integrations.trackers; "
        "print(*sorted({'mlflow', 'wandb', 'tensorboard'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []


def test_mlflow_holds_parameters_metrics_and_curve(
    fitted: tuple[Nudge, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder will do for a test
    mlflow: Any = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    nudge, comparison = fitted
    MlflowCallback("weekly")(nudge, comparison)
    assert mlflow.active_run() is None
    client = mlflow.MlflowClient()
    [run] = client.search_runs(["0"])
    assert run.info.run_name == "weekly"
    assert run.data.params["nudge.method"] == "nudge-n"
    assert run.data.metrics["test/ndcg_at_10"] == comparison.differences["ndcg@10"].after
    assert len(client.get_metric_history(run.info.run_id, "curve")) == len(tracked(nudge).curve)
    with mlflow.start_run() as mine:
        MlflowCallback()(nudge)
        assert mlflow.active_run().info.run_id == mine.info.run_id
    assert client.get_run(mine.info.run_id).data.metrics["fit/step"] == nudge.step


def test_tensorboard_holds_scalars_a_fit_after_the_other(fitted: tuple[Nudge, Comparison], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    nudge, comparison = fitted
    callback = TensorBoardCallback(tmp_path)
    for week in (1, 2):
        callback(nudge, comparison, fit_number=week)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    scores = read.Scalars("test/ndcg_at_10")
    assert [event.step for event in scores] == [1, 2]
    assert scores[0].value == pytest.approx(comparison.differences["ndcg@10"].after)
    assert len(read.Scalars("curve/1")) == len(tracked(nudge).curve)


def test_wandb_offline_holds_config_and_summary(
    fitted: tuple[Nudge, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    _, comparison = fitted
    # In a process of its own: the library talks to its service through a socket on this machine.
    program = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "helpers")!r})
import wandb
from reports import made
from nudge_integrations.trackers import WandbCallback
comparison, nudge, *_ = made()
try:
    WandbCallback()(nudge)
except wandb.Error as error:
    print(json.dumps(str(error)))
run = wandb.init(project="retrieval", mode="offline", dir={str(tmp_path)!r}, settings=wandb.Settings(silent=True))
WandbCallback()(nudge, comparison)
print(json.dumps([dict(run.config), {{name: run.summary[name] for name in ("fit/step", "test/ndcg_at_10")}}]))
run.finish()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    refused, kept = (json.loads(line) for line in done.stdout.splitlines() if line.startswith(('"', "[")))
    assert "wandb.init()" in refused
    assert kept[0]["nudge"]["method"] == "nudge-n"
    assert kept[1]["test/ndcg_at_10"] == comparison.differences["ndcg@10"].after


@pytest.mark.parametrize("make", [MlflowCallback, WandbCallback, lambda: TensorBoardCallback("runs")])
def test_an_absent_library_is_said_with_its_extra(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlflow", "wandb", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match="nudge-integrations"):
        make()
