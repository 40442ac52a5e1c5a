"""Real vector stores for tests: how to fill one with vectors, and how to open it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from numpy.typing import NDArray
from postgres_server import installed, postgres_address

from nudge_integrations.stores import LiveStore, Retries, open_store

CLIENTS = ("chromadb", "faiss", "lancedb", "psycopg", "pyarrow", "qdrant_client")
NO_WAIT = Retries(sleep=lambda seconds: None)


def named(number: int | str) -> str:
    """An id that every store takes: Qdrant wants UUIDs."""
    return str(uuid5(NAMESPACE_OID, str(number)))


@dataclass(frozen=True)
class StoreKind:
    """One store: fill it in a folder; open it from there, also in another process."""

    name: str
    fill: Callable[[Path, Sequence[str], NDArray[np.float32]], Any]
    open: Callable[[Path, Any], LiveStore]

    def made(self, folder: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> LiveStore:
        """Fill a store and open it."""
        return self.open(folder, self.fill(folder, ids, vectors))


def opened(store: Any, folder: Path, **options: Any) -> LiveStore:
    return open_store(store, journal=folder / "journal", retries=NO_WAIT, **options)


def fill_memory(folder: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> Any:
    return dict(zip(ids, vectors.tolist(), strict=True))


def fill_faiss(folder: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> Any:
    faiss = installed("faiss")
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, str(folder / "index"))
    (folder / "ids").write_text("\n".join(ids))
    return None


def open_faiss(folder: Path, held: Any) -> LiveStore:
    faiss = installed("faiss")
    ids = (folder / "ids").read_text().splitlines()
    return opened(faiss.read_index(str(folder / "index")), folder, ids=ids, path=folder / "index")


def fill_qdrant(folder: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> Any:
    qdrant = installed("qdrant_client")
    client = qdrant.QdrantClient(path=str(folder / "qdrant"))
    parameters = qdrant.models.VectorParams(size=vectors.shape[1], distance="Cosine")
    client.create_collection("documents", vectors_config=parameters)
    client.upload_collection("documents", vectors=vectors, ids=list(ids), payload=[{"text": i} for i in ids])
    return client


def open_qdrant(folder: Path, held: Any) -> LiveStore:
    qdrant = installed("qdrant_client")
    return opened(held or qdrant.QdrantClient(path=str(folder / "qdrant")), folder, collection="documents")


def fill_chroma(folder: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> Any:
    collection = _chroma(folder).create_collection("documents", configuration={"hnsw": {"space": "ip"}})
    for start in range(0, len(ids), 5000):
        part = slice(start, start + 5000)
        collection.add(list(ids[part]), embeddings=vectors[part], documents=list(ids[part]))
    return collection


def open_chroma(folder: Path, held: Any) -> LiveStore:
    return opened(held or _chroma(folder).get_collection("documents"), folder)


def _chroma(folder: Path) -> Any:
    chromadb = installed("chromadb")
    return chromadb.PersistentClient(str(folder / "chroma"), chromadb.Settings(anonymized_telemetry=False))


def fill_lance(folder: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> Any:
    lancedb, arrow = installed("lancedb"), installed("pyarrow")
    column = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), vectors.shape[1])
    data = arrow.table({"id": list(ids), "vector": column, "text": list(ids)})
    return lancedb.connect(str(folder / "lance")).create_table("documents", data)


def open_lance(folder: Path, held: Any) -> LiveStore:
    lancedb = installed("lancedb")
    return opened(held or lancedb.connect(str(folder / "lance")).open_table("documents"), folder)


def fill_postgres(folder: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> Any:
    psycopg, address = installed("psycopg"), postgres_address()
    (folder / "postgres").write_text(address)
    with psycopg.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS documents")
        cursor.execute(f"CREATE TABLE documents (id text PRIMARY KEY, embedding vector({vectors.shape[1]}), note text)")
        with cursor.copy("COPY documents FROM STDIN") as copy:
            for document_id, row in zip(ids, vectors.tolist(), strict=True):
                copy.write_row((document_id, str(row), document_id))
    return address


def open_postgres(folder: Path, held: Any) -> LiveStore:
    return opened((folder / "postgres").read_text(), folder, collection="documents")


KINDS = (
    StoreKind("memory", fill_memory, lambda folder, held: opened(held, folder)),
    StoreKind("faiss", fill_faiss, open_faiss),
    StoreKind("qdrant", fill_qdrant, open_qdrant),
    StoreKind("pgvector", fill_postgres, open_postgres),
    StoreKind("lancedb", fill_lance, open_lance),
    StoreKind("chroma", fill_chroma, open_chroma),
)
