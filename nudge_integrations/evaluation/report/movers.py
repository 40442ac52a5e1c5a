"""The largest gains beside the largest losses, and what a query's row opens to: the best documents before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nudge_integrations.evaluation.report.elements import Element, element
from nudge_integrations.evaluation.report.wording import points, rank, shortened

if TYPE_CHECKING:
    from nudge_integrations.evaluation.report.contents import Contents, QueryRow

__all__ = ["movers_lists", "tops"]

_MOST, _LONGEST = 5, 160


def movers_lists(contents: Contents) -> list[Element]:
    """Build two lists side by side; one that would be empty says so."""
    gained = [row for row in contents.queries if row.change > 0][:_MOST]
    lost = [row for row in reversed(contents.queries) if row.change < 0][:_MOST]
    if not gained and not lost:
        return []
    return [element("div", _list("Gained most", gained, contents), _list("Lost most", lost, contents), class_="sides")]


def tops(row: QueryRow, contents: Contents) -> Element | None:
    """Build the five best documents before and after, with texts; None where they are not known."""
    if not row.old_top and not row.new_top:
        return None
    lists = [
        element("div", element("h4", title), element("ol", *(_document(document, row, contents) for document in top)))
        for title, top in (("Before", row.old_top), ("After", row.new_top))
    ]
    return element("div", *lists, class_="tops")


def _list(title: str, rows: Sequence[QueryRow], contents: Contents) -> Element:
    items = [_item(row, contents) for row in rows] or [element("p", "None.", class_="note")]
    return element("div", element("h3", title), *items)


def _item(row: QueryRow, contents: Contents) -> Element:
    where = f"{row.document_id}: rank {rank(row.old_rank)} \u2192 {rank(row.new_rank)}" if row.document_id else ""
    colour = "gain-text" if row.change > 0 else "loss-text"
    head = [
        element("span", shortened(row.text or row.query_id, _LONGEST)),
        element("strong", points(row.change), class_=colour),
        element("small", where),
    ]
    inside = tops(row, contents)
    if inside is None:
        return element("div", element("div", *head, class_="mover"), class_="opens")
    return element("details", element("summary", *head, class_="mover"), inside, class_="opens")


def _document(document: str, row: QueryRow, contents: Contents) -> Element:
    relevant = document in row.relevant
    text = contents.texts.get(document, "")
    return element(
        "li",
        element("strong", document) if relevant else document,
        element("em", " relevant") if relevant else None,
        element("small", text) if text else None,
    )
