"""The vector stores that people run, filled by the frameworks' own integrations, from vectors that are there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore, VectorStoreQuery
from numpy.typing import NDArray
from postgres_server import installed, postgres_address


@dataclass(frozen=True)
class Filling:
    """Documents with the vectors that a model gave them.

    Attributes:
        ids: n ids, UUIDs, which every store takes.
        texts: n texts, all different.
        vectors: (n, d) float32 of unit length.
        tenants: Whose each document is, as ``metadata["tenant"]``; nobody's where there are none.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    vectors: NDArray[np.float32]
    tenants: Sequence[str] = ()
    queries: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        return int(self.vectors.shape[1])

    def metadata(self, row: int) -> dict[str, str]:
        return {"tenant": self.tenants[row]} if self.tenants else {}

    def documents(self) -> list[Document]:
        rows = enumerate(zip(self.ids, self.texts, strict=True))
        return [Document(id=i, page_content=text, metadata=self.metadata(row)) for row, (i, text) in rows]

    def nodes(self) -> list[TextNode]:
        rows = enumerate(zip(self.ids, self.texts, self.vectors.tolist(), strict=True))
        return [
            TextNode(id_=i, text=text, embedding=vector, metadata=self.metadata(row)) for row, (i, text, vector) in rows
        ]

    def embeddings(self) -> LookedUp:
        return LookedUp(dict(zip(self.texts, self.vectors.tolist(), strict=True)) | self.queries, self.width)


