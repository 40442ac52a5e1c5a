"""Real processes that change a store and are killed: whatever the moment, it can be finished and taken back.

``NUDGE_STORE_KILLS`` says how many are killed while they apply, and as many while they roll back, a store;
``NUDGE_SEED`` at which moments.
"""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_stores import KINDS, StoreKind, named
from numpy.typing import NDArray
from rollout_child import SABOTAGES, Death, DiesAt, deaths, dies, sabotaged

from nudge_integrations import RetrievalDataset
from nudge_integrations.errors import StoreError
from nudge_integrations.stores import LiveStore, fit_store
from nudge_integrations.stores.journal import RolloutJournal, latest_journal
from nudge_integrations.stores.plan import RolloutPlan
from nudge_integrations.stores.qdrant import QdrantStore
from nudge_integrations.stores.store import fetched

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

KILLS, SEED = int(os.environ.get("NUDGE_STORE_KILLS", "6")), int(os.environ.get("NUDGE_SEED", "0"))
ROWS, WIDTH = 40, 8
IDS = [named(row) for row in range(ROWS)]
RANDOM = np.random.default_rng(11)
ROWS_OF = RANDOM.standard_normal((ROWS, WIDTH)).astype(np.float32)
VECTORS = ROWS_OF / np.linalg.norm(ROWS_OF, axis=1, keepdims=True)
DATASET = RetrievalDataset(
    {document_id: document_id for document_id in IDS},
    {f"q{row}": f"question {row}" for row in range(ROWS)},
    {f"q{row}": {IDS[row]: 1.0} for row in range(ROWS)},
)
QUERIES = VECTORS + 0.2 * np.roll(VECTORS, 1, axis=0)
DURABLE = [kind for kind in KINDS if kind.name != "memory"]
# Ten batches of four rows; a store that changes all rows together is written in one go of ten calls.
BATCH = 4
kinds = pytest.mark.parametrize("kind", DURABLE, ids=lambda kind: kind.name)


class Killing:
    """A store that is changed by processes that die, and what it must hold."""

    def __init__(self, kind: StoreKind, folder: Path, sabotage: str | None = None) -> None:
        self.kind, self.folder, self.sabotage = kind, folder, sabotage
        store = kind.made(folder, IDS, VECTORS)
        nudge = fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-n", step=0.3)
        self.plan = store.plan(nudge, canary=None)
        self.base, self.target = (in_plan_order(self.plan, rows) for rows in (self.plan.base, self.plan.target))
        self.tolerance, self.together = store.info.tolerance, store.info.atomicity == "all"
        close(store)

    def opened(self) -> LiveStore:
        return self.kind.open(self.folder, None)

    def write_journal(self) -> None:
        """Write the journal, and change nothing."""
        store = self.opened()
        RolloutJournal.create(latest_journal(store.journal)[1], self.plan, BATCH)
        close(store)

    def dies(self, action: str, death: Death) -> bool:
        return dies(self.folder, self.kind.name, action, death, self.sabotage)

    def check(self, *allowed: NDArray[Any]) -> None:
        """Every row must hold what it does in one of the states: all rows the same one, where they change together."""
        store = self.opened()
        there, now = fetched(store.adapter, IDS)
        close(store)
        assert there.all(), f"{(~there).sum()} rows are lost"
        at = np.array([(np.abs(now - rows) <= self.tolerance).all(axis=1) for rows in allowed])
        assert at.any(axis=0).all(), f"{(~at.any(axis=0)).sum()} rows hold something else"
        assert not self.together or at.all(axis=1).any(), "rows that change together are in two states"

    def finish(self, state: str) -> None:
        """Finish what was begun, in this process."""
        store = self.opened()
        with sabotaged(self.sabotage):
            run = store.rollback() if state == "rolled back" else store.resume()
        assert (run.state, run.verify().ok, run.skipped) == (state, True, {})
        close(store)
        self.check(self.target if state == "applied" else self.base)


def in_plan_order(plan: RolloutPlan, rows: NDArray[Any]) -> NDArray[Any]:
    return rows[[plan.ids.index(document_id) for document_id in IDS]]


