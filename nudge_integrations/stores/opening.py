"""open_store: whatever a vector store is held by, it comes out as a `LiveStore`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nudge_integrations.errors import InputError
from nudge_integrations.stores.addresses import StoreOptions, by_address, faiss_store, lance_store
from nudge_integrations.stores.chroma import ChromaStore
from nudge_integrations.stores.faiss import FaissStore
from nudge_integrations.stores.frameworks import by_class, ranks_by
from nudge_integrations.stores.lancedb import LanceStore
from nudge_integrations.stores.live_store import LiveStore
from nudge_integrations.stores.memory import MemoryStore, RecordVectors
from nudge_integrations.stores.pgvector import PgvectorStore
from nudge_integrations.stores.qdrant import QdrantStore
from nudge_integrations.stores.qdrant_vectors import SparseEncoder
from nudge_integrations.stores.retrying import Retries
from nudge_integrations.stores.store import Ranking, StoreAdapter, Where, as_ranking, imported

__all__ = ["open_store"]


def open_store(
    store: Any,
    collection: str | None = None,
    *,
    vector_name: str | None = None,
    id_column: str | None = None,
    where: Where | None = None,
    ids: Sequence[str] | None = None,
    ranking: Ranking | None = None,
    path: str | os.PathLike[str] | None = None,
    journal: str | os.PathLike[str] | None = None,
    retries: Retries | None = None,
    progress: bool = False,
) -> LiveStore:
    """Open a vector store that serves, to nudge it in place.

    ============  =====================================================================================================
    store         what may be given
    ============  =====================================================================================================
    in memory     LangChain ``InMemoryVectorStore``, LlamaIndex ``SimpleVectorStore``, or a dictionary of vectors
    FAISS         an index, or LlamaIndex ``FaissVectorStore`` or ``FaissMapVectorStore``, with ``ids`` and ``path``
    Qdrant        ``QdrantVectorStore`` of either framework, or a ``QdrantClient`` and a collection
    Chroma        LangChain ``Chroma``, LlamaIndex ``ChromaVectorStore``, or a collection
    LanceDB       LlamaIndex ``LanceDBVectorStore``, or a table
    pgvector      ``PGVectorStore`` of either framework, LangChain ``PGVector``
    by address    ``postgresql://...``, ``http(s)://...`` (Qdrant), ``chroma://host:port``, or the path of a folder of
                  Chroma, LanceDB or Qdrant, or of a FAISS index
    other         an object with ``describe``, ``scan``, ``fetch`` and ``write``: a `StoreAdapter`
    ============  =====================================================================================================

    Args:
        store: See above.
        collection: The collection or table, where a client or an address is given.
        vector_name: Which of several named vectors or columns.
        id_column: The column of ids, where a table calls it neither ``id`` nor as a framework does.
        where: Metadata that rows must have, for the rows of one tenant; None for all rows.
        ids: For FAISS, the id of each vector in the order of the index.
        ranking: What it is searched by, where the store itself does not say: a LanceDB or Postgres table without an
            index.
        path: For FAISS, the file that the index is kept in, which is swapped.
        journal: Folder for the journals of this store; None for one of its own in `journals_folder`.
        retries: How often, and after which waits, what failed is tried again.
        progress: Whether to show a bar while rows are written.

    Raises:
        InputError: If this is no store that is known, or something that it needs was not given.
        StoreError: If the store does not answer, or the collection is not there or holds what cannot be restored.
        MissingExtraError: If the store's client is not installed.

    Example:
        >>> open_store({"a": [1.0, 0.0], "b": [0.0, 1.0]}).info.count
        2
    """
    asked = StoreOptions(collection, vector_name, id_column, where, ids, ranking, path)
    if isinstance(store, str | os.PathLike):
        adapter = by_address(os.fspath(store), asked)
    elif all(callable(getattr(store, name, None)) for name in ("describe", "scan", "fetch", "write")):
        adapter = store
    else:
        opener = by_class(_OPENERS, store)
        if opener is None:
            raise InputError(
                f"a {type(store).__name__} is no vector store that is known here; expected one of "
                f"{', '.join(_OPENERS)}, an address, or an object with describe, scan, fetch and write"
            )
        adapter = opener(store, asked)
    return LiveStore(adapter, journal, retries, progress=progress)


def _in_memory(store: Any, asked: StoreOptions) -> StoreAdapter:
    metadata = {document_id: record.get("metadata", {}) for document_id, record in store.store.items()}
    return MemoryStore(RecordVectors(store.store), metadata, asked.where)


def _simple(store: Any, asked: StoreOptions) -> StoreAdapter:
    return MemoryStore(store.data.embedding_dict, store.data.metadata_dict, asked.where)


def _faiss_map(store: Any, asked: StoreOptions) -> StoreAdapter:
    faiss = imported("faiss", "faiss")
    inside = faiss.vector_to_array(faiss.downcast_index(store.client).id_map).tolist()
    named = store._faiss_id_to_node_id_map
    return FaissStore(store.client, asked.ids or [named[number] for number in inside], asked.path)


def _qdrant(store: Any, asked: StoreOptions) -> StoreAdapter:
    # LlamaIndex calls it dense_vector_name, LangChain vector_name; "" is the vector without a name in both.
    name = asked.vector_name or getattr(store, "dense_vector_name", None) or getattr(store, "vector_name", None)
    vectors = store.client.get_collection(store.collection_name).config.params.vectors
    dense = name if isinstance(vectors, dict) else None
    return QdrantStore(store.client, store.collection_name, dense, asked.where, _sparse(store))


def _sparse(store: Any) -> tuple[str, SparseEncoder] | None:
    """Return the sparse vector that a Qdrant store of either framework searches by, and its encoder; None without."""
    if (model := getattr(store, "_sparse_embeddings", None)) is not None:  # LangChain

        def encoded(query: str) -> tuple[list[int], list[float]]:
            found = model.embed_query(query)
            return found.indices, found.values

        return store.sparse_vector_name, encoded
    if (encode := getattr(store, "_sparse_query_fn", None)) is not None and store.enable_hybrid:  # LlamaIndex
        return store.sparse_vector_name, lambda query: tuple(part[0] for part in encode([query]))
    return None


def _lance_of_llama_index(store: Any, asked: StoreOptions) -> StoreAdapter:
    column = asked.vector_name or store.vector_column_name
    return LanceStore(store.table, asked.ranking or "l2", asked.id_column or "id", column, asked.where)


def _postgres(store: Any, asked: StoreOptions) -> StoreAdapter:
    """Open LlamaIndex's PGVectorStore, or LangChain's newer one of the same name."""
    if hasattr(store, "connection_string"):
        table = f"{store.schema_name}.data_{store.table_name}"
        return _by_url(store.connection_string, table, asked.ranking or "cosine", asked, asked.where)
    inner = store._PGVectorStore__vs
    ranking = as_ranking(ranks_by(store), inner.table_name)
    table = f'"{inner.schema_name}"."{inner.table_name}"'
    hybrid = getattr(inner, "hybrid_search_config", None)
    configuration = None if hybrid is None else hybrid.tsv_lang
    return _by_url(inner.engine.url, table, ranking, asked, asked.where, inner.id_column, configuration)


def _postgres_collections(store: Any, asked: StoreOptions) -> StoreAdapter:
    """Open LangChain's older PGVector, all of whose collections are in one table."""
    with store._make_sync_session() as session:
        collection = str(store.get_collection(session).uuid)
    ranking = as_ranking(ranks_by(store), store.collection_name)
    where = {"collection_id": collection, **(asked.where or {})}
    return _by_url(store._engine.url, "langchain_pg_embedding", ranking, asked, where, "id")


