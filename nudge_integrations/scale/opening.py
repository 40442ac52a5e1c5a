"""open_corpus: a folder of Parquet files, a pattern, a Lance dataset, or a URI; out comes a corpus."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nudge_integrations.corpus.counts import whole_number
from nudge_integrations.errors import InputError, MissingExtraError
from nudge_integrations.scale.checkpoints import Checkpoints
from nudge_integrations.scale.examining import TableColumns, examine
from nudge_integrations.scale.file_corpus import FileCorpus
from nudge_integrations.scale.lance import LanceTable
from nudge_integrations.scale.parquet import ParquetTable
from nudge_integrations.scale.vector_column import dimension_of, is_vector_type

if TYPE_CHECKING:
    import torch

    from nudge_integrations.scale.shards import ShardedTable

__all__ = ["open_corpus", "open_table"]


def open_corpus(
    location: str | os.PathLike[str],
    *,
    id: str = "id",
    vector: str = "vector",
    filter: Any = None,
    skip: bool = False,
    check_ids: bool = True,
    dimension: int | None = None,
    threads: int | None = None,
    device: str | torch.device | None = None,
    checkpoints: str | os.PathLike[str] | None = None,
    filesystem: Any = None,
    progress: bool = False,
) -> FileCorpus:
    """Open documents that lie in files as a corpus, which `solve`, `select` and `fit` take in place of an array.

    Nothing is loaded: the column of ids is read once, and every search reads the vectors once. Memory is bounded
    whatever the size.

    Args:
        location: ``"folder/*.parquet"``, a file, a folder with subfolders (``key=value`` ones are partitions), a Lance
            dataset ``"x.lance"``, or a URI of such, as ``"s3://bucket/folder"``.
        id: The column of ids: text, whole numbers, UUIDs, dates or bytes. Elsewhere an id is text: 7 is ``"7"``.
        vector: The column of vectors: lists of float16, float32, float64 or whole numbers.
        filter: Rows to take: ``[("lang", "==", "en")]`` or a pyarrow expression, also of partition keys; for Lance SQL
            as well.
        skip: Leave out rows whose vector is missing, of another length, zero, NaN or infinite, rows without an id, and
            all but the first of rows with the same id: ``corpus.skipped`` counts them. Reads the vectors once more.
            Otherwise such a row is refused, by its file and number, when it is met.
        check_ids: Look for ids that are missing or there twice, which reads the column of ids once.
        dimension: How many numbers a vector has; None for what the column's type says, or most of the first rows have.
        threads: How many threads compute, one core each; None for as many as torch would use.
        device: Where to compute, such as ``"cuda"``; None for the processor.
        checkpoints: A folder that keeps what searches found so far, so that a fit that was killed goes on where it was
            when it is called again; None keeps nothing. ``corpus.checkpoints.clear()`` removes it.
        filesystem: A pyarrow or fsspec file system for the location; None for the one of its URI.
        progress: Show bars, with an estimate of the time that is left.

    Raises:
        InputError: If there are no such files, columns or rows; a column holds something else; or ids are missing or
            repeated: names file and row.
        MissingExtraError: If pyarrow (extra ``scale``) or pylance (extra ``lance``) is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import pyarrow as pa, pyarrow.parquet as pq
        >>> with TemporaryDirectory() as folder:
        ...     table = pa.table({"id": ["a", "b"], "vector": [[1.0, 0.0], [0.0, 1.0]]})
        ...     pq.write_table(table, f"{folder}/part-0.parquet")
        ...     corpus = open_corpus(f"{folder}/*.parquet")
        ...     len(corpus), corpus.dimension, corpus.rows_of(["b"])
        (2, 2, {'b': 1})
    """
    dimension = None if dimension is None else whole_number(dimension, "dimension")
    cores = _cores() if threads is None else whole_number(threads, "threads")
    table = open_table(location, filter, filesystem)
    _refuse_absent(table, id, vector)
    width = dimension or _dimension(table, vector)
    columns = TableColumns(id, vector, width)
    catalogue, skipped = examine(
        table, columns, skip=skip, check_ids=check_ids or skip, threads=cores, progress=progress
    )
    if not len(catalogue):
        left = f" ({skipped})" if skipped else ""
        raise InputError(f"{table.location} holds no documents{left}: are the filter and the location right?")
    kept = None if checkpoints is None else Checkpoints(checkpoints)
    return FileCorpus(
        table, columns, catalogue, skipped, threads=cores, device=device, progress=progress, checkpoints=kept
    )


def open_table(location: str | os.PathLike[str], filter: Any = None, filesystem: Any = None) -> ShardedTable:
    """Open files as a table in pieces, by the ending of their name.

    Raises:
        InputError: If there are none, or the filter is of a kind that they do not take.
        MissingExtraError: If pyarrow or pylance is not installed.
    """
    try:
        import_module("pyarrow.dataset")
    except ImportError as error:
        raise MissingExtraError("pyarrow", "scale") from error
    if not isinstance(location, str | os.PathLike) or not os.fspath(location):
        raise InputError(f"a location is a file, a folder, a pattern or a URI; got {location!r:.80}")
    if os.fspath(location).rstrip("/").endswith(".lance"):
        return LanceTable.open(location, filter)
    if isinstance(filter, str):
        raise InputError(f'filter={filter!r}: Parquet takes [("column", "==", value)] or a pyarrow expression, no SQL')
    return ParquetTable.open(location, filter, filesystem)


def _cores() -> int:
    import torch

    return torch.get_num_threads()


def _refuse_absent(table: ShardedTable, id: str, vector: str) -> None:
    for role, name, likely in (
        ("id", id, [f.name for f in table.schema if not is_vector_type(getattr(f.type, "storage_type", f.type))]),
        ("vector", vector, [f.name for f in table.schema if is_vector_type(getattr(f.type, "storage_type", f.type))]),
    ):
        if name not in table.schema.names:
            raise InputError(f"{table.location} has no column {name!r}: give {role}=, one of {_listed(likely)}")
    kind = table.schema.field(vector).type
    if not is_vector_type(getattr(kind, "storage_type", kind)):
        raise InputError(f"column {vector!r} of {table.location} is {kind}; expected lists of numbers")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none that would do"


def _dimension(table: ShardedTable, vector: str) -> int:
    for shard in range(len(table.shards)):
        for batch in table.batches(shard, [vector]):
            width = dimension_of(batch.column(0))
            if width:
                return width
    raise InputError(f"column {vector!r} of {table.location} holds no vector; give another one, or dimension=")
