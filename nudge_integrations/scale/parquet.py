"""Parquet files: on this machine, in partitioned folders, or in object storage."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import InputError
from nudge_integrations.scale.shards import BATCH_ROWS, Shard

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ParquetTable"]

_WILD = "*?["
_ENDINGS = (".parquet", ".parq", ".pq")
# Read at a time of one column of one file: a row group may be larger than memory.
_BUFFER = 4 << 20
_FOOTERS_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class ParquetTable:
    """Parquet files with the columns that are asked for; see `ShardedTable`.

    Files are in the order of their names. Hidden files, and those that begin with an underscore, are left out.

    Attributes:
        location: What was given.
        root: The folder that all files are in.
        filesystem: A pyarrow file system.
        shards: The files.
        filter: A pyarrow expression, which may name the keys of partitioned folders; None for all rows.
        schema: That of the first file.
    """

    location: str
    root: str
    filesystem: Any
    shards: Sequence[Shard]
    filter: Any
    schema: Any

    @classmethod
    def open(cls, location: str | os.PathLike[str], filter: Any = None, filesystem: Any = None) -> ParquetTable:
        """List files and read their footers.

        Args:
            location: A file, a folder (searched with its subfolders), a pattern with ``*``, or a URI of such.
            filter: A pyarrow expression, or tuples as `pyarrow.parquet.read_table` takes them.
            filesystem: A pyarrow or fsspec file system that knows the path; None takes it from the URI.

        Raises:
            InputError: If there are no files, or one is no Parquet.
        """
        parquet = import_module("pyarrow.parquet")
        system, path = _filesystem(os.fspath(location), filesystem)
        try:
            root, files = _files(system, path.rstrip("/"))
        except (import_module("pyarrow").ArrowException, OSError) as error:
            raise InputError(f"{location} cannot be listed: {error}") from error
        if not files:
            raise InputError(f"{location} names no Parquet files; expected a file, a folder or a pattern such as x/*")
        with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
            shards = list(pool.map(lambda info: _shard(system, info), files))
        condition = _condition(filter)
        schema = parquet.read_schema(shards[0].name, filesystem=system)
        return cls(os.fspath(location), root, system, shards, condition, schema)

    def batches(self, shard: int, columns: Sequence[str], start: int = 0) -> Iterator[Any]:
        """Yield a file's rows from ``start`` on.

        Raises:
            InputError: If the file cannot be read, or has changed since.
        """
        arrow = import_module("pyarrow")
        named = self.shards[shard]
        try:
            # Not memory-mapped: pages of a map would stay, and a file that is cut off would end the process.
            with import_module("pyarrow.parquet").ParquetFile(
                named.name, filesystem=self.filesystem, buffer_size=_BUFFER, pre_buffer=False
            ) as file:
                _refuse_other(file, named, columns)
                groups = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
                ends = np.cumsum(groups)
                first = int(np.searchsorted(ends, start, side="right"))
                skip = start - int(ends[first - 1]) if first else start
                rest = list(range(first, len(groups)))
                for batch in file.iter_batches(BATCH_ROWS, rest, list(columns), use_threads=False) if rest else ():
                    part = batch.slice(skip)
                    skip = max(0, skip - len(batch))
                    if len(part):
                        yield part
        except (OSError, arrow.ArrowException) as error:
            raise InputError(f"{named.name} cannot be read: {error}") from error

    def matches(self, shard: int) -> NDArray[np.bool_] | None:
        """Return which rows of a file the filter lets through."""
        if self.filter is None:
            return None
        arrow, dataset = import_module("pyarrow"), import_module("pyarrow.dataset")
        named = self.shards[shard]
        try:
            one = dataset.dataset([named.name], format="parquet", filesystem=self.filesystem, partitioning="hive")
            found = one.scanner(columns={"match": self.filter}, use_threads=False, batch_readahead=1).to_table()
        except (OSError, arrow.ArrowException) as error:
            raise InputError(
                f"the filter {self.filter} cannot be used on {named.name}: {str(error).splitlines()[0]}"
            ) from error
        matches: NDArray[np.bool_] = found.column(0).combine_chunks().fill_null(False).to_numpy(zero_copy_only=False)
        return matches.astype(bool)

    def take(self, shard: int, rows: NDArray[np.int64], column: str) -> Any:
        """Return some rows of a column; reads the file from the first to the last of them."""
        arrow = import_module("pyarrow")
        parts, seen = [], int(rows[0]) if len(rows) else 0
        low = 0
        for batch in self.batches(shard, [column], seen):
            high = int(np.searchsorted(rows, seen + len(batch)))
            if high > low:
                parts.append(batch.column(0).take(arrow.array(rows[low:high] - seen)))
            low, seen = high, seen + len(batch)
            if low == len(rows):
                break
        return arrow.concat_arrays(parts) if parts else arrow.array([], self.schema.field(column).type)


def _condition(given: Any) -> Any:
    """Return a filter as a pyarrow expression; None where there is none."""
    if given is None or isinstance(given, import_module("pyarrow.compute").Expression):
        return given
    try:
        return import_module("pyarrow.parquet").filters_to_expression(given)
    except (import_module("pyarrow").ArrowException, IndexError, TypeError, ValueError) as error:
        raise InputError(
            f'filter={given!r:.200} is none ({error}): Parquet takes [("column", "==", value)] or a pyarrow expression'
        ) from error


def _filesystem(location: str, given: Any) -> tuple[Any, str]:
    fs = import_module("pyarrow.fs")
    if given is not None:
        return (given if isinstance(given, fs.FileSystem) else fs.PyFileSystem(fs.FSSpecHandler(given))), location
    if "://" not in location:
        return fs.LocalFileSystem(), os.path.abspath(location)
    # A wildcard is no part of a URI, so the part before it is parsed.
    fixed = _fixed_part(location)
    try:
        system, path = fs.FileSystem.from_uri(fixed)
    except (import_module("pyarrow").ArrowException, OSError, ValueError) as error:
        raise InputError(f"{location} is no location that can be read: {error}") from error
    rest = location[len(fixed) :]
    return system, f"{path.rstrip('/')}/{rest.lstrip('/')}" if rest else path


def _fixed_part(location: str) -> str:
    """Return the folder above the first wildcard; all of it where there is none."""
    at = min((location.index(sign) for sign in _WILD if sign in location), default=len(location))
    return location if at == len(location) else location[: location.rindex("/", 0, at)]


def _files(system: Any, path: str) -> tuple[str, list[Any]]:
    """Return the folder and the files in it that a path names, in the order of their names."""
    fs = import_module("pyarrow.fs")
    (info,) = system.get_file_info([path])
    if info.type == fs.FileType.File:
        return os.path.dirname(path), [info]
    # A folder may have a wildcard in its name.
    folder = path if info.type == fs.FileType.Directory else _fixed_part(path)
    if folder == path and info.type == fs.FileType.NotFound:
        return path, []
    pattern = path if folder != path else f"{path}/**"
    found = system.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    files = [info for info in found if info.type == fs.FileType.File and _matches(info.path, pattern, folder)]
    if folder == path:
        files = [info for info in files if info.path.endswith(_ENDINGS)] or files
    return folder, sorted(files, key=lambda info: info.path)


def _matches(path: str, pattern: str, folder: str) -> bool:
    inside = path[len(folder.rstrip("/")) + 1 :].split("/")
    wanted = pattern[len(folder.rstrip("/")) + 1 :].split("/")
    if any(part[0] in "._" for part in inside):
        return False
    if "**" in wanted:
        last = [part for part in wanted if part != "**"]
        return len(inside) >= len(last) and all(map(fnmatchcase, reversed(inside), reversed(last)))
    return len(inside) == len(wanted) and all(map(fnmatchcase, inside, wanted))


def _shard(system: Any, info: Any) -> Shard:
    arrow = import_module("pyarrow")
    try:
        rows = import_module("pyarrow.parquet").read_metadata(info.path, filesystem=system).num_rows
    except (OSError, arrow.ArrowException) as error:
        raise InputError(f"{info.path} is no Parquet file, or is damaged: {error}") from error
    return Shard(info.path, int(rows), f"{info.path}:{info.size}:{info.mtime_ns}:{rows}")


def _refuse_other(file: Any, named: Shard, columns: Sequence[str]) -> None:
    if file.metadata.num_rows != named.rows:
        raise InputError(f"{named.name} has {file.metadata.num_rows} rows now and had {named.rows}: open it again")
    absent = [column for column in columns if column not in file.schema_arrow.names]
    if absent:
        raise InputError(f"{named.name} has no column {absent[0]!r}; it has {', '.join(file.schema_arrow.names)}")
