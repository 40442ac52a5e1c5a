"""Batches of a rollout written to a store: compared before, read back afterwards, put away when they are settled."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.errors import RolloutError
from nudge_integrations.stores.journal import RolloutJournal, RowBatch
from nudge_integrations.stores.plan import MOST_SKIPPED
from nudge_integrations.stores.retrying import Unacknowledged
from nudge_integrations.stores.store import Floats, StoreAdapter, StoreInfo, Transactional, fetched
from nudge_integrations.stores.store_corpus import same_rows

__all__ = ["BatchWriter", "Direction", "NotKept"]

Direction = Literal["applying", "rolling back"]


class NotKept(RolloutError):
    """A store that holds something else than it was given, such as numbers that it has rounded."""


@dataclass(eq=False)
class BatchWriter:
    """Brings batches to their targets, or back to their base vectors.

    Attributes:
        adapter: The store.
        info: What it is.
        journal: The journal.
        direction: Where to.
        skipped: Id -> reason of the rows that were left as they are.
    """

    adapter: StoreAdapter
    info: StoreInfo
    journal: RolloutJournal
    direction: Direction
    skipped: dict[str, str] = field(default_factory=dict)

    def settle(self, names: Sequence[str], folder: str) -> None:
        """Write batches together, read them back, and put them away.

        Raises:
            RolloutError: If too many rows have changed since they were planned.
            Unacknowledged: If rows were not acknowledged, or not written.
            NotKept: If the store holds something else than it was given.
        """
        skipped: dict[str, dict[str, str]] = {name: {} for name in names}
        transaction: AbstractContextManager[None] = nullcontext()
        if isinstance(self.adapter, Transactional):
            transaction = self.adapter.transaction()
        with transaction:
            for name in names:
                self._write(self.journal.read(name), skipped)
        for name in names:
            skipped[name] |= self._read_back(self.journal.read(name), skipped[name])
            if skipped[name]:
                self.journal.note(during=self.direction, batch=name, skipped=skipped[name])
            self.journal.move(name, folder)
            self.skipped |= skipped[name]

    def _wanted(self, batch: RowBatch) -> Floats:
        return batch.target if self.direction == "applying" else batch.base

    def _write(self, batch: RowBatch, skipped: dict[str, dict[str, str]]) -> None:
        """Write the rows that hold what they may hold; put down the others, each with the reason, before that."""
        there, known, settled, _ = self._compare(batch)
        reasons = {batch.ids[row]: "it is not in the store any more" for row in np.flatnonzero(~there)}
        skipped[batch.name] = reasons | {batch.ids[r]: "somebody changed it" for r in np.flatnonzero(there & ~known)}
        self._stop_if_many(skipped)
        rows, size = np.flatnonzero(known & ~settled), self.info.most_rows
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            ids = [batch.ids[row] for row in part]
            missing = set(ids) - set(self.adapter.write(ids, self._wanted(batch)[part]))
            if missing:
                raise Unacknowledged(f"{len(missing)} of {len(ids)} rows were not acknowledged")

    def _read_back(self, batch: RowBatch, skipped: dict[str, str]) -> dict[str, str]:
        """Make sure that the store holds what it acknowledged; return rows that changed since, with the reason."""
        there, known, settled, rows = self._compare(batch)
        lost = [batch.ids[row] for row in np.flatnonzero(known & ~settled)]
        if lost:
            raise Unacknowledged(f"{len(lost)} rows were acknowledged but not written, {lost[0]!r} first")
        new = np.array([document_id not in skipped for document_id in batch.ids], np.bool_)
        if self.direction == "applying":
            self._refuse_rounding(batch, there & ~known & new, rows)
        return {batch.ids[row]: "it changed right after it was written" for row in np.flatnonzero(~known & new)}

    def _refuse_rounding(self, batch: RowBatch, odd: NDArray[np.bool_], rows: Floats) -> None:
        """Tell a store that keeps something near to what it was given from rows that somebody has just changed."""
        off = np.linalg.norm((rows - batch.target).astype(np.float64), axis=1)
        near = odd & (off < np.linalg.norm((rows - batch.base).astype(np.float64), axis=1))
        if near.sum() <= MOST_SKIPPED * len(batch.ids):
            return
        # What the store made of them is its own doing, so rolling back may overwrite it.
        self.journal.keep_echo(batch.name, np.where(near[:, None], rows, np.nan))
        raise NotKept(
            f"{int(near.sum())} of {len(batch.ids)} rows hold something else than {self.info.location} was given, "
            f"{batch.ids[int(np.flatnonzero(near)[0])]!r} by up to {np.abs(rows - batch.target)[near].max():.2g}: it "
            "rounds, or keeps vectors in another form than it says"
        )

    def _compare(self, batch: RowBatch) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_], Floats]:
        """Return (r,) whether rows are there, hold what they may hold, and hold what is wanted; and what they hold."""
        tolerance = self.info.tolerance
        there, rows = fetched(self.adapter, batch.ids, self.info)
        held, base, target = (same_rows(rows, one, tolerance) for one in (batch.held, batch.base, batch.target))
        known = held | base | target
        if (echo := self.journal.echo(batch.name)) is not None:
            known |= same_rows(rows, echo, tolerance)
        return there, there & known, there & (target if self.direction == "applying" else base), rows

    def _stop_if_many(self, skipped: dict[str, dict[str, str]]) -> None:
        every = self.skipped | {i: reason for part in skipped.values() for i, reason in part.items()}
        if self.direction == "applying" and len(every) > MOST_SKIPPED * self.journal.rows:
            first, reason = next(iter(every.items()))
            raise RolloutError(
                f"{len(every)} of {self.journal.rows} rows are not as they were planned ({first!r}: {reason}), more "
                f"than {MOST_SKIPPED:.0%}: roll back {self.journal.folder} and fit again on what is there"
            )
