r"""Query maps that also hold where they were not taught.

A linear map is fitted to all queries at once, so it may only memorise their style or their topics. Two k-means clusters
of the queries tell: each is served by the map of the other. A setting may cost such queries next to nothing, however
much it gains within the clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster.vq import kmeans2

from nudge_integrations.adaptor import ContrastiveRidge, contrastive_ridge
from nudge_integrations.adaptor.choice import climb
from nudge_integrations.adaptor.ridge import TEMPERATURES
from nudge_integrations.adaptor.training import Training, fold_codes
from nudge_integrations.hybrid.trial import Worth

__all__ = ["Folds", "Judges", "QueryMap", "folds_of", "ridge_map"]

# Strength u, temperature tau, whitening mu and penalty lambda; where the search begins.
GRID = ((0.0625, 0.125, 0.25, 0.5, 1.0), TEMPERATURES, (1.0, 0.1, 0.03), (0.001, 0.01, 0.1, 1.0))
START = (0.25, 0.05, 0.1, 0.1)

# Queries of another cluster may lose a tenth of a point of the metric; beyond that a loss outweighs any gain.
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
        clusters: (l,) int64, by k-means clusters of the queries: what is like another topic.
        halves: (l,) bool, whole groups: each half is served by the setting that suits the other.
    """

    groups: NDArray[np.int64]
    documents: NDArray[np.int64]
    clusters: NDArray[np.int64]
    halves: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class QueryMap:
    """A query map, and the labelled queries as maps fitted without them adapt them.

    Attributes:
        map: (d, d) float32.
        seen: (l, d) float32, each adapted without its group, and with a setting that was chosen without it.
        unseen: (l, d) float32, the same without all queries for its document.
        worth: Of these.
        elsewhere: How much queries gain from a map fitted to the other cluster, mean.
    """

    map: torch.Tensor
    seen: torch.Tensor
    unseen: torch.Tensor
    worth: Worth
    elsewhere: float


def folds_of(training: Training, gains: sparse.csr_array, seed: int) -> Folds:
    """Return the folds of the labelled queries, with their gains (l, n)."""
    wanted = np.asarray(gains.argmax(axis=1)).ravel()
    together = np.unique(wanted, return_inverse=True)[1].astype(np.int64)
    clusters = _clusters(training.asked.double().cpu().numpy(), seed)
    return Folds(training.groups, together, clusters, fold_codes(training.groups, 2, seed) == 0)


def _clusters(queries: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Return the k-means cluster of each query, of two; of one where they are all the same."""
    if len(np.unique(queries, axis=0)) < 2:
        return np.zeros(len(queries), np.int64)
    return kmeans2(queries, 2, seed=np.random.default_rng(seed), minit="++")[1].astype(np.int64)


def ridge_map(
    training: Training,
    folds: Folds,
    found: Mapping[float, torch.Tensor],
    climbing: Judges,
    judges: Judges,
    unseen_weight: float,
) -> QueryMap | None:
    """Return the contrastive ridge that serves queries best that it was not fitted to, None where it has no use.

    Args:
        training: The labels, and what they need of the corpus.
        folds: What is left out together.
        found: For each temperature (l, d) where queries should go.
        climbing: Judge while settings are compared.
        judges: Judge the setting that is chosen.
        unseen_weight: 0 .. 1, how much queries count whose documents nobody labelled.
    """
    ridge = contrastive_ridge(training.asked, found, training.covariance)
    nothing = _worth(climbing, training.asked, training.asked, unseen_weight)
    elsewhere = climbing.elsewhere(training.asked)

    visited: dict[tuple[float, ...], tuple[NDArray[np.float64], float]] = {}

    def value(point: tuple[float, ...]) -> float:
        seen = ridge.held_out(*point, groups=folds.groups)
        unseen = ridge.held_out(*point, groups=folds.documents) if unseen_weight else seen
        away = climbing.elsewhere(ridge.held_out(*point, groups=folds.clusters)) - elsewhere
        harm = _OUTWEIGHS * min(0.0, float(away.mean()) + _TOLERATED)
        visited[point] = _worth(climbing, seen, unseen, unseen_weight) - nothing, harm
        return float(visited[point][0].mean()) + harm

    point, gain = climb(GRID, START, value)
    if gain <= 0.0:
        return None
    fitted, scale = ridge.map(*point[1:])
    settings = [_best(visited, folds.halves[climbing.rows] == side) for side in (False, True)]
    seen, unseen = (_crossed(ridge, settings, groups, folds.halves) for groups in (folds.groups, folds.documents))
    away = judges.elsewhere(ridge.held_out(*point, groups=folds.clusters)) - judges.elsewhere(training.asked)
    worth = Worth(judges.seen(seen), judges.unseen(unseen))
    return QueryMap((point[0] * scale * fitted).float(), seen, unseen, worth, float(away.mean()))


def _best(
    visited: Mapping[tuple[float, ...], tuple[NDArray[np.float64], float]], part: NDArray[np.bool_]
) -> tuple[float, ...] | None:
    """Return the setting that suits a part of the queries best, None where none helps it."""
    values = {
        point: float(gains[part].mean()) + harm if part.any() else 0.0 for point, (gains, harm) in visited.items()
    }
    best = max(values, key=values.__getitem__)
    return best if values[best] > 0.0 else None


def _crossed(
    ridge: ContrastiveRidge,
    settings: Sequence[tuple[float, ...] | None],
    groups: NDArray[np.int64],
    halves: NDArray[np.bool_],
) -> torch.Tensor:
    """Return (l, d) queries left out of the map, each half by the setting of the other: choosing flatters no query."""
    parts = [ridge.queries if point is None else ridge.held_out(*point, groups=groups) for point in settings]
    return torch.where(torch.from_numpy(halves).to(ridge.queries.device)[:, None], parts[0], parts[1])


def _worth(judges: Judges, seen: torch.Tensor, unseen: torch.Tensor, unseen_weight: float) -> NDArray[np.float64]:
    """Return the objective of adapted queries, without asking for what has no weight."""
    seen_values = judges.seen(seen)
    return Worth(seen_values, judges.unseen(unseen) if unseen_weight else seen_values).objective(unseen_weight)
