"""A nudge beside the vectors that serve: two named vectors of one collection, switched over by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_stores import NO_WAIT, named
from postgres_server import installed

from nudge_integrations import RetrievalDataset
from nudge_integrations.errors import StoreError
from nudge_integrations.stores import fit_store, open_store
from nudge_integrations.stores.store import fetched

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

ROWS, WIDTH = 60, 8
IDS = [named(row) for row in range(ROWS)]


def test_nudged_beside_base_and_switched_over_by_name(tmp_path: Path) -> None:
    qdrant = installed("qdrant_client")
    random = np.random.default_rng(0)
    vectors = random.standard_normal((ROWS, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    client: Any = qdrant.QdrantClient(":memory:")
    size = qdrant.models.VectorParams(size=WIDTH, distance="Dot")
    client.create_collection("c", vectors_config={"base": size, "nudged": size})
    points = [
        qdrant.models.PointStruct(id=i, vector={"base": row.tolist()}) for i, row in zip(IDS, vectors, strict=True)
    ]
    client.upsert("c", points)
    base = open_store(client, "c", vector_name="base", journal=tmp_path / "base", retries=NO_WAIT)
    beside = base.beside("nudged", tmp_path / "nudged")
    assert base.info.fingerprint != beside.info.fingerprint
    np.testing.assert_array_equal(fetched(beside.adapter, IDS)[1], vectors)

    queries = vectors + 0.5 * np.roll(vectors, 1, axis=0)
    dataset = RetrievalDataset(
        {i: i for i in IDS},
        {f"q{row}": f"question {row}" for row in range(ROWS)},
        {f"q{row}": {IDS[row]: 1.0} for row in range(ROWS)},
    )
    nudge = fit_store(beside, dataset, "toy", query_vectors=queries, method="nudge-n", step=0.3)
    run = beside.apply(beside.plan(nudge))
    assert run.verify().ok
    np.testing.assert_array_equal(fetched(base.adapter, IDS)[1], vectors)
    expected = nudge.apply(IDS, vectors)
    for name, rows in (("base", vectors), ("nudged", expected)):
        found = client.query_points("c", query=queries[0].tolist(), using=name, limit=5).points
        assert [point.id for point in found] == [IDS[row] for row in np.argsort(-(queries[0] @ rows.T))[:5]]
    # Copying again leaves what is there alone.
    np.testing.assert_allclose(fetched(base.beside("nudged", tmp_path / "again").adapter, IDS)[1], expected, atol=1e-6)
    with pytest.raises(StoreError, match="'base', 'nudged'"):
        base.beside("other")


def test_a_store_without_named_vectors_says_so() -> None:
    with pytest.raises(StoreError, match="has no named vectors"):
        open_store({"a": [1.0, 0.0]}).beside("nudged")
