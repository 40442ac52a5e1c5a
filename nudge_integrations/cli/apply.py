"""Apply a saved nudge to a file of document vectors, or its query map to query vectors, block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.screen import shows_bars
from nudge_integrations.cli.vector_files import BLOCK_ROWS, read_ids, read_vectors
from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ApplyJob"]


@dataclass(frozen=True)
class ApplyJob:
    """A nudge, and the vectors to apply it to.

    Attributes:
        nudge: The nudge.
        ids: n document ids; None where the vectors are those of queries.
        vectors: (n, d) base vectors; may be a memory map.
    """

    nudge: Nudge
    ids: Sequence[str] | None
    vectors: NDArray[Any]

    @classmethod
    def open(cls, nudge: Path, vectors: Path, ids: Path | None, tensor: str | None = None) -> ApplyJob:
        """Open the files; without ids the vectors are those of queries.

        Raises:
            ArtifactError: If the nudge cannot be used.
            InputError: If a file cannot be read, the numbers of ids and vectors differ, or an id comes twice.
        """
        stored = read_vectors(vectors, tensor)
        if ids is None:
            return cls(Nudge.load(nudge), None, stored)
        names = read_ids(ids)
        if len(names) != len(stored):
            raise InputError(
                f"{vectors} holds {len(stored):,} vectors and {ids} {len(names):,} ids; give one id a vector"
            )
        if len(set(names)) != len(names):
            raise InputError(f"{ids} names {Counter(names).most_common(1)[0][0]!r} twice; every id must be there once")
        return cls(Nudge.load(nudge), names, stored)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self.vectors), int(self.vectors.shape[1])

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield the nudged vectors, or the mapped queries, in their order.

        Raises:
            MismatchError: If vectors are of another model or text, or nudged already.
        """
        edited = self._edited()
        for start in tqdm(
            range(0, len(self.vectors), BLOCK_ROWS), desc="Applying", unit="block", disable=not shows_bars()
        ):
            block = slice(start, start + BLOCK_ROWS)
            if self.ids is None:
                yield self.nudge.transform_queries(self.vectors[block])
            else:
                yield self.nudge.apply(self.ids[block], self.vectors[block], edited=edited)

    def _edited(self) -> frozenset[str]:
        """Return the documents that changed since the fit; whether they are too many is told over all blocks."""
        if self.ids is None:
            return frozenset()
        rows = [row for row, name in enumerate(self.ids) if name in self.nudge]
        names, base = [self.ids[row] for row in rows], self.vectors[rows]
        self.nudge.apply(names, base)  # refuses, or says which
        return frozenset(self.nudge.edited(names, base))

    def result(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        result = {
            "vectors": len(self.vectors),
            "dimension": self.shape[1],
            "similarity": self.nudge.similarity,
            "query_map": self.nudge.query_map is not None,
            "signals": {} if self.nudge.fusion is None else dict(self.nudge.fusion.weights),
        }
        if self.ids is None:
            return result
        moved = sum(name in self.nudge for name in self.ids)
        return {**result, "moved": moved, "absent": len(self.nudge) - moved}

    def __str__(self) -> str:
        """Describe the counts in a sentence."""
        count, mapped = len(self.vectors), self.nudge.query_map is not None
        if self.ids is None:
            return f"{count:,} queries {'mapped' if mapped else 'stay as they are: this nudge has no query map'}"
        result = self.result()
        moved = f"{result['moved']:,} of {count:,} vectors moved (similarity {self.nudge.similarity})"
        if result["absent"]:
            moved += f"; {result['absent']:,} of the {len(self.nudge):,} documents that it moves are not among the ids"
        if self.nudge.fusion is not None:
            moved += f"; whatever serves them must add its signals: {self.nudge.fusion}"
        return f"{moved}; queries go through a map: nudge apply --queries" if mapped else moved
