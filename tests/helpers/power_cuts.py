"""A disk whose power is cut: what may be left of a folder at any moment while something writes to it.

Every step of the writer is written down, and what a cut leaves is made of the steps before it:

* What was flushed is there. Content of a file that was not may be missing, cut off anywhere, or zeros from there on.
* Names that were not flushed with their folder may be there or not: in the order in which they changed (``"ordered"``,
  as a journal of the whole disk keeps them), in that order for each folder alone (``"by folder"``), or any of them
  without the others (``"any"``). A name that moves is never in two places, nor in none.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from file_steps import FileSteps, Step

__all__ = ["ORDERS", "Disk"]

ORDERS = ("ordered", "by folder", "any")


@dataclass(frozen=True)
class NameChange:
    """A name that came, went or moved.

    Attributes:
        time: When.
        number: The file or folder.
        gone: Folder and name where it was; None for a new one.
        come: Folder and name where it is from then on; None where it was removed.
    """

    time: int
    number: int
    gone: tuple[int, str] | None
    come: tuple[int, str] | None

    @property
    def folders(self) -> set[int]:
        """The folders whose names change."""
        return {place[0] for place in (self.gone, self.come) if place is not None}


class Disk(FileSteps):
    """Writes down every step in a folder.

    Args:
        root: The folder; what is in it now is on disk.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.time = 0
        self._held: dict[int, int] = {}  # open handles, so that no number of a file is used again
        self._changes: list[NameChange] = []
        self._content: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        self._flushed: dict[int, list[int]] = defaultdict(list)
        self._folders = {self._number(self.root)}
        for path in sorted(self.root.rglob("*")):
            self._changes.append(NameChange(0, self._number(path), None, self._place(path)))
            if path.is_dir():
                self._folders.add(self._number(path))
            else:
                self._content[self._number(path)] = [(0, path.read_bytes())]
        for number in self._held:
            self._flushed[number].append(0)

    def close(self) -> None:
        """Let go of what was held."""
        for handle in self._held.values():
            os.close(handle)

    def step(self, step: Step, perform: Callable[[bytes | None], Any]) -> Any:
        """Take a step and write it down."""
        self.time += 1
        source = step.paths[0]
        if step.kind == "fsync":
            self._note_content(source)
            self._flushed[self._number(source)].append(self.time)
            return None
        number = self._number(source) if os.path.lexists(source) else None
        if step.kind == "replace" and source.is_file():
            self._note_content(source)
        result = perform(None)
        if step.kind in ("create", "mkdir"):
            number = self._number(source)
            self._changes.append(NameChange(self.time, number, None, self._place(source)))
            if step.kind == "mkdir":
                self._folders.add(number)
        elif step.kind in ("unlink", "rmdir", "replace") and number is not None:
            come = self._place(step.paths[1]) if step.kind == "replace" else None
            self._changes.append(NameChange(self.time, number, self._place(source), come))
        if step.kind in ("create", "write", "truncate"):
            self._note_content(source)
        return result

    def after_a_cut(self, target: Path, rng: random.Random, order: str, *, at_the_end: bool = False) -> None:
        """Write to a new folder what may be left after a cut at a random moment, or after the last step."""
        now = self.time if at_the_end else rng.randint(0, self.time)
        names: dict[int, dict[str, int]] = defaultdict(dict)
        for change in self._kept(now, rng, order):
            if change.gone is not None and names[change.gone[0]].get(change.gone[1]) == change.number:
                del names[change.gone[0]][change.gone[1]]
            if change.come is not None:
                names[change.come[0]][change.come[1]] = change.number
        self._write(self._number(self.root), target, names, now, rng)

    def _kept(self, now: int, rng: random.Random, order: str) -> list[NameChange]:
        """Return the changes of names that are on disk."""
        made = [change for change in self._changes if change.time <= now]
        last = rng.randint(0, now)
        lasts: dict[int, int] = defaultdict(lambda: rng.randint(0, now))
        share = rng.choice((0.1, 0.5, 0.9))

        def is_kept(change: NameChange) -> bool:
            if any(change.time <= self._flush_of(folder, now) for folder in change.folders):
                return True
            if order == "any":
                return rng.random() < share
            return all(change.time <= (last if order == "ordered" else lasts[folder]) for folder in change.folders)

        return [change for change in made if is_kept(change)]

    def _write(self, number: int, target: Path, names: dict[int, dict[str, int]], now: int, rng: random.Random) -> None:
        target.mkdir()
        for name, inner in names[number].items():
            if inner in self._folders:
                self._write(inner, target / name, names, now, rng)
            else:
                (target / name).write_bytes(self._left_of(inner, now, rng))

    def _left_of(self, number: int, now: int, rng: random.Random) -> bytes:
        """Return what may be left of a file."""
        flushed = self._flush_of(number, now)
        whole = [content for time, content in self._content[number] if time <= flushed]
        kept = whole[-1] if whole else b""
        later = [content for time, content in self._content[number] if flushed < time <= now]
        if not later:
            return kept
        written = rng.choice([kept, *later])
        same = next((i for i, (one, other) in enumerate(zip(kept, written, strict=False)) if one != other), None)
        cut = rng.randint(min(len(kept), len(written)) if same is None else same, len(written))
        return rng.choice((written, written[:cut], written[:cut] + bytes(len(written) - cut)))

    def _flush_of(self, number: int, now: int) -> int:
        return max((time for time in self._flushed[number] if time <= now), default=-1)

    def _note_content(self, path: Path) -> None:
        if path.is_file():
            content, versions = path.read_bytes(), self._content[self._number(path)]
            if not versions or versions[-1][1] != content:
                versions.append((self.time, content))

    def _place(self, path: Path) -> tuple[int, str]:
        return self._number(path.parent), path.name

    def _number(self, path: Path) -> int:
        number = path.lstat().st_ino
        if number not in self._held:
            self._held[number] = os.open(path, os.O_RDONLY)
        return number
