"""Search among settings without trying all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

__all__ = ["coordinate_search", "line_search"]

Option = TypeVar("Option")


def coordinate_search(
    axes: Sequence[Sequence[float]],
    start: tuple[float, ...],
    value: Callable[[tuple[float, ...]], float],
    *,
    rounds: int | None = None,
) -> tuple[tuple[float, ...], float]:
    """Return a point of a grid that no other point on its lines beats, and its value.

    Args:
        axes: What each coordinate may be.
        start: Where to begin.
        value: What to maximise; called once for each point that is visited.
        rounds: How often to go through the axes at most; None until nothing improves.

    Example:
        >>> coordinate_search([(1, 2, 3), (1, 2, 3)], (1, 1), lambda point: -abs(point[0] - 2) - abs(point[1] - 3))
        ((2, 3), 0)
    """
    known = {start: value(start)}
    best = start
    for _ in count() if rounds is None else range(rounds):
        before = best
        for axis, options in enumerate(axes):
            for option in options:
                point = (*best[:axis], option, *best[axis + 1 :])
                if point not in known:
                    known[point] = value(point)
                if known[point] > known[best]:
                    best = point
        if best == before:
            break
    return best, known[best]


def line_search(options: Sequence[Option], start: Option, value: Callable[[Option], float]) -> tuple[Option, float]:
    """Move along ordered options as long as each step improves; return the last option and its value.

    Example:
        >>> line_search((1, 2, 3, 4, 5), 2, lambda option: -abs(option - 4))
        (4, 0)
    """
    place = options.index(start)
    best = value(start)
    for direction in (-1, 1):
        improved = False
        while 0 <= place + direction < len(options):
            ahead = value(options[place + direction])
            if ahead <= best:
                break
            place, best, improved = place + direction, ahead, True
        if improved:
            break
    return options[place], best
