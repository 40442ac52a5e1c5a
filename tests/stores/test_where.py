"""A filter's values reach the store as they are, whatever its query language makes of signs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from postgres_server import installed, postgres_address

from nudge_integrations.stores import LiveStore, open_store

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

TENANTS = ["50% o'ff", "50%% o'ff", "%s", "a"]
IDS = [str(row) for row in range(len(TENANTS))]
VECTORS = np.eye(len(TENANTS), dtype=np.float32)


def of_postgres(folder: Path, where: dict[str, Any]) -> LiveStore:
    psycopg = installed("psycopg")
    with psycopg.connect(postgres_address(), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS tenants")
        connection.execute("CREATE TABLE tenants (id text PRIMARY KEY, embedding vector(4), tenant text)")
        for row in zip(IDS, map(str, VECTORS.tolist()), TENANTS, strict=True):
            connection.execute("INSERT INTO tenants VALUES (%s, %s, %s)", row)
    return open_store(postgres_address(), "tenants", where=where, journal=folder / "journal")


def of_lancedb(folder: Path, where: dict[str, Any]) -> LiveStore:
    lancedb, arrow = installed("lancedb"), installed("pyarrow")
    column = arrow.FixedSizeListArray.from_arrays(arrow.array(VECTORS.ravel()), VECTORS.shape[1])
    lancedb.connect(str(folder)).create_table("t", arrow.table({"id": IDS, "vector": column, "tenant": TENANTS}))
    return open_store(folder / "t.lance", where=where, journal=folder / "journal")


def of_memory(folder: Path, where: dict[str, Any]) -> LiveStore:
    stores = installed("llama_index.core.vector_stores")
    store = stores.SimpleVectorStore()
    store.data.embedding_dict.update(zip(IDS, VECTORS.tolist(), strict=True))
    store.data.metadata_dict.update((i, {"tenant": tenant}) for i, tenant in zip(IDS, TENANTS, strict=True))
    return open_store(store, where=where, journal=folder / "journal")


@pytest.mark.parametrize("make", [of_memory, of_postgres, of_lancedb])
def test_values_of_a_filter_are_taken_as_they_are(make: Any, tmp_path: Path) -> None:
    for row, tenant in enumerate(TENANTS):
        folder = tmp_path / str(row)
        folder.mkdir()
        store = make(folder, {"tenant": tenant})
        assert store.info.count == 1
        assert [ids for ids, _ in store.adapter.scan(10)] == [[IDS[row]]]
        assert store.adapter.fetch(IDS)[0] == [IDS[row]]
        if hasattr(store.adapter, "search"):
            assert store.adapter.search(VECTORS, 3, exact=True)[0] == [[IDS[row]]] * len(IDS)
        store.close()
