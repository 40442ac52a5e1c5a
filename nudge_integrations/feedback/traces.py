"""Verdicts on traces: Phoenix, LangSmith and Langfuse, from their exports, without their clients.

All three say something about a span, run or trace, and what that retrieved stands elsewhere. Both kinds of records come
in one list, in any order. A verdict that names a document's position is on that document; any other is on the whole
answer: it is split among the documents retrieved, or left out where nobody knows them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nudge_integrations.feedback.feedback import Feedback, Verdict
from nudge_integrations.feedback.lines import on_whole_answer
from nudge_integrations.feedback.values import documents_of, grade_of, position_of, text_at, time_of

__all__ = ["from_langfuse", "from_langsmith", "from_phoenix"]

_QUERY = ("inputs.query", "inputs.question", "inputs.input", "input.value", "attributes.input.value", "inputs", "input")
_DOCUMENTS = ("attributes.retrieval.documents", "retrieval.documents", "outputs", "output", "attributes")


@dataclass
class _Trace:
    """The documents that one query retrieved."""

    query: str = ""
    documents: list[str] = field(default_factory=list)


def from_phoenix(records: Iterable[Mapping[str, Any]]) -> Feedback:
    """Read spans and annotations of spans or documents: ``span_id``, ``document_position``, ``result``."""
    return _read(records, "phoenix", ("context.span_id", "span_id"), ("span_id",))


def from_langsmith(records: Iterable[Mapping[str, Any]]) -> Feedback:
    """Read runs and feedback: ``run_id``, ``key``, ``score``, ``value``, ``correction``.

    A correction that names documents is a yes to these.
    """
    return _read(records, "langsmith", ("id", "trace_id"), ("run_id", "trace_id"))


def from_langfuse(records: Iterable[Mapping[str, Any]]) -> Feedback:
    """Read traces, observations and scores: ``trace_id``, ``observation_id``, ``name``, ``value``."""
    return _read(
        records,
        "langfuse",
        ("id", "trace_id", "traceId"),
        ("observation_id", "observationId", "trace_id", "traceId"),
    )


def _read(records: Iterable[Mapping[str, Any]], source: str, own: tuple[str, ...], about: tuple[str, ...]) -> Feedback:
    traces: dict[str, _Trace] = {}
    said: list[Mapping[str, Any]] = []
    for record in records:
        if _opinion(record) is not None:
            said.append(record)
        else:
            _remember(record, traces, own)
    verdicts: list[Verdict] = []
    left_out: Counter[str] = Counter()
    for record in said:
        trace = next((traces[name] for name in _names(record, about) if name in traces), None)
        if trace is None or not trace.query:
            left_out["verdicts on a run, span or trace that is not in the export, or has no query"] += 1
        else:
            _take(record, trace, source, verdicts, left_out)
    return Feedback(tuple(verdicts), (), dict(left_out))


def _names(record: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    return [name for name in (text_at(record, key) for key in keys) if name]


def _remember(record: Mapping[str, Any], traces: dict[str, _Trace], own: tuple[str, ...]) -> None:
    """Keep the query and the documents of a run for itself and for the trace that it is part of."""
    query = text_at(record, *_QUERY)
    documents: list[str] = []
    for name in _DOCUMENTS:
        documents = documents or documents_of(record.get(name) if name in record else _inner(record, name))
    for name in _names(record, (*own, "context.trace_id", "parent_run_id")):
        trace = traces.setdefault(name, _Trace())
        trace.query = trace.query or query
        trace.documents = trace.documents or documents


def _inner(record: Any, name: str) -> Any:
    for part in name.split("."):
        record = record.get(part) if isinstance(record, Mapping) else None
    return record


def _opinion(record: Mapping[str, Any]) -> Any:
    """Return what a record says, if it is a verdict: a score, a label or a value; "" where it only corrects."""
    result = record.get("result")
    inner = result if isinstance(result, Mapping) else {}
    if not (result or "key" in record or ("name" in record and ("value" in record or "stringValue" in record))):
        return None
    if inner.get("score") is None and inner.get("label") is not None:
        return inner["label"]
    for value in (inner.get("score"), record.get("score"), record.get("value"), record.get("stringValue")):
        if value is not None:
            return value
    return ""


def _take(
    record: Mapping[str, Any], trace: _Trace, source: str, verdicts: list[Verdict], left_out: Counter[str]
) -> None:
    time, who = time_of(record), text_at(record, "annotator_kind", "source") or source
    correction = record.get("correction")
    single = [correction["document"]] if isinstance(correction, Mapping) and "document" in correction else None
    right = documents_of(correction) or documents_of(single)
    verdicts += [Verdict(trace.query, document, 1.0, 1.0, time, source) for document in right]
    grade = grade_of(_opinion(record))
    if grade is None:
        if not right:
            left_out["scores and labels that are neither yes nor no"] += 1
        return
    position = record.get("document_position")
    place = position_of(position)
    said = Verdict(trace.query, "", grade, 1.0, time, f"{source}:{who}" if who != source else source)
    if position not in (None, "") and position == position:  # tables have NaN where there is none
        if place is not None and place < len(trace.documents):
            verdicts.append(Verdict(said.query, trace.documents[place], grade, 1.0, time, said.source))
        else:
            left_out["verdicts on a position where no document was"] += 1
        return
    on_whole_answer(said, [], [i for i in trace.documents if i not in right], verdicts, left_out)
