"""A FAISS index, in memory or in a file that is replaced whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import StoreError
from nudge_integrations.stores.faiss_index import FaissIndex
from nudge_integrations.stores.staging import StagedWrites
from nudge_integrations.stores.store import Floats, StoreInfo, in_memory, inner_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FaissStore"]


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
        self._index = FaissIndex(index, path)
        if len(ids) != self._index.count:
            raise StoreError(f"the index holds {self._index.count} vectors, and {len(ids)} ids came; give one each")
        self._ids = list(ids)
        self._place = {document_id: place for place, document_id in enumerate(ids)}

    def describe(self) -> StoreInfo:
        """Say what the store is.

        Raises:
            StoreError: If somebody else has written the file since it was read.
        """
        held = self._index
        held.refuse_replaced()
        return StoreInfo(
            "faiss",
            location=in_memory(held.owner) if held.path is None else str(held.path.resolve()),
            count=held.count,
            dimension=held.width,
            ranking=held.ranking,
            atomicity="all",
            index=None if held.flat else held.kind,
            exact=held.flat,
        )

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors."""
        for start in range(0, len(self._ids), rows):
            part = self._ids[start : start + rows]
            places = np.arange(start, start + len(part))
            yield part, self._index.vectors(places) if vectors else np.empty((len(part), 0), np.float32)

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there and their vectors."""
        there = [document_id for document_id in ids if document_id in self._place]
        return there, self._index.vectors(self._places(there))

    def search(self, queries: NDArray[np.float32], k: int, *, exact: bool) -> tuple[list[list[str]], list[list[float]]]:
        """Search the index; exact only where it is flat."""
        scores, places = self._index.search(queries, k)
        ranking = self._index.ranking
        ids = [[self._ids[place] for place in row if place >= 0] for row in places]
        return ids, [
            [float(s) if ranking == "dot" else inner_product(float(s), ranking) for s in row[: len(found)]]
            for row, found in zip(scores, ids, strict=True)
        ]

    def _places(self, ids: Sequence[str]) -> NDArray[np.int64]:
        return np.array([self._place[document_id] for document_id in ids], np.int64)

    def _commit(self, changes: dict[str, NDArray[Any]]) -> None:
        self._index.replace(self._places(list(changes)), np.stack(list(changes.values())).astype(np.float32))
