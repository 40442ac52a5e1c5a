"""Items of unequal number per owner, in one flat array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ragged"]


def ragged(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return owner and position of every item when owner i has ``counts[i]`` of them.

    Example:
        >>> owner, position = ragged(np.array([2, 0, 1]))
        >>> owner.tolist(), position.tolist()
        ([0, 0, 2], [0, 1, 0])
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
