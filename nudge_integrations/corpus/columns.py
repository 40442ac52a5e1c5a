"""Vectors in the tables of other libraries: pandas, polars and pyarrow, none of which is imported here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nudge_integrations.corpus.refusals import refusal, refuse_odd_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_columns"]


def read_columns(vectors: object, name: str, ids: Sequence[str] | None) -> Any:
    """Return a DataFrame or a column of vectors as an array or as a list of vectors, anything else as it is.

    Raises:
        InputError: If columns hold no numbers, or a column's vectors differ in length; names the column or the row.
    """
    for library, kind, read in _READERS:
        # Whoever hands in such an object has loaded its library.
        if isinstance(vectors, getattr(sys.modules.get(library), kind, ())):
            return read(vectors, name, ids)
    return vectors


def _read_frame(frame: Any, name: str, _: Sequence[str] | None) -> NDArray[Any]:
    others = [str(column) for column, dtype in frame.dtypes.items() if dtype.kind not in "fiu"]
    if others:
        raise refusal(
            name,
            f"a DataFrame whose column {others[0]!r} holds no numbers",
            "select the columns of coordinates, or give the one column of vectors",
        )
    plain = all(isinstance(dtype, np.dtype) for dtype in frame.dtypes)
    array: NDArray[Any] = frame.to_numpy() if plain else frame.to_numpy(dtype=np.float64, na_value=np.nan)
    return array


def _read_series(series: Any, *_: object) -> Any:
    array = series.to_numpy()
    return list(array) if array.dtype == object else array


def _read_table(table: Any, name: str, _: object) -> Any:
    raise refusal(name, f"a table of {len(table.column_names)} columns", "give its column of vectors: table['vectors']")


def _read_arrow(column: Any, name: str, ids: Sequence[str] | None) -> NDArray[Any]:
    """Read a pyarrow Array or ChunkedArray of lists of numbers; a single chunk is not copied."""
    chunks = [getattr(chunk, "storage", chunk) for chunk in getattr(column, "chunks", [column])]
    if not all(hasattr(chunk, "value_lengths") for chunk in chunks):
        raise refusal(name, f"a column of {column.type}", "give a column whose values are lists of numbers")
    lengths = {length for chunk in chunks for length in chunk.value_lengths().unique().to_pylist()}
    if column.null_count or len(lengths) > 1:
        refuse_odd_row(column.to_pylist(), name, ids)
    parts = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1) for chunk in chunks if len(chunk)]
    if not parts:
        return np.empty((0, 0), np.float32)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


_Reader: TypeAlias = Callable[[Any, str, Sequence[str] | None], Any]
_READERS: tuple[tuple[str, str, _Reader], ...] = (
    ("pandas", "DataFrame", _read_frame),
    ("pandas", "Series", _read_series),
    ("polars", "Series", _read_series),
    ("pyarrow", "Table", _read_table),
    ("pyarrow", "Array", _read_arrow),
    ("pyarrow", "ChunkedArray", _read_arrow),
)
