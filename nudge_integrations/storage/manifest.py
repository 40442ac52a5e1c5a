"""A folder of files that changes all at once, and in which no byte can change unseen.

One file, the manifest, is canonical JSON. It names every other file with its size and sha256 and ends in a sha256 of
itself, so replacing it (``os.replace``, atomic) is the commit. A save goes

    stage     write each file, then give it a hidden name, ``.name.<sha256>``; give those that are to go such a name too
    commit    replace the manifest
    settle    rename the staged files to their own names; remove those that are to go

each flushed to disk before the next, and a reader that finds a file not to be the one that the manifest names looks for
it under its staged name. So a reader sees the old content or the new at any moment, and so does whoever comes after a
crash or a full disk; a save that died between commit and settle is settled by the next one. Nothing else in the folder
is ever touched: names are checked before anything is written and before anything that a manifest says is believed. On
POSIX systems a lock on the folder keeps writers apart and vanishes with its process; elsewhere let one process write at
a time.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeAlias

from nudge_integrations.errors import ArtifactError, CorruptArtifactError
from nudge_integrations.storage.atomic import make_folder, part_of, remove_parts, sync_folder, write_durably
from nudge_integrations.storage.reading import open_regular
from nudge_integrations.storage.sealing import (
    SHA256,
    Entries,
    check_names,
    check_version,
    entries_of,
    seal,
    unseal,
)

if sys.platform != "win32":
    import fcntl

__all__ = ["Buffer", "load_files", "only_writer", "save_files"]

Buffer: TypeAlias = bytes | mmap.mmap

_STAGED = re.compile(rf"\.(?P<name>.+)\.(?P<sha256>{SHA256})", re.DOTALL)
# No manifest of ours is near this size; what is larger is neither written nor read.
_LARGEST_MANIFEST = 1 << 28
# A mapped file that somebody cuts off while it is in use ends the process, so only those are mapped for which it pays,
# and only where the caller said that they are too large to be read through.
_SMALLEST_MAPPED = 1 << 26

# A reader starts again when a writer was faster; this many saves during one load would be odd.
_MOST_RESTARTS = 1000


def save_files(
    directory: str | os.PathLike[str],
    manifest: str,
    content: Mapping[str, Any],
    files: Mapping[str, Iterable[bytes | memoryview]],
    *,
    locked: bool = False,
) -> None:
    """Replace the files and the manifest in a folder, all at once.

    Args:
        directory: Created if absent. Files in it that neither this save nor the one before names stay as they are.
        manifest: File name of the manifest.
        content: What else the manifest holds: JSON values. ``content["format"]`` says whose folder it is.
        files: File name -> its bytes, in pieces.
        locked: Whether the caller is the `only_writer` of this folder already.

    Raises:
        InputError: If a name cannot be a file's name here, or the content is no JSON; nothing was written then.
        ArtifactError: If the path is no folder, or a file of that name is there which is not part of such a folder.
        OSError: If the disk refuses; what was there before is still there and readable.
    """
    folder = Path(directory)
    check_names(manifest, files)
    seal(content)  # what JSON cannot hold is refused before anything is written
    with nullcontext() if locked else only_writer(folder):
        former = _refuse_to_overwrite_others(folder, manifest, str(content["format"]), files)
        _settle(folder, manifest, {*files, *former})
        try:
            entries = {name: _stage(folder, name, pieces) for name, pieces in files.items()}
            for name in former.keys() - files.keys():
                with suppress(FileNotFoundError):
                    os.replace(folder / name, _staged(folder, name, former[name]["sha256"]))
            with part_of(folder) as part:
                write_durably(part, [seal({**content, "files": entries})])
                sync_folder(folder)
                os.replace(part, folder / manifest)
                sync_folder(folder)
        finally:
            _settle(folder, manifest, {*files, *former})


def load_files(
    directory: str | os.PathLike[str],
    manifest: str,
    names: Collection[str],
    *,
    format_name: str,
    version: int,
    verify: bool = True,
) -> tuple[dict[str, Any], dict[str, Buffer]]:
    """Read the manifest and all files that it names.

    Args:
        directory: A folder written by `save_files`.
        manifest: File name of the manifest.
        names: The files that it must name; there may be more.
        format_name: What ``content["format"]`` must say.
        version: The ``content["version"]`` that the caller can read.
        verify: Hash every file. False checks sizes only, for files too large to be read through: those of 64 MiB and
            more are mapped into memory, and must not be cut off while they are in use.

    Returns:
        The manifest's content, and file name -> its bytes, read-only.

    Raises:
        CorruptArtifactError: If a file is missing, truncated or altered by as little as one byte.
        ArtifactError: If the folder is of another format or of a newer version.
    """
    folder = Path(directory)
    failures, seen = 0, None
    for _ in range(_MOST_RESTARTS):
        data, identity = _read_manifest(folder, manifest)
        content = unseal(data, folder / manifest)
        _check_format(content, folder / manifest, format_name, version)
        wanted = dict.fromkeys((*names, *entries_of(content, folder / manifest)))
        try:
            return content, {name: _open(folder, name, content["files"].get(name), verify) for name in wanted}
        except CorruptArtifactError:
            # While a writer settles, each file can be missed once; a failure more under one manifest is damage.
            failures = failures + 1 if identity == seen else 1
            seen = identity
            if failures > len(wanted):
                raise
    raise CorruptArtifactError(f"{folder} changed {_MOST_RESTARTS} times while it was read; try again when it rests")


def _check_format(content: Mapping[str, Any], path: Path, format_name: str, version: int) -> None:
    if content.get("format") != format_name:
        raise ArtifactError(f"{path} is a {content.get('format')!r}, not a {format_name!r}")
    check_version(content.get("version"), version, path)


@contextmanager
def only_writer(directory: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other writers out of a folder, on POSIX systems; it is created where it is absent.

    Raises:
        ArtifactError: If the path is no folder.
    """
    folder = Path(directory)
    try:
        make_folder(folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise ArtifactError(f"cannot save to {folder}: a file is in the way; give the path of a folder") from error
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        os.fsync(handle)
    finally:
        os.close(handle)


def _refuse_to_overwrite_others(folder: Path, manifest: str, format_name: str, names: Iterable[str]) -> Entries:
    """Return the files that the manifest there names, which may be replaced."""
    ours: dict[str, Any] = {}
    former: Entries = {}
    with suppress(CorruptArtifactError):
        content = unseal(_read_manifest(folder, manifest)[0], folder / manifest)
        if content.get("format") == format_name:
            former = entries_of(content, folder / manifest)
            ours = {manifest: None, **former}
    # Nothing that a file is renamed to may be a folder, though it has the name of one of ours.
    others = [
        name
        for name in dict.fromkeys((manifest, *names, *former))
        if (folder / name).is_dir() or (name not in ours and (folder / name).exists())
    ]
    if others:
        raise ArtifactError(
            f"{folder} holds {', '.join(others)}, not written by this package (or damaged); "
            "nothing was overwritten: choose another folder or remove them"
        )
    return former


def _stage(folder: Path, name: str, pieces: Iterable[bytes | memoryview]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0

    def counted() -> Iterator[bytes | memoryview]:
        nonlocal size
        for piece in pieces:
            digest.update(piece)
            size += memoryview(piece).nbytes
            yield piece

    with part_of(folder) as part:
        write_durably(part, counted())
        os.replace(part, _staged(folder, name, digest.hexdigest()))
    return {"bytes": size, "sha256": digest.hexdigest()}


def _staged(folder: Path, name: str, sha256: str) -> Path:
    return folder / f".{name}.{sha256}"


def _settle(folder: Path, manifest: str, names: Collection[str]) -> None:
    """Give the files that the manifest names their own names, and remove what a save left under staged names."""
    path = folder / manifest
    entries = entries_of(unseal(path.read_bytes(), path), path) if path.exists() else {}
    remove_parts(folder)
    left = [match for match in map(_STAGED.fullmatch, os.listdir(folder)) if match]
    for match in left:
        staged, name = folder / match[0], match["name"]
        if name in names and name in entries and match["sha256"] == entries[name]["sha256"]:
            os.replace(staged, folder / name)
        elif name in names or _is_named_by_its_hash(staged, match["sha256"]):
            staged.unlink()
    if left:
        sync_folder(folder)


def _is_named_by_its_hash(path: Path, sha256: str) -> bool:
    """Tell whether a file is one that a save staged, for a name that this save does not know."""
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return False
    return digest.hexdigest() == sha256


def _read_manifest(folder: Path, manifest: str) -> tuple[bytes, tuple[int, int]]:
    try:
        with open_regular(folder / manifest) as file:
            status = os.fstat(file.fileno())
            if status.st_size > _LARGEST_MANIFEST:
                raise CorruptArtifactError(f"{folder / manifest} has {status.st_size} bytes, which no manifest has")
            return file.read(), (status.st_ino, status.st_mtime_ns)
    except PermissionError:
        raise
    except OSError as error:
        raise CorruptArtifactError(
            f"{folder} holds no {manifest} ({error.strerror}): nothing was saved there, or it was removed"
        ) from error


def _open(folder: Path, name: str, entry: Mapping[str, Any] | None, verify: bool) -> Buffer:
    if entry is None:
        raise CorruptArtifactError(f"{folder / name} is not named by the manifest; save it again")
    fault = "is missing"
    for path in (folder / name, _staged(folder, name, entry["sha256"])):
        try:
            with open_regular(path) as file:
                size = os.fstat(file.fileno()).st_size
                if size != entry["bytes"]:
                    fault = f"has {size} bytes instead of {entry['bytes']}"
                    continue
                mapped = not verify and size >= _SMALLEST_MAPPED
                data: Buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if mapped else file.read()
        except PermissionError:
            raise
        except OSError:
            continue
        if not verify or hashlib.sha256(data).hexdigest() == entry["sha256"]:
            return data
        fault = "was altered: its sha256 is not the one recorded"
    raise CorruptArtifactError(f"{folder / name} {fault}; save it again")
