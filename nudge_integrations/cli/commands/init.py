"""``nudge init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nudge_integrations.cli.options import DebugOption, DryRunOption, ForceOption, JsonOption, SeedOption
from nudge_integrations.cli.screen import console_for, print_json

__all__ = ["EXAMPLES", "init"]

EXAMPLES = (
    "nudge init    # looks for a dataset in this folder",
    "nudge init scifact --output nudge.toml",
    "nudge init labels.json && nudge fit --config nudge.toml",
)

DatasetArgument = Annotated[
    Path | None, typer.Argument(help="A BEIR folder or a question-answer JSON; without one this folder is looked into.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Configuration file to write.")]


def init(
    dataset: DatasetArgument = None,
    output: OutputOption = Path("nudge.toml"),
    seed: SeedOption = 0,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Look at a dataset and write a commented nudge.toml for it, for `nudge fit --config nudge.toml`.

    What the labels do not reach, how long a fit will take, and which options are worth a thought stand in comments.
    """
    from nudge_integrations.cli.configuration import configuration
    from nudge_integrations.cli.estimate import fitting_seconds
    from nudge_integrations.cli.found import extras, find_dataset, labels_of
    from nudge_integrations.dataset import Splits
    from nudge_integrations.errors import InputError
    from nudge_integrations.storage import write_atomically

    if output.exists() and not (force or dry_run):
        raise InputError(f"{output} is there already; choose another name, or replace it with --force")
    path = find_dataset(Path()) if dataset is None else dataset
    labels = labels_of(Splits.read(path, seed))
    seconds = fitting_seconds(labels["documents"], labels["labelled_queries"], 384)
    text = configuration(path, labels, seconds, extras(), seed)
    if not dry_run:
        write_atomically(output, [text])
    console = console_for(as_json)
    if dry_run:
        console.print(text, markup=False)
    else:
        console.print(f"Written to {output}. Next: nudge fit --config {output}", markup=False)
    if as_json:
        result: dict[str, Any] = {"output": str(output), "dataset": str(path), **labels, "fitting_seconds": seconds}
        print_json(result)
