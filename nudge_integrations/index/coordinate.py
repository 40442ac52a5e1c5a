"""One more coordinate, with which stores that only know cosine or L2 rank by inner product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nudge_integrations.corpus import as_rows, row_lengths
from nudge_integrations.errors import SimilarityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["with_extra_coordinate", "with_zero_coordinate", "without_extra_coordinate"]


def with_extra_coordinate(vectors: object, norm: float | None = None) -> NDArray[np.float32]:
    """Make cosine and L2 rank as the inner product does, exactly, by one more coordinate: sqrt(norm^2 - |x|^2).

    All vectors then have the length ``norm``, and with queries from `with_zero_coordinate` the inner product is
    unchanged, so cosine, L2 and inner product give one ranking (Bachrach et al., "Speeding up the Xbox recommender
    system using a Euclidean transformation for inner-product spaces", RecSys 2014).

    Args:
        vectors: (n, d) numbers.
        norm: The length to fill up to; the largest among the vectors when None. Later vectors must not be longer.

    Returns:
        (n, d + 1) float32.

    Raises:
        InputError: If a vector is not finite.
        SimilarityError: If a vector is longer than ``norm``.

    >>> with_extra_coordinate([[3.0, 4.0], [0.0, 4.0]]).tolist()
    [[3.0, 4.0, 0.0], [0.0, 4.0, 3.0]]
    """
    rows = as_rows(vectors, "vectors")
    lengths = row_lengths(rows, "vectors")
    largest = float(lengths.max(initial=0.0)) if norm is None else float(norm)
    if not np.isfinite(largest) or (lengths > largest * (1 + 1e-6)).any():
        raise SimilarityError(
            f"vectors of length up to {lengths.max(initial=0.0):.6g} do not fit under norm={largest:.6g}: "
            "write all vectors again with a larger norm"
        )
    extra = np.sqrt(np.maximum(largest**2 - lengths**2, 0.0))
    return np.column_stack([rows, extra]).astype(np.float32)


def with_zero_coordinate(queries: object) -> NDArray[np.float32]:
    """Give (m, d) queries the coordinate that meets `with_extra_coordinate`: 0.

    Returns:
        (m, d + 1) float32.

    Raises:
        InputError: If a query is not finite.
    """
    rows = as_rows(queries, "queries")
    return np.column_stack([rows, np.zeros(len(rows), dtype=np.float32)])


def without_extra_coordinate(vectors: object) -> NDArray[np.float32]:
    """Take the last coordinate off again: (n, d + 1) to (n, d) float32.

    Raises:
        InputError: If a vector is not finite.
    """
    return as_rows(vectors, "vectors")[:, :-1].copy()
