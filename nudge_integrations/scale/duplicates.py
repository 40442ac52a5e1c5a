"""Hashes of any number of ids, and which of them come twice: on disk where there are many."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HashFile", "repeated"]

# So many hashes are sorted in memory at a time: 256 MiB.
_AT_ONCE = 1 << 25


def repeated(hashes: NDArray[np.uint64], candidates: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which hashes are among ascending candidates."""
    at = np.minimum(np.searchsorted(candidates, hashes), len(candidates) - 1)
    found: NDArray[np.bool_] = candidates[at] == hashes
    return found


class HashFile:
    """Collects hashes in temporary files, parted by their leading bits so that each part can be sorted in memory.

    Args:
        count: About how many there will be.
    """

    def __init__(self, count: int) -> None:
        self._bits = max(0, (count - 1) // _AT_ONCE).bit_length()
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._files: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        for _ in range(1 << self._bits):
            self._files.append(self._open.enter_context(tempfile.TemporaryFile()))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Keep some more; threads may."""
        if not self._bits:
            parts = [hashes]
        else:
            leading = hashes >> np.uint64(64 - self._bits)
            order = np.argsort(leading, kind="stable")
            bounds = np.searchsorted(leading[order], np.arange(1, 1 << self._bits))
            parts = np.split(hashes[order], bounds)
        with self._lock:
            for file, part in zip(self._files, parts, strict=True):
                file.write(part.tobytes())

    def repeated(self) -> NDArray[np.uint64]:
        """Return the hashes that were added more than once, ascending."""
        found = []
        for file in self._files:
            file.seek(0)
            hashes = np.sort(np.frombuffer(file.read(), np.uint64))
            found.append(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]))
        return np.concatenate(found)
