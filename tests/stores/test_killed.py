"""Real processes that change a store and are killed: whatever the moment, it can be finished and taken back."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_stores import KINDS, StoreKind, named
from numpy.typing import NDArray

from nudge_integrations import RetrievalDataset
from nudge_integrations.stores import LiveStore, fit_store
from nudge_integrations.stores.journal import RolloutJournal, latest_journal
from nudge_integrations.stores.plan import RolloutPlan
from nudge_integrations.stores.store import fetched

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

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
CHILD = Path(__file__).parents[1] / "helpers" / "rollout_child.py"
DURABLE = [kind for kind in KINDS if kind.name != "memory"]
# Ten batches of four rows; a store that changes all rows together is written in one go of ten calls.
BATCH = 4


def planned(store: LiveStore) -> RolloutPlan:
    nudge = fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-n", step=0.3)
    return store.plan(nudge)


def start(store: LiveStore) -> RolloutPlan:
    """Write the journal, and change nothing."""
    plan = planned(store)
    assert plan.rows == ROWS
    RolloutJournal.create(latest_journal(store.journal)[1], plan, BATCH)
    return plan


def killed(folder: Path, kind: StoreKind, action: str, calls: int, moment: str) -> bool:
    """Run a child; say whether it died on the way."""
    command = [sys.executable, str(CHILD), str(folder), kind.name, action, str(calls), moment]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def rows_of(store: LiveStore) -> NDArray[Any]:
    there, rows = fetched(store.adapter, IDS)
    assert there.all()
    return rows


def close_to(one: NDArray[Any], other: NDArray[Any], store: LiveStore) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = (np.abs(one - other) <= store.info.tolerance).all(axis=1)
    return near


def in_plan_order(plan: RolloutPlan, rows: NDArray[Any]) -> NDArray[Any]:
    return rows[[plan.ids.index(document_id) for document_id in IDS]]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("kind", DURABLE, ids=lambda kind: kind.name)
def test_killed_while_applying_and_while_rolling_back(kind: StoreKind, moment: str, tmp_path: Path) -> None:
    store = kind.made(tmp_path, IDS, VECTORS)
    plan = start(store)
    base, target = (in_plan_order(plan, rows) for rows in (plan.base, plan.target))
    close(store)
    assert killed(tmp_path, kind, "resume", 5, moment)
    store = kind.open(tmp_path, None)
    now = rows_of(store)
    assert (close_to(now, base, store) | close_to(now, target, store)).all()
    if store.info.atomicity == "all":
        assert close_to(now, base, store).all()
    close(store)
    assert not killed(tmp_path, kind, "resume", 1000, moment)
    assert killed(tmp_path, kind, "rollback", 5, moment)
    store = kind.open(tmp_path, None)
    assert store.rollout().state == "rolling back"
    run = store.resume()
    assert (run.state, run.verify().ok, run.skipped) == ("rolled back", True, {})
    assert close_to(rows_of(store), base, store).all()
    close(store)


def close(store: LiveStore) -> None:
    store.close()
    client = getattr(store.adapter, "_client", None)
    if client is not None:
        client.close()
