"""Which documents to ask questions for, and which questions find their document again."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

# More clusters would cost more than they spread: a round takes one document of each.
CLUSTERS = 64

# Scores held at once while questions are checked: 64 MiB of float32.
BLOCK = 2**24


def covering_sample(vectors: NDArray[np.float32], size: int, seed: int) -> list[int]:
    """Choose documents from all over a collection: k-means clusters, one random document of each in turn.

    Args:
        vectors: (n, d) float32, one a document.
        size: How many to choose.
        seed: Another seed, another choice.

    Returns:
        At most ``size`` row numbers, ascending.
    """
    if size >= len(vectors):
        return list(range(len(vectors)))
    random = np.random.default_rng(seed)
    # Equal vectors once: k-means cannot start with more clusters than there are different points.
    points, point_of = np.unique(_unit(vectors), axis=0, return_inverse=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty")  # which costs nothing here
        _, label_of = kmeans2(points, min(size, CLUSTERS, len(points)), minit="++", seed=random)
    labels = label_of[point_of.reshape(-1)]
    turn = np.zeros(len(vectors), np.int64)
    order = random.permutation(len(vectors))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        turn[members] = np.arange(len(members))
    # Sorted by turn and, within a turn, at random: every cluster gives its first document before any its second.
    chosen = order[np.argsort(turn[order], kind="stable")][:size]
    return sorted(chosen.tolist())


def found_again(
    queries: NDArray[np.float32], documents: NDArray[np.float32], own: NDArray[np.int64], k: int
) -> NDArray[np.bool_]:
    """Tell for each query whether its own document is among the k nearest by cosine.

    Args:
        queries: (m, d) float32.
        documents: (n, d) float32.
        own: (m,) int64, the row of the document that each query was written for.
        k: How many documents are retrieved; of equally near ones the earlier.

    Returns:
        (m,) bool.
    """
    documents = _unit(documents)
    step = max(1, BLOCK // max(1, len(documents)))
    kept = np.zeros(len(queries), np.bool_)
    for start in range(0, len(queries), step):
        rows = own[start : start + step, None]
        scores = _unit(queries[start : start + step]) @ documents.T
        mine = np.take_along_axis(scores, rows, axis=1)
        earlier = np.arange(len(documents)) < rows
        before = (scores > mine).sum(axis=1) + ((scores == mine) & earlier).sum(axis=1)
        kept[start : start + step] = before < k
    return kept


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float32)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
