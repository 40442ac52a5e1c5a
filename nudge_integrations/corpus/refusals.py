"""Error messages for vectors that cannot be used: what came, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nudge_integrations.errors import InputError

__all__ = ["refusal", "refuse_odd_row", "row_name"]


def row_name(name: str, row: int, ids: Sequence[str] | None) -> str:
    """Name a row in a message: by its id where there is one, else by its number."""
    return f"{name}: the vector of {ids[row]!r}" if ids is not None and row < len(ids) else f"{name} row {row}"


def refusal(name: str, came: str, advice: str) -> InputError:
    """Build the error for vectors of a kind or shape that cannot be used."""
    return InputError(f"{name} came as {came}; expected an (n, d) array of numbers, one vector a row: {advice}")


def refuse_odd_row(rows: object, name: str, ids: Sequence[str] | None) -> None:
    """Refuse a list by its first row that is no vector, or whose length differs from that of the first.

    Returns where no row is odd, or the rows are no list.

    Raises:
        InputError: Names the row.
    """
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        return
    expected = None
    for number, row in enumerate(rows):
        try:
            vector = np.asarray(row)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            vector = np.asarray(None)
        if vector.ndim != 1 or (vector.size and vector.dtype.kind not in "fiu"):
            came = "None" if row is None else f"no list of numbers but {type(row).__name__}"
            raise InputError(f"{row_name(name, number, ids)} is {came}: embed it again or leave it out")
        if not vector.size:
            raise InputError(f"{row_name(name, number, ids)} is empty: embed it again or leave it out")
        expected = len(vector) if expected is None else expected
        if len(vector) != expected:
            raise InputError(
                f"{row_name(name, number, ids)} has {len(vector)} numbers, the first {expected}: "
                "all must come from the same encoder; embed it again or leave it out"
            )
