"""Feedback over time: what was said in each week, by who says so."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from nudge_integrations.feedback.feedback import Feedback
from nudge_integrations.feedback.label_log import LabelLog

__all__ = ["FeedbackWeek", "by_week"]

Said = tuple[str, str, str]


@dataclass(frozen=True)
class FeedbackWeek:
    """The verdicts of one source in one week.

    Attributes:
        week: The Monday of the week, UTC, as ISO 8601 text; empty where nobody knows when.
        source: Who says so; empty where nobody knows.
        yes: How many labels or verdicts say yes.
        no: How many say no.
        clicks: How many results were clicked.
        shown: How many were shown and not clicked.
    """

    week: str
    source: str
    yes: int = 0
    no: int = 0
    clicks: int = 0
    shown: int = 0


def by_week(log: Feedback | LabelLog) -> tuple[FeedbackWeek, ...]:
    """Count what was said by week and source, in the order of time; weeks and sources without anything are not there.

    Args:
        log: What was read of logs of feedback, or the labels that a nudge keeps.

    >>> from nudge_integrations.feedback import Verdict
    >>> said = Verdict("who purrs?", "d1", 1.0, time="2026-11-25T10:00:00", source="thumbs")
    >>> by_week(Feedback((said, said)))
    (FeedbackWeek(week='2026-11-23', source='thumbs', yes=2, no=0, clicks=0, shown=0),)
    """
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for time, source, what in _labels(log) if isinstance(log, LabelLog) else _feedback(log):
        counts[_monday(time), source][what] += 1
    kinds = ("yes", "no", "clicks", "shown")
    return tuple(FeedbackWeek(*about, *(counts[about][kind] for kind in kinds)) for about in sorted(counts))


def _labels(log: LabelLog) -> Iterable[Said]:
    for label in log.labels:
        if label.grade:
            yield label.time, label.source, "yes" if label.grade > 0 else "no"


def _feedback(feedback: Feedback) -> Iterable[Said]:
    for verdict in feedback.verdicts:
        yield verdict.time, verdict.source, "yes" if verdict.grade > 0 else "no"
    for one in feedback.shown:
        yield one.time, one.source, "clicks" if one.clicked else "shown"


def _monday(time: str) -> str:
    try:
        day = date.fromisoformat(time[:10])
    except ValueError:
        return ""
    return (day - timedelta(days=day.weekday())).isoformat()
