"""Experiment trackers: MLflow, Weights & Biases and TensorBoard are told of a fit by a callback that you call.

    nudge, comparison -> tracked -> Tracked (settings, figures, the curve) -> MlflowCallback | WandbCallback |
                                                                              TensorBoardCallback

Nothing is ever sent by itself: no fit looks for a tracker. Extras ``mlflow``, ``wandb`` and ``tensorboard``.
"""

from nudge_integrations.trackers.callbacks import MlflowCallback, TensorBoardCallback, WandbCallback
from nudge_integrations.trackers.tracked import Tracked, tracked

__all__ = ["MlflowCallback", "TensorBoardCallback", "Tracked", "WandbCallback", "tracked"]
