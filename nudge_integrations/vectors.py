"""Rows of vectors at the door: what may come in, and unit length.

numpy only, so that a saved nudge and a saved index can be served without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["as_rows", "row_lengths", "unit_rows"]

_LARGEST_LENGTH = 1e15


def as_rows(
    vectors: object, name: str, *, dimension: int | None = None, ids: Sequence[str] | None = None
) -> NDArray[Any]:
    """Return vectors as an (n, d) float32 array: a view where possible, a copy where the type differs.

    Args:
        vectors: (n, d) array, tensor on the CPU or nested lists of numbers.
        name: What to call them in messages.
        dimension: The d that is expected; any when None.
        ids: n names of the rows, for messages.

    Raises:
        InputError: If they are no (n, d) numbers, d differs, their number differs from that of ids, or a value is NaN
            or infinite.
    """
    rows = np.asarray(vectors)
    if rows.size == 0 and rows.ndim < 2:
        rows = rows.reshape(0, dimension or 0)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise InputError(f"{name} must be an (n, d) array of numbers, one vector a row; got {rows.dtype} {rows.shape}")
    if dimension is not None and rows.shape[1] != dimension:
        raise InputError(
            f"{name} have {rows.shape[1]} dimensions, expected {dimension}: do they come from the same encoder?"
        )
    if ids is not None and len(ids) != len(rows):
        raise InputError(f"{name}: {len(rows)} vectors came with {len(ids)} ids; there must be one id a vector")
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(rows, dtype=np.float32)
    row_lengths(rows, name, ids=ids)
    return rows


def row_lengths(rows: NDArray[Any], name: str, *, ids: Sequence[str] | None = None) -> NDArray[np.float64]:
    """Return the (n,) float64 Euclidean lengths of (n, d) float32 rows.

    Raises:
        InputError: If a row holds NaN or infinity; names it.
    """
    # In float64 the square of any float32 is finite, so a length that is not finite means a value that is not. Products
    # of longer vectors than the limit would leave float32.
    lengths: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    bad = np.flatnonzero(~(lengths < _LARGEST_LENGTH))
    if len(bad):
        raise InputError(f"{name}: {_row(int(bad[0]), ids)} is not finite (NaN, infinity or too large); embed it again")
    return lengths


def unit_rows(
    vectors: object, name: str, *, dimension: int | None = None, ids: Sequence[str] | None = None
) -> NDArray[np.float32]:
    """Return vectors scaled to unit length, as a new (n, d) float32 array.

    Args:
        vectors: (n, d) array of numbers.
        name: What to call them in messages.
        dimension: The d that is expected; any when None.
        ids: n names of the rows, for messages.

    Raises:
        InputError: As `as_rows`; also if a row is the zero vector, which has no direction.

    >>> unit_rows([[3.0, 4.0]], "documents").round(3).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    rows = as_rows(vectors, name, dimension=dimension, ids=ids)
    lengths = row_lengths(rows, name, ids=ids)
    zero = np.flatnonzero(lengths == 0)
    if len(zero):
        raise InputError(
            f"{name}: {_row(int(zero[0]), ids)} is the zero vector, which has no direction: "
            "embed it again or leave it out"
        )
    scaled: NDArray[np.float32] = np.multiply(rows, 1.0 / lengths[:, None], dtype=np.float32, casting="same_kind")
    return scaled


def _row(row: int, ids: Sequence[str] | None) -> str:
    return f"the vector of {ids[row]!r}" if ids is not None else f"row {row}"
