"""An adapter that stops in the middle of what it does, as a process that is killed or a store that goes away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nudge_integrations.stores import StoreAdapter, StoreInfo
from nudge_integrations.stores.store import Floats

__all__ = ["FailingAdapter", "InjectedFault"]


class InjectedFault(BaseException):
    """The process has died: no handler of errors is to see it, as none sees a kill."""


class FailingAdapter:
    """Passes everything on to an adapter until so many writes are done; the next one writes a part and dies.

    Args:
        adapter: The adapter.
        writes: How many writes go through.
        part: Which part of the fatal write is done, 0 to 1, where the store changes row by row.

    >>> from nudge_integrations.stores.memory import MemoryStore
    >>> import numpy as np
    >>> store = FailingAdapter(MemoryStore({"a": [1.0, 0.0]}), writes=0)
    >>> try:
    ...     store.write(["a"], np.eye(2)[1:])
    ... except InjectedFault:
    ...     print("dead")
    dead
    """

    def __init__(self, adapter: StoreAdapter, writes: int, part: float = 0.5) -> None:
        self._adapter, self._left, self._part = adapter, writes, part
        for name in ("transaction", "search", "exclusive", "close"):
            if hasattr(adapter, name):
                setattr(self, name, getattr(adapter, name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("transaction", "search", "exclusive", "close"):
            raise AttributeError(name)
        return getattr(self._adapter, name)

    def describe(self) -> StoreInfo:
        """Say what the store is."""
        return self._adapter.describe()

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[tuple[list[str], Floats]]:
        """Yield all ids with their vectors."""
        return self._adapter.scan(rows, vectors=vectors)

    def fetch(self, ids: Sequence[str]) -> tuple[list[str], Floats]:
        """Return those of the ids that are there and their vectors."""
        return self._adapter.fetch(ids)

    def write(self, ids: Sequence[str], vectors: Floats) -> Sequence[str]:
        """Change vectors, or die.

        Raises:
            InjectedFault: Once the writes are used up.
        """
        self._left -= 1
        if self._left >= 0:
            return self._adapter.write(ids, vectors)
        if count := int(self._part * len(ids)):
            self._adapter.write(ids[:count], vectors[:count])
        raise InjectedFault
