"""Files of feedback, whatever form they have: JSON, JSON lines or CSV, told apart by their keys."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nudge_integrations.errors import DatasetError
from nudge_integrations.feedback.feedback import Feedback
from nudge_integrations.feedback.judgements import from_judgements
from nudge_integrations.feedback.lines import from_lines
from nudge_integrations.feedback.traces import from_langfuse, from_langsmith, from_phoenix
from nudge_integrations.feedback.ubi import from_ubi
from nudge_integrations.storage import read_regular

__all__ = ["FORMS", "bytes_of", "feedback_of", "is_feedback", "read_feedback"]

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
# Those of them that no table of labels has.
_TELLING = {"verdict", "shown", "action_name", "user_query", "judgmentRatings", "annotator_kind", "document_position"}
_LARGEST = 4 << 30
_CUT_OFF = "lines cut off at the end of a file"


def read_feedback(*paths: str | Path, form: str | None = None) -> Feedback:
    """Read files that belong together, such as runs and the feedback on them, as one log.

    Args:
        paths: JSON (an object or a list), JSON lines, or CSV with a header.
        form: One of `FORMS`; None to tell by the keys.

    Raises:
        DatasetError: If a file cannot be read, a line is no JSON object, or nothing says which form it is. A last line
            that is cut off, as of a log that is being written, is left out and counted.
    """
    return feedback_of({Path(path): bytes_of(Path(path)) for path in paths}, form)


def bytes_of(path: Path) -> bytes:
    """Read a file of feedback.

    Raises:
        DatasetError: If it cannot be read.
    """
    try:
        return read_regular(path, most=_LARGEST)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as feedback: {error}") from error


def feedback_of(contents: Mapping[Path, bytes], form: str | None) -> Feedback:
    """Do what `read_feedback` does with the bytes of files.

    Raises:
        DatasetError: As `read_feedback`.
    """
    read = [_records(path, data) for path, data in contents.items()]
    records = [record for found, _ in read for record in found]
    cut_off = sum(cut for _, cut in read)
    named = ", ".join(map(str, contents))
    if form is None:
        form = _form_of(records)
    if form is None or form not in FORMS:
        raise DatasetError(f"{named}: no known form of feedback; say which, form= one of {', '.join(FORMS)}")
    try:
        feedback = FORMS[form](records)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise DatasetError(f"{named}: a record is not as those of {form!r} are: {error}") from error
    return replace(feedback, left_out={**feedback.left_out, _CUT_OFF: cut_off}) if cut_off else feedback


def is_feedback(record: Mapping[str, Any]) -> bool:
    """Say whether a record has keys that only logs of feedback have.

    >>> is_feedback({"query": "who purrs?", "verdict": "yes"}), is_feedback({"query": "who purrs?", "document": "d1"})
    (True, False)
    """
    return not _TELLING.isdisjoint(record)


def _form_of(records: Sequence[Mapping[str, Any]]) -> str | None:
    keys = {key for record in records[:1000] for key in record}
    return next((form for form, own in _KEYS if keys.intersection(own)), None)


def _records(path: Path, data: bytes) -> tuple[list[Mapping[str, Any]], bool]:
    """Return what is in a file, and whether its last line was cut off."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} cannot be read as UTF-8 text: {error}") from error
    if path.suffix.lower() not in (".csv", ".tsv"):
        return _objects(text, path)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        return list[Mapping[str, Any]](csv.DictReader(io.StringIO(text), delimiter=delimiter)), False
    except csv.Error as error:
        raise DatasetError(f"{path} cannot be read as a table: {error}") from error


def _objects(text: str, path: Path) -> tuple[list[Mapping[str, Any]], bool]:
    cut_off = False
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        *lines, last = text.split("\n")
        # Who writes is in the middle of a line, or died there.
        cut_off = bool(lines) and last.startswith("{") and not _whole(last)
        lines = lines if cut_off else [*lines, last]
        whole = [_line(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    found = whole if isinstance(whole, list) else [whole]
    odd = [one for one in found if not isinstance(one, Mapping)]
    if odd:
        raise DatasetError(f"{path}: expected JSON objects, found {str(odd[0])[:60]!r}")
    return found, cut_off


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _line(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where}: not valid JSON: {error}") from error
