"""One file, replaced on success: whoever reads it sees the old content or the new, also after a crash.

The new content is written to a name beside the file and flushed to disk, the name is moved over the file, and the
folder is flushed, so that what was reported as written is there after a power cut. What a process that was killed left
beside a file is removed when the next one writes there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = [
    "exchange",
    "is_part",
    "make_folder",
    "move_durably",
    "part_of",
    "remove_parts",
    "replacing",
    "sync_folder",
    "write_atomically",
    "write_durably",
]

# Without the file's own name in it, so that no name is too long.
_PART = re.compile(r"\.[0-9a-f]{32}\.part")

# Of Linux's renameat2 and macOS's renamex_np: paths from the working directory, and two names exchanged.
_HERE, _EXCHANGE = -100, 2


def write_atomically(path: str | os.PathLike[str], pieces: Iterable[str | bytes | memoryview]) -> None:
    r"""Replace a file by what the pieces hold, text as UTF-8; its folder is created where it is absent.

    Raises:
        OSError: If the disk refuses; the file is then as it was. So it is when the pieces raise.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "names.txt", ["one\n", b"two\n"])
    ...     (Path(folder) / "names.txt").read_text()
    'one\ntwo\n'
    """
    with replacing(path) as beside:
        write_durably(beside, pieces)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    r"""Give a path beside a file; what is written there takes the file's place once the block ends without an error.

    Args:
        path: The file; its folder is created where it is absent.

    Raises:
        OSError: If the disk refuses; the file is then as it was. So it is when the block raises.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "zeros") as beside:
    ...         _ = beside.write_bytes(bytes(3))
    ...     (Path(folder) / "zeros").read_bytes()
    b'\x00\x00\x00'
    """
    target = Path(path)
    make_folder(target.parent)
    remove_parts(target.parent)
    with part_of(target.parent) as part:
        yield part
        _sync_file(part)
        os.replace(part, target)
        sync_folder(target.parent)


@contextmanager
def part_of(folder: Path) -> Iterator[Path]:
    """Give the path of an empty file to be written in a folder; it is removed unless the block renames it.

    A lock, on POSIX systems, tells others that this process is at it.
    """
    while True:
        part = folder / f".{secrets.token_hex(16)}.part"
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _lock(handle)
        if part.exists():  # nobody took it for what a killed process left
            break
        os.close(handle)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


def remove_parts(folder: Path) -> None:
    """Remove files that killed processes left half-written in a folder, where the system can tell."""
    for name in os.listdir(folder):
        if is_part(name) and sys.platform != "win32":
            with suppress(OSError):
                handle = os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    (folder / name).unlink()
                finally:
                    os.close(handle)


def is_part(name: str) -> bool:
    """Tell whether a name is that of a file that is being written."""
    return _PART.fullmatch(name) is not None


def _lock(handle: int) -> None:
    if sys.platform != "win32":
        with suppress(OSError):  # file systems without locks
            fcntl.flock(handle, fcntl.LOCK_EX)


def write_durably(path: Path, pieces: Iterable[str | bytes | memoryview]) -> None:
    """Write a file in place and flush it to disk; text becomes UTF-8."""
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece.encode() if isinstance(piece, str) else piece)
        file.flush()
        os.fsync(file.fileno())


def move_durably(source: Path, target: Path) -> None:
    """Move a file to another name on the same disk, in place of any file there, and flush both folders."""
    os.replace(source, target)
    for folder in {source.parent, target.parent}:
        sync_folder(folder)


def exchange(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> None:
    """Exchange two folders or files of one disk, in one step: at any moment each name leads to one of them.

    Raises:
        OSError: If a name leads nowhere, they are on different disks, or this system cannot exchange names at once;
            nothing has changed then.
    """
    first, second = Path(one).resolve(), Path(other).resolve()
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(first), os.fsencode(second)
    if hasattr(library, "renameat2"):
        failed = library.renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE)
    elif hasattr(library, "renamex_np"):
        failed = library.renamex_np(*names, _EXCHANGE)
    else:
        raise OSError(errno.ENOTSUP, "this system cannot exchange two names at once; move the folders yourself")
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(first), None, str(second))
    for folder in {first.parent, second.parent}:
        sync_folder(folder)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents where they are absent, and flush their names to disk.

    Raises:
        FileExistsError, NotADirectoryError: If a file is in the way.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to disk, where the system can."""
    if sys.platform != "win32":
        _sync(folder, os.O_RDONLY)


def _sync_file(path: Path) -> None:
    _sync(path, os.O_RDWR)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
