"""Independent parts of a computation in threads: as many as torch may use, each with one thread of its own.

Most arrays here are so small that several threads within one operation only wait for each other. NumPy and torch let
other threads run while they compute, so that whole blocks of queries go side by side instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

__all__ = ["in_threads", "share_of", "thread_count"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# More would mostly wait for the interpreter, and each has the less memory for its blocks.
_MOST = 4

_thread = threading.local()
_lock = threading.Lock()
_running: list[int] = []


def thread_count() -> int:
    """Return how many threads `in_threads` would use: torch's number up to 4, and 1 in a thread that it has started."""
    return 1 if hasattr(_thread, "beside") else min(_MOST, torch.get_num_threads())


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what a function makes of each item, in their order; it must not change what the items share.

    What it raises is raised here. While threads run, torch is held to one thread an operation.

    Example:
        >>> in_threads(lambda number: number * number, range(4))
        [0, 1, 4, 9]
    """
    every = list(items)
    workers = min(len(every), thread_count())
    if workers < 2:
        return [function(item) for item in every]
    with _one_thread_each(), ThreadPoolExecutor(workers, initializer=_start, initargs=(workers,)) as threads:
        return list(threads.map(function, every))


def share_of(memory: int) -> int:
    """Return the part of a bound on memory that each of the threads that run side by side may take."""
    return memory // getattr(_thread, "beside", thread_count())


def _start(beside: int) -> None:
    _thread.beside = beside


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Hold torch to one thread an operation; the last of several callers gives it back its own number."""
    with _lock:
        _running.append(torch.get_num_threads() if not _running else _running[0])
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            number = _running.pop()
            if not _running:
                torch.set_num_threads(number)
