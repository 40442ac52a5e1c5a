"""A LanceDB table: every change is one commit, a new version of the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import StoreError
from nudge_integrations.stores.staging import StagedWrites
from nudge_integrations.stores.store import Floats, Ranking, StoreInfo, Where, imported, inner_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LanceStore"]

_TYPES = {"float": "float32", "halffloat": "float16", "double": "float64"}


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
        self._arrow = imported("pyarrow", "lancedb")
        self._table, self._id, self._vector = table, id_column, vector_column
        for column in (id_column, vector_column, *(where or {})):
            if column.partition(".")[0] not in table.schema.names:
                raise StoreError(f"the table {table.name!r} has no column {column!r}; it has {table.schema.names}")
        kind = table.schema.field(vector_column).type
        self._dtype = _TYPES.get(str(getattr(kind, "value_type", kind)), "")
        if not self._dtype or not hasattr(kind, "list_size"):
            raise StoreError(f"column {vector_column!r} of {table.name!r} is {kind}, not vectors of one fixed size")
        self._type, self._width = kind, int(kind.list_size)
        self._where = " AND ".join(f"{key} = {_literal(value)}" for key, value in (where or {}).items())
        self._ranking, self._index = self._searched_by(ranking)

    def describe(self) -> StoreInfo:
        """Say what the table is."""
        return StoreInfo(
            "lancedb",
            location=f"{getattr(self._table, 'uri', self._table.name)} {self._where}".rstrip(),
            count=self._table.count_rows(self._where or None),
            dimension=self._width,
            ranking=self._ranking,
            dtype=self._dtype,
            atomicity="all",
            index=self._index,
            rebuild=self._index
            and f"table.optimize(); table.create_index(vector_column_name={self._vector!r}, replace=True)",
        )

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors."""
        for batch in self._select(self._where, vectors).to_batches(rows):
            ids = batch.column(0).to_pylist()
            yield ids, self._matrix(batch.column(1)) if vectors else np.empty((len(ids), 0))

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there and their vectors."""
        if not ids:
            return [], np.empty((0, self._width), self._dtype)
        named = f"{self._id} IN ({', '.join(map(_literal, ids))})"
        found = self._select(f"{named} AND {self._where}" if self._where else named, vectors=True).to_arrow()
        return found.column(0).to_pylist(), self._matrix(found.column(1).combine_chunks())

    def search(self, queries: NDArray[np.float32], k: int, *, exact: bool) -> tuple[list[list[str]], list[list[float]]]:
        """Search the table."""
        asked = self._table.search(queries, vector_column_name=self._vector).distance_type(self._ranking).limit(k)
        asked = asked.bypass_vector_index() if exact else asked
        asked = asked.where(self._where, prefilter=True) if self._where else asked
        found = (
            asked.select([self._id, "_distance"])
            .to_arrow()
            .sort_by([("query_index", "ascending"), ("_distance", "ascending")])
        )
        ids: list[list[str]] = [[] for _ in queries]
        scores: list[list[float]] = [[] for _ in queries]
        columns = (found.column(name).to_pylist() for name in ("query_index", self._id, "_distance"))
        for query, document_id, distance in zip(*columns, strict=True):
            ids[query].append(document_id)
            scores[query].append(inner_product(distance, self._ranking))
        return ids, scores

    def text_search(self) -> str | None:
        """Say which columns have a full-text index; None without one."""
        columns = [name for one in self._table.list_indices() if str(one.index_type) == "FTS" for name in one.columns]
        return f"the full-text search of LanceDB over {', '.join(columns)}" if columns else None

    def search_text(self, query: str, k: int) -> list[tuple[str, float]]:
        """Search by the full-text index."""
        asked = self._table.search(query, query_type="fts").limit(k).select([self._id, "_score"])
        found = (asked.where(self._where, prefilter=True) if self._where else asked).to_arrow()
        return list(zip(found.column(self._id).to_pylist(), found.column("_score").to_pylist(), strict=True))

    def _select(self, where: str, vectors: bool) -> Any:
        asked = self._table.search().select([self._id, self._vector] if vectors else [self._id])
        return asked.where(where) if where else asked

    def _commit(self, changes: dict[str, NDArray[Any]]) -> None:
        rows = np.stack(list(changes.values())).astype(self._dtype)
        values = self._arrow.FixedSizeListArray.from_arrays(
            self._arrow.array(rows.ravel(), self._type.value_type), type=self._type
        )
        ids = self._arrow.array(list(changes), self._table.schema.field(self._id).type)
        data = self._arrow.table([ids, values], names=[self._id, self._vector])
        merged = self._table.merge_insert(self._id).when_matched_update_all().execute(data)
        if int(merged.num_updated_rows) != len(changes):
            raise TimeoutError(f"LanceDB acknowledged {merged.num_updated_rows} of {len(changes)} rows")

    def _matrix(self, column: Any) -> Floats:
        rows: Floats = (
            column.flatten().to_numpy(zero_copy_only=False).astype(self._dtype).reshape(len(column), self._width)
        )
        return rows

    def _searched_by(self, ranking: Ranking) -> tuple[Ranking, str | None]:
        for index in self._table.list_indices():
            if list(index.columns) == [self._vector]:
                stats = self._table.index_stats(index.name)
                return stats.distance_type or ranking, str(index.index_type)
        return ranking, None


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
