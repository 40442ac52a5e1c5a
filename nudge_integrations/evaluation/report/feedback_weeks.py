"""Feedback over time: a table of weeks, and a picture of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nudge_integrations.evaluation.report.drawing import BOTTOM, HEIGHT, Scale, chart, frame, label, path
from nudge_integrations.evaluation.report.elements import Element
from nudge_integrations.evaluation.report.sheets import Sheet
from nudge_integrations.feedback import FeedbackWeek

__all__ = ["weeks_chart", "weeks_sheet"]

_UNKNOWN = "not said"


def weeks_sheet(weeks: Sequence[FeedbackWeek]) -> Sheet:
    """Return one row a week and source; clicks and impressions only where there are any."""
    logged = any(one.clicks or one.shown for one in weeks)
    rows = []
    for one in weeks:
        figures = (one.yes, one.no, *((one.clicks, one.shown) if logged else ()))
        rows.append((one.week or _UNKNOWN, one.source or _UNKNOWN, *(f"{figure:,}" for figure in figures)))
    head = ("Week of", "Source", "Yes", "No", *(("Clicks", "Shown, not clicked") if logged else ()))
    return Sheet("What was said in each week, by who says so.", head, tuple(rows))


def weeks_chart(weeks: Sequence[FeedbackWeek]) -> Element | None:
    """Draw yes and clicks of each week above a line, and noes below it; None for fewer than two weeks that are known.

    Args:
        weeks: In the order of time.
    """
    yes, no = Counter[str](), Counter[str]()
    for one in weeks:
        yes[one.week] += one.yes + one.clicks
        no[one.week] += one.no
    names = [week for week in yes if week]
    if len(names) < 2:
        return None
    x = Scale.across(0.0, float(len(names)))
    y = Scale.up(-1.15 * max(no.values()), 1.15 * max(1, *yes.values()))
    zero, bars = y(0), []
    for place, week in enumerate(names):
        left, right = x(place + 0.1), x(place + 0.9)
        for end, kind in ((y(yes[week]), "gain"), (y(-no[week]), "loss")):
            if end != zero:
                bars.append(path([(left, zero), (left, end), (right, end), (right, zero)], kind, close=True))
    ends = [
        label(x(place + 0.5), HEIGHT - BOTTOM + 20, names[place], "tick", anchor="middle")
        for place in {0, len(names) - 1}
    ]
    grid = frame(Scale(x.low, 0.0, x.start, x.start), y, "weeks", "labels: yes and clicks above, no below")
    words = f"{sum(yes.values()):,} yes and clicks, {sum(no.values()):,} no in {len(names)} weeks"
    return chart("weeks", "Feedback by week", f"{words}, from {names[0]} to {names[-1]}.", grid, *bars, *ends)
