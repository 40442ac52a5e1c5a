"""Documents in Parquet files or a Lance dataset as a corpus: larger than memory, read in order, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus import Neighbours
from nudge_integrations.corpus.arrays import checked_device, unit_block
from nudge_integrations.corpus.topk import likely_floor
from nudge_integrations.scale.blocks import DocumentBlocks
from nudge_integrations.scale.catalogue import Catalogue, Skipped
from nudge_integrations.scale.checkpoints import Checkpoints
from nudge_integrations.scale.examining import TableColumns, id_batches
from nudge_integrations.scale.id_column import id_texts
from nudge_integrations.scale.progress import progress_bar
from nudge_integrations.scale.scan import all_found, best_of_blocks, merged

if TYPE_CHECKING:
    from nudge_integrations.scale.shards import ShardedTable

__all__ = ["FileCorpus"]

# Documents that tell which scores a query's best surely reach: those that the solver samples as well, so that one look
# at the files serves both.
_SAMPLE, _SAMPLE_SEED = 8192, 0
_BLOCK_ROWS = 8192
# Base vectors that were read once are kept up to so many bytes, because files are slow to be read here and there.
_MOST_KEPT = 256 << 20
# Saving is worth its time once so many numbers of documents were read for each result that is kept.
_NUMBERS_A_RESULT = 250_000


@dataclass(eq=False)
class FileCorpus:
    """Documents in files; see `Corpus`, and `open_corpus`, which makes one.

    Every search reads the vectors once, in order. Memory is bounded by the queries, their results, and a few blocks.

    Attributes:
        table: The files.
        columns: What is read of them.
        catalogue: Which rows are documents.
        skipped: Rows that were left out because something is wrong with them.
        threads: How many threads compute, one core each.
        device: Where to compute; None for the processor.
        block_bytes: Bound on the temporary memory of a thread.
        progress: Show progress bars.
        checkpoints: Where partial results of searches are kept; None keeps none.
        checkpoint_rows: About how many rows a search that was killed reads again; None for what saving is worth.
        rows_read: How many vectors searches have read so far.
    """

    table: ShardedTable
    columns: TableColumns
    catalogue: Catalogue
    skipped: Skipped
    threads: int = 1
    device: str | torch.device | None = None
    block_bytes: int = 128 << 20
    progress: bool = False
    checkpoints: Checkpoints | None = None
    checkpoint_rows: int | None = None
    rows_read: int = 0
    _kept: tuple[NDArray[np.int64], NDArray[np.float32]] | None = field(default=None, repr=False)

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return self.columns.dimension

    @property
    def fingerprint(self) -> str:
        """Sha256 (hex) of which documents these are: changes when a file does."""
        return self.catalogue.fingerprint

    def __len__(self) -> int:
        return len(self.catalogue)

    def __repr__(self) -> str:
        pieces = f"{len(self.table.shards):,} piece{'s' if len(self.table.shards) > 1 else ''}"
        return f"FileCorpus({self.table.location}: {len(self):,} documents of {self.dimension} dimensions in {pieces})"

    def search(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """Return the best k documents of (m, d) unit queries, in one pass.

        Raises:
            InputError: If a document is zero, NaN or infinite, or a file changed or cannot be read; names it.
        """
        asked = torch.from_numpy(np.ascontiguousarray(queries, np.float32)).to(checked_device(self.device or "cpu"))
        floor = self.floor(asked, k)
        return all_found(
            self._resumed(queries, asked, k, floor),
            floor.cpu().numpy(),
            len(self),
            lambda missed: self.search_rows(asked[torch.from_numpy(missed)], k, 0, len(self), None),
        )

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the base vectors of some rows, as they are.

        Raises:
            InputError: If a file changed or cannot be read, or one of the rows holds no vector.
        """
        wanted, place = np.unique(rows, return_inverse=True)
        known, vectors = (
            self._kept if self._kept is not None else (wanted[:0], np.zeros((0, self.dimension), np.float32))
        )
        absent = np.setdiff1d(wanted, known)
        if len(absent):
            sampled = self._sampled(_SAMPLE, _SAMPLE_SEED) if self._kept is None else absent
            fetched = np.union1d(absent, sampled)
            known, order = np.unique(np.concatenate([known, fetched]), return_index=True)
            vectors = np.concatenate([vectors, self._reader().gather(fetched, self.threads)])[order]
            if vectors.nbytes <= _MOST_KEPT or self._kept is None:
                self._kept = known, vectors
        found: NDArray[np.float32] = vectors[np.searchsorted(known, wanted)][place]
        return found

    def sample(self, count: int, seed: int) -> NDArray[np.float32]:
        """Return the base vectors of a uniform sample of rows, ascending."""
        return self.take(self._sampled(count, seed))

    def rows_of(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the rows of some ids, as text; ids that are not there are left out. Reads the column of ids."""
        arrow, compute = import_module("pyarrow"), import_module("pyarrow.compute")
        wanted = arrow.array(sorted(set(ids)), arrow.string())

        def look(shard: int) -> list[tuple[str, int]]:
            found = []
            for start, texts in id_batches(self.table, self.columns.id, shard):
                known = compute.is_in(texts, value_set=wanted).fill_null(False).to_numpy(zero_copy_only=False)
                inside = np.flatnonzero(known)
                found += [
                    (str(text), start + int(row))
                    for text, row in zip(texts.take(inside).to_pylist(), inside, strict=True)
                ]
            return found

        with ThreadPoolExecutor(max(1, self.threads)) as pool:
            found = list(pool.map(look, range(len(self.table.shards))))
        rows: dict[str, int] = {}
        for shard, pairs in enumerate(found):
            held, first = self.catalogue.rows_in(shard) if pairs else None, int(self.catalogue.starts[shard])
            for text, inside in pairs:
                at = inside if held is None else int(np.searchsorted(held, inside))
                if held is None or (at < len(held) and held[at] == inside):
                    rows.setdefault(text, first + at)
        return rows

    def ids_of(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the ids of some rows, as text."""
        wanted, place = np.unique(rows, return_inverse=True)
        texts: list[str] = []
        for shard, _, inside in self.catalogue.by_shard(wanted):
            texts += id_texts(self.table.take(shard, inside, self.columns.id)).to_pylist()
        return [texts[at] for at in place]

    def floor(self, queries: torch.Tensor, k: int) -> torch.Tensor:
        """Return (m,) scores that the best k documents of each query reach almost surely."""
        sample = unit_block(
            torch.from_numpy(self.sample(_SAMPLE, _SAMPLE_SEED)).to(queries.device), "sampled documents"
        )
        return likely_floor(queries, sample, k, max(1, len(self)))

    def search_rows(
        self, queries: torch.Tensor, k: int, start: int, stop: int, floor: torch.Tensor | None, key: str | None = None
    ) -> Neighbours:
        """Return the best k of the documents from start to stop; under a key, partial results are kept.

        The part of `search` that is done for each range of rows where several machines share the work.
        """
        before = None
        if self.checkpoints is not None and key is not None:
            start, before = self.checkpoints.load(key)
            if before is not None:
                reached = torch.from_numpy(np.array(before.scores[:, -1])).to(queries)
                floor = reached if floor is None else torch.maximum(floor, reached)
        with progress_bar("reading the corpus", stop, self.progress, start) as bar:

            def seen(rows: int) -> None:
                self.rows_read += rows
                bar.update(rows)

            def save(row: int, found: Neighbours) -> None:
                if self.checkpoints is not None and key is not None:
                    self.checkpoints.save(key, row, found if before is None else merged([before, found], k))

            found = best_of_blocks(
                self.blocks(start, stop),
                queries,
                k,
                nowhere=len(self),
                floor=floor,
                threads=self.threads,
                save=None if self.checkpoints is None or key is None else save,
                save_rows=self.checkpoint_rows or max(1, _NUMBERS_A_RESULT * k // self.dimension),
                seen=seen,
            )
        return found if before is None else merged([before, found], k)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield documents in their order, in blocks: the row of the first, and (b, d) float32 unit vectors.

        Raises:
            InputError: If a document is zero, NaN or infinite, or a file changed or cannot be read; names it.
        """
        return self._reader().blocks(start, len(self) if stop is None else stop)

    def without_bars(self) -> FileCorpus:
        """Return the same for another process: on one core, silent, without what was kept."""
        return replace(self, threads=1, progress=False, checkpoints=None, rows_read=0, _kept=None)

    def _resumed(self, queries: NDArray[np.float32], asked: torch.Tensor, k: int, floor: torch.Tensor) -> Neighbours:
        if self.checkpoints is None:
            return self.search_rows(asked, k, 0, len(self), floor)
        key = self.checkpoints.key(self.fingerprint, queries, k)
        found = self.search_rows(asked, k, 0, len(self), floor, key)
        # Kept to its end, so that a fit that is killed later does not begin with its first search.
        self.checkpoints.save(key, len(self), found)
        return found

    def _sampled(self, count: int, seed: int) -> NDArray[np.int64]:
        if count >= len(self):
            return np.arange(len(self))
        return np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False))

    def _reader(self) -> DocumentBlocks:
        rows = max(1, min(_BLOCK_ROWS, self.block_bytes // (12 * self.dimension + 5120)))
        return DocumentBlocks(self.table, self.columns, self.catalogue, rows, max(1, self.threads // 4))
