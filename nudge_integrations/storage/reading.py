"""Files that come from elsewhere, read without waiting for ever or filling the memory."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

__all__ = ["open_regular", "read_regular"]


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file to read, without buffering; a pipe or a device, which may never end, is refused at once.

    Raises:
        OSError: If it is absent (`FileNotFoundError`), cannot be read, or is anything but a regular file.
    """
    # A pipe without a writer would block here; O_NONBLOCK means nothing to a regular file.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except ValueError as error:  # a zero byte in the path
        raise FileNotFoundError(errno.ENOENT, str(error), os.fspath(path)) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return os.fdopen(handle, "rb", buffering=0)


def read_regular(path: str | os.PathLike[str], *, most: int) -> bytes:
    r"""Return the content of a regular file.

    Args:
        path: The file.
        most: Its largest plausible size in bytes.

    Raises:
        OSError: If it is larger, or as `open_regular`.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "names.txt"
    ...     _ = path.write_text("one\n")
    ...     read_regular(path, most=100)
    b'one\n'
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"{size} bytes, expected {most} at most", os.fspath(path))
        return file.read()
