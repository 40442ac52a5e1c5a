"""Kills of real processes at named steps, and what must hold of what they leave."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crash_writers import NEW, NEXT, OLD, SIZES, WRITERS
from file_steps import Moment

__all__ = ["CrashChild", "Kill", "Outcomes", "chosen", "every_kill", "started"]


@dataclass(frozen=True)
class Kill:
    """One way to die.

    Attributes:
        writer: Who writes.
        first: Whether nothing was there before.
        size: How many rows.
        point: The number of the step.
        moment: Before it, in the middle of it, or after it.
        step: The name of the step.
    """

    writer: str
    first: bool
    size: int
    point: int
    moment: Moment
    step: str

    def __str__(self) -> str:
        return (
            f"{self.writer}, {'first save' if self.first else 'overwrite'} of {self.size}, {self.moment} step "
            f"{self.point} ({self.step})"
        )


@dataclass(frozen=True)
class Outcomes:
    """The contents where no process is killed: before, after, and after the next save, with the names of all files."""

    old: Any
    new: Any
    next: Any
    names: list[str]


class CrashChild:
    """The other end of `crash_child`.

    Args:
        folder: Where it writes.
        process: The child.
    """

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder, self._process = folder, process
        self._known: dict[tuple[str, bool, int], Outcomes] = {}
        self._turns = 0

    def ask(self, name: str, **arguments: Any) -> Any:
        """Ask for one thing."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps((name, arguments)) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]

    def race(self, writer: str, *, sabotage: str | None = None, **counts: int) -> dict[str, Any]:
        """Let processes save and read at once; see `crash_child`."""
        answer: dict[str, Any] = self.ask(
            "race", folder=self._fresh(), writer=writer, size=3, sabotage=sabotage, **counts
        )
        return answer

    def _fresh(self) -> str:
        self._turns += 1
        return str(self.folder / str(self._turns))

    def _old(self, writer: str, size: int) -> str:
        path = self.folder / f"old {writer} {size}"
        if not path.exists():
            self.ask("saved", folder=str(path), writer=writer, states=[OLD], size=size)
        return str(path)

    def steps(self, writer: str, first: bool, size: int) -> list[str]:
        """Name the steps of a save."""
        states = [OLD] if first else [OLD, NEW]
        names: list[str] = self.ask("steps", folder=self._fresh(), writer=writer, states=states, size=size)
        return names

    def outcomes(self, writer: str, first: bool, size: int) -> Outcomes:
        """Read what whole saves leave."""
        if (writer, first, size) not in self._known:
            states = [OLD, NEXT] if first else [OLD, NEW, NEXT]
            found = self.ask("saved", folder=self._fresh(), writer=writer, states=states, size=size)
            self._known[writer, first, size] = Outcomes(*found[-4:])
        return self._known[writer, first, size]

    def fault(self, kill: Kill, sabotage: str | None = None) -> str | None:
        """Kill a process and say what is wrong with what it left, None where nothing is; a safeguard may be out."""
        kind, expected = WRITERS[kill.writer], self.outcomes(kill.writer, kill.first, kill.size)
        former = None if kill.first else self._old(kill.writer, kill.size)
        options: dict[str, Any] = {"writer": kill.writer, "state": OLD if kill.first else NEW, "size": kill.size}
        options |= {"point": kill.point, "moment": kill.moment, "former": former, "sabotage": sabotage}
        answer = self.ask("kill", folder=self._fresh(), **options)
        if not answer["killed"]:
            return f"{kill}: it was not killed"
        if isinstance(answer["left"], str):
            return f"{kill}: reading, or saving after it, fails: {answer['left']}"
        found, after, names = answer["left"]
        if not (found in (expected.old, expected.new) or (kind.grows and _grown(expected, found))):
            return f"{kill}: reads {found}, neither old ({expected.old}) nor new ({expected.new})"
        if not kind.grows and after != expected.next:
            return f"{kill}: the next save reads {after}, expected {expected.next}"
        left = sorted(set(names) - set(expected.names))
        return f"{kill}: {left} stay after the next save" if left and kind.tidy else None


def _grown(expected: Outcomes, found: Any) -> bool:
    """Tell whether what was found is the old state and a first part of what the new one adds."""
    if not isinstance(found, list):
        return False
    return bool(expected.new[: len(found)] == found and len(found) >= len(expected.old or []))


def every_kill(child: CrashChild, writers: Sequence[str] = tuple(WRITERS), sizes: Sequence[int] = SIZES) -> list[Kill]:
    """Name all kills: before every step, in the middle of everything that is written, and after the last step."""
    found = []
    for writer in writers:
        for first in (True, False):
            for size in sizes:
                names = child.steps(writer, first, size)
                for point, name in enumerate(names):
                    moments: tuple[Moment, ...] = ("before", "half") if name.startswith("write") else ("before",)
                    moments += ("after",) if point == len(names) - 1 else ()
                    found += [Kill(writer, first, size, point, moment, name) for moment in moments]
    return found


def chosen(kills: Sequence[Kill], count: int, seed: int) -> list[Kill]:
    """Return so many kills, each as often as any other."""
    rng = random.Random(seed)  # noqa: S311
    picked: list[Kill] = []
    while len(picked) < count:
        picked += rng.sample(kills, min(len(kills), count - len(picked)))
    return picked


@contextmanager
def started(folder: Path) -> Iterator[CrashChild]:
    """Start a child."""
    here = Path(__file__).parent
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    command = [sys.executable, str(here / "crash_child.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield CrashChild(folder, process)
        assert process.stdin is not None
        process.stdin.close()
