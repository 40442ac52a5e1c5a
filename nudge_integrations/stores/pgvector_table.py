"""A Postgres table's description: its columns of ids and vectors, and how its index ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nudge_integrations.errors import StoreError
from nudge_integrations.stores.store import Floats, Ranking, StoreInfo, Where, inner_product, quoted

__all__ = ["VectorTable"]

_TYPES = {"vector": "float32", "halfvec": "float16"}
# Where LlamaIndex and LangChain keep their ids, and everybody else.
_ID_COLUMNS = ("node_id", "langchain_id", "id")
_OPERATORS: dict[Ranking, str] = {"cosine": "<=>", "dot": "<#>", "l2": "<->"}
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

_GENERATED = r"""
    SELECT substring(pg_get_expr(adbin, adrelid) FROM 'to_tsvector\(''([^'']+)''::regconfig')
    FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE adrelid = to_regclass(%s) AND attname = %s AND pg_get_expr(adbin, adrelid) ~ 'to_tsvector.*::regconfig'"""


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
        vectors = [column for column, kind in columns.items() if kind.split("(")[0] in _TYPES]
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

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numbers that vectors have."""
        return np.dtype(_TYPES[self.kind])

    def described(self, place: str, count: int) -> StoreInfo:
        """Say what a table in a database is, that holds so many rows."""
        return StoreInfo(
            "pgvector",
            location=f"{place}/{self.name}.{self.vector} {self.where}",
            count=count,
            dimension=self.dimension,
            ranking=self.ranking,
            dtype=self.dtype.name,
            atomicity="all",
            index=self.index,
            rebuild=self.rebuild,
        )

    def select(self, *columns: str) -> str:
        """Return the statement that reads columns of all rows."""
        return f"SELECT {', '.join(columns)} FROM {self.name} WHERE {self.where}"  # noqa: S608

    def select_vectors(self, vectors: bool = True) -> str:
        """Return the statement that reads ids as text, and vectors."""
        return self.select(f"{self.id}::text", *([self.vector] if vectors else []))

    def select_nearest(self, k: int) -> str:
        """Return the statement that reads the ids of the best k rows for a vector, with their distances."""
        distance = f"{self.vector} {_OPERATORS[self.ranking]} %s::{self.kind} AS distance"
        return f"{self.select(f'{self.id}::text', distance)} ORDER BY distance LIMIT {int(k)}"

    def select_worded(self, k: int) -> str:
        """Return the statement that reads the ids of the best k rows for any word of a query, with their scores."""
        asked = "replace(plainto_tsquery(%s::regconfig, %s)::text, ' & ', ' | ')::tsquery"
        return (
            f"SELECT {self.id}::text, ts_rank({self.text}, asked)::float8 AS score "  # noqa: S608
            f"FROM {self.name}, (SELECT {asked} AS asked) AS query "
            f"WHERE {self.where} AND {self.text} @@ asked ORDER BY score DESC, {self.id} LIMIT {int(k)}"
        )

    def text_configuration(self, rows: Callable[..., list[Any]]) -> str:
        """Return how the column of type tsvector was parsed, or else the default of the database."""
        generated = rows(_GENERATED, (self.name, self.text))
        default = rows("SELECT current_setting('default_text_search_config')")
        return str((generated or default)[0][0])

    def matrix(self, found: Sequence[Any]) -> Floats:
        """Return the (r, d) vectors of rows that were read in binary."""
        # Two bytes of dimension, two that say nothing, then big-endian numbers.
        data = b"".join(row[1][4:] for row in found)
        rows = np.frombuffer(data, self.dtype.newbyteorder(">")).astype(self.dtype)
        return rows.reshape(len(found), self.dimension)

    def score(self, distance: float) -> float:
        """Return the inner product of unit vectors at a distance."""
        if self.ranking == "dot":
            return -distance
        return inner_product(distance**2 if self.ranking == "l2" else distance, self.ranking)


def _condition(key: str, value: str | int) -> str:
    column, _, inner = key.partition(".")
    literal = quoted(value).replace("%", "%%")
    return f"{column} ->> '{inner}' = {literal}" if inner else f"{column} = {literal}"
