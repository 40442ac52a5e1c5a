"""Judgement lists: OpenSearch's ``judgmentRatings`` and Quepid's ``query,docid,rating``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from nudge_integrations.feedback.feedback import Feedback, Verdict
from nudge_integrations.feedback.values import records_in, text_at, time_of

__all__ = ["from_judgements"]

_ZERO = "ratings of 0: not relevant, which is no label"


def from_judgements(records: Iterable[Mapping[str, Any]]) -> Feedback:
    """Read ratings as grades; one below 0 is a no, one of 0 no label.

    Example:
        >>> records = [{"query": "tea", "docid": "d1", "rating": "3"}, {"query": "tea", "docid": "d2", "rating": 0}]
        >>> from_judgements(records)
        Feedback(1 verdict, 0 impressions, 0 clicked, 1 left out)
    """
    verdicts: list[Verdict] = []
    left_out: Counter[str] = Counter()
    for query, document, rating, time in _rows(records):
        try:
            grade = float(rating)
        except (OverflowError, TypeError, ValueError):
            grade = float("nan")
        if not query or not document or not abs(grade) < float("inf"):
            left_out["ratings without a query, a document or a number"] += 1
        elif grade == 0.0:
            left_out[_ZERO] += 1
        else:
            verdicts.append(Verdict(query, document, grade, 1.0, time, "judgements"))
    return Feedback(tuple(verdicts), (), dict(left_out))


def _rows(records: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str, Any, str]]:
    for record in records:
        if "judgmentRatings" in record:
            for rated in records_in(record["judgmentRatings"]):
                for one in records_in(rated.get("ratings")):
                    yield text_at(rated, "query"), str(one.get("docId") or ""), one.get("rating"), time_of(record)
        else:
            document = next((record[name] for name in ("docid", "docId", "document") if record.get(name)), "")
            yield text_at(record, "query"), str(document), record.get("rating", record.get("grade")), time_of(record)
