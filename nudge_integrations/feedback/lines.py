"""Our own log: one JSON object a line, which `FeedbackLog` writes and any application can.

=============  =========================================================================================
``query``      the text of the query; needed
``document``   the id of the document that the verdict is on
``verdict``    ``"yes"``, ``"no"``, a grade, ``"click"``, or ``"correction"``; none: results were shown
``instead``    for a correction, the id of the document that answers the query
``position``   where the document stood, from 0
``shown``      the ids that were shown, best first
``cited``      for a verdict on a whole answer (no ``document``), the ids that the answer cites
``shuffled``   whether the results were in random order: what click weights are best read off
``time``       ISO 8601
``source``     who says so
=============  =========================================================================================

Other keys are kept by the log and passed over by the reader. A verdict without a document is one on the whole answer:
it counts for the documents that are cited, else it is split among those shown, else it is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from nudge_integrations.feedback.clicks import Shown
from nudge_integrations.feedback.feedback import Feedback, Verdict
from nudge_integrations.feedback.values import documents_of, grade_of, position_of, text_at, time_of

__all__ = ["from_lines", "on_whole_answer"]


def from_lines(records: Iterable[Mapping[str, Any]]) -> Feedback:
    """Read our own log.

    Example:
        >>> from_lines([{"query": "who purrs?", "document": "d1", "verdict": "yes"}])
        Feedback(1 verdict, 0 impressions, 0 clicked, 0 left out)
    """
    verdicts: list[Verdict] = []
    shown: list[Shown] = []
    left_out: Counter[str] = Counter()
    for record in records:
        _read(record, verdicts, shown, left_out)
    clicks = [one for one in shown if one.clicked]
    clicked = {(one.query, one.document, one.position) for one in clicks}
    # A click is one of the impressions, where these were written down: it must not count as another.
    open_clicks = Counter((one.query, one.document, one.position) for one in clicks)
    rest = []
    for one in shown:
        key = one.query, one.document, one.position
        if not one.clicked and key in clicked and open_clicks[key] > 0:
            open_clicks[key] -= 1
        elif not one.clicked:
            rest.append(one)
    return Feedback(tuple(verdicts), (*rest, *clicks), dict(left_out))


def _read(record: Mapping[str, Any], verdicts: list[Verdict], shown: list[Shown], left_out: Counter[str]) -> None:
    query, document = text_at(record, "query"), record.get("document")
    verdict, time, source = record.get("verdict"), time_of(record), str(record.get("source") or "")
    ids = documents_of(record.get("shown"))
    if not query:
        left_out["lines without a query"] += 1
        return
    if verdict in (None, "", "shown"):
        shuffled = bool(record.get("shuffled"))
        shown += [Shown(query, i, place, False, shuffled, time, source) for place, i in enumerate(ids)]
        if not ids:
            left_out["lines with neither a verdict nor what was shown"] += 1
        return
    if verdict == "click" and document is not None:
        position = _position(record, str(document), ids)
        if position is None:
            left_out["clicks without a position"] += 1
        else:
            shown.append(Shown(query, str(document), position, True, bool(record.get("shuffled")), time, source))
        return
    grade = -1.0 if verdict == "correction" else grade_of(verdict)
    if grade is None:
        left_out[f"verdicts that are neither yes nor no, such as {str(verdict)[:20]!r}"] += 1
    elif document is not None:
        verdicts.append(Verdict(query, str(document), grade, 1.0, time, source))
    elif verdict != "correction":
        said = Verdict(query, "", grade, 1.0, time, source)
        on_whole_answer(said, documents_of(record.get("cited")), ids, verdicts, left_out)
    if record.get("instead") not in (None, ""):
        verdicts.append(Verdict(query, str(record["instead"]), 1.0, 1.0, time, source))


def _position(record: Mapping[str, Any], document: str, ids: list[str]) -> int | None:
    position = position_of(record.get("position"))
    return ids.index(document) if position is None and document in ids else position


def on_whole_answer(
    said: Verdict, cited: list[str], shown: list[str], verdicts: list[Verdict], left_out: Counter[str]
) -> None:
    """Take a verdict on a whole answer for the documents cited; else split it among those shown; else leave it out."""
    documents = cited or shown
    for document in documents:
        weight = 1.0 if cited else 1.0 / len(documents)
        verdicts.append(Verdict(said.query, document, said.grade, weight, said.time, said.source))
    if not cited:
        words = "split among the documents shown" if shown else "left out, as nothing says what was shown"
        left_out[f"verdicts on whole answers, {words}"] += 1
