"""Labels with a known pattern for query maps and nudges, and the slow metric."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Arrays = tuple[NDArray[np.float64], NDArray[np.float64], sparse.csr_array]


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / lengths


def planted(seed: int, *, documents: int = 80, queries: int = 320, turned: float = 0.0, hidden: float = 0.0) -> Arrays:
    """Queries that are documents, turned by one linear map, or each by something hidden of its document, and noise."""
    random = np.random.default_rng(seed)
    corpus = unit(random.normal(size=(documents, 12)))
    relevant = random.integers(0, documents, queries)
    rotation = np.linalg.qr(random.normal(size=(12, 12)))[0]
    away = unit(random.normal(size=(documents, 12)))
    labelled = corpus @ (np.eye(12) + turned * rotation) + hidden * away
    noisy = unit(labelled[relevant] + 0.25 * random.normal(size=(queries, 12)))
    gains = sparse.csr_array((np.ones(queries), (np.arange(queries), relevant)), shape=(queries, documents))
    return corpus, noisy, gains


def ndcg(documents: NDArray[np.float64], query: NDArray[np.float64], gains: NDArray[np.float64], k: int = 10) -> float:
    order = np.argsort(-(documents @ query), kind="stable")[:k]
    ideal = np.sort(gains)[::-1][:k]
    discount = 1.0 / np.log2(np.arange(k) + 2.0)
    return float((gains[order] * discount[: len(order)]).sum() / (ideal * discount[: len(ideal)]).sum())


def two_topics(queries: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Arrays]:
    """Two topics far apart, each turned in its own way: what one teaches misleads the other.

    Returns:
        The topic of each document, the relevant document of each query, and the labels.
    """
    random = np.random.default_rng(3)
    centre = unit(random.normal(size=(2, 24)))
    topic = np.repeat([0, 1], 60)
    documents = unit(centre[topic] + 0.9 * unit(random.normal(size=(120, 24))))
    turns = [np.linalg.qr(random.normal(size=(24, 24)))[0] for _ in range(2)]
    relevant = random.integers(0, 120, queries)
    shifted = np.stack([documents[d] + 1.2 * documents[d] @ turns[topic[d]] for d in relevant])
    labelled = unit(shifted + 0.1 * random.normal(size=shifted.shape))
    positives = (np.ones(queries), (np.arange(queries), relevant))
    return topic, relevant, (documents, labelled, sparse.csr_array(positives, shape=(queries, 120)))
