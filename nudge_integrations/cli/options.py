"""Options and arguments that several commands share, so that one name means one thing everywhere."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from nudge_integrations.cli.config import use_config
from nudge_integrations.cli.exits import remember_debug

__all__ = [
    "BatchOption",
    "CacheOption",
    "ConfidenceOption",
    "ConfigOption",
    "CorpusOption",
    "DebugOption",
    "DeviceOption",
    "DocumentIdsOption",
    "DocumentVectorsOption",
    "DryRunOption",
    "EncoderOption",
    "ForceOption",
    "IdColumnOption",
    "IdenticalOption",
    "JsonOption",
    "KeepOption",
    "MetricsOption",
    "NudgeArgument",
    "OptionalEncoderOption",
    "OptionalKeepOption",
    "OptionsCommand",
    "QueryIdsOption",
    "QueryVectorsOption",
    "ResamplesOption",
    "ReuseOption",
    "SeedOption",
    "SignalsOption",
    "SkipOption",
    "SplitOption",
    "VectorColumnOption",
]

_KEEP = "Folder to keep the run in."
_ENCODER = "A sentence-transformers model (name or path), or package.module:name of an encoder."

BatchOption = Annotated[int, typer.Option("--batch-size", min=1, help="Texts encoded at a time.")]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Folder that keeps embeddings, so that no text is embedded twice.")
]
ConfidenceOption = Annotated[float, typer.Option("--confidence", help="Of every interval, between 0 and 1.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        callback=use_config,
        is_eager=True,
        expose_value=False,
        help="TOML file with a table for each command; options on the command line win over it.",
    ),
]
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug", callback=remember_debug, is_eager=True, expose_value=False, help="Show an error's traceback."
    ),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="Where to encode, such as cpu or cuda.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, say what would be written, and write nothing.")
]
DocumentVectorsOption = Annotated[
    Path | None,
    typer.Option("--document-vectors", help="Base vectors of the documents, in their order: .npy, .npz, .safetensors."),
]
DocumentIdsOption = Annotated[
    Path | None, typer.Option("--document-ids", help="Their ids, where the order is another: a line each, or JSON.")
]
QueryVectorsOption = Annotated[
    Path | None,
    typer.Option("--query-vectors", help="Vectors of the queries of all splits, in the order of the file of queries."),
]
QueryIdsOption = Annotated[
    Path | None, typer.Option("--query-ids", help="Their ids, where the order is another: a line each, or JSON.")
]
EncoderOption = Annotated[str, typer.Option("--encoder", "-e", help=_ENCODER)]
OptionalEncoderOption = Annotated[str | None, typer.Option("--encoder", "-e", help=_ENCODER)]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the run that the output folder holds.")]
IdenticalOption = Annotated[
    bool,
    typer.Option("--ignore-identical-ids", help="A query never finds the document that has its id, as in BEIR."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, to stdout.")]
KeepOption = Annotated[Path, typer.Option("--output", "-o", help=_KEEP)]
OptionalKeepOption = Annotated[Path | None, typer.Option("--output", "-o", help=_KEEP)]
MetricsOption = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Such as ndcg@10 or hit@1; may be given several times. [default: the usual four]"),
]
NudgeArgument = Annotated[Path, typer.Argument(help="Folder of a saved nudge.")]
ResamplesOption = Annotated[int, typer.Option("--resamples", min=1, help="Draws behind every interval and test.")]
ReuseOption = Annotated[
    Path | None,
    typer.Option("--reuse", help="Kept run whose embeddings are taken where texts are the same."),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of everything that is drawn.")]
SignalsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--signals",
        help="Add BM25 to the scores where it gains more than noise: bm25, or bm25:LANGUAGE such as bm25:de.",
    ),
]
SplitOption = Annotated[str, typer.Option("--split", help="Which qrels of a BEIR folder to read.")]
CorpusOption = Annotated[
    str | None,
    typer.Option("--corpus", help="Files with ids and vectors: 'folder/*.parquet', x.lance, s3://...; quote the *."),
]
IdColumnOption = Annotated[str, typer.Option("--id", help="The column of ids in these files.")]
VectorColumnOption = Annotated[str, typer.Option("--vector", help="The column of vectors in these files.")]
SkipOption = Annotated[bool, typer.Option("--skip", help="Leave faulty rows of these files out, and count them.")]


class OptionsCommand(TyperCommand):
    """A command with options of `fit`: those that say nothing themselves are described by `Options`, with defaults."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Describe the options, and show help; only then is the solver imported, which takes seconds."""
        from nudge_integrations.pipeline import METHODS
        from nudge_integrations.solver import Options

        described = dict(re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", inspect.getdoc(Options) or "", re.MULTILINE))
        described["method"] = f"{', '.join(METHODS)}."
        for option in self.params:
            if isinstance(option, TyperOption) and option.help is None and option.name in described:
                option.help = " ".join(described[option.name].replace("``", "").split())
                option.default = getattr(Options(), option.name)
        super().format_help(ctx, formatter)