def _by_url(
    url: Any,
    table: str,
    ranking: Ranking,
    asked: StoreOptions,
    where: Where | None,
    id_column: str | None = None,
    text_configuration: str | None = None,
) -> StoreAdapter:
    text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    plain = f"postgresql{text[text.index('://') :]}"
    return PgvectorStore(plain, table, ranking, id_column, asked.vector_name, where, text_configuration)


_OPENERS: Mapping[str, Callable[[Any, StoreOptions], StoreAdapter]] = {
    "dict": lambda vectors, asked: MemoryStore(vectors, None, asked.where),
    "InMemoryVectorStore": _in_memory,
    "SimpleVectorStore": _simple,
    "FaissMapVectorStore": _faiss_map,
    "FaissVectorStore": lambda store, asked: faiss_store(store.client, asked),
    "Index": faiss_store,
    "QdrantVectorStore": _qdrant,
    "QdrantClient": lambda c, asked: QdrantStore(c, asked.name("collection"), asked.vector_name, asked.where),
    "Chroma": lambda store, asked: ChromaStore(store._collection, asked.where),
    "ChromaVectorStore": lambda store, asked: ChromaStore(store._collection, asked.where),
    "Collection": lambda collection, asked: ChromaStore(collection, asked.where),
    "LanceDBVectorStore": _lance_of_llama_index,
    "Table": lance_store,
    "PGVectorStore": _postgres,
    "PGVector": _postgres_collections,
}
