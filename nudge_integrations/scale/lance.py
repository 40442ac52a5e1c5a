"""A Lance dataset as a table in pieces, and a nudge of it as one commit that can be taken back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import InputError, MissingExtraError
from nudge_integrations.scale.shards import BATCH_ROWS, Shard

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LanceTable", "open_lance"]

_READAHEAD = 2


def open_lance(location: str | os.PathLike[str], version: int | None = None) -> Any:
    """Open a Lance dataset.

    Raises:
        InputError: If there is none.
        MissingExtraError: If pylance is not installed.
    """
    try:
        lance = import_module("lance")
    except ImportError as error:
        raise MissingExtraError("lance", "lance") from error
    try:
        return lance.dataset(os.fspath(location), version=version)
    except (OSError, ValueError) as error:
        raise InputError(f"{location} is no Lance dataset that can be opened: {error}") from error


@dataclass(frozen=True, eq=False)
class LanceTable:
    """One version of a Lance dataset; see `ShardedTable`. Its fragments are the pieces, without deleted rows.

    Attributes:
        location: What was given.
        dataset: The dataset, which stays at the version that it was opened at.
        shards: The fragments.
        filter: SQL, or a pyarrow expression; None for all rows.
    """

    location: str
    dataset: Any
    shards: Sequence[Shard]
    filter: Any

    @classmethod
    def open(cls, location: str | os.PathLike[str], filter: Any = None) -> LanceTable:
        """Open a dataset at its newest version.

        Raises:
            InputError: If there is none.
            MissingExtraError: If pylance is not installed.
        """
        opened = open_lance(location)
        if isinstance(filter, list):
            filter = import_module("pyarrow.parquet").filters_to_expression(filter)
        shards = []
        for fragment in opened.get_fragments():
            rows = fragment.count_rows()
            name = f"{location} fragment {fragment.fragment_id}"
            shards.append(Shard(name, rows, f"{name}:{opened.version}:{rows}"))
        return cls(os.fspath(location), opened, shards, filter)

    @property
    def schema(self) -> Any:
        """The pyarrow schema."""
        return self.dataset.schema

    def batches(self, shard: int, columns: Sequence[str], start: int = 0) -> Iterator[Any]:
        """Yield a fragment's rows from ``start`` on.

        Raises:
            InputError: If the fragment cannot be read.
        """
        if start >= self.shards[shard].rows:
            return
        try:
            yield from self._fragment(shard).to_batches(
                columns=list(columns), batch_size=BATCH_ROWS, offset=start, batch_readahead=_READAHEAD
            )
        except (OSError, ValueError) as error:
            raise InputError(f"{self.shards[shard].name} cannot be read: {error}") from error

    def matches(self, shard: int) -> NDArray[np.bool_] | None:
        """Return which rows of a fragment the filter lets through."""
        if self.filter is None:
            return None
        fragment = self._fragment(shard)
        try:
            every, found = (
                fragment.scanner(columns=[], filter=condition, with_row_address=True).to_table()["_rowaddr"].to_numpy()
                for condition in (None, self.filter)
            )
        except (OSError, ValueError) as error:
            raise InputError(f"the filter {self.filter} cannot be used on {self.location}: {error}") from error
        return np.isin(every, found)

    def take(self, shard: int, rows: NDArray[np.int64], column: str) -> Any:
        """Return some rows of a column, without reading others."""
        return self._fragment(shard).take(rows, columns=[column]).column(0).combine_chunks()

    def _fragment(self, shard: int) -> Any:
        return self.dataset.get_fragments()[shard]
