"""``nudge evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nudge_integrations.cli.options import (
    BatchOption,
    CacheOption,
    ConfigOption,
    DebugOption,
    DeviceOption,
    DocumentIdsOption,
    DocumentVectorsOption,
    DryRunOption,
    IdenticalOption,
    JsonOption,
    MetricsOption,
    OptionalEncoderOption,
    QueryIdsOption,
    QueryVectorsOption,
    SplitOption,
)
from nudge_integrations.cli.screen import console_for, print_json

__all__ = ["EXAMPLES", "evaluate"]

EXAMPLES = (
    "nudge evaluate run.trec scifact",
    "nudge evaluate nudged    # the fit's test queries with the nudge",
    "nudge evaluate nudged --base    # and without it",
    "nudge evaluate nudged scifact -e all-MiniLM-L6-v2 --metric map@100 --run after.trec",
    "nudge evaluate nudged scifact --document-vectors corpus.npy --query-vectors queries.npy",
)

SourceArgument = Annotated[Path, typer.Argument(help="A run file (TREC or JSON), or the folder of a nudge.")]
DatasetArgument = Annotated[
    Path | None,
    typer.Argument(help="Labels to evaluate with: a BEIR folder, a file or a table. A run folder brings its own."),
]
BaseOption = Annotated[bool, typer.Option("--base", help="Evaluate the base vectors instead of the nudged ones.")]
RunOption = Annotated[
    Path | None, typer.Option("--run", help="Keep the ranking as a run file: NAME.json, or TREC's columns.")
]


def evaluate(
    source: SourceArgument,
    dataset: DatasetArgument = None,
    encoder: OptionalEncoderOption = None,
    base: BaseOption = False,
    split: SplitOption = "test",
    metrics: MetricsOption = None,
    ignore_identical_ids: IdenticalOption = False,
    run: RunOption = None,
    batch_size: BatchOption = 32,
    device: DeviceOption = None,
    cache: CacheOption = None,
    document_vectors: DocumentVectorsOption = None,
    document_ids: DocumentIdsOption = None,
    query_vectors: QueryVectorsOption = None,
    query_ids: QueryIdsOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Evaluate a ranking: of a run file, of a nudge on any labels, or of a fit on its own test labels.

    Every query of the labels counts, one without results as zero. Definitions are trec_eval's, by ir_measures.
    Embeddings that the run kept, or that are given as files, are not made again; without --encoder all must be there.
    """
    from nudge_integrations.cli.encoders import EncoderChoice
    from nudge_integrations.cli.evaluation import LabelSource, evaluate_source, fitted_on
    from nudge_integrations.cli.given_vectors import VectorFiles
    from nudge_integrations.cli.tables import means_table
    from nudge_integrations.evaluation import DEFAULT_METRICS, write_run

    choice = None if encoder is None else EncoderChoice(encoder, batch_size, device, cache)
    evaluation = evaluate_source(
        source,
        LabelSource(dataset, split),
        choice,
        VectorFiles(document_vectors, document_ids, query_vectors, query_ids),
        metrics or DEFAULT_METRICS,
        base=base,
        ignore_identical_ids=ignore_identical_ids,
    )
    console = console_for(as_json)
    console.print(means_table(evaluation))
    seen = fitted_on(source, evaluation)
    if seen is not None:
        console.print(seen)
    if run is not None and not dry_run:
        write_run(evaluation.rankings, run)
    if run is not None:
        console.print(f"The ranking {'would go' if dry_run else 'went'} to {run}", markup=False)
    if as_json:
        print_json(
            {"metrics": dict(evaluation.means), "queries": evaluation.queries, **({"warning": seen} if seen else {})}
        )
