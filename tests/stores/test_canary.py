"""Labelled queries guard a change: a store that ranks worse than predicted is rolled back, and is told why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_stores import NO_WAIT, named
from numpy.typing import NDArray
from postgres_server import installed, postgres_address

from nudge_integrations import RetrievalDataset
from nudge_integrations.errors import CanaryError, StoreError
from nudge_integrations.stores import Canary, LiveStore, fit_store, open_store
from nudge_integrations.stores.memory import MemoryStore
from nudge_integrations.stores.store import fetched

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

ROWS, WIDTH, LABELLED = 400, 16, 200
IDS = [named(row) for row in range(ROWS)]
RANDOM = np.random.default_rng(2)


def unit(rows: Any) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


VECTORS = unit(RANDOM.standard_normal((ROWS, WIDTH)))
QUERIES = unit(VECTORS[1 : LABELLED + 1] + 0.6 * VECTORS[:LABELLED])
DATASET = RetrievalDataset(
    {i: i for i in IDS},
    {f"q{row}": f"question {row}" for row in range(LABELLED)},
    {f"q{row}": {IDS[row]: 1.0} for row in range(LABELLED)},
)


class Forgetful(MemoryStore):
    """A store whose search goes on using the vectors of before: an index that is not kept up to date."""

    def __init__(self, vectors: dict[str, Any], share: float = 1.0) -> None:
        super().__init__(vectors)
        self._old = np.array(list(vectors.values()))
        self._stale = np.random.default_rng(0).random(len(vectors)) < share
        self._names = list(vectors)

    def search(self, queries: NDArray[np.float32], k: int, *, exact: bool) -> tuple[list[list[str]], list[list[float]]]:
        now = np.array(list(self._vectors.values()))
        scores = queries @ np.where(self._stale[:, None], self._old, now).T
        best = np.argsort(-scores, axis=1)[:, :k]
        return [[self._names[row] for row in rows] for rows in best], np.take_along_axis(scores, best, 1).tolist()


def fitted(store: LiveStore) -> Any:
    return fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-n")


def test_store_that_ranks_as_before_is_rolled_back_with_the_reason(tmp_path: Path) -> None:
    held = dict(zip(IDS, VECTORS.astype(float).tolist(), strict=True))
    store = LiveStore(Forgetful(held), tmp_path, NO_WAIT)
    plan = store.plan(fitted(store))
    assert plan.prediction is not None
    assert plan.prediction.after > plan.prediction.before + 0.1
    with pytest.raises(CanaryError, match=r"ndcg@10 of 200 queries .* was predicted .* rolled back"):
        store.apply(plan)
    assert store.rollout().state == "rolled back"
    assert held == dict(zip(IDS, VECTORS.astype(float).tolist(), strict=True))
    figures = store.rollout().canary_figures
    assert figures is not None
    assert figures["found"] == pytest.approx(plan.prediction.before)


def test_a_store_that_keeps_up_is_not_rolled_back(tmp_path: Path) -> None:
    held = dict(zip(IDS, VECTORS.astype(float).tolist(), strict=True))
    store = LiveStore(Forgetful(held, share=0.0), tmp_path, NO_WAIT)
    plan = store.plan(fitted(store))
    run = store.apply(plan)
    figures = run.canary_figures
    assert figures is not None
    assert figures["found"] == figures["predicted"]
    assert f"{figures['found']:.4f}" in str(run)


def test_given_queries_are_run_in_place_of_those_of_the_fit(tmp_path: Path) -> None:
    held = dict(zip(IDS, VECTORS.astype(float).tolist(), strict=True))
    store = open_store(held, journal=tmp_path, retries=NO_WAIT)
    nudge = fitted(store)
    few = RetrievalDataset(DATASET.corpus, {"q7": "question 7"}, {"q7": DATASET.qrels["q7"]})
    plan = store.plan(nudge, canary=Canary.of(few, QUERIES[7:8], nudge))
    assert plan.prediction is not None
    assert plan.prediction.queries == 1
    elsewhere = open_store(held, journal=tmp_path / "other", retries=NO_WAIT)
    assert elsewhere.plan(nudge).prediction is None


class Rounding(MemoryStore):
    """A store that keeps one decimal of whatever it is given."""

    def write(self, ids: Any, vectors: Any) -> list[str]:
        return super().write(ids, np.round(vectors, 1))


def test_store_that_rounds_without_saying_so_is_found_by_reading_back(tmp_path: Path) -> None:
    kept = np.round(VECTORS.astype(float), 1).tolist()
    held = dict(zip(IDS, kept, strict=True))
    store = LiveStore(Rounding(held), tmp_path, NO_WAIT)
    plan = store.plan(fitted(store))
    with pytest.raises(CanaryError, match=r"hold something else than .* it rounds"):
        store.apply(plan, batch_rows=50)
    assert store.rollout().state == "rolled back"
    assert list(held.values()) == kept


def vectors_of(store: LiveStore) -> NDArray[Any]:
    return fetched(store.adapter, IDS)[1]


@pytest.mark.parametrize("kind", ["vector", "halfvec"])
@pytest.mark.parametrize("method", ["hnsw", "ivfflat"])
def test_indexed_table_of_postgres(kind: str, method: str, tmp_path: Path) -> None:
    psycopg, address = installed("psycopg"), postgres_address()
    with psycopg.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        cursor.execute("DROP TABLE IF EXISTS indexed")
        cursor.execute(f"CREATE TABLE indexed (id text PRIMARY KEY, embedding {kind}({WIDTH}))")
        with cursor.copy("COPY indexed FROM STDIN") as copy:
            for document_id, row in zip(IDS, VECTORS.tolist(), strict=True):
                copy.write_row((document_id, str(row)))
        few = " WITH (lists = 2)" if method == "ivfflat" else ""  # one of which is searched
        cursor.execute(f"CREATE INDEX of_vectors ON indexed USING {method} (embedding {kind}_ip_ops){few}")
    store = open_store(address, "indexed", journal=tmp_path / "journal", retries=NO_WAIT)
    assert (store.info.index, store.info.ranking) == (method, "dot")
    base = vectors_of(store)
    nudge = fitted(store)
    if kind == "halfvec":
        with pytest.raises(StoreError, match="allow_rounding=True"):
            store.plan(nudge)
    plan = store.plan(nudge, allow_rounding=kind == "halfvec")
    assert any("REINDEX INDEX CONCURRENTLY of_vectors" in note for note in plan.notes)
    run = store.apply(plan)
    assert run.canary_figures is not None
    assert 0.5 < float(run.canary_figures["recall"]) <= 1.0
    assert run.verify().ok
    run.rollback()
    assert vectors_of(store).tobytes() == base.tobytes()
    store.close()


def test_indexed_table_of_lancedb(tmp_path: Path) -> None:
    lancedb, arrow = installed("lancedb"), installed("pyarrow")
    column = arrow.FixedSizeListArray.from_arrays(arrow.array(VECTORS.ravel()), WIDTH)
    table = lancedb.connect(str(tmp_path / "lance")).create_table("t", arrow.table({"id": IDS, "vector": column}))
    table.create_index(metric="cosine", num_partitions=4, index_type="IVF_FLAT")
    store = open_store(tmp_path / "lance", "t", journal=tmp_path / "journal", retries=NO_WAIT)
    assert (store.info.index, store.info.ranking) == ("IvfFlat", "cosine")
    base = vectors_of(store)
    plan = store.plan(fitted(store))
    assert any("table.optimize(); table.create_index(" in note for note in plan.notes)
    run = store.apply(plan)
    assert run.canary_figures is not None
    assert float(run.canary_figures["recall"]) > 0.5
    run.rollback()
    assert vectors_of(store).tobytes() == base.tobytes()


@pytest.mark.parametrize("factory", ["HNSW16", "IVF8,Flat", "IDMap2,Flat"])
def test_indexes_of_faiss(factory: str, tmp_path: Path) -> None:
    faiss = installed("faiss")
    index = faiss.index_factory(WIDTH, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(VECTORS)
    index.add_with_ids(VECTORS, np.arange(ROWS)) if "IDMap" in factory else index.add(VECTORS)
    path = tmp_path / "index"
    faiss.write_index(index, str(path))
    store = open_store(path, ids=IDS, journal=tmp_path / "journal", retries=NO_WAIT)
    base = vectors_of(store)
    run = store.apply(store.plan(fitted(store)))
    assert run.verify().ok
    # Whoever opens the file finds the nudged vectors by the index itself.
    again = open_store(path, ids=IDS, journal=tmp_path / "journal", retries=NO_WAIT)
    assert again.verify().ok
    again.rollback()
    assert vectors_of(open_store(path, ids=IDS, journal=tmp_path / "journal")).tobytes() == base.tobytes()
