"""OpenSearch User Behavior Insights 1.3: queries and events, in one NDJSON (also a bulk file) or two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from nudge_integrations.feedback.clicks import Shown
from nudge_integrations.feedback.feedback import Feedback
from nudge_integrations.feedback.values import position_of, text_at, time_of

__all__ = ["from_ubi"]

_SHOWN = {"impression", "view", "on_impression"}
_CLICKED = {"click", "item_click", "product_click", "add_to_cart", "purchase"}


def from_ubi(records: Iterable[Mapping[str, Any]]) -> Feedback:
    """Read queries and events in any order; positions are those of ``event_attributes.position.ordinal``, from 0.

    An event without a position has that of its document in the query's ``query_response_hit_ids``. Where events hold no
    impressions, the documents of that list were shown.

    Example:
        >>> from_ubi([{"action_name": "click", "query_id": "q", "user_query": "tea", "event_attributes":
        ...     {"object": {"object_id": "d"}, "position": {"ordinal": 2}}}])
        Feedback(0 verdicts, 1 impression, 1 clicked, 0 left out)
    """
    queries, events, left_out, counts = _sorted(records)
    seen: dict[tuple[str, str, int], Shown] = {}
    listed = {str(one.get("query_id")) for one in events if str(one["action_name"]) in _SHOWN}
    places = {name: _places(record) for name, record in queries.items()}
    for query_id, record in queries.items():
        text = text_at(record, "user_query")
        if query_id not in listed and text:
            for hit, place in places[query_id].items():
                seen[query_id, hit, place] = Shown(text, hit, place, time=time_of(record), source="ubi")
    for event in events:
        _add(event, queries, places, seen, left_out)
    return Feedback((), tuple(seen.values()), dict(left_out), dict(counts))


def _sorted(
    records: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, Mapping[str, Any]], list[Mapping[str, Any]], Counter[str], Counter[str]]:
    queries: dict[str, Mapping[str, Any]] = {}
    events, left_out, counts = [], Counter[str](), Counter[str]()
    for record in records:
        if set(record) <= {"index", "create"}:  # the lines of a bulk file that say where the next one goes
            continue
        if record.get("action_name"):
            events.append(record)
            counts[str(record["action_name"])] += 1
        elif record.get("query_id") and "user_query" in record:
            counts["query"] += 1
            if text_at(record, "user_query"):
                queries[str(record["query_id"])] = record
            else:
                left_out["queries with an empty text"] += 1
        else:
            left_out["records that are neither a query nor an event"] += 1
    # Clicks last, so that each finds the impression that it belongs to.
    return queries, sorted(events, key=lambda one: str(one["action_name"]) not in _SHOWN), left_out, counts


def _add(
    event: Mapping[str, Any],
    queries: Mapping[str, Mapping[str, Any]],
    places: Mapping[str, Mapping[str, int]],
    seen: dict[tuple[str, str, int], Shown],
    left_out: Counter[str],
) -> None:
    action = str(event["action_name"])
    if action not in _SHOWN | _CLICKED:
        left_out[f"events named {action!r}"] += 1
        return
    query_id = str(event.get("query_id") or "")
    query = queries.get(query_id, {})
    text = text_at(query, "user_query") or text_at(event, "user_query")
    attributes = _object(event, "event_attributes")
    document = str(_object(attributes, "object").get("object_id") or "")
    if not text or not document:
        left_out["events without a query or a document"] += 1
        return
    position = position_of(_object(attributes, "position").get("ordinal"))
    if position is None:
        position = places.get(query_id, {}).get(document)
    if position is None:
        left_out["events without a position"] += 1
        return
    shuffled = bool(_object(query, "query_attributes").get("shuffled"))
    key = query_id, document, position
    seen[key] = Shown(text, document, position, action in _CLICKED, shuffled, time_of(event), "ubi")


def _object(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    return value if isinstance(value, Mapping) else {}


def _places(query: Mapping[str, Any]) -> dict[str, int]:
    """Return each document that a query found -> where it stood first."""
    hits = query.get("query_response_hit_ids")
    places: dict[str, int] = {}
    for place, hit in enumerate(hits if isinstance(hits, list | tuple) else ()):
        places.setdefault(str(hit), place)
    return places
