"""Arrays at the door: what may come in, and how a block of rows becomes unit vectors in float32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations.errors import InputError

__all__ = ["Matrix", "block_of", "check_matrix", "check_relevance", "device_of", "ragged", "row_blocks", "unit_rows"]

Matrix: TypeAlias = NDArray[np.floating] | torch.Tensor

# Squares of numbers outside this range leave float32; such rows are rescaled before their length is taken.
_SMALLEST_LENGTH, _LARGEST_LENGTH = 1e-15, 1e15


def check_matrix(matrix: object, name: str) -> Matrix:
    """Return a two-dimensional floating array or tensor as it is, or say what is wrong with it.

    Args:
        matrix: numpy array, memory map, torch tensor, or anything numpy turns into a floating array.
        name: What to call it in messages.

    Raises:
        InputError: If it is not two-dimensional or not of a floating type.
    """
    rows = matrix if isinstance(matrix, np.ndarray | torch.Tensor) else np.asarray(matrix)
    if rows.ndim != 2:
        raise InputError(f"{name} must be a matrix with one vector a row; got {rows.ndim} dimension(s)")
    if isinstance(rows, torch.Tensor):
        floating = rows.is_floating_point()
    else:  # wider numbers than float64 have no tensor
        floating = rows.dtype.kind == "f" and rows.dtype.itemsize <= 8
    if not floating:
        raise InputError(f"{name} must hold float16, bfloat16, float32 or float64 numbers; got {rows.dtype}")
    return rows.detach() if isinstance(rows, torch.Tensor) else rows


def check_relevance(relevance: object, queries: int, documents: int, name: str = "relevance") -> sparse.csr_array:
    """Return gains as a (queries, documents) float64 CSR array without duplicates or stored zeros.

    Duplicate entries are summed, as scipy does.

    Raises:
        InputError: If it is no matrix, its shape does not fit, or a gain is negative or not finite.
    """
    try:
        gains: sparse.csr_array[np.float64] = sparse.csr_array(cast("sparse.csr_array", relevance)).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a scipy sparse matrix of gains; got {type(relevance).__name__}") from error
    if gains.shape != (queries, documents):
        raise InputError(
            f"{name} must be (queries, documents) = ({queries}, {documents}); got {'x'.join(map(str, gains.shape))}"
        )
    bad = np.flatnonzero(~(np.isfinite(gains.data) & (gains.data >= 0)))
    if len(bad):
        query = int(np.searchsorted(gains.indptr, bad[0], side="right")) - 1
        raise InputError(
            f"{name} must hold finite gains >= 0; query row {query} has gain {gains.data[bad[0]]} "
            f"for document row {gains.indices[bad[0]]}"
        )
    gains.sum_duplicates()
    gains.eliminate_zeros()
    return gains


def device_of(matrix: Matrix, device: str | torch.device | None) -> torch.device:
    """Return the device asked for, else the one the vectors are on."""
    if device is not None:
        return torch.device(device)
    return matrix.device if isinstance(matrix, torch.Tensor) else torch.device("cpu")


def block_of(matrix: Matrix, rows: slice | NDArray[np.int64], device: torch.device) -> torch.Tensor:
    """Copy some rows into a fresh float32 tensor on a device."""
    if isinstance(matrix, torch.Tensor):
        picked = matrix[rows] if isinstance(rows, slice) else matrix[torch.from_numpy(rows).to(matrix.device)]
        return picked.to(device=device, dtype=torch.float32, copy=True)
    # A copy in the stored type first: torch refuses read-only memory, and converts half precision faster than numpy.
    copied = torch.from_numpy(np.array(matrix[rows], dtype=matrix.dtype.newbyteorder("="), order="C"))
    return copied.to(device=device, dtype=torch.float32)


def unit_rows(block: torch.Tensor, name: str, start: int = 0) -> torch.Tensor:
    """Scale each row of a float32 tensor to unit length, in place.

    Raises:
        InputError: If a row is zero, NaN or infinite; names the row, counted from ``start``.
    """
    lengths = torch.linalg.vector_norm(block, dim=1, keepdim=True)
    odd = torch.nonzero(~((lengths > _SMALLEST_LENGTH) & (lengths < _LARGEST_LENGTH))[:, 0])[:, 0]
    for row in odd.tolist():
        values = block[row].double()
        largest = float(values.abs().max()) if values.numel() else 0.0
        if not np.isfinite(largest) or largest == 0.0:
            what = "a zero vector" if largest == 0.0 else "not finite (NaN or infinity)"
            raise InputError(
                f"{name} row {start + row} is {what}; every vector needs a direction: drop the row or embed it again"
            )
        block[row] = (values / largest).float()
        lengths[row] = torch.linalg.vector_norm(block[row])
    return block.div_(lengths)


def row_blocks(count: int, rows: int) -> Iterator[slice]:
    """Yield slices that cover ``count`` rows, ``rows`` at a time."""
    for start in range(0, count, rows):
        yield slice(start, min(start + rows, count))


def ragged(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return owner and position of every item when owner i has ``counts[i]`` of them.

    Example:
        >>> owner, position = ragged(np.array([2, 0, 1]))
        >>> owner.tolist(), position.tolist()
        ([0, 0, 2], [0, 1, 0])
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
