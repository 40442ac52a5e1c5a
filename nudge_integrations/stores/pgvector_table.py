"""What a Postgres table says of itself: its columns of ids and vectors, and what its index ranks by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nudge_integrations.errors import StoreError
from nudge_integrations.stores.store import Ranking, Where

__all__ = ["VECTOR_TYPES", "VectorTable"]

VECTOR_TYPES = {"vector": "float32", "halfvec": "float16"}
# Where LlamaIndex and LangChain keep their ids, and everybody else.
_ID_COLUMNS = ("node_id", "langchain_id", "id")
_OPERATOR_CLASSES: dict[str, Ranking] = {"cosine": "cosine", "ip": "dot", "l2": "l2"}

_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"""
_INDEXES = """
    SELECT opcname, amname, i.indexrelid::regclass::text
    FROM pg_index i JOIN pg_opclass o ON o.oid = ANY(i.indclass::oid[])
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
    JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
    WHERE i.indrelid = to_regclass(%s) AND a.attname = %s AND opcname ~ '^(vector|halfvec)_'"""


@dataclass(frozen=True)
class VectorTable:
    """A table with a column of ids and one of vectors.

    Attributes:
        name: Its name, with the schema where it is not on the search path.
        id: The column of ids.
        id_type: What Postgres calls its type.
        vector: The column of vectors.
        kind: ``"vector"`` or ``"halfvec"``.
        dimension: How many numbers a vector has.
        where: The condition that rows must meet, as SQL.
        ranking: What it is searched by.
        index: ``"hnsw"`` or ``"ivfflat"``; None without an index.
        rebuild: The statement that builds the index again.
        text: The first column of type tsvector; None without one.
    """

    name: str
    id: str
    id_type: str
    vector: str
    kind: str
    dimension: int
    where: str
    ranking: Ranking
    index: str | None
    rebuild: str | None
    text: str | None

    @classmethod
    def of(
        cls,
        rows: Callable[..., list[Any]],
        name: str,
        ranking: Ranking,
        id_column: str | None,
        vector: str | None,
        where: Where,
    ) -> VectorTable:
        """Read it from the catalogue.

        Raises:
            StoreError: If the table or a column is not there, or it holds no vector from which the dimension is known.
        """
        columns = dict(rows(_COLUMNS, (name,)))
        vectors = [column for column, kind in columns.items() if kind.split("(")[0] in VECTOR_TYPES]
        ids = [column for column in _ID_COLUMNS if column in columns]
        column, id_ = vector or (vectors[0] if len(vectors) == 1 else ""), id_column or (ids[0] if ids else "")
        if column not in vectors or id_ not in columns:
            raise StoreError(
                f"table {name!r} has the columns {columns or 'none (is it there?)'}; expected one of type vector or "
                f"halfvec, or vector_name=, and ids in one of {', '.join(_ID_COLUMNS)}, or id_column="
            )
        condition = " AND ".join(["TRUE", *(_condition(key, value) for key, value in where.items())])
        kind, _, size = columns[column].partition("(")
        if not size:
            # LangChain's PGVector declares no dimension unless it is told one.
            found = rows(f"SELECT vector_dims({column}) FROM {name} WHERE {condition} LIMIT 1")  # noqa: S608
            if not found:
                raise StoreError(f"{name} holds no vectors: is it the right collection?")
            size = str(found[0][0])
        indexes = rows(_INDEXES, (name, column))
        if indexes:
            ranking = _OPERATOR_CLASSES[indexes[0][0].split("_")[1]]
        method, rebuild = (indexes[0][1], f"REINDEX INDEX CONCURRENTLY {indexes[0][2]}") if indexes else (None, None)
        text = next((name for name, type_ in columns.items() if type_ == "tsvector"), None)
        size = size.rstrip(")")
        return cls(*(name, id_, columns[id_], column, kind, int(size), condition, ranking, method, rebuild, text))


def _condition(key: str, value: str | int) -> str:
    column, _, inner = key.partition(".")
    literal = str(value) if isinstance(value, int) else "'" + value.replace("'", "''").replace("%", "%%") + "'"
    return f"{column} ->> '{inner}' = {literal}" if inner else f"{column} = {literal}"
