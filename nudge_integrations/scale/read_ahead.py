"""Several iterators at once, each in a thread, with what they yield in order and bounded in number."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

__all__ = ["read_ahead"]

T = TypeVar("T")

# How many items of an iterator wait to be used, and how often a thread looks whether it is still wanted.
_WAITING, _SECONDS = 4, 0.1


class _Ended:
    """Follows the last item; holds the error that ended it, if one did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def read_ahead(sources: Sequence[Iterator[T]], count: int) -> Iterator[T]:
    """Yield what iterators yield, one iterator after the other, while up to ``count`` of them run in threads.

    Raises:
        BaseException: What an iterator raises, in its place.

    >>> list(read_ahead([iter("ab"), iter("c")], 2))
    ['a', 'b', 'c']
    """
    if count <= 1:
        for source in sources:
            yield from source
        return
    stopped = threading.Event()
    waiting: list[queue.Queue[T | _Ended]] = [queue.Queue(_WAITING) for _ in sources]
    with ThreadPoolExecutor(count) as pool:
        try:
            for source, into in zip(sources, waiting, strict=True):
                pool.submit(_run, source, into, stopped)
            for into in waiting:
                while not isinstance(item := into.get(), _Ended):
                    yield item
                if item.error is not None:
                    raise item.error
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


def _run(source: Iterator[T], into: queue.Queue[T | _Ended], stopped: threading.Event) -> None:
    try:
        for item in source:
            if not _put(into, item, stopped):
                return
        _put(into, _Ended(), stopped)
    except BaseException as error:
        _put(into, _Ended(error), stopped)


def _put(into: queue.Queue[T | _Ended], item: T | _Ended, stopped: threading.Event) -> bool:
    """Put an item once there is room; False where nobody wants it any more."""
    while not stopped.is_set():
        with suppress(queue.Full):
            into.put(item, timeout=_SECONDS)
            return True
    return False
