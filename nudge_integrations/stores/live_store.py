"""LiveStore: a vector store that serves, with the nudge that was applied to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import InputError, RolloutError, StoreError
from nudge_integrations.storage import claimed
from nudge_integrations.stores.journal import RolloutJournal, journals_folder, latest_journal, remove_unfinished
from nudge_integrations.stores.plan import RolloutPlan, plan_rollout
from nudge_integrations.stores.retrying import Retries
from nudge_integrations.stores.rollout import Rollout, Verification
from nudge_integrations.stores.store import SideBySide, StoreAdapter, StoreInfo
from nudge_integrations.stores.store_corpus import Overlay, StoreCorpus

if TYPE_CHECKING:
    from nudge_integrations.artifact import Nudge
    from nudge_integrations.stores.canary import Canary

__all__ = ["LiveStore"]


class LiveStore:
    """A store that can be nudged in place; `open_store` makes one.

    Args:
        adapter: The store.
        journal: Folder for the journals of this store; None for one of its own in `journals_folder`.
        retries: How often, and after which waits, what failed is tried again.
        progress: Whether to show a bar while rows are written.
    """

    def __init__(
        self,
        adapter: StoreAdapter,
        journal: str | os.PathLike[str] | None = None,
        retries: Retries | None = None,
        *,
        progress: bool = False,
    ) -> None:
        self.adapter = adapter
        self.retries = retries or Retries()
        self.progress = progress
        info = adapter.describe()
        name = f"{info.kind}-{info.fingerprint[:12]}"
        self.journal = journals_folder() / name if journal is None else Path(journal)
        self._canaries: dict[str, Canary] = {}

    @property
    def info(self) -> StoreInfo:
        """The store as it describes itself now."""
        return self.adapter.describe()

    def corpus(self, *, by_index: bool | None = None) -> StoreCorpus:
        """Return the store as a `Corpus` of base vectors; see `StoreCorpus`.

        Raises:
            RolloutError: If a rollout is unfinished.
            StoreError: If the store is empty or holds an id twice.
        """
        return StoreCorpus.of(self.adapter, self._overlay(), by_index=by_index)

    def refit(self, nudge: Nudge, labels: Any = None, encoder: Any = None, **options: Any) -> Nudge:
        """Fit again to the labels that a nudge keeps and new ones, over the rows as they are; see `refit_store`.

        `plan` of the result says what changes from the nudge that is applied, and `apply` writes it.
        """
        from nudge_integrations.stores.refitting import refit_store

        return refit_store(self, nudge, labels, encoder, **options)

    def beside(self, vector_name: str, journal: str | os.PathLike[str] | None = None) -> LiveStore:
        """Return another named vector of the same points, so that a nudge can be applied beside the vectors that serve.

        Points that have no such vector yet get their base vector there. Once it is applied, applications are switched
        over by the name that they search by, and back as well.

        Args:
            vector_name: Of a vector that the collection was created with, as large as this one.
            journal: Folder for its journals; None for one of its own in `journals_folder`.

        Raises:
            StoreError: If the store has no named vectors, or none of this name.
        """
        if not isinstance(self.adapter, SideBySide):
            raise StoreError(f"{self.info.location} has no named vectors: apply the nudge in place")
        return LiveStore(self.adapter.beside(vector_name), journal, self.retries, progress=self.progress)

    def remember(self, nudge: Nudge, canary: Canary) -> None:
        """Keep queries for the plan of a nudge."""
        self._canaries[nudge.fingerprint] = canary

    def canary(self, nudge: Nudge) -> Canary | None:
        """Return the queries that a nudge was fitted to with `fit_store` on this object; None if it was not."""
        return self._canaries.get(nudge.fingerprint)

    def plan(self, nudge: Nudge, *, canary: Canary | None = None, allow_rounding: bool = False) -> RolloutPlan:
        """Say what applying a nudge would change; nothing is written.

        Where another nudge is applied, the new one takes its place, from base vectors: rows that only the former one
        moves go back to their base.

        Args:
            nudge: What to apply.
            canary: Queries to run once it is applied; None for those that it was fitted to with `fit_store` on this
                object, if it was.
            allow_rounding: Write to a store of half precision, which rounds.

        Raises:
            SimilarityError: If the store would rank the nudged vectors wrongly.
            MismatchError: If the store holds vectors of another model or dimension, or was nudged by somebody else.
            StoreError: If it is another collection, or would round.
            RolloutError: If a rollout is unfinished.
        """
        known = canary or self.canary(nudge)
        return plan_rollout(self.adapter, nudge, overlay=self._overlay(), canary=known, allow_rounding=allow_rounding)

    def apply(self, plan: RolloutPlan, *, batch_rows: int = 500) -> Rollout:
        """Write what a plan says: journal first, compared before it is written, read back afterwards.

        Args:
            plan: What `plan` returned.
            batch_rows: How many rows change at once where a store changes row by row.

        Raises:
            RolloutError: If the store fails for good, or more than 5 % of the rows changed since they were planned.
            CanaryError: If queries did worse than predicted; the rollout was rolled back.
            ArtifactError: If another process changes the store; says who.
            InputError: If the plan is for another store, or there was another rollout since.
        """
        if plan.store.fingerprint != self.info.fingerprint:
            raise InputError(f"the plan is for {plan.store.location}, this store is {self.info.location}; plan again")
        if batch_rows < 1:
            raise InputError(f"batch_rows must be 1 or more; got {batch_rows}")
        with claimed(self.journal, "writing a journal"):
            self._finished()
            remove_unfinished(self.journal)
            made: list[RolloutJournal] = []
            _, folder = latest_journal(self.journal)
            self.retries.run(lambda: made.append(RolloutJournal.create(folder, plan, batch_rows)), folder, ())
        return Rollout(self.adapter, made[-1], self.retries, progress=self.progress).resume()

    def rollout(self) -> Rollout:
        """Return the newest rollout.

        Raises:
            InputError: If there was none.
        """
        journal, _ = latest_journal(self.journal)
        if journal is None:
            raise InputError(
                f"{self.journal} holds no journal of {self.info.location}: nothing was applied to it, or the journal "
                "is elsewhere; give that folder as journal="
            )
        return Rollout(self.adapter, journal, self.retries, progress=self.progress)

    def resume(self) -> Rollout:
        """Finish the newest rollout; see `Rollout.resume`."""
        return self.rollout().resume()

    def rollback(self) -> Rollout:
        """Give every row its base vector back; see `Rollout.rollback`."""
        return self.rollout().rollback()

    def verify(self) -> Verification:
        """Read every row of the newest rollout and say what it holds."""
        return self.rollout().verify()

    def close(self) -> None:
        """Close the connection that `open_store` opened, if it did."""
        if callable(close := getattr(self.adapter, "close", None)):
            close()

    def __repr__(self) -> str:
        info = self.info
        return f"LiveStore({info.kind} {info.location}: {info.count} vectors of {info.dimension}, by {info.ranking})"

    def _finished(self) -> RolloutJournal | None:
        """Return the newest journal, which must be finished."""
        journal, _ = latest_journal(self.journal)
        if journal is not None and journal.state not in ("applied", "rolled back"):
            raise RolloutError(f"{journal.folder} is {journal.state}: finish it with resume() or rollback() first")
        return journal

    def _overlay(self) -> Overlay | None:
        """Return base vectors of the rows that hold what the newest rollout gave them."""
        journal = self._finished()
        if journal is None or journal.state == "rolled back":
            return None
        batches = list(journal.batches())
        ids = [document_id for batch in batches for document_id in batch.ids]
        if not ids:
            return None
        place = {document_id: row for row, document_id in enumerate(ids)}
        held, base = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("target", "base"))
        return Overlay(place, held, base, self.info.tolerance)
