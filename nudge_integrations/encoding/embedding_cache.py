"""Vectors on disk, keyed by model, role and text: append-only files that a killed run leaves usable.

A folder for each model fingerprint holds shards, one for each process that wrote there, so that no two processes ever
write to one file. A shard is a header and records of one fixed size: key, vector, checksum. A record that was cut off
by a kill is not read, one that was damaged fails its checksum, and one whose vector no model gives (not finite, zero,
or of another dimension than this model's) is not believed either; in each case its text counts as new.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import struct
import threading
import uuid
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.errors import InputError
from nudge_integrations.storage import make_folder, open_regular

logger = logging.getLogger(__name__)

MAGIC = b"NUDGEVEC"
VERSION = 1
HEADER = struct.Struct("<8sII")
BLOCK = 1 << 23  # bytes of a shard that are read at once
MOST_DIMENSIONS = 1 << 20  # more than any encoder has; a damaged header may say anything


def text_key(role: str, text: str) -> bytes:
    """Build the 32-byte key of a text in a role, ``"query"`` or ``"document"``."""
    return hashlib.sha256(f"{role}\0{text}".encode("utf-8", "surrogatepass")).digest()


class EmbeddingCache:
    """The vectors of one model in one folder; safe to share between threads and between processes.

    Args:
        directory: The folder that holds the caches of all models; created where it is absent.
        fingerprint: What tells this model from any other.

    Raises:
        InputError: The folder cannot be created.
    """

    def __init__(self, directory: str | Path, fingerprint: str) -> None:
        self._open(Path(directory) / hashlib.sha256(fingerprint.encode("utf-8", "surrogatepass")).hexdigest()[:32])

    def _open(self, folder: Path) -> None:
        self.folder = folder
        try:
            make_folder(folder)
        except OSError as error:
            raise InputError(f"the cache folder {folder} cannot be created: {error}") from error
        self._place: dict[bytes, tuple[Path, int]] = {}
        self._seen: dict[Path, int] = {}
        self._dimension: dict[Path, int] = {}
        self._shard: tuple[int, Path] | None = None
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._place)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy, in this process or another, has a lock and a shard of its own, and looks at the folder itself.
        return type(self)._reopened, (self.folder,)

    @classmethod
    def _reopened(cls, folder: Path) -> Self:
        cache = cls.__new__(cls)
        cache._open(folder)
        return cache

    def read(self, keys: Sequence[bytes], dimension: int | None = None) -> dict[bytes, NDArray[np.float32]]:
        """Read the vectors, each (d,) float32, of those keys that are there, whoever wrote them.

        Args:
            keys: As `text_key` makes them.
            dimension: The model's d. Where it is not known, vectors of several dimensions are none at all.
        """
        with self._lock:
            self._look_around()
            wanted: dict[Path, list[tuple[int, bytes]]] = {}
            for key in dict.fromkeys(keys):
                if key in self._place:
                    shard, row = self._place[key]
                    if dimension not in (None, self._dimension[shard]):
                        continue
                    wanted.setdefault(shard, []).append((row, key))
            found: dict[bytes, NDArray[np.float32]] = {}
            for shard, places in wanted.items():
                found |= self._checked(shard, places)
            if len({len(vector) for vector in found.values()}) > 1:
                logger.warning("%s holds vectors of several dimensions; these texts are embedded again", self.folder)
                return {}
            return found

    def _checked(self, shard: Path, places: list[tuple[int, bytes]]) -> dict[bytes, NDArray[np.float32]]:
        """Read rows of a shard; forget those that are no longer there or no longer whole."""
        records = self._records(shard, [row for row, _ in places])
        lengths = np.linalg.norm(records["vector"].astype(np.float64), axis=1)
        usable: list[bool] = ((lengths > 0) & (lengths < np.inf)).tolist()
        found = {
            key: record["vector"]
            for record, (_, key), fine in zip(records, places, usable, strict=False)
            if fine and record["key"].tobytes() == key and zlib.crc32(record.tobytes()[:-4]) == record["checksum"]
        }
        if len(found) < len(places):
            logger.warning("%s: %d damaged records; their texts are embedded again", shard, len(places) - len(found))
            for _, key in places:
                if key not in found:
                    del self._place[key]
        return found

    def append(self, keys: Iterable[bytes], vectors: NDArray[np.float32]) -> None:
        """Add vectors (n, d) float32 under their keys; they outlive this process from the moment this returns."""
        with self._lock:
            kept = np.linalg.norm(vectors, axis=1) > 0  # a zero vector is not read again, so it need not be written
            if not kept.any():
                return
            records = np.zeros(int(kept.sum()), _record(vectors.shape[1]))
            records["key"] = [np.frombuffer(key, np.uint8) for key, fine in zip(keys, kept, strict=True) if fine]
            records["vector"] = vectors[kept]
            records["checksum"] = [zlib.crc32(record.tobytes()[:-4]) for record in records]
            try:
                path = self._write(records.tobytes(), vectors.shape[1])
            except OSError:
                # Half a record may be at its end: whatever comes next goes to another shard.
                self._shard = None
                raise
            start = self._seen[path]
            self._seen[path] = start + len(records)
            self._place |= {record["key"].tobytes(): (path, start + row) for row, record in enumerate(records)}

    def _write(self, data: bytes, dimension: int) -> Path:
        path = self._own_shard(dimension)
        with path.open("ab", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
        return path

    def _own_shard(self, dimension: int) -> Path:
        """Give the shard of this process, a new one where there is none, it was deleted, or this is a forked copy."""
        if self._shard is not None:
            process, path = self._shard
            if process == os.getpid() and path.exists() and self._dimension[path] == dimension:
                return path
        path = self.folder / f"{uuid.uuid4().hex}.vectors"
        with path.open("xb") as file:
            file.write(HEADER.pack(MAGIC, VERSION, dimension))
        self._shard = os.getpid(), path
        self._dimension[path], self._seen[path] = dimension, 0
        return path

    def _look_around(self) -> None:
        """Take in shards, and records of known shards, that appeared since the last look."""
        # Newer shards last: what they hold replaces what is damaged in older ones.
        for path in sorted(self.folder.glob("*.vectors"), key=_age):
            if path not in self._dimension:
                dimension = _read_header(path)
                if dimension is None:
                    continue
                self._dimension[path], self._seen[path] = dimension, 0
            start = self._seen[path]
            keys = self._keys(path, start)
            self._place |= {key: (path, row) for row, key in enumerate(keys, start=start)}
            self._seen[path] = start + len(keys)

    def _keys(self, path: Path, start: int) -> list[bytes]:
        """Read the keys of the whole records from one on; what is cut off at the end is not among them."""
        dtype = _record(self._dimension[path])
        keys: list[bytes] = []
        with _opened(path) as file:
            file.seek(HEADER.size + start * dtype.itemsize)
            while block := file.read(dtype.itemsize * max(1, BLOCK // dtype.itemsize)):
                found = np.frombuffer(block, dtype, len(block) // dtype.itemsize)["key"]
                written = found.any(axis=1)  # no text has the key 0: that is a hole, and nothing was written after it
                whole = len(found) if written.all() else int(written.argmin())
                keys += [key.tobytes() for key in found[:whole]]
                if whole * dtype.itemsize < len(block):
                    break
        return keys

    def _records(self, path: Path, rows: Sequence[int]) -> NDArray[Any]:
        """Read records, up to the first that is no longer there; never mapped, since a file may be cut off."""
        dtype = _record(self._dimension[path])
        found: list[bytes] = []
        with _opened(path) as file:
            for row in rows:
                file.seek(HEADER.size + row * dtype.itemsize)
                if len(data := file.read(dtype.itemsize)) < dtype.itemsize:
                    break
                found.append(data)
        return np.frombuffer(b"".join(found), dtype)


def _opened(path: Path) -> BinaryIO:
    """Open a shard; an empty file where it was deleted, or something else has its name."""
    try:
        return open_regular(path)
    except OSError:
        return io.BytesIO()


def _age(path: Path) -> tuple[int, str]:
    try:
        return path.stat().st_mtime_ns, path.name
    except OSError:  # deleted since it was listed, or a link to itself
        return 0, path.name


def _record(dimension: int) -> np.dtype[Any]:
    return np.dtype([("key", "u1", (32,)), ("vector", "<f4", (dimension,)), ("checksum", "<u4")])


def _read_header(path: Path) -> int | None:
    """Read a shard's dimension; None for one that was deleted, was cut off at birth, or is no shard."""
    with _opened(path) as file:
        header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    magic, version, dimension = HEADER.unpack(header)
    if magic != MAGIC or version != VERSION or not 0 < dimension <= MOST_DIMENSIONS:
        logger.warning("%s is not a shard of this version and is left alone", path)
        return None
    return int(dimension)
