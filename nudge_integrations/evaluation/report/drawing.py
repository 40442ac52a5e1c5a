"""The frame of a picture in SVG: scales, axes, grid. Colours are classes, so that it follows the page's theme."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from nudge_integrations.evaluation.report.elements import Element, element
from nudge_integrations.evaluation.report.wording import MINUS

__all__ = ["BOTTOM", "HEIGHT", "WIDTH", "Scale", "chart", "frame", "label", "path"]

WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 30, 50


@dataclass(frozen=True)
class Scale:
    """A straight line from data to picture.

    >>> along = Scale.across(0.0, 10.0)
    >>> along(0), along(10), along.ticks(5)
    (54.0, 506.0, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0])
    """

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def across(cls, low: float, high: float) -> Scale:
        """Run from the left of the frame to its right."""
        return cls(low, high if high > low else low + 1, LEFT, WIDTH - RIGHT)

    @classmethod
    def up(cls, low: float, high: float) -> Scale:
        """Run from the bottom of the frame to its top."""
        return cls(low, high if high > low else low + 1, HEIGHT - BOTTOM, TOP)

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values within the scale, at most ``most`` and one more."""
        step = _round_step((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(index * step, 10) for index in range(first, last + 1)]


def chart(name: str, title: str, description: str, *children: Element | str | None, height: int = HEIGHT) -> Element:
    """Build a picture with its alternative in words.

    Args:
        name: For its ids; one a page.
        title: What it shows.
        description: What can be seen in it.
        *children: What is drawn.
        height: The height of the picture.
    """
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *children,
        class_="chart",
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def frame(x: Scale, y: Scale, x_label: str, y_label: str, *, ticks: int = 5) -> Element:
    """Draw grid, ticks and labels; the vertical axis is named above its end, so that no text stands on its side."""
    lines, texts = [], []
    for value in y.ticks(ticks):
        lines.append(_line(LEFT, y(value), WIDTH - RIGHT, y(value), "grid"))
        texts.append(label(LEFT - 8, y(value) + 5, _number(value, y.ticks(ticks)), "tick", anchor="end"))
    for value in x.ticks(ticks):
        lines.append(_line(x(value), HEIGHT - BOTTOM, x(value), HEIGHT - BOTTOM + 4, "axis"))
        texts.append(label(x(value), HEIGHT - BOTTOM + 20, _number(value, x.ticks(ticks)), "tick", anchor="middle"))
    axis = _line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis")
    names = [
        label(WIDTH - RIGHT, HEIGHT - 8, x_label, "name", anchor="end"),
        label(2, 15, y_label, "name"),
    ]
    return element("g", *lines, axis, *texts, *names)


def label(x: float, y: float, text: str, class_: str, anchor: str | None = None) -> Element:
    """Write a text at a place."""
    return element("text", text, x=float(x), y=float(y), class_=class_, text_anchor=anchor)


def path(points: Iterable[tuple[float, float]], class_: str, *, close: bool = False) -> Element:
    """Draw a line through points of the picture."""
    drawn = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return element("path", d=f"M{drawn}{'Z' if close else ''}", class_=class_)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _number(value: float, ticks: list[float]) -> str:
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{digits}f}".replace("-", MINUS)
