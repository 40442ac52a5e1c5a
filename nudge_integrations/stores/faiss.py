"""A FAISS index, in memory or in a file that is replaced whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import StoreError
from nudge_integrations.storage import replacing
from nudge_integrations.stores.staging import StagedWrites
from nudge_integrations.stores.store import Floats, Ranking, StoreInfo, imported, in_memory, inner_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FAISS_RANKINGS", "FaissStore"]

# faiss.METRIC_INNER_PRODUCT and faiss.METRIC_L2.
FAISS_RANKINGS: dict[int, Ranking] = {0: "dot", 1: "l2"}
# Indexes that give back exactly the vectors that they were given.
_EXACT, _REBUILT = ("IndexFlat",), ("IndexHNSWFlat", "IndexIVFFlat")


class FaissStore(StagedWrites):
    """A FAISS index of whole vectors as a live store: flat, HNSW or inverted lists, also inside an IndexIDMap.

    Writes of a transaction are put into the index together at its end, and into the file, which is swapped.

    Args:
        index: The index.
        ids: The id of each vector, in the order of the index.
        path: Where the index is kept; None for in memory only.

    Raises:
        StoreError: If the index holds something else than whole vectors, or not one a id.
    """

    def __init__(self, index: Any, ids: Sequence[str], path: str | os.PathLike[str] | None = None) -> None:
        self._faiss = faiss = imported("faiss", "faiss")
        # What downcast_index returns does not keep the index alive.
        self._owner = index
        self._index = faiss.downcast_index(index)
        # An IndexIDMap keeps its vectors in another index, in the order in which they came.
        self._inner = faiss.downcast_index(self._index.index) if hasattr(self._index, "id_map") else self._index
        kind = type(self._inner).__name__
        if not kind.startswith((*_EXACT, *_REBUILT)) or int(self._inner.metric_type) not in FAISS_RANKINGS:
            raise StoreError(
                f"a {kind} does not give back the vectors that it was given, so none could be restored: "
                "build an index of whole vectors (IndexFlat, IndexHNSWFlat, IndexIVFFlat) by inner product or L2"
            )
        if len(ids) != self._inner.ntotal:
            raise StoreError(f"the index holds {self._inner.ntotal} vectors, and {len(ids)} ids came; give one each")
        self._flat = kind.startswith(_EXACT)
        self._ids = list(ids)
        self._place = {document_id: place for place, document_id in enumerate(ids)}
        self._path = None if path is None else Path(path)

    def describe(self) -> StoreInfo:
        """Say what the store is."""
        location = in_memory(self._index) if self._path is None else str(self._path.resolve())
        inner = self._inner
        return StoreInfo(
            *("faiss", location, int(inner.ntotal), int(inner.d), FAISS_RANKINGS[int(inner.metric_type)]),
            atomicity="all",
            index=None if self._flat else type(inner).__name__,
            exact=self._flat,
        )

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors."""
        for start in range(0, len(self._ids), rows):
            part = self._ids[start : start + rows]
            places = np.arange(start, start + len(part))
            yield part, self._vectors(places) if vectors else np.empty((len(part), 0), np.float32)

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there and their vectors."""
        there = [document_id for document_id in ids if document_id in self._place]
        return there, self._vectors(np.array([self._place[document_id] for document_id in there], np.int64))

    def search(self, queries: NDArray[np.float32], k: int, *, exact: bool) -> tuple[list[list[str]], list[list[float]]]:
        """Search the index; exact only where it is flat."""
        scores, places = self._inner.search(np.ascontiguousarray(queries, np.float32), k)
        ranking = FAISS_RANKINGS[int(self._inner.metric_type)]
        ids = [[self._ids[place] for place in row if place >= 0] for row in places]
        return ids, [
            [float(s) if ranking == "dot" else inner_product(float(s), ranking) for s in row[: len(found)]]
            for row, found in zip(scores, ids, strict=True)
        ]

    def _vectors(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        if not len(places):
            return np.empty((0, self._inner.d), np.float32)
        if hasattr(self._inner, "make_direct_map"):
            self._inner.make_direct_map()
        rows: NDArray[np.float32] = self._inner.reconstruct_batch(places)
        return rows

    def _commit(self, changes: dict[str, NDArray[Any]]) -> None:
        places = np.array([self._place[document_id] for document_id in changes], np.int64)
        former = self._vectors(places)
        self._put(places, np.stack(list(changes.values())).astype(np.float32))
        try:
            if self._path is not None:
                with replacing(self._path) as beside:
                    self._faiss.write_index(self._index, str(beside))
        except BaseException:
            self._put(places, former)
            raise

    def _put(self, places: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        if self._flat:
            count = self._inner.ntotal * self._inner.d
            held = self._faiss.rev_swig_ptr(self._inner.get_xb(), count).reshape(self._inner.ntotal, self._inner.d)
            held[places] = vectors
            return
        every = self._vectors(np.arange(self._inner.ntotal))
        every[places] = vectors
        self._inner.reset()
        self._inner.add(every)
