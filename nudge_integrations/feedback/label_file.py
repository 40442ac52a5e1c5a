"""Where a label log keeps its records: in memory, or in a file that other processes add to as well."""

from __future__ import annotations

import os
import secrets
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
        self._copied: Sequence[Record] = ()  # what this log was copied from
        self._cached: tuple[object, LogState] | None = None

    def _state(self) -> LogState:
        stamp = self._stamp()
        if self._cached is None or self._cached[0] != stamp:
            try:
                self._cached = stamp, LogState.of(self._read())
            except (KeyError, TypeError, ValueError) as error:
                raise CorruptArtifactError(
                    f"{self.path or 'the label log'} does not hold labels ({error}); restore it"
                ) from error
        return self._cached[1]

    def _stamp(self) -> object:
        if self.path is None:
            return len(self._records), id(self._records)
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _read(self) -> Sequence[Record]:
        return self._records if self.path is None else self._log.read().records

    @property
    def _log(self) -> Log:
        return Log(self.path or "", _FORMAT)

    def _append(self, records: list[Record], *, bound: bool = False) -> None:
        if not records:
            return
        if not self._state().name:
            records = [{"kind": "log", "id": secrets.token_hex(16)}, *records]
        if self.path is None:
            self._records = [*self._records, *records]
        else:
            self._log.append(records)
        size = size_of(self._records) if self.path is None else self.path.stat().st_size
        if bound and size > self.most_bytes:
            self._replace(lambda every: bounded(every, self.most_bytes))

    def _replace(self, keep: Callable[[Sequence[Record]], Iterable[Record]]) -> None:
        if self.path is None:
            self._records = list(keep(self._records))
        else:
            self._log.compact(keep)
        self._cached = None
