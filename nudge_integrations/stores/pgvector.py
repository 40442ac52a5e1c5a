"""A Postgres table with pgvector: everything that a nudge changes is one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.stores.pgvector_table import VECTOR_TYPES, VectorTable
from nudge_integrations.stores.postgres import PostgresConnection
from nudge_integrations.stores.store import Floats, Ranking, StoreInfo, Where, inner_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PgvectorStore"]

_OPERATORS: dict[Ranking, str] = {"cosine": "<=>", "dot": "<#>", "l2": "<->"}
_GENERATED = r"""
    SELECT substring(pg_get_expr(adbin, adrelid) FROM 'to_tsvector\(''([^'']+)''::regconfig')
    FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE adrelid = to_regclass(%s) AND attname = %s AND pg_get_expr(adbin, adrelid) ~ 'to_tsvector.*::regconfig'"""


class PgvectorStore:
    """A table of Postgres with a pgvector column as a live store; see `StoreAdapter`.

    Args:
        address: ``postgresql://...``.
        table: The table, with its schema if that is not on the search path.
        ranking: What it is searched by, where it has no index to say so.
        id_column: The column of ids; None for LlamaIndex's, LangChain's, or ``id``.
        vector_column: The column of vectors; None for the only one.
        where: Columns, or keys of a JSON column as ``"cmetadata.tenant"``, and the values that rows must have.
        text_configuration: How queries of the text search are parsed, such as ``"english"``; None for what generates
            the column of type tsvector, or else the default of the database.

    Raises:
        StoreError: If the table or a column is not there, or no vector from which the dimension is known.
    """

    def __init__(
        self,
        address: str,
        table: str,
        ranking: Ranking = "cosine",
        id_column: str | None = None,
        vector_column: str | None = None,
        where: Where | None = None,
        text_configuration: str | None = None,
    ) -> None:
        self._configuration = text_configuration
        self._postgres = PostgresConnection(address)
        self._at = VectorTable.of(self._postgres.rows, table, ranking, id_column, vector_column, where or {})
        self._dtype = np.dtype(VECTOR_TYPES[self._at.kind])
        self.close = self._postgres.close

    def describe(self) -> StoreInfo:
        """Say what the table is."""
        at = self._at
        return StoreInfo(
            "pgvector",
            location=f"{self._postgres.place}/{at.name}.{at.vector} {at.where}",
            count=self._postgres.rows(f"SELECT count(*) FROM {at.name} WHERE {at.where}")[0][0],  # noqa: S608
            dimension=at.dimension,
            ranking=at.ranking,
            dtype=self._dtype.name,
            atomicity="all",
            index=at.index,
            rebuild=at.rebuild,
        )

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors, through a cursor on the server."""
        with self.transaction(), self._postgres.now.cursor("nudge_scan", binary=True) as cursor:
            cursor.execute(f"SELECT {self._selected(vectors)} FROM {self._at.name} WHERE {self._at.where}")  # noqa: S608
            while found := cursor.fetchmany(rows):
                ids = [row[0] for row in found]
                yield ids, self._matrix(found) if vectors else np.empty((len(ids), 0), np.float32)

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there and their vectors; inside a transaction nobody else changes them."""
        at, locked = self._at, "FOR UPDATE" if self._postgres.now.info.transaction_status else ""
        query = (
            f"SELECT {self._selected(True)} FROM {at.name} "  # noqa: S608
            f"WHERE {at.id} = ANY(%s::text[]::{at.id_type}[]) AND {at.where} {locked}"
        )
        found = self._postgres.rows(query, (list(ids),), binary=True)
        return [row[0] for row in found], self._matrix(found)

    def write(self, ids: Sequence[str], vectors: Floats) -> list[str]:
        """Change vectors, all or none; return what was changed."""
        at = self._at
        with self.transaction(), self._postgres.now.cursor() as cursor:
            cursor.execute(f"CREATE TEMP TABLE nudge_rows (id text, new {at.kind}) ON COMMIT DROP")
            with cursor.copy("COPY nudge_rows FROM STDIN") as copy:
                for document_id, row in zip(ids, vectors.tolist(), strict=True):
                    copy.write_row((document_id, str(row)))
            cursor.execute(
                f"UPDATE {at.name} AS held SET {at.vector} = new FROM nudge_rows "  # noqa: S608
                f"WHERE held.{at.id} = nudge_rows.id::{at.id_type} RETURNING nudge_rows.id"
            )
            written = [row[0] for row in cursor.fetchall()]
            cursor.execute("DROP TABLE nudge_rows")
        return written

    def transaction(self) -> AbstractContextManager[None]:
        """Make all writes of the block one transaction."""
        return self._postgres.transaction()

    def exclusive(self, who: str) -> AbstractContextManager[None]:
        """Hold an advisory lock on the table; it ends with the connection."""
        return self._postgres.exclusive(self._at.name, who)

    def search(self, queries: NDArray[np.float32], k: int, *, exact: bool) -> tuple[list[list[str]], list[list[float]]]:
        """Search the table, one statement a query."""
        at = self._at
        query = (
            f"SELECT {at.id}::text, {at.vector} {_OPERATORS[at.ranking]} %s::{at.kind} AS distance "  # noqa: S608
            f"FROM {at.name} WHERE {at.where} ORDER BY distance LIMIT {int(k)}"
        )
        with self.transaction():
            if exact:
                self._postgres.rows("SELECT set_config('enable_indexscan', 'off', true)")
            found = [self._postgres.rows(query, (str(vector),)) for vector in queries.tolist()]
        return [[i for i, _ in rows] for rows in found], [[self._score(d) for _, d in rows] for rows in found]

    def text_search(self) -> str | None:
        """Say which column of type tsvector is searched; None without one."""
        if self._at.text is None:
            return None
        return f"the text search of Postgres over {self._at.name}.{self._at.text} ({self._text_configuration()})"

    def search_text(self, query: str, k: int) -> list[tuple[str, float]]:
        """Search the column of type tsvector for any of the query's words, ranked by ts_rank."""
        at, asked = self._at, "replace(plainto_tsquery(%s::regconfig, %s)::text, ' & ', ' | ')::tsquery"
        statement = (
            f"SELECT {at.id}::text, ts_rank({at.text}, asked)::float8 AS score "  # noqa: S608
            f"FROM {at.name}, (SELECT {asked} AS asked) AS query "
            f"WHERE {at.where} AND {at.text} @@ asked ORDER BY score DESC, {at.id} LIMIT {int(k)}"
        )
        return [(i, score) for i, score in self._postgres.rows(statement, (self._text_configuration(), query))]

    def _text_configuration(self) -> str:
        if self._configuration is None:
            generated = self._postgres.rows(_GENERATED, (self._at.name, self._at.text))
            default = self._postgres.rows("SELECT current_setting('default_text_search_config')")
            self._configuration = str((generated or default)[0][0])
        return self._configuration

    def _score(self, distance: float) -> float:
        if self._at.ranking == "dot":
            return -distance
        return inner_product(distance**2 if self._at.ranking == "l2" else distance, self._at.ranking)

    def _selected(self, vectors: bool) -> str:
        return f"{self._at.id}::text, {self._at.vector}" if vectors else f"{self._at.id}::text"

    def _matrix(self, found: Sequence[Any]) -> Floats:
        # Binary: two bytes of dimension, two that say nothing, then big-endian numbers.
        data = b"".join(row[1][4:] for row in found)
        rows = np.frombuffer(data, self._dtype.newbyteorder(">")).astype(self._dtype)
        return rows.reshape(len(found), self._at.dimension)
