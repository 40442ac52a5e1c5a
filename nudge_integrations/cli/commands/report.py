"""``nudge report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nudge_integrations.cli.options import (
    ConfidenceOption,
    ConfigOption,
    DebugOption,
    DryRunOption,
    JsonOption,
    MetricsOption,
    ResamplesOption,
    SeedOption,
)
from nudge_integrations.cli.screen import console_for, print_json

__all__ = ["EXAMPLES", "report"]

EXAMPLES = (
    "nudge report nudged --output report.html",
    "nudge report nudged --output report.md",
    "nudge report nudged --feedback feedback.jsonl --output report.html",
    "nudge report nudged    # in the terminal",
    "nudge report nudged --json | jq .metrics",
)

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Run folder of nudge fit or nudge demo.")]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="File to write, by its name .html, .md, .tex, .csv or .json; else the terminal."
    ),
]
FeedbackOption = Annotated[
    list[Path] | None,
    typer.Option("--feedback", help="Logs of feedback to show over time; else the labels that the folder keeps."),
]
TitleOption = Annotated[str | None, typer.Option("--title", help="Heading; else the data and the date.")]


def report(
    folder: FolderArgument,
    output: OutputOption = None,
    title: TitleOption = None,
    feedback: FeedbackOption = None,
    metrics: MetricsOption = None,
    resamples: ResamplesOption = 10_000,
    confidence: ConfidenceOption = 0.95,
    seed: SeedOption = 0,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Show what a fit changed: figures with intervals, the step's curve, every query, the corpus, the nudge's card.

    NAME.html is one page that needs no network. Everything comes from the folder: no model is loaded.
    """
    from nudge_integrations.evaluation import RunFolder
    from nudge_integrations.evaluation.report import Report
    from nudge_integrations.feedback import read_feedback

    if output is not None:
        Report.check_target(output)
    run = RunFolder.load(folder)
    comparison = run.compare(metrics or run.metrics, resamples=resamples, confidence=confidence, seed=seed)
    made = run.report(comparison, title=title, feedback=read_feedback(*feedback) if feedback else None)
    console = console_for(as_json)
    if output is None and not as_json:
        console.print(made)
    if output is not None and not dry_run:
        made.save(output)
    if output is not None:
        console.print(f"The report {'would go' if dry_run else 'went'} to {output}", markup=False)
    if as_json:
        print_json(made.to_dict())
