"""Which queries teach and which are judged: at random, by documents that nobody labelled, and by topic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from _labelled import Collection, Labels, Split
from scipy.cluster.vq import kmeans2

SHARE = 0.3  # of the labelled documents lose their labels


def at_random(collection: Collection, seed: int) -> list[Split]:
    """70 % training, 10 % validation and 20 % test queries."""
    train, known = _cut(np.random.default_rng(seed).permutation(len(collection.labels)), 0.7)
    validation, test = np.split(known, [int(0.8 * len(collection.labels)) - len(train)])
    return [Split(*(collection.labels.take(rows) for rows in (train, validation, test)))]


def by_document(collection: Collection, seed: int) -> list[Split]:
    """Judge the queries that want any of 30 % of the labelled documents; the other queries teach."""
    labels = collection.labels
    wanted = np.unique(labels.gains.indices)
    stripped = np.zeros(labels.gains.shape[1])
    stripped[np.random.default_rng(seed).permutation(wanted)[: int(SHARE * len(wanted))]] = 1.0
    return [_split(labels, np.asarray(labels.gains @ stripped) > 0, seed)]


def by_cluster(collection: Collection, seed: int) -> list[Split]:
    """Judge either of two k-means clusters of the queries by what the other taught."""
    queries = collection.labels.queries.astype(np.float64)
    cluster = kmeans2(queries, 2, seed=seed, minit="++")[1]
    return [_split(collection.labels, cluster == judged, seed) for judged in (0, 1)]


def _split(labels: Labels, judged: npt.NDArray[np.bool_], seed: int) -> Split:
    teaching = np.random.default_rng(seed).permutation(np.flatnonzero(~judged))
    return Split(*(labels.take(rows) for rows in (*_cut(teaching, 7 / 8), np.flatnonzero(judged))))


def _cut(rows: npt.NDArray[np.int64], share: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    first = int(share * len(rows))
    return rows[:first], rows[first:]


# Table -> how it splits, and the collections that it is made of.
TABLES: dict[str, tuple[Callable[[Collection, int], list[Split]], tuple[str, ...]]] = {
    "test": (at_random, ("scifact", "nfcorpus", "stackfaq", "squad2", "sealtools", "metatool")),
    "unseen": (by_document, ("squad2", "stackfaq", "scifact", "sealtools")),
    "clusters": (by_cluster, ("scifact", "nfcorpus", "stackfaq", "squad2", "sealtools")),
}
