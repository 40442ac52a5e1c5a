"""The documents of a table as blocks of unit vectors, in their order, whatever pieces they lie in."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nudge_integrations.corpus.arrays import unit_block
from nudge_integrations.errors import InputError
from nudge_integrations.scale.read_ahead import read_ahead
from nudge_integrations.scale.vector_column import as_vectors, odd_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.scale.catalogue import Catalogue
    from nudge_integrations.scale.examining import TableColumns
    from nudge_integrations.scale.shards import ShardedTable

__all__ = ["DocumentBlocks"]


@dataclass(frozen=True, eq=False)
class DocumentBlocks:
    """Reads documents in order; blocks have one size, so that scores do not depend on how a table is cut into pieces.

    Attributes:
        table: The table.
        columns: What to read of it.
        catalogue: Which rows are documents.
        block_rows: Documents in a block; the last may have fewer.
        pieces_ahead: How many pieces are read at once; 1 reads in the calling thread.
    """

    table: ShardedTable
    columns: TableColumns
    catalogue: Catalogue
    block_rows: int
    pieces_ahead: int = 1

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the first document of a block and its (b, d) float32 unit vectors.

        Raises:
            InputError: If a row has no vector of the right length, or one that is zero, NaN or infinite; names the file
                and the row. Also if there are fewer rows than there were.
        """
        row = start
        block = torch.empty(min(self.block_rows, stop - start), self.columns.dimension)
        filled = 0
        for vectors in self._pieces(start, stop):
            used = 0
            while used < len(vectors):
                part = vectors[used : used + len(block) - filled]
                # A copy in the stored type first: torch refuses read-only memory, and converts half precision fast.
                block[filled : filled + len(part)] = torch.from_numpy(np.array(part))
                filled, used = filled + len(part), used + len(part)
                if filled == len(block):
                    yield row, self._unit(block, row)
                    row += filled
                    block, filled = torch.empty(min(self.block_rows, stop - row), self.columns.dimension), 0
        if row < stop:
            raise _short(self.catalogue.place(row + filled)[0])

    def gather(self, rows: NDArray[np.int64], threads: int) -> NDArray[np.float32]:
        """Return the base vectors (r, d) of ascending documents, reading several pieces at once.

        Raises:
            InputError: As `blocks`.
        """
        found = np.empty((len(rows), self.columns.dimension), np.float32)

        def read(shard: int, part: slice, inside: NDArray[np.int64]) -> None:
            vectors, wrong = as_vectors(self.table.take(shard, inside, self.columns.vector), self.columns.dimension)
            if len(vectors) != len(inside):
                raise _short(self.table.shards[shard].name)
            with np.errstate(over="ignore"):
                found[part] = vectors
            for row, reason in {**odd_rows(found[part]), **wrong}.items():
                raise self._refusal(int(rows[part][row]), reason)

        with ThreadPoolExecutor(max(1, threads)) as pool:
            list(pool.map(lambda one: read(*one), self.catalogue.by_shard(rows)))
        return found

    def _unit(self, block: torch.Tensor, first: int) -> torch.Tensor:
        try:
            return unit_block(block, "documents", first)
        except InputError as error:
            odd = odd_rows(block.numpy())
            row, reason = next(iter(odd.items()), (0, str(error)))
            raise self._refusal(first + row, reason) from error

    def _pieces(self, start: int, stop: int) -> Iterator[NDArray[Any]]:
        """Yield the vectors of the documents from start to stop, some at a time."""
        starts = self.catalogue.starts
        low = int(np.searchsorted(starts, start, side="right")) - 1
        high = int(np.searchsorted(starts, stop, side="left"))
        for vectors in read_ahead([self._of_shard(shard, start) for shard in range(low, high)], self.pieces_ahead):
            yield vectors[: stop - start]
            start += len(vectors)
            if start >= stop:
                return

    def _of_shard(self, shard: int, start: int) -> Iterator[NDArray[Any]]:
        """Yield the vectors of a piece's documents from one on, or from its first."""
        inside = max(0, start - int(self.catalogue.starts[shard]))
        mask = self.catalogue.mask(shard)
        row = inside if mask is None else int(np.flatnonzero(mask)[inside]) if mask.any() else len(mask)
        for batch in self.table.batches(shard, [self.columns.vector], row):
            vectors, wrong = as_vectors(batch.column(0), self.columns.dimension)
            counts = None if mask is None else mask[row : row + len(batch)]
            for at, reason in wrong.items():
                if counts is None or counts[at]:
                    raise _odd(self.table.shards[shard].name, row + at, reason)
            row += len(batch)
            yield vectors if counts is None else vectors[counts]

    def _refusal(self, document: int, reason: str) -> InputError:
        return _odd(*self.catalogue.place(document), reason)


def _short(name: str) -> InputError:
    return InputError(f"{name} has fewer rows than it says, or was changed since it was opened: open the corpus again")


def _odd(name: str, row: int, reason: str) -> InputError:
    return InputError(
        f"{name}, row {row}: the vector is {reason}; every document needs one with a direction: drop the row, embed it "
        "again, or open the corpus with skip=True, which leaves such rows out and counts them"
    )
