"""One connection to Postgres: statements, transactions, and a lock that keeps other appliers out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import finalize

from nudge_integrations.errors import StoreError
from nudge_integrations.stores.store import imported

__all__ = ["PostgresConnection"]

_HOLDER = """
    SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)
    WHERE locktype = 'advisory' AND granted AND objid = hashtext(%s)::bigint & 4294967295"""


class PostgresConnection:
    """A connection that is opened when it is needed, and again where it was lost.

    Args:
        address: ``postgresql://...``.
    """

    def __init__(self, address: str) -> None:
        self._psycopg = imported("psycopg", "pgvector")
        self._address = address
        self._open: Any = None

    @property
    def now(self) -> Any:
        """The connection of psycopg."""
        if self._open is None or self._open.closed:
            self._open = self._psycopg.connect(self._address, autocommit=True)
            finalize(self, self._open.close)
        return self._open

    @property
    def place(self) -> str:
        """Host, port and database."""
        info = self.now.info
        return f"{info.host}:{info.port}/{info.dbname}"

    def rows(self, query: str, values: Sequence[Any] = (), *, binary: bool = False) -> list[Any]:
        """Run a statement and return its rows."""
        with self.now.cursor(binary=binary) as cursor:
            found: list[Any] = cursor.execute(query, values).fetchall()
            return found

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all statements of the block one transaction."""
        with self.now.transaction():
            yield

    @contextmanager
    def exclusive(self, table: str, who: str) -> Iterator[None]:
        """Hold an advisory lock on a table for the block; it ends with the connection.

        Raises:
            StoreError: If another holds it; says who.
        """
        key = (f"nudge {table}",)
        self.rows("SELECT set_config('application_name', %s, false)", (who[:63],))
        if not self.rows("SELECT pg_try_advisory_lock(hashtext(%s))", key)[0][0]:
            holder = self.rows(_HOLDER, key)
            raise StoreError(f"{table} is being changed by {holder[0][0] if holder else 'another process'}; wait")
        try:
            yield
        finally:
            if not self.now.broken:
                self.rows("SELECT pg_advisory_unlock(hashtext(%s))", key)

    def close(self) -> None:
        """Close it; the next statement opens another."""
        if self._open is not None:
            self._open.close()
