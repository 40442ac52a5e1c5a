"""``nudge apply`` over files that hold ids and vectors: Parquet is written again, Lance takes one commit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.corpus_files import CorpusChoice
from nudge_integrations.cli.screen import print_json
from nudge_integrations.scale import nudge_lance, rewrite

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["apply_files"]


def apply_files(
    console: Console,
    folder: Path,
    location: str,
    columns: tuple[str, str],
    output: Path | None,
    *,
    swap: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Apply the nudge in a folder to files, and say what was written."""
    nudge, lance = Nudge.load(folder), location.rstrip("/").endswith(".lance")
    if lance == (output is not None):
        raise typer.BadParameter(
            "a Lance dataset changes in one commit, without --output" if lance else "give the folder to write: --output"
        )
    if lance and swap:
        raise typer.BadParameter("--swap exchanges folders of Parquet files; a Lance dataset changes in one commit")
    corpus = CorpusChoice(location, *columns).open()
    result: dict[str, Any]
    if output is not None:
        written = rewrite(nudge, corpus, output, swap=swap, dry_run=dry_run)
        said, result = str(written), {**asdict(written), "folder": str(written.folder)}
    elif dry_run:
        said, result = f"{len(nudge):,} rows of {location} would change in one commit", {"rows": len(nudge)}
    else:
        commit = nudge_lance(nudge, corpus)
        said = f"{commit.rows:,} rows of {location} changed; version {commit.before} holds them as they were"
        result = asdict(commit)
    said += "; dry run, nothing was written" if dry_run else ""
    said += "" if nudge.query_map is None else "; queries go through a map: nudge apply --queries"
    console.print(said, markup=False)
    if as_json:
        print_json({**result, "dry_run": dry_run})
