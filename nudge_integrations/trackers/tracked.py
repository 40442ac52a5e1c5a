"""A fit and its comparison as what every tracker takes: settings, figures, and the curve along the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nudge_integrations.artifact import Nudge
    from nudge_integrations.evaluation import Comparison

__all__ = ["Tracked", "tracked"]

_POINTS, _SHORT_HASH = 100, 12


@dataclass(frozen=True)
class Tracked:
    """The settings, figures and curve that trackers are told.

    Attributes:
        settings: Name -> text: method, metric, similarity, where the data and the encoder come from.
        figures: Name -> number; ``@`` is written ``_at_``, which all trackers take.
        curve: (step, metric) along the path, at most 100 points.
    """

    settings: dict[str, str]
    figures: dict[str, float]
    curve: tuple[tuple[float, float], ...]


def tracked(nudge: Nudge, comparison: Comparison | None = None) -> Tracked:
    """Gather what a tracker is told; no text of a document or query, and no path, is among it.

    Args:
        nudge: What was fitted.
        comparison: How it compares on test queries; None for the fit alone.

    Returns:
        Settings, figures and the curve; a figure that was not measured is left out.

    >>> from nudge_integrations.dataset import RetrievalDataset
    >>> from nudge_integrations.pipeline import fit
    >>> dataset = RetrievalDataset({"d": "a text"}, {"q": "a question"}, {"q": {"d": 1}})
    >>> nudge = fit(dataset, "toy", method="nudge-n", step=0.1, document_vectors=[[1.0, 0]], query_vectors=[[0, 1.0]])
    >>> tracked(nudge).figures["fit/ndcg_at_10"]
    1.0
    """
    name = _spelled(nudge.metric)
    figures = {
        f"fit/{name}_before": nudge.baseline,
        f"fit/{name}": nudge.score,
        f"fit/{name}_unlabelled": nudge.unseen_score,
        "fit/step": nudge.step,
        "fit/moved": float(len(nudge.ids)),
        "fit/queries": float(nudge.queries),
    }
    for metric, one in ({} if comparison is None else comparison.differences).items():
        test = f"test/{_spelled(metric)}"
        figures |= {
            f"{test}_before": one.before,
            test: one.after,
            f"{test}_change": one.difference,
            f"{test}_low": one.low,
            f"{test}_high": one.high,
            f"{test}_p": one.p_adjusted,
        }
    settings = {
        "method": nudge.method,
        "metric": nudge.metric,
        "similarity": nudge.similarity,
        "status": nudge.status,
        "protocol": nudge.protocol,
        "temperature": "" if nudge.temperature is None else f"{nudge.temperature:g}",
        "query_map": str(nudge.query_map is not None).lower(),
        "encoder": nudge.encoder[:_SHORT_HASH],
        "dataset": nudge.dataset_hash[:_SHORT_HASH],
        "version": nudge.versions.get("nudge-integrations", ""),
    }
    finite = {key: float(value) for key, value in figures.items() if math.isfinite(value)}
    return Tracked({key: value for key, value in settings.items() if value}, finite, _points(nudge))


def _points(nudge: Nudge) -> tuple[tuple[float, float], ...]:
    if nudge.curve is None or not len(nudge.curve):
        return ()
    rows = np.unique(np.linspace(0, len(nudge.curve) - 1, _POINTS).round().astype(int))
    return tuple((float(step), float(value)) for step, value in nudge.curve[rows])


def _spelled(metric: str) -> str:
    return metric.replace("@", "_at_")
