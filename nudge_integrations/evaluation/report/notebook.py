"""HTML for notebooks: a report, a comparison, and fragments of others in one style."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nudge_integrations.evaluation.report.contents import Contents
from nudge_integrations.evaluation.report.elements import Element, element, render
from nudge_integrations.evaluation.report.page import asset, figures
from nudge_integrations.evaluation.report.sheets import (
    breakdown_sheets,
    headline,
    losers_without_labels,
    metrics_sheet,
    movers_sheet,
)
from nudge_integrations.evaluation.report.tables import html_table, shared_span

if TYPE_CHECKING:
    from nudge_integrations.evaluation.comparison import Comparison

__all__ = ["comparison_fragment", "fragment", "to_fragment"]

_MOVERS = 3


def fragment(*children: Element | str | None) -> str:
    """Return HTML for a notebook's cell: no script, and no style outside itself."""
    return render(element("div", element("style", asset("notebook.css")), *children, class_="nudge-report"))


def to_fragment(contents: Contents) -> str:
    """Return the figures of a report, its pictures and what moved most; the page holds the rest."""
    return fragment(
        element("p", element("strong", headline(contents))),
        *(element("p", sentence) for sentence in losers_without_labels(contents)),
        html_table(metrics_sheet(contents), 1 - contents.confidence),
        element("div", *figures(contents), class_="pictures"),
        html_table(movers_sheet(contents, _MOVERS)),
    )


def comparison_fragment(comparison: Comparison) -> str:
    """Return the figures of a comparison, for all queries and for groups of them, on one axis."""
    contents = Contents(
        title="",
        differences=tuple(comparison.differences.values()),
        confidence=comparison.confidence,
        resamples=comparison.resamples,
        queries=(),
        breakdowns=comparison.breakdowns,
    )
    sheets = [metrics_sheet(contents), *(sheet for _, sheet in breakdown_sheets(contents))]
    span, level = shared_span(sheets), 1 - comparison.confidence
    return fragment(
        element("p", element("strong", headline(contents))),
        *(element("p", sentence) for sentence in losers_without_labels(contents)),
        *(html_table(sheet, level, span) for sheet in sheets),
    )