class LookedUp(Embeddings):
    """Vectors that are there already, by text."""

    def __init__(self, vectors: dict[str, Any], width: int) -> None:
        self.vectors, self.width = vectors, width

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        # A store may embed a text of its own, to learn the dimension.
        return [self.vectors.get(text, [1.0] * self.width) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


@dataclass(frozen=True)
class FrameworkStore:
    """One integration of one framework.

    Attributes:
        name: Of framework and store.
        kind: Of the store.
        fill: Makes the framework's object, filled, in a folder.
        options: What `open_store` needs to be told beside it.
        tenant: The key by which a tenant's rows are told apart; None where they cannot be.
        close: Closes what connects the framework's object to a server.
        changes: Whether documents can be deleted and others be added then: flat FAISS cannot delete, and LlamaIndex
            gives rows that are added to its map afterwards the numbers of others.
    """

    name: str
    kind: str
    fill: Callable[[Path, Filling], Any]
    options: Callable[[Path, Filling], dict[str, Any]] = lambda folder, filling: {}
    tenant: str | None = "tenant"
    changes: bool = True
    close: Callable[[Any], Any] = lambda store: None

    def exchange(self, store: Any, ids: list[str], fillings: Sequence[Filling]) -> None:
        """Delete documents and add others through the framework's own object."""
        if self.name == "llama-index-lancedb":  # its own delete_nodes names columns where it means ids
            store.table.delete(f"id IN ({', '.join(map(repr, ids))})")
        else:
            (store.delete if self.name.startswith("langchain") else store.delete_nodes)(ids)
        for filling in fillings:
            (added if self.name.startswith("langchain") else _filled)(store, filling)

    def found(self, store: Any, vector: NDArray[np.float32], k: int) -> list[str]:
        """Search through the framework's own object."""
        if self.name.startswith("langchain"):
            hits = store.similarity_search_by_vector(vector.tolist(), k=k)
            return [hit.id or hit.metadata["_id"] for hit in hits]
        answer = store.query(VectorStoreQuery(query_embedding=vector.tolist(), similarity_top_k=k))
        return [str(i) for i in answer.ids or [node.node_id for node in answer.nodes]]


def langchain_memory(folder: Path, filling: Filling) -> Any:
    return added(InMemoryVectorStore(filling.embeddings()), filling)


def langchain_qdrant(folder: Path, filling: Filling) -> Any:
    qdrant, stores = installed("qdrant_client"), installed("langchain_qdrant")
    client = qdrant.QdrantClient(path=str(folder / "qdrant"))
    size = qdrant.models.VectorParams(size=filling.width, distance="Cosine")
    client.create_collection("documents", vectors_config=size)
    return added(stores.QdrantVectorStore(client, "documents", filling.embeddings()), filling)


def langchain_chroma(folder: Path, filling: Filling) -> Any:
    stores = installed("langchain_chroma")
    options = {"client": _chroma(folder), "collection_configuration": {"hnsw": {"space": "cosine"}}}
    return added(stores.Chroma(f"c{uuid4().hex}", filling.embeddings(), **options), filling)


def langchain_postgres(folder: Path, filling: Filling) -> Any:
    stores, address = installed("langchain_postgres"), postgres_of("psycopg")
    options = {"connection": address, "collection_name": "documents"}
    # All collections share one table in which an id is unique, so each begins with an empty one.
    stores.PGVector(filling.embeddings(), **options).drop_tables()
    return added(stores.PGVector(filling.embeddings(), **options), filling)


def langchain_postgres_table(folder: Path, filling: Filling) -> Any:
    stores, table = installed("langchain_postgres"), f"t{uuid4().hex}"
    engine = stores.PGEngine.from_connection_string(postgres_of("psycopg"))
    columns = [stores.Column("tenant", "TEXT")]
    engine.init_vectorstore_table(table, filling.width, metadata_columns=columns)
    options = {"metadata_columns": ["tenant"]}
    return added(stores.PGVectorStore.create_sync(engine, filling.embeddings(), table, **options), filling)


def llama_simple(folder: Path, filling: Filling) -> Any:
    return _filled(SimpleVectorStore(), filling)


def llama_faiss(folder: Path, filling: Filling) -> Any:
    faiss, stores = installed("faiss"), installed("llama_index.vector_stores.faiss")
    return _filled(stores.FaissVectorStore(faiss.IndexFlatIP(filling.width)), filling)


def llama_faiss_map(folder: Path, filling: Filling) -> Any:
    faiss, stores = installed("faiss"), installed("llama_index.vector_stores.faiss")
    return _filled(stores.FaissMapVectorStore(faiss.IndexIDMap2(faiss.IndexFlatIP(filling.width))), filling)


def llama_qdrant(folder: Path, filling: Filling) -> Any:
    qdrant = installed("qdrant_client")
    stores = installed("llama_index.vector_stores.qdrant")
    client = qdrant.QdrantClient(path=str(folder / "qdrant"))
    return _filled(stores.QdrantVectorStore("documents", client=client), filling)


def llama_chroma(folder: Path, filling: Filling) -> Any:
    stores = installed("llama_index.vector_stores.chroma")
    collection = _chroma(folder).create_collection(f"c{uuid4().hex}", configuration={"hnsw": {"space": "ip"}})
    return _filled(stores.ChromaVectorStore(chroma_collection=collection), filling)


def llama_lance(folder: Path, filling: Filling) -> Any:
    installed("lancedb")
    stores = installed("llama_index.vector_stores.lancedb")
    return _filled(stores.LanceDBVectorStore(uri=str(folder / "lance")), filling)


def llama_postgres(folder: Path, filling: Filling) -> Any:
    stores = installed("llama_index.vector_stores.postgres")
    made = stores.PGVectorStore.from_params(
        connection_string=postgres_of("psycopg2"),
        async_connection_string=postgres_of("asyncpg"),
        table_name=f"t{uuid4().hex}",
        embed_dim=filling.width,
    )
    return _filled(made, filling)


def added(store: Any, filling: Filling) -> Any:
    documents = filling.documents()
    known = getattr(store, "embeddings", None) or store._embedding
    known.vectors.update(filling.embeddings().vectors)
    for start in range(0, len(documents), 5000):
        store.add_documents(documents[start : start + 5000], ids=list(filling.ids[start : start + 5000]))
    return store


def _filled(store: Any, filling: Filling) -> Any:
    nodes = filling.nodes()
    for start in range(0, len(nodes), 5000):
        store.add(nodes[start : start + 5000])
    return store


def _chroma(folder: Path) -> Any:
    chromadb = installed("chromadb")
    return chromadb.PersistentClient(str(folder / "chroma"), chromadb.Settings(anonymized_telemetry=False))


def postgres_of(driver: str) -> str:
    return postgres_address().replace("postgresql:", f"postgresql+{driver}:")


def of_faiss(folder: Path, filling: Filling) -> dict[str, Any]:
    return {"ids": list(filling.ids), "path": folder / "index"}


FRAMEWORK_STORES = (
    FrameworkStore("langchain-memory", "memory", langchain_memory),
    FrameworkStore("langchain-qdrant", "qdrant", langchain_qdrant, tenant="metadata.tenant"),
    FrameworkStore("langchain-chroma", "chroma", langchain_chroma),
    FrameworkStore(
        *("langchain-pgvector", "pgvector", langchain_postgres),
        tenant="cmetadata.tenant",
        close=lambda store: store._engine.dispose(),
    ),
    FrameworkStore(
        *("langchain-pgvectorstore", "pgvector", langchain_postgres_table),
        close=lambda store: store._engine._run_as_sync(store._engine.close()),
    ),
    FrameworkStore("llama-index-simple", "memory", llama_simple),
    FrameworkStore("llama-index-faiss", "faiss", llama_faiss, of_faiss, tenant=None, changes=False),
    FrameworkStore("llama-index-faiss-map", "faiss", llama_faiss_map, tenant=None, changes=False),
    FrameworkStore("llama-index-qdrant", "qdrant", llama_qdrant),
    FrameworkStore("llama-index-chroma", "chroma", llama_chroma),
    FrameworkStore("llama-index-lancedb", "lancedb", llama_lance, tenant="metadata.tenant"),
    FrameworkStore(
        *("llama-index-pgvector", "pgvector", llama_postgres),
        tenant="metadata_.tenant",
        close=lambda store: asyncio.run(store.close()),
    ),
)
