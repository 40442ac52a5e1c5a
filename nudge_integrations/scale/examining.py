"""One look at ids, and at vectors where odd ones are to be skipped: what becomes a document, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import InputError
from nudge_integrations.scale.catalogue import Catalogue, Skipped
from nudge_integrations.scale.duplicates import HashFile, repeated
from nudge_integrations.scale.id_column import id_hashes, id_texts
from nudge_integrations.scale.progress import progress_bar
from nudge_integrations.scale.vector_column import as_vectors, odd_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.scale.shards import ShardedTable

__all__ = ["TableColumns", "examine", "id_batches"]

_EXAMPLES = 20
_REPEATED = "with an id that came before"


@dataclass(frozen=True)
class TableColumns:
    """The columns to read of a table.

    Attributes:
        id: The column of ids.
        vector: The column of vectors.
        dimension: How many numbers a vector has.
    """

    id: str
    vector: str
    dimension: int


@dataclass
class _Finding:
    """The faulty rows of one piece."""

    kept: NDArray[np.bool_] | None
    rows: int
    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[int, str]] = field(default_factory=list)

    def leave_out(self, row: int, reason: str) -> None:
        self.kept = np.ones(self.rows, bool) if self.kept is None else self.kept
        if self.kept[row]:
            self.kept[row] = False
            self.wrong[reason] += 1
            self.examples += [(row, reason)] if len(self.examples) < _EXAMPLES else []


def examine(
    table: ShardedTable, columns: TableColumns, *, skip: bool, check_ids: bool, threads: int, progress: bool
) -> tuple[Catalogue, Skipped]:
    """Number the documents of a table.

    Args:
        table: The table, with its filter.
        columns: What to read.
        skip: Leave out rows with odd vectors, without ids, or with ids that came before, and count them. Else vectors
            are not read, and odd ids are refused.
        check_ids: Look for ids that are missing or repeated.
        threads: How many pieces to read at once.
        progress: Show a progress bar.

    Raises:
        InputError: If ids are missing or repeated, and not skipped; names the files and rows.
    """
    findings: list[_Finding] = [_Finding(None, shard.rows) for shard in table.shards]
    total = sum(shard.rows for shard in table.shards)
    with HashFile(total) as hashes, progress_bar("checking rows", total, progress) as bar:

        def look(shard: int) -> None:
            found = findings[shard]
            found.kept = table.matches(shard)
            for rows, texts, wrong in _read(table, columns, shard, skip, check_ids):
                for row, reason in wrong.items():
                    found.leave_out(rows.start + row, reason)
                if texts is not None:
                    hashes.add(_usable_hashes(texts, rows.start, found, table.shards[shard].name, skip))
                bar.update(len(rows))

        with ThreadPoolExecutor(max(1, threads)) as pool:
            list(pool.map(look, range(len(findings))))
        candidates = hashes.repeated() if check_ids else np.zeros(0, np.uint64)
    if len(candidates):
        _part_repeated(table, columns, findings, candidates, skip)
    kept = [None if f.kept is None or f.kept.all() else np.packbits(f.kept) for f in findings]
    return Catalogue(table.shards, kept), _skipped(table, findings)


def id_batches(table: ShardedTable, column: str, shard: int) -> Iterator[tuple[int, Any]]:
    """Yield the ids of a piece as pyarrow arrays of text, each with its first row."""
    start = 0
    for batch in table.batches(shard, [column]):
        yield start, id_texts(batch.column(0))
        start += len(batch)


def _read(
    table: ShardedTable, columns: TableColumns, shard: int, skip: bool, check_ids: bool
) -> Iterator[tuple[range, Any, dict[int, str]]]:
    """Yield the rows of a batch, their ids or None, and what is wrong with their vectors."""
    wanted = [*([columns.vector] if skip else []), *([columns.id] if check_ids else [])]
    start = 0
    for batch in table.batches(shard, wanted) if wanted else ():
        wrong: dict[int, str] = {}
        if skip:
            vectors, wrong = as_vectors(batch.column(columns.vector), columns.dimension)
            wrong = {**odd_rows(vectors), **wrong}
        rows = range(start, start + len(batch))
        yield rows, id_texts(batch.column(columns.id)) if check_ids else None, wrong
        start = rows.stop


def _usable_hashes(texts: Any, start: int, found: _Finding, name: str, skip: bool) -> NDArray[np.uint64]:
    """Return the hashes of ids that count; a missing one is refused, or left out."""
    counts = np.ones(len(texts), bool) if found.kept is None else found.kept[start : start + len(texts)].copy()
    if texts.null_count:
        for row in map(int, np.flatnonzero(texts.is_null().to_numpy(zero_copy_only=False) & counts)):
            if not skip:
                raise InputError(f"{name}, row {start + row} has no id: give it one, or leave it out with skip=True")
            found.leave_out(start + row, "without an id")
            counts[row] = False
        texts = texts.fill_null("")
    return id_hashes(texts)[counts]


def _part_repeated(
    table: ShardedTable, columns: TableColumns, findings: list[_Finding], candidates: NDArray[np.uint64], skip: bool
) -> None:
    """Refuse ids that are there twice, or leave out all but the first of each."""
    count = len(candidates)
    if not skip:
        candidates = candidates[:_EXAMPLES]
    first: dict[str, tuple[int, int]] = {}
    again: list[tuple[str, int, int]] = []
    for shard in range(len(table.shards)):
        kept = findings[shard].kept
        for start, texts in id_batches(table, columns.id, shard):
            filled = texts.fill_null("")
            for row in map(int, np.flatnonzero(repeated(id_hashes(filled), candidates))):
                if texts[row].is_valid and (kept is None or kept[start + row]):
                    text, here = texts[row].as_py(), (shard, start + row)
                    if first.setdefault(text, here) != here:
                        again.append((text, *here))
    if again and not skip:
        text, shard, at_again = again[0]
        where, at = first[text]
        raise InputError(
            f"the id {text!r} is there twice: {table.shards[where].name}, row {at}, and {table.shards[shard].name}, "
            f"row {at_again} ({count:,} repeated ids in all): give every document one id, or keep the first of each "
            "with skip=True"
        )
    for _, where, at in again:
        findings[where].leave_out(at, _REPEATED)


def _skipped(table: ShardedTable, findings: list[_Finding]) -> Skipped:
    counts: Counter[str] = Counter()
    examples: list[tuple[str, int, str]] = []
    for shard, found in zip(table.shards, findings, strict=True):
        counts.update(found.wrong)
        examples += [(shard.name, row, reason) for row, reason in found.examples]
    return Skipped(dict(counts), tuple(examples[:_EXAMPLES]))
