"""The commands of ``nudge``, their options, and how errors are told: one line and an exit code, never a traceback."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from nudge_integrations.cli.measure import Options, measure
from nudge_integrations.cli.splits import read_splits, repaired
from nudge_integrations.cli.tables import agreement_lines, splits_line, summary
from nudge_integrations.encoding import SentenceTransformerEncoder
from nudge_integrations.errors import InputError, NudgeError

__all__ = ["app"]

FAILED, INTERRUPTED = 1, 130
"""Exit codes: what was asked for cannot be done; stopped by Ctrl-C. (2 is typer's own: wrong usage.)"""

app = typer.Typer(
    name="nudge",
    help="Better retrieval from labelled queries: move the document vectors a little, keep the model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DemoOutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder to keep the nudge and result.json in.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the figures as JSON, and nothing else, to stdout.")]
RepairOption = Annotated[
    bool, typer.Option("--repair", help="Leave out what is wrong with the data, and say what, instead of refusing it.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of everything that is drawn.")]
MethodOption = Annotated[str, typer.Option("--method", help="auto, nudge-n, nudge-m, nudge-m+n, nudge-s, contrastive.")]
MetricOption = Annotated[str, typer.Option("--metric", help="What the step maximises, such as ndcg@10 or hit@1.")]
UnseenOption = Annotated[
    float, typer.Option("--unseen-weight", help="0 to 1: how much queries for documents that nobody labelled count.")
]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, help="Texts encoded at a time.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="Where to encode, such as cpu or cuda.")]


@app.command()
def demo(output: DemoOutputOption = None, as_json: JsonOption = False) -> None:
    """See the point in under two minutes: 199 tools, 3,000 labelled requests, before and after.

    Embeds a piece of MetaTool with all-MiniLM-L6-v2, fits on 2,400 requests, and ranks the tools for 600 others.
    Then a LlamaIndex and a LangChain retriever, made from the same nudge, answer those too.
    """
    with told_in_one_line():
        from nudge_integrations.cli.demo import run_demo

        console = Console(stderr=as_json)
        check_output(output)
        measured, agreement = run_demo(console)
        result = {**measured.result(), "retrievers_agree": agreement.agree}
        console.print(summary(result, measured.changes, measured.nudge.reason))
        console.print(agreement_lines(agreement))
        if output is not None:
            measured.nudge.save(output)
            write_json(result, output / "result.json")
            console.print(f"Kept in {output}: the nudge, and these figures in result.json.", highlight=False)
        if as_json:
            typer.echo(json.dumps(result, indent=2))


@app.command()
def fit(
    dataset: Annotated[Path, typer.Argument(help="A BEIR folder or a LlamaIndex question-answer JSON.")],
    encoder: Annotated[str, typer.Option("--encoder", "-e", help="A sentence-transformers model: name or path.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to keep the nudge in.")],
    method: MethodOption = "auto",
    metric: MetricOption = "ndcg@10",
    unseen_weight: UnseenOption = 0.0,
    batch_size: BatchOption = 32,
    device: DeviceOption = None,
    seed: SeedOption = 0,
    repair: RepairOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit on a dataset's train queries, show what that is worth on its test queries, and keep the nudge.

    A folder's own train, dev and test qrels are used where they exist; else its labels are split 70 / 10 / 20.

    Example: nudge fit scifact --encoder sentence-transformers/all-MiniLM-L6-v2 --output nudged
    """
    with told_in_one_line():
        console = Console(stderr=as_json)
        check_output(output)
        options = Options(method=method, metric=metric, seed=seed, unseen_weight=unseen_weight)
        splits = read_splits(dataset, seed)
        if repair:
            splits, left_out = repaired(splits)
            for line in left_out:
                console.print(line, highlight=False, markup=False)
        console.print(splits_line(splits), highlight=False)
        model = SentenceTransformerEncoder(encoder, batch_size=batch_size, device=device, progress=True)
        measured = measure(splits, model, options, progress=True)
        result = measured.result()
        console.print(summary(result, measured.changes, measured.nudge.reason))
        measured.nudge.save(output)
        console.print(f"Kept in {output}; Nudge.load({str(output)!r}) gives it back.", highlight=False)
        if as_json:
            typer.echo(json.dumps(result, indent=2))


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Turn an error of ours, of the file system, or Ctrl-C into one line on stderr and an exit code.

    Raises:
        typer.Exit: With `FAILED` or `INTERRUPTED`.
    """
    try:
        yield
    except (NudgeError, OSError) as error:
        typer.echo(f"nudge: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        typer.echo("nudge: stopped; nothing is left half-written", err=True)
        raise typer.Exit(INTERRUPTED) from error


def check_output(output: Path | None) -> None:
    """Refuse an output that cannot be a folder before the work, not after it.

    Raises:
        InputError: If a file of that name is there.
    """
    if output is not None and output.exists() and not output.is_dir():
        raise InputError(f"--output {output} is a file; give the path of a folder, which may be absent")


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write JSON to a name beside and rename it, so that the file is whole or not there."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
