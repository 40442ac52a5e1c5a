r"""Which contrastive ridge: its settings, compared by held-out queries.

A linear map is fitted to all queries at once, so it may only memorise their style or their topics. Two k-means clusters
of the queries tell: each is served by the map of the other. A setting may cost such queries next to nothing, however
much it gains within the clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.query_map import ContrastiveRidge
from nudge_integrations.query_map.query_map import moved
from nudge_integrations.query_map.ridge import TEMPERATURES
from nudge_integrations.query_map.search import coordinate_search, line_search
from nudge_integrations.selection.fitted import QueryScores
from nudge_integrations.solver.decision import gain_and_error
from nudge_integrations.solver.options import PROTECTED_FROM

__all__ = [
    "EvaluateSetting",
    "EvaluatedSetting",
    "Evaluators",
    "Folds",
    "HeldOutQueries",
    "Key",
    "Setting",
    "best_setting",
    "evaluated_settings",
    "evaluator_of",
    "setting_evaluator",
]

# Strength u by factors of the root of 2, and for each of them temperature tau, whitening mu and penalty lambda.
_STRENGTHS = tuple(2.0 ** (power / 2) for power in range(-10, 1))
WHITENINGS = (1.0, 0.1, 0.03)
_OTHERS = (TEMPERATURES, WHITENINGS, (0.001, 0.01, 0.1, 1.0))
_START = (0.05, 0.1, 0.1)

# Queries of another cluster may lose a tenth of a point; beyond that a loss outweighs any gain.
_TOLERATED, _OUTWEIGHS = 0.001, 100.0

Key = TypeVar("Key")
"""What tells maps of one kind apart: a setting, or a number of steps."""

Serve = Callable[[torch.Tensor], NDArray[np.float64]]
"""Takes the labelled queries adapted (l, d); returns the metric of the evaluation queries (e,)."""


@dataclass(frozen=True, eq=False)
class Evaluators:
    """Evaluate adapted queries against different positions of the documents.

    Attributes:
        rows: (e,) int64, which of the labelled queries are evaluation queries.
        seen: With documents moved by the labels of all other queries.
        unseen: The same, with the relevant documents of the query unmoved.
        other_cluster: With all documents unmoved.
    """

    rows: NDArray[np.int64]
    seen: Serve
    unseen: Serve
    other_cluster: Serve


@dataclass(frozen=True, eq=False)
class Folds:
    """Which queries are held out together.

    Attributes:
        groups: (l,) int64, the caller's groups; stand for new queries of the same traffic.
        documents: (l,) int64, the most relevant document; stand for queries of unlabelled documents.
        clusters: (l,) int64, k-means clusters of the queries, which share no document unless they share most; stand
            for queries of another topic.
        cross_selection: (l,) bool, whole groups: each half is scored with the setting chosen on the other.
    """

    groups: NDArray[np.int64]
    documents: NDArray[np.int64]
    clusters: NDArray[np.int64]
    cross_selection: NDArray[np.bool_]


class Setting(NamedTuple):
    """The settings of a contrastive ridge; see `nudge_integrations.query_map.ridge`."""

    strength: float
    temperature: float
    whitening: float
    penalty: float


@dataclass(frozen=True, eq=False)
class EvaluatedSetting:
    """A setting evaluated by held-out queries.

    Attributes:
        gains: (e,) float64, of the objective over doing nothing, one for each evaluation query.
        measure_loss: Computes ``loss_to_others``; called at most once, and only if the gain is large enough.
    """

    gains: NDArray[np.float64]
    measure_loss: Callable[[], float]

    @cached_property
    def loss_to_others(self) -> float:
        """The loss to other queries: 0, or less where nothing is gained or others lose.

        Others are queries of another cluster and, where they are protected, queries for unlabelled documents, which
        must gain by more than a standard error.
        """
        return self.measure_loss()

    def gain(self, part: NDArray[np.bool_] | None = None) -> float:
        """Return the mean gain of all evaluation queries or a part of them (e,)."""
        gains = self.gains if part is None else self.gains[part]
        return float(gains.mean()) if len(gains) else 0.0

    def value(self, part: NDArray[np.bool_] | None = None) -> float:
        """Return the mean gain, less the loss to other queries."""
        return self.gain(part) + self.loss_to_others


EvaluateSetting = Callable[[Setting], EvaluatedSetting]
"""Evaluates a setting by held-out queries."""


class HeldOutQueries(NamedTuple):
    """Make the labelled queries (l, d), each adapted by a map fitted without its group, cluster or document."""

    groups: Callable[[], torch.Tensor]
    clusters: Callable[[], torch.Tensor]
    documents: Callable[[], torch.Tensor]


def evaluator_of(
    labelled: torch.Tensor, folds: Folds, evaluators: Evaluators, unseen_weight: float
) -> Callable[[HeldOutQueries], EvaluatedSetting]:
    """Return a function that evaluates maps by held-out queries.

    Args:
        labelled: (l, d), the labelled queries as they are.
        folds: Which queries are held out together.
        evaluators: Evaluate the held-out queries.
        unseen_weight: 0 .. 1, how much queries count whose documents nobody labelled.
    """
    nothing, other_cluster = (
        QueryScores(evaluators.seen(labelled), evaluators.unseen(labelled)),
        evaluators.other_cluster(labelled),
    )

    def evaluate(adapted: HeldOutQueries) -> EvaluatedSetting:
        seen = evaluators.seen(adapted.groups())
        scores = QueryScores(seen, evaluators.unseen(adapted.documents()) if unseen_weight else seen)
        gains = scores.objective(unseen_weight) - nothing.objective(unseen_weight)

        def loss_to_others() -> float:
            if gains.mean() <= 0.0:
                return -_OUTWEIGHS
            away = float((evaluators.other_cluster(adapted.clusters()) - other_cluster).mean())
            unsure = 0.0
            if unseen_weight >= PROTECTED_FROM:
                gain, error = gain_and_error(scores.unseen - nothing.unseen, folds.groups[evaluators.rows])
                unsure = gain - error
            return _OUTWEIGHS * (min(0.0, away + _TOLERATED) + min(0.0, unsure))

        return EvaluatedSetting(gains, loss_to_others)

    return evaluate


def setting_evaluator(
    ridge: ContrastiveRidge, folds: Folds, evaluators: Evaluators, unseen_weight: float
) -> EvaluateSetting:
    """Return a function that evaluates each setting of a ridge once; the arguments are those of `evaluator_of`."""
    evaluate_held_out = evaluator_of(ridge.queries, folds, evaluators, unseen_weight)
    partitions = (folds.groups, folds.clusters, *([folds.documents] if unseen_weight else []))

    @lru_cache(maxsize=1)
    def shifts(temperature: float, whitening: float, penalty: float) -> list[torch.Tensor]:
        return ridge.shifts(temperature, whitening, penalty, *partitions)

    def adapted(setting: Setting, partition: int) -> torch.Tensor:
        return moved(ridge.queries, setting.strength * shifts(*setting[1:])[partition])

    @cache
    def evaluate(setting: Setting) -> EvaluatedSetting:
        return evaluate_held_out(HeldOutQueries(*(partial(adapted, setting, partition) for partition in range(3))))

    return evaluate


def evaluated_settings(evaluate: EvaluateSetting) -> dict[Setting, EvaluatedSetting]:
    """Search for the best setting; return all that were visited."""
    evaluated: dict[Setting, EvaluatedSetting] = {}

    def value(setting: Setting) -> float:
        best = best_setting(evaluated)
        results = evaluated[setting] = evaluate(setting)
        # The loss to others is not computed for settings that gain no more than the best so far.
        return results.value() if best is None or results.gain() > evaluated[best].value() else -_OUTWEIGHS

    def at_best_strength(others: tuple[float, ...]) -> float:
        best = best_setting(evaluated)
        start = _STRENGTHS[len(_STRENGTHS) // 2] if best is None else best.strength
        return line_search(_STRENGTHS, start, lambda strength: value(Setting(strength, *others)))[1]

    coordinate_search(_OTHERS, _START, at_best_strength)
    return evaluated


def best_setting(evaluated: Mapping[Key, EvaluatedSetting], part: NDArray[np.bool_] | None = None) -> Key | None:
    """Return the best setting for all evaluation queries, or a part of them (e,); None where none helps."""
    best: Key | None = None
    value = 0.0
    for setting, results in sorted(evaluated.items(), key=lambda item: -item[1].gain(part)):
        if results.gain(part) <= value:
            break
        if results.value(part) > value:
            best, value = setting, results.value(part)
    return best
