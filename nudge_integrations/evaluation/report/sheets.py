"""The tables of a report as plain cells, which every rendering writes in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nudge_integrations.evaluation.breakdown import RARE, UNSEEN
from nudge_integrations.evaluation.report.wording import MINUS, interval, metric_name, p_value, percent, points, rank

if TYPE_CHECKING:
    from nudge_integrations.evaluation.breakdown import Breakdown
    from nudge_integrations.evaluation.report.contents import Contents, QueryRow
    from nudge_integrations.evaluation.significance import Difference

__all__ = [
    "Sheet",
    "breakdown_sheets",
    "headline",
    "losers_without_labels",
    "metrics_sheet",
    "movers",
    "movers_sheet",
    "surroundings",
]

_NAMES = {
    "documents": "By whether the relevant documents have training labels",
    "labels": "By the most training labels that a relevant document has",
    "clusters": "By query cluster",
}


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        caption: What it shows, with units.
        head: Names of the columns; the first column names the rows, the others hold figures.
        rows: Cells, as many a row as there are columns.
        differences: What each row is about, to be drawn beside it; empty where there is none.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    differences: tuple[Difference, ...] = ()


def headline(contents: Contents) -> str:
    """Say in a sentence what happened to the first metric.

    It counts as more than noise where the corrected p-value is below 1 - confidence.
    """
    first = contents.differences[0]
    name = metric_name(first.metric)
    if first.difference == 0:
        return f"{name} stays at {percent(first.before)}."
    verb = "rises" if first.difference > 0 else "falls"
    p = p_value(first.p_adjusted)
    return (
        f"{name} {verb} from {percent(first.before)} to {percent(first.after)}: {points(first.difference)} points, "
        f"{contents.confidence:.0%} interval {interval(first.low, first.high)}; "
        f"{_verdict(contents, first)} "
        f"(corrected p {p if p.startswith('<') else f'= {p}'})."
    )


def losers_without_labels(contents: Contents) -> list[str]:
    """Say which queries for documents with no label, or with one, lose: a sentence each, none where none does."""
    sentences = []
    groups = {one.name: one.groups for one in contents.breakdowns}
    for name, group in [("documents", group) for group in groups.get("documents", ()) if group.label == UNSEEN] + [
        ("labels", group) for group in groups.get("labels", ()) if group.label == RARE
    ]:
        one = group.differences[contents.differences[0].metric]
        if points(one.difference).startswith(MINUS):
            about = "nobody labelled" if name == "documents" else "have a single label"
            sentences.append(
                f"{group.queries:,} queries whose documents {about} lose: {percent(one.before)} to "
                f"{percent(one.after)}, {points(one.difference)} points, interval "
                f"{interval(one.low, one.high)}; {_verdict(contents, one)}."
            )
    return sentences


def _verdict(contents: Contents, one: Difference) -> str:
    return "more than noise" if one.p_adjusted < 1 - contents.confidence else "not to be told from noise"


def surroundings(contents: Contents) -> list[str]:
    """Say what the moves did to neighbours and to documents that did not move, a sentence each."""
    if (drift := contents.drift) is None:
        return []
    sentences = []
    if drift["neighbours_kept"] is not None and drift["moved"]:
        kept = f"{percent(drift['neighbours_kept'])} % of the {drift['neighbours']} nearest neighbours"
        sentences.append(f"{kept} of a moved document are the same as before (mean).")
    if (unmoved := drift["unmoved"]) and unmoved["retrieved"]:
        fell = f"{unmoved['fell']:,} of {unmoved['retrieved']:,} retrieved documents that did not move"
        sentences.append(f"{fell} rank lower for at least one test query.")
        sentences.append(
            f"{unmoved['relevant']:,} pairs of a query and a relevant one of them: "
            f"{unmoved['relevant_fell']:,} fell and {unmoved['relevant_rose']:,} rose."
        )
    return sentences


def metrics_sheet(contents: Contents) -> Sheet:
    """Return one row a metric."""
    return Sheet(
        caption=f"All {_queries(contents):,} queries. Metrics in percent, changes in percentage points.",
        head=("Metric", *_head(contents)),
        rows=tuple((metric_name(one.metric), *_cells(one)) for one in contents.differences),
        differences=contents.differences,
    )


def _queries(contents: Contents) -> int:
    first = contents.differences[0]
    return first.wins + first.losses + first.ties


def breakdown_sheets(contents: Contents) -> list[tuple[str, Sheet]]:
    """Return title and table of each breakdown, for the first metric."""
    return [(_NAMES.get(one.name, one.name), _breakdown_sheet(contents, one)) for one in contents.breakdowns]


def movers(contents: Contents, most: int) -> list[QueryRow]:
    """Return the queries that gained most, then those that lost most, the largest loss last."""
    gained = [row for row in contents.queries if row.change > 0][:most]
    lost = [row for row in contents.queries if row.change < 0][-most:]
    return gained + lost


def movers_sheet(contents: Contents, most: int) -> Sheet:
    """Return one row for each of `movers`."""
    name = metric_name(contents.differences[0].metric)
    rows = [
        (
            row.text or row.query_id,
            row.document_id or "",
            f"{rank(row.old_rank)} → {rank(row.new_rank)}" if row.document_id else "",
            f"{percent(row.before[0])} → {percent(row.after[0])}",
            points(row.change),
        )
        for row in movers(contents, most)
    ]
    caption = f"Queries that moved most. {name} in percent, changes in percentage points."
    return Sheet(caption, ("Query", "Relevant document", "Its rank", name, "Change"), tuple(rows))


def _breakdown_sheet(contents: Contents, breakdown: Breakdown) -> Sheet:
    metric = contents.differences[0].metric
    return Sheet(
        caption=f"{metric_name(metric)} in percent, changes in percentage points.",
        head=("Group", "Queries", *_head(contents)),
        rows=tuple(
            (group.label, f"{group.queries:,}", *_cells(group.differences[metric])) for group in breakdown.groups
        ),
        differences=tuple(group.differences[metric] for group in breakdown.groups),
    )


def _head(contents: Contents) -> Sequence[str]:
    certain = f"{contents.confidence:.0%} interval"
    return ("Before", "After", "Change", certain, "p (corrected)", "Better / worse / same")


def _cells(one: Difference) -> Sequence[str]:
    return (
        percent(one.before),
        percent(one.after),
        points(one.difference),
        interval(one.low, one.high),
        p_value(one.p_adjusted),
        f"{one.wins:,} / {one.losses:,} / {one.ties:,}",
    )
