"""The contents of a report: plain values and no vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from nudge_integrations.evaluation.breakdown import Breakdown
from nudge_integrations.evaluation.significance import Difference
from nudge_integrations.feedback import FeedbackWeek

__all__ = ["CandidateRow", "Contents", "Projection", "QueryRow", "StepCurve"]

Point = tuple[float, float]


@dataclass(frozen=True)
class QueryRow:
    """One query before and after.

    Attributes:
        query_id: Its id.
        text: Its text; empty where the evaluations know none.
        before: Its value of every metric, in the order of the report's differences, in [0, 1].
        after: The same with the other ranking.
        document_id: The relevant document that rose or fell most, or that ranks first where none moved; None if
            unknown.
        old_rank: The document's rank before, from 1; None when it was not retrieved.
        new_rank: Its rank after.
        old_top: Ids of the best documents before, best first; empty where it is not opened.
        new_top: The same after.
        relevant: Those of them that are relevant.
    """

    query_id: str
    text: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    document_id: str | None
    old_rank: int | None
    new_rank: int | None
    old_top: tuple[str, ...] = ()
    new_top: tuple[str, ...] = ()
    relevant: tuple[str, ...] = ()

    @property
    def change(self) -> float:
        """How much the first metric rose, in [-1, 1]."""
        return self.after[0] - self.before[0]


@dataclass(frozen=True)
class StepCurve:
    """The metric along the step, exact and piecewise constant, as it was when the step was chosen.

    Attributes:
        metric: Its name.
        protocol: ``"leave-one-out"`` or ``"validation"``.
        queries: How many queries it is a mean over.
        steps: Where it changes, ascending from 0.
        values: ``values[i]`` holds from ``steps[i]`` on, in [0, 1].
        unit: ``"rad"`` or ``"length"``.
        step: The chosen step.
        baseline: The metric before anything was fitted.
        score: The metric at the chosen step.
    """

    metric: str
    protocol: str
    queries: int
    steps: tuple[float, ...]
    values: tuple[float, ...]
    unit: str
    step: float
    baseline: float
    score: float


@dataclass(frozen=True)
class CandidateRow:
    """One way that was tried.

    Attributes:
        name: Its method, with its temperature.
        gain: What it gained when it was chosen among the others, out of sample, in [-1, 1].
        error: The standard error of that.
        chosen: Whether it is what was fitted.
    """

    name: str
    gain: float
    error: float
    chosen: bool


@dataclass(frozen=True)
class Projection:
    """Corpus, moved documents and queries on the two main axes of the corpus.

    Attributes:
        corpus: A sample of the base vectors.
        arrows: From where to where a sample of the moved documents moved.
        queries: A sample of the queries.
        explained: The part of the corpus sample's variance along each axis, in [0, 1].
        totals: How many documents, moved documents and queries the samples were drawn from.
    """

    corpus: tuple[Point, ...]
    arrows: tuple[tuple[Point, Point], ...]
    queries: tuple[Point, ...]
    explained: Point
    totals: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The figures of a report.

    Attributes:
        title: What the report is about.
        differences: One a metric; the first metric orders the queries.
        confidence: Level of every interval.
        resamples: Resamples of every interval and test.
        queries: Every query, largest gain first.
        breakdowns: The differences for groups of the queries.
        curve: The metric along the step; None without one.
        angles: By how many radians each moved document turned.
        drift: What that did to their surroundings, as ``Drift.to_dict`` says it; None where it was not measured.
        projection: The picture of the corpus; None without vectors.
        card: What was made, from what and when: label -> value.
        limits: What the figures do not say, a sentence each.
        candidates: Everything that was tried.
        texts: Document id -> the beginning of its text, of the documents that opened queries show.
        feedback: What was said in each week.
    """

    title: str
    differences: tuple[Difference, ...]
    confidence: float
    resamples: int
    queries: tuple[QueryRow, ...]
    breakdowns: tuple[Breakdown, ...] = ()
    curve: StepCurve | None = None
    angles: tuple[float, ...] = ()
    drift: Mapping[str, Any] | None = None
    projection: Projection | None = None
    card: tuple[tuple[str, str], ...] = ()
    limits: tuple[str, ...] = ()
    candidates: tuple[CandidateRow, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    feedback: tuple[FeedbackWeek, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, ready for JSON: what was not measured is None, never NaN."""
        metrics = [difference.metric for difference in self.differences]
        plain = {
            "title": self.title,
            "confidence": self.confidence,
            "resamples": self.resamples,
            "metrics": {difference.metric: difference.to_dict() for difference in self.differences},
            "breakdowns": [breakdown.to_dict() for breakdown in self.breakdowns],
            "curve": None if self.curve is None else asdict(self.curve),
            "angles": list(self.angles),
            "drift": self.drift,
            "projection": None if self.projection is None else asdict(self.projection),
            "card": dict(self.card),
            "limits": list(self.limits),
            "candidates": [asdict(candidate) for candidate in self.candidates],
            "texts": dict(self.texts),
            "feedback": [asdict(week) for week in self.feedback],
            "queries": [_query(row, metrics) for row in self.queries],
        }
        finite: dict[str, Any] = _without_nan(plain)
        return finite


def _query(row: QueryRow, metrics: list[str]) -> dict[str, Any]:
    named = {"before": dict(zip(metrics, row.before, strict=True)), "after": dict(zip(metrics, row.after, strict=True))}
    return {**asdict(row), **named}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(held) for held in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
