"""A copy of Parquet files with the moved rows in it, beside the old files; and the two exchanged at once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.artifact import Nudge
from nudge_integrations.errors import InputError
from nudge_integrations.scale.id_column import id_texts
from nudge_integrations.scale.moved_rows import Destinations, destinations
from nudge_integrations.scale.parquet import ParquetTable
from nudge_integrations.scale.progress import progress_bar
from nudge_integrations.scale.shards import BATCH_ROWS
from nudge_integrations.scale.vector_column import as_vectors, odd_rows, vector_array
from nudge_integrations.storage import exchange, replacing, write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.scale.file_corpus import FileCorpus

__all__ = ["Rewritten", "rewrite"]

# Row groups of new files are held in memory until they are written.
_GROUP_BYTES = 128 << 20
_MARK = ".nudge-rewrite.json"


@dataclass(frozen=True)
class Rewritten:
    """The files and rows that were written.

    Attributes:
        folder: Where the new files are; where the old ones are, once they were exchanged.
        files: How many files.
        rows: How many rows are in them.
        moved: How many of them moved.
        absent: How many documents the nudge moves that are not in the files.
        exchanged: Whether the new files are now where the old ones were.
    """

    folder: Path
    files: int
    rows: int
    moved: int
    absent: int
    exchanged: bool

    def __str__(self) -> str:
        """Say it in a sentence."""
        where = f"; {self.folder} holds the files as they were" if self.exchanged else f" to {self.folder}"
        gone = f", {self.absent:,} that the nudge moves are not there" if self.absent else ""
        return f"{self.rows:,} rows in {self.files:,} files, {self.moved:,} of them moved{gone}{where}"


def rewrite(
    nudge: Nudge, corpus: FileCorpus, output: str | os.PathLike[str], *, swap: bool = False, dry_run: bool = False
) -> Rewritten:
    """Write all files of a corpus again, with the moved vectors in place of the base vectors.

    Every file, row, column and type is as it was, rows that a filter leaves out too, and vectors that did not move are
    the same bit for bit; where lengths come to count (similarity ``"dot"``, or a shift), all vectors are those of
    `Nudge.apply`. A moved vector keeps the length of its base vector, unless lengths count. A run that was killed goes
    on where it was when it is called again: files that it has finished are not written again.

    Args:
        nudge: What to apply.
        corpus: The files, opened over base vectors.
        output: A folder on this machine, empty or absent; the new files lie in it as the old ones do.
        swap: Exchange the folder of the files with the new one at the end, in one step: readers see all old files or
            all new ones, and ``output`` then holds the old ones, with whatever else was in their folder.
        dry_run: Read and check everything, and write nothing.

    Raises:
        InputError: If the files are no Parquet, the output is where they are, or they are to be exchanged and are not
            on this machine.
        MismatchError: If vectors are of another model or text, or nudged already.
        OSError: If the disk refuses; the old files are whole.
    """
    table, target = corpus.table, Path(output)
    if not isinstance(table, ParquetTable):
        raise InputError("a Lance dataset takes a nudge as one commit instead: nudge_lance()")
    source = Path(table.root)
    _refuse_place(table, source, target, swap)
    mark = json.dumps({"nudge": nudge.fingerprint, "corpus": corpus.fingerprint})
    moved = destinations(nudge, corpus)
    if not dry_run:
        _begin(target, mark)
    total = sum(shard.rows for shard in table.shards)
    with progress_bar("writing files", total, corpus.progress) as bar, ThreadPoolExecutor(corpus.threads) as pool:

        def write(shard: int) -> int:
            path = target / os.path.relpath(table.shards[shard].name, source)
            rows = _write_file(nudge, corpus, table, moved, shard, None if dry_run else path)
            bar.update(table.shards[shard].rows)
            return rows

        count = sum(pool.map(write, range(len(table.shards))))
    if not dry_run:
        (target / _MARK).unlink()
        if swap:
            exchange(source, target)
    return Rewritten(target, len(table.shards), total, count, len(moved.absent), swap and not dry_run)


def _write_file(
    nudge: Nudge, corpus: FileCorpus, table: ParquetTable, moved: Destinations, shard: int, path: Path | None
) -> int:
    """Write one file and return how many of its rows moved; None only counts and checks."""
    parquet = import_module("pyarrow.parquet")
    name = table.shards[shard].name
    with parquet.ParquetFile(name, filesystem=table.filesystem, pre_buffer=False, buffer_size=4 << 20) as file:
        batches = (_nudged(nudge, corpus, moved, batch) for batch in file.iter_batches(BATCH_ROWS, use_threads=False))
        if path is None or path.exists():
            return sum(count for _, count in batches)
        with (
            replacing(path) as beside,
            parquet.ParquetWriter(beside, file.schema_arrow, **_settings(file, corpus)) as new,
        ):
            return _write_groups(new, batches, _group_rows(file))


def _write_groups(writer: Any, batches: Iterator[tuple[Any, int]], rows: int) -> int:
    """Write batches in row groups of about so many rows; return how many rows moved."""
    arrow = import_module("pyarrow")
    waiting: list[Any] = []
    moved = 0
    for batch, count in batches:
        moved += count
        waiting.append(batch)
        if sum(map(len, waiting)) >= rows:
            writer.write_table(arrow.Table.from_batches(waiting), rows)
            waiting = []
    if waiting:
        writer.write_table(arrow.Table.from_batches(waiting), rows)
    return moved


def _settings(file: Any, corpus: FileCorpus) -> dict[str, Any]:
    """Return what a new file takes over from an old one. Vectors get no dictionary: their numbers hardly repeat."""
    if not file.metadata.num_row_groups:
        return {}
    group = file.metadata.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    plain = [one.path_in_schema for one in columns if not one.path_in_schema.startswith(f"{corpus.columns.vector}.")]
    return {"compression": columns[0].compression.lower().replace("uncompressed", "none"), "use_dictionary": plain}


def _group_rows(file: Any) -> int:
    """Return the rows of a row group: as many as the old file has, as far as that fits into memory."""
    groups = file.metadata.num_row_groups
    if not groups:
        return BATCH_ROWS
    rows, size = file.metadata.row_group(0).num_rows, file.metadata.row_group(0).total_byte_size
    return int(max(1, min(rows, rows * _GROUP_BYTES // max(1, size))))


def _nudged(nudge: Nudge, corpus: FileCorpus, moved: Destinations, batch: Any) -> tuple[Any, int]:
    """Return a batch with moved vectors, and how many of its rows moved."""
    columns = corpus.columns
    ids = id_texts(batch.column(columns.id)).to_pylist()
    moves = np.array([one in moved.vectors for one in ids], bool)
    every = nudge.shift is not None or nudge.similarity == "dot"
    if not (moves.any() or every):
        return batch, 0
    vectors, wrong = as_vectors(batch.column(columns.vector), columns.dimension)
    change = np.ones(len(ids), bool) if every else moves
    change[list({**odd_rows(vectors), **wrong} if every else wrong)] = False
    at = np.flatnonzero(change)
    if every:
        nudged = nudge.apply(["" if ids[row] is None else ids[row] for row in at], vectors[at], edited=moved.edited)
    else:
        nudged = np.stack([moved.vectors[ids[row]] for row in at])
    name = columns.vector
    replaced = _replaced(batch.column(name), at, nudged)
    return batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), replaced), int(moves.sum())


def _replaced(column: Any, at: NDArray[np.int64], nudged: NDArray[np.float32]) -> Any:
    """Return a column with some of its vectors replaced; the others stay as they are, bit for bit."""
    arrow = import_module("pyarrow")
    order = np.arange(len(column))
    order[at] = len(column) + np.arange(len(at))
    both = arrow.concat_arrays([column, vector_array(nudged, column.type)])
    return both.take(arrow.array(order))


def _refuse_place(table: ParquetTable, source: Path, target: Path, swap: bool) -> None:
    local = isinstance(table.filesystem, import_module("pyarrow.fs").LocalFileSystem)
    inside = local and (target.resolve() == source.resolve() or source.resolve() in target.resolve().parents)
    if inside or (local and target.resolve() in source.resolve().parents):
        raise InputError(f"{target} is, holds, or lies in the folder of the corpus: write beside {source}, not into it")
    if swap and not local:
        raise InputError(f"{table.location} is not on this machine, where folders can be exchanged: leave swap out")


def _begin(target: Path, mark: str) -> None:
    """Mark a folder as one in which these files are being written; refuse one that holds anything else."""
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file: give a folder that is empty or absent")
    held = {path.name for path in target.iterdir()} if target.exists() else set()
    if held and (_MARK not in held or (target / _MARK).read_text(encoding="utf-8") != mark):
        raise InputError(
            f"{target} holds {sorted(held)[0]!r} already, not from this nudge and corpus: give a folder that is empty "
            "or absent"
        )
    write_atomically(target / _MARK, [mark])
