"""The vectors of a Qdrant collection, or those of a name, and the points that a filter lets through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from nudge_integrations.errors import StoreError
from nudge_integrations.stores.store import Floats, Ranking, Where, as_ranking, imported

__all__ = ["NamedVectors", "SparseEncoder", "point_id"]

SparseEncoder = Callable[[str], tuple[Sequence[int], Sequence[float]]]
"""Takes a query, returns indices and values of its sparse vector."""

_TYPES = {"float32": "float32", "float16": "float16", "none": "float32"}


class NamedVectors:
    """One of the vectors that each point of a collection has.

    Args:
        client: A ``QdrantClient``.
        collection: Name of the collection.
        name: Which of several named vectors; None for the only one.
        where: Payload that points must have.

    Raises:
        StoreError: If the collection is not there, has several vectors and none was named, or holds bytes.
    """

    def __init__(self, client: Any, collection: str, name: str | None, where: Where) -> None:
        self.models = imported("qdrant_client.models", "qdrant")
        self._client, self._collection, self._where = client, collection, where
        if not client.collection_exists(collection):
            known = ", ".join(sorted(one.name for one in client.get_collections().collections)) or "none"
            raise StoreError(f"there is no collection {collection!r} in this Qdrant; there is: {known}")
        vectors = client.get_collection(collection).config.params.vectors
        named = vectors if isinstance(vectors, dict) else {"": vectors}
        chosen = name if name is not None else (next(iter(named)) if len(named) == 1 else None)
        if chosen is None or chosen not in named:
            raise StoreError(f"{collection!r} has the vectors {sorted(named)}; give one as vector_name=, got {name!r}")
        self.name, parameters = chosen, named[chosen]
        self.width = int(parameters.size)
        self.ranking: Ranking = as_ranking(parameters.distance, f"the collection {collection!r}")
        datatype = getattr(parameters.datatype, "value", parameters.datatype)
        self.dtype = _TYPES.get(str(datatype).lower(), "")
        if not self.dtype:
            raise StoreError(f"{collection!r} holds {datatype}, from which base vectors cannot be restored")

    def filter(self, *conditions: Any) -> Any:
        """Return the filter's conditions and others; None where there are none."""
        models = self.models
        must = [models.FieldCondition(key=k, match=models.MatchValue(value=v)) for k, v in self._where.items()]
        return models.Filter(must=[*must, *conditions]) if must or conditions else None

    def pages(self, rows: int, *conditions: Any, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield ids and vectors of the points that meet some conditions, so many at a time."""
        offset: Any = None
        wanted: Any = ([self.name] if self.name else True) if vectors else False
        while True:
            points, offset = self._client.scroll(
                *(self._collection, self.filter(*conditions)),
                limit=max(1, rows),
                offset=offset,
                with_payload=False,
                with_vectors=wanted,
            )
            if points:
                yield [str(p.id) for p in points], self._matrix(points) if vectors else np.empty((len(points), 0))
            if offset is None:
                return

    def changed(self, ids: Sequence[str], vectors: Floats) -> list[Any]:
        """Return points with other vectors, as the client takes them."""
        rows = zip(ids, vectors.tolist(), strict=True)
        point = self.models.PointVectors
        return [point(id=point_id(i), vector={self.name: row} if self.name else row) for i, row in rows]

    def _matrix(self, points: Sequence[Any]) -> Floats:
        rows = [point.vector[self.name] if isinstance(point.vector, dict) else point.vector for point in points]
        return np.array(rows, self.dtype).reshape(len(rows), self.width)


def point_id(document_id: str) -> int | str:
    """Return an id as Qdrant has it: a number, or a UUID.

    >>> point_id("7")
    7
    """
    return int(document_id) if document_id.isdecimal() else document_id
