"""An append-only log: a file of JSON lines, each with a checksum, that survives being killed at any moment.

    {"crc32": "0c9e84ba", "record": {"format": "nudge-integrations/example", "version": 1}}
    {"crc32": "5f3a1c20", "record": {"id": "d1"}}

The first line says what the log holds. A record that was appended is on disk when `Log.append` returns. A crash while
appending leaves at most a last line that is cut off: it is not read, and the next append removes it. On POSIX systems a
lock on the file keeps writers apart; readers need none.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nudge_integrations.errors import ArtifactError, CorruptArtifactError, InputError
from nudge_integrations.storage.atomic import make_folder, replacing, sync_folder, write_durably
from nudge_integrations.storage.reading import read_regular
from nudge_integrations.storage.sealing import check_version

if sys.platform != "win32":
    import fcntl

__all__ = ["Log", "LogContent"]

logger = logging.getLogger(__name__)

_LINE = re.compile(rb'\{"crc32": "([0-9a-f]{8})", "record": (.*)\}', re.DOTALL)
# A compaction replaces the file that a writer waits for; more of them in a row than this would be odd.
_MOST_REOPENINGS = 1000
# A log is read whole; what is larger should have been compacted long before.
_LARGEST = 1 << 30

Record = Mapping[str, Any]


@dataclass(frozen=True)
class LogContent:
    """The content of a log.

    Attributes:
        records: The records, in the order in which they were appended.
        torn: Whether the last line was cut off, as a crash leaves it, and is not among the records.
        damaged: Numbers of other lines that were left out because their checksum does not fit; the first line is 1.
    """

    records: list[dict[str, Any]]
    torn: bool = False
    damaged: tuple[int, ...] = ()


class Log:
    """An append-only log in one file, which is created by the first append.

    Args:
        path: The file.
        format: What the log holds, such as ``"nudge-integrations/questions"``.
        version: Of the format.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     log = Log(Path(folder) / "log.jsonl", "example")
    ...     log.append([{"id": 1}, {"id": 2}])
    ...     log.compact(lambda records: records[1:])
    ...     log.append([{"id": 3}])
    ...     log.read().records
    [{'id': 2}, {'id': 3}]
    """

    def __init__(self, path: str | os.PathLike[str], format: str, *, version: int = 1) -> None:
        self.path = Path(path)
        self._header = _line({"format": format, "version": version})
        self._format, self._version = format, version

    def read(self, *, skip_damaged: bool = False) -> LogContent:
        """Read the records; none where there is no file. Whole records are read while others append.

        Args:
            skip_damaged: Leave out damaged lines, with a warning, instead of refusing the log.

        Raises:
            CorruptArtifactError: If a line is damaged; names it.
            ArtifactError: If the file is no log of this format.
        """
        if not os.path.lexists(self.path):
            return LogContent([])
        self._check_kind()
        try:
            return self._parse(read_regular(self.path, most=_LARGEST), skip_damaged)
        except OSError as error:
            raise ArtifactError(f"{self.path} cannot be read as a log ({self._format}): {error}") from error

    def append(self, records: Iterable[Record]) -> None:
        """Add records at the end; they are on disk when this returns.

        Raises:
            InputError: If a record is no JSON object; nothing was written then.
            ArtifactError: If the file is no log of this format.
            OSError: If the disk refuses; nothing was added then.
        """
        data = b"".join(map(_line, records))
        self._add(lambda: data)

    def append_made(self, make: Callable[[], Iterable[Record]]) -> None:
        """Do what `append` does with records that are made while no other process writes.

        Raises:
            InputError, ArtifactError, OSError: As `append`.
        """
        self._add(lambda: b"".join(map(_line, make())))

    def _add(self, lines: Callable[[], bytes]) -> None:
        with self._locked() as file:
            end = self._whole_end(file)
            data = lines()
            file.seek(end)
            file.truncate()
            try:
                rest = memoryview(data if end else self._header + data)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(end)
                raise
            if not end:
                sync_folder(self.path.parent)

    def compact(self, keep: Callable[[list[dict[str, Any]]], Iterable[Record]]) -> None:
        """Replace all records by those that a function of them returns, all at once; nobody appends meanwhile.

        Raises:
            InputError: If a record is no JSON object.
            CorruptArtifactError: If a line is damaged; names it. The log is then as it was.
            ArtifactError: If the file is no log of this format.
        """
        with self._locked() as file:
            records = self._parse(file.read(), skip_damaged=False).records
            lines = [self._header, *(_line(record) for record in keep(records))]
            with replacing(self.path) as beside:
                write_durably(beside, lines)

    def _parse(self, data: bytes, skip_damaged: bool) -> LogContent:
        # Empty, or cut off while the first line was written; a power cut may leave zeros from there on.
        if self._header.startswith(data.rstrip(b"\0")):
            return LogContent([], torn=data not in (b"", self._header))
        self._check_header(data)
        *lines, last = data[len(self._header) :].split(b"\n")
        found = [_record(line) for line in lines]
        whole = _record(last)
        torn = bool(last) and whole is None
        if torn:
            logger.warning(
                "%s: the last line is cut off (by a crash, or it is being written) and is left out", self.path
            )
        damaged = tuple(number for number, record in enumerate(found, start=2) if record is None)
        if damaged and not skip_damaged:
            raise CorruptArtifactError(
                f"{self.path}: line {damaged[0]} is damaged (its checksum does not fit), {len(damaged)} in all; "
                "restore the file, or remove the line if its record can be spared"
            )
        if damaged:
            logger.warning("%s: %d lines are cut off or damaged and are left out", self.path, len(damaged))
        return LogContent([record for record in (*found, whole) if record is not None], torn, damaged)

    def _check_kind(self) -> None:
        if os.path.lexists(self.path) and not self.path.is_file():
            raise ArtifactError(f"{self.path} is no file, expected a log ({self._format}): choose another path")
        if self.path.exists() and (size := self.path.stat().st_size) > _LARGEST:
            raise ArtifactError(f"{self.path} has {size} bytes, which no log ({self._format}) has: choose another path")

    def _check_header(self, start: bytes) -> None:
        if not start.startswith(self._header):
            said = _record(start.partition(b"\n")[0]) or {}
            if said.get("format") == self._format:
                check_version(said.get("version"), self._version, self.path)
            raise ArtifactError(
                f"{self.path} is no log of this format ({self._format}), or its first line is damaged; "
                "nothing was written: choose another path"
            )

    def _whole_end(self, file: io.FileIO) -> int:
        """Return where the next line starts, which is before a last line that was cut off."""
        start = file.read(len(self._header))
        if start != self._header:
            start += file.read()
            if self._header.startswith(start.rstrip(b"\0")):
                return 0
        self._check_header(start)
        size = file.seek(0, os.SEEK_END)
        end, tail = size, b""
        while b"\n" not in tail:  # the header ends in one
            end = max(0, end - 65536)
            file.seek(end)
            tail = file.read(size - end)
        last = tail[tail.rindex(b"\n") + 1 :]
        if _record(last) is None:
            return size - len(last)
        file.write(b"\n")  # all but its end was there
        return size + 1

    @contextmanager
    def _locked(self) -> Iterator[io.FileIO]:
        """Open the file for reading and writing while no other process does."""
        make_folder(self.path.parent)
        self._check_kind()
        for _ in range(_MOST_REOPENINGS):
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            with io.FileIO(handle, "rb+") as file:
                if sys.platform != "win32":
                    fcntl.flock(handle, fcntl.LOCK_EX)
                if _same_file(handle, self.path):
                    yield file
                    return
        raise ArtifactError(f"{self.path} was replaced {_MOST_REOPENINGS} times while waiting for it; try again later")


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _line(record: Record) -> bytes:
    if not isinstance(record, Mapping):
        raise InputError(f"a record of a log must be a JSON object; got {type(record).__name__}")
    try:
        payload = json.dumps(dict(record), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"a record of a log must be a JSON object: {error}") from error
    return b'{"crc32": "%08x", "record": %s}\n' % (zlib.crc32(payload), payload)


def _record(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line without its end; None if it is not whole."""
    match = _LINE.fullmatch(line)
    if match is None or int(match[1], 16) != zlib.crc32(match[2]):
        return None
    try:
        record = json.loads(match[2])
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
