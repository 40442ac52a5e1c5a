"""A process of its own that changes a store and is killed in the middle of it: applies, or rolls back, and dies.

It is forked from a server that has imported all clients already, so that hundreds of deaths take minutes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from live_stores import CLIENTS, KINDS

from nudge_integrations.stores import LiveStore
from nudge_integrations.stores.batch_writer import BatchWriter
from nudge_integrations.stores.journal import RolloutJournal, RowBatch

for _client in CLIENTS:
    with contextlib.suppress(ImportError):
        __import__(_client)


@dataclass(frozen=True)
class Death:
    """When a process is killed.

    Attributes:
        call: At which call that could change the store, counted from 1; 0 for never.
        after: Whether that call was carried out.
        delay: Seconds after it has begun, by somebody else; None for a death at a call.
    """

    call: int = 0
    after: bool = False
    delay: float | None = None


class DiesAt:
    """An adapter that kills its process at the k-th call that could change the store, and that may lie about a row."""

    def __init__(self, adapter: Any, death: Death, lies: bool = False) -> None:
        self._adapter, self._left, self._death, self._lies = adapter, death.call, death, lies
        for name in ("transaction", "search", "exclusive"):
            if hasattr(adapter, name):
                setattr(self, name, getattr(adapter, name))

    def describe(self) -> Any:
        return self._adapter.describe()

    def scan(self, rows: int, *, vectors: bool = True) -> Any:
        return self._adapter.scan(rows, vectors=vectors)

    def fetch(self, ids: Sequence[str]) -> Any:
        return self._adapter.fetch(ids)

    def write(self, ids: Sequence[str], vectors: Any) -> Any:
        self._left -= 1
        if not self._left and not self._death.after:
            os.kill(os.getpid(), signal.SIGKILL)
        skipped = int(self._lies and len(ids) > 1)
        self._lies = False
        self._adapter.write(ids[skipped:], vectors[skipped:])
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        return ids


def _base_is_lost(read: Callable[..., RowBatch]) -> Callable[..., RowBatch]:
    def instead(journal: RolloutJournal, name: str) -> RowBatch:
        batch = read(journal, name)
        return replace(batch, held=batch.base, base=batch.target)

    return instead


def _not_compared(writer: BatchWriter, batch: RowBatch) -> Any:
    every = np.ones(len(batch.ids), np.bool_)
    return every, every, np.zeros(len(batch.ids), np.bool_), batch.base


# What a rollout would be without one of the things that it does.
SABOTAGES: dict[str, Any] = {
    "no journal": lambda: patch.object(RolloutJournal, "read", _base_is_lost(RolloutJournal.read)),
    "no compare": lambda: patch.multiple(BatchWriter, _compare=_not_compared, _read_back=lambda *given: {}),
    "no read-back": lambda: patch.object(BatchWriter, "_read_back", lambda *given: {}),
}


@contextlib.contextmanager
def sabotaged(name: str | None) -> Iterator[None]:
    """Leave out one thing of a rollout for the block."""
    with contextlib.nullcontext() if name is None else SABOTAGES[name]():
        yield


def main(folder: Path, kind_name: str, action: str, death: Death, sabotage: str | None, ready: Connection) -> None:
    """Change the store, unless death comes first."""
    kind = next(kind for kind in KINDS if kind.name == kind_name)
    with sabotaged(sabotage):
        live = kind.open(folder, None)
        mortal = LiveStore(DiesAt(live.adapter, death), live.journal, live.retries)
        ready.send(True)
        mortal.resume() if action == "resume" else mortal.rollback()


def dies(folder: Path, kind_name: str, action: str, death: Death, sabotage: str | None = None) -> bool:
    """Run a process that changes a store; say whether it died on the way."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rollout_child"])
    # The server finds modules by this alone.
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))):
        forkserver.ensure_running()
    listener, ready = context.Pipe(duplex=False)
    process = context.Process(target=main, args=(folder, kind_name, action, death, sabotage, ready))
    process.start()
    ready.close()
    try:
        if death.delay is not None and listener.poll(600):
            process.join(death.delay)
            process.kill()
        process.join(600)
        assert process.exitcode in (0, -signal.SIGKILL), f"the process ended with {process.exitcode}"
        return process.exitcode != 0
    finally:
        process.kill()
        listener.close()


def deaths(batches: int, longest: float, seed: int) -> Iterator[Death]:
    """Yield every boundary of a batch, before and after it, among moments at random; for ever."""
    source = random.Random(seed)  # noqa: S311  no secret
    boundaries = [Death(call, after) for call in range(1, batches + 1) for after in (False, True)]
    source.shuffle(boundaries)
    while True:
        yield from boundaries[:4]
        yield from (Death(delay=source.uniform(0, longest)) for _ in range(4))
        boundaries = boundaries[4:] + boundaries[:4]
