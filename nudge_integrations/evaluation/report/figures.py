"""The pictures of a report: the metric along the step, each query's change, the angles, and the corpus.

Drawn here rather than by a plotting library: a picture takes its colours from the page's theme, its text from the
page's fonts, says in words what it shows, and needs nothing but the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nudge_integrations.evaluation.report.contents import CandidateRow, Contents, Projection, StepCurve
from nudge_integrations.evaluation.report.drawing import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    chart,
    frame,
    label,
    path,
)
from nudge_integrations.evaluation.report.elements import Element, element
from nudge_integrations.evaluation.report.wording import metric_name, percent, points

__all__ = ["angles_chart", "candidates_chart", "changes_chart", "curve_chart", "projection_chart", "says_nothing"]

_COLUMNS = WIDTH - LEFT - RIGHT
_BINS = 24
_TALL, _AXIS = 440, 34
_CANDIDATES, _NAMES, _ROW = 12, 200, 24
_ONE_BAR, _FLAT = 0.04, 0.25
_PAST_THE_STEP = 4.0
"""A line has no end: it is drawn up to this many times the chosen step."""


def curve_chart(curve: StepCurve) -> Element:
    """Draw the metric along the step, with the chosen step on it."""
    last = curve.steps[-1] * 1.03
    if curve.unit == "length" and curve.step > 0:
        last = min(last, _PAST_THE_STEP * curve.step)
    last = max(last, curve.step * 1.1)
    shown = [100 * value for step, value in zip(curve.steps, curve.values, strict=True) if step <= last]
    x, y = (
        Scale.across(0.0, last),
        _with_room([*shown, 100 * curve.baseline, 100 * curve.score], below=0.06, above=0.16),
    )
    at_x, at_y, left = x(curve.step), y(100 * curve.score), curve.step < last / 2
    unit = "angle in radians" if curve.unit == "rad" else "length"
    change = f"{metric_name(curve.metric)} is {percent(curve.baseline)} before and {percent(curve.score)}"
    return chart(
        "curve",
        f"{metric_name(curve.metric)} along the step",
        f"{change} at the chosen step, {curve.step:.3f}.",
        frame(x, y, f"step ({unit})", f"{metric_name(curve.metric)} (%)"),
        path([(LEFT, y(100 * curve.baseline)), (WIDTH - RIGHT, y(100 * curve.baseline))], "reference"),
        label(WIDTH - RIGHT, y(100 * curve.baseline) - 6, f"before: {percent(curve.baseline)}", "note", anchor="end"),
        path(_stairs(curve, x, y), "curve"),
        path([(at_x, at_y), (at_x, HEIGHT - BOTTOM)], "reference"),
        element("circle", cx=at_x, cy=at_y, r=5.0, class_="chosen"),
        label(
            at_x + (8 if left else -8),
            at_y - 11,
            f"chosen {curve.step:.3f}: {percent(curve.score)}",
            "note strong",
            anchor=None if left else "end",
        ),
    )


def changes_chart(changes: Sequence[float], metric: str) -> Element:
    """Draw every query's change, largest gain first: gains above the line, losses below it.

    Args:
        changes: One a query in [-1, 1], descending.
        metric: Whose changes they are.
    """
    values = 100 * np.asarray(changes, dtype=np.float64)
    better, worse = int((values > 0).sum()), int((values < 0).sum())
    x = Scale.across(0.0, float(len(values)))
    y = _with_room([0.0, float(values.max(initial=0.0)), float(values.min(initial=0.0))], below=0.08, above=0.08)
    same = len(values) - better - worse
    return chart(
        "changes",
        f"Change of {metric_name(metric)}, query by query",
        f"{better:,} queries are better, {worse:,} worse and {same:,} the same; "
        f"the changes go from {points(max(changes))} to {points(min(changes))} points.",
        frame(x, y, "queries, largest gain first", f"change of {metric_name(metric)} (points)"),
        _area(values[:better], 0, x, y, "gain"),
        _area(values[len(values) - worse :], len(values) - worse, x, y, "loss"),
        path([(LEFT, y(0)), (WIDTH - RIGHT, y(0))], "axis"),
        label(LEFT + 6, y(0) + 19, f"▲ {better:,} better", "note gain-text") if better else None,
        label(WIDTH - RIGHT - 4, y(0) - 9, f"▼ {worse:,} worse", "note loss-text", anchor="end") if worse else None,
    )


def says_nothing(contents: Contents) -> dict[str, str]:
    """Return the pictures that would say nothing about this fit: name -> why."""
    reasons = {}
    if contents.angles:
        degrees = np.degrees(np.asarray(contents.angles, dtype=np.float64))
        if float(np.ptp(degrees)) < _ONE_BAR * max(float(degrees.max()), 1e-9):
            reasons["angles"] = "all moved documents turned by the same angle: a histogram of one bar"
    if contents.projection is not None and sum(contents.projection.explained) < _FLAT:
        reasons["projection"] = (
            f"the two main axes hold {sum(contents.projection.explained):.0%} of the variance: what is near in a cloud "
            "of arrows would not be near in fact"
        )
    return reasons


def candidates_chart(candidates: Sequence[CandidateRow]) -> Element:
    """Draw what every candidate gained, two standard errors to either side; what was fitted is filled."""
    known = [one for one in candidates if math.isfinite(one.gain) and math.isfinite(one.error)]
    rows = sorted(known, key=lambda one: -one.gain)[:_CANDIDATES]
    ends = [100 * (one.gain + sign * 2 * one.error) for one in rows for sign in (-1, 1)]
    x = Scale(min([0.0, *ends]), max([1.0, *ends]), _NAMES, WIDTH - RIGHT)
    height = TOP + _ROW * len(rows) + BOTTOM
    drawn = [path([(x(0), TOP - 8), (x(0), height - BOTTOM)], "reference")]
    for number, one in enumerate(rows):
        drawn += _candidate(one, x, TOP + _ROW * (number + 0.5))
    drawn += [
        label(x(value), height - BOTTOM + 18, points(value / 100).removesuffix(".0"), "tick", anchor="middle")
        for value in x.ticks(5)
    ]
    drawn.append(label(WIDTH - RIGHT, height - 8, "gain over doing nothing (points)", "name", anchor="end"))
    chosen = ", ".join(one.name for one in rows if one.chosen) or "nothing"
    words = "; ".join(f"{one.name} {points(one.gain)} points" for one in rows)
    return chart("candidates", "What was tried", f"Chosen: {chosen}. {words}.", *drawn, height=int(height))


def _candidate(one: CandidateRow, x: Scale, y: float) -> list[Element]:
    colour = " gain" if one.chosen else ""
    low, high = (x(100 * (one.gain + sign * 2 * one.error)) for sign in (-1, 1))
    return [
        label(_NAMES - 8, y + 5, one.name, "note strong" if one.chosen else "tick", anchor="end"),
        element("line", x1=low, y1=y, x2=high, y2=y, class_=f"whisker{colour}"),
        element("circle", cx=x(100 * one.gain), cy=y, r=4.5, class_=f"dot{colour}"),
    ]


def angles_chart(angles: Sequence[float]) -> Element:
    """Draw how many documents turned by how much."""
    degrees = np.degrees(np.asarray(angles, dtype=np.float64))
    top = max(float(degrees.max()), 1e-3) * 1.04
    counts, edges = np.histogram(degrees, bins=_BINS, range=(0.0, top))
    x, y = Scale.across(0.0, top), Scale.up(0.0, float(counts.max()) * 1.12)
    middle = float(np.median(degrees))
    bars = [
        _bar(count, x(low), x(high), y, low, high) for count, low, high in zip(counts, edges, edges[1:], strict=False)
    ]
    left = middle < top / 2
    return chart(
        "angles",
        "How far documents turned",
        f"{len(degrees):,} documents turned by {degrees.min():.1f} to {degrees.max():.1f}°, median {middle:.1f}°.",
        frame(x, y, "angle between old and new vector (degrees)", "documents"),
        *bars,
        path([(x(middle), TOP), (x(middle), HEIGHT - BOTTOM)], "reference"),
        label(
            x(middle) + (6 if left else -6), TOP + 10, f"median {middle:.1f}°", "note", anchor=None if left else "end"
        ),
    )


def projection_chart(seen: Projection) -> Element:
    """Draw a sample of the corpus as dots, moved documents as arrows, queries as diamonds."""
    every = np.array([*seen.corpus, *seen.queries, *(point for arrow in seen.arrows for point in arrow)])
    x, y = _same_units(every.min(axis=0), every.max(axis=0))
    dots = "".join(f"M{x(a):.1f} {y(b):.1f}h0" for a, b in seen.corpus)
    diamonds = "".join(f"M{x(a):.1f} {y(b) - 4:.1f}l4 4-4 4-4-4z" for a, b in seen.queries)
    arrows = [_arrow(x(a), y(b), x(c), y(d)) for (a, b), (c, d) in seen.arrows]
    documents, moved, queries = seen.totals
    first, second = (f"axis {number} ({part:.1%} of variance)" for number, part in enumerate(seen.explained, start=1))
    return chart(
        "projection",
        "The corpus on its two main axes",
        f"{len(seen.corpus):,} of {documents:,} documents as dots, {len(seen.arrows):,} of {moved:,} moved documents "
        f"as arrows from old to new place, {len(seen.queries):,} of {queries:,} queries as diamonds.",
        label(WIDTH - RIGHT, _TALL - 8, first, "name", anchor="end"),
        label(2, 15, second, "name"),
        path([(_AXIS, TOP), (_AXIS, _TALL - _AXIS), (WIDTH - RIGHT, _TALL - _AXIS)], "axis"),
        element("path", d=dots, class_="dots") if dots else None,
        element("path", d=diamonds, class_="diamonds") if diamonds else None,
        element("path", d="".join(arrows), class_="arrows") if arrows else None,
        height=_TALL,
    )


def _with_room(values: Sequence[float], *, below: float, above: float) -> Scale:
    low, high = min(values), max(values)
    span = max(high - low, 0.5)
    return Scale.up(low - below * span, high + above * span)


def _stairs(curve: StepCurve, x: Scale, y: Scale) -> list[tuple[float, float]]:
    """Return the corners of the curve; of pieces narrower than a pixel the first, lowest, highest and last."""
    columns: dict[int, list[float]] = {}
    corners: list[tuple[float, float]] = []
    for step, value in zip(curve.steps, curve.values, strict=True):
        if step <= x.high:
            columns.setdefault(round(2 * x(step)), []).append(100 * value)
    for column, values in columns.items():
        at = column / 2
        if corners:
            corners.append((at, corners[-1][1]))
        kept = values if len(values) <= 4 else [values[0], min(values), max(values), values[-1]]
        corners += [(at, y(value)) for value in kept]
    return [*corners, (x.end, corners[-1][1])]


def _area(values: np.ndarray, first: int, x: Scale, y: Scale, class_: str) -> Element | None:
    """Draw bars as one shape; where there are more than pixels, those that stand at a pixel."""
    if not len(values):
        return None
    shown = np.unique(np.linspace(0, len(values) - 1, min(len(values), _COLUMNS)).round().astype(int))
    edges = [first + int(index) for index in shown] + [first + len(values)]
    corners = [(x(edges[0]), y(0))]
    for index, left, right in zip(shown, edges, edges[1:], strict=False):
        height = y(float(values[index]))
        corners += [(x(left), height), (x(right), height)]
    return path([*corners, (x(edges[-1]), y(0))], class_, close=True)


def _bar(count: int, left: float, right: float, y: Scale, low: float, high: float) -> Element:
    text = element("title", f"{low:.1f}° to {high:.1f}°: {count:,} documents")
    return element(
        "rect",
        text,
        x=left + 0.5,
        y=y(float(count)),
        width=right - left - 1,
        height=y(0) - y(float(count)),
        class_="bar",
    )


def _same_units(low: np.ndarray, high: np.ndarray) -> tuple[Scale, Scale]:
    """Return scales on which equal lengths look equal, with the data in the middle."""
    left, right, bottom, top = _AXIS + 10, WIDTH - RIGHT - 10, _TALL - _AXIS - 10, TOP + 10
    unit = max((high[0] - low[0]) / (right - left), (high[1] - low[1]) / (bottom - top), 1e-9)
    x, y = (float(value) for value in (low + high) / 2)
    across, up = unit * (right - left) / 2, unit * (bottom - top) / 2
    return Scale(x - across, x + across, left, right), Scale(y - up, y + up, bottom, top)


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """Return the path of a line with a head, no longer than the line."""
    length = math.hypot(x2 - x1, y2 - y1)
    if length < 0.5:
        return ""
    head = min(5.0, 0.6 * length)
    turn = math.atan2(y2 - y1, x2 - x1)
    wings = [(x2 - head * math.cos(turn + side), y2 - head * math.sin(turn + side)) for side in (0.45, -0.45)]
    (ax, ay), (bx, by) = wings
    return f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}M{ax:.1f} {ay:.1f}L{x2:.1f} {y2:.1f}L{bx:.1f} {by:.1f}"
