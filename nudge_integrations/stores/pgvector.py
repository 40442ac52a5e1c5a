"""A Postgres table with pgvector: everything that a nudge changes is one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from nudge_integrations.stores.pgvector_table import VectorTable
from nudge_integrations.stores.postgres import PostgresConnection
from nudge_integrations.stores.store import Floats, Ranking, StoreInfo, Where

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PgvectorStore"]


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
        self.close = self._postgres.close

    def describe(self) -> StoreInfo:
        """Say what the table is."""
        return self._at.described(self._postgres.place, self._postgres.rows(self._at.select("count(*)"))[0][0])

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors, through a cursor on the server."""
        with self.transaction(), self._postgres.now.cursor("nudge_scan", binary=True) as cursor:
            cursor.execute(self._at.select_vectors(vectors), ())
            while found := cursor.fetchmany(rows):
                ids = [row[0] for row in found]
                yield ids, self._at.matrix(found) if vectors else np.empty((len(ids), 0), np.float32)

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there and their vectors; inside a transaction nobody else changes them."""
        at, locked = self._at, "FOR UPDATE" if self._postgres.now.info.transaction_status else ""
        query = f"{at.select_vectors()} AND {at.id} = ANY(%s::text[]::{at.id_type}[]) {locked}"
        found = self._postgres.rows(query, (list(ids),), binary=True)
        return [row[0] for row in found], at.matrix(found)

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
        at, query = self._at, self._at.select_nearest(k)
        with self.transaction():
            if exact:
                self._postgres.rows("SELECT set_config('enable_indexscan', 'off', true)")
            found = [self._postgres.rows(query, (str(vector),)) for vector in queries.tolist()]
        return [[i for i, _ in rows] for rows in found], [[at.score(far) for _, far in rows] for rows in found]

    def text_search(self) -> str | None:
        """Say which column of type tsvector is searched; None without one."""
        if self._at.text is None:
            return None
        return f"the text search of Postgres over {self._at.name}.{self._at.text} ({self._text_configuration()})"

    def search_text(self, query: str, k: int) -> list[tuple[str, float]]:
        """Search the column of type tsvector for any of the query's words, ranked by ts_rank."""
        return self._postgres.rows(self._at.select_worded(k), (self._text_configuration(), query))

    def _text_configuration(self) -> str:
        if self._configuration is None:
            self._configuration = self._at.text_configuration(self._postgres.rows)
        return self._configuration
