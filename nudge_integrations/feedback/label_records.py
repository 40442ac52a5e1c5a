"""The records of a label log, and what they say when they are read in order.

{"kind": "log", "id": ...}                                  the first one: which log this is, in all its copies
{"kind": "query", "id", "text", "vector", "encoder"}        a query, with its vector as base64 of float32, or null
{"kind": "label", "query", "document", "text_sha256", "raw_sha256", "grade", "weight", "source", "time"}
{"kind": "confirmed", "document", "text_sha256", "time"}    labels of that document also hold for its new text
{"kind": "fit", "nudge", "encoder", "documents", "options", "time"}   labels above this line went into that nudge
"""

from __future__ import annotations

import base64
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.errors import InputError

__all__ = [
    "LogState",
    "LoggedFit",
    "LoggedLabel",
    "LoggedQuery",
    "as_time",
    "checked_half_life",
    "checked_weight",
    "normalised",
    "query_record",
]

Record = Mapping[str, Any]


@dataclass(frozen=True)
class LoggedLabel:
    """One judgement: how well a document answers a query, who said so and when.

    Attributes:
        query: The id of the query.
        document: The id of the document.
        grade: Above 0 where the document answers the query, else it does not.
        text_hash: Sha256 (hex) of the text that was judged; None where there was no text.
        raw_hash: The same of the text without metadata, where a framework puts metadata around it.
        weight: How much the label counts beside others.
        source: Where it comes from, such as ``"dataset"`` or ``"thumbs"``.
        time: When, UTC, ISO 8601.
    """

    query: str
    document: str
    grade: float
    text_hash: str | None = None
    raw_hash: str | None = None
    weight: float = 1.0
    source: str = "dataset"
    time: str = ""

    def record(self) -> dict[str, Any]:
        """Return it as a record of the log, which what is no text would make unreadable.

        Raises:
            InputError: If an id, the source or the time is no text.
        """
        for name in ("query", "document", "source", "time"):
            _refuse_other(getattr(self, name), name)
        hashes = {"text_sha256": self.text_hash, "raw_sha256": self.raw_hash}
        said = {"grade": self.grade, "weight": self.weight, "source": self.source, "time": self.time}
        return {"kind": "label", "query": self.query, "document": self.document, **hashes, **said}

    @property
    def judgement(self) -> tuple[object, ...]:
        """The judgement without its source and time: a label that repeats the last one adds nothing."""
        return self.query, self.document, self.text_hash, self.raw_hash, self.grade, self.weight

    @classmethod
    def of(cls, record: Record) -> LoggedLabel:
        """Read a record.

        Raises:
            KeyError, TypeError, ValueError: If it holds something else.
        """
        grade, weight = float(record["grade"]), float(record["weight"])
        if not math.isfinite(grade) or not 0.0 <= weight < math.inf:
            raise ValueError(f"grade {grade}, weight {weight}")
        hashes = record["text_sha256"], record["raw_sha256"]
        texts = [record[name] for name in ("query", "document", "source", "time")]
        _check_texts([*texts, *(one for one in hashes if one is not None)])
        if datetime.fromisoformat(texts[3]).tzinfo is None:
            raise ValueError(f"time {texts[3]!r}")
        return cls(texts[0], texts[1], grade, *hashes, weight, texts[2], texts[3])


@dataclass(frozen=True)
class LoggedQuery:
    """A query as a log holds it: its text, its vector in base64 if it is kept, and the model that made it."""

    text: str
    vector: str | None
    encoder: str

    def array(self, encoder: str) -> NDArray[np.float32] | None:
        """Return the (d,) vector, if this model made it."""
        if self.vector is None or self.encoder != encoder:
            return None
        return np.frombuffer(base64.b64decode(self.vector, validate=True), "<f4").astype(np.float32)


@dataclass(frozen=True)
class LoggedFit:
    """A fit, and what it was made with.

    Attributes:
        nudge: The fingerprint of the nudge.
        encoder: The fingerprint of the model.
        documents: How many documents there were.
        options: The options that it was asked for.
        time: When, UTC, ISO 8601.
        labels: How many labels of the log went into it.
    """

    nudge: str
    encoder: str
    documents: int
    options: Mapping[str, Any]
    time: str
    labels: int = 0


