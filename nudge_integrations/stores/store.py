"""The protocol of a live vector store whose vectors are read, changed in place and brought back.

Four methods make an adapter; journal, comparison before writing, reading back, resuming and rolling back are written
once, for all stores, in `rollout`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.errors import MissingExtraError, StoreError

__all__ = [
    "RANKINGS",
    "Floats",
    "Lockable",
    "Ranking",
    "Searchable",
    "SideBySide",
    "StoreAdapter",
    "StoreInfo",
    "Transactional",
    "Where",
    "as_ranking",
    "fetched",
    "imported",
    "in_memory",
    "inner_product",
    "quoted",
    "stored_ids",
]

Floats: TypeAlias = NDArray[np.floating[Any]]
Ranking: TypeAlias = Literal["cosine", "dot", "l2"]
Where: TypeAlias = Mapping[str, str | int]

# Numbers of processes come again, in another container above all.
_PROCESS = f"{os.getpid()}-{secrets.token_hex(4)}"

RANKINGS: Mapping[str, Ranking] = {
    **dict.fromkeys(("ip", "dot", "inner", "inner_product", "max_inner_product"), "dot"),
    **dict.fromkeys(("l2", "euclid", "euclidean"), "l2"),
    **dict.fromkeys(("cosine", "cosine_distance"), "cosine"),
}


@dataclass(frozen=True)
class StoreInfo:
    """The description that a store gives of itself.

    Attributes:
        kind: Its name, such as ``"qdrant"``.
        location: Where it is and which collection, for people, and to tell it from any other.
        count: How many vectors it holds, of those that the adapter's filter lets through.
        dimension: How many numbers a vector has.
        ranking: What it ranks by.
        dtype: The numbers that it holds, such as ``"float32"``; vectors come and go in this type.
        tolerance: How far a number may be from what was written when it is read again; 0 where it comes back bit for
            bit. Stores that make vectors unit length on writing change the last bit.
        atomicity: ``"all"``: any number of rows change together or not at all; ``"row"``: each row does.
        index: The approximate index that it is searched by, such as ``"hnsw"``; None for exact search.
        exact: Whether it can be searched without that index.
        rebuild: How to rebuild that index, in the store's own words; None where there is nothing to rebuild.
        most_rows: As many rows as one call may have.
    """

    kind: str
    location: str
    count: int
    dimension: int
    ranking: Ranking
    dtype: str = "float32"
    tolerance: float = 0.0
    atomicity: Literal["all", "row"] = "row"
    index: str | None = None
    exact: bool = True
    rebuild: str | None = None
    most_rows: int = 1000

    @property
    def fingerprint(self) -> str:
        """Sha256 (hex) of what tells this collection from any other; its content does not matter."""
        return hashlib.sha256(f"{self.kind}\n{self.location}\n{self.dimension}".encode()).hexdigest()


class StoreAdapter(Protocol):
    """A live store, or the part of it that a filter lets through.

    Ids are strings, unique, and stay with their vector. Calls raise whatever the store's client raises.
    """

    def describe(self) -> StoreInfo:
        """Say what the store is; asked for again, it says what it is now."""

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors (b, d), about so many at a time; (b, 0) without vectors."""

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there, in any order, and their vectors (b, d)."""

    def write(self, ids: Sequence[str], vectors: Floats) -> Sequence[str]:
        """Change the vectors of ids that are there, and nothing else; return the ids that the store acknowledged."""


@runtime_checkable
class Transactional(Protocol):
    """A store that changes many rows together."""

    def transaction(self) -> AbstractContextManager[None]:
        """Make all writes of a block visible together at its end; none where the block raises."""


@runtime_checkable
class Searchable(Protocol):
    """A store with a search of its own."""

    def search(self, queries: NDArray[np.float32], k: int, *, exact: bool) -> tuple[list[list[str]], list[list[float]]]:
        """Return the ids of the best k of each (m, d) unit query and their inner products, best first.

        Args:
            queries: (m, d) of unit length.
            k: How many.
            exact: Without the approximate index, where the store can; see ``StoreInfo.index``.
        """


@runtime_checkable
class Lockable(Protocol):
    """A store that can keep a second applier out by itself, from any machine."""

    def exclusive(self, who: str) -> AbstractContextManager[None]:
        """Hold the store for the block.

        Raises:
            StoreError: If another holds it; says who.
        """


@runtime_checkable
class SideBySide(Protocol):
    """A store whose rows have several vectors, told apart by name."""

    def beside(self, name: str) -> StoreAdapter:
        """Return another vector of the same rows, base vectors copied to those that have none there yet."""


def as_ranking(word: object, where: str) -> Ranking:
    """Read a store's own word for what it ranks by.

    Raises:
        StoreError: If vectors of a nudge mean nothing under it.

    >>> as_ranking("IP", "the collection"), as_ranking("Euclid", "the collection")
    ('dot', 'l2')
    """
    found = RANKINGS.get(str(getattr(word, "value", word)).lower())
    if found is None:
        raise StoreError(f"{where} ranks by {word}; nudged vectors need cosine, inner product or L2")
    return found


def inner_product(distance: float, ranking: Ranking) -> float:
    """Return the inner product of unit vectors whose distance a store gives: 1 - cosine, 1 - product, or squared L2.

    >>> inner_product(0.5, "l2"), inner_product(0.25, "cosine")
    (0.75, 0.75)
    """
    return 1.0 - (distance / 2.0 if ranking == "l2" else distance)


def quoted(value: str | int) -> str:
    """Write a value as SQL has it.

    >>> quoted("it's"), quoted(3)
    ("'it''s'", '3')
    """
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def in_memory(thing: object) -> str:
    """Return where something is that no other process has, and this one until it ends."""
    return f"in memory of process {_PROCESS}, {id(thing):x}"


def imported(package: str, extra: str) -> Any:
    """Import a store's client.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtraError(package, extra) from error


def fetched(
    adapter: StoreAdapter, ids: Sequence[str], info: StoreInfo | None = None
) -> tuple[NDArray[np.bool_], Floats]:
    """Fetch rows in the order of ids: whether each is there (r,), and vectors (r, d), zeros where it is not."""
    info = info or adapter.describe()
    there, vectors = np.zeros(len(ids), np.bool_), np.zeros((len(ids), info.dimension), info.dtype)
    place_of = {document_id: place for place, document_id in enumerate(ids)}
    for start in range(0, len(ids), info.most_rows):
        present, rows = adapter.fetch(ids[start : start + info.most_rows])
        places = [place_of[document_id] for document_id in present]
        there[places], vectors[places] = True, rows
    return there, vectors


def stored_ids(adapter: StoreAdapter) -> list[str]:
    """Return all ids of a store, in the order of its scan.

    Raises:
        StoreError: If an id is there twice.
    """
    ids = [document_id for part, _ in adapter.scan(10_000, vectors=False) for document_id in part]
    if len(set(ids)) != len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise StoreError(
            f"{adapter.describe().location} holds {twice!r} more than once ({len(ids)} rows, {len(set(ids))} ids): "
            "remove the copies, or a nudge could not say which row to move"
        )
    return ids
