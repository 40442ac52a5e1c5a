"""Groups of like vectors: k-means on the unit sphere, small and seeded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nudge_integrations.corpus import unit_rows
from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["cluster"]

_ROUNDS = 100


def cluster(vectors: object, k: int, *, seed: int = 0, ids: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Group vectors by direction with k-means (Lloyd's rounds from a k-means++ start).

    Args:
        vectors: (m, d) numbers; their length does not matter.
        k: How many groups; m where there are fewer vectors.
        seed: Another seed, another start.
        ids: m names of the rows, for messages.

    Returns:
        (m,) int64 group of each vector; group 0 is the largest.

    Raises:
        InputError: If k < 1, or the vectors are no (m, d) finite numbers of length above 0.

    >>> cluster([[1, 0], [0, 1], [9, 1]], 2).tolist()
    [0, 1, 0]
    """
    if k < 1:
        raise InputError(f"the number of clusters must be at least 1; got {k!r}")
    rows = unit_rows(vectors, "query vectors", ids=ids).astype(np.float64)
    centres = _start(rows, min(k, len(rows)), np.random.default_rng(seed))
    groups = np.full(len(rows), -1)
    for _ in range(_ROUNDS):
        nearest = ((centres**2).sum(axis=1) - 2 * rows @ centres.T).argmin(axis=1)
        if (nearest == groups).all():
            break
        groups = nearest
        for number in np.unique(groups):
            centres[number] = rows[groups == number].mean(axis=0)
    return _largest_first(groups, len(centres))


def _start(rows: NDArray[np.float64], k: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw k rows, each with a chance proportional to its squared distance from the nearest drawn before."""
    chosen: list[int] = []
    distance = np.ones(len(rows))
    for _ in range(k):
        total = distance.sum()
        chosen.append(int(rng.choice(len(rows), p=distance / total if total > 0 else None)))
        distance = np.minimum(distance, ((rows - rows[chosen[-1]]) ** 2).sum(axis=1))
    return rows[chosen].copy()


def _largest_first(groups: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    order = np.argsort(-np.bincount(groups, minlength=k), kind="stable")
    place = np.empty(k, dtype=np.int64)
    place[order] = np.arange(k)
    numbers: NDArray[np.int64] = place[groups]
    return numbers
