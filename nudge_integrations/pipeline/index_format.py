"""How a nudged index lies on disk: a folder for each save, and one file that says which of them counts.

``index-<random>/`` holds ``base``, and ``placed`` and ``nudge`` where there is one; ``collection.json`` names it and is
replaced last, so a reader sees the old save or the new one, whole. Earlier saves are then removed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from nudge_integrations.artifact import Nudge
from nudge_integrations.errors import ArtifactError
from nudge_integrations.index import ExactIndex
from nudge_integrations.manifest import load_files, save_files

__all__ = ["read", "write"]

_FORMAT = "nudge-integrations/nudged-index"
_VERSION = 1
_MANIFEST = "collection.json"
_PREFIX = "index-"


def write(path: str | os.PathLike[str], base: ExactIndex, placed: ExactIndex | None, nudge: Nudge | None) -> None:
    """Save to a folder, all at once.

    Raises:
        InputError: If metadata is no JSON; names the id.
        ArtifactError: If the path is a file.
    """
    folder = Path(path)
    name = f"{_PREFIX}{secrets.token_hex(8)}"
    try:
        base.save(folder / name / "base")
        if placed is not None and nudge is not None:
            placed.save(folder / name / "placed")
            nudge.save(folder / name / "nudge")
        content = {"format": _FORMAT, "version": _VERSION, "index": name, "nudged": nudge is not None}
        save_files(folder, _MANIFEST, content, {})
    except BaseException:
        shutil.rmtree(folder / name, ignore_errors=True)
        raise
    for other in folder.glob(f"{_PREFIX}*"):
        if other.name != name:
            shutil.rmtree(other, ignore_errors=True)


def read(path: str | os.PathLike[str], *, verify: bool) -> tuple[ExactIndex, ExactIndex | None, Nudge | None]:
    """Open base, placed and nudge; the last two None where nothing was nudged.

    Raises:
        CorruptArtifactError: If a file is missing, truncated or altered.
        ArtifactError: If it is of another format or a newer version.
    """
    while True:
        content = _content(path)
        folder = Path(path) / content["index"]
        try:
            base = ExactIndex.load(folder / "base", verify=verify)
            if not content["nudged"]:
                return base, None, None
            return base, ExactIndex.load(folder / "placed", verify=verify), Nudge.load(folder / "nudge")
        except ArtifactError:
            # A save that came between removed what was being read; one that did not leaves damage to report.
            if _content(path)["index"] == content["index"]:
                raise


def _content(path: str | os.PathLike[str]) -> dict[str, str]:
    return load_files(path, _MANIFEST, (), format_name=_FORMAT, version=_VERSION)[0]
