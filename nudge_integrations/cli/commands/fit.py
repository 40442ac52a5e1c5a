"""``nudge fit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from nudge_integrations.cli.options import (
    BatchOption,
    CacheOption,
    ConfigOption,
    CorpusOption,
    DebugOption,
    DeviceOption,
    DocumentIdsOption,
    DocumentVectorsOption,
    DryRunOption,
    ForceOption,
    IdColumnOption,
    IdenticalOption,
    JsonOption,
    KeepOption,
    OptionalEncoderOption,
    QueryIdsOption,
    QueryVectorsOption,
    ReuseOption,
    SeedOption,
    SignalsOption,
    SkipOption,
    VectorColumnOption,
)
from nudge_integrations.cli.screen import console_for, print_json, shows_bars

if TYPE_CHECKING:
    from rich.console import Console

    from nudge_integrations.dataset import Splits
    from nudge_integrations.solver import OptionValues

__all__ = ["EXAMPLES", "fit"]

EXAMPLES = (
    "nudge fit scifact --encoder all-MiniLM-L6-v2 --output nudged",
    "nudge fit labels.json -e ./my-model -o nudged --metric hit@1 --cache embeddings",
    "nudge fit scifact -e my_package.models:encoder -o nudged --json",
    "nudge fit scifact -e all-MiniLM-L6-v2 -o nudged --signals bm25",
    "nudge fit scifact -o nudged --document-vectors corpus.npy --query-vectors queries.npy",
    "nudge fit labels.json -e all-MiniLM-L6-v2 --corpus 'folder/*.parquet' --vector v -o nudged",
    "nudge fit --config nudge.toml --dry-run",
)

_LONG = 2000  # texts, from which on it is said before how long it will take

DatasetArgument = Annotated[
    Path, typer.Argument(help="A BEIR folder, a LlamaIndex question-answer JSON, or a table: .csv, .tsv, .jsonl.")
]
# What these mean, and are by default, is shown as `nudge_integrations.Options` says it; see `OptionsCommand`.
MethodOption = Annotated[str, typer.Option("--method")]
MetricOption = Annotated[str | None, typer.Option("--metric")]
AverageOption = Annotated[str | None, typer.Option("--average")]
UnseenOption = Annotated[float | None, typer.Option("--unseen-weight")]
SecondsOption = Annotated[float | None, typer.Option("--max-seconds")]
LeaveOneOutOption = Annotated[
    bool,
    typer.Option("--leave-one-out", help="Learn from dev queries too; leave-one-out chooses, as query maps need."),
]
RepairOption = Annotated[
    bool, typer.Option("--repair", help="Leave out what is wrong with the data, and say what, instead of refusing it.")
]


def fit(
    dataset: DatasetArgument,
    output: KeepOption,
    encoder: OptionalEncoderOption = None,
    method: MethodOption = "auto",
    metric: MetricOption = None,
    average: AverageOption = None,
    unseen_weight: UnseenOption = None,
    max_seconds: SecondsOption = None,
    signals: SignalsOption = None,
    ignore_identical_ids: IdenticalOption = False,
    batch_size: BatchOption = 32,
    device: DeviceOption = None,
    cache: CacheOption = None,
    document_vectors: DocumentVectorsOption = None,
    document_ids: DocumentIdsOption = None,
    query_vectors: QueryVectorsOption = None,
    query_ids: QueryIdsOption = None,
    reuse: ReuseOption = None,
    leave_one_out: LeaveOneOutOption = False,
    seed: SeedOption = 0,
    corpus: CorpusOption = None,
    id_column: IdColumnOption = "id",
    vector_column: VectorColumnOption = "vector",
    skip: SkipOption = False,
    repair: RepairOption = False,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Fit on a dataset's train queries, show what that is worth on its test queries, and keep the run.

    A folder's own train, dev and test qrels are used where they exist; else its labels are split 70 / 10 / 20.
    Dev queries choose how far documents move. Query maps are judged by leave-one-out and so are tried only where there
    are no dev queries, or with --leave-one-out. Without --encoder all vectors are to be given as files.
    Where nothing gains beyond noise, nothing moves: the status is then no_gain, and the exit code is still 0.

    The folder holds the nudge, result.json, the labels, the test queries' results before and after, and the
    embeddings: all that `nudge report` needs, and all of it under checksums.

    With --corpus documents are rows of files, Parquet or Lance, larger than memory if need be: the labels name them by
    id, and texts are not needed. The folder then holds the nudge and result.json. A fit that was killed goes on where
    it was when the same command is given again.
    """
    from nudge_integrations.cli.commands.fit_files import CorpusChoice, fit_files
    from nudge_integrations.cli.encoders import EncoderChoice
    from nudge_integrations.cli.estimate import estimate
    from nudge_integrations.cli.given_vectors import GivenVectors, VectorFiles, reused
    from nudge_integrations.cli.measure import measure, splits_for
    from nudge_integrations.cli.tables import how_chosen, summary, would_write
    from nudge_integrations.evaluation import RunFolder

    console = console_for(as_json)
    RunFolder.check_target(output, overwrite=force)
    options = _given(metric=metric, average=average, unseen_weight=unseen_weight, max_seconds=max_seconds, seed=seed)
    options["ignore_identical_ids"] = ignore_identical_ids
    splits = _splits(console, dataset, seed, repair, leave_one_out, by_id=corpus is not None)
    console.print(how_chosen(splits, method, options))
    files = VectorFiles(document_vectors, document_ids, query_vectors, query_ids)
    choice = None if encoder is None else EncoderChoice(encoder, batch_size, device, cache)
    if corpus is not None:
        chosen = CorpusChoice(corpus, id_column, vector_column, skip, Path(f"{output}.partial"))
        asked = method, options, signals
        return fit_files(console, splits, (choice, files), chosen, asked, output, dry_run=dry_run, as_json=as_json)
    if dry_run:
        splits_for(splits, method, options, signals or ())
        if encoder is None:
            GivenVectors.of(None, files, dataset)
        return would_write(console, [output], as_json)
    model, again = reused(GivenVectors.of(choice, files, dataset), reuse or output, asked=reuse is not None)
    if again:
        console.print(again, markup=False)
    elif choice is not None and len(splits.test.corpus) + len(splits.train) >= _LONG:
        console.print(f"This takes {estimate(splits, model)}.")
    measured = measure(splits, model, method, signals=signals or (), **options)
    result = measured.kept({"dataset": str(dataset), "encoder": encoder or model.fingerprint, "split": splits.origin})
    console.print(summary(measured))
    measured.run_folder(splits, result).save(output)
    console.print(f"Kept in {output}; Nudge.load({str(output)!r}) gives it back.", markup=False)
    if as_json:
        print_json(result)
    return None


def _given(**options: object) -> OptionValues:
    """Return the options that were given; the others are left to `Options`."""
    given = {name: value for name, value in options.items() if value is not None}
    return cast("OptionValues", {**given, "progress": shows_bars()})


def _splits(console: Console, dataset: Path, seed: int, repair: bool, leave_one_out: bool, *, by_id: bool) -> Splits:
    from nudge_integrations.cli.formats import form_of, refuse_feedback
    from nudge_integrations.cli.tables import splits_line
    from nudge_integrations.dataset import Splits

    refuse_feedback(dataset, form_of(dataset))
    splits = Splits.read(dataset, seed)
    if by_id:
        from nudge_integrations.cli.corpus_files import over_ids

        splits = over_ids(splits)
    if repair:
        splits, left_out = splits.repaired()
        for line in left_out:
            console.print(line, markup=False)
    if leave_one_out:
        splits = splits.without_validation()
    console.print(splits_line(splits))
    if splits.weights is not None:
        console.print("What labels count is read from beside them.")
    return splits
