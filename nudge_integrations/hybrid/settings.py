r"""Which contrastive ridge: its settings, compared by queries that were left out of the fit.

A linear map is fitted to all queries at once, so it may only memorise their style or their topics. Two k-means clusters
of the queries tell: each is served by the map of the other. A setting may cost such queries next to nothing, however
much it gains within the clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.adaptor import ContrastiveRidge
from nudge_integrations.adaptor.adaptor import moved
from nudge_integrations.adaptor.choice import climb, walk
from nudge_integrations.adaptor.ridge import TEMPERATURES
from nudge_integrations.hybrid.trial import Worth
from nudge_integrations.solver._plan import PROTECTED_FROM
from nudge_integrations.solver.choice import gain_and_error

__all__ = ["Folds", "JudgedSetting", "Judges", "Setting", "best_setting", "judged_settings"]

# Strength u by factors of the root of 2, and for each of them temperature tau, whitening mu and penalty lambda.
_STRENGTHS = tuple(2.0 ** (power / 2) for power in range(-10, 1))
_OTHERS = (TEMPERATURES, (1.0, 0.1, 0.03), (0.001, 0.01, 0.1, 1.0))
_START = (0.05, 0.1, 0.1)

# Queries of another cluster may lose a tenth of a point; beyond that a loss outweighs any gain.
_TOLERATED, _OUTWEIGHS = 0.001, 100.0

Serve = Callable[[torch.Tensor], NDArray[np.float64]]
"""Takes the labelled queries adapted (l, d); returns the metric of the judged ones (e,)."""


@dataclass(frozen=True, eq=False)
class Judges:
    """Who judges adapted queries.

    Attributes:
        rows: (e,) int64, which of the labelled queries are judged.
        seen: By the documents as the labels of all other queries leave them.
        unseen: By the same, with the documents that a query wants as they were at first.
        elsewhere: By documents that nothing moved.
    """

    rows: NDArray[np.int64]
    seen: Serve
    unseen: Serve
    elsewhere: Serve


@dataclass(frozen=True, eq=False)
class Folds:
    """Which queries are left out together.

    Attributes:
        groups: (l,) int64, by the caller's groups: what is like a new query of the same traffic.
        documents: (l,) int64, by the document that they want most: what is like one that nobody asked for.
        clusters: (l,) int64, by k-means clusters of the queries, which share no document unless they share most: what
            is like another topic.
        halves: (l,) bool, whole groups: each half is served by the setting that suits the other.
    """

    groups: NDArray[np.int64]
    documents: NDArray[np.int64]
    clusters: NDArray[np.int64]
    halves: NDArray[np.bool_]


class Setting(NamedTuple):
    """The settings of a contrastive ridge; see `nudge_integrations.adaptor.ridge`."""

    strength: float
    temperature: float
    whitening: float
    penalty: float


@dataclass(frozen=True, eq=False)
class JudgedSetting:
    """What a setting is worth to queries that it was not fitted to.

    Attributes:
        gains: (e,) float64, of the objective over doing nothing, one for each judged query.
        harm: 0, or less where queries of another cluster lose too much, or those for documents that nobody labelled do
            not surely gain and were to be protected.
    """

    gains: NDArray[np.float64]
    harm: float

    def value(self, part: NDArray[np.bool_] | None = None) -> float:
        """Return the mean gain of all judged queries or a part of them (e,), less the harm."""
        gains = self.gains if part is None else self.gains[part]
        return (float(gains.mean()) if len(gains) else 0.0) + self.harm


def judged_settings(
    ridge: ContrastiveRidge, folds: Folds, judges: Judges, unseen_weight: float
) -> dict[Setting, JudgedSetting]:
    """Climb to the best setting; return all that were visited and gain something.

    Args:
        ridge: The maps.
        folds: What is left out together.
        judges: Judge the queries that were left out.
        unseen_weight: 0 .. 1, how much queries count whose documents nobody labelled.
    """
    asked = ridge.queries
    nothing, elsewhere = Worth(judges.seen(asked), judges.unseen(asked)), judges.elsewhere(asked)
    judged: dict[Setting, JudgedSetting] = {}
    partitions = (folds.groups, folds.clusters, *([folds.documents] if unseen_weight else []))

    @lru_cache(maxsize=1)
    def shifts(temperature: float, whitening: float, penalty: float) -> list[torch.Tensor]:
        return ridge.shifts(temperature, whitening, penalty, *partitions)

    def value(setting: Setting) -> float:
        seen, away, *unseen = (moved(asked, setting.strength * shift) for shift in shifts(*setting[1:]))
        of_seen = judges.seen(seen)
        worth = Worth(of_seen, judges.unseen(unseen[0]) if unseen else of_seen)
        gains = worth.objective(unseen_weight) - nothing.objective(unseen_weight)
        if gains.mean() <= 0.0:
            return float(gains.mean()) - _OUTWEIGHS
        harm = min(0.0, float((judges.elsewhere(away) - elsewhere).mean()) + _TOLERATED)
        if unseen_weight >= PROTECTED_FROM:
            gain, error = gain_and_error(worth.unseen - nothing.unseen, folds.groups[judges.rows])
            harm += min(0.0, gain - error)
        judged[setting] = JudgedSetting(gains, _OUTWEIGHS * harm)
        return judged[setting].value()

    def at_best_strength(others: tuple[float, ...]) -> float:
        best = best_setting(judged)
        start = _STRENGTHS[len(_STRENGTHS) // 2] if best is None else best.strength
        return walk(_STRENGTHS, start, lambda strength: value(Setting(strength, *others)))[1]

    climb(_OTHERS, _START, at_best_strength)
    return judged


def best_setting(judged: Mapping[Setting, JudgedSetting], part: NDArray[np.bool_] | None = None) -> Setting | None:
    """Return the setting that suits all judged queries, or a part of them (e,), best; None where none helps."""
    values = {setting: found.value(part) for setting, found in judged.items()}
    best = max(values, key=values.__getitem__, default=None)
    return best if best is not None and values[best] > 0.0 else None
