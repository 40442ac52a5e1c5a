"""A Qdrant collection: on a server, or in this process through the same client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import StoreError
from nudge_integrations.stores.store import Floats, Ranking, StoreInfo, Where, as_ranking, imported, inner_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["QdrantStore", "SparseEncoder"]

SparseEncoder = Callable[[str], tuple[Sequence[int], Sequence[float]]]
"""Takes a query, returns indices and values of its sparse vector."""

_TYPES = {"float32": "float32", "float16": "float16", "none": "float32"}


class QdrantStore:
    """A collection of Qdrant as a live store; see `StoreAdapter`.

    Ids are numbers or UUIDs, here as text. A collection that ranks by cosine makes vectors unit length when they are
    written, so what is read is what was written but for the last bit.

    Args:
        client: A ``QdrantClient``.
        collection: Name of the collection.
        vector_name: Which of several named vectors; None for the only one.
        where: Payload that points must have, keys as ``"metadata.tenant"``; None for all points.
        sparse: The name of the sparse vector by which texts are searched, and what makes indices and values of a query.

    Raises:
        StoreError: If the collection is not there, or has several vectors and none was named.
    """

    def __init__(
        self,
        client: Any,
        collection: str,
        vector_name: str | None = None,
        where: Where | None = None,
        sparse: tuple[str, SparseEncoder] | None = None,
    ) -> None:
        self._sparse = sparse
        self._models = imported("qdrant_client.models", "qdrant")
        self._client, self._collection, self._where = client, collection, where or {}
        if not client.collection_exists(collection):
            known = ", ".join(sorted(one.name for one in client.get_collections().collections)) or "none"
            raise StoreError(f"there is no collection {collection!r} in this Qdrant; there is: {known}")
        self._name, self._params = self._vectors_of(vector_name)
        datatype = getattr(self._params.datatype, "value", self._params.datatype)
        self._dtype = _TYPES.get(str(datatype).lower(), "")
        if not self._dtype:
            raise StoreError(f"{collection!r} holds {datatype}, from which base vectors cannot be restored")

    def describe(self) -> StoreInfo:
        """Say what the collection is."""
        ranking, size = self._ranking(), int(self._params.size)
        part = f" where {dict(self._where)}" if self._where else ""
        address = getattr(self._client, "_init_options", {})
        at = next((str(address[key]) for key in ("url", "host", "path", "location") if address.get(key)), "")
        local = type(self._client._client).__name__ == "QdrantLocal"
        return StoreInfo(
            "qdrant",
            location=f"{at}/{self._collection}{f'/{self._name}' if self._name else ''}{part}",
            count=self._client.count(self._collection, count_filter=self._filter()).count,
            dimension=size,
            ranking=ranking,
            dtype=self._dtype,
            tolerance=2e-6 if ranking == "cosine" else 0.0,
            index=None if local else "hnsw",
        )

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors."""
        return self._pages(rows, vectors)

    def _pages(self, rows: int, vectors: bool, *conditions: Any) -> Iterator[tuple[list[str], Floats]]:
        offset: Any = None
        while True:
            wanted: Any = ([self._name] if self._name else True) if vectors else False
            points, offset = self._client.scroll(
                *(self._collection, self._filter(*conditions)),
                limit=rows,
                offset=offset,
                with_payload=False,
                with_vectors=wanted,
            )
            if points:
                yield [str(p.id) for p in points], self._matrix(points) if vectors else np.empty((len(points), 0))
            if offset is None:
                return

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there and their vectors."""
        wanted = self._models.HasIdCondition(has_id=[_point_id(document_id) for document_id in ids])
        points, _ = self._client.scroll(
            *(self._collection, self._filter(wanted)), limit=max(1, len(ids)), with_payload=False,
            with_vectors=[self._name] if self._name else True,
        )  # fmt: skip
        return [str(point.id) for point in points], self._matrix(points)

    def write(self, ids: Sequence[str], vectors: Floats) -> Sequence[str]:
        """Change vectors, waiting until the collection has them."""
        points = [
            self._models.PointVectors(id=_point_id(i), vector={self._name: row} if self._name else row)
            for i, row in zip(ids, vectors.tolist(), strict=True)
        ]
        result = self._client.update_vectors(self._collection, points, wait=True)
        return ids if str(getattr(result.status, "value", result.status)) == "completed" else ()

    def beside(self, name: str) -> QdrantStore:
        """Return another vector of the same points, base vectors copied to those that have none there yet."""
        other = QdrantStore(self._client, self._collection, name, self._where)
        lacks = self._models.Filter(must_not=[self._models.HasVectorCondition(has_vector=name)])
        for ids, vectors in self._pages(1000, True, lacks):
            other.write(ids, vectors)
        return other

    def search(self, queries: NDArray[np.float32], k: int, *, exact: bool) -> tuple[list[list[str]], list[list[float]]]:
        """Search the collection."""
        ranking, params = self._ranking(), self._models.SearchParams(exact=exact)
        asked = [
            self._models.QueryRequest(query=q, using=self._name or None, limit=k, params=params, filter=self._filter())
            for q in queries.tolist()
        ]
        found = [answer.points for answer in self._client.query_batch_points(self._collection, asked)]
        # Scores are cosines, inner products, or distances.
        scores = [[inner_product(p.score**2, "l2") if ranking == "l2" else p.score for p in row] for row in found]
        return [[str(point.id) for point in row] for row in found], scores

    def text_search(self) -> str | None:
        """Say which sparse vector is searched; None without what makes that of a query."""
        sparse = self._client.get_collection(self._collection).config.params.sparse_vectors or {}
        name = None if self._sparse is None else self._sparse[0]
        return f"the search of Qdrant by the sparse vector {name!r}" if name in sparse else None

    def search_text(self, query: str, k: int) -> list[tuple[str, float]]:
        """Search by the sparse vector."""
        if self._sparse is None:
            raise StoreError(f"{self._collection!r} has no encoder of sparse vectors")
        name, encode = self._sparse
        indices, values = encode(query)
        vector = self._models.SparseVector(indices=list(indices), values=list(values))
        found = self._client.query_points(
            self._collection, query=vector, using=name, limit=k, query_filter=self._filter(), with_payload=False
        )
        return [(str(point.id), float(point.score)) for point in found.points]

    def _ranking(self) -> Ranking:
        return as_ranking(self._params.distance, f"the collection {self._collection!r}")

    def _vectors_of(self, name: str | None) -> tuple[str, Any]:
        vectors = self._client.get_collection(self._collection).config.params.vectors
        named = vectors if isinstance(vectors, dict) else {"": vectors}
        chosen = name if name is not None else (next(iter(named)) if len(named) == 1 else None)
        if chosen is None or chosen not in named:
            raise StoreError(
                f"{self._collection!r} has the vectors {sorted(named)}; give one as vector_name=, got {name!r}"
            )
        return chosen, named[chosen]

    def _filter(self, *conditions: Any) -> Any:
        models = self._models
        must = [models.FieldCondition(key=k, match=models.MatchValue(value=v)) for k, v in self._where.items()]
        return models.Filter(must=[*must, *conditions]) if must or conditions else None

    def _matrix(self, points: Sequence[Any]) -> Floats:
        rows = [point.vector[self._name] if isinstance(point.vector, dict) else point.vector for point in points]
        return np.array(rows, self._dtype).reshape(len(rows), int(self._params.size))


def _point_id(document_id: str) -> int | str:
    return int(document_id) if document_id.isdecimal() else document_id
