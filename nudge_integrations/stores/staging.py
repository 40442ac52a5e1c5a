"""Writes that are kept until the end of a transaction, for stores that change many rows in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nudge_integrations.stores.store import Floats

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["StagedWrites"]


class StagedWrites:
    """The writing half of an adapter whose store changes any number of rows together; see `Transactional`."""

    _staged: dict[str, NDArray[Any]] | None = None

    def write(self, ids: Sequence[str], vectors: Floats) -> Sequence[str]:
        """Change vectors: at the end of the transaction where there is one, else now."""
        changes = dict(zip(ids, vectors, strict=True))
        if self._staged is None:
            self._commit(changes)
        else:
            self._staged.update(changes)
        return ids

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Change all rows of the block together at its end; none where the block raises."""
        staged: dict[str, NDArray[Any]] = {}
        self._staged = staged
        try:
            yield
        finally:
            self._staged = None
        if staged:
            self._commit(staged)

    def _commit(self, changes: dict[str, NDArray[Any]]) -> None:
        raise NotImplementedError
