"""Run one job in a process of its own: its seconds, and its peak anonymous memory as another process sees it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PAUSE = 0.004
MIB = 1024.0

Job = Callable[..., dict[str, Any]]


@dataclass
class Clock:
    """The report of a job: the parts to be timed, and where its inputs are in memory."""

    connection: Connection
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def timed(self, call: Callable[[], Any], repeats: int = 1) -> Any:
        """Call several times, keep every time and return the last answer; the memory peak is taken over all of them."""
        self.connection.send(("start", None))
        for _ in range(repeats):
            start, start_cpu = time.perf_counter(), time.process_time()
            answer = call()
            self.seconds.append(time.perf_counter() - start)
            self.cpu_seconds.append(time.process_time() - start_cpu)
        self.connection.send(("stop", None))
        return answer


def anonymous_mib(process: int) -> float:
    """Anonymous memory of a process now, in MiB (RssAnon: neither files nor memory maps of files)."""
    with open(f"/proc/{process}/status", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / MIB
    return 0.0


class _Watch(threading.Thread):
    """Sample a process's anonymous memory until told to stop."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.peak = 0.0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(PAUSE):
            self.peak = max(self.peak, anonymous_mib(self.process))


def _child(connection: Connection, job: Job, threads: int, arguments: dict[str, Any]) -> None:
    import logging

    import _entry
    import torch

    # Imported here, so that imports count neither as seconds nor as memory of a call.
    with contextlib.suppress(ImportError):
        _entry.select()
    torch.set_num_threads(threads)
    logging.getLogger("nudge_integrations").setLevel(logging.ERROR)
    connection.send(("imported", None))
    connection.recv()
    clock = Clock(connection)
    answer = job(clock, **arguments)
    connection.send(("answer", {**answer, "all_seconds": clock.seconds, "all_cpu_seconds": clock.cpu_seconds}))


@contextlib.contextmanager
def _importing_from(folder: Path | None) -> Iterator[None]:
    """A process started meanwhile looks here first; it takes over this one's ``sys.path``."""
    if folder is None:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def in_own_process(job: Job, threads: int, *, package: Path | None = None, **arguments: Any) -> dict[str, Any]:
    """Run ``job(clock, **arguments)`` in a fresh process and return its answer with seconds and memory.

    ``package`` is a folder to import the package from, where another version of it is measured.

    ``seconds`` is the median of the timed calls; ``memory_mib`` is the peak during them, ``over_import_mib`` and
    ``over_inputs_mib`` are that peak less what the process held after its imports and after loading its inputs.
    """
    os.environ.update({name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")})
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_child, args=(there, job, threads, arguments))
    with _importing_from(package):
        process.start()
    there.close()
    try:
        return _collect(here, process.pid or 0)
    finally:
        process.join(timeout=60)


def _collect(connection: Connection, process: int) -> dict[str, Any]:
    imported = loaded = peak = 0.0
    watch = _Watch(process)
    while True:
        event, value = connection.recv()
        if event == "imported":
            imported = anonymous_mib(process)
            connection.send("go")
        elif event == "start":
            loaded = anonymous_mib(process)
            watch = _Watch(process)
            watch.start()
        elif event == "stop":
            watch.stopped.set()
            peak = max(peak, loaded, watch.peak)  # a short call may end before the first sample
        else:
            seconds = sorted(value["all_seconds"])
            memory = {"memory_mib": peak, "over_import_mib": peak - imported, "over_inputs_mib": peak - loaded}
            return {**value, "seconds": seconds[len(seconds) // 2], **memory}
