"""A fitted candidate, and the metric of every evaluation query with it, out of sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.solver import Candidate
from nudge_integrations.solver.decision import gain_and_error, mean

if TYPE_CHECKING:
    import torch

    from nudge_integrations.solver import Solution

__all__ = ["FittedCandidate", "QueryScores"]


@dataclass(frozen=True, eq=False)
class QueryScores:
    """The metric of every evaluation query, each scored by what was fitted without it.

    Attributes:
        seen: (e,) float64, fitted without the query (or its group).
        unseen: (e,) float64, fitted without any label of its relevant documents.
    """

    seen: NDArray[np.float64]
    unseen: NDArray[np.float64]

    def objective(self, unseen_weight: float) -> NDArray[np.float64]:
        """Return (1 - w) seen + w unseen, (e,)."""
        return (1.0 - unseen_weight) * self.seen + unseen_weight * self.unseen


@dataclass(frozen=True, eq=False)
class FittedCandidate:
    """A candidate, fitted and evaluated.

    Attributes:
        name: Which candidate it is.
        method: Its parts, in the order in which they were fitted.
        scores: The metric of the evaluation queries.
        nudge: How documents move; None where they stay.
        query_map: (d, d) float32 applied to queries; None where they stay.
    """

    name: str
    method: str
    scores: QueryScores
    nudge: Solution | None
    query_map: torch.Tensor | None

    def row(self, nothing: QueryScores, groups: NDArray[np.int64], unseen_weight: float) -> Candidate:
        """Return its row of the table: scores, and the gain over doing nothing with its standard error."""
        difference = self.scores.objective(unseen_weight) - nothing.objective(unseen_weight)
        gain, error = gain_and_error(difference, groups)
        temperature, step = (None, 0.0) if self.nudge is None else (self.nudge.temperature, self.nudge.step)
        return Candidate(self.method, temperature, step, mean(self.scores.seen), mean(self.scores.unseen), gain, error)
