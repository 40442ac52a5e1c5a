r"""The contrastive ridge taken in several steps: each looks at the softmax again from where the last one led.

M <- M + u c K Q^T (Ybar - softmax((Q + Q M) D^T / tau)) D P, from M = 0. No closed form says what such a map does for
queries that were left out, as these have had a say in the responses of all others: it is fitted again without each of
five folds of queries, and for each of two clusters alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.query_map.regression import Regression
from nudge_integrations.query_map.ridge import FittedMaps, RidgeMaps, Setting
from nudge_integrations.query_map.teaching import Teaching

__all__ = ["iterated_maps"]

# The strength of a step. One serves all collections: how many steps are taken is what makes a map strong.
_STRENGTH = 0.25


@dataclass(eq=False)
class _Part:
    """Queries that teach a map of their own.

    Attributes:
        rows: (r,) int64, which of the teaching queries these are.
        regression: On these queries.
        map: (d, d) float32, as far as steps have led.
    """

    rows: torch.Tensor
    regression: Regression
    map: torch.Tensor

    @classmethod
    def of(cls, learner: Teaching, regression: Regression, rows: NDArray[np.bool_]) -> _Part:
        """Start with those of the teaching queries that a mask (t,) names."""
        width = learner.queries.shape[1]
        return cls(torch.from_numpy(np.flatnonzero(rows)), regression, learner.queries.new_zeros(width, width))

    def step(self, maps: RidgeMaps, learner: Teaching, setting: Setting, block_bytes: int) -> None:
        """Take one step."""
        (temperature,) = temperatures = [float(str(setting.responses))]
        queries = learner.queries[self.rows]
        found = learner.residuals(queries + queries @ self.map, learner.positives[self.rows], temperatures, block_bytes)
        change = self.regression.fit(found[temperature], setting.penalty)
        self.map = self.map + _STRENGTH * maps.scale(setting) * maps.whitened(change, setting.whitening)


def iterated_maps(maps: RidgeMaps, learner: Teaching, setting: Setting, block_bytes: int) -> Iterator[FittedMaps]:
    """Yield the maps after each step: of all queries, without each fold, of each cluster.

    Args:
        maps: The contrastive ridges, whose regressions and whitening are shared.
        learner: The same teaching queries, with the documents of the softmax.
        setting: The temperature, whitening and penalty of every step.
        block_bytes: Bound on the temporary memory.
    """
    clusters = learner.clusters
    whole = _Part.of(learner, maps.whole, np.ones(len(clusters), bool))
    folds = [(fold, _Part.of(learner, regression, ~fold)) for fold, regression in maps.folds]
    parts = {code: _Part.of(learner, one, clusters == code) for code, one in maps.by_cluster.items()}
    steps = 0
    while True:
        steps += 1
        for part in (whole, *(part for _, part in folds), *parts.values()):
            part.step(maps, learner, setting, block_bytes)

        def unseen(steps: int = steps) -> list[tuple[NDArray[np.bool_], torch.Tensor]]:
            return _without_documents(maps, learner, setting, steps, block_bytes)

        without_fold = [(fold, part.map) for fold, part in folds]
        yield FittedMaps(steps, whole.map, without_fold, {code: part.map for code, part in parts.items()}, unseen)


def _without_documents(
    maps: RidgeMaps, learner: Teaching, setting: Setting, steps: int, block_bytes: int
) -> list[tuple[NDArray[np.bool_], torch.Tensor]]:
    """Return folds (t,) of queries, whole documents each, and the maps that the other queries teach."""
    found = []
    for fold in maps.document_folds:
        part = _Part.of(learner, Regression.on(learner.queries[torch.from_numpy(~fold)]), ~fold)
        for _ in range(steps):
            part.step(maps, learner, setting, block_bytes)
        found.append((fold, part.map))
    return found
