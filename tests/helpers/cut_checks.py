"""Power cuts while each writer saves, and what must hold of what they leave."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

from crash_writers import NEW, NEXT, OLD, WRITERS, Writer
from power_cuts import ORDERS, Disk

__all__ = ["cut_faults"]


def cut_faults(writer: str, first: bool, folder: Path, cuts: int, seed: int, *, size: int = 3) -> list[str]:
    """Save once, cut the power so many times, and say what is wrong with what is left."""
    kind, root = WRITERS[writer], folder / "disk"
    root.mkdir(parents=True)
    state = OLD if first else NEW
    if not first:
        kind.save(root, OLD, size)
    old = kind.content(root)
    disk = Disk(root)
    try:
        with disk.watching():
            kind.save(root, state, size)
        new = kind.content(root)
        found = [_fault(kind, disk, folder / "left", f"{seed} {turn}", turn, old, new) for turn in range(cuts)]
    finally:
        disk.close()
    return [f"{writer}, {'first save' if first else 'overwrite'}: {fault}" for fault in found if fault is not None]


def _fault(kind: Writer, disk: Disk, left: Path, seed: str, turn: int, old: Any, new: Any) -> str | None:
    rng, order, at_the_end = random.Random(seed), ORDERS[turn % 3], turn % 5 == 0  # noqa: S311
    disk.after_a_cut(left, rng, order, at_the_end=at_the_end)
    where = f"seed {seed!r}, {order}{', after the last step' if at_the_end else ''}"
    try:
        found = kind.content(left)
        if not _fits(kind, found, old, new, at_the_end):
            return f"{where}: reads {found!s:.200}"
        if turn % 4 == 0:
            kind.save(left, NEXT, 3)
            after = kind.content(left)
            if after in (None, old, new):
                return f"{where}: the next save reads {after!s:.200}"
    except Exception as error:
        return f"{where}: {error!r}"
    finally:
        shutil.rmtree(left)
    return None


def _fits(kind: Writer, found: Any, old: Any, new: Any, at_the_end: bool) -> bool:
    if not kind.power:  # some of what was to be there, but nothing else
        return set(found or ()) <= set(new)
    if at_the_end:
        return bool(found == new)
    grown = kind.grows and isinstance(found, list) and found == new[: len(found)] and len(found) >= len(old or ())
    return found in (old, new) or grown
