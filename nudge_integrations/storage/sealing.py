"""The form of a manifest: canonical JSON under a checksum of itself, and plain names of the files beside it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from nudge_integrations.errors import ArtifactError, CorruptArtifactError, InputError

__all__ = ["SHA256", "Entries", "check_names", "check_version", "entries_of", "seal", "unseal"]

Entries: TypeAlias = dict[str, dict[str, Any]]

SHA256 = r"[0-9a-f]{64}"
# File systems allow names of 255 bytes, and a staged name is that of the file, two dots and 64 digits.
_LONGEST_NAME = 255 - 66


def _canonical(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("ascii")


def seal(content: Mapping[str, Any]) -> bytes:
    """Write a manifest as canonical JSON that ends in a sha256 of itself.

    Raises:
        InputError: If JSON cannot hold it.
    """
    try:
        return _canonical({**content, "sha256": hashlib.sha256(_canonical(content)).hexdigest()})
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"what is to be saved cannot be written as JSON: {error}") from error


def unseal(data: bytes, path: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises:
        CorruptArtifactError: If a byte of it was changed.
    """
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


def check_version(found: object, version: int, path: Path) -> None:
    """Refuse another format version than the one that can be read, and say what helps.

    Raises:
        CorruptArtifactError: If it is no version at all.
        ArtifactError: If it is newer or older.
    """
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise CorruptArtifactError(f"{path} has format version {found!r:.80}, expected {version}; save it again")
    if found > version:
        raise ArtifactError(
            f"{path} has format version {found}, newer than {version}, which is the newest that this version of the "
            "package reads: upgrade nudge-integrations"
        )
    if found < version:
        raise ArtifactError(
            f"{path} has format version {found}, older than {version}, which is the oldest that this version of the "
            "package reads: save it again from what it was made of"
        )


def check_names(manifest: str, names: Iterable[str]) -> None:
    """Refuse names that cannot be those of files beside a manifest.

    Raises:
        InputError: Names the first of them.
    """
    seen = {manifest.casefold(): manifest}
    for name in names:
        if (fault := _fault_of_name(name)) is not None:
            raise InputError(f"{name!r} cannot be the name of a saved file: it {fault}; give a plain file name")
        # Some file systems do not tell capital letters from small ones.
        if (key := name.casefold()) in seen:
            raise InputError(f"{name!r} cannot be the name of a saved file beside {seen[key]!r}; give it another name")
        seen[key] = name


def _fault_of_name(name: object) -> str | None:
    """Say what keeps a name from being that of a file in any folder, staged as well."""
    if not isinstance(name, str) or not name:
        return "is no text, or empty"
    if set(name) & {"/", "\\", ":"} or any(ord(sign) < 32 or 0xD800 <= ord(sign) < 0xE000 for sign in name):
        return "holds a path separator or a control character"
    if name.startswith("."):
        return "starts with a dot"
    if len(name.encode()) > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} bytes"
    return None


def entries_of(content: Mapping[str, Any], path: Path) -> Entries:
    """Return what a manifest says of the files beside it: name -> size and sha256.

    Raises:
        CorruptArtifactError: If it names anything else.
    """
    entries = content.get("files")
    if not isinstance(entries, dict) or not all(
        _fault_of_name(name) is None
        and name.casefold() != path.name.casefold()
        and isinstance(entry, dict)
        and isinstance(entry.get("bytes"), int)
        and re.fullmatch(SHA256, str(entry.get("sha256")))
        for name, entry in entries.items()
    ):
        raise CorruptArtifactError(f"{path} does not name the files beside it; nothing of it can be trusted")
    return entries