@dataclass(eq=False)
class LogState:
    """The state of a log after all its records.

    Attributes:
        name: The id of the log.
        queries: Query id -> query, in the order in which they came.
        labels: All labels, in the order in which they came.
        confirmed: (document id, text hash) that a person has confirmed -> how many labels had come by then.
        fits: All fits, in order.
    """

    name: str = ""
    queries: dict[str, LoggedQuery] = field(default_factory=dict)
    labels: list[LoggedLabel] = field(default_factory=list)
    confirmed: dict[tuple[str, str], int] = field(default_factory=dict)
    fits: list[LoggedFit] = field(default_factory=list)

    @classmethod
    def of(cls, records: Sequence[Record]) -> LogState:
        """Read records.

        Raises:
            KeyError, TypeError, ValueError: If one of them is none of these kinds, or a label's query is not there.
        """
        state = cls()
        readers = {"log": state._log, "query": state._query, "label": state._label}
        readers |= {"confirmed": state._confirmation, "fit": state._fit}
        for record in records:
            readers[record["kind"]](record)
        return state

    def current(self) -> list[LoggedLabel]:
        """Return the last label of each query and document, in the order in which the pairs came first."""
        last: dict[tuple[str, str], LoggedLabel] = {}
        for label in self.labels:
            last[label.query, label.document] = label
        return list(last.values())

    def _log(self, record: Record) -> None:
        _check_texts([record["id"]])
        self.name = self.name or record["id"]

    def _query(self, record: Record) -> None:
        vector, texts = record["vector"], [record[name] for name in ("id", "text", "encoder")]
        _check_texts([*texts, *([] if vector is None else [vector])])
        if vector is not None and len(base64.b64decode(vector, validate=True)) % 4:
            raise ValueError(f"the vector of query {texts[0]!r} is not whole")
        self.queries[texts[0]] = LoggedQuery(texts[1], vector, texts[2])

    def _label(self, record: Record) -> None:
        label = LoggedLabel.of(record)
        self.queries[label.query]  # a label means nothing without its query
        self.labels.append(label)

    def _confirmation(self, record: Record) -> None:
        pair = record["document"], record["text_sha256"]
        _check_texts(pair)
        self.confirmed[pair] = len(self.labels)

    def _fit(self, record: Record) -> None:
        texts = [record[name] for name in ("nudge", "encoder", "time")]
        _check_texts(texts)
        options, documents = dict(record["options"]), int(record["documents"])
        self.fits.append(LoggedFit(texts[0], texts[1], documents, options, texts[2], len(self.labels)))


def query_record(identifier: str, text: str, vector: NDArray[np.float32] | None, encoder: str) -> dict[str, Any]:
    """Return a query as a record.

    Raises:
        InputError: If its id, its text or the model's fingerprint is no text.
    """
    for name, value in (("id", identifier), ("text", text), ("encoder", encoder)):
        _refuse_other(value, name)
    coded = None if vector is None else base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return {"kind": "query", "id": identifier, "text": text, "vector": coded, "encoder": encoder}


def as_time(moment: datetime | str | None) -> str:
    """Return a moment in UTC as ISO 8601, in seconds; now for None. A time without a zone is UTC.

    Raises:
        InputError: If it is no time.

    >>> as_time("2026-11-25T12:00:00+01:00")
    '2026-11-25T11:00:00+00:00'
    """
    if moment is None:
        moment = datetime.now(UTC)
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            raise InputError(f"{moment!r} is no time; expected ISO 8601, such as 2026-11-25T12:00:00+00:00") from error
    if not isinstance(moment, datetime):
        raise InputError(f"{moment!r} is no time; expected a datetime or ISO 8601")
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise InputError(f"{moment} is no time in UTC: {error}") from error
    return moment.isoformat(timespec="seconds")


def checked_weight(weight: float) -> float:
    """Return a weight of a label.

    Raises:
        InputError: If it is negative or not finite.
    """
    if not isinstance(weight, Real) or not 0.0 <= weight < math.inf:
        raise InputError(f"the weight of a label must be a number of 0 or more; got {weight!r}")
    return float(weight)


def checked_half_life(days: float | None) -> float | None:
    """Return days after which a label counts half.

    Raises:
        InputError: If they are no number above 0.
    """
    if days is not None and (not isinstance(days, Real) or not days > 0.0):
        raise InputError(f"half_life must be a number of days above 0, or None; got {days!r}")
    return days


def normalised(text: str) -> str:
    """Return a text as equal ones share it: after Unicode (NFKC) and white-space normalisation."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _refuse_other(value: object, name: str) -> None:
    if not isinstance(value, str):
        raise InputError(f"the {name} of a label must be a text; got {value!r:.80}")


def _check_texts(values: Sequence[object]) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"expected texts, found {values!r}")
