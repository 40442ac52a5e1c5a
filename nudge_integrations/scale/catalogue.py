"""Which rows of a table in pieces are documents, and how they are numbered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nudge_integrations.scale.shards import Shard

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Catalogue", "Skipped"]


@dataclass(frozen=True)
class Skipped:
    """Rows that were left out because something is wrong with them.

    Attributes:
        counts: What is wrong -> how many rows.
        examples: The first of them, as ``(file, row, what is wrong)``.
    """

    counts: dict[str, int]
    examples: tuple[tuple[str, int, str], ...]

    def __len__(self) -> int:
        """Return how many rows were left out."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        """Say how many, and why."""
        if not self.counts:
            return "no row was skipped"
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.counts.items()))
        name, row, _ = self.examples[0]
        return f"{len(self):,} rows were skipped ({reasons}), the first in {name}, row {row}"


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Documents are numbered from 0: piece by piece, row by row, without the rows that do not count.

    Attributes:
        shards: The pieces.
        kept: For each piece the bits of its rows that count, packed; None where all do.
    """

    shards: Sequence[Shard]
    kept: Sequence[NDArray[np.uint8] | None]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(pieces + 1,) the first document of each piece, and n."""
        counts = [
            shard.rows if bits is None else int(np.unpackbits(bits).sum())
            for shard, bits in zip(self.shards, self.kept, strict=True)
        ]
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) of which documents these are."""
        digest = hashlib.sha256()
        for shard, bits in zip(self.shards, self.kept, strict=True):
            digest.update(f"{shard.stamp}\n".encode())
            digest.update(b"" if bits is None else bits.tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        """Return n, how many documents there are."""
        return int(self.starts[-1])

    def mask(self, shard: int) -> NDArray[np.bool_] | None:
        """Return (rows,) which rows of a piece count; None where all do."""
        bits = self.kept[shard]
        return None if bits is None else np.unpackbits(bits, count=self.shards[shard].rows).astype(bool)

    def rows_in(self, shard: int) -> NDArray[np.int64] | None:
        """Return the rows of a piece that are documents, ascending; None where all are."""
        mask = self.mask(shard)
        return None if mask is None else np.flatnonzero(mask)

    def by_shard(self, rows: NDArray[np.int64]) -> list[tuple[int, slice, NDArray[np.int64]]]:
        """Return for ascending documents the pieces they are in, which of them, and their rows in the piece."""
        bounds = np.searchsorted(rows, self.starts)
        found = []
        for shard in np.flatnonzero(np.diff(bounds)):
            part = slice(int(bounds[shard]), int(bounds[shard + 1]))
            inside = rows[part] - self.starts[shard]
            held = self.rows_in(int(shard))
            found.append((int(shard), part, inside if held is None else held[inside]))
        return found

    def place(self, row: int) -> tuple[str, int]:
        """Return the name of the piece that a document is in, and its row there."""
        ((shard, _, inside),) = self.by_shard(np.array([row], np.int64))
        return self.shards[shard].name, int(inside[0])
