"""How far a selection is, for whoever watches: a bar with the time that is likely left."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

__all__ = ["Stages"]


class Stages:
    """A progress bar over the stages of a selection, in percent of its usual time.

    Args:
        disable: Whether to draw nothing.

    Example:
        >>> with Stages(disable=True) as stages:
        ...     stages.reached("query maps", 10)
    """

    def __init__(self, *, disable: bool) -> None:
        shown = "choosing, {desc}: {percentage:3.0f}%|{bar}| {elapsed}, about {remaining} left"
        self._bar: tqdm[Any] = tqdm(total=100, desc="nudges", bar_format=shown, disable=disable, leave=False)

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def reached(self, stage: str, percent: int) -> None:
        """Say which stage begins, and how much of the time is usually over by then; it never goes back."""
        self._bar.set_description_str(stage, refresh=False)
        self._bar.update(max(0, percent - int(self._bar.n)))
