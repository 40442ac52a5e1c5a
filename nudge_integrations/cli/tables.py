"""Tables and lines that the commands print. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.edge_check import EdgeCheck
from nudge_integrations.cli.measure import RANKS, Measured
from nudge_integrations.cli.screen import print_json
from nudge_integrations.dataset import Splits
from nudge_integrations.evaluation import Comparison, Difference, Evaluation, MovedQuery
from nudge_integrations.evaluation.report.wording import MINUS, interval, metric_name, percent, points, shortened
from nudge_integrations.pipeline import QUERY_MAPS, tries_query_maps
from nudge_integrations.solver import OptionValues

__all__ = [
    "comparison_tables",
    "differences_table",
    "edge_check_lines",
    "how_chosen",
    "means_table",
    "moved_table",
    "seconds_line",
    "splits_line",
    "summary",
    "would_write",
]

_GROUPED_BY = {
    "documents": "whether the relevant document has training labels",
    "labels": "number of its training labels",
    "clusters": "query cluster",
}
_LONGEST = 120


def differences_table(head: str, rows: Mapping[str, Difference], confidence: float = 0.95) -> Table:
    """Draw means before and after, in percent, with how sure the change is.

    Args:
        head: What the rows are.
        rows: Name -> difference.
        confidence: Level of the intervals.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(head, overflow="fold")
    for name in ("before", "after", "change", f"{confidence:.0%} interval", "p", "better/worse"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, one in rows.items():
        table.add_row(
            escape(name),
            percent(one.before),
            percent(one.after),
            _coloured(points(one.difference)),
            interval(one.low, one.high),
            f"{one.p_adjusted:.4f}",
            f"{one.wins:,}/{one.losses:,}",
        )
    return table


def means_table(evaluation: Evaluation) -> RenderableType:
    """Draw metrics in percent."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("metric")
    table.add_column("percent", justify="right")
    for metric, value in evaluation.means.items():
        table.add_row(metric_name(metric), percent(value))
    return Group(f"{evaluation.queries:,} queries", "", table)


def seconds_line(seconds: Mapping[str, float]) -> str:
    """Say where the time went.

    Example:
        >>> seconds_line({"embedding": 12.34, "fitting": 0.5})
        'Time: embedding 12.3 s, fitting 0.5 s'
    """
    return "Time: " + ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())


def moved_table(moved: Sequence[MovedQuery], rose: int = 3, fell: int = 1, depth: int | None = RANKS) -> Table:
    """Draw the queries that gained most and lost most, and where their relevant document went.

    Args:
        moved: Largest gain first.
        rose: How many to show of those that gained; one a document, so that they differ.
        fell: How many to show of those that lost.
        depth: How many documents each ranking has; None where they differ, and a document may just be absent.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("query", overflow="fold", ratio=1)
    table.add_column("relevant document", overflow="fold")
    table.add_column("rank", justify="right", no_wrap=True)
    shown = [
        *(("green", one) for one in islice(_one_a_document(one for one in moved if one.rank_change > 0), rose)),
        *(("red", one) for one in islice((one for one in reversed(moved) if one.rank_change < 0), fell)),
    ]
    for colour, one in shown:
        ranks = f"[{colour}]{_rank(one.old_rank, depth)} -> {_rank(one.new_rank, depth)}[/]"
        table.add_row(escape(shortened(one.text, _LONGEST)), escape(str(one.document_id)), ranks)
    return table


def summary(measured: Measured) -> RenderableType:
    """Draw all of one measurement."""
    nudge = measured.nudge
    parts: list[RenderableType] = [
        *_headline(measured.comparison, "test queries"),
        "",
        f"Method {nudge.method}, step {nudge.step:.3f}: {escape(nudge.reason)}",
        *_signals(nudge),
        seconds_line(measured.seconds),
        *_moved(measured.comparison, rose=3, fell=1),
    ]
    return Group(*parts)


def comparison_tables(comparison: Comparison) -> RenderableType:
    """Draw a comparison: all queries, the first metric for each group of queries, and what moved most."""
    parts = _headline(comparison, "queries")
    for metric, (before, after) in islice(comparison.document_means().items(), 1):
        each = "every relevant document counting the same"
        parts += ["", f"{metric_name(metric)}, {each}: {percent(before)} -> {percent(after)}"]
    for breakdown in comparison.breakdowns:
        metric = next(iter(comparison.differences))
        rows = {f"{one.label} ({one.queries:,})": one.differences[metric] for one in breakdown.groups}
        title = f"{metric_name(metric)} by {_GROUPED_BY.get(breakdown.name, breakdown.name)}"
        parts += ["", title, "", differences_table("queries", rows, comparison.confidence)]
    return Group(*parts, *_moved(comparison, rose=5, fell=5))


def splits_line(splits: Splits) -> str:
    """Say how many documents and queries there are, and where the split comes from."""
    validation = f", {len(splits.validation):,} to validate on" if splits.validation is not None else ""
    counts = f"{len(splits.train):,} queries to train on{validation}, {len(splits.test):,} to test on"
    return f"{len(splits.test.corpus):,} documents; {counts}: {splits.origin}."


def how_chosen(splits: Splits, method: str, options: OptionValues) -> str:
    """Say what chooses the step, and whether query maps are tried."""
    if splits.validation is None or method in QUERY_MAPS:
        maps = " among nudges and query maps" if tries_query_maps(method, options) else " how far documents move"
        return f"Each train query is left out in turn to choose{maps}."
    untried = ": query maps, which need leave-one-out, are not tried (--leave-one-out tries them)"
    return f"The {len(splits.validation):,} dev queries choose the step{untried if method == 'auto' else ''}."


def edge_check_lines(check: EdgeCheck) -> RenderableType:
    """Show what both frameworks' retrievers return for one query, and whether they agree on all."""
    verdict = "[green]the same documents[/]" if check.agree else "[red]different documents[/]"
    lines = [
        f"One nudge, two retrievers: LlamaIndex and LangChain return {verdict} for {check.queries:,} queries.",
        f"For example, [italic]{escape(shortened(check.example, _LONGEST))}[/]",
        f"  LlamaIndex: {escape(', '.join(check.llama_index))}",
        f"  LangChain:  {escape(', '.join(check.langchain))}",
    ]
    return Group(*lines)


def would_write(console: Console, paths: Sequence[Path], as_json: bool) -> None:
    """Say what a dry run would have written."""
    named = ", ".join(map(str, paths)) or "nothing"
    console.print(f"All is well so far. Dry run: nothing was written; it would be: {named}", markup=False)
    if as_json:
        print_json({"dry_run": True, "would_write": [str(path) for path in paths]})


def _signals(nudge: Nudge) -> list[str]:
    """Say what scores are made of, or what BM25 would add to them."""
    if nudge.fusion is not None:
        return [f"Scores are {nudge.fusion}: whatever serves the vectors must add it."]
    told = [one for one in nudge.candidates if "not served" in one.get("note", "")]
    return [
        f"BM25 would add {points(one['gain'])} points (standard error {100 * one['standard_error']:.1f}) to "
        f"{metric_name(nudge.metric)}: fit with --signals bm25."
        for one in told
        if one["gain"] > 2.0 * one["standard_error"]
    ]


def _headline(comparison: Comparison, what: str) -> list[RenderableType]:
    rows = {metric_name(metric): difference for metric, difference in comparison.differences.items()}
    return [f"{comparison.queries:,} {what}", "", differences_table("metric", rows, comparison.confidence)]


def _moved(comparison: Comparison, rose: int, fell: int) -> list[RenderableType]:
    ranked = [one for one in comparison.moved if one.rank_change]
    depths = {len(found) for side in (comparison.before, comparison.after) for found in side.rankings.values()}
    depth = depths.pop() if len(depths) == 1 else None
    return ["", "Ranks of the relevant document", "", moved_table(ranked, rose, fell, depth)] if ranked else []


def _coloured(change: str) -> str:
    colour = "green" if change.startswith("+") else "red" if change.startswith(MINUS) else "dim"
    return f"[{colour}]{change}[/]"


def _one_a_document(moved: Iterable[MovedQuery]) -> Iterable[MovedQuery]:
    seen: set[str | None] = set()
    for one in moved:
        if one.document_id not in seen:
            seen.add(one.document_id)
            yield one


def _rank(rank: int | None, depth: int | None) -> str:
    if rank is not None:
        return str(rank)
    return "not found" if depth is None else f">{depth}"
