"""A process that has the writers ready and lets copies of itself write, die and read: one JSON line in, one out.

Copies are real processes, which fork in a few milliseconds; the one that reads has never written.
"""

from __future__ import annotations

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

import numpy as np
from copies import begun, ended, in_a_copy
from crash_writers import NEW, NEXT, OLD, WRITERS, names_in
from file_steps import Killer, StepNames
from label_races import feedback_race, label_race
from sabotages import sabotaged

from nudge_integrations.encoding.embedding_cache import EmbeddingCache, text_key


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
        return in_a_copy(lambda: saved(Path(folder), writer, states, size))

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

        return in_a_copy(work)

    def kill(
        self,
        folder: str,
        former: str | None,
        writer: str,
        state: int,
        size: int,
        point: int,
        moment: str,
        sabotage: str | None,
    ) -> Any:
        """Copy a folder, save to it and die at one step; then read it, save the next state and read again."""
        target = Path(folder)
        if former is None:
            target.mkdir()
        else:
            shutil.copytree(former, target)

        def dying() -> None:
            with sabotaged(sabotage), Killer(target, point, moment).watching():  # type: ignore[arg-type]
                WRITERS[writer].save(target, state, size)

        def going_on() -> Any:
            with sabotaged(sabotage):
                return saved(target, writer, [NEXT], size)

        killed = ended(*begun(dying))[0] == signal.SIGKILL
        try:
            left = in_a_copy(going_on)
        except RuntimeError as error:
            left = str(error)
        shutil.rmtree(target)
        return {"killed": killed, "left": left}

    def race(
        self, folder: str, writer: str, readers: int, writers: int, saves: int, size: int, sabotage: str | None
    ) -> Any:
        """Save from several processes at once while others read; return how often they read, and what went wrong."""
        kind, target = WRITERS[writer], Path(folder)
        whole = self.saved(folder, writer, [OLD, NEW], size)
        stop = target.with_name(f"{target.name} stop")

        def writing() -> list[str]:
            for turn in range(saves):
                kind.save(target, turn % 2, size)
            return ["0"]

        def reading() -> list[str]:
            faults: list[str] = []
            loads = 0
            while not stop.exists() and len(faults) < 5:
                if (found := digest(kind.content(target))) not in whole[1:3]:
                    faults.append(f"reads {found}")
                loads += 1
            return [f"{loads}", *faults]

        def guarded(work: Callable[[], list[str]]) -> Callable[[], list[str]]:
            def call() -> list[str]:
                with sabotaged(sabotage):
                    try:
                        return work()
                    except Exception:
                        return ["0", traceback.format_exc(limit=-4)]

            return call

        read = [begun(guarded(reading)) for _ in range(readers)]
        wrote = [begun(guarded(writing)) for _ in range(writers)]
        counts = [ended(*one)[1] for one in wrote]
        stop.touch()
        counts += [ended(*one)[1] for one in read]
        faults = [fault for count in counts for fault in count[1:]]
        left = self.saved(folder, writer, [NEXT], size)
        return {"loads": sum(int(count[0]) for count in counts), "faults": faults, "names": left[-1]}

    def label_race(self, folder: str, writers: int, turns: int, sabotage: str | None) -> Any:
        """See `label_races`."""
        return label_race(Path(folder), writers, turns, sabotage)

    def feedback_race(self, folder: str, writers: int, turns: int, sabotage: str | None) -> Any:
        """See `label_races`."""
        return feedback_race(Path(folder), writers, turns, sabotage)

    def cache_race(self, folder: str, writers: int, appends: int, sabotage: str | None) -> Any:
        """Append to one cache from several processes; return how many vectors are missing or wrong at the end."""

        def rows(writer: int, turn: int) -> tuple[list[bytes], Any]:
            keys = [text_key("query", f"{writer} {turn} {row}") for row in range(5)]
            return keys, np.full((5, 16), 1 + writer + turn, np.float32)

        def writing(writer: int) -> Callable[[], None]:
            def work() -> None:
                with sabotaged(sabotage):
                    cache = EmbeddingCache(folder, "toy")
                    for turn in range(appends):
                        cache.append(*rows(writer, turn))
                        cache.read(rows(writer, turn)[0])

            return work

        def read() -> int:
            cache, wrong = EmbeddingCache(folder, "toy"), 0
            for writer in range(writers):
                for turn in range(appends):
                    keys, vectors = rows(writer, turn)
                    found = cache.read(keys)
                    wrong += sum(
                        k not in found or not np.array_equal(found[k], v) for k, v in zip(keys, vectors, strict=True)
                    )
            return wrong

        errors = []
        for one in [begun(writing(writer)) for writer in range(writers)]:
            try:
                ended(*one)
            except RuntimeError as error:
                errors.append(str(error))
        return {"wrong": in_a_copy(read), "errors": errors}


def main() -> None:
    """Answer until nobody asks."""
    logging.disable(logging.WARNING)
    # What a process wrote is there after its death, flushed to disk or not; `power_cuts` is about the rest.
    setattr(os, "fsync", lambda handle: None)  # noqa: B010
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
