"""Applying a plan to a live store, and taking it back: whatever happens in between, it can be finished or undone.

A row is written only if it holds what the journal says that it may hold, so writing twice is writing once, and rows
that somebody else changed stay as they are. A batch is done when the store was read back and holds it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from nudge_integrations.corpus import parse_metric
from nudge_integrations.errors import CanaryError, RolloutError
from nudge_integrations.storage import claimed, this_process
from nudge_integrations.stores.canary import ids_found
from nudge_integrations.stores.journal import RolloutJournal, RowBatch, check_store
from nudge_integrations.stores.plan import MOST_SKIPPED
from nudge_integrations.stores.retrying import Retries, Unacknowledged
from nudge_integrations.stores.store import Floats, Lockable, StoreAdapter, Transactional, fetched
from nudge_integrations.stores.store_corpus import StoreCorpus, same_rows

__all__ = ["Rollout", "Verification"]

logger = logging.getLogger(__name__)

Direction = Literal["applying", "rolling back"]
_END = {"applying": ("applied", "done"), "rolling back": ("rolled back", "undone")}


@dataclass(frozen=True)
class Verification:
    """What the rows of a rollout hold.

    Attributes:
        at_target: How many are where the nudge puts them.
        at_base: How many hold their base vectors.
        changed: Ids that hold something else: somebody changed them.
        missing: Ids that are not in the store any more.
        state: The state of the rollout.
    """

    at_target: int
    at_base: int
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    state: str

    @property
    def ok(self) -> bool:
        """Whether every row that is there and that nobody else changed is where the state says."""
        return {"applied": self.at_base, "rolled back": self.at_target}.get(self.state, 1) == 0


@dataclass(eq=False)
class Rollout:
    """One change of a live store, as its journal has it.

    Attributes:
        adapter: The store.
        journal: The journal.
        retries: How often, and after which waits, what failed is tried again.
    """

    adapter: StoreAdapter
    journal: RolloutJournal
    retries: Retries = field(default_factory=Retries)
    _skipped: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a journal of another store."""
        info = self.adapter.describe()
        check_store(self.journal, info.fingerprint, info.location)

    @property
    def state(self) -> str:
        """``"planned"``, ``"applying"``, ``"applied"``, ``"rolling back"`` or ``"rolled back"``."""
        return self.journal.state

    @property
    def skipped(self) -> dict[str, str]:
        """Id -> reason, of the rows that were left as they are."""
        return self.journal.skipped("applying") | self.journal.skipped("rolling back")

    def resume(self) -> Rollout:
        """Finish what was begun: applying, or rolling back. Nothing happens where it is finished.

        Raises:
            RolloutError: If the store fails for good, or too many rows have changed; says how to go on.
            CanaryError: If queries did worse than predicted; the rollout was rolled back.
            ArtifactError: If another process is at it; says who.
        """
        state = self.state
        if state in ("planned", "applying"):
            self._run("applying")
        elif state == "rolling back":
            self._run("rolling back")
        return self

    def rollback(self) -> Rollout:
        """Give every row its base vector back, bit for bit; rows that somebody else changed stay as they are.

        Raises:
            RolloutError: If the store fails for good; says how to go on.
            ArtifactError: If another process is at it; says who.
        """
        if self.state != "rolled back":
            self._run("rolling back")
        return self

    def verify(self) -> Verification:
        """Read every row of the rollout and say what it holds."""
        counts: Counter[str] = Counter()
        found: dict[str, list[str]] = {"changed": [], "missing": []}
        tolerance = self.adapter.describe().tolerance
        for batch in self.journal.batches():
            there, rows = fetched(self.adapter, batch.ids)
            at_target = there & same_rows(rows, batch.target, tolerance)
            at_base = there & same_rows(rows, batch.base, tolerance) & ~at_target
            counts.update(target=int(at_target.sum()), base=int(at_base.sum()))
            found["missing"] += [batch.ids[row] for row in np.flatnonzero(~there)]
            found["changed"] += [batch.ids[row] for row in np.flatnonzero(there & ~at_target & ~at_base)]
        changed, missing = tuple(found["changed"]), tuple(found["missing"])
        return Verification(counts["target"], counts["base"], changed, missing, self.state)

    def __str__(self) -> str:
        """Say how far it is."""
        batches = ", ".join(f"{count} {name}" for name, count in self.journal.counts().items())
        return (
            f"{self.journal.folder}: {self.state}, {self.journal.rows} rows in {self.journal.plan['location']}; "
            f"batches: {batches}; {len(self.skipped)} rows left as they are"
        )

    def _run(self, direction: Direction) -> None:
        with claimed(self.journal.folder.parent, direction), self._locked():
            if direction == "applying" and self.state in ("rolling back", "rolled back"):
                raise RolloutError(f"{self.journal.folder} was rolled back meanwhile; plan again")
            end, folder = _END[direction]
            others = [name for name in ("todo", "done", "undone") if name != folder]
            names = self.journal.names(*(others if direction == "rolling back" else ("todo",)))
            self._skipped = self.journal.skipped(direction)
            self._persist(names, lambda: self.journal.note(state=direction, by=this_process()))
            for group in self._groups(names):
                self._persist(group, lambda group=group: self._settle(group, direction, folder))  # type: ignore[misc]
            failed = self._failed_canary(names) if direction == "applying" else None
            if failed is None:
                self._persist(names, lambda: self.journal.note(state=end))
        if failed is not None:
            logger.warning("%s; rolling back", failed)
            self._run("rolling back")
            raise CanaryError(f"{failed}; the store was rolled back to its base vectors")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self.adapter.exclusive(this_process()) if isinstance(self.adapter, Lockable) else nullcontext():
            yield

    def _groups(self, names: list[str]) -> list[list[str]]:
        """Return the batches that change together: all, or one by one."""
        together = self.adapter.describe().atomicity == "all"
        return ([names] if names else []) if together else [[name] for name in names]

    def _persist(self, names: Sequence[str], action: Callable[[], None]) -> None:
        self.retries.run(action, self.journal.folder, names)

    def _settle(self, names: Sequence[str], direction: Direction, folder: str) -> None:
        """Bring batches where the direction leads, read them back, and put them away."""
        skipped: dict[str, dict[str, str]] = {name: {} for name in names}
        transaction: AbstractContextManager[None] = nullcontext()
        if isinstance(self.adapter, Transactional):
            transaction = self.adapter.transaction()
        with transaction:
            for name in names:
                self._write(self.journal.read(name), direction, skipped)
        for name in names:
            skipped[name] |= self._read_back(self.journal.read(name), direction, skipped[name])
            if skipped[name]:
                self.journal.note(during=direction, batch=name, skipped=skipped[name])
            self.journal.move(name, folder)
            self._skipped |= skipped[name]

    def _write(self, batch: RowBatch, direction: Direction, skipped: dict[str, dict[str, str]]) -> None:
        """Write the rows that hold what they may hold; put down the others, each with the reason, before that."""
        wanted = batch.target if direction == "applying" else batch.base
        there, known, settled = self._compare(batch, wanted)
        reasons = {batch.ids[row]: "it is not in the store any more" for row in np.flatnonzero(~there)}
        skipped[batch.name] = reasons | {batch.ids[r]: "somebody changed it" for r in np.flatnonzero(there & ~known)}
        self._stop_if_many(skipped, direction)
        rows, size = np.flatnonzero(known & ~settled), self.adapter.describe().most_rows
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            ids = [batch.ids[row] for row in part]
            missing = set(ids) - set(self.adapter.write(ids, wanted[part]))
            if missing:
                raise Unacknowledged(f"{len(missing)} of {len(ids)} rows were not acknowledged")

    def _read_back(self, batch: RowBatch, direction: Direction, skipped: dict[str, str]) -> dict[str, str]:
        """Make sure that the store holds what it acknowledged; return rows that changed since, with the reason."""
        wanted = batch.target if direction == "applying" else batch.base
        _, known, settled = self._compare(batch, wanted)
        lost = [batch.ids[row] for row in np.flatnonzero(known & ~settled)]
        if lost:
            raise Unacknowledged(f"{len(lost)} rows were acknowledged but not written, {lost[0]!r} first")
        odd = [batch.ids[row] for row in np.flatnonzero(~known)]
        return {i: "it changed right after it was written" for i in odd if i not in skipped}

    def _compare(self, batch: RowBatch, wanted: Floats) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (r,) whether rows are there, hold what they may hold, and hold what is wanted."""
        tolerance = self.adapter.describe().tolerance
        there, rows = fetched(self.adapter, batch.ids)
        held, base, target = (same_rows(rows, one, tolerance) for one in (batch.held, batch.base, batch.target))
        settled = there & (target if wanted is batch.target else base)
        return there, there & (held | base | target), settled

    def _stop_if_many(self, skipped: dict[str, dict[str, str]], direction: Direction) -> None:
        every = self._skipped | {i: reason for part in skipped.values() for i, reason in part.items()}
        if direction == "applying" and len(every) > MOST_SKIPPED * self.journal.rows:
            first, reason = next(iter(every.items()))
            raise RolloutError(
                f"{len(every)} of {self.journal.rows} rows are not as they were planned ({first!r}: {reason}), more "
                f"than {MOST_SKIPPED:.0%}: roll back {self.journal.folder} and fit again on what is there"
            )

    def _failed_canary(self, names: Sequence[str]) -> str | None:
        """Run the canary queries; return what is wrong in words, None where nothing is."""
        canary, predicted = self.journal.canary, self.journal.prediction
        if canary is None or predicted is None:
            return None
        figures: list[tuple[float, float]] = []

        def measure() -> None:
            corpus = StoreCorpus.of(self.adapter)
            k = parse_metric(predicted.metric).k
            figures.append(canary.compared(ids_found(self.adapter, corpus, canary.queries, k), self._skipped))
            self.journal.note(canary=figures[-1][0], predicted=figures[-1][1])

        self._persist(names, measure)
        found, expected = figures[-1]
        if found >= expected - predicted.tolerance:
            return None
        return (
            f"{predicted.metric} of {len(canary)} queries on the store is {found:.4f} after the change, "
            f"{expected:.4f} was predicted (tolerance {predicted.tolerance:.4f}, before {predicted.before:.4f})"
        )
