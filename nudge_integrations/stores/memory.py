"""Vectors in memory: LangChain's InMemoryVectorStore and LlamaIndex's SimpleVectorStore, and any dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from nudge_integrations.errors import StoreError
from nudge_integrations.stores.store import Floats, StoreInfo, Where, in_memory

__all__ = ["MemoryStore"]


class MemoryStore:
    """A dictionary of vectors as a live store; it ranks by cosine, as both frameworks' stores do.

    Numbers come and go as float64, which is what a Python float is, so that any vector comes back as it was.

    Args:
        vectors: Id -> vector: a list of floats or an array.
        metadata: Id -> metadata, for ``where``.
        where: Metadata that rows must have; None for all rows.

    >>> store = MemoryStore({"a": [1.0, 0.0], "b": [0.0, 1.0]})
    >>> store.write(["b"], np.array([[0.6, 0.8]]))
    ['b']
    >>> store.fetch(["b", "c"])[0]
    ['b']
    """

    def __init__(
        self,
        vectors: MutableMapping[str, Any],
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
        where: Where | None = None,
    ) -> None:
        self._vectors, self._metadata, self._where = vectors, metadata or {}, dict(where or {})

    def describe(self) -> StoreInfo:
        """Say what the store is; another process has another store."""
        ids = self._ids(self._vectors)
        location = f"{in_memory(self._vectors)} {self._where or ''}".rstrip()
        return StoreInfo("memory", location, len(ids), self._width(), "cosine", dtype="float64")

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors."""
        ids = self._ids(self._vectors)
        for start in range(0, len(ids), rows):
            part = ids[start : start + rows]
            yield part, self._matrix(part) if vectors else np.empty((len(part), 0))

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there and their vectors."""
        there = self._ids(document_id for document_id in ids if document_id in self._vectors)
        return there, self._matrix(there)

    def write(self, ids: Sequence[str], vectors: Floats) -> list[str]:
        """Change vectors; each stays a list or an array, whichever it was."""
        for document_id, vector in zip(ids, vectors, strict=True):
            former = self._vectors[document_id]
            self._vectors[document_id] = (
                vector.astype(former.dtype) if isinstance(former, np.ndarray) else vector.tolist()
            )
        return list(ids)

    def _ids(self, ids: Any) -> list[str]:
        wanted = self._where.items()
        return [i for i in ids if all(self._metadata.get(i, {}).get(key) == value for key, value in wanted)]

    def _matrix(self, ids: Sequence[str]) -> Floats:
        width, rows = self._width(), [self._vectors[document_id] for document_id in ids]
        try:
            return np.array(rows, np.float64).reshape(len(ids), width)
        except (TypeError, ValueError) as error:
            odd = next((i for i, row in zip(ids, rows, strict=True) if np.shape(row) != (width,)), ids[0])
            raise StoreError(
                f"the vector of {odd!r} in memory is not {width} numbers ({error}); embed it again"
            ) from error

    def _width(self) -> int:
        for document_id, vector in self._vectors.items():
            if np.ndim(vector) != 1:
                raise StoreError(f"the vector of {document_id!r} in memory is {vector!r:.80}; embed it again")
            return len(vector)
        return 0


class RecordVectors(MutableMapping[str, Any]):
    """The vectors of InMemoryVectorStore, whose records hold text and metadata as well."""

    def __init__(self, records: MutableMapping[str, dict[str, Any]]) -> None:
        self._records = records

    def __getitem__(self, document_id: str) -> Any:
        return self._records[document_id]["vector"]

    def __setitem__(self, document_id: str, vector: Any) -> None:
        self._records[document_id] = {**self._records[document_id], "vector": vector}

    def __delitem__(self, document_id: str) -> None:
        del self._records[document_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)
