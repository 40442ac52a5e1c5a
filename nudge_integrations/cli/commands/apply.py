"""``nudge apply``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nudge_integrations.cli.options import (
    ConfigOption,
    DebugOption,
    DryRunOption,
    IdColumnOption,
    JsonOption,
    NudgeArgument,
    VectorColumnOption,
)
from nudge_integrations.cli.screen import console_for, print_json

__all__ = ["EXAMPLES", "apply"]

EXAMPLES = (
    "nudge apply nudged corpus.npy --ids ids.txt --output corpus-nudged.npy",
    "nudge apply nudged corpus.safetensors --ids scifact/corpus.jsonl -o nudged.safetensors",
    "nudge apply nudged corpus.npy --ids ids.txt -o corpus-nudged.npy --dry-run",
    "nudge apply nudged queries.npy --queries -o queries-mapped.npy",
    "nudge apply nudged 'folder/*.parquet' --vector v --output new",
)

VectorsArgument = Annotated[
    str,
    typer.Argument(
        help="Base vectors, (n, d): .npy, .npz or .safetensors; or files with ids and vectors: 'x/*.parquet', x.lance."
    ),
]
IdsOption = Annotated[
    Path | None, typer.Option("--ids", help="Document ids in the order of the vectors: a line each, .jsonl or .json.")
]
QueriesOption = Annotated[
    bool, typer.Option("--queries", help="The vectors are queries, without ids: put them through the query map.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="File to write: .npy or .safetensors; for Parquet a folder.")
]
TensorOption = Annotated[
    str | None, typer.Option("--tensor", help="Which tensor of a .safetensors file with several. [default: vectors]")
]
SwapOption = Annotated[
    bool, typer.Option("--swap", help="Exchange the new folder with the old one once all files are written.")
]


def apply(
    nudge: NudgeArgument,
    vectors: VectorsArgument,
    output: OutputOption = None,
    ids: IdsOption = None,
    queries: QueriesOption = False,
    tensor: TensorOption = None,
    id_column: IdColumnOption = "id",
    vector_column: VectorColumnOption = "vector",
    swap: SwapOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Apply a nudge to a file of base vectors: documents that moved are replaced, the others stay.

    Vectors of another model, of another text, or nudged already are refused. They pass through memory in blocks, and
    the output appears whole or not at all. Under similarity dot their lengths matter: rank by inner product. Where the
    nudge has a query map, queries must go through it before the search: that is --queries.

    Parquet files are written again in a folder beside them, each row and column as it was but for moved vectors; --swap
    exchanges the two folders at the end, in one step. A Lance dataset (no --output) changes in one commit.
    """
    from nudge_integrations.cli.apply import ApplyJob
    from nudge_integrations.cli.vector_files import check_kind, write_vectors

    console = console_for(as_json)
    if Path(vectors).is_dir() or "://" in vectors or vectors.endswith((".parquet", ".lance")) or "*" in vectors:
        from nudge_integrations.cli.commands.apply_files import apply_files

        if queries or ids is not None or tensor is not None:
            raise typer.BadParameter(
                "--ids, --queries and --tensor go with .npy, .npz and .safetensors: these files hold their ids"
            )
        columns = id_column, vector_column
        return apply_files(console, nudge, vectors, columns, output, swap=swap, dry_run=dry_run, as_json=as_json)
    if swap:
        raise typer.BadParameter("--swap exchanges folders of Parquet files; a file of vectors is replaced at once")
    if output is None:
        raise typer.BadParameter("give the file to write: --output")
    if queries == (ids is not None):
        raise typer.BadParameter("give --ids for the vectors of documents, or --queries for those of queries")
    check_kind(output)
    work = ApplyJob.open(nudge, Path(vectors), ids, tensor)
    if dry_run:
        for _ in work.blocks():
            pass
    else:
        write_vectors(output, work.blocks(), work.shape, tensor or "vectors")
    ends = "dry run, nothing was written: it would be" if dry_run else "written to"
    console.print(f"{work}; {ends} {output}", markup=False)
    if as_json:
        print_json({**work.result(), "output": str(output), "dry_run": dry_run})
    return None
