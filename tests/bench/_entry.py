"""The default as arrays call it, `select`, in this version of the package or an earlier one."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

# Where `select` was in each version, the newest first.
ENTRIES = (("nudge_integrations.selection", "select"), ("nudge_integrations.hybrid", "solve_hybrid"))
REPOSITORY = Path(__file__).resolve().parents[2]


def select() -> Callable[..., Any]:
    """The function that chooses the best candidate: documents, queries and relevance in, a solution out."""
    failures = []
    for module, name in ENTRIES:
        try:
            found: Callable[..., Any] = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            failures.append(f"{module}.{name}: {error}")
        else:
            return found
    raise ImportError("; ".join(failures))


@contextlib.contextmanager
def exported(revision: str | None) -> Iterator[Path | None]:
    """A temporary folder with the package as it was in a git revision of this repository; None where none is given."""
    if revision is None:
        yield None
        return
    git = shutil.which("git")
    if git is None:
        raise SystemExit("--old needs git, which was not found; leave out --old, or install git")
    command = [git, "-C", str(REPOSITORY), "archive", "--format=tar", revision, "nudge_integrations"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"--old {revision}: {done.stderr.decode().strip()}; expected a commit of this repository")
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(name, filter="data")
        yield Path(name)
