"""A Qdrant collection: on a server, or in this process through the same client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import StoreError
from nudge_integrations.stores.qdrant_vectors import NamedVectors, SparseEncoder, point_id
from nudge_integrations.stores.store import Floats, StoreInfo, Where, inner_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["QdrantStore"]


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
        self._client, self._collection, self._where = client, collection, where or {}
        self._held = NamedVectors(client, collection, vector_name, self._where)

    def describe(self) -> StoreInfo:
        """Say what the collection is."""
        held, part = self._held, f" where {dict(self._where)}" if self._where else ""
        address = getattr(self._client, "_init_options", {})
        at = next((str(address[key]) for key in ("url", "host", "path", "location") if address.get(key)), "")
        local = type(self._client._client).__name__ == "QdrantLocal"
        return StoreInfo(
            "qdrant",
            location=f"{at}/{self._collection}{f'/{held.name}' if held.name else ''}{part}",
            count=self._client.count(self._collection, count_filter=held.filter()).count,
            dimension=held.width,
            ranking=held.ranking,
            dtype=held.dtype,
            tolerance=2e-6 if held.ranking == "cosine" else 0.0,
            index=None if local else "hnsw",
        )

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors."""
        return self._held.pages(rows, vectors=vectors)

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there and their vectors."""
        wanted = self._held.models.HasIdCondition(has_id=[point_id(document_id) for document_id in ids])
        none: tuple[list[str], Floats] = [], np.empty((0, self._held.width), self._held.dtype)
        return next(self._held.pages(len(ids), wanted), none)

    def write(self, ids: Sequence[str], vectors: Floats) -> Sequence[str]:
        """Change vectors, waiting until the collection has them."""
        result = self._client.update_vectors(self._collection, self._held.changed(ids, vectors), wait=True)
        return ids if str(getattr(result.status, "value", result.status)) == "completed" else ()

    def beside(self, name: str) -> QdrantStore:
        """Return another vector of the same points, base vectors copied to those that have none there yet."""
        other = QdrantStore(self._client, self._collection, name, self._where)
        models = self._held.models
        lacks = models.Filter(must_not=[models.HasVectorCondition(has_vector=name)])
        for ids, vectors in self._held.pages(1000, lacks):
            other.write(ids, vectors)
        return other

    def search(self, queries: NDArray[np.float32], k: int, *, exact: bool) -> tuple[list[list[str]], list[list[float]]]:
        """Search the collection."""
        held = self._held
        options = {"using": held.name or None, "limit": k, "filter": held.filter()}
        params = held.models.SearchParams(exact=exact)
        asked = [held.models.QueryRequest(query=query, params=params, **options) for query in queries.tolist()]
        found = [answer.points for answer in self._client.query_batch_points(self._collection, asked)]
        # Scores are cosines, inner products, or distances.
        far = held.ranking == "l2"
        scores = [[inner_product(point.score**2, "l2") if far else point.score for point in row] for row in found]
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
        vector = self._held.models.SparseVector(indices=list(indices), values=list(values))
        found = self._client.query_points(
            self._collection, query=vector, using=name, limit=k, query_filter=self._held.filter(), with_payload=False
        )
        return [(str(point.id), float(point.score)) for point in found.points]
