"""Applying a plan to a live store, and taking it back: whatever happens in between, it can be finished or undone.

A row is written only if it holds what the journal says that it may hold, so writing twice is writing once, and rows
that somebody else changed stay as they are. A batch is done when the store was read back and holds it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from nudge_integrations.errors import CanaryError, RolloutError
from nudge_integrations.storage import claimed, this_process
from nudge_integrations.stores.batch_writer import BatchWriter, Direction, NotKept
from nudge_integrations.stores.canary import exact_ids, ids_found
from nudge_integrations.stores.journal import RolloutJournal, check_store
from nudge_integrations.stores.retrying import Retries
from nudge_integrations.stores.store import Lockable, StoreAdapter, StoreInfo, fetched
from nudge_integrations.stores.store_corpus import StoreCorpus, recall_of, same_rows

__all__ = ["Rollout", "Verification"]

logger = logging.getLogger(__name__)

# An approximate index that finds less than this part fewer of the exact best is as good as before.
_MOST_RECALL_LOST = 0.01
_END = {"applying": ("applied", "done"), "rolling back": ("rolled back", "undone")}


@dataclass(frozen=True)
class Verification:
    """The rows of a rollout by what they hold.

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

    def __str__(self) -> str:
        """Say it in a line."""
        parts = [f"{self.at_target} at their target", f"{self.at_base} at their base"]
        parts += [f"{len(self.changed)} changed by somebody else ({self.changed[0]}, ...)"] if self.changed else []
        parts += [f"{len(self.missing)} gone ({self.missing[0]}, ...)"] if self.missing else []
        return f"{'ok' if self.ok else 'not as it should be'}: {self.state}; rows: {', '.join(parts)}"

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
        progress: Whether to show a bar while rows are written.
    """

    adapter: StoreAdapter
    journal: RolloutJournal
    retries: Retries = field(default_factory=Retries)
    progress: bool = False
    _info: StoreInfo = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a journal of another store."""
        self._info = self.adapter.describe()
        check_store(self.journal, self._info.fingerprint, self._info.location)

    @property
    def state(self) -> str:
        """``"planned"``, ``"applying"``, ``"applied"``, ``"rolling back"`` or ``"rolled back"``."""
        return self.journal.state

    @property
    def skipped(self) -> dict[str, str]:
        """Id -> reason, of the rows that were left as they are."""
        return self.journal.skipped("applying") | self.journal.skipped("rolling back")

    @property
    def canary_figures(self) -> dict[str, float | str] | None:
        """Figures of the canary queries, before and now; None before they were run, or where there are none.

        ``metric``, ``before``, ``predicted``, ``found``, and the recall of the store's own search: ``recall_before``
        and ``recall``.
        """
        measured = [event for event in self.journal.events() if "canary" in event]
        predicted = self.journal.prediction
        if not measured or predicted is None:
            return None
        last = measured[-1]
        figures = {"before": predicted.before, "predicted": last["predicted"], "found": last["canary"]}
        return {"metric": predicted.metric, **figures, "recall_before": predicted.recall, "recall": last["recall"]}

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
        # Asked again: since the last time, other processes may have changed the store.
        self._info = self.adapter.describe()
        tolerance = self._info.tolerance
        for batch in self.journal.batches():
            there, rows = fetched(self.adapter, batch.ids, self._info)
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
            f"batches: {batches}; {len(self.skipped)} rows left as they are{self._measured()}"
        )

    def _measured(self) -> str:
        """Return what the canary found, and what to do about an index that finds less than before, in words."""
        figures = self.canary_figures
        if figures is None:
            return ""
        words = (
            f"; {figures['metric']} of the canary queries {figures['before']:.4f} -> {figures['found']:.4f}, "
            f"{figures['predicted']:.4f} was predicted"
        )
        lost = float(figures["recall_before"]) - float(figures["recall"])
        if self._info.index and lost > _MOST_RECALL_LOST:
            words += (
                f"; the {self._info.index} index finds {float(figures['recall']):.1%} of the exact best, "
                f"{float(figures['recall_before']):.1%} before: rebuild it"
                + (f" ({self._info.rebuild})" if self._info.rebuild else "")
            )
        return words

    def _run(self, direction: Direction) -> None:
        with claimed(self.journal.folder.parent, direction), self._locked():
            self._info = self.adapter.describe()
            if direction == "applying" and self.state in ("rolling back", "rolled back"):
                raise RolloutError(f"{self.journal.folder} was rolled back meanwhile; plan again")
            end, folder = _END[direction]
            others = [name for name in ("todo", "done", "undone") if name != folder]
            names = self.journal.names(*(others if direction == "rolling back" else ("todo",)))
            writer = BatchWriter(self.adapter, self._info, self.journal, direction, self.journal.skipped(direction))
            self._persist(names, lambda: self.journal.note(state=direction, by=this_process()))
            try:
                for group in tqdm(self._groups(names), desc=direction.capitalize(), disable=not self.progress):
                    self._persist(group, lambda group=group: writer.settle(group, folder))  # type: ignore[misc]
                failed = self._failed_canary(names, writer.skipped) if direction == "applying" else None
            except NotKept as error:
                failed = str(error)
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
        together = self._info.atomicity == "all"
        return ([names] if names else []) if together else [[name] for name in names]

    def _persist(self, names: Sequence[str], action: Callable[[], None]) -> None:
        self.retries.run(action, self.journal.folder, names)

    def _failed_canary(self, names: Sequence[str], skipped: dict[str, str]) -> str | None:
        """Run the canary queries; return what is wrong in words, None where nothing is."""
        canary, predicted = self.journal.canary, self.journal.prediction
        if canary is None or predicted is None:
            return None
        figures: list[tuple[float, float]] = []

        def measure() -> None:
            corpus = StoreCorpus.of(self.adapter)
            k = canary.depth
            found = ids_found(self.adapter, corpus, canary.queries, k)
            recall = recall_of(found, exact_ids(corpus, canary.queries, k)) if self._info.index else 1.0
            figures.append(canary.compared(found, skipped))
            self.journal.note(canary=figures[-1][0], predicted=figures[-1][1], recall=recall)

        self._persist(names, measure)
        found, expected = figures[-1]
        if found >= expected - predicted.tolerance:
            return None
        return (
            f"{predicted.metric} of {len(canary)} queries on the store is {found:.4f} after the change, "
            f"{expected:.4f} was predicted (tolerance {predicted.tolerance:.4f}, before {predicted.before:.4f})"
        )
