"""A Chroma collection: in this process, in a folder or on a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.stores.store import Floats, StoreInfo, Where, as_ranking, inner_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ChromaStore"]


class ChromaStore:
    """A collection of Chroma as a live store; see `StoreAdapter`. Texts and metadata stay as they are.

    A client of a folder goes on with what it has read once, whatever other processes write. `describe` has it read
    again where anything was written since.

    Args:
        collection: A ``chromadb.Collection``.
        where: Metadata that rows must have; None for all rows.
    """

    def __init__(self, collection: Any, where: Where | None = None) -> None:
        self._collection = collection
        pairs = [{key: value} for key, value in (where or {}).items()]
        self._where: Any = {"$and": pairs} if len(pairs) > 1 else (pairs[0] if pairs else None)
        configuration = collection.configuration
        settings = configuration.get("hnsw") or configuration.get("spann") or {}
        self._ranking = as_ranking(settings.get("space") or "l2", f"the collection {collection.name!r}")
        self._most = int(collection._client.get_max_batch_size())
        self._written: list[int] = []

    def describe(self) -> StoreInfo:
        """Say what the collection is, with all that other processes have written to its folder."""
        self._read_again()
        whole = self._where is None
        count = self._collection.count() if whole else len(self._collection.get(where=self._where, include=[])["ids"])
        first = self._collection.get(limit=1, include=["embeddings"])["embeddings"]
        return StoreInfo(
            "chroma",
            location=f"{self._collection.id} ({self._collection.name}) {self._where or ''}".rstrip(),
            count=count,
            dimension=len(first[0]) if len(first) else 0,
            ranking=self._ranking,
            tolerance=2e-6 if self._ranking == "cosine" else 0.0,
            index="hnsw",
            exact=False,
            rebuild="copy the rows to a new collection, since Chroma has no command for it",
            most_rows=min(1000, self._most),
        )

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors."""
        include = ["embeddings"] if vectors else []
        offset = 0
        while True:
            got = self._collection.get(limit=rows, offset=offset, where=self._where, include=include)
            if not got["ids"]:
                return
            yield got["ids"], np.asarray(got["embeddings"], np.float32) if vectors else np.empty((len(got["ids"]), 0))
            offset += len(got["ids"])

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there and their vectors."""
        if not ids:
            return [], np.empty((0, 0), np.float32)
        got = self._collection.get(ids=list(ids), where=self._where, include=["embeddings"])
        return got["ids"], np.asarray(got["embeddings"], np.float32)

    def write(self, ids: Sequence[str], vectors: Floats) -> list[str]:
        """Change vectors; each call of at most as many rows as the server takes is all or nothing."""
        for start in range(0, len(ids), self._most):
            part = slice(start, start + self._most)
            self._collection.update(ids=list(ids[part]), embeddings=np.asarray(vectors[part], np.float32))
        return list(ids)

    def search(self, queries: NDArray[np.float32], k: int, *, exact: bool) -> tuple[list[list[str]], list[list[float]]]:
        """Search the graph, which is approximate whatever was asked for."""
        found = self._collection.query(
            query_embeddings=queries, n_results=min(k, self._collection.count()), where=self._where,
            include=["distances"],
        )  # fmt: skip
        distances = [[inner_product(distance, self._ranking) for distance in row] for row in found["distances"]]
        return found["ids"], distances

    def _read_again(self) -> None:
        """Open the folder again where it has changed; other objects of the same client see what it holds as well."""
        api = self._collection._client
        settings = api._system.settings
        if type(api).__name__ != "RustBindingsAPI" or not settings.is_persistent:
            return
        files = sorted(Path(settings.persist_directory).glob("chroma.sqlite3*"))
        written = [file.stat().st_mtime_ns for file in files]
        if written != self._written:
            api.start()
            self._written = written
