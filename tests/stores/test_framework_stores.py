"""Every store object of both frameworks: filled by its own integration, fitted, nudged in place and taken back."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from framework_stores import FRAMEWORK_STORES, Filling, FrameworkStore
from live_stores import named
from store_weeks import Labelled, Weeks

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.stores import fit_store, open_store

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

ROWS, WIDTH, TENANTS = 240, 16, 3


@pytest.fixture(scope="module")
def labelled() -> Labelled:
    """Documents of three tenants, each with queries that lie nearer to the next document."""
    random = np.random.default_rng(7)
    vectors = random.standard_normal((ROWS, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids, texts = [named(row) for row in range(ROWS)], [f"document {row}" for row in range(ROWS)]
    answers = np.arange(120)
    queries = vectors[answers + 1] + 0.6 * vectors[answers]
    dataset = RetrievalDataset(
        dict(zip(ids, texts, strict=True)),
        {f"q{row}": f"question {row}" for row in answers},
        {f"q{row}": {ids[row]: 1.0} for row in answers},
    )
    filling = Filling(ids, texts, vectors, [f"tenant {row % TENANTS}" for row in range(ROWS)])
    return Labelled(filling, queries / np.linalg.norm(queries, axis=1, keepdims=True), dataset)


@pytest.mark.parametrize("kind", FRAMEWORK_STORES, ids=lambda kind: kind.name)
def test_two_weeks_of_a_store_that_serves(kind: FrameworkStore, labelled: Labelled, tmp_path: Path) -> None:
    with closing(Weeks(kind, tmp_path, labelled, (40, 20, 10))) as weeks:
        first, run = weeks.nudged(slice(60))
        assert (first.rows, first.right) == (60, 1.0)
        if kind.changes:
            weeks.change()
            second, run = weeks.nudged(slice(None))
            assert second.right == 1.0
            assert run.verify().at_target > first.rows
        run.rollback()
        assert weeks.as_before()


@pytest.mark.parametrize("kind", [one for one in FRAMEWORK_STORES if one.tenant], ids=lambda kind: kind.name)
def test_tenants_of_one_collection_have_a_nudge_each(kind: FrameworkStore, labelled: Labelled, tmp_path: Path) -> None:
    filling = labelled.filling
    with closing(Weeks(kind, tmp_path, labelled, (0, 0, 0))) as weeks:
        before, runs = weeks.base, []
        for tenant in ("tenant 0", "tenant 1", "tenant 2"):
            own = [i for i, whose in zip(filling.ids, filling.tenants, strict=True) if whose == tenant]
            dataset, queries = labelled.about(own)
            store = open_store(weeks.store, where={str(kind.tenant): tenant}, journal=tmp_path / tenant)
            weeks.opened.append(store)
            assert (store.info.count, sorted(store.corpus().ids)) == (len(own), sorted(own))
            nudge = fit_store(store, dataset, "toy", query_vectors=queries, method="nudge-n", step=0.3)
            assert set(nudge.ids) <= set(own)
            runs.append((set(nudge.ids), store.apply(store.plan(nudge))))
            assert runs[-1][1].verify().ok
        assert moved(weeks, before) == runs[0][0] | runs[1][0] | runs[2][0]
        runs[0][1].rollback()
        assert moved(weeks, before) == runs[1][0] | runs[2][0]
        assert runs[1][1].verify().ok


def moved(weeks: Weeks, before: dict[str, Any]) -> set[str]:
    return {i for i, row in weeks.held().items() if np.abs(row - before[i]).max() > 1e-3}
