"""The one place where vectors enter the package: what is accepted, how it is checked, and unit length.

Accepted are numpy arrays (memory maps too) and torch tensors on any device, of float16, bfloat16, float32, float64 or
whole numbers; lists of vectors; a pandas DataFrame of numeric columns; and a column of vectors: a pandas or polars
Series, a pyarrow array or a column of a pyarrow Table. Everything else is an `InputError` that says what came, what was
expected and what to do.

numpy alone is imported, so that a saved nudge can be served without torch; the other libraries are recognised where
they are loaded already.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nudge_integrations.corpus.columns import read_columns
from nudge_integrations.corpus.refusals import refusal, refuse_odd_row, row_name
from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    Matrix: TypeAlias = NDArray[Any] | torch.Tensor
else:
    Matrix = Any

__all__ = ["Matrix", "as_matrix", "as_rows", "row_lengths", "unit_rows"]

# Outside this range products of float32 vectors, or the inverse of a length, leave float32.
_SMALLEST_LENGTH, _LARGEST_LENGTH = 1e-15, 1e15
_TENSOR_FLOATS = {"torch.float16", "torch.bfloat16", "torch.float32", "torch.float64"}
_TENSOR_INTEGERS = {f"torch.{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


def as_matrix(vectors: object, name: str, *, ids: Sequence[str] | None = None) -> Matrix:
    """Return (n, d) floating-point numbers without reading them: arrays, memory maps and tensors as they are.

    Tensors are detached; whole numbers, lists and columns become an array. Values are not looked at: NaN passes.

    Args:
        vectors: Anything that holds n vectors of d numbers; see the module.
        name: What to call them in messages.
        ids: n names of the rows, for messages.

    Raises:
        InputError: If they are no (n, d) numbers.

    >>> as_matrix([[1, 2], [3, 4]], "documents").dtype
    dtype('float64')
    """
    if _is_tensor(vectors):
        tensor: torch.Tensor = _checked_tensor(vectors, name)
        return tensor
    array = read_columns(vectors, name, ids)
    if not isinstance(array, np.ndarray) or (array.dtype == object and array.ndim == 1):
        array = _stacked(array, name, ids)
    return _checked_array(array, name)


def as_rows(
    vectors: object, name: str, *, dimension: int | None = None, ids: Sequence[str] | None = None
) -> NDArray[np.float32]:
    """Return vectors as an (n, d) float32 array: a view where possible, a copy where type or place differ.

    Args:
        vectors: Anything that holds n vectors of d numbers; see the module.
        name: What to call them in messages.
        dimension: The d that is expected; any when None.
        ids: n names of the rows, for messages.

    Raises:
        InputError: If they are no (n, d) numbers, d differs, their number differs from that of ids, or a value is NaN,
            infinite or too large.

    >>> as_rows([[1, 2], [3, 4]], "documents").tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    matrix: Any = as_matrix(vectors, name, ids=ids)
    if not matrix.shape[0] and not matrix.shape[1]:  # an empty list has no dimension of its own
        matrix = np.empty((0, dimension or 0), np.float32)
    if dimension is not None and matrix.shape[1] != dimension:
        raise InputError(
            f"{name} have {matrix.shape[1]} dimensions, expected {dimension}: do they come from the same encoder?"
        )
    if ids is not None and len(ids) != len(matrix):
        raise InputError(f"{name}: {len(matrix)} vectors came with {len(ids)} ids; there must be one id a vector")
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(_on_cpu(matrix) if _is_tensor(matrix) else matrix, dtype=np.float32)
    row_lengths(rows, name, ids=ids)
    return rows


