"""``nudge refit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nudge_integrations.cli.exits import NO_GAIN
from nudge_integrations.cli.options import (
    BatchOption,
    CacheOption,
    ConfigOption,
    DebugOption,
    DeviceOption,
    DryRunOption,
    JsonOption,
    NudgeArgument,
    OptionalEncoderOption,
)
from nudge_integrations.cli.screen import console_for, print_json

__all__ = ["EXAMPLES", "refit"]

EXAMPLES = (
    "nudge refit nudged --labels feedback.jsonl",
    "nudge refit nudged --labels week-12 --corpus corpus.jsonl --require-gain    # for cron and CI",
    "nudge refit nudged --labels feedback.json --dry-run --json | jq .gain",
)

LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels", help="New labels: a BEIR folder, a JSON or a log of feedback. Else those that the folder got."
    ),
]
CorpusOption = Annotated[
    Path | None,
    typer.Option("--corpus", help="The documents as they are now. [default: those of the folder]"),
]
SourceOption = Annotated[str, typer.Option("--source", help="Where the labels come from, to delete them by.")]
EditOption = Annotated[str, typer.Option("--on-edit", help="What labels of edited documents do: wait, or keep.")]
DegreesOption = Annotated[
    float, typer.Option("--keep-degrees", help="How far a base vector may have moved for labels to be kept.")
]
SplitOption = Annotated[str, typer.Option("--split", help="Which qrels of a BEIR folder are the new labels.")]
GainOption = Annotated[
    bool,
    typer.Option("--require-gain", help="Exit with 3, and keep the nudge, unless new queries gain beyond noise."),
]


def refit(
    nudge: NudgeArgument,
    labels: LabelsOption = None,
    corpus: CorpusOption = None,
    encoder: OptionalEncoderOption = None,
    source: SourceOption = "feedback",
    on_edit: EditOption = "wait",
    keep_degrees: DegreesOption = 20.0,
    split: SplitOption = "train",
    require_gain: GainOption = False,
    batch_size: BatchOption = 32,
    device: DeviceOption = None,
    cache: CacheOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Fit a run folder of `nudge fit` again: all labels together, over the documents as they are now.

    Only new queries and new texts are embedded. A refit that gains nothing changes nothing but the log of labels, so
    that they count with the next ones.
    """
    from nudge_integrations.cli.encoders import EncoderChoice
    from nudge_integrations.cli.refit import RefitJob

    choice = EncoderChoice(encoder or "", batch_size, device, cache)
    asked = {"source": source, "on_edit": on_edit, "keep_degrees": keep_degrees, "require_gain": require_gain}
    job = RefitJob.done(nudge, labels, corpus, choice, split=split, **asked)
    console = console_for(as_json)
    console.print(str(job.details), markup=False)
    if dry_run:
        console.print(f"dry run: nothing was written to {nudge}", markup=False)
    else:
        job.save()
    if as_json:
        print_json({**job.result(), "dry_run": dry_run})
    if require_gain and not job.details.changed:
        raise typer.Exit(NO_GAIN)
