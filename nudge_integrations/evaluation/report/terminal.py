"""A report in the terminal, drawn by rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nudge_integrations.errors import MissingExtraError
from nudge_integrations.evaluation.report.sheets import (
    Sheet,
    breakdown_sheets,
    headline,
    losers_without_labels,
    metrics_sheet,
    movers_sheet,
    surroundings,
)
from nudge_integrations.evaluation.report.wording import MINUS, shortened

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nudge_integrations.evaluation.report.contents import Contents

__all__ = ["to_rich"]

_MOVERS, _LONGEST = 3, 120


def to_rich(contents: Contents) -> RenderableType:
    """Return what a rich console prints."""
    try:
        from rich.console import Group
        from rich.text import Text
    except ImportError as error:
        raise MissingExtraError("rich", "cli") from error

    tables = [(contents.title, metrics_sheet(contents)), *breakdown_sheets(contents)]
    parts: list[RenderableType] = [Text(headline(contents), style="bold")]
    parts += [*(Text(sentence) for sentence in losers_without_labels(contents)), Text()]
    parts += [
        _table(title, sheet, 1 - contents.confidence)
        for title, sheet in [*tables, ("Queries", movers_sheet(contents, _MOVERS))]
    ]
    parts += [Text(sentence) for sentence in surroundings(contents)]
    parts += [Text.assemble((f"{label}: ", "bold"), value) for label, value in contents.card]
    parts += [Text(f"- {sentence}", style="dim") for sentence in contents.limits]
    return Group(*parts)


def _table(title: str, sheet: Sheet, level: float) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Texts, not strings: square brackets in a query are no markup.
    table = Table(box=box.SIMPLE_HEAD, title=Text(title), title_justify="left", caption=sheet.caption)
    for column, name in enumerate(sheet.head):
        table.add_column(Text(name), justify="right" if column else "left", overflow="fold")
    for number, row in enumerate(sheet.rows):
        certain = not sheet.differences or sheet.differences[number].p_adjusted < level
        table.add_row(
            *(
                Text(shortened(cell, _LONGEST), style=_style(name, cell) if certain else "")
                for name, cell in zip(sheet.head, row, strict=True)
            )
        )
    return table


def _style(column: str, cell: str) -> str:
    if column != "Change":
        return ""
    return "green" if cell.startswith("+") else "red" if cell.startswith(MINUS) else "dim"
