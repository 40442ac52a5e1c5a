"""A progress bar over rows, with an estimate of the time that is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    Bar = tqdm[Any]
else:
    Bar = tqdm

__all__ = ["Bar", "progress_bar"]


def progress_bar(what: str, rows: int, shown: bool, done: int = 0) -> Bar:
    """Return a bar over so many rows, some of which are done already."""
    return tqdm(total=rows, initial=done, desc=what, unit=" rows", unit_scale=True, disable=not shown, mininterval=0.5)
