"""The table of all queries: the first rows as they are, and all of them as data for the page's script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nudge_integrations.evaluation.report.elements import Element, data_block, element
from nudge_integrations.evaluation.report.movers import tops
from nudge_integrations.evaluation.report.tables import cell, column_head, row_head
from nudge_integrations.evaluation.report.wording import metric_name, percent, points, rank, shortened

if TYPE_CHECKING:
    from nudge_integrations.evaluation.report.contents import Contents, QueryRow

__all__ = ["query_table"]

_ROWS, _LONGEST = 25, 300


def query_table(contents: Contents) -> list[Element]:
    """Build search, filter, table and pager. Without a script the table shows the largest gains."""
    name = metric_name(contents.differences[0].metric)
    columns = ("Query", "Rank before", "Rank after", "Before", "After", "Change")
    kinds = ("text", "old", "new", "before", "after", "change")
    head = [
        column_head(
            column,
            data_key=kind,
            aria_sort="descending" if kind == "change" else "none",
        )
        for column, kind in zip(columns, kinds, strict=True)
    ]
    table = element(
        "table",
        element("caption", f"{name} in percent, change in percentage points; rank of a relevant document."),
        element("thead", element("tr", *head, role="row"), role="rowgroup"),
        element("tbody", *(_row(row, columns, contents) for row in contents.queries[:_ROWS]), role="rowgroup"),
        id="query-table",
        role="table",
    )
    documents = sorted(contents.texts)
    number_of = {document: number for number, document in enumerate(documents)}
    rows = [_data(row, number_of) for row in contents.queries]
    texts = [[document, contents.texts[document]] for document in documents]
    data = {"columns": columns, "rows": rows, "documents": texts}
    return [_controls(), table, _pager(), data_block(data, id="query-data")]


def _data(row: QueryRow, number_of: Mapping[str, int]) -> list[object]:
    """Return what the script shows: figures as they are written, so that both round alike, and which way it went."""
    text = shortened(row.text or row.query_id, _LONGEST)
    figures = [round(100 * value, 1) for value in (row.before[0], row.after[0], row.change)]
    outcome = (row.change > 0) - (row.change < 0)
    tops = [[number_of[document] for document in ids] for ids in (row.old_top, row.new_top, row.relevant)]
    opened = tops if row.old_top or row.new_top else []
    return [text, row.query_id, row.document_id, row.old_rank, row.new_rank, *figures, outcome, opened]


def _controls() -> Element:
    outcomes = (("all", "all"), ("1", "better"), ("-1", "worse"), ("0", "the same"))
    return element(
        "div",
        element(
            "label", "Search ", element("input", type="search", id="search", autocomplete="off", spellcheck="false")
        ),
        element(
            "label",
            "Show ",
            element("select", *(element("option", text, value=value) for value, text in outcomes), id="outcome"),
        ),
        element("output", id="shown", aria_live="polite"),
        class_="controls",
        hidden="",
    )


def _pager() -> Element:
    buttons = [
        element("button", text, type="button", id=name) for name, text in (("previous", "Previous"), ("next", "Next"))
    ]
    return element("div", *buttons, class_="pager", hidden="")


def _row(row: QueryRow, columns: tuple[str, ...], contents: Contents) -> Element:
    where = f"query {row.query_id}" + (f", document {row.document_id}" if row.document_id else "")
    names = shortened(row.text or row.query_id, _LONGEST), element("small", where)
    inside = tops(row, contents)
    text = row_head(*names) if inside is None else row_head(element("details", element("summary", *names), inside))
    ranks = [rank(held) if row.document_id else "" for held in (row.old_rank, row.new_rank)]
    figures = [*ranks, percent(row.before[0]), percent(row.after[0]), points(row.change)]
    colours = [None] * 4 + ["gain-text" if row.change > 0 else "loss-text" if row.change < 0 else None]
    cells = [cell(name, figure, colour) for name, figure, colour in zip(columns[1:], figures, colours, strict=True)]
    return element("tr", text, *cells, role="row")
