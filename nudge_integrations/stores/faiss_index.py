"""A FAISS index that gives back the vectors that it was given, and the file that it is kept in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import StoreError
from nudge_integrations.storage import replacing
from nudge_integrations.stores.store import Ranking, imported

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FAISS_RANKINGS", "FaissIndex"]

# faiss.METRIC_INNER_PRODUCT and faiss.METRIC_L2.
FAISS_RANKINGS: dict[int, Ranking] = {0: "dot", 1: "l2"}
_FLAT, _REBUILT = "IndexFlat", ("IndexHNSWFlat", "IndexIVFFlat")


class FaissIndex:
    """Whole vectors in an index, also inside an IndexIDMap, in the order in which they came.

    Args:
        index: The index.
        path: The file that it is kept in; None for in memory only.

    Raises:
        StoreError: If it does not give back the vectors that it was given, or ranks by something else than L2 or inner
            product.
    """

    def __init__(self, index: Any, path: str | os.PathLike[str] | None = None) -> None:
        self._faiss = faiss = imported("faiss", "faiss")
        # What downcast_index returns does not keep the index alive.
        self.owner = index
        self._outer = faiss.downcast_index(index)
        # An IndexIDMap keeps its vectors in another index.
        self._inner = faiss.downcast_index(self._outer.index) if hasattr(self._outer, "id_map") else self._outer
        self.kind = type(self._inner).__name__
        if not self.kind.startswith((_FLAT, *_REBUILT)) or int(self._inner.metric_type) not in FAISS_RANKINGS:
            raise StoreError(
                f"a {self.kind} does not give back the vectors that it was given, so none could be restored: "
                "build an index of whole vectors (IndexFlat, IndexHNSWFlat, IndexIVFFlat) by inner product or L2"
            )
        self.flat = self.kind.startswith(_FLAT)
        self.ranking = FAISS_RANKINGS[int(self._inner.metric_type)]
        self.count, self.width = int(self._inner.ntotal), int(self._inner.d)
        self.path = None if path is None else Path(path)
        self._read = self._stamp()

    def vectors(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the (r, d) vectors at some places."""
        if not len(places):
            return np.empty((0, self.width), np.float32)
        if hasattr(self._inner, "make_direct_map"):
            self._inner.make_direct_map()
        rows: NDArray[np.float32] = self._inner.reconstruct_batch(places)
        return rows

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return (m, k) scores in the index's own measure, and places, -1 where there are fewer."""
        scores, places = self._inner.search(np.ascontiguousarray(queries, np.float32), k)
        return scores, places

    def replace(self, places: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Put (r, d) vectors at places, in the index and in the file, which is swapped; all or none.

        Raises:
            StoreError: If somebody else has written the file since it was read.
            OSError: If the disk refuses.
        """
        self.refuse_replaced()
        former = self.vectors(places)
        self._put(places, vectors)
        try:
            if self.path is not None:
                with replacing(self.path) as beside:
                    self._faiss.write_index(self._outer, str(beside))
                self._read = self._stamp()
        except BaseException:
            self._put(places, former)
            raise

    def refuse_replaced(self) -> None:
        """Refuse an index whose file is another one by now.

        Raises:
            StoreError: If somebody else has written the file since it was read.
        """
        if self._stamp() != self._read:
            raise StoreError(
                f"{self.path} was written by somebody else since it was read: read the index again, and open that one"
            )

    def _stamp(self) -> tuple[int, int] | None:
        """Return what tells a file from the one that replaces it; None where there is none."""
        if self.path is None or not self.path.exists():
            return None
        found = self.path.stat()
        return found.st_ino, found.st_mtime_ns

    def _put(self, places: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        if self.flat:
            held = self._faiss.rev_swig_ptr(self._inner.get_xb(), self.count * self.width)
            held.reshape(self.count, self.width)[places] = vectors
            return
        every = self.vectors(np.arange(self.count))
        every[places] = vectors
        self._inner.reset()
        self._inner.add(every)
