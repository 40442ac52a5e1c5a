"""A disk whose power is cut: what may be left of a folder at any moment while something writes to it.

The model: names in one folder reach the disk in order, those of different folders in any; whatever was flushed is
there; a file that was not flushed may be empty, cut off or whole.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Disk"]


@dataclass(frozen=True)
class Moment:
    """What is in memory: folder -> name -> file or folder, and file -> content; and what has just been flushed."""

    folders: dict[int, dict[str, int]]
    files: dict[int, bytes]
    flushed: int | None


class Disk:
    """Watches a folder while calls of ``os`` change it.

    Args:
        root: The folder; what is in it now is on disk.
        patch: Where the calls are replaced.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._held: dict[int, int] = {}  # open handles, so that no number of a file is used again
        self.moments = [self._moment(None)]
        for name in ("replace", "unlink", "mkdir", "rmdir", "fsync"):
            patch.setattr(os, name, self._watched(getattr(os, name), flushes=name == "fsync"))

    def close(self) -> None:
        """Let go of what was held."""
        for handle in self._held.values():
            os.close(handle)

    def after_a_cut(self, target: Path, rng: random.Random, *, at_the_end: bool = False) -> None:
        """Write to a new folder what may be left after a cut at a random moment, or after the last call."""
        now = len(self.moments) - 1 if at_the_end else rng.randrange(len(self.moments))
        self._write(self.root.stat().st_ino, target, now, rng)

    def _write(self, number: int, target: Path, now: int, rng: random.Random) -> None:
        target.mkdir()
        flushed = self._last_flush(number, now, first=self._first(number))
        entries = self.moments[rng.randint(flushed, now)].folders.get(number, {})
        for name, inner in entries.items():
            if any(inner in moment.folders for moment in self.moments):
                self._write(inner, target / name, now, rng)
            else:
                (target / name).write_bytes(self._content(inner, now, rng))

    def _content(self, number: int, now: int, rng: random.Random) -> bytes:
        first = self._first(number)
        latest = next(m.files[number] for m in reversed(self.moments[: now + 1]) if number in m.files)
        flushed = self._last_flush(number, now, first=-1)
        if first == 0 or flushed >= 0:
            return rng.choice((self.moments[max(flushed, 0)].files.get(number, latest), latest))
        return rng.choice((b"", latest[: len(latest) // 2], latest))

    def _first(self, number: int) -> int:
        return next(i for i, m in enumerate(self.moments) if number in m.folders or number in m.files)

    def _last_flush(self, number: int, now: int, *, first: int) -> int:
        return next((i for i in range(now, first, -1) if self.moments[i].flushed == number), first)

    def _watched(self, original: Callable[..., Any], *, flushes: bool) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.moments.append(self._moment(None))
            flushed = os.fstat(arguments[0]).st_ino if flushes else None
            result = None if flushes else original(*arguments, **options)
            self.moments.append(self._moment(flushed))
            return result

        return call

    def _moment(self, flushed: int | None) -> Moment:
        folders: dict[int, dict[str, int]] = {}
        files: dict[int, bytes] = {}
        for folder in (self.root, *(path for path in self.root.rglob("*") if path.is_dir())):
            folders[self._number(folder)] = {path.name: self._number(path) for path in folder.iterdir()}
        for path in self.root.rglob("*"):
            if path.is_file():
                files[self._number(path)] = path.read_bytes()
        return Moment(folders, files, flushed)

    def _number(self, path: Path) -> int:
        number = path.stat().st_ino
        if number not in self._held:
            self._held[number] = os.open(path, os.O_RDONLY)
        return number
