"""The metric against the number of labels, with what more of them would buy as an interval."""

from __future__ import annotations

from collections.abc import Sequence

from nudge_integrations.evaluation.report.drawing import HEIGHT, Scale, chart, frame, label, path
from nudge_integrations.evaluation.report.elements import Element, element
from nudge_integrations.evaluation.report.wording import metric_name, percent, points

__all__ = ["learning_chart"]


def learning_chart(
    metric: str, sizes: Sequence[int], means: Sequence[float], more: int, rise: tuple[float, float, float]
) -> Element:
    """Draw the curve, and where it is expected to go.

    Args:
        metric: Its name.
        sizes: Numbers of labelled queries, ascending.
        means: The metric at each, in [0, 1].
        more: How many more labelled queries.
        rise: By how much they are expected to raise it: low, middle, high.
    """
    last, now = sizes[-1], means[-1]
    ends = [100 * (now + part) for part in rise]
    values = [100 * value for value in means] + ends
    room = 0.1 * max(max(values) - min(values), 1.0)
    x, y = Scale.across(0.0, 1.08 * (last + more)), Scale.up(min(values) - room, max(values) + room)
    drawn = [path([(x(size), y(100 * mean)) for size, mean in zip(sizes, means, strict=True)], "curve")]
    drawn += [
        element("circle", cx=x(size), cy=y(100 * mean), r=4.0, class_="chosen")
        for size, mean in zip(sizes, means, strict=True)
    ]
    at = x(last + more)
    drawn.append(path([(x(last), y(100 * now)), (at, y(ends[1]))], "reference"))
    drawn.append(element("line", x1=at, y1=y(ends[0]), x2=at, y2=y(ends[2]), class_="whisker gain"))
    drawn.append(element("circle", cx=at, cy=y(ends[1]), r=4.0, class_="dot gain"))
    drawn.append(label(at - 8, y(ends[2]) - 8, f"{more:,} more: {points(rise[1])}", "note", anchor="end"))
    words = f"{metric_name(metric)} goes from {percent(means[0])} without labels to {percent(now)} with {last:,}"
    return chart(
        "learning",
        f"{metric_name(metric)} against labelled queries",
        f"{words}; {more:,} more are expected to change it by {points(rise[1])} points.",
        frame(x, y, "labelled queries", f"{metric_name(metric)} (%)"),
        *drawn,
        height=HEIGHT,
    )
