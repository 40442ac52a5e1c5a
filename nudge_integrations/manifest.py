"""A folder of files that changes all at once, and in which no byte can change unseen.

One file, the manifest, is canonical JSON. It names every other file with its size and sha256 and ends in a sha256 of
itself, so replacing it (``os.replace``, atomic) is the commit. A save goes

    stage     write each file under a hidden name that ends in its sha256, flush it to disk
    commit    replace the manifest
    settle    rename the staged files to their own names

and a reader that finds a file not to be the one that the manifest names looks for it under its staged name. So a reader
sees the old content or the new at any moment, and so does whoever comes after a crash or a full disk; a save that died
between commit and settle is settled by the next one. Files that the former manifest named and the new one does not are
removed; other files in the folder are never touched. On POSIX systems a lock on the folder keeps writers apart and
vanishes with its process; elsewhere let one process write at a time.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from nudge_integrations.errors import ArtifactError, CorruptArtifactError

if sys.platform != "win32":
    import fcntl

__all__ = ["Buffer", "load_files", "save_files"]

Buffer: TypeAlias = bytes | mmap.mmap

# A reader starts again when a writer was faster; this many saves during one load would be odd.
_MOST_RESTARTS = 1000


def save_files(
    directory: str | os.PathLike[str],
    manifest: str,
    content: Mapping[str, Any],
    files: Mapping[str, Iterable[bytes | memoryview]],
) -> None:
    """Replace the files and the manifest in a folder, all at once.

    Args:
        directory: Created if absent. Files in it that neither this save nor the one before names stay as they are.
        manifest: File name of the manifest.
        content: What else the manifest holds: JSON values. ``content["format"]`` says whose folder it is.
        files: File name -> its bytes, in pieces.

    Raises:
        ArtifactError: If the path is no folder, or a file of that name is there which is not part of such a folder.
        OSError: If the disk refuses; what was there before is still there and readable.
    """
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ArtifactError(f"cannot save to {folder}: a file is in the way; give the path of a folder") from error
    with _only_writer(folder):
        former = _refuse_to_overwrite_others(folder, manifest, str(content["format"]), files)
        _settle(folder, manifest, {*files, *former})
        entries = {name: _stage(folder, name, pieces) for name, pieces in files.items()}
        _write(folder / f".{manifest}.part", [_seal({**content, "files": entries})])
        os.replace(folder / f".{manifest}.part", folder / manifest)
        _settle(folder, manifest, files)
        for name in former - files.keys():
            (folder / name).unlink(missing_ok=True)


def load_files(
    directory: str | os.PathLike[str],
    manifest: str,
    names: Collection[str],
    *,
    format_name: str,
    version: int,
    verify: bool = True,
) -> tuple[dict[str, Any], dict[str, Buffer]]:
    """Read the manifest and map all files that it names into memory.

    Args:
        directory: A folder written by `save_files`.
        manifest: File name of the manifest.
        names: The files that it must name; there may be more.
        format_name: What ``content["format"]`` must say.
        version: The ``content["version"]`` that the caller can read.
        verify: Hash every file. False checks sizes only, for files too large to be read through.

    Returns:
        The manifest's content, and file name -> its bytes, mapped read-only.

    Raises:
        CorruptArtifactError: If a file is missing, truncated or altered by as little as one byte.
        ArtifactError: If the folder is of another format or of a newer version.
    """
    folder = Path(directory)
    failures, seen = 0, None
    for _ in range(_MOST_RESTARTS):
        data, identity = _read_manifest(folder, manifest)
        content = _unseal(data, folder / manifest)
        _check_format(content, folder / manifest, format_name, version)
        wanted = dict.fromkeys((*names, *_names(content, folder / manifest)))
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
    if content.get("version") != version:
        raise ArtifactError(
            f"{path} has format version {content.get('version')}, this package reads version {version}: "
            "upgrade nudge-integrations"
        )


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
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


def _refuse_to_overwrite_others(folder: Path, manifest: str, format_name: str, names: Iterable[str]) -> set[str]:
    """Return the names of the files that the manifest there names, which may be replaced."""
    ours: set[str] = set()
    with suppress(CorruptArtifactError):
        content = _unseal(_read_manifest(folder, manifest)[0], folder / manifest)
        if content.get("format") == format_name:
            ours = {manifest, *_names(content, folder / manifest)}
    others = [name for name in (manifest, *names) if name not in ours and (folder / name).exists()]
    if others:
        raise ArtifactError(
            f"{folder} holds {', '.join(others)}, not written by this package (or damaged); "
            "nothing was overwritten: choose another folder or remove them"
        )
    return ours - {manifest}


def _names(content: Mapping[str, Any], path: Path) -> list[str]:
    names = content.get("files")
    if not isinstance(names, dict) or any(name != Path(name).name for name in names):
        raise CorruptArtifactError(f"{path} does not name the files beside it; nothing of it can be trusted")
    return list(names)


def _stage(folder: Path, name: str, pieces: Iterable[bytes | memoryview]) -> dict[str, Any]:
    part = folder / f".{name}.part"
    try:
        entry = _write(part, pieces)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    os.replace(part, _staged(folder, name, entry["sha256"]))
    return entry


def _write(path: Path, pieces: Iterable[bytes | memoryview]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for piece in pieces:
            digest.update(piece)
            size += file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": size, "sha256": digest.hexdigest()}


def _staged(folder: Path, name: str, sha256: str) -> Path:
    return folder / f".{name}.{sha256}"


def _settle(folder: Path, manifest: str, names: Iterable[str]) -> None:
    """Give the files that the manifest names their own names, and remove what an interrupted save left."""
    path = folder / manifest
    entries = _unseal(path.read_bytes(), path)["files"] if path.exists() else {}
    for name in names:
        if name in entries and (staged := _staged(folder, name, entries[name]["sha256"])).exists():
            os.replace(staged, folder / name)
        for leftover in folder.glob(f".{name}.*"):
            leftover.unlink()


def _canonical(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("ascii")


def _seal(content: Mapping[str, Any]) -> bytes:
    return _canonical({**content, "sha256": hashlib.sha256(_canonical(content)).hexdigest()})


def _unseal(data: bytes, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(data)
        # Compared as bytes, because a changed blank or a key given twice would read the same.
        intact = isinstance(content, dict) and _canonical(content) == data
        claimed = content.pop("sha256") if intact else None
    except (ValueError, KeyError, RecursionError) as error:
        raise CorruptArtifactError(f"{path} is truncated or altered: {error}; save it again") from error
    if not intact or claimed != hashlib.sha256(_canonical(content)).hexdigest():
        raise CorruptArtifactError(f"{path} is truncated or altered: its checksum does not fit; save it again")
    return dict(content)


def _read_manifest(folder: Path, manifest: str) -> tuple[bytes, tuple[int, int]]:
    try:
        with (folder / manifest).open("rb") as file:
            status = os.fstat(file.fileno())
            return file.read(), (status.st_ino, status.st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise CorruptArtifactError(
            f"{folder} holds no {manifest}: nothing was saved there, or it was removed"
        ) from error


def _open(folder: Path, name: str, entry: Mapping[str, Any] | None, verify: bool) -> Buffer:
    if entry is None:
        raise CorruptArtifactError(f"{folder / name} is not named by the manifest; save it again")
    fault = "is missing"
    for path in (folder / name, _staged(folder, name, entry["sha256"])):
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != entry["bytes"]:
                    fault = f"has {size} bytes instead of {entry['bytes']}"
                    continue
                data: Buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except FileNotFoundError:
            continue
        if not verify or hashlib.sha256(data).hexdigest() == entry["sha256"]:
            return data
        fault = "was altered: its sha256 is not the one recorded"
    raise CorruptArtifactError(f"{folder / name} {fault}; save it again")
