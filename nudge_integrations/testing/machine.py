"""A store under any sequence of edits, fits, rollouts, crashes, rollbacks and reopenings, against two dictionaries."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray

from nudge_integrations.stores import LiveStore, RolloutPlan, fit_store, open_store
from nudge_integrations.stores.store import fetched
from nudge_integrations.testing.contract import WIDTH, StoreContract
from nudge_integrations.testing.faults import FailingAdapter, InjectedFault
from nudge_integrations.testing.strategies import document_ids, labelled_datasets, unit_vectors

__all__ = ["StoreMachine", "store_machine"]

_ROWS = 8


class StoreMachine(RuleBasedStateMachine):
    """Random sequences; `store_machine` makes one for a contract.

    What the store must hold is kept in two dictionaries: ``now``, what it holds, and ``base``, what a rollback gives.
    """

    contract: ClassVar[type[StoreContract]]

    @initialize(vectors=st.lists(unit_vectors(WIDTH), min_size=_ROWS, max_size=_ROWS))
    def begin(self, vectors: list[NDArray[np.float32]]) -> None:
        """Fill a store."""
        self._keeping = TemporaryDirectory()
        self.folder, self.kind = Path(self._keeping.name), self.contract()
        self.ids = [str(uuid5(NAMESPACE_OID, str(row))) for row in range(_ROWS)]
        self.kind.fill(self.folder, self.ids, np.stack(vectors))
        self.live = self._opened()
        self.now: dict[str, NDArray[Any]] = self._held(self.ids)
        self.base = dict(self.now)
        self.begun: RolloutPlan | None = None
        self.unfinished: str | None = None

    def _opened(self) -> LiveStore:
        return open_store(self.kind.open(self.folder), journal=self.folder / "journal")

    def _held(self, ids: Iterable[str]) -> dict[str, NDArray[Any]]:
        there, rows = fetched(self.live.adapter, list(ids))
        return {document_id: row for document_id, found, row in zip(ids, there, rows, strict=True) if found}

    def _planned(self, data: st.DataObject) -> RolloutPlan:
        dataset = data.draw(labelled_datasets(list(self.now)))
        queries = np.stack([data.draw(unit_vectors(WIDTH)) for _ in dataset.queries])
        nudge = fit_store(self.live, dataset, "toy", query_vectors=queries, method="nudge-n", step=0.4)
        plan = self.live.plan(nudge)
        for document_id, target in zip(plan.ids, plan.target, strict=True):
            wanted = self.base[document_id].astype(np.float32)
            wanted = nudge.apply([document_id], wanted[None])[0] if document_id in nudge else wanted
            np.testing.assert_allclose(target, wanted, atol=1e-5)
        return plan

    @precondition(lambda self: self.unfinished is None)
    @rule(document_id=document_ids(most=_ROWS), vector=unit_vectors(WIDTH))
    def edit(self, document_id: str, vector: NDArray[np.float32]) -> None:
        """Somebody else changes a row."""
        self.live.adapter.write([document_id], vector[None].astype(self.live.info.dtype))
        self.now |= self._held([document_id])
        self.base[document_id] = self.now[document_id]

    @precondition(lambda self: self.unfinished is None)
    @rule(data=st.data())
    def apply(self, data: st.DataObject) -> None:
        """Fit and apply, from base vectors, in place of any nudge before."""
        plan = self._planned(data)
        run = self.live.apply(plan, batch_rows=2)
        assert (run.state, run.skipped) == ("applied", {})
        self.begun = plan
        self.now = self.now | dict(zip(plan.ids, plan.target, strict=True))

    @precondition(lambda self: self.unfinished is None)
    @rule(data=st.data(), writes=st.integers(0, 3), part=st.sampled_from([0.0, 0.5, 1.0]))
    def die_while_applying(self, data: st.DataObject, writes: int, part: float) -> None:
        """Apply and die on the way; a few rows have moved, or none."""
        plan = self._planned(data)
        if self._dies(writes, part, lambda: self.live.apply(plan, batch_rows=2)):
            self.unfinished = "applying"
        self.begun = plan
        self.wanted = self.now | dict(zip(plan.ids, plan.target, strict=True))
        if self.unfinished is None:
            self.now = self.wanted

    @precondition(lambda self: self.begun is not None and self.unfinished is None)
    @rule(writes=st.integers(0, 3), part=st.sampled_from([0.0, 0.5, 1.0]))
    def die_while_rolling_back(self, writes: int, part: float) -> None:
        """Roll back and die on the way."""
        self.wanted = dict(self.base)
        if self._dies(writes, part, self.live.rollback):
            self.unfinished = "rolling back"
        else:
            self.now = self.wanted

    def _dies(self, writes: int, part: float, work: Any) -> bool:
        adapter = self.live.adapter
        self.live.adapter = FailingAdapter(adapter, writes, part)
        try:
            work()
        except InjectedFault:
            return True
        finally:
            self.live.adapter = adapter
        return False

    @precondition(lambda self: self.unfinished is not None)
    @rule()
    def resume(self) -> None:
        """Finish what was begun."""
        run = self.live.resume()
        assert run.state == {"applying": "applied", "rolling back": "rolled back"}[str(self.unfinished)]
        self.now, self.unfinished = dict(self.wanted), None

    @precondition(lambda self: self.begun is not None)
    @rule()
    def rollback(self) -> None:
        """Take everything back, whatever was begun."""
        assert self.live.rollback().state == "rolled back"
        self.now, self.unfinished = dict(self.base), None

    @rule()
    def reopen(self) -> None:
        """Let another process take over."""
        self.kind.close(self.live.adapter)
        self.live = self._opened()

    @invariant()
    def holds_what_it_must(self) -> None:
        """Every row is where it must be; while something is unfinished, where it was or where it goes."""
        held, tolerance = self._held(self.ids), self.live.info.tolerance
        assert held.keys() == self.now.keys()
        for document_id, row in held.items():
            allowed = [self.now[document_id]]
            allowed += [] if self.unfinished is None else [self.wanted[document_id]]
            assert any((np.abs(row - one) <= tolerance).all() for one in allowed), document_id

    def teardown(self) -> None:
        """Remove the store."""
        if hasattr(self, "live"):
            self.kind.close(self.live.adapter)
            self._keeping.cleanup()


def store_machine(contract: type[StoreContract]) -> type[StoreMachine]:
    """Return a state machine over the store of a contract; its ``TestCase`` is what pytest runs.

    >>> from hypothesis import settings
    >>> from nudge_integrations.testing import StoreContract
    >>> machine = store_machine(StoreContract)
    >>> machine.TestCase.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
    """
    return type(f"{contract.__name__}InAnyOrder", (StoreMachine,), {"contract": contract})