def unit_rows(
    vectors: object, name: str, *, dimension: int | None = None, ids: Sequence[str] | None = None
) -> NDArray[np.float32]:
    """Return vectors scaled to unit length, as a new (n, d) float32 array.

    Args:
        vectors: As `as_rows` takes them.
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
            f"{row_name(name, int(zero[0]), ids)} is the zero vector, which has no direction: "
            "embed it again or leave it out"
        )
    factors = 1.0 / np.maximum(lengths, _SMALLEST_LENGTH)[:, None]
    scaled: NDArray[np.float32] = np.multiply(rows, factors, dtype=np.float32, casting="same_kind")
    short = lengths < _SMALLEST_LENGTH
    scaled[short] = rows[short].astype(np.float64) / lengths[short, None]
    return scaled


def row_lengths(rows: NDArray[Any], name: str, *, ids: Sequence[str] | None = None) -> NDArray[np.float64]:
    """Return the (n,) float64 Euclidean lengths of (n, d) float32 rows.

    Raises:
        InputError: If a row holds NaN, infinity or numbers too large for float32 products; names it.

    >>> row_lengths(np.array([[3.0, 4.0]], np.float32), "documents").tolist()
    [5.0]
    """
    # In float64 the square of any float32 is finite, so a length that is not finite means a value that is not.
    lengths: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    bad = np.flatnonzero(~(lengths < _LARGEST_LENGTH))
    if len(bad):
        raise InputError(
            f"{row_name(name, int(bad[0]), ids)} is not finite (NaN, infinity or too large): "
            "embed it again or leave it out"
        )
    return lengths


def _checked_array(array: NDArray[Any], name: str) -> NDArray[Any]:
    if isinstance(array, np.ma.MaskedArray):
        raise refusal(name, "a masked array", "fill in what is masked or leave those rows out")
    if array.ndim == 1 and not array.size:
        array = array.reshape(0, 0).astype(np.float32)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "fiu" or size > 8:
        raise refusal(
            name, f"{_type_name(array.dtype)} {array.shape}", "give float16, float32, float64 or whole numbers"
        )
    _check_two_dimensions(array.shape, name)
    if not isinstance(array, np.memmap):
        array = np.asarray(array)  # subclasses such as np.matrix calculate in another way
    return array if kind == "f" else array.astype(np.result_type(array.dtype, np.float32))


def _type_name(dtype: np.dtype[Any]) -> str:
    named = {"O": "Python objects", "U": "text", "S": "bytes", "b": "truth values", "V": "records"}
    return named.get(dtype.kind, f"{dtype} numbers")


def _check_two_dimensions(shape: Sequence[int], name: str) -> None:
    if len(shape) == 1:
        raise refusal(name, f"one row of {shape[0]} numbers", "give one vector as [vector]")
    if len(shape) != 2:
        raise refusal(name, f"an array of shape {tuple(shape)}", "give an array of two dimensions")


def _is_tensor(vectors: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(vectors, torch.Tensor)


def _checked_tensor(tensor: Any, name: str) -> Any:
    kind = str(tensor.dtype)
    flags = {"nested": tensor.is_nested, "meta": tensor.is_meta, "sparse": str(tensor.layout) != "torch.strided"}
    found = next((word for word, flag in flags.items() if flag), None)
    if found is not None:
        raise refusal(name, f"a {found} tensor", "give a dense tensor that holds its numbers")
    if kind not in _TENSOR_FLOATS | _TENSOR_INTEGERS:
        raise refusal(
            name,
            f"a tensor of {kind[6:]} {tuple(tensor.shape)}",
            "give float16, bfloat16, float32, float64 or whole numbers",
        )
    _check_two_dimensions(tensor.shape, name)
    tensor = tensor.detach()
    if kind in _TENSOR_FLOATS:
        return tensor
    return tensor.float() if tensor.element_size() <= 2 else tensor.double()


def _on_cpu(tensor: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().cpu().float().resolve_neg().numpy()
    return array


def _stacked(vectors: Any, name: str, ids: Sequence[str] | None) -> NDArray[Any]:
    """Make an array of a list of vectors, or of anything else that numpy understands."""
    rows = vectors
    if isinstance(vectors, Sequence | np.ndarray) and not isinstance(vectors, str | bytes):
        rows = [_on_cpu(_checked_tensor(row[None], name))[0] if _is_row(row) else row for row in vectors]
    try:
        array = np.asarray(rows)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        refuse_odd_row(rows, name, ids)
        raise refusal(name, type(vectors).__name__, f"numpy cannot make an array of it ({error})") from error
    if array.dtype == object:
        refuse_odd_row(rows, name, ids)
        raise refusal(name, type(vectors).__name__, "give an array, a tensor or a list of vectors")
    return array


def _is_row(row: object) -> bool:
    return _is_tensor(row) and row.ndim == 1  # type: ignore[attr-defined]
