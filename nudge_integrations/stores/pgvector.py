"""A Postgres table with pgvector: everything that a nudge changes is one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import MissingExtraError, StoreError
from nudge_integrations.stores.store import Floats, Ranking, StoreInfo, Where, similarity_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PgvectorStore"]

_TYPES = {"vector": "float32", "halfvec": "float16"}
_OPERATORS: dict[Ranking, str] = {"cosine": "<=>", "dot": "<#>", "l2": "<->"}
# Where LlamaIndex and LangChain keep their ids, and everybody else.
_ID_COLUMNS = ("node_id", "langchain_id", "id")


class PgvectorStore:
    """A table of Postgres with a pgvector column as a live store; see `StoreAdapter`.

    Args:
        address: ``postgresql://...``.
        table: The table, with its schema if that is not on the search path.
        ranking: What it is searched by, where it has no index to say so.
        id_column: The column of ids; None for LlamaIndex's, LangChain's, or ``id``.
        vector_column: The column of vectors; None for the only one.
        where: Columns, or keys of a JSON column as ``"cmetadata.tenant"``, and the values that rows must have.

    Raises:
        StoreError: If the table or a column is not there, or the column has no dimension.
    """

    def __init__(
        self,
        address: str,
        table: str,
        ranking: Ranking = "cosine",
        id_column: str | None = None,
        vector_column: str | None = None,
        where: Where | None = None,
    ) -> None:
        try:
            self._psycopg = import_module("psycopg")
        except ImportError as error:
            raise MissingExtraError("psycopg", "pgvector") from error
        self._address, self._table, self._open = address, table, None
        self._columns = dict(self._rows(_COLUMNS, (table,)))
        vectors = [name for name, kind in self._columns.items() if kind.startswith(tuple(_TYPES))]
        ids = [name for name in _ID_COLUMNS if name in self._columns]
        self._vector = vector_column or (vectors[0] if len(vectors) == 1 else "")
        self._id = id_column or (ids[0] if ids else "")
        kind = self._columns.get(self._vector, "")
        if not kind.endswith(")") or kind.split("(")[0] not in _TYPES or self._id not in self._columns:
            raise StoreError(
                f"table {table!r} has the columns {self._columns or 'none (is it there?)'}; expected one vector(d) or "
                f"halfvec(d), or vector_column=, and ids in one of {', '.join(_ID_COLUMNS)}, or id_column="
            )
        self._kind, self._width = kind.split("(")[0], int(kind[:-1].split("(")[1])
        self._where = " AND ".join(["TRUE", *(_condition(key, value) for key, value in (where or {}).items())])
        classes = [name for (name,) in self._rows(_CLASSES, (table, self._vector))]
        word = next((name.split("_")[1] for name in classes), ranking)
        self._ranking: Ranking = {"cosine": "cosine", "ip": "dot", "dot": "dot", "l2": "l2"}[word]  # type: ignore[assignment]
        self._index = "hnsw or ivfflat" if classes else None

    def describe(self) -> StoreInfo:
        """Say what the table is."""
        count = self._rows(f"SELECT count(*) FROM {self._table} WHERE {self._where}")[0][0]  # noqa: S608
        place = self._connection().info
        return StoreInfo(
            "pgvector",
            location=f"{place.host}:{place.port}/{place.dbname}/{self._table}.{self._vector} {self._where}",
            count=count,
            dimension=self._width,
            ranking=self._ranking,
            dtype=_TYPES[self._kind],
            atomicity="all",
            index=self._index,
            rebuild=f"REINDEX TABLE CONCURRENTLY {self._table}" if self._index else None,
        )

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors, through a cursor on the server."""
        with self._connection().transaction(), self._connection().cursor("nudge_scan", binary=True) as cursor:
            cursor.execute(f"SELECT {self._selected(vectors)} FROM {self._table} WHERE {self._where}")  # noqa: S608
            while found := cursor.fetchmany(rows):
                ids = [row[0] for row in found]
                yield ids, self._matrix(found) if vectors else np.empty((len(ids), 0), np.float32)

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there and their vectors; inside a transaction nobody else changes them."""
        locked = "FOR UPDATE" if self._connection().info.transaction_status else ""
        query = (
            f"SELECT {self._selected(True)} FROM {self._table} "  # noqa: S608
            f"WHERE {self._id} = ANY(%s::text[]::{self._columns[self._id]}[]) AND {self._where} {locked}"
        )
        found = self._rows(query, (list(ids),), binary=True)
        return [row[0] for row in found], self._matrix(found)

    def write(self, ids: Sequence[str], vectors: Floats) -> list[str]:
        """Change vectors, all or none; return what was changed."""
        with self._connection().transaction(), self._connection().cursor() as cursor:
            cursor.execute(f"CREATE TEMP TABLE nudge_rows (id text, new {self._kind}) ON COMMIT DROP")
            with cursor.copy("COPY nudge_rows FROM STDIN") as copy:
                for document_id, row in zip(ids, vectors.tolist(), strict=True):
                    copy.write_row((document_id, str(row)))
            cursor.execute(
                f"UPDATE {self._table} SET {self._vector} = new FROM nudge_rows "  # noqa: S608
                f"WHERE {self._table}.{self._id} = nudge_rows.id::{self._columns[self._id]} AND {self._where} "
                "RETURNING nudge_rows.id"
            )
            written = [row[0] for row in cursor.fetchall()]
            cursor.execute("DROP TABLE nudge_rows")
        return written

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all writes of the block one transaction."""
        with self._connection().transaction():
            yield

    @contextmanager
    def exclusive(self, who: str) -> Iterator[None]:
        """Hold an advisory lock on the table; it ends with the connection."""
        key = (f"nudge {self._table}",)
        self._rows("SELECT set_config('application_name', %s, false)", (who[:63],))
        if not self._rows("SELECT pg_try_advisory_lock(hashtext(%s))", key)[0][0]:
            holder = self._rows(_HOLDER, key)
            raise StoreError(f"{self._table} is being changed by {holder[0][0] if holder else 'another process'}; wait")
        try:
            yield
        finally:
            self._rows("SELECT pg_advisory_unlock(hashtext(%s))", key)

    def search(self, queries: NDArray[np.float32], k: int, *, exact: bool) -> tuple[list[list[str]], list[list[float]]]:
        """Search the table, one statement a query."""
        query = (
            f"SELECT {self._id}::text, {self._vector} {_OPERATORS[self._ranking]} %s::{self._kind} AS distance "  # noqa: S608
            f"FROM {self._table} WHERE {self._where} ORDER BY distance LIMIT {int(k)}"
        )
        with self._connection().transaction():
            if exact:
                self._connection().execute("SET LOCAL enable_indexscan = off")
            found = [self._rows(query, (str(vector),)) for vector in queries.tolist()]
        scores = [[-d if self._ranking == "dot" else self._similarity(d) for _, d in rows] for rows in found]
        return [[document_id for document_id, _ in rows] for rows in found], scores

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._open is not None:
            self._open.close()

    def _similarity(self, distance: float) -> float:
        return similarity_of(distance**2 if self._ranking == "l2" else distance, self._ranking)

    def _selected(self, vectors: bool) -> str:
        return f"{self._id}::text, {self._vector}" if vectors else f"{self._id}::text"

    def _matrix(self, found: Sequence[Any]) -> Floats:
        # Binary: two bytes of dimension, two that say nothing, then big-endian numbers.
        dtype = np.dtype(_TYPES[self._kind])
        data = b"".join(row[1][4:] for row in found)
        return np.frombuffer(data, dtype.newbyteorder(">")).astype(dtype).reshape(len(found), self._width)

    def _rows(self, query: str, values: Sequence[Any] = (), *, binary: bool = False) -> list[Any]:
        with self._connection().cursor(binary=binary) as cursor:
            found: list[Any] = cursor.execute(query, values or None).fetchall()
            return found

    def _connection(self) -> Any:
        if self._open is None or self._open.closed:
            self._open = self._psycopg.connect(self._address, autocommit=True)
        return self._open


_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"""
_CLASSES = """
    SELECT opcname FROM pg_index i JOIN pg_opclass o ON o.oid = ANY(i.indclass::oid[])
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
    WHERE i.indrelid = to_regclass(%s) AND a.attname = %s AND opcname ~ '^(vector|halfvec)_'"""
_HOLDER = """
    SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)
    WHERE locktype = 'advisory' AND granted AND objid = hashtext(%s)::bigint & 4294967295"""


def _condition(key: str, value: str | int) -> str:
    column, _, inner = key.partition(".")
    literal = str(value) if isinstance(value, int) else "'" + value.replace("'", "''").replace("%", "%%") + "'"
    return f"{column} ->> '{inner}' = {literal}" if inner else f"{column} = {literal}"
