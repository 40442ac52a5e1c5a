"""Arrays at the door: documents, queries and gains, checked and brought to float32 unit rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations.errors import InputError

__all__ = ["Matrix", "as_matrix", "as_relevance", "row_blocks", "unit_block"]

Matrix: TypeAlias = NDArray[np.floating] | torch.Tensor


def as_matrix(vectors: object, name: str) -> Matrix:
    """Return (rows, d) floating vectors as they are; a memory map stays one.

    Raises:
        InputError: If they are no matrix of float16, bfloat16, float32 or float64.
    """
    rows = vectors.detach() if isinstance(vectors, torch.Tensor) else np.asarray(vectors)
    floating = rows.is_floating_point() if isinstance(rows, torch.Tensor) else rows.dtype.kind == "f"
    if rows.ndim != 2 or not floating or rows.dtype.itemsize > 8:
        raise InputError(
            f"{name} must be a matrix of float16, bfloat16, float32 or float64 with one vector a row; "
            f"got {rows.dtype} of shape {tuple(rows.shape)}"
        )
    return rows


def as_relevance(relevance: object, queries: int, documents: int) -> sparse.csr_array:
    """Return gains as (queries, documents) float64 without duplicates (these are summed) or stored zeros.

    Raises:
        InputError: If it is no such matrix, or a gain is negative or not finite.
    """
    try:
        gains: sparse.csr_array[np.float64] = sparse.csr_array(cast("sparse.csr_array", relevance)).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"relevance must be a scipy sparse matrix of gains; got {type(relevance).__name__}") from error
    if gains.shape != (queries, documents):
        raise InputError(
            f"relevance must be (queries, documents) = ({queries}, {documents}); got {'x'.join(map(str, gains.shape))}"
        )
    if not (np.isfinite(gains.data) & (gains.data >= 0)).all():
        raise InputError("relevance must hold finite gains >= 0; give 0 where a document is not relevant to a query")
    gains.sum_duplicates()
    gains.eliminate_zeros()
    return gains


def unit_block(matrix: Matrix, rows: slice, device: torch.device, name: str) -> torch.Tensor:
    """Copy some rows to a device as float32 of unit length.

    Raises:
        InputError: If a row is zero, NaN or infinite; names it.
    """
    if isinstance(matrix, torch.Tensor):
        part = matrix[rows]
    else:  # a copy first: torch refuses read-only memory and foreign byte orders
        part = torch.from_numpy(np.array(matrix[rows], dtype=matrix.dtype.newbyteorder("="), order="C"))
    # Rows are first scaled by their largest number, so that no square leaves the range of float32.
    block = part.to(device, torch.promote_types(part.dtype, torch.float32))
    largest = block.abs().amax(dim=1, keepdim=True) if block.numel() else block[:, :1]
    odd = torch.nonzero(~((largest > 0) & torch.isfinite(largest))[:, 0])[:, 0]
    if len(odd):
        raise InputError(
            f"{name} row {rows.start + int(odd[0])} is zero, NaN or infinite; "
            "every vector needs a direction: drop the row or embed it again"
        )
    return torch.nn.functional.normalize((block / largest).float(), dim=1)


def row_blocks(count: int, rows: int) -> Iterator[slice]:
    """Yield slices that cover ``count`` rows, ``rows`` at a time."""
    for start in range(0, count, max(1, rows)):
        yield slice(start, min(start + max(1, rows), count))
