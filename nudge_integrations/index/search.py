"""Exact top k of some rows by inner product: blocks of queries, ties by place, one answer for any block size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["top_rows"]

# Scores of one block of queries against every row; what bounds the memory of a search beside the vectors themselves.
_BLOCK_BYTES = 64 * 2**20


def top_rows(
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    k: int,
    *,
    largest_norm: float,
    places: NDArray[np.int64] | None = None,
    allowed: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows with the k largest inner products with each query, best first.

    The float32 product of a whole block only finds the candidates: its last bits depend on how the rows are blocked, so
    equal vectors could score differently. The candidates are scored again in float64, one by one, and that decides.

    Args:
        vectors: (n, d) float32, finite.
        queries: (m, d) float32, finite.
        k: At most this many rows a query.
        largest_norm: No row is longer.
        places: (n,) int64: what decides among equal scores, smallest first; the row itself when None.
        allowed: The rows to choose from, ascending; all when None.

    Returns:
        (m, c) int64 rows and (m, c) float32 scores, with c = min(k, rows to choose from).
    """
    count = len(vectors) if allowed is None else len(allowed)
    kept = min(k, count)
    rows = np.empty((len(queries), kept), dtype=np.int64)
    scores = np.empty((len(queries), kept), dtype=np.float32)
    if kept == 0:
        return rows, scores
    block = max(1, _BLOCK_BYTES // (4 * max(1, len(vectors))))
    for start in range(0, len(queries), block):
        some = queries[start : start + block]
        products = some @ vectors.T
        products = products if allowed is None else products[:, allowed]
        for offset, (query, product) in enumerate(zip(some, products, strict=True)):
            found = _candidates(product, kept, _rounding(query, largest_norm))
            found = found if allowed is None else allowed[found]
            exact = _exact(vectors, found, query)
            order = np.lexsort((found if places is None else places[found], -exact))[:kept]
            rows[start + offset], scores[start + offset] = found[order], exact[order]
    return rows, scores


def _rounding(query: NDArray[np.float32], largest_norm: float) -> float:
    """Bound how far a float32 inner product is from the exact one: d eps |x| |q|."""
    length = float(np.linalg.norm(query.astype(np.float64)))
    return len(query) * float(np.finfo(np.float32).eps) * largest_norm * length


def _candidates(product: NDArray[np.float32], kept: int, rounding: float) -> NDArray[np.int64]:
    """Return every position that could be among the k largest exact scores."""
    if kept == len(product):
        return np.arange(len(product))
    kth = float(np.partition(product, len(product) - kept)[len(product) - kept])
    # In float32, rounded down: a float64 threshold would copy the whole row to float64.
    threshold = np.nextafter(np.float32(kth - 2 * rounding), np.float32(-np.inf))
    return np.flatnonzero(product >= threshold)


def _exact(vectors: NDArray[np.float32], rows: NDArray[np.int64], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Score rows in float64, each in the same order of additions whatever its place, then round to float32."""
    exact = np.empty(len(rows), dtype=np.float32)
    wide = query.astype(np.float64)
    size = max(1, _BLOCK_BYTES // (8 * max(1, vectors.shape[1])))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        exact[start : start + size] = (vectors[part] * wide).sum(axis=1)
    return exact
