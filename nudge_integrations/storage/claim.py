"""One process at a time in a folder; whoever comes second is told who is there."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from nudge_integrations.errors import ArtifactError
from nudge_integrations.storage.atomic import make_folder

if sys.platform != "win32":
    import fcntl

__all__ = ["claimed", "this_process"]


def this_process() -> str:
    """Return who this is, for whoever has to wait: user, process and host."""
    user = os.environ.get("USER") or os.environ.get("USERNAME") or "unknown user"
    return f"{user}, process {os.getpid()} on {socket.gethostname()}"


@contextmanager
def claimed(directory: str | os.PathLike[str], purpose: str) -> Iterator[None]:
    """Keep all others out of a folder, on POSIX systems; the claim ends with the block, or with the process.

    Args:
        directory: Created if absent; the claim is a file ``lock`` in it.
        purpose: What is done there, for the message to others.

    Raises:
        ArtifactError: If another process, or another part of this one, is in it; says who, since when and what for.
    """
    folder = Path(directory)
    make_folder(folder)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if sys.platform != "win32":
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ArtifactError(f"{folder} is in use: {_holder(handle)}; wait until that has ended") from error
        now = datetime.now(UTC).isoformat(timespec="seconds")
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"who": this_process(), "purpose": purpose, "since": now}).encode(), 0)
        yield
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    try:
        note = json.loads(os.pread(handle, 4096, 0))
        return f"{note['who']}, {note['purpose']} since {note['since']}"
    except (ValueError, KeyError):
        return "another process has just begun there"
