"""The column of vectors of a LanceDB table: their type, what they are ranked by, and how they come and go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import StoreError
from nudge_integrations.stores.store import Floats, Ranking, imported

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["VectorColumn"]

_TYPES = {"float": "float32", "halffloat": "float16", "double": "float64"}


@dataclass(frozen=True)
class VectorColumn:
    """Vectors of one size in a table, beside a column of ids.

    Attributes:
        id: The column of ids.
        name: The column of vectors.
        width: How many numbers a vector has.
        dtype: The numbers.
        ranking: What they are searched by.
        index: The kind of their index; None without one.
    """

    id: str
    name: str
    width: int
    dtype: str
    ranking: Ranking
    index: str | None

    @classmethod
    def of(cls, table: Any, id_column: str, name: str, others: Iterable[str], ranking: Ranking) -> VectorColumn:
        """Read it from a table's schema, and from its index, where there is one, what it ranks by.

        Raises:
            StoreError: If one of the columns is not there or holds something else.
        """
        for column in (id_column, name, *others):
            if column.partition(".")[0] not in table.schema.names:
                raise StoreError(f"the table {table.name!r} has no column {column!r}; it has {table.schema.names}")
        kind = table.schema.field(name).type
        dtype = _TYPES.get(str(getattr(kind, "value_type", kind)))
        if dtype is None or not hasattr(kind, "list_size"):
            raise StoreError(f"column {name!r} of {table.name!r} is {kind}, not vectors of one fixed size")
        found = [index for index in table.list_indices() if list(index.columns) == [name]]
        stated = table.index_stats(found[0].name).distance_type if found else None
        index = str(found[0].index_type) if found else None
        return cls(id_column, name, int(kind.list_size), dtype, stated or ranking, index)

    @property
    def rebuild(self) -> str | None:
        """The statement that builds the index again; None without an index."""
        command = f"table.optimize(); table.create_index(vector_column_name={self.name!r}, replace=True)"
        return command if self.index else None

    def matrix(self, column: Any) -> Floats:
        """Return the (r, d) vectors of an Arrow column."""
        numbers = column.flatten().to_numpy(zero_copy_only=False)
        rows: Floats = numbers.astype(self.dtype).reshape(len(column), self.width)
        return rows

    def table_of(self, changes: dict[str, NDArray[Any]], schema: Any) -> Any:
        """Return ids and vectors as an Arrow table with the types of a schema."""
        arrow = imported("pyarrow", "lancedb")
        rows, kind = np.stack(list(changes.values())).astype(self.dtype), schema.field(self.name).type
        numbers = arrow.array(rows.ravel(), kind.value_type)
        values = arrow.FixedSizeListArray.from_arrays(numbers, type=kind)
        return arrow.table([arrow.array(list(changes), schema.field(self.id).type), values], names=[self.id, self.name])
