"""A comparison as JUnit XML, which every CI knows how to show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring  # builds and writes: nothing is parsed

from nudge_integrations.errors import InputError
from nudge_integrations.evaluation.report.wording import interval, percent, points

if TYPE_CHECKING:
    from nudge_integrations.evaluation.comparison import Comparison
    from nudge_integrations.evaluation.significance import Difference

__all__ = ["junit_of"]


def junit_of(comparison: Comparison, metric: str | None) -> str:
    """Return one suite: a test a metric, and one a group and metric.

    Args:
        comparison: What was compared.
        metric: The metric that must gain beyond noise; None for none.

    Raises:
        InputError: If that metric was not compared.
    """
    if metric is not None and metric not in comparison.differences:
        raise InputError(f"{metric!r} was not compared, only {list(comparison.differences)}")
    level = 1 - comparison.confidence
    tests = [("all queries", one, one.metric == metric) for one in comparison.differences.values()]
    for breakdown in comparison.breakdowns:
        for group in breakdown.groups:
            tests += [(f"{breakdown.name}: {group.label}", one, False) for one in group.differences.values()]
    suite = Element("testsuite", name="nudge", tests=str(len(tests)))
    failures = 0
    for about, one, must_gain in tests:
        case = SubElement(suite, "testcase", classname=f"nudge.{about}", name=one.metric)
        if problem := _problem(one, must_gain, level):
            failures += 1
            SubElement(case, "failure", message=problem).text = _line(one)
        else:
            SubElement(case, "system-out").text = _line(one)
    suite.set("failures", str(failures))
    indent(suite)
    # Texts of queries name clusters; XML cannot hold control characters or half of a surrogate pair.
    text = re.sub(r"[\x00-\x08\x0b-\x1f\ud800-\udfff]", "?", tostring(suite, encoding="unicode"))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _problem(one: Difference, must_gain: bool, level: float) -> str | None:
    certain = one.p_adjusted < level
    if certain and one.difference < 0:
        return f"{one.metric} falls by more than noise"
    if must_gain and not (certain and one.difference > 0):
        return f"{one.metric} does not gain more than noise"
    return None


def _line(one: Difference) -> str:
    return (
        f"{percent(one.before)} -> {percent(one.after)}: {points(one.difference)} points, "
        f"interval {interval(one.low, one.high)}, p {one.p_adjusted:.4f}"
    )
