"""A live store as a corpus: what the solver reads of one, base vectors also of rows that a nudge has moved."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus import Neighbours, unit_rows
from nudge_integrations.corpus.topk import BestSoFar
from nudge_integrations.errors import StoreError
from nudge_integrations.stores.store import Floats, Searchable, StoreAdapter, StoreInfo, fetched, stored_ids

__all__ = ["Overlay", "StoreCorpus", "recall_of", "same_rows"]

logger = logging.getLogger(__name__)

# Up to so many rows a pass over all of them is worth more than what an approximate index misses.
_STREAMED_ROWS, _BLOCK_ROWS = 1_000_000, 4096
# Queries by which an approximate index is compared with the exact search.
_COMPARED = 16


def same_rows(one: Floats, other: Floats, tolerance: float) -> NDArray[np.bool_]:
    """Return (r,) whether rows are equal, bit for bit where the tolerance is 0; rows with NaN never are.

    >>> same_rows(np.array([[1.0], [2.0]]), np.array([[1.0], [2.1]]), 0.0).tolist()
    [True, False]
    """
    close = (one == other) if tolerance == 0.0 else (np.abs(one - other) <= tolerance)
    every: NDArray[np.bool_] = np.all(close, axis=1)
    return every


def recall_of(found: Sequence[Sequence[str]], exact: Sequence[Sequence[str]]) -> float:
    """Return which part of the exact best was found, as the mean over queries.

    >>> recall_of([["a", "c"]], [["a", "b"]])
    0.5
    """
    hits = [len(set(one) & set(other)) / max(1, len(other)) for one, other in zip(found, exact, strict=True)]
    return float(np.mean(hits))


@dataclass(frozen=True, eq=False)
class Overlay:
    """Vectors that stand in for those that a store holds.

    Attributes:
        place: Id -> row.
        held: (r, d) what the store holds.
        instead: (r, d) what is to be read instead, wherever the store holds just that.
        tolerance: How far a store may be off; see ``StoreInfo.tolerance``.
    """

    place: dict[str, int]
    held: Floats
    instead: Floats
    tolerance: float

    def replace(self, ids: list[str], vectors: Floats) -> Floats:
        """Return vectors (b, d) as they are to be read."""
        at = np.array([self.place.get(document_id, -1) for document_id in ids], np.int64)
        known = np.flatnonzero(at >= 0)
        known = known[same_rows(vectors[known], self.held[at[known]], self.tolerance)]
        if not len(known):
            return vectors
        replaced = vectors.copy()
        replaced[known] = self.instead[at[known]]
        return replaced


@dataclass(frozen=True, eq=False)
class StoreCorpus:
    """The rows of a live store as a `Corpus`.

    Stores of up to a million rows are searched exactly, in one pass over their vectors for all queries; larger ones by
    their own search, approximately where they have an index, and the log says which part of the exact best that finds.
    Vectors of the overlay are taken into account either way.

    Attributes:
        adapter: The store.
        ids: The id of each row.
        overlay: Base vectors of rows that a nudge has moved; None where there is none.
        by_index: Search by the store's own index; False to pass over all vectors; None decides by the number of rows.
    """

    adapter: StoreAdapter
    ids: list[str]
    overlay: Overlay | None = None
    by_index: bool | None = None
    info: StoreInfo = field(init=False, repr=False)
    row_of: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Number the rows."""
        object.__setattr__(self, "info", self.adapter.describe())
        object.__setattr__(self, "row_of", {document_id: row for row, document_id in enumerate(self.ids)})

    @classmethod
    def of(cls, adapter: StoreAdapter, overlay: Overlay | None = None, *, by_index: bool | None = None) -> StoreCorpus:
        """Number the rows of a store.

        Raises:
            StoreError: If the store is empty, an id is there twice, or it has no search of its own that was asked for.
        """
        ids = stored_ids(adapter)
        if not ids:
            raise StoreError(f"{adapter.describe().location} holds no vectors: is it the right collection?")
        if by_index and not isinstance(adapter, Searchable):
            raise StoreError(f"a {adapter.describe().kind} store has no search of its own; leave by_index out")
        return cls(adapter, ids, overlay, by_index)

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return self.info.dimension

    def __len__(self) -> int:
        return len(self.ids)

    def search(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """Return the best k rows of (m, d) unit queries."""
        by_index = len(self) > _STREAMED_ROWS if self.by_index is None else self.by_index
        if by_index and isinstance(self.adapter, Searchable):
            return self._searched(self.adapter, queries, k)
        best = BestSoFar(torch.from_numpy(queries), k, len(self))
        order: list[NDArray[np.int64]] = []
        seen = 0
        for rows, vectors in self.blocks():
            best.see(torch.from_numpy(unit_rows(vectors, "documents")), seen)
            order.append(rows)
            seen += len(rows)
        scores, places = (part.numpy() for part in best.result())
        # The scan may come in another order than the ids did, or lack a row that was deleted meanwhile.
        numbered = np.concatenate([*order, np.full(len(self) + 1 - seen, len(self))])
        return Neighbours(scores, numbered[places])

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the base vectors of some rows.

        Raises:
            StoreError: If a row was deleted meanwhile.
        """
        return self.base([self.ids[row] for row in rows]).astype(np.float32)

    def base(self, ids: list[str]) -> Floats:
        """Return base vectors (r, d) in the store's own numbers.

        Raises:
            StoreError: If an id is not there.
        """
        there, vectors = fetched(self.adapter, ids, self.info)
        if not there.all():
            gone = ids[int(np.flatnonzero(~there)[0])]
            raise StoreError(f"{gone!r} (of {int((~there).sum())}) is not in the store any more: open it and fit again")
        return self.overlay.replace(ids, vectors) if self.overlay else vectors

    def sample(self, count: int, seed: int) -> NDArray[np.float32]:
        """Return the base vectors of a uniform sample of rows, ascending."""
        if count >= len(self):
            return self.take(np.arange(len(self)))
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False)))

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """Yield rows with their base vectors, in the order of the scan; rows that are new since are left out."""
        for ids, vectors in self.adapter.scan(_BLOCK_ROWS):
            rows = np.array([self.row_of.get(document_id, -1) for document_id in ids], np.int64)
            held = self.overlay.replace(ids, vectors) if self.overlay else vectors
            if len(rows):
                yield rows[rows >= 0], held[rows >= 0]

    def _searched(self, store: Searchable, queries: NDArray[np.float32], k: int) -> Neighbours:
        moved = [
            document_id for document_id in (self.overlay.place if self.overlay else ()) if document_id in self.row_of
        ]
        depth, exact = min(len(self), k + len(moved)), self.info.index is None
        found, similarities = store.search(queries, depth, exact=exact)
        if not exact and self.info.exact:
            sample = queries[:_COMPARED]
            recall = recall_of(found[:_COMPARED], store.search(sample, depth, exact=True)[0])
            logger.info("the %s index finds %.1f %% of the exact best %d", self.info.index, 100 * recall, depth)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), len(self), np.int64)
        skip = set(moved)
        instead = queries @ unit_rows(self.base(moved), "documents").T if moved else np.empty((len(queries), 0))
        moved_rows = [self.row_of[document_id] for document_id in moved]
        for query, (ids, given) in enumerate(zip(found, similarities, strict=True)):
            stay = [(s, self.row_of[i]) for i, s in zip(ids, given, strict=True) if i in self.row_of and i not in skip]
            best = sorted([*stay, *zip(instead[query], moved_rows, strict=True)], key=lambda one: (-one[0], one[1]))[:k]
            for place, (score, row) in enumerate(best):
                scores[query, place], rows[query, place] = score, row
        return Neighbours(scores, rows, exact=exact)
