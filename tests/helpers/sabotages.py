"""Safeguards, each taken out: what a test must then notice."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

__all__ = ["SABOTAGES", "Sabotage", "sabotaged"]


@dataclass(frozen=True)
class Sabotage:
    """One safeguard that is taken out.

    Attributes:
        place: The name that is replaced: module, colon, attribute.
        replacement: Makes what is put there, from what was there.
    """

    place: str
    replacement: Callable[[Any], Any]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Leave the safeguard out for the length of a block."""
        module, _, path = self.place.partition(":")
        owner: Any = importlib.import_module(module)
        *outer, name = path.split(".")
        for part in outer:
            owner = getattr(owner, part)
        original = vars(owner)[name]
        setattr(owner, name, self.replacement(original))
        try:
            yield
        finally:
            setattr(owner, name, original)


def sabotaged(name: str | None) -> contextlib.AbstractContextManager[None]:
    """Leave one safeguard out for the length of a block; None leaves out none."""
    return contextlib.nullcontext() if name is None else SABOTAGES[name].applied()


def _nothing(original: Any) -> Any:
    return lambda *arguments, **options: None


@contextmanager
def _in_place(path: Any) -> Iterator[Path]:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    yield Path(path)


def _under_its_own_name(original: Any) -> Any:
    def stage(folder: Path, name: str, pieces: Any) -> Any:
        entry = original(folder, name, pieces)
        os.replace(folder / f".{name}.{entry['sha256']}", folder / name)
        return entry

    return stage


def _without_flushing(original: Any) -> Any:
    def write(path: Path, pieces: Any) -> None:
        with path.open("wb") as file:
            for piece in pieces:
                file.write(piece.encode() if isinstance(piece, str) else piece)

    return write


def _of_files_alone(original: Any) -> Any:
    return lambda path, flags: None if flags == os.O_RDONLY else original(path, flags)


def _without_checksum(original: Any) -> Any:
    def unseal(data: bytes, path: Path) -> Any:
        content = json.loads(data)
        content.pop("sha256", None)
        return content

    return unseal


def _any_line(original: Any) -> Any:
    def record(line: bytes) -> Any:
        _, _, payload = line.partition(b'"record": ')
        try:
            return json.loads(payload[:-1])
        except ValueError:
            return None

    return record


def _first_marker(original: Any) -> Any:
    def remove(folder: Path) -> None:
        (folder / "saved-by.json").unlink(missing_ok=True)
        original(folder)

    return remove


def _any_kind(original: Any) -> Any:
    return lambda path: io.FileIO(path, "r")


def _of_any_size(original: Any) -> Any:
    return lambda path, *, most: Path(path).read_bytes()


def _written(path: Any, pieces: Any) -> None:
    with _in_place(path) as target, target.open("wb") as file:
        for piece in pieces:
            file.write(piece.encode() if isinstance(piece, str) else piece)
            file.flush()


def _copied_half(source: Path, target: Path) -> None:
    data = source.read_bytes()
    source.unlink()
    with target.open("wb") as file:
        file.write(data)


def _all_parts(folder: Path) -> None:
    for path in Path(folder).glob(".*.part"):
        path.unlink(missing_ok=True)


SABOTAGES = {
    # What a kill, or a power cut, would leave.
    "files are written in place": Sabotage("nudge_integrations.dataset.files:write_atomically", lambda _: _written),
    "files of a folder are written in place": Sabotage(
        "nudge_integrations.storage.manifest:_stage", _under_its_own_name
    ),
    "a save does not settle": Sabotage("nudge_integrations.storage.manifest:_settle", _nothing),
    "parts that killed processes left stay": Sabotage("nudge_integrations.storage.atomic:remove_parts", _nothing),
    "staged files of other names stay": Sabotage(
        "nudge_integrations.storage.manifest:_is_named_by_its_hash", lambda _: lambda path, sha256: False
    ),
    "the marker of a folder goes first": Sabotage("nudge_integrations.pipeline.index_format:_remove", _first_marker),
    "a torn line is appended to": Sabotage(
        "nudge_integrations.storage.log:Log._whole_end", lambda _: lambda self, file: file.seek(0, os.SEEK_END)
    ),
    "batches are copied, not moved": Sabotage("nudge_integrations.stores.journal:move_durably", lambda _: _copied_half),
    "logs are replaced in place": Sabotage("nudge_integrations.storage.log:replacing", lambda _: _in_place),
    # What a power cut alone would leave.
    "files are not flushed": Sabotage("nudge_integrations.storage.manifest:write_durably", _without_flushing),
    "folders are not flushed": Sabotage("nudge_integrations.storage.atomic:_sync", _of_files_alone),
    "files that are replaced are not flushed": Sabotage("nudge_integrations.storage.atomic:_sync_file", _nothing),
    # What damage would go unseen.
    "files are not hashed": Sabotage(
        "nudge_integrations.storage.manifest:_open",
        lambda original: lambda folder, name, entry, verify: original(folder, name, entry, False),
    ),
    "manifests are not hashed": Sabotage("nudge_integrations.storage.manifest:unseal", _without_checksum),
    "lines of a log have no checksum": Sabotage("nudge_integrations.storage.log:_record", _any_line),
    "cached vectors have no checksum": Sabotage(
        "nudge_integrations.encoding.embedding_cache:zlib", lambda _: SimpleNamespace(crc32=lambda data: 0)
    ),
    "values of a nudge are not checked": Sabotage("nudge_integrations.artifact.record:check_values", _nothing),
    "a saved index is not checked": Sabotage("nudge_integrations.index.format:_check", _nothing),
    "parts of a saved index need not fit": Sabotage(
        "nudge_integrations.pipeline.index_format:_checked", lambda _: lambda path, *parts: parts
    ),
    "whatever has the name of a file is opened": Sabotage(
        "nudge_integrations.storage.manifest:open_regular", _any_kind
    ),
    "files of any size are read": Sabotage("nudge_integrations.storage.log:_LARGEST", lambda _: 1 << 40),
    # What others would do at the same time.
    "writers do not wait for each other": Sabotage(
        "nudge_integrations.storage.manifest:only_writer", lambda _: lambda folder: contextlib.nullcontext()
    ),
    "readers do not start again": Sabotage("nudge_integrations.pipeline.index_format:_MOST_RESTARTS", lambda _: 1),
    "parts of others are taken for left": Sabotage(
        "nudge_integrations.storage.atomic:remove_parts", lambda _: _all_parts
    ),
    "labels are made before others are kept out": Sabotage(
        "nudge_integrations.storage.log:Log.append_made", lambda _: lambda self, make: self.append(list(make()))
    ),
    "nobody waits for a log of feedback": Sabotage(
        "nudge_integrations.feedback.feedback_log:FeedbackLog._locked",
        lambda _: lambda self, shared=False: contextlib.nullcontext(),
    ),
    "processes share a shard": Sabotage(
        "nudge_integrations.encoding.embedding_cache:uuid.uuid4", lambda _: lambda: SimpleNamespace(hex="0" * 32)
    ),
}
