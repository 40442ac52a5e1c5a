"""The ways in which logs write yes and no, documents, and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nudge_integrations.dataset.content import content_id

__all__ = ["document_id", "documents_of", "grade_of", "position_of", "records_in", "text_at", "time_of"]

# Nobody looks further down; what says so counts in bytes or in milliseconds.
_DEEPEST = 100_000

# The largest grade: more than any scale has, and less than floats have.
_LARGEST = 1e9

_YES = {
    "yes",
    "up",
    "thumbs_up",
    "thumbs-up",
    "thumbsup",
    "positive",
    "relevant",
    "correct",
    "good",
    "true",
    "+1",
    "👍",
}
_NO = {"no", "down", "thumbs_down", "thumbs-down", "thumbsdown", "negative", "irrelevant", "not relevant", "unrelated"}
_NO |= {"incorrect", "bad", "false", "-1", "👎", "wrong"}


def grade_of(value: Any) -> float | None:
    """Return a grade above 0 for a yes, below 0 for a no; None where it is neither.

    Numbers from 0.5 on are grades, smaller ones a no: 1 and 0, 1 and -1, and scores between 0 and 1 read as meant.

    Example:
        >>> grade_of("up"), grade_of(0), grade_of(0.8), grade_of(3), grade_of("later")
        (1.0, -1.0, 0.8, 3.0, None)
    """
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _YES:
            return 1.0
        if word in _NO:
            return -1.0
        try:
            value = float(word)
        except ValueError:
            return None
    if not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
        return None
    return float(value) if value >= 0.5 else -1.0


def position_of(value: Any) -> int | None:
    """Return a position from 0, which tables write as text or with a decimal point; None where it is none.

    Example:
        >>> position_of(2), position_of("2"), position_of(2.0), position_of(-1), position_of(True), position_of(1e30)
        (2, 2, 2, None, None, None)
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _DEEPEST:
        return None
    return int(value) if value == int(value) else None


def records_in(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects in a list, an empty one for what is none, so that it can be counted."""
    if not isinstance(value, list | tuple):
        return [{}]
    return [one if isinstance(one, Mapping) else {} for one in value]


def document_id(document: Any) -> str | None:
    """Return the id of a retrieved document as frameworks and tracers write it; else one made of its text."""
    if isinstance(document, str | int):
        return str(document)
    if not isinstance(document, Mapping):
        return None
    inner = document.get("document", document.get("node"))
    if isinstance(inner, Mapping):
        return document_id(inner)
    metadata = document.get("metadata", document.get("document.metadata"))
    for part in (document, metadata if isinstance(metadata, Mapping) else {}):
        for name in ("id", "document.id", "document_id", "doc_id", "docId", "node_id", "id_", "_id"):
            if part.get(name) not in (None, ""):
                return str(part[name])
    text = text_at(document, "page_content", "content", "document.content", "text")
    return content_id(text) if text else None


def documents_of(value: Any) -> list[str]:
    """Return the ids in a list of documents, or in what holds one."""
    if isinstance(value, Mapping):
        for name in ("documents", "retrieval.documents", "output", "nodes", "doc_ids", "ids", "shown", "context"):
            if name in value:
                return documents_of(value[name])
        return []
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [found for found in map(document_id, value) if found is not None]


def text_at(record: Any, *names: str) -> str:
    """Return the first text under one of some names; dots lead inwards. Empty where there is none."""
    for name in names:
        value = _at(record, name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, Mapping):
            inner = text_at(value, "query", "question", "input", "text", "value", "user_query")
            if inner:
                return inner
    return ""


def _at(record: Any, name: str) -> Any:
    if isinstance(record, Mapping):
        if name in record:
            return record[name]
        first, dot, rest = name.partition(".")
        if dot and first in record:
            return _at(record[first], rest)
    return None


def time_of(record: Mapping[str, Any]) -> str:
    """Return when something happened, as it is written; empty where it is not."""
    for name in ("time", "timestamp", "created_at", "createdAt", "start_time", "updated_at"):
        if record.get(name):
            return str(record[name])
    return ""
