"""Every store, the real one, against what an adapter promises and what a rollout promises on top of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_stores import KINDS, StoreKind, named
from numpy.typing import NDArray

from nudge_integrations import Nudge, RetrievalDataset
from nudge_integrations.errors import InputError, MismatchError, RolloutError, SimilarityError, StoreError
from nudge_integrations.solver import solve
from nudge_integrations.stores import LiveStore, fit_store
from nudge_integrations.stores.store import fetched

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

ROWS, WIDTH = 120, 16
IDS = [named(row) for row in range(ROWS)]


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


RANDOM = np.random.default_rng(7)
VECTORS = unit(RANDOM.standard_normal((ROWS, WIDTH)))
# Each query is near a document next to the one that answers it, so that there is something to learn.
ANSWER = np.arange(60)
QUERIES = unit(VECTORS[ANSWER + 1] + 0.6 * VECTORS[ANSWER] + 0.1 * RANDOM.standard_normal((60, WIDTH)))
DATASET = RetrievalDataset(
    {IDS[row]: f"document {row}" for row in range(ROWS)},
    {f"q{query}": f"question {query}" for query in range(60)},
    {f"q{query}": {IDS[answer]: 1.0} for query, answer in enumerate(ANSWER)},
)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> StoreKind:
    found: StoreKind = request.param
    return found


@pytest.fixture
def store(kind: StoreKind, tmp_path: Path) -> Iterator[LiveStore]:
    made = kind.made(tmp_path, IDS, VECTORS)
    yield made
    made.close()


def fitted(store: LiveStore, queries: NDArray[np.float32] = QUERIES, **options: Any) -> Nudge:
    return fit_store(store, DATASET, "toy", query_vectors=queries, method="nudge-n", **options)


def read(store: LiveStore, ids: list[str] = IDS) -> NDArray[Any]:
    there, rows = fetched(store.adapter, ids)
    assert there.all()
    return rows


def test_scan_gives_every_id_once_with_its_vector(store: LiveStore) -> None:
    parts = list(store.adapter.scan(50))
    ids = [document_id for part, _ in parts for document_id in part]
    assert sorted(ids) == sorted(IDS)
    order = [IDS.index(document_id) for document_id in ids]
    np.testing.assert_allclose(np.concatenate([rows for _, rows in parts]), VECTORS[order], atol=2e-6)
    assert [document_id for part, _ in store.adapter.scan(50, vectors=False) for document_id in part] == ids


def test_fetch_leaves_out_ids_that_are_not_there(store: LiveStore) -> None:
    there, rows = fetched(store.adapter, [IDS[3], named("nobody"), IDS[1]])
    assert there.tolist() == [True, False, True]
    np.testing.assert_allclose(rows[[0, 2]], VECTORS[[3, 1]], atol=2e-6)


def test_write_changes_vectors_and_nothing_else(store: LiveStore) -> None:
    before = read(store)
    assert list(store.adapter.write(IDS[5:7], -before[5:7])) == IDS[5:7]
    after = read(store)
    np.testing.assert_allclose(after[5:7], -before[5:7], atol=store.info.tolerance)
    others = np.delete(np.arange(ROWS), [5, 6])
    np.testing.assert_allclose(after[others], before[others], atol=store.info.tolerance)
    assert store.info.count == ROWS


def test_description_says_what_the_store_holds(store: LiveStore, kind: StoreKind) -> None:
    info = store.info
    assert (info.kind, info.count, info.dimension) == (kind.name, ROWS, WIDTH)
    assert info.fingerprint == store.info.fingerprint


def test_store_is_a_corpus_whose_search_is_that_of_the_array(store: LiveStore) -> None:
    corpus = store.corpus()
    found = corpus.search(QUERIES, 10)
    expected = np.argsort(-(QUERIES @ VECTORS.T), axis=1)[:, :10]
    assert [[corpus.ids[row] for row in rows] for rows in found.rows] == [[IDS[row] for row in r] for r in expected]


def test_own_search_of_a_store_finds_the_best(store: LiveStore, kind: StoreKind) -> None:
    if kind.name == "memory":
        with pytest.raises(StoreError, match="no search of its own"):
            store.corpus(by_index=True)
        return
    corpus = store.corpus(by_index=True)
    found = corpus.search(QUERIES, 5)
    expected = np.sort(QUERIES @ VECTORS.T, axis=1)[:, ::-1][:, :5]
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)


def test_plan_apply_verify_and_rollback(store: LiveStore) -> None:
    before = read(store)
    solution = solve(before.astype(np.float32), QUERIES, DATASET.relevance(), method="nudge-n")
    nudge = fitted(store)
    moved = [IDS[row] for row in solution.rows]
    assert sorted(nudge.ids) == sorted(moved)
    np.testing.assert_allclose([nudge.vector(document_id) for document_id in moved], solution.vectors, atol=1e-5)
    plan = store.plan(nudge)
    assert plan.rows == len(solution.rows)
    np.testing.assert_allclose(read(store), before, atol=store.info.tolerance)
    run = store.apply(plan, batch_rows=25)
    assert (run.state, run.skipped, run.verify().ok) == ("applied", {}, True)
    assert run.verify().at_target == plan.rows
    served = read(store)
    np.testing.assert_allclose(served, solution.apply(before.astype(np.float32)), atol=5e-6)
    run.rollback()
    assert (run.state, run.verify().ok) == ("rolled back", True)
    if store.info.tolerance:
        np.testing.assert_allclose(read(store), before, atol=store.info.tolerance)
    else:
        assert read(store).tobytes() == before.tobytes()


def test_refit_starts_from_base_vectors_and_rolls_back_to_them(store: LiveStore) -> None:
    before = read(store)
    first = fitted(store, step=0.2)
    store.apply(store.plan(first))
    assert not np.allclose(read(store), before, atol=1e-3)
    np.testing.assert_allclose(store.corpus().base(IDS), before, atol=store.info.tolerance)
    second = fitted(store, step=0.1)
    run = store.apply(store.plan(second))
    np.testing.assert_allclose(read(store, list(second.ids)), second.vectors, atol=5e-6)
    run.rollback()
    np.testing.assert_allclose(read(store), before, atol=store.info.tolerance)


def test_rows_that_changed_since_the_plan_are_left_as_they_are(store: LiveStore) -> None:
    nudge = fitted(store)
    plan = store.plan(nudge)
    edited = plan.ids[0]
    store.adapter.write([edited], -plan.held[:1])
    held = read(store, [edited])
    run = store.apply(plan)
    assert run.skipped == {edited: "somebody changed it"}
    np.testing.assert_allclose(read(store, [edited]), held, atol=store.info.tolerance)
    assert run.verify().changed == (edited,)
    run.rollback()
    np.testing.assert_allclose(read(store, [edited]), held, atol=store.info.tolerance)


def test_apply_stops_before_it_writes_where_more_than_a_twentieth_has_changed(store: LiveStore) -> None:
    plan = store.plan(fitted(store))
    store.adapter.write(list(plan.ids[:6]), -plan.held[:6])
    before = read(store)
    with pytest.raises(RolloutError, match="not as they were planned"):
        store.apply(plan, batch_rows=len(plan.ids))
    np.testing.assert_allclose(read(store), before, atol=store.info.tolerance)
    with pytest.raises(RolloutError, match="finish it"):
        store.plan(fitted(store))


def test_a_nudge_over_a_nudge_of_somebody_else_is_refused(store: LiveStore, tmp_path: Path) -> None:
    nudge = fitted(store, step=0.3)
    store.apply(store.plan(nudge))
    other = LiveStore(store.adapter, tmp_path / "elsewhere")
    with pytest.raises(MismatchError, match="nudged already"):
        other.plan(nudge)


def test_another_dimension_is_refused(store: LiveStore, tmp_path: Path) -> None:
    nudge = fitted(
        KINDS[0].made(tmp_path / "wider", IDS, np.pad(VECTORS, ((0, 0), (0, 3)))), np.pad(QUERIES, ((0, 0), (0, 3)))
    )
    with pytest.raises(MismatchError, match="19 numbers"):
        store.plan(nudge)
    with pytest.raises(InputError, match="16"):
        fit_store(store, DATASET, "toy", query_vectors=np.ones((60, 5)))


def test_lengths_that_a_store_cannot_rank_by_are_refused(store: LiveStore) -> None:
    nudge = fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-m", step=0.4)
    if store.info.ranking == "dot":
        assert store.plan(nudge).rows
        return
    with pytest.raises(SimilarityError, match="ranks by"):
        store.plan(nudge)
