"""Every promise of a store adapter, and of a rollout over it, as tests to inherit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
import pytest
from numpy.typing import NDArray

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.stores import LiveStore, StoreAdapter, fit_store, open_store
from nudge_integrations.stores.store import fetched, stored_ids
from nudge_integrations.testing.faults import FailingAdapter, InjectedFault

__all__ = ["StoreContract"]

ROWS, WIDTH = 40, 8
IDS = [str(uuid5(NAMESPACE_OID, str(row))) for row in range(ROWS)]
_DRAWN = np.random.default_rng(3).standard_normal((ROWS, WIDTH))
VECTORS: NDArray[np.float32] = (_DRAWN / np.linalg.norm(_DRAWN, axis=1, keepdims=True)).astype(np.float32)
QUERIES = VECTORS + 0.4 * np.roll(VECTORS, 1, axis=0)
DATASET = RetrievalDataset(
    {document_id: document_id for document_id in IDS},
    {f"q{row}": f"question {row}" for row in range(ROWS)},
    {f"q{row}": {IDS[row]: 1.0} for row in range(ROWS)},
)


class StoreContract:
    """Tests of an adapter; inherit from it, and say how a store is filled and opened.

    A class of tests has a name that begins with ``Test``, so that pytest finds it:

    >>> class TestDictionary(StoreContract):
    ...     def fill(self, folder, ids, vectors):
    ...         self.held = dict(zip(ids, vectors.tolist()))
    ...     def open(self, folder):
    ...         from nudge_integrations.stores.memory import MemoryStore
    ...         return MemoryStore(self.held)
    """

    def fill(self, folder: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Make a store in an empty folder, or elsewhere, that holds these rows and no others."""
        raise NotImplementedError("say how the store is filled")

    def open(self, folder: Path) -> StoreAdapter:
        """Open the store that `fill` made, as another process would."""
        raise NotImplementedError("say how the store is opened")

    def close(self, adapter: StoreAdapter) -> None:
        """Let go of what `open` opened; by default what the adapter's ``close`` does, if it has one."""
        if callable(close := getattr(adapter, "close", None)):
            close()

    @pytest.fixture
    def live(self, tmp_path: Path) -> Iterator[LiveStore]:
        """A store that is filled and open."""
        self.fill(tmp_path, IDS, VECTORS)
        store = self._live(tmp_path)
        yield store
        self.close(store.adapter)

    def _live(self, folder: Path) -> LiveStore:
        return open_store(self.open(folder), journal=folder / "journal")

    @staticmethod
    def _nudge(store: LiveStore) -> Nudge:
        return fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-n", step=0.3)

    @staticmethod
    def _rows(store: LiveStore, ids: Sequence[str] = IDS) -> NDArray[Any]:
        there, rows = fetched(store.adapter, ids)
        assert there.all(), "a document is not in the store any more"
        return rows

    def test_describe_says_what_is_there(self, live: LiveStore) -> None:
        """Count and dimension are those of the rows, and the fingerprint is the same when it is asked again."""
        info = live.info
        assert (info.count, info.dimension) == (ROWS, WIDTH)
        assert info.fingerprint == live.info.fingerprint

    def test_scan_yields_every_row_once(self, live: LiveStore) -> None:
        """Also in parts, and without vectors."""
        parts = list(live.adapter.scan(7))
        ids = [document_id for part, _ in parts for document_id in part]
        assert sorted(ids) == sorted(IDS)
        order = [IDS.index(document_id) for document_id in ids]
        np.testing.assert_allclose(np.concatenate([rows for _, rows in parts]), VECTORS[order], atol=2e-6)
        assert sorted(stored_ids(live.adapter)) == sorted(IDS)

    def test_fetch_leaves_out_what_is_not_there(self, live: LiveStore) -> None:
        """Ids that are there come with their vectors, in whatever order."""
        there, rows = fetched(live.adapter, [IDS[3], str(uuid5(NAMESPACE_OID, "nobody")), IDS[1]])
        assert there.tolist() == [True, False, True]
        np.testing.assert_allclose(rows[[0, 2]], VECTORS[[3, 1]], atol=2e-6)

    def test_write_changes_these_rows_and_no_others(self, live: LiveStore) -> None:
        """Rows are read back as they were written, to the tolerance that the store declares."""
        before, tolerance = self._rows(live), live.info.tolerance
        assert sorted(live.adapter.write(IDS[5:7], -before[5:7])) == sorted(IDS[5:7])
        expected = before.copy()
        expected[5:7] *= -1
        np.testing.assert_allclose(self._rows(live), expected, atol=tolerance, rtol=0)
        assert live.info.count == ROWS

    def test_what_was_written_is_there_when_it_is_opened_again(self, live: LiveStore, tmp_path: Path) -> None:
        """Another process reads what this one wrote."""
        before = self._rows(live)
        live.adapter.write(IDS[:1], -before[:1])
        self.close(live.adapter)
        live.adapter = self.open(tmp_path)
        np.testing.assert_allclose(self._rows(live)[0], -before[0], atol=max(live.info.tolerance, 1e-6))

    def test_apply_and_rollback(self, live: LiveStore) -> None:
        """A nudge is applied as planned, and taken back bit for bit where the store keeps bits."""
        before = self._rows(live)
        plan = live.plan(self._nudge(live))
        run = live.apply(plan, batch_rows=7)
        assert (run.state, run.skipped, run.verify().ok) == ("applied", {}, True)
        np.testing.assert_allclose(self._rows(live, list(plan.ids)), plan.target, atol=max(live.info.tolerance, 5e-6))
        run.rollback()
        np.testing.assert_allclose(self._rows(live), before, atol=live.info.tolerance, rtol=0)

    @pytest.mark.parametrize("writes", [0, 1, 3])
    def test_what_stopped_half_way_can_be_finished_or_taken_back(self, live: LiveStore, writes: int) -> None:
        """Every row is where it was or where it goes, and resuming and rolling back both end it."""
        before = self._rows(live)
        plan = live.plan(self._nudge(live))
        adapter = live.adapter
        live.adapter = FailingAdapter(adapter, writes)
        with pytest.raises(InjectedFault):
            live.apply(plan, batch_rows=7)
        live.adapter = adapter
        place = [IDS.index(document_id) for document_id in plan.ids]
        rows, tolerance = self._rows(live)[place], live.info.tolerance + 1e-12
        known = [(np.abs(rows - one) <= tolerance).all(axis=1) for one in (plan.held, plan.target)]
        assert (known[0] | known[1]).all()
        if live.info.atomicity == "all":
            assert known[0].all()
        assert live.resume().verify().ok
        live.rollback()
        np.testing.assert_allclose(self._rows(live), before, atol=live.info.tolerance, rtol=0)
