"""Files of feedback, whatever form they have: JSON, JSON lines or CSV, told apart by their keys."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nudge_integrations.errors import DatasetError
from nudge_integrations.feedback.feedback import Feedback
from nudge_integrations.feedback.judgements import from_judgements
from nudge_integrations.feedback.lines import from_lines
from nudge_integrations.feedback.traces import from_langfuse, from_langsmith, from_phoenix
from nudge_integrations.feedback.ubi import from_ubi
from nudge_integrations.storage import read_regular

__all__ = ["FORMS", "read_feedback"]

FORMS: Mapping[str, Callable[[Iterable[Mapping[str, Any]]], Feedback]] = {
    "lines": from_lines,
    "ubi": from_ubi,
    "phoenix": from_phoenix,
    "langsmith": from_langsmith,
    "langfuse": from_langfuse,
    "judgements": from_judgements,
}

# Keys that only records of one form have.
_KEYS = (
    ("ubi", ("action_name", "user_query", "query_response_hit_ids")),
    ("judgements", ("judgmentRatings", "docid", "rating")),
    ("phoenix", ("annotator_kind", "span_id", "context", "context.span_id", "document_position")),
    ("langsmith", ("run_id", "run_type", "session_id")),
    ("langfuse", ("trace_id", "traceId", "observation_id", "observationId")),
    ("lines", ("query", "verdict", "shown")),
)
_LARGEST = 4 << 30


def read_feedback(*paths: str | Path, form: str | None = None) -> Feedback:
    """Read files that belong together, such as runs and the feedback on them, as one log.

    Args:
        paths: JSON (an object or a list), JSON lines, or CSV with a header.
        form: One of `FORMS`; None to tell by the keys.

    Raises:
        DatasetError: If a file cannot be read, a line is no JSON object, or nothing says which form it is.
    """
    records = [record for path in paths for record in _records(Path(path))]
    if form is None:
        form = _form_of(records)
    if form is None or form not in FORMS:
        named = ", ".join(map(str, paths))
        raise DatasetError(f"{named}: no known form of feedback; say which, form= one of {', '.join(FORMS)}")
    return FORMS[form](records)


def _form_of(records: Sequence[Mapping[str, Any]]) -> str | None:
    keys = {key for record in records[:1000] for key in record}
    return next((form for form, own in _KEYS if keys.intersection(own)), None)


def _records(path: Path) -> list[Mapping[str, Any]]:
    try:
        text = read_regular(path, most=_LARGEST).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as UTF-8 text: {error}") from error
    if path.suffix.lower() in (".csv", ".tsv"):
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        return list[Mapping[str, Any]](csv.DictReader(io.StringIO(text), delimiter=delimiter))
    return _objects(text, path)


def _objects(text: str, path: Path) -> list[Mapping[str, Any]]:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = [_line(line, f"{path}:{number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    found = whole if isinstance(whole, list) else [whole]
    odd = [one for one in found if not isinstance(one, Mapping)]
    if odd:
        raise DatasetError(f"{path}: expected JSON objects, found {str(odd[0])[:60]!r}")
    return found


def _line(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where}: not valid JSON: {error}") from error
