"""What every way of fitting returns: a linear map of queries, and its scores out of sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import numpy as np
import torch

from nudge_integrations.errors import InputError
from nudge_integrations.query_map.arrays import as_matrix, unit_block

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.query_map.training import Normaliser, TrainingSet

__all__ = ["Evaluate", "QueryMap", "mean_of", "moved"]

ArrayT = TypeVar("ArrayT", "NDArray[np.floating]", torch.Tensor)

Evaluate: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Takes all m queries, adapted, as (m, d) float32 unit vectors; returns the metric of each, (m,)."""


@dataclass(frozen=True, eq=False)
class QueryMap:
    """A linear map of queries, q' = unit(q + q M), and how it was fitted.

    Attributes:
        map: (d, d) float32, M; zeros where nothing beats leaving queries alone.
        name: Which way it was fitted.
        temperature: tau of the softmax.
        whitening: mu, how much of the documents' spectrum the whitening keeps; None where nothing is whitened.
        penalty: lambda of the ridge, in units of the mean energy of the queries; None where there is no ridge.
        strength: u, the part of the scale that is taken; 0 where nothing beats leaving queries alone.
        scale: c, which brings the shift's deviation of scores to that of the base scores.
        steps: How many steps were taken.
        baseline: The metric of unadapted queries, mean over those that have a relevant document.
        score: The same for the adapted queries, each adapted by a map that was fitted without it.
        held_out_queries: (m, d) float32, those queries; for a trained map None, as it was fitted to every query.
        normaliser: ``"exact"``, or ``"sampled"`` where a softmax took a part of the corpus.
    """

    map: NDArray[np.float32]
    name: Literal["ridge", "iterated-ridge", "trained"]
    temperature: float
    whitening: float | None
    penalty: float | None
    strength: float
    scale: float
    steps: int
    baseline: float
    score: float
    held_out_queries: NDArray[np.float32] | None
    normaliser: Normaliser

    def apply(self, queries: ArrayT) -> ArrayT:
        """Return queries adapted: unit(q + q M).

        Args:
            queries: (m, d) numpy or torch, any float type; made unit length first.

        Returns:
            (m, d) float32 unit vectors of the same kind.

        Raises:
            InputError: If the width differs, or a vector is zero, NaN or infinite.
        """
        rows = as_matrix(queries, "queries")
        if rows.shape[1] != len(self.map):
            raise InputError(
                f"this query map is for queries of {len(self.map)} dimensions; got {rows.shape[1]}: "
                "use the encoder it was fitted for"
            )
        device = queries.device if isinstance(queries, torch.Tensor) else torch.device("cpu")
        unit = unit_block(rows, slice(0, len(rows)), device, "queries")
        adapted = moved(unit, unit @ torch.from_numpy(self.map).to(device))
        return adapted if isinstance(queries, torch.Tensor) else adapted.numpy()

    def __repr__(self) -> str:
        return (
            f"QueryMap({self.name}, {len(self.map)} dimensions, strength={self.strength:g}, "
            f"{self.baseline:.4f} -> {self.score:.4f})"
        )


def moved(queries: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Return unit(q + shift)."""
    return torch.nn.functional.normalize(queries + shift, dim=1)


def mean_of(evaluate: Evaluate, training: TrainingSet, adapted: torch.Tensor) -> float:
    """Return the mean metric of the adapted queries (l, d) that have a relevant document; 0 where there are none."""
    values = evaluate(training.every(adapted))[training.rows]
    return float(values.double().mean()) if len(values) else 0.0
