"""Figures -> what is printed. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from nudge_integrations.cli.agreement import Agreement
from nudge_integrations.cli.measure import RANKS, Change
from nudge_integrations.cli.splits import Splits

__all__ = ["agreement_lines", "changes_table", "metric_name", "metrics_table", "seconds_line", "splits_line", "summary"]

NAMES = {"ndcg": "nDCG", "recall": "recall", "mrr": "MRR", "hit": "hit", "precision": "precision", "map": "MAP"}


def metric_name(metric: str) -> str:
    """Spell a metric as papers do.

    Example:
        >>> metric_name("ndcg@10")
        'nDCG@10'
    """
    name, _, cutoff = metric.partition("@")
    return f"{NAMES.get(name, name)}@{cutoff}"


def metrics_table(result: Mapping[str, Any]) -> Table:
    """Draw the metrics before and after, in percent.

    Args:
        result: ``before`` and ``after`` (metric -> value in [0, 1]), ``queries``, ``method`` and ``step``.
    """
    table = Table(box=box.SIMPLE_HEAD, title=f"{result['queries']:,} test queries", title_justify="left")
    table.add_column("metric")
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right")
    for metric, before in result["before"].items():
        after = result["after"][metric]
        # An explicit zero: rounding a tiny loss must not print as -0.0.
        change = round(100 * (after - before), 1) or 0.0
        colour = "green" if change > 0 else "red" if change < 0 else "dim"
        cells = (f"{100 * before:.1f}", f"{100 * after:.1f}", f"[{colour}]{change:+.1f}[/]")
        table.add_row(metric_name(metric), *cells)
    return table


def seconds_line(seconds: Mapping[str, float]) -> str:
    """Say where the time went.

    Example:
        >>> seconds_line({"embedding": 12.34, "fitting": 0.5})
        'Time: embedding 12.3 s, fitting 0.5 s'
    """
    return "Time: " + ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())


def changes_table(changes: Sequence[Change], rose: int = 3, fell: int = 1) -> Table:
    """Draw the queries whose relevant document rose most, and fell most.

    Args:
        changes: Largest gain first.
        rose: How many to show of those that rose; one a document, so that they differ.
        fell: How many to show of those that fell.
    """
    table = Table(box=box.SIMPLE_HEAD, title="Ranks of the right document", title_justify="left")
    table.add_column("query", overflow="fold", ratio=1)
    table.add_column("right document", overflow="fold")
    table.add_column("rank", justify="right", no_wrap=True)
    shown = [
        *(("green", change) for change in islice(_one_a_document(c for c in changes if c.gain > 0), rose)),
        *(("red", change) for change in islice((c for c in reversed(changes) if c.gain < 0), fell)),
    ]
    for colour, change in shown:
        ranks = f"[{colour}]{_rank(change.before)} -> {_rank(change.after)}[/]"
        table.add_row(escape(_shortened(change.query)), escape(change.document), ranks)
    return table


def summary(result: Mapping[str, Any], changes: Sequence[Change], reason: str) -> RenderableType:
    """Draw all of one measurement.

    Args:
        result: As for `metrics_table`, with ``seconds``.
        changes: As for `changes_table`.
        reason: Why this step was chosen, or none.
    """
    parts: list[RenderableType] = [
        metrics_table(result),
        f"Method {result['method']}, step {result['step']:.3f}: {escape(reason)}",
        seconds_line(result["seconds"]),
    ]
    if changes:
        parts += ["", changes_table(changes)]
    return Group(*parts)


def splits_line(splits: Splits) -> str:
    """Say how many documents and queries there are, and where the split comes from."""
    validation = f", {len(splits.validation):,} to validate on" if splits.validation is not None else ""
    counts = f"{len(splits.train):,} queries to train on{validation}, {len(splits.test):,} to test on"
    return f"{len(splits.test.corpus):,} documents; {counts}: {splits.origin}."


def agreement_lines(agreement: Agreement) -> RenderableType:
    """Show what both frameworks' retrievers return for one query, and whether they agree on all."""
    verdict = "[green]the same documents[/]" if agreement.agree else "[red]different documents[/]"
    lines = [
        f"One nudge, two retrievers: LlamaIndex and LangChain return {verdict} for {agreement.queries:,} queries.",
        f"For example, [italic]{escape(_shortened(agreement.example))}[/]",
        f"  LlamaIndex: {escape(', '.join(agreement.llama_index))}",
        f"  LangChain:  {escape(', '.join(agreement.langchain))}",
    ]
    return Group(*lines)


def _one_a_document(changes: Iterable[Change]) -> Iterable[Change]:
    seen: set[str] = set()
    for change in changes:
        if change.document not in seen:
            seen.add(change.document)
            yield change


def _rank(rank: int | None) -> str:
    return f">{RANKS}" if rank is None else str(rank)


def _shortened(text: str, limit: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
