"""Which queries teach and which are judged: at random, by documents that nobody labelled, and by topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from _labelled import NAMES, IntArray, Labels
from scipy.cluster.vq import kmeans2

SHARE = 0.3  # of the labelled documents lose their labels


class Rows(NamedTuple):
    """Which queries teach, which choose, and which judge."""

    train: IntArray
    validation: IntArray
    test: IntArray


def at_random(labels: Labels, seed: int) -> list[Rows]:
    """70 % training, 10 % validation and 20 % test queries."""
    order = np.random.default_rng(seed).permutation(len(labels))
    return [Rows(*np.split(order, [int(0.7 * len(order)), int(0.8 * len(order))]))]


def by_document(labels: Labels, seed: int) -> list[Rows]:
    """Judge the queries that want any of 30 % of the labelled documents; the other queries teach."""
    wanted = np.unique(labels.gains.indices)
    stripped = np.zeros(labels.gains.shape[1])
    stripped[np.random.default_rng(seed).permutation(wanted)[: int(SHARE * len(wanted))]] = 1.0
    asks = labels.gains @ stripped > 0
    return [_taught_by(np.flatnonzero(~asks), np.flatnonzero(asks), seed)]


def by_cluster(labels: Labels, seed: int) -> list[Rows]:
    """Judge either of two k-means clusters of the queries by what the other taught."""
    cluster = kmeans2(labels.queries.astype(np.float64), 2, seed=seed, minit="++")[1]
    return [_taught_by(np.flatnonzero(cluster != judged), np.flatnonzero(cluster == judged), seed) for judged in (0, 1)]


def _taught_by(teaching: IntArray, judged: IntArray, seed: int) -> Rows:
    order = np.random.default_rng(seed).permutation(teaching)
    train, validation = np.split(order, [int(7 / 8 * len(order))])
    return Rows(train, validation, judged)


# Table -> how it splits, and the collections that it is made of.
TABLES: dict[str, tuple[Callable[[Labels, int], list[Rows]], tuple[str, ...]]] = {
    "test": (at_random, NAMES),
    "unseen": (by_document, ("squad2", "stackfaq", "scifact", "sealtools")),
    "clusters": (by_cluster, ("scifact", "nfcorpus", "stackfaq", "squad2", "sealtools")),
}
