"""The same corpus over a cluster: Ray Data hands ranges of documents to its workers, which read them where they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus import Neighbours
from nudge_integrations.errors import InputError, MissingExtraError
from nudge_integrations.scale.file_corpus import FileCorpus
from nudge_integrations.scale.scan import all_found, from_pairs, merged

__all__ = ["RayCorpus", "over_ray"]

# Ranges a worker searches one after the other: enough that fast workers take more of them, and a lost one costs little.
_RANGES_A_WORKER = 4


@dataclass(eq=False)
class RayCorpus:
    """Documents in files that every worker of a Ray cluster can read; see `Corpus`, and `over_ray`, which makes one.

    Attributes:
        files: The corpus, as this machine reads it: labelled vectors, samples and ids come from here.
        workers: How many workers search at once.
        gpus: GPUs of each worker; 0 computes on a processor core.
    """

    files: FileCorpus
    workers: int
    gpus: float = 0.0

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return self.files.dimension

    @property
    def skipped(self) -> object:
        """Rows that were left out because something is wrong with them."""
        return self.files.skipped

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return f"RayCorpus({self.files!r}, {self.workers} workers)"

    def search(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """Return the best k documents of (m, d) unit queries; each worker reads its ranges once.

        A worker that dies is replaced, and its range searched again.

        Raises:
            InputError: If a document is zero, NaN or infinite, or a file changed or cannot be read; names it.
        """
        floor = self.files.floor(torch.from_numpy(np.ascontiguousarray(queries, np.float32)), k).numpy()
        none = np.full_like(floor, -np.inf)
        found = self._search(queries, k, floor)
        return all_found(found, floor, len(self), lambda missed: self._search(queries[missed], k, none[missed]))

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the base vectors of some rows, as they are."""
        return self.files.take(rows)

    def sample(self, count: int, seed: int) -> NDArray[np.float32]:
        """Return the base vectors of a uniform sample of rows, ascending."""
        return self.files.sample(count, seed)

    def rows_of(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the rows of some ids, as text; ids that are not there are left out."""
        return self.files.rows_of(ids)

    def ids_of(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the ids of some rows, as text."""
        return self.files.ids_of(rows)

    def _search(self, queries: NDArray[np.float32], k: int, floor: NDArray[np.float32]) -> Neighbours:
        ray, data = import_module("ray"), import_module("ray.data")
        asked = ray.put((np.ascontiguousarray(queries, np.float32), floor, self.files.without_bars()))
        ranges = [{"start": start, "stop": stop} for start, stop in self._ranges()]
        searching = data.from_items(ranges, override_num_blocks=len(ranges)).map_batches(
            _RangeSearch,
            fn_constructor_args=(asked, k, self.gpus > 0),
            batch_size=1,
            batch_format="numpy",
            concurrency=min(self.workers, len(ranges)),
            num_cpus=None if self.gpus else 1,
            num_gpus=self.gpus or None,
        )
        nowhere = len(self)
        best = Neighbours(np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), nowhere))
        try:
            # Results are merged as they come in, a block of several ranges at a time.
            for part in searching.iter_batches(batch_size=None, batch_format="numpy"):
                sides = part["query"], part["row"], part["score"]
                best = merged([best, from_pairs(*sides, queries=len(queries), nowhere=nowhere)], k)
        except ray.exceptions.RayError as error:
            raise _refused(error) from error
        return best

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """Yield ranges of documents that cover all, whatever files they lie in."""
        rows = max(1, -(-len(self) // (self.workers * _RANGES_A_WORKER)))
        for start in range(0, len(self), rows):
            yield start, min(start + rows, len(self))


def over_ray(
    corpus: FileCorpus, *, address: str | None = None, workers: int | None = None, gpus: float = 0.0
) -> RayCorpus:
    """Search a corpus with the workers of a Ray cluster, which must be able to read its files.

    Args:
        corpus: What `open_corpus` returned: files on a shared disk or in object storage.
        address: The cluster, such as ``"ray://host:10001"`` or ``"auto"``; None for one that is running in this
            process, else one of the size of this machine, which is started.
        workers: How many search at once; None for as many as the cluster has cores, or GPUs.
        gpus: GPUs of each worker; 0 computes on processor cores.

    Raises:
        MissingExtraError: If Ray is not installed.
        InputError: If the cluster has fewer GPUs than a worker wants.
    """
    try:
        ray = import_module("ray")
        import_module("ray.data")
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    if not ray.is_initialized():
        started = {} if address else {"include_dashboard": False}
        ray.init(address=address, log_to_driver=False, **started)
    # Bars and reports of every plan would be most of what a fit prints.
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = corpus.progress
    context.print_on_execution_start = False
    held = ray.cluster_resources()
    most = int(held.get("GPU", 0) / gpus) if gpus else int(held.get("CPU", 1))
    if not most:
        raise InputError(f"a worker wants {gpus:g} GPUs and the cluster has {held.get('GPU', 0):g}: give gpus=0")
    return RayCorpus(corpus, min(workers or most, most), gpus)


class _RangeSearch:
    """Searches ranges of documents in a worker."""

    def __init__(self, asked: Any, k: int, on_gpu: bool) -> None:
        queries, floor, self.corpus = import_module("ray").get(asked)
        torch.set_num_threads(1)
        device = torch.device("cuda" if on_gpu else "cpu")
        # Copies, because what Ray shares between workers is read-only, which torch refuses.
        self.queries, self.floor = (torch.from_numpy(np.array(part)).to(device) for part in (queries, floor))
        self.k = k

    def __call__(self, ranges: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
        """Return, one a row, the results of a range that count: query, document and score."""
        start, stop = int(ranges["start"][0]), int(ranges["stop"][0])
        found = self.corpus.search_rows(self.queries, self.k, start, stop, self.floor)
        query, place = np.nonzero(found.rows < len(self.corpus))
        return {"query": query, "row": found.rows[query, place], "score": found.scores[query, place]}


def _refused(error: Exception) -> Exception:
    """Return an error of this package that a worker raised, which Ray only quotes; else what Ray says."""
    quoted = re.findall(r"^nudge_integrations\.errors\.\w+: (.+)$", str(error), re.MULTILINE)
    return InputError(quoted[-1]) if quoted else error
