"""Queries that are documents themselves: which row each of them must not find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from nudge_integrations.solver import OptionValues

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["identical_rows"]


def identical_rows(
    queries: Iterable[str], row_of: Mapping[str, int], options: OptionValues
) -> NDArray[np.int64] | None:
    """Return the row of the document that has the id of each query, which it never finds.

    Args:
        queries: m ids of queries.
        row_of: Document id -> its row.
        options: As in `fit`; ``ignore_identical_ids`` says whether any is to be ignored.

    Returns:
        (m,) int64, -1 for queries that no document is named like; None where none is to be ignored.

    Example:
        >>> identical_rows(["t1", "q"], {"t0": 0, "t1": 1}, {"ignore_identical_ids": True}).tolist()
        [1, -1]
    """
    if not options.get("ignore_identical_ids"):
        return None
    return np.fromiter((row_of.get(query, -1) for query in queries), np.int64)
