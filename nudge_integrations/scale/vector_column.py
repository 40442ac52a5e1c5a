"""A column of vectors as numbers, and which of its rows hold none."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["as_vectors", "dimension_of", "is_vector_type", "odd_rows", "vector_array"]

# Outside this range squares leave float32; such vectors are no embeddings, or are made so by whoever reads them.
_MISSING = "missing"
_ODD = "not finite (NaN or infinity)"
_ZERO = "a zero vector"


def is_vector_type(kind: Any) -> bool:
    """Say whether a pyarrow type is a list of numbers, of fixed or variable length."""
    types = import_module("pyarrow").types
    inner = getattr(kind, "value_type", None)
    return (
        inner is not None
        and not types.is_dictionary(kind)
        and bool(types.is_floating(inner) or types.is_integer(inner))
    )


def dimension_of(column: Any) -> int | None:
    """Return how many numbers the vectors of a column have: what its type says, else what most rows have; or None."""
    column = _storage(column)
    if hasattr(column.type, "list_size"):
        return int(column.type.list_size)
    lengths = column.value_lengths().drop_null().to_numpy(zero_copy_only=False)
    lengths = lengths[lengths > 0]
    return int(np.bincount(lengths).argmax()) if len(lengths) else None


def as_vectors(column: Any, dimension: int) -> tuple[NDArray[Any], dict[int, str]]:
    """Return a pyarrow array of lists as (b, d) numbers, and what is wrong with rows that are no d numbers.

    The numbers are those of the column, not copied where every row is right; rows that are wrong are zero. NaN and
    zero vectors are not looked for, see `odd_rows`.

    Raises:
        InputError: If the column holds no lists of numbers.

    >>> import pyarrow as pa
    >>> as_vectors(pa.array([[1.0, 2.0], None, [3.0]]), 2)
    (array([[1., 2.],
           [0., 0.],
           [0., 0.]]), {1: 'missing', 2: '1 number instead of 2'})
    """
    column = _storage(column)
    if not is_vector_type(column.type):
        raise InputError(f"vectors are {column.type}; expected lists of float16, float32, float64 or whole numbers")
    wrong = _wrong_lengths(column, dimension)
    if not wrong:
        return _numbers(column.flatten()).reshape(len(column), dimension), {}
    right = np.ones(len(column), bool)
    right[list(wrong)] = False
    numbers = _numbers(column.filter(import_module("pyarrow").array(right)).flatten())
    vectors = np.zeros((len(column), dimension), numbers.dtype)
    vectors[right] = numbers.reshape(-1, dimension)
    return vectors, wrong


def odd_rows(vectors: NDArray[Any]) -> dict[int, str]:
    """Return what is wrong with rows of (b, d) numbers that have no direction."""
    # In float64 no square of a float32 overflows, and none that is a number vanishes.
    lengths = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    rows = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0.0)))
    return {int(row): _ZERO if lengths[row] == 0.0 else _ODD for row in rows}


def vector_array(vectors: NDArray[Any], kind: Any) -> Any:
    """Return (b, d) numbers as a pyarrow array of a type of lists, rounded to its numbers."""
    arrow = import_module("pyarrow")
    if isinstance(kind, arrow.BaseExtensionType):
        return arrow.ExtensionArray.from_storage(kind, vector_array(vectors, kind.storage_type))
    numbers = arrow.array(np.ascontiguousarray(vectors.astype(kind.value_type.to_pandas_dtype())).ravel())
    if hasattr(kind, "list_size"):
        return arrow.FixedSizeListArray.from_arrays(numbers, type=kind)
    large = arrow.types.is_large_list(kind)
    offsets = np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int64 if large else np.int32)
    lists = arrow.LargeListArray if large else arrow.ListArray
    return lists.from_arrays(arrow.array(offsets), numbers, type=kind)


def _storage(column: Any) -> Any:
    return getattr(column, "storage", column)


def _numbers(values: Any) -> NDArray[Any]:
    """Return the values of lists as floating-point numbers; those that are missing become NaN."""
    numbers: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return numbers if numbers.dtype.kind == "f" else numbers.astype(np.result_type(numbers.dtype, np.float32))


def _wrong_lengths(column: Any, dimension: int) -> dict[int, str]:
    if hasattr(column.type, "list_size") and int(column.type.list_size) == dimension:
        missing = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)) if column.null_count else ()
        return dict.fromkeys(map(int, missing), _MISSING)
    lengths = column.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)
    return {int(row): _length(int(lengths[row]), dimension) for row in np.flatnonzero(lengths != dimension)}


def _length(length: int, dimension: int) -> str:
    if length < 0:
        return _MISSING
    return f"{length} number{'' if length == 1 else 's'} instead of {dimension}"
