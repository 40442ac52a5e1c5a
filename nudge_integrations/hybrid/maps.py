r"""Query maps that also hold where they were not taught.

A linear map is fitted to all queries at once, so it may only memorise their style or their topics. Two k-means clusters
of the queries tell: each is served by the map of the other. A setting may cost such queries next to nothing, however
much it gains within the clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster.vq import kmeans2

from nudge_integrations.adaptor import contrastive_ridge
from nudge_integrations.adaptor.choice import climb
from nudge_integrations.adaptor.ridge import TEMPERATURES
from nudge_integrations.adaptor.training import Training
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
        seen: By the documents as the labels of all other queries leave them.
        unseen: By the same, with the documents that a query wants as they were at first.
        elsewhere: By documents that nothing moved.
    """

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
    """

    groups: NDArray[np.int64]
    documents: NDArray[np.int64]
    clusters: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class QueryMap:
    """A query map, and the labelled queries as maps fitted without them adapt them.

    Attributes:
        map: (d, d) float32.
        seen: (l, d) float32, each adapted without its group.
        unseen: (l, d) float32, each adapted without the queries for its document.
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
    return Folds(training.groups, together, _clusters(training.asked.double().cpu().numpy(), seed))


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

    def value(point: tuple[float, ...]) -> float:
        seen = ridge.held_out(*point, groups=folds.groups)
        unseen = ridge.held_out(*point, groups=folds.documents) if unseen_weight else seen
        gain = float((_worth(climbing, seen, unseen, unseen_weight) - nothing).mean())
        away = climbing.elsewhere(ridge.held_out(*point, groups=folds.clusters)) - elsewhere
        return gain + _OUTWEIGHS * min(0.0, float(away.mean()) + _TOLERATED)

    point, gain = climb(GRID, START, value)
    if gain <= 0.0:
        return None
    fitted, scale = ridge.map(*point[1:])
    kinds = (folds.groups, folds.documents, folds.clusters)
    seen, unseen, away = (ridge.held_out(*point, groups=groups) for groups in kinds)
    return QueryMap(
        (point[0] * scale * fitted).float(),
        seen,
        unseen,
        Worth(judges.seen(seen), judges.unseen(unseen)),
        float((judges.elsewhere(away) - judges.elsewhere(training.asked)).mean()),
    )


def _worth(judges: Judges, seen: torch.Tensor, unseen: torch.Tensor, unseen_weight: float) -> NDArray[np.float64]:
    """Return the objective of adapted queries, without asking for what has no weight."""
    seen_values = judges.seen(seen)
    return Worth(seen_values, judges.unseen(unseen) if unseen_weight else seen_values).objective(unseen_weight)
