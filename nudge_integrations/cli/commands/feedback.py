"""``nudge feedback``: what users said, as labels; what is in a log; one more verdict."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nudge_integrations.cli.options import DebugOption, JsonOption
from nudge_integrations.cli.screen import console_for, print_json, rows_table, two_columns

if TYPE_CHECKING:
    from rich.console import Console

    from nudge_integrations.feedback import FeedbackWeek

__all__ = ["EXAMPLES", "add", "convert", "stats"]

EXAMPLES = (
    "nudge feedback stats ubi.ndjson",
    "nudge feedback convert feedback.jsonl --corpus docs --output labels",
    'nudge feedback add feedback.jsonl "who purrs?" d1 yes',
)

NOT_SAID = "not said"

LogsArgument = Annotated[list[Path], typer.Argument(help="Files that belong together: JSON, JSON lines or CSV.")]
LogArgument = Annotated[Path, typer.Argument(help="The log, in our own form.")]
FormOption = Annotated[
    str | None,
    typer.Option("--from", help="lines, ubi, phoenix, langsmith, langfuse or judgements; else told by the keys."),
]
CorpusOption = Annotated[
    Path, typer.Option("--corpus", help="The documents: a BEIR folder, its corpus.jsonl or a JSON.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="What to write: a BEIR folder or a JSON.")]
ClicksOption = Annotated[str, typer.Option("--clicks", help="weighted by position, raw, or none.")]


def convert(
    logs: LogsArgument,
    output: OutputOption,
    corpus: CorpusOption,
    form: FormOption = None,
    clicks: ClicksOption = "weighted",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Turn feedback into labels over a corpus: a BEIR folder or a question-answer JSON; a no is a grade below 0.

    How much each of them counts goes to `OUTPUT.weights.json`, where `nudge fit` and `nudge refit` find it.
    """
    from nudge_integrations.cli.formats import form_of, read_corpus, write_dataset
    from nudge_integrations.dataset.label_weights import write_weights
    from nudge_integrations.feedback import read_feedback

    labels = read_feedback(*logs, form=form).labels(read_corpus(corpus), clicks=clicks)
    write_dataset(labels.dataset, output, form_of(output, None), split="train")
    beside = write_weights(labels.weights, output)
    result: dict[str, object] = {
        "queries": len(labels.dataset),
        "labels": sum(map(len, labels.dataset.qrels.values())),
        "position_weights": None if labels.positions is None else labels.positions.reason,
        "effective_clicks": None if labels.positions is None else round(labels.positions.effective_sample_size, 1),
        "left_out": dict(labels.left_out),
        "output": str(output),
        "weights": str(beside),
    }
    console = console_for(as_json)
    _show(console, result)
    console.print(f"Fit them with nudge fit {output}, or nudge refit DIR --labels {output}.", markup=False)
    if as_json:
        print_json(result)


def stats(logs: LogsArgument, form: FormOption = None, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Say what is in a log: queries, impressions, clicks, verdicts, by week and source, and what was left out."""
    from dataclasses import asdict

    from nudge_integrations.feedback import by_week, read_feedback

    feedback = read_feedback(*logs, form=form)
    weeks = by_week(feedback)
    console = console_for(as_json)
    _show(console, feedback.statistics())
    if weeks:
        console.print(rows_table(("week of", "source", "yes", "no", "clicks", "shown"), _cells(weeks)))
    if as_json:
        print_json({**feedback.statistics(), "by week": [asdict(week) for week in weeks]})


def add(
    log: LogArgument,
    query: Annotated[str, typer.Argument(help="The text of the query.")],
    document: Annotated[str, typer.Argument(help="The id of the document.")],
    verdict: Annotated[str, typer.Argument(help="yes, no, a grade, or correction.")],
    instead: Annotated[str | None, typer.Option("--instead", help="For a correction: the right document's id.")] = None,
    source: Annotated[str, typer.Option("--source", help="Who says so.")] = "command line",
    debug: DebugOption = False,
) -> None:
    """Append one verdict to a log."""
    from nudge_integrations.errors import InputError
    from nudge_integrations.feedback import FeedbackLog, from_lines

    line = {"query": query, "document": document, "verdict": verdict, "instead": instead}
    if not from_lines([line]).verdicts:
        raise InputError(f"verdict {verdict!r} is neither yes, no, a grade nor correction")
    FeedbackLog(log).record(query, document, verdict, instead=instead, source=source)


def _cells(weeks: Iterable[FeedbackWeek]) -> list[tuple[str, ...]]:
    return [
        (one.week or NOT_SAID, one.source or NOT_SAID, *(f"{n:,}" for n in (one.yes, one.no, one.clicks, one.shown)))
        for one in weeks
    ]


def _show(console: Console, result: dict[str, object]) -> None:
    """Print figures, and counts by name below each other; what is empty says nothing."""
    lines = {}
    for name, value in result.items():
        if isinstance(value, dict):
            value = "\n".join(f"{count:,}  {key or NOT_SAID}" for key, count in value.items())
        if value not in (None, ""):
            lines[name.replace("_", " ")] = f"{value:,}" if isinstance(value, int) else value
    console.print(two_columns(lines))
