"""Sheets -> HTML tables with their differences drawn beside the figures."""

from __future__ import annotations

import math
from collections.abc import Iterable

from nudge_integrations.evaluation.report.elements import Element, element
from nudge_integrations.evaluation.report.sheets import Sheet
from nudge_integrations.evaluation.report.wording import MINUS
from nudge_integrations.evaluation.significance import Difference

__all__ = ["Span", "cell", "column_head", "html_table", "row_head", "shared_span"]

_DRAWN = "Change and interval"
_WIDTH, _HEIGHT, _MARGIN = 150, 18, 6
_FEW = 20


Span = tuple[float, float]


def shared_span(sheets: Iterable[Sheet]) -> Span:
    """Return the lowest and the highest end of all intervals, and zero: one axis for all tables of a page.

    What a handful of queries leaves open would squeeze all others; such an interval is cut at the end of the axis.
    """
    every = [one for sheet in sheets for one in sheet.differences]
    wide = [one for one in every if one.wins + one.losses + one.ties >= _FEW] or every
    ends = [end for one in wide for end in (one.low, one.high) if math.isfinite(end)]
    return min([0.0, *ends]), max([0.0, *ends])


def html_table(sheet: Sheet, level: float = 0.05, span: Span | None = None) -> Element:
    """Build a table: a caption, a head, one row a line, and each difference with its interval as a small picture.

    Args:
        sheet: What it holds.
        level: The corrected p-value below which a difference is drawn as more than noise.
        span: The ends of the axis of its intervals; None for those of this table alone.
    """
    span = shared_span([sheet]) if span is None else span
    names = (*sheet.head, _DRAWN) if sheet.differences else sheet.head
    rows = []
    for number, line in enumerate(sheet.rows):
        about = sheet.differences[number] if sheet.differences else None
        certain = about is None or about.p_adjusted < level
        cells = [
            cell(name, text, _direction(name, text) if certain else None)
            for name, text in zip(sheet.head, line, strict=True)
        ]
        if about is not None:
            mark = _interval_mark(about, *span, level)
            cells.append(cell(_DRAWN, mark, "mark"))
        rows.append(element("tr", row_head(line[0]), *cells[1:], role="row"))
    return element(
        "table",
        element("caption", sheet.caption),
        element("thead", element("tr", *(column_head(name) for name in names), role="row"), role="rowgroup"),
        element("tbody", *rows, role="rowgroup"),
        role="table",
    )


# The roles are a table's own; they keep it one for screen readers where a narrow page lays rows out as blocks.
def column_head(name: str, **attributes: object) -> Element:
    """Build the head of a column."""
    return element("th", name, scope="col", role="columnheader", **attributes)


def row_head(*children: Element | str | None) -> Element:
    """Build the cell that names a row."""
    return element("th", *children, scope="row", role="rowheader")


def cell(name: str, content: Element | str, class_: str | None = None) -> Element:
    """Build a cell that knows its column's name, for pages too narrow for the head."""
    return element("td", content, role="cell", data_label=name, class_=class_)


def _direction(column: str, text: str) -> str | None:
    if column != "Change":
        return None
    return "gain-text" if text.startswith("+") else "loss-text" if text.startswith(MINUS) else None


def _interval_mark(one: Difference, low: float, high: float, level: float) -> Element:
    """Draw a difference as a dot on its interval, with a line at zero; the figures stand beside it in words."""

    def x(value: float) -> float:
        inside = min(max(value, low), high)
        return _MARGIN + (inside - low) / ((high - low) or 1.0) * (_WIDTH - 2 * _MARGIN)

    middle = _HEIGHT / 2
    # Hollow where it may be noise: the colour is not the only sign.
    colour = "" if one.p_adjusted >= level else " gain" if one.difference > 0 else " loss"
    zero = element("line", x1=x(0), y1=0, x2=x(0), y2=_HEIGHT, class_="zero")
    whisker = element("line", x1=x(one.low), y1=middle, x2=x(one.high), y2=middle, class_=f"whisker{colour}")
    dot = element("circle", cx=x(one.difference), cy=middle, r=4.0, class_=f"dot{colour}")
    return element("svg", zero, whisker, dot, class_="interval", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", aria_hidden="true")
