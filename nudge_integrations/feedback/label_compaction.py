"""Which records of a label log stay when its file is replaced."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["bounded", "merged", "size_of", "with_queries_in_use"]

logger = logging.getLogger(__name__)

Record = Mapping[str, Any]


def size_of(records: Iterable[Record]) -> int:
    """Return about how many bytes records take in a file."""
    return sum(len(record.get("vector") or "") + 2 * len(record.get("text", "")) + _FRAME for record in records)


# What a label takes, and a query beside its text and vector.
_FRAME = 320


def with_queries_in_use(records: Sequence[Record]) -> list[Record]:
    """Leave out queries that no label is about."""
    asked = {record["query"] for record in records if record["kind"] == "label"}
    return [record for record in records if record["kind"] != "query" or record["id"] in asked]


def merged(there: Sequence[Record], mine: Sequence[Record], copied: Sequence[Record]) -> list[Record]:
    """Put the records of a log in place of those in a file.

    Args:
        there: The records of the file.
        mine: The records of the log.
        copied: What the log was copied from. Of a copy of this file, records that the file has lost since stay lost,
            and those that it has got stay, behind the others. Of another log's file only labels that no fit has used.
    """
    names = [next((one["id"] for one in records if one["kind"] == "log"), None) for records in (there, mine)]
    if names[0] != names[1]:
        last = max((row for row, record in enumerate(there) if record["kind"] == "fit"), default=-1)
        asked = {record["query"] for record in there[last + 1 :] if record["kind"] == "label"}
        late = [one for row, one in enumerate(there) if row > last or (one["kind"] == "query" and one["id"] in asked)]
        return [*mine, *_without_repeats((one for one in late if one["kind"] in ("query", "label")), mine)]
    before, now = set(map(_key, copied)), set(map(_key, there))
    kept = [record for record in mine if (key := _key(record)) not in before or key in now]
    return [*kept, *_without_repeats((record for record in there if _key(record) not in before), kept)]


def bounded(records: Sequence[Record], most: int) -> list[Record]:
    """Leave out vectors of the oldest queries, then the oldest labels, until nine tenths of the bound are enough."""
    room, kept = int(0.9 * most), list(records)
    size = size_of(kept)
    for row, record in enumerate(kept):
        if size <= room:
            break
        if record["kind"] == "query" and record["vector"] is not None:
            size -= len(record["vector"])
            kept[row] = {**record, "vector": None}
    if size <= room:
        return kept
    rows = [row for row, record in enumerate(kept) if record["kind"] == "label"]
    gone = set(rows[: -(-(size - room) // _FRAME)])
    logger.warning(
        "the label log is full (%d bytes): its %d oldest labels of %d are left out", most, len(gone), len(rows)
    )
    return with_queries_in_use([record for row, record in enumerate(kept) if row not in gone])


def _without_repeats(records: Iterable[Record], known: Iterable[Record]) -> list[Record]:
    """Leave out what is known already; a query of the same id that has another text takes its labels with it."""
    texts = {one["id"]: one["text"] for one in known if one["kind"] == "query"}
    seen, left, clashing = set(map(_key, known)), [], set()
    for record in records:
        if record["kind"] == "query" and texts.setdefault(record["id"], record["text"]) != record["text"]:
            clashing.add(record["id"])
        elif _key(record) not in seen and record.get("query") not in clashing:
            left.append(record)
    if clashing:
        logger.warning("%d queries of the former log have another text here and are left out", len(clashing))
    return left


def _key(record: Record) -> str:
    return json.dumps(record, sort_keys=True)
