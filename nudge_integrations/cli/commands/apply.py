"""``nudge apply``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nudge_integrations.cli.options import ConfigOption, DebugOption, DryRunOption, JsonOption, NudgeArgument
from nudge_integrations.cli.screen import console_for, print_json

__all__ = ["EXAMPLES", "apply"]

EXAMPLES = (
    "nudge apply nudged corpus.npy --ids ids.txt --output corpus-nudged.npy",
    "nudge apply nudged corpus.safetensors --ids scifact/corpus.jsonl -o nudged.safetensors",
    "nudge apply nudged corpus.npy --ids ids.txt -o corpus-nudged.npy --dry-run",
    "nudge apply nudged queries.npy --queries -o queries-mapped.npy",
)

VectorsArgument = Annotated[Path, typer.Argument(help="Base vectors, (n, d): .npy, .npz or .safetensors.")]
IdsOption = Annotated[
    Path | None, typer.Option("--ids", help="Document ids in the order of the vectors: a line each, .jsonl or .json.")
]
QueriesOption = Annotated[
    bool, typer.Option("--queries", help="The vectors are queries, without ids: put them through the query map.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="File to write: .npy or .safetensors.")]
TensorOption = Annotated[
    str | None, typer.Option("--tensor", help="Which tensor of a .safetensors file with several. [default: vectors]")
]


def apply(
    nudge: NudgeArgument,
    vectors: VectorsArgument,
    output: OutputOption,
    ids: IdsOption = None,
    queries: QueriesOption = False,
    tensor: TensorOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Apply a nudge to a file of base vectors: documents that moved are replaced, the others stay.

    Vectors of another model, of another text, or nudged already are refused. They pass through memory in blocks, and
    the output appears whole or not at all. Under similarity dot their lengths matter: rank by inner product. Where the
    nudge has a query map, queries must go through it before the search: that is --queries.
    """
    from nudge_integrations.cli.apply import ApplyJob
    from nudge_integrations.cli.vector_files import check_kind, write_vectors

    console = console_for(as_json)
    if queries == (ids is not None):
        raise typer.BadParameter("give --ids for the vectors of documents, or --queries for those of queries")
    check_kind(output)
    work = ApplyJob.open(nudge, vectors, ids, tensor)
    if dry_run:
        for _ in work.blocks():
            pass
    else:
        write_vectors(output, work.blocks(), work.shape, tensor or "vectors")
    ends = "dry run, nothing was written: it would be" if dry_run else "written to"
    console.print(f"{work}; {ends} {output}", markup=False)
    if as_json:
        print_json({**work.result(), "output": str(output), "dry_run": dry_run})
