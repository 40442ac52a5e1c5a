"""``nudge fit --corpus``: documents are rows of files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nudge_integrations.cli.corpus_files import CorpusChoice, measure_files
from nudge_integrations.cli.encoders import EncoderChoice, load_encoder
from nudge_integrations.cli.given_vectors import VectorFiles
from nudge_integrations.cli.screen import print_json
from nudge_integrations.cli.tables import summary, would_write
from nudge_integrations.scale.checkpoints import Checkpoints

if TYPE_CHECKING:
    from rich.console import Console

    from nudge_integrations.dataset import Splits
    from nudge_integrations.solver import OptionValues

__all__ = ["CorpusChoice", "fit_files"]


def fit_files(
    console: Console,
    splits: Splits,
    vectors: tuple[EncoderChoice | None, VectorFiles],
    choice: CorpusChoice,
    asked: tuple[str, OptionValues, Sequence[str] | None],
    output: Path,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Fit over files, show what that is worth on the test queries, and keep the nudge with its figures."""
    (method, options, signals), (encoder, files) = asked, vectors
    if signals:
        raise typer.BadParameter("--signals needs the texts of all documents, which --corpus does not read")
    if encoder is None or files != VectorFiles():
        raise typer.BadParameter("--corpus goes with --encoder for the queries, and without other files of vectors")
    if dry_run:
        console.print(str(choice.open()), markup=False)
        return would_write(console, [output], as_json)
    measured = measure_files(splits, load_encoder(encoder), choice, method, **options)
    result = measured.kept({"corpus": choice.location, "encoder": encoder.name, "split": splits.origin})
    console.print(summary(measured))
    measured.nudge.save(output, attachments={"result.json": (json.dumps(result, indent=2) + "\n").encode()})
    if choice.partial is not None:
        Checkpoints(choice.partial).clear()
    console.print(
        f"Kept in {output}; `nudge apply {output} {choice.location!r} -o NEW` writes the files.", markup=False
    )
    if as_json:
        print_json(result)
    return None
