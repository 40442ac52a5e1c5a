"""``nudge compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nudge_integrations.cli.exits import NO_GAIN
from nudge_integrations.cli.options import (
    ConfidenceOption,
    ConfigOption,
    DebugOption,
    IdenticalOption,
    JsonOption,
    MetricsOption,
    ResamplesOption,
    SeedOption,
    SplitOption,
)
from nudge_integrations.cli.screen import console_for, print_json

__all__ = ["EXAMPLES", "compare"]

EXAMPLES = (
    "nudge compare nudged",
    "nudge compare before.trec after.trec --dataset scifact",
    "nudge compare nudged other-fit --metric ndcg@10 --json",
    "nudge compare nudged --require-gain && ./deploy",
)

BeforeArgument = Annotated[Path, typer.Argument(help="A run file (TREC or JSON), or a run folder of nudge fit.")]
AfterArgument = Annotated[
    Path | None, typer.Argument(help="The other. Without it, a run folder is compared with its own base.")
]
DatasetOption = Annotated[
    Path | None, typer.Option("--dataset", help="Labels to evaluate with, where no run folder brings its own.")
]
GainOption = Annotated[
    bool, typer.Option("--require-gain", help="Exit with 3 unless the first metric is better beyond noise.")
]


def compare(
    before: BeforeArgument,
    after: AfterArgument = None,
    dataset: DatasetOption = None,
    split: SplitOption = "test",
    metrics: MetricsOption = None,
    ignore_identical_ids: IdenticalOption = False,
    resamples: ResamplesOption = 10_000,
    confidence: ConfidenceOption = 0.95,
    seed: SeedOption = 0,
    require_gain: GainOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Say what changed between two rankings of the same queries, and whether it is more than noise.

    Paired bootstrap intervals, a randomisation test with its p-values corrected for several metrics, how many queries
    got better or worse, and which moved most. A run folder alone is also split by training labels and query clusters.
    """
    from nudge_integrations.cli.evaluation import LabelSource, read_rankings
    from nudge_integrations.cli.tables import comparison_tables
    from nudge_integrations.evaluation import DEFAULT_METRICS, RunFolder
    from nudge_integrations.evaluation import compare as compare_rankings

    if after is None and not before.is_dir():
        raise typer.BadParameter(f"{before} alone is no comparison: give two run files, or a run folder of nudge fit")
    how: Any = {"resamples": resamples, "confidence": confidence, "seed": seed}
    how["ignore_identical_ids"] = ignore_identical_ids
    if after is None:
        run = RunFolder.load(before)
        comparison = run.compare(metrics, **how)
    else:
        first, second, labels = read_rankings(before, after, LabelSource(dataset, split))
        comparison = compare_rankings(
            first,
            second,
            labels,
            metrics=metrics or DEFAULT_METRICS,
            **how,
        )
    console_for(as_json).print(comparison_tables(comparison))
    if as_json:
        print_json(comparison.to_dict())
    change = next(iter(comparison.differences.values()))
    if require_gain and not (change.difference > 0 and change.p_adjusted < 1 - confidence):
        raise typer.Exit(NO_GAIN)
