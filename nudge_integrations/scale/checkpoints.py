"""Partial results of searches in a folder, so that one that was killed goes on where it was."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as tensor_bytes

from nudge_integrations.corpus import Neighbours
from nudge_integrations.errors import ArtifactError
from nudge_integrations.storage import is_part, load_files, save_files

__all__ = ["Checkpoints"]

logger = logging.getLogger(__name__)

_KEY = re.compile("[0-9a-f]{32}")
_OURS = re.compile(r"search\.json|partial\.safetensors|\.partial\.safetensors\.[0-9a-f]{64}")
_MANIFEST, _FORMAT, _VERSION, _PARTIAL = "search.json", "nudge-search", 1, "partial.safetensors"


def _remove(folder: Path) -> None:
    """Remove what `Checkpoints.save` wrote to a folder, and the folder where nothing else is in it."""
    for one in folder.iterdir():
        if (_OURS.fullmatch(one.name) or is_part(one.name)) and not one.is_dir():
            one.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


class Checkpoints:
    """Keeps what searches found so far, under checksums; each search has a folder of its own.

    Args:
        folder: Created where it is absent; holds about 12 bytes for each query and result.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def key(self, corpus: str, queries: NDArray[np.float32], k: int) -> str:
        """Return the name of a search: of a corpus by its fingerprint, for some queries."""
        digest = hashlib.sha256(f"{corpus} {k} {queries.shape}".encode())
        digest.update(np.ascontiguousarray(queries).tobytes())
        return digest.hexdigest()[:32]

    def save(self, key: str, row: int, found: Neighbours) -> None:
        """Keep the best of all documents before a row."""
        content = {"format": _FORMAT, "version": _VERSION, "row": row}
        partial = tensor_bytes({"scores": found.scores, "rows": found.rows})
        save_files(self.folder / key, _MANIFEST, content, {_PARTIAL: [partial]})

    def load(self, key: str) -> tuple[int, Neighbours | None]:
        """Return the row to go on from and the best before it; 0 and None where there is nothing to be used."""
        folder = self.folder / key
        if not folder.exists():
            return 0, None
        try:
            content, files = load_files(folder, _MANIFEST, [_PARTIAL], format_name=_FORMAT, version=_VERSION)
            tensors, row = load_tensors(bytes(files[_PARTIAL])), content["row"]
            scores, rows = tensors["scores"], tensors["rows"]
            if type(row) is not int or row < 0 or scores.shape != rows.shape or rows.dtype != np.int64:
                raise ValueError(f"row {row!r:.40}, scores {scores.shape}, rows {rows.dtype} {rows.shape}")
            return row, Neighbours(scores, rows)
        except (ArtifactError, SafetensorError, KeyError, OverflowError, TypeError, ValueError) as error:
            logger.warning("the search begins anew: %s holds no partial results to go on from (%s)", folder, error)
            _remove(folder)
            return 0, None

    def clear(self) -> None:
        """Remove all partial results, and the folder where nothing else is in it."""
        for one in self.folder.iterdir() if self.folder.is_dir() else ():
            if _KEY.fullmatch(one.name) and one.is_dir():
                _remove(one)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
