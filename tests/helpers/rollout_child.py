"""A process of its own that changes a store and is killed in the middle of it: applies, or rolls back, and dies."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from live_stores import KINDS

from nudge_integrations.stores import LiveStore


class DiesAt:
    """An adapter that kills its process at the k-th call that could change the store, before or after it."""

    def __init__(self, adapter: Any, calls: int, after: bool) -> None:
        self._adapter, self._left, self._after = adapter, calls, after
        for name in ("transaction", "search", "exclusive"):
            if hasattr(adapter, name):
                setattr(self, name, getattr(adapter, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def describe(self) -> Any:
        return self._adapter.describe()

    def scan(self, rows: int, *, vectors: bool = True) -> Any:
        return self._adapter.scan(rows, vectors=vectors)

    def fetch(self, ids: Sequence[str]) -> Any:
        return self._adapter.fetch(ids)

    def write(self, ids: Sequence[str], vectors: Any) -> Any:
        self._left -= 1
        if not self._left and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        written = self._adapter.write(ids, vectors)
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        return written


if __name__ == "__main__":
    folder, kind_name, action, calls, moment = sys.argv[1:]
    kind = next(kind for kind in KINDS if kind.name == kind_name)
    live = kind.open(Path(folder), None)
    mortal = LiveStore(DiesAt(live.adapter, int(calls), moment == "after"), live.journal, live.retries)
    mortal.resume() if action == "resume" else mortal.rollback()
