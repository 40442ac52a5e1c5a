"""Checkpoints under checksums: training goes on from one that is whole, or from an earlier one, or from the start."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from nudge_integrations.storage import write_atomically

__all__ = ["is_intact", "last_checkpoint", "seal_checkpoint"]

logger = logging.getLogger(__name__)

CHECKSUMS = "checksums.json"
STATE = "trainer_state.json"


def seal_checkpoint(checkpoint: Path) -> None:
    """Write the checksums of all files of a checkpoint beside them, which says that it is whole."""
    write_atomically(checkpoint / CHECKSUMS, [json.dumps(_checksums(checkpoint), sort_keys=True)])


def is_intact(checkpoint: Path) -> bool:
    """Tell whether a checkpoint has all its files, each as it was written."""
    try:
        recorded = json.loads((checkpoint / CHECKSUMS).read_text(encoding="utf-8"))
        return bool(recorded == _checksums(checkpoint))
    except (OSError, ValueError, RecursionError):
        return False


def last_checkpoint(folder: Path) -> str | None:
    """Find the last checkpoint that is whole, as is the best one that it may come back to.

    Training is the same from any checkpoint, so an earlier one only takes longer; that one was passed over is logged.
    """
    names = (path.name.partition("-")[2] for path in folder.glob("checkpoint-*"))
    for step in sorted((int(name) for name in names if name.isdecimal()), reverse=True):
        checkpoint = folder / f"checkpoint-{step}"
        if is_intact(checkpoint) and _has_best(folder, checkpoint):
            return str(checkpoint)
        logger.warning("%s is not whole; going on from before it, which leads to the same result", checkpoint)
    return None


def _has_best(folder: Path, checkpoint: Path) -> bool:
    best: Any = json.loads((checkpoint / STATE).read_text(encoding="utf-8")).get("best_global_step")
    return best is None or is_intact(folder / f"checkpoint-{best}")


def _checksums(checkpoint: Path) -> dict[str, str]:
    files = (path for path in checkpoint.iterdir() if path.is_file() and path.name != CHECKSUMS)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
