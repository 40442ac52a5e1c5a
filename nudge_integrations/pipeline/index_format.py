"""How a nudged index lies on disk: a folder for each save, and one file that says which of them counts.

``index-<16 hex digits>/`` holds a marker that says whose it is, ``base``, ``placed`` and ``nudge`` where there is one,
and ``lexical`` where that weighs words; ``collection.json`` names it and is replaced last, so a reader sees the old
save or the new one, whole. Folders of earlier saves, and of saves that were killed, are then removed: those that the
former ``collection.json`` named, or that hold the marker, and no others. One process writes at a time.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from nudge_integrations.artifact import Nudge
from nudge_integrations.errors import ArtifactError, CorruptArtifactError
from nudge_integrations.fusion import LexicalIndex
from nudge_integrations.index import ExactIndex
from nudge_integrations.pipeline.fused_search import Words
from nudge_integrations.storage import is_part, load_files, only_writer, read_regular, save_files, write_atomically

__all__ = ["read", "write"]

_FORMAT = "nudge-integrations/nudged-index"
_VERSION = 1
_MANIFEST = "collection.json"
_FOLDER = re.compile(r"index-[0-9a-f]{16}")
_MARKER = "saved-by.json"
_MARKER_TEXT = f'{{"format": "{_FORMAT}"}}\n'

# A reader starts again when a writer was faster; this many saves during one load would be odd.
_MOST_RESTARTS = 1000


def write(
    path: str | os.PathLike[str],
    base: ExactIndex,
    placed: ExactIndex | None,
    nudge: Nudge | None,
    words: Words | None,
    model: str,
) -> None:
    """Save to a folder, all at once.

    Raises:
        InputError: If metadata would not come back as it is; names the id.
        ArtifactError: If the path is a file, or a ``collection.json`` is there that is not of such a save.
    """
    folder = Path(path)
    with only_writer(folder):
        former = _content(folder)["index"] if (folder / _MANIFEST).exists() else None
        name = f"index-{secrets.token_hex(8)}"
        try:
            write_atomically(folder / name / _MARKER, [_MARKER_TEXT])
            base.save(folder / name / "base")
            if placed is not None and nudge is not None:
                placed.save(folder / name / "placed")
                nudge.save(folder / name / "nudge")
            if words is not None:
                words.index.save(folder / name / "lexical")
            content = {"format": _FORMAT, "version": _VERSION, "index": name, "nudged": nudge is not None}
            content["model"] = model
            save_files(folder, _MANIFEST, content, {}, locked=True)
        except BaseException:
            if not _is_saved(folder, name):
                shutil.rmtree(folder / name, ignore_errors=True)
            raise
        for other in folder.iterdir():
            if other.name != name and _FOLDER.fullmatch(other.name) and (other.name == former or _is_ours(other)):
                _remove(other)


def read(
    path: str | os.PathLike[str], *, verify: bool
) -> tuple[ExactIndex, ExactIndex | None, Nudge | None, Words | None, str]:
    """Open base, placed, nudge and words, and the fingerprint of the model.

    Placed, nudge and words are None where nothing was nudged, words also where the nudge does not weigh them.

    Raises:
        CorruptArtifactError: If a file is missing, truncated or altered.
        ArtifactError: If it is of another format or a newer version.
    """
    for _ in range(_MOST_RESTARTS):
        content = _content(path)
        folder = Path(path) / content["index"]
        try:
            if not _is_marked(folder):
                raise CorruptArtifactError(f"{folder / _MARKER} is missing or was altered; save the index again")
            base = ExactIndex.load(folder / "base", verify=verify)
            if not content["nudged"]:
                return _checked(path, base, None, None, None, content["model"])
            nudge = Nudge.load(folder / "nudge")
            if verify:
                len(nudge.labels)  # reads its log, which has checksums of its own
            words = None
            if nudge.fusion is not None:
                words = Words(LexicalIndex.load(folder / "lexical", verify=verify), nudge.fusion)
            placed = ExactIndex.load(folder / "placed", verify=verify)
            return _checked(path, base, placed, nudge, words, content["model"])
        except ArtifactError:
            # A save that came between removed what was being read; one that did not leaves damage to report.
            if _content(path)["index"] == content["index"]:
                raise
    raise CorruptArtifactError(f"{path} changed {_MOST_RESTARTS} times while it was read; try again when it rests")


def _checked(
    path: str | os.PathLike[str],
    base: ExactIndex,
    placed: ExactIndex | None,
    nudge: Nudge | None,
    words: Words | None,
    model: str,
) -> tuple[ExactIndex, ExactIndex | None, Nudge | None, Words | None, str]:
    """Return the parts if they fit together, and every document has a text.

    Raises:
        CorruptArtifactError: If not.
    """
    ids = base.ids
    indexes = [base] if placed is None else [base, placed]
    entries = [entry for index in indexes for entry in index.get_metadata(index.ids)]
    dimensions = {index.dimension for index in indexes} | ({nudge.dimension} if nudge and ids else set())
    whole = all(isinstance(entry.get("text"), str) and isinstance(entry.get("metadata"), dict) for entry in entries)
    if not whole or len(dimensions) > 1 or any(index.ids != ids or index.similarity != "dot" for index in indexes):
        raise CorruptArtifactError(f"{path} does not hold a whole nudged index: its parts do not fit; save it again")
    if words is not None and (set(words.index.ids) != set(ids) or not _same_settings(words)):
        raise CorruptArtifactError(f"{path} holds words of other documents than its vectors are of; save it again")
    return base, placed, nudge, words, model


def _same_settings(words: Words) -> bool:
    """Tell whether words are scored as the nudge weighed them."""
    return words.fusion.lexical is not None and words.index.settings.as_dict() == dict(words.fusion.lexical)


def _content(path: str | os.PathLike[str]) -> dict[str, Any]:
    content = load_files(path, _MANIFEST, (), format_name=_FORMAT, version=_VERSION)[0]
    index = content.get("index")
    if not isinstance(index, str) or not _FOLDER.fullmatch(index) or not isinstance(content.get("nudged"), bool):
        raise CorruptArtifactError(
            f"{Path(path) / _MANIFEST} names {index!r}, which is no folder of a saved index; "
            "nothing of it can be trusted: save to another folder"
        )
    if not isinstance(content.setdefault("model", ""), str):
        raise CorruptArtifactError(f"{Path(path) / _MANIFEST} names the model {content['model']!r}, expected a string")
    return content


def _is_saved(folder: Path, name: str) -> bool:
    """Tell whether a save that raised had come so far that it counts."""
    try:
        return bool(_content(folder)["index"] == name)
    except ArtifactError:
        return False


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder is one that a save of ours began, if only just."""
    return _is_marked(folder) or (folder.is_dir() and all(is_part(name) for name in os.listdir(folder)))


def _remove(folder: Path) -> None:
    """Remove a folder of ours, its marker last, so that after a kill the rest is known for ours."""
    for path in folder.iterdir():
        if path.name != _MARKER:
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _is_marked(folder: Path) -> bool:
    """Tell whether a folder is one that a save of ours began."""
    try:
        return read_regular(folder / _MARKER, most=len(_MARKER_TEXT)) == _MARKER_TEXT.encode()
    except OSError:  # a writer has just removed it
        return False
