"""A table in pieces on disk or in object storage, whatever its format: what is read of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BATCH_ROWS", "Shard", "ShardedTable"]

BATCH_ROWS = 8192
"""How many rows are decoded at a time."""


@dataclass(frozen=True)
class Shard:
    """A file of a table, or a fragment.

    Attributes:
        name: What to call it in messages: its path.
        rows: How many rows it holds.
        stamp: Changes when its content does.
    """

    name: str
    rows: int
    stamp: str


class ShardedTable(Protocol):
    """A table in pieces; rows of a piece are numbered from 0 in an order that does not change."""

    @property
    def location(self) -> str:
        """Where it is, for messages."""

    @property
    def shards(self) -> Sequence[Shard]:
        """The pieces, in an order that does not change."""

    @property
    def schema(self) -> Any:
        """The pyarrow schema."""

    def batches(self, shard: int, columns: Sequence[str], start: int = 0) -> Iterator[Any]:
        """Yield a piece's rows from ``start`` on as pyarrow record batches, in order, a bounded number at a time."""

    def matches(self, shard: int) -> NDArray[np.bool_] | None:
        """Return (rows,) which rows the filter lets through; None where there is no filter."""

    def take(self, shard: int, rows: NDArray[np.int64], column: str) -> Any:
        """Return some rows of a column, ascending, as a pyarrow array."""
