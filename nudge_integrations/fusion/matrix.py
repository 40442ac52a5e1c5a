"""BM25 of every token in every document, as the sparse matrix that bm25s looks scores up in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["score_matrix"]


def score_matrix(documents: Sequence[NDArray[np.int32]], words: int, k1: float, b: float) -> dict[str, Any]:
    """Return what bm25s computes document by document (Lucene's variant), in one go.

    Args:
        documents: The tokens of n documents, at least one of which has some.
        words: How many tokens there are.
        k1: As in `Bm25`.
        b: As in `Bm25`.

    Returns:
        A matrix (n, words) by columns: ``data`` float32, ``indices``, ``indptr``, and ``num_docs``.

    Example:
        >>> matrix = score_matrix([np.array([0, 1], np.int32), np.array([1], np.int32)], 2, 1.5, 0.75)
        >>> matrix["indices"].tolist(), matrix["indptr"].tolist()
        ([0, 0, 1], [0, 1, 3])
    """
    count = len(documents)
    lengths = np.array([len(tokens) for tokens in documents], np.int64)
    token = np.concatenate([np.zeros(0, np.int32), *documents]).astype(np.int64)
    pair, times = np.unique(token * count + np.repeat(np.arange(count), lengths), return_counts=True)
    token, row = np.divmod(pair, count)
    having = np.bincount(token, minlength=words)
    rarity = np.log1p((count - having + 0.5) / (having + 0.5))
    held_back = k1 * ((1.0 - b) + b * lengths / lengths.mean())
    data = rarity[token] * (times / (held_back[row] + times))
    starts = np.concatenate([[0], np.cumsum(having)])
    kind = np.int32 if len(pair) < 2**31 else np.int64
    return {
        "data": data.astype(np.float32),
        "indices": row.astype(np.int32),
        "indptr": starts.astype(kind),
        "num_docs": count,
    }
