"""A LanceDB table: every change is one commit, a new version of the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.stores.lance_vectors import VectorColumn
from nudge_integrations.stores.staging import StagedWrites
from nudge_integrations.stores.store import Floats, Ranking, StoreInfo, Where, inner_product, quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LanceStore"]


class LanceStore(StagedWrites):
    """A table of LanceDB as a live store; see `StoreAdapter`.

    Writes of a transaction are one commit. A table says nowhere what it is ranked by unless it has an index.

    Args:
        table: A LanceDB table.
        ranking: What it is searched by, where it has no index; LanceDB's own default is L2.
        id_column: The column of ids, without repetitions.
        vector_column: The column of vectors, of fixed size.
        where: Columns and the values that rows must have; None for all rows.

    Raises:
        StoreError: If a column is not there or holds something else.
    """

    def __init__(
        self,
        table: Any,
        ranking: Ranking = "l2",
        id_column: str = "id",
        vector_column: str = "vector",
        where: Where | None = None,
    ) -> None:
        self._table = table
        self._column = VectorColumn.of(table, id_column, vector_column, where or (), ranking)
        self._where = " AND ".join(f"{key} = {quoted(value)}" for key, value in (where or {}).items())

    def describe(self) -> StoreInfo:
        """Say what the table is, in the version that is the newest now."""
        self._table.checkout_latest()
        held = self._column
        return StoreInfo(
            "lancedb",
            location=f"{getattr(self._table, 'uri', self._table.name)} {self._where}".rstrip(),
            count=self._table.count_rows(self._where or None),
            dimension=held.width,
            ranking=held.ranking,
            dtype=held.dtype,
            atomicity="all",
            index=held.index,
            rebuild=held.rebuild,
        )

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors."""
        for batch in self._select(self._where, vectors).to_batches(rows):
            ids = batch.column(0).to_pylist()
            yield ids, self._column.matrix(batch.column(1)) if vectors else np.empty((len(ids), 0))

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there and their vectors."""
        if not ids:
            return [], np.empty((0, self._column.width), self._column.dtype)
        named = f"{self._column.id} IN ({', '.join(map(quoted, ids))})"
        found = self._select(f"{named} AND {self._where}" if self._where else named, vectors=True).to_arrow()
        return found.column(0).to_pylist(), self._column.matrix(found.column(1).combine_chunks())

    def search(self, queries: NDArray[np.float32], k: int, *, exact: bool) -> tuple[list[list[str]], list[list[float]]]:
        """Search the table."""
        asked = (
            self._table.search(queries, vector_column_name=self._column.name)
            .distance_type(self._column.ranking)
            .limit(k)
        )
        asked = asked.bypass_vector_index() if exact else asked
        asked = asked.where(self._where, prefilter=True) if self._where else asked
        found = (
            asked.select([self._column.id, "_distance"])
            .to_arrow()
            .sort_by([("query_index", "ascending"), ("_distance", "ascending")])
        )
        ids: list[list[str]] = [[] for _ in queries]
        scores: list[list[float]] = [[] for _ in queries]
        columns = (found.column(name).to_pylist() for name in ("query_index", self._column.id, "_distance"))
        for query, document_id, distance in zip(*columns, strict=True):
            ids[query].append(document_id)
            scores[query].append(inner_product(distance, self._column.ranking))
        return ids, scores

    def text_search(self) -> str | None:
        """Say which columns have a full-text index; None without one."""
        columns = [name for one in self._table.list_indices() if str(one.index_type) == "FTS" for name in one.columns]
        return f"the full-text search of LanceDB over {', '.join(columns)}" if columns else None

    def search_text(self, query: str, k: int) -> list[tuple[str, float]]:
        """Search by the full-text index."""
        asked = self._table.search(query, query_type="fts").limit(k).select([self._column.id, "_score"])
        found = (asked.where(self._where, prefilter=True) if self._where else asked).to_arrow()
        return list(zip(found.column(self._column.id).to_pylist(), found.column("_score").to_pylist(), strict=True))

    def _select(self, where: str, vectors: bool) -> Any:
        asked = self._table.search().select([self._column.id, *([self._column.name] if vectors else [])])
        return asked.where(where) if where else asked

    def _commit(self, changes: dict[str, NDArray[Any]]) -> None:
        data = self._column.table_of(changes, self._table.schema)
        merged = self._table.merge_insert(self._column.id).when_matched_update_all().execute(data)
        if int(merged.num_updated_rows) != len(changes):
            raise TimeoutError(f"LanceDB acknowledged {merged.num_updated_rows} of {len(changes)} rows")
