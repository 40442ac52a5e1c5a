"""A report in a notebook: the figures, two pictures and what moved most; the page holds the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nudge_integrations.evaluation.report.elements import element, render
from nudge_integrations.evaluation.report.page import asset, figures
from nudge_integrations.evaluation.report.sheets import headline, metrics_sheet, movers_sheet
from nudge_integrations.evaluation.report.tables import html_table

if TYPE_CHECKING:
    from nudge_integrations.evaluation.report.contents import Contents

__all__ = ["to_fragment"]

_MOVERS = 3


def to_fragment(contents: Contents) -> str:
    """Return HTML for a notebook's cell: no script, and no style outside itself."""
    return render(
        element(
            "div",
            element("style", asset("notebook.css")),
            element("p", element("strong", headline(contents))),
            html_table(metrics_sheet(contents), 1 - contents.confidence),
            element("div", *figures(contents), class_="pictures"),
            html_table(movers_sheet(contents, _MOVERS)),
            class_="nudge-report",
        )
    )
