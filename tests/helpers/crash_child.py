"""A process that has the writers ready and lets copies of itself write, die and read: one JSON line in, one out.

Copies are real processes, which fork in a few milliseconds; the one that reads has never written.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import logging
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crash_writers import NEXT, WRITERS, names_in
from file_steps import Killer, StepNames
from sabotages import SABOTAGES


def in_a_copy(work: Callable[[], Any]) -> tuple[int, Any]:
    """Run something in a copy of this process; return the signal that ended it, or 0, and what came of it."""
    read, write = os.pipe()
    process = os.fork()
    if not process:
        os.close(read)
        try:
            result = {"value": work()}
        except Exception:
            result = {"error": traceback.format_exc(limit=-6)}
        with os.fdopen(write, "w") as pipe:
            json.dump(result, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    status = os.waitpid(process, 0)[1]
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status), None
    answer = json.loads(said)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return 0, answer["value"]


def digest(content: Any) -> Any:
    """Shorten what was read: None stays, a list keeps its length, so that a first part of it is told."""
    if isinstance(content, list):
        return [hashlib.sha256(repr(entry).encode()).hexdigest()[:8] for entry in content]
    return content if content is None else hashlib.sha256(repr(content).encode()).hexdigest()


def saved(folder: Path, writer: str, states: list[int], size: int) -> list[Any]:
    """Save states one after the other; return what is read before the first, after each, and in the end all names."""
    kind = WRITERS[writer]
    found = [digest(kind.content(folder))]
    for state in states:
        kind.save(folder, state, size)
        found.append(digest(kind.content(folder)))
    return [*found, names_in(folder)]


class Child:
    """Answers one question at a time."""

    def saved(self, folder: str, writer: str, states: list[int], size: int) -> Any:
        """Save in another process."""
        return in_a_copy(lambda: saved(Path(folder), writer, states, size))[1]

    def steps(self, folder: str, writer: str, states: list[int], size: int) -> Any:
        """Save states, and name every step of the last."""

        def work() -> list[str]:
            Path(folder).mkdir(exist_ok=True)
            for state in states[:-1]:
                WRITERS[writer].save(Path(folder), state, size)
            names = StepNames(Path(folder))
            with names.watching():
                WRITERS[writer].save(Path(folder), states[-1], size)
            return names.names

        return in_a_copy(work)[1]

    def kill(self, folder: str, former: str | None, writer: str, state: int, size: int, point: int, moment: str) -> Any:
        """Copy a folder, save to it and die at one step; then read it, save the next state and read again."""
        target = Path(folder)
        if former is None:
            target.mkdir()
        else:
            shutil.copytree(former, target)

        def dying() -> None:
            with Killer(target, point, moment).watching():  # type: ignore[arg-type]
                WRITERS[writer].save(target, state, size)

        ended = in_a_copy(dying)[0]
        try:
            left = self.saved(folder, writer, [NEXT], size)
        except RuntimeError as error:
            left = str(error)
        shutil.rmtree(target)
        return {"killed": ended == signal.SIGKILL, "left": left}


def main() -> None:
    """Answer until nobody asks."""
    logging.disable(logging.WARNING)
    # What a process wrote is there after its death, flushed to disk or not; `power_cuts` is about the rest.
    os.fsync = lambda handle: None
    with contextlib.ExitStack() as stack:
        if len(sys.argv) > 1:
            stack.enter_context(SABOTAGES[sys.argv[1]].applied())
        child = Child()
        gc.freeze()
        print("ready", flush=True)  # noqa: T201
        for line in sys.stdin:
            name, arguments = json.loads(line)
            try:
                answer = {"value": getattr(child, name)(**arguments)}
            except Exception:
                answer = {"error": traceback.format_exc()}
            print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