def close(store: LiveStore) -> None:
    store.close()
    if isinstance(store.adapter, QdrantStore):  # whose folder lets one client in at a time
        store.adapter._client.close()


def kill(kind: StoreKind, folder: Path, kills: int, sabotage: str | None = None) -> dict[str, int]:
    """Kill so many processes that apply and as many that roll back, two at a time; return how many were killed."""
    killing = Killing(kind, folder, sabotage)
    done = {"resume": 0, "rollback": 0}
    killing.write_journal()
    assert not killing.dies("resume", Death())
    started = time.perf_counter()
    assert not killing.dies("rollback", Death())
    longest = time.perf_counter() - started
    killing.check(killing.base)
    moments = deaths(ROWS // BATCH, longest, SEED)
    for _ in count():
        killing.write_journal()
        for action, state in (("resume", "applied"), ("rollback", "rolled back")):
            for death in (next(moments), next(moments)):
                done[action] += killing.dies(action, death)
                killing.check(killing.base, killing.target)
            killing.finish(state)
        if min(done.values()) >= kills:
            return done
    return done


@kinds
def test_processes_are_killed_while_applying_and_while_rolling_back(kind: StoreKind, tmp_path: Path) -> None:
    done = kill(kind, tmp_path, KILLS)
    assert min(done.values()) >= KILLS


@pytest.mark.parametrize("kind", [kind for kind in DURABLE if kind.name != "qdrant"], ids=lambda kind: kind.name)
def test_a_store_that_another_process_has_changed_since_is_read_again(kind: StoreKind, tmp_path: Path) -> None:
    killing = Killing(kind, tmp_path)
    killing.write_journal()
    store = killing.opened()
    assert store.verify().at_base == ROWS
    assert not killing.dies("resume", Death())
    if kind.name == "faiss":
        with pytest.raises(StoreError, match="written by somebody else"):
            store.rollback()
        store = killing.opened()
    run = store.rollout()
    assert (run.state, run.verify().at_target) == ("applied", ROWS)
    assert not killing.dies("rollback", Death())
    if kind.name == "faiss":
        run = killing.opened().rollout()
    assert (run.state, run.verify().at_base) == ("rolled back", ROWS)
    close(store)
    killing.check(killing.base)


@kinds
def test_killed_processes_show_that_there_is_no_journal(kind: StoreKind, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"not as|rows hold something else|assert"):
        kill(kind, tmp_path, KILLS, "no journal")


def edited_and_lied_to(kind: StoreKind, folder: Path, *, edit: bool, lie: bool, sabotage: str | None) -> None:
    """Die in the middle; then somebody edits a row, or the store lies about one; resume."""
    killing = Killing(kind, folder, sabotage)
    killing.write_journal()
    assert killing.dies("resume", Death(3, after=True))
    store = killing.opened()
    if edit:
        last = killing.plan.ids[-1:]
        store.adapter.write(last, -killing.plan.base[-1:])
        place = IDS.index(last[0])
        killing.base[place] = killing.target[place] = fetched(store.adapter, last)[1]
    with sabotaged(sabotage):
        LiveStore(DiesAt(store.adapter, Death(), lies=lie), store.journal, store.retries).resume()
        close(store)
        killing.check(killing.target)
        store = killing.opened()
        LiveStore(DiesAt(store.adapter, Death(), lies=lie), store.journal, store.retries).rollback()
    close(store)
    killing.check(killing.base)


@kinds
@pytest.mark.parametrize(("edit", "lie", "sabotage"), [(True, False, "no compare"), (False, True, "no read-back")])
def test_edits_are_kept_and_lies_found_after_a_death(
    kind: StoreKind, edit: bool, lie: bool, sabotage: str, tmp_path: Path
) -> None:
    assert sabotage in SABOTAGES
    edited_and_lied_to(kind, _folder(tmp_path, "right"), edit=edit, lie=lie, sabotage=None)
    with pytest.raises(AssertionError, match=r"rows hold something else|two states"):
        edited_and_lied_to(kind, _folder(tmp_path, "wrong"), edit=edit, lie=lie, sabotage=sabotage)


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder
