"""A linear map of queries that was trained, and its scores out of sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import torch

from nudge_integrations.corpus import as_matrix
from nudge_integrations.corpus.arrays import block_of, unit_block
from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Evaluate", "QueryMap", "moved"]

ArrayT = TypeVar("ArrayT", "NDArray[np.floating]", torch.Tensor)

Evaluate: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Takes all m queries, adapted, as (m, d) float32 unit vectors; returns the metric of each, (m,)."""


@dataclass(frozen=True, eq=False)
class QueryMap:
    """A linear map of queries, q' = unit(q + q M), and how it was fitted.

    Attributes:
        map: (d, d) float32, M; zeros where nothing beats leaving queries alone.
        temperature: tau of the softmax.
        steps: How many steps were taken.
        baseline: The metric of unadapted queries, mean over the held-out ones.
        score: The same for the adapted queries.
    """

    map: NDArray[np.float32]
    temperature: float
    steps: int
    baseline: float
    score: float

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
        unit = unit_block(block_of(rows, slice(0, len(rows)), device), "queries")
        adapted = moved(unit, unit @ torch.from_numpy(self.map).to(device))
        return adapted if isinstance(queries, torch.Tensor) else adapted.numpy()

    def __repr__(self) -> str:
        return f"QueryMap({len(self.map)} dimensions, {self.steps} steps, {self.baseline:.4f} -> {self.score:.4f})"


def moved(queries: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Return unit(q + shift)."""
    return torch.nn.functional.normalize(queries + shift, dim=1)
