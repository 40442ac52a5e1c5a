r"""The contrastive ridge taken in several steps: each looks at the softmax again from where the last one led.

M <- M + u c K Q^T (Ybar - softmax((Q + Q M) D^T / tau)) D P, from M = 0. No closed form says what such a map does for
queries that were left out, as these have had a say in the responses of all others: it is fitted again without each of
five folds of queries, and for each of two clusters alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus.threads import in_threads
from nudge_integrations.query_map.regression import Regression
from nudge_integrations.query_map.ridge import FittedMaps, RidgeMaps, Setting
from nudge_integrations.query_map.teaching import Teaching

__all__ = ["IteratedMaps"]

# The strength of a step. One serves all collections: how many steps are taken is what makes a map strong.
_STRENGTH = 0.5


@dataclass(eq=False)
class _Part:
    """Queries that teach a map of their own.

    Attributes:
        rows: (r,) int64, which of the teaching queries these are.
        regression: On these queries.
        maps: The map (d, d) after each step that was taken.
    """

    rows: torch.Tensor
    regression: Regression
    maps: list[torch.Tensor] = field(default_factory=list)


@dataclass(eq=False)
class IteratedMaps:
    """The maps of one setting after any number of steps; each part takes its steps when they are asked for.

    Attributes:
        maps: The contrastive ridges, whose regressions and whitening are shared.
        learner: The same teaching queries, with the documents of the softmax, all along the axes of the maps.
        setting: The temperature, whitening and penalty of every step.
        block_bytes: Bound on the temporary memory.
    """

    maps: RidgeMaps
    learner: Teaching
    setting: Setting
    block_bytes: int

    def after(self, steps: int) -> FittedMaps:
        """Return the maps after some steps: of all queries, without each fold, of each cluster, without documents."""
        return FittedMaps(
            steps,
            lambda: self._map(self._whole, steps),
            lambda: self._maps(self._folds, steps),
            lambda code: self._map(self._clusters[code], steps),
            lambda: self._maps(self._documents, steps),
        )

    def _maps(
        self, folds: list[tuple[NDArray[np.bool_], _Part]], steps: int
    ) -> list[tuple[NDArray[np.bool_], torch.Tensor]]:
        self.maps.scale(self.setting)  # all of them share it
        return in_threads(lambda one: (one[0], self._map(one[1], steps)), folds)

    def _map(self, part: _Part, steps: int) -> torch.Tensor:
        while len(part.maps) < steps:
            part.maps.append(self._next(part))
        return part.maps[steps - 1]

    def _next(self, part: _Part) -> torch.Tensor:
        """Return the map one step further."""
        setting, maps, learner = self.setting, self.maps, self.learner
        (temperature,) = temperatures = [float(str(setting.responses))]
        queries = learner.queries[part.rows]
        mapped = queries + queries @ part.maps[-1] if part.maps else queries
        found = learner.residuals(mapped, temperatures, self.block_bytes, part.rows.numpy())[temperature]
        change = part.regression.fit(part.regression.products(found), setting.penalty)
        change *= _STRENGTH * maps.scale(setting) * maps.damping(setting.whitening)
        return part.maps[-1] + change if part.maps else change

    @cached_property
    def _whole(self) -> _Part:
        return _part(self.maps.whole, np.ones(len(self.learner.clusters), bool))

    @cached_property
    def _folds(self) -> list[tuple[NDArray[np.bool_], _Part]]:
        return [(fold, _part(regression, ~fold)) for fold, regression in self.maps.folds]

    @cached_property
    def _clusters(self) -> dict[int, _Part]:
        return {code: _part(one, self.learner.clusters == code) for code, one in self.maps.by_cluster.items()}

    @cached_property
    def _documents(self) -> list[tuple[NDArray[np.bool_], _Part]]:
        queries, folds = self.learner.queries, self.maps.document_folds
        return [(fold, _part(Regression.on(queries[torch.from_numpy(~fold)]), ~fold)) for fold in folds]


def _part(regression: Regression, rows: NDArray[np.bool_]) -> _Part:
    """Return those of the teaching queries that a mask (t,) names, before the first step."""
    return _Part(torch.from_numpy(np.flatnonzero(rows)), regression)
