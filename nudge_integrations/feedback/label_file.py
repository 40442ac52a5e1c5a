"""Where a label log keeps its records: in memory, or in a file that other processes add to as well."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nudge_integrations.errors import CorruptArtifactError
from nudge_integrations.feedback.label_compaction import bounded, size_of
from nudge_integrations.feedback.label_records import LogState
from nudge_integrations.storage import Log

__all__ = ["LabelFile"]

_FORMAT = "nudge-integrations/labels"
_MOST_BYTES = 256 << 20

Record = Mapping[str, Any]


class LabelFile:
    """The records of a label log.

    Args:
        path: The file, created by the first record; None keeps everything in memory.
        most_bytes: About how large it may become.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, most_bytes: int = _MOST_BYTES) -> None:
        self.path = None if path is None else Path(path)
        self.most_bytes = most_bytes
        self._records: list[Record] = []
        self._changes = 0  # of the records in memory
        self._copied: Sequence[Record] = ()  # what this log was copied from
        self._cached: tuple[object, LogState] | None = None
        self._writing = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Return one moment, without the lock, which belongs to this process."""
        with self._writing:
            return {name: value for name, value in vars(self).items() if name != "_writing"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` returned."""
        vars(self).update(state, _writing=threading.RLock())

    def _state(self) -> LogState:
        stamp, cached = self._stamp(), self._cached
        if cached is None or cached[0] != stamp:
            try:
                cached = self._cached = stamp, LogState.of(self._read())
            except (KeyError, OverflowError, TypeError, ValueError) as error:
                raise CorruptArtifactError(
                    f"{self.path or 'the label log'} does not hold labels ({error}); restore it"
                ) from error
        return cached[1]

    def _stamp(self) -> object:
        if self.path is None:
            return self._changes
        try:
            status = os.stat(self.path)
        except OSError:  # reading says what is wrong, if anything is
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _read(self) -> Sequence[Record]:
        return self._records if self.path is None else self._log.read().records

    @property
    def _log(self) -> Log:
        return Log(self.path or "", _FORMAT)

    def _append(self, make: Callable[[LogState], list[Record]], *, bound: bool = False) -> list[Record]:
        """Add the records that are made of what is there, and return them; nobody else changes that meanwhile."""
        with self._writing:
            if not make(self._state()):
                return []
            added: list[Record] = []

            def named() -> list[Record]:
                state = self._state()
                added.extend(make(state))
                return [*([] if state.name else [{"kind": "log", "id": secrets.token_hex(16)}]), *added]

            if self.path is None:
                self._set([*self._records, *named()])
            else:
                self._log.append_made(named)
            size = size_of(self._records) if self.path is None else self.path.stat().st_size
            if bound and size > self.most_bytes:
                self._replace(lambda every: bounded(every, self.most_bytes))
            return added

    def _replace(self, keep: Callable[[Sequence[Record]], Iterable[Record]]) -> None:
        with self._writing:
            if self.path is None:
                self._set(list(keep(self._records)))
            else:
                self._log.compact(keep)

    def _set(self, records: list[Record]) -> None:
        self._records = records
        self._changes += 1  # last: who reads now counts what was read as older
