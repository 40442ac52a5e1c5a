"""Stores by their address: a URL, or the path of what a store keeps on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nudge_integrations.errors import InputError, NudgeError, StoreError
from nudge_integrations.stores.chroma import ChromaStore
from nudge_integrations.stores.faiss import FaissStore
from nudge_integrations.stores.lancedb import LanceStore
from nudge_integrations.stores.pgvector import PgvectorStore
from nudge_integrations.stores.qdrant import QdrantStore
from nudge_integrations.stores.store import Ranking, StoreAdapter, Where, imported

__all__ = ["StoreOptions", "by_address", "faiss_store", "lance_store"]

_EXPECTED = (
    "postgresql://..., http(s)://... (Qdrant), chroma://host:port, or the path of a folder of Chroma, LanceDB or "
    "Qdrant or of a FAISS index"
)


@dataclass(frozen=True)
class StoreOptions:
    """The arguments that came beside the store; see `open_store`."""

    collection: str | None
    vector_name: str | None
    id_column: str | None
    where: Where | None
    ids: Sequence[str] | None
    ranking: Ranking | None
    path: str | os.PathLike[str] | None

    def name(self, what: str) -> str:
        """Return the name of the collection.

        Raises:
            InputError: If it was not given.
        """
        if self.collection is None:
            raise InputError(f"give the name of the {what}: open_store(..., collection='...')")
        return self.collection


def by_address(address: str, asked: StoreOptions) -> StoreAdapter:
    """Open a store by its address.

    Raises:
        InputError: If it is no address of a store that is known.
        StoreError: If the store does not answer, or the collection is not there.
        MissingExtraError: If the store's client is not installed.
    """
    try:
        return _by_address(address, asked)
    except NudgeError:
        raise
    except Exception as error:  # each client has errors of its own
        where = address.rpartition("@")[2]  # without a password
        raise StoreError(f"{where} cannot be opened ({type(error).__name__}: {str(error)[:300]})") from error


def _by_address(address: str, asked: StoreOptions) -> StoreAdapter:
    try:
        parts = urlsplit(address)
        port = parts.port or 8000
        path = Path(address).expanduser()
    except (RuntimeError, ValueError) as error:  # brackets that do not match, a port that is no number, ~nobody
        raise InputError(f"{address!r} is no address: {error}; expected {_EXPECTED}") from error
    scheme = parts.scheme.partition("+")[0]
    if scheme in ("postgresql", "postgres"):
        plain = f"{scheme}{address[address.index('://') :]}"
        table = asked.name("table")
        return PgvectorStore(plain, table, asked.ranking or "cosine", asked.id_column, asked.vector_name, asked.where)
    if scheme in ("http", "https"):
        client = imported("qdrant_client", "qdrant").QdrantClient(address, api_key=os.environ.get("QDRANT_API_KEY"))
        return QdrantStore(client, asked.name("collection"), asked.vector_name, asked.where)
    if scheme == "chroma":
        return _chroma(imported("chromadb", "chroma").HttpClient(parts.hostname, port), asked)
    if scheme in ("s3", "gs", "az"):
        return lance_store(imported("lancedb", "lancedb").connect(address).open_table(asked.name("table")), asked)
    return _by_path(path, asked)


def _by_path(path: Path, asked: StoreOptions) -> StoreAdapter:
    if path.is_file() and path.suffix not in (".json", ".sqlite3"):
        index = imported("faiss", "faiss").read_index(str(path))
        return faiss_store(index, StoreOptions(**{**vars(asked), "path": asked.path or path}))
    if (path / "chroma.sqlite3").is_file():
        return _chroma(imported("chromadb", "chroma").PersistentClient(str(path)), asked)
    if (path / "meta.json").is_file() and (path / "collection").is_dir():
        client = imported("qdrant_client", "qdrant").QdrantClient(path=str(path))
        return QdrantStore(client, asked.name("collection"), asked.vector_name, asked.where)
    table = asked.collection if path.suffix != ".lance" else path.stem
    folder = path if path.suffix != ".lance" else path.parent
    tables = sorted(one.stem for one in folder.glob("*.lance"))
    if table in tables:
        return lance_store(imported("lancedb", "lancedb").connect(str(folder)).open_table(table), asked)
    if tables:
        raise StoreError(f"{path} has no table {table!r}; it has {', '.join(tables)}: give one as collection=")
    raise InputError(f"{str(path)!r} is no store that is known here; expected {_EXPECTED}")


def _chroma(client: Any, asked: StoreOptions) -> StoreAdapter:
    name, known = asked.name("collection"), [one.name for one in client.list_collections()]
    if name not in known:
        raise StoreError(f"there is no collection {name!r} in this Chroma; there is: {', '.join(known) or 'none'}")
    # Vectors are given, so the collection's own embedding function is not needed.
    return ChromaStore(client.get_collection(name, embedding_function=None), asked.where)


def lance_store(table: Any, asked: StoreOptions) -> StoreAdapter:
    """Open a table of LanceDB."""
    column = asked.vector_name or "vector"
    return LanceStore(table, asked.ranking or "l2", asked.id_column or "id", column, asked.where)


def faiss_store(index: Any, asked: StoreOptions) -> StoreAdapter:
    """Open a FAISS index.

    Raises:
        InputError: If there are no ids, or rows were to be filtered.
    """
    if asked.where is not None:
        raise InputError("a FAISS index holds no metadata, so it cannot be filtered: leave where= out")
    if asked.ids is None:
        raise InputError(f"a FAISS index knows no ids: give ids=, one for each of its {index.ntotal} vectors, in order")
    return FaissStore(index, asked.ids, asked.path)
