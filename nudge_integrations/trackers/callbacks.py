"""One callback a tracker, which imports its library when it is made, so that an absent one is known before the fit."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nudge_integrations.errors import MissingExtraError
from nudge_integrations.trackers.tracked import tracked

if TYPE_CHECKING:
    from nudge_integrations.artifact import Nudge
    from nudge_integrations.evaluation import Comparison

__all__ = ["MlflowCallback", "TensorBoardCallback", "WandbCallback"]


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(name, extra) from error


class MlflowCallback:
    """Tell MLflow: parameters, metrics, and the curve as the metric ``curve``, one step a point.

    It goes to the active run; where there is none, a run is started for it and ended.

    Args:
        run_name: Name of a run that is started; None leaves it to MLflow.

    Raises:
        MissingExtraError: If MLflow is not installed.

    Example:
        >>> track = MlflowCallback("weekly labels")  # doctest: +SKIP
        >>> track(nudge, comparison)  # doctest: +SKIP
    """

    def __init__(self, run_name: str | None = None) -> None:
        self._mlflow = _library("mlflow", "mlflow")
        self._run_name = run_name

    def __call__(self, nudge: Nudge, comparison: Comparison | None = None) -> None:
        """Log a fit."""
        if self._mlflow.active_run() is not None:
            self._log(nudge, comparison)
            return
        with self._mlflow.start_run(run_name=self._run_name):
            self._log(nudge, comparison)

    def _log(self, nudge: Nudge, comparison: Comparison | None) -> None:
        told = tracked(nudge, comparison)
        self._mlflow.log_params({f"nudge.{name}": value for name, value in told.settings.items()})
        self._mlflow.log_metrics(told.figures)
        for number, (_, value) in enumerate(told.curve):
            self._mlflow.log_metric("curve", value, step=number)


class WandbCallback:
    """Tell Weights & Biases: config, summary, and the curve against the step.

    Args:
        run: A run, as ``wandb.init`` returns it; None for the one that is active.

    Raises:
        MissingExtraError: If wandb is not installed.

    Example:
        >>> track = WandbCallback(wandb.init(project="retrieval", mode="offline"))  # doctest: +SKIP
        >>> track(nudge, comparison)  # doctest: +SKIP
    """

    def __init__(self, run: Any = None) -> None:
        self._wandb = _library("wandb", "wandb")
        self._run = run

    def __call__(self, nudge: Nudge, comparison: Comparison | None = None) -> None:
        """Log a fit.

        Raises:
            wandb.Error: If there is no run.
        """
        run = self._run if self._run is not None else self._wandb.run
        if run is None:
            raise self._wandb.Error("there is no active run: call wandb.init() first, or give WandbCallback a run")
        told = tracked(nudge, comparison)
        run.config.update({"nudge": told.settings})
        run.define_metric("curve/metric", step_metric="curve/step")
        for step, value in told.curve:
            run.log({"curve/step": step, "curve/metric": value})
        run.summary.update(told.figures)


class TensorBoardCallback:
    """Tell TensorBoard: scalars, the curve (one step a point), and the settings as text.

    Args:
        log_dir: Folder of the event files.

    Raises:
        MissingExtraError: If tensorboard is not installed.

    Example:
        >>> track = TensorBoardCallback("runs/nudge")  # doctest: +SKIP
        >>> track(nudge, comparison, fit_number=3)  # doctest: +SKIP
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        _library("tensorboard", "tensorboard")
        self._writer = _library("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._log_dir = os.fspath(log_dir)

    def __call__(self, nudge: Nudge, comparison: Comparison | None = None, *, fit_number: int = 0) -> None:
        """Log a fit.

        Args:
            nudge: The nudge.
            comparison: How it compares, if that was measured.
            fit_number: Where it stands on the axis, such as the week; figures of several fits make a line.
        """
        told = tracked(nudge, comparison)
        writer = self._writer(self._log_dir)
        try:
            for name, value in told.figures.items():
                writer.add_scalar(name, value, fit_number)
            for number, (_, value) in enumerate(told.curve):
                writer.add_scalar(f"curve/{fit_number}", value, number)
            writer.add_text("settings", "\n".join(f"- {name}: {text}" for name, text in told.settings.items()))
        finally:
            writer.close()
