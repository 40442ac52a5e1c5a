"""The rows of an exact index at one moment, and how the next moment is made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FoundRow", "Rows"]


@dataclass(frozen=True, eq=False)
class FoundRow:
    """One row of an index, as it was at the moment it was found.

    Attributes:
        id: Its id.
        score: Its score for the query; 0 where none was asked.
        metadata: Its metadata; not a copy.
        vector: (d,) float32.
    """

    id: str
    score: float
    metadata: Mapping[str, Any]
    vector: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Rows:
    """Vectors in slots. Nothing below ``count`` ever changes, so whoever holds one moment needs no lock.

    New vectors take slots that earlier moments do not reach; buffers grow by doubling, so an insert costs what it
    brings. A vector that is replaced or deleted leaves a dead slot behind, and a replaced one keeps its place in the
    order; when half of the slots are dead the rest is copied. ``slot_of`` alone is shared by all moments and follows
    the latest.

    Attributes:
        vectors: (capacity, d) float32.
        places: (capacity,) int64, ascending with the order of rows, distinct among living slots.
        ids: One a slot.
        metadata: One a slot.
        alive: (count,) bool; None when all live.
        count: Slots in use.
        largest_norm: No vector is longer.
        slot_of: Id -> slot, of the living.
    """

    vectors: NDArray[np.float32]
    places: NDArray[np.int64]
    ids: list[str]
    metadata: list[Mapping[str, Any]]
    alive: NDArray[np.bool_] | None
    count: int
    largest_norm: float
    slot_of: dict[str, int]

    @classmethod
    def of(
        cls, ids: list[str], vectors: NDArray[np.float32], metadata: list[Mapping[str, Any]], *, largest_norm: float
    ) -> Rows:
        """Take over n ids, (n, d) vectors and n metadata as they are."""
        return cls(
            vectors=vectors,
            places=np.arange(len(ids), dtype=np.int64),
            ids=ids,
            metadata=metadata,
            alive=None,
            count=len(ids),
            largest_norm=largest_norm,
            slot_of={document_id: slot for slot, document_id in enumerate(ids)},
        )

    @property
    def filled(self) -> NDArray[np.float32]:
        """(count, d) float32: the slots in use, dead ones too."""
        return self.vectors[: self.count]

    def __len__(self) -> int:
        """Return the number of living slots."""
        return self.count if self.alive is None else int(np.count_nonzero(self.alive))

    def slots(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the (n,) slots of ids; only the latest moment can tell.

        Raises:
            InputError: If an id is not there.
        """
        missing = [document_id for document_id in ids if document_id not in self.slot_of]
        if missing:
            others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise InputError(f"id {missing[0]!r}{others} is not in the index; `id in index` tells")
        return np.fromiter((self.slot_of[document_id] for document_id in ids), np.int64, len(ids))

    def found(self, slots: Sequence[int], scores: Sequence[float]) -> list[FoundRow]:
        """Return what is in some slots, with their scores."""
        return [
            FoundRow(self.ids[slot], score, self.metadata[slot], self.vectors[slot])
            for slot, score in zip(slots, scores, strict=True)
        ]

    def allowed(self, test: Callable[[Mapping[str, Any]], bool] | None) -> NDArray[np.int64] | None:
        """Return the living slots whose metadata pass a test, ascending; None when that is every slot."""
        living = None if self.alive is None else np.flatnonzero(self.alive)
        if test is None:
            return living
        slots = range(self.count) if living is None else living.tolist()
        return np.array([slot for slot in slots if test(self.metadata[slot])], dtype=np.int64)

    def inserted(
        self,
        ids: Sequence[str],
        vectors: NDArray[np.float32],
        metadata: Sequence[Mapping[str, Any]] | None,
        norm: float,
    ) -> Rows:
        """Return the next moment, with (b, d) vectors added or replaced that are at most ``norm`` long."""
        if self.count == 0:
            entries = [{} for _ in ids] if metadata is None else list(metadata)
            return Rows.of(list(ids), vectors, entries, largest_norm=norm)
        rows = self._with_room_for(len(ids))
        start, stop = rows.count, rows.count + len(ids)
        old = [rows.slot_of.get(document_id) for document_id in ids]
        rows.vectors[start:stop] = vectors
        rows.places[start:stop] = np.arange(start, stop) + (rows.places[:start].max() + 1 - start)
        alive = np.ones(stop, dtype=np.bool_)
        alive[:start] = True if rows.alive is None else rows.alive
        for offset, slot in enumerate(old):
            if slot is not None:
                rows.places[start + offset] = rows.places[slot]
                alive[slot] = False
        # Slices, not extend: what an interrupted insert left behind is written over.
        rows.metadata[start:] = metadata or [{} if slot is None else rows.metadata[slot] for slot in old]
        rows.ids[start:] = ids
        rows.slot_of.update(zip(ids, range(start, stop), strict=True))
        return replace(
            rows,
            alive=None if alive.all() else alive,
            count=stop,
            largest_norm=max(rows.largest_norm, norm),
        )._without_many_dead()

    def deleted(self, ids: Sequence[str]) -> Rows:
        """Return the next moment, without some ids.

        Raises:
            InputError: If an id is not there.
        """
        slots = self.slots(ids)
        alive = np.ones(self.count, dtype=np.bool_) if self.alive is None else self.alive.copy()
        alive[slots] = False
        for document_id in ids:
            self.slot_of.pop(document_id, None)
        return replace(self, alive=None if alive.all() else alive)._without_many_dead()

    def ordered(self) -> Rows:
        """Return the same rows without dead slots, in their order; itself where that is so already."""
        living = np.arange(self.count) if self.alive is None else np.flatnonzero(self.alive)
        order = living[np.argsort(self.places[living])]
        if self.count == len(order) and (order == np.arange(self.count)).all():
            return replace(self, ids=self.ids[: self.count], metadata=self.metadata[: self.count])
        slots = order.tolist()
        return Rows.of(
            [self.ids[slot] for slot in slots],
            self.vectors[order],
            [self.metadata[slot] for slot in slots],
            largest_norm=self.largest_norm,
        )

    def dense(self) -> NDArray[np.float32]:
        """Return the (count, d) vectors, read-only."""
        view = self.filled.view()
        view.setflags(write=False)
        return view

    def _without_many_dead(self) -> Rows:
        return self if 2 * len(self) >= self.count else self.ordered()

    def _with_room_for(self, more: int) -> Rows:
        if self.count + more <= len(self.vectors):
            return self
        capacity = max(2 * self.count, self.count + more)
        vectors = np.empty((capacity, self.vectors.shape[1]), dtype=np.float32)
        vectors[: self.count] = self.filled
        places = np.empty(capacity, dtype=np.int64)
        places[: self.count] = self.places[: self.count]
        return replace(self, vectors=vectors, places=places)
