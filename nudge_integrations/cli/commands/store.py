"""``nudge store``: a nudge in a vector store that serves."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nudge_integrations.cli.exits import FAILED
from nudge_integrations.cli.options import (
    DebugOption,
    DeviceOption,
    EncoderOption,
    JsonOption,
    KeepOption,
    OptionalEncoderOption,
    SplitOption,
)
from nudge_integrations.cli.screen import console_for, print_json

if TYPE_CHECKING:
    from nudge_integrations.artifact import Nudge
    from nudge_integrations.cli.store import StoreTarget
    from nudge_integrations.stores import Canary, Rollout

__all__ = ["EXAMPLES", "store"]

EXAMPLES = (
    "nudge store fit postgresql://localhost/app -c items labels.json -e all-MiniLM-L6-v2 -o nudged",
    "nudge store plan postgresql://localhost/app -c items --nudge nudged",
    "nudge store apply http://localhost:6333 -c docs --nudge nudged --where metadata.tenant=acme",
    "nudge store verify lancedb-folder -c docs && nudge store rollback lancedb-folder -c docs",
)

UrlArgument = Annotated[
    str,
    typer.Argument(
        help="postgresql://..., http(s)://... (Qdrant), chroma://host:port, or a path: a folder of Chroma, LanceDB or "
        "Qdrant, or a FAISS index."
    ),
]
NudgeOption = Annotated[Path, typer.Option("--nudge", "-n", help="Folder of the saved nudge.")]
CollectionOption = Annotated[str | None, typer.Option("--collection", "-c", help="Its collection or table.")]
VectorOption = Annotated[str | None, typer.Option("--vector-name", help="Which of several named vectors or columns.")]
IdColumnOption = Annotated[str | None, typer.Option("--id-column", help="The column of ids of a table.")]
WhereOption = Annotated[
    list[str] | None, typer.Option("--where", help="key=value that rows must have; may be given several times.")
]
RankingOption = Annotated[
    str | None, typer.Option("--ranking", help="cosine, dot or l2, where a table without an index does not say.")
]
IdsOption = Annotated[Path | None, typer.Option("--ids", help="Ids of a FAISS index: a line or JSON entry a vector.")]
JournalOption = Annotated[Path | None, typer.Option("--journal", help="Folder of the journals. [default: your own]")]
LabelsOption = Annotated[
    Path | None,
    typer.Option("--labels", help="Labelled queries to check the store by. [default: those kept with the nudge]"),
]
LabelsArgument = Annotated[Path, typer.Argument(help="Labelled queries: a BEIR folder or a question-answer JSON.")]
RoundingOption = Annotated[bool, typer.Option("--allow-rounding", help="Write to a store of half precision.")]
MethodOption = Annotated[str, typer.Option("--method", help="As in nudge fit.")]
BatchRowsOption = Annotated[int, typer.Option("--batch-rows", min=1, help="Rows that change at once, row by row.")]

store = typer.Typer(name="store", no_args_is_help=True)
Command = Callable[..., None]


def _named(
    url: UrlArgument,
    collection: CollectionOption = None,
    vector_name: VectorOption = None,
    id_column: IdColumnOption = None,
    where: WhereOption = None,
    ranking: RankingOption = None,
    ids: IdsOption = None,
    journal: JournalOption = None,
) -> StoreTarget:
    from nudge_integrations.cli.store import StoreTarget

    return StoreTarget(url, collection, vector_name, id_column, tuple(where or ()), ranking, ids, journal)


def _checked(
    nudge: NudgeOption, labels: LabelsOption = None, encoder: OptionalEncoderOption = None, split: SplitOption = "test"
) -> tuple[Nudge, Canary | None]:
    from nudge_integrations.cli.encoders import EncoderChoice
    from nudge_integrations.cli.store import CanarySource

    return CanarySource(labels, None if encoder is None else EncoderChoice(encoder), split).read(nudge)


def _given(**makers: Callable[..., object]) -> Callable[[Command], Command]:
    """Give a command, in place of each argument that is named here, the options that the argument is made of.

    Args:
        **makers: Argument's name -> the function that makes it; its own parameters are the options.
    """

    def wrap(command: Command) -> Command:
        """Return the command with the options' signature, which typer reads."""
        parts = {name: _options_of(maker) for name, maker in makers.items()}
        own = {name: option for name, option in _options_of(command).items() if name not in makers}
        options = sorted(
            {**{name: one for part in parts.values() for name, one in part.items()}, **own}.values(),
            key=lambda option: option.default is not inspect.Parameter.empty,
        )

        @functools.wraps(command)
        def run(**values: Any) -> None:
            """Make the arguments of the options' values, and run the command."""
            for name, part in parts.items():
                values[name] = makers[name](**{option: values.pop(option) for option in part})
            command(**values)

        run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        run.__annotations__ = {option.name: option.annotation for option in options}
        return run

    return wrap


def _options_of(function: Callable[..., object]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    # Only the annotations of options are read: others name what is imported when a command runs.
    known = {name: globals().get(str(one.annotation), one.annotation) for name, one in parameters.items()}
    keyword = inspect.Parameter.KEYWORD_ONLY
    return {name: one.replace(annotation=known[name], kind=keyword) for name, one in parameters.items()}


def _show(run: Rollout, as_json: bool) -> None:
    from nudge_integrations.cli.store import rollout_result

    console = console_for(as_json)
    console.print(str(run), markup=False)
    for document_id, reason in list(run.skipped.items())[:10]:
        console.print(f"left as it is: {document_id} ({reason})", markup=False)
    if as_json:
        print_json(rollout_result(run))


@store.command()
@_given(target=_named)
def fit(
    target: StoreTarget,
    labels: LabelsArgument,
    encoder: EncoderOption,
    output: KeepOption,
    split: SplitOption = "train",
    method: MethodOption = "auto",
    device: DeviceOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Fit a nudge to labelled queries on the vectors that a store holds; nothing but the queries is embedded."""
    from nudge_integrations.cli.encoders import EncoderChoice
    from nudge_integrations.cli.store import fit_to_store

    nudge = fit_to_store(target, labels, EncoderChoice(encoder, device=device), split, output, method)
    console_for(as_json).print(f"{nudge!r}; kept in {output}", markup=False)
    if as_json:
        figures = {"method": nudge.method, "moved": len(nudge), "metric": nudge.metric, "status": nudge.status}
        print_json({**figures, "before": nudge.baseline, "after": nudge.score, "output": str(output)})


@store.command()
@_given(target=_named, checked=_checked)
def plan(
    target: StoreTarget,
    checked: tuple[Nudge, Canary | None],
    allow_rounding: RoundingOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say what applying a nudge would change, what it costs and what it is worth; nothing is written."""
    from nudge_integrations.cli.store import plan_result

    planned = target.open().plan(checked[0], canary=checked[1], allow_rounding=allow_rounding)
    console_for(as_json).print(str(planned), markup=False)
    if as_json:
        print_json(plan_result(planned))


@store.command()
@_given(target=_named, checked=_checked)
def apply(
    target: StoreTarget,
    checked: tuple[Nudge, Canary | None],
    allow_rounding: RoundingOption = False,
    batch_rows: BatchRowsOption = 500,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Move the vectors: journal first, compared before writing, read back, checked by queries, rolled back if worse."""
    live = target.open()
    planned = live.plan(checked[0], canary=checked[1], allow_rounding=allow_rounding)
    console_for(as_json).print(str(planned), markup=False)
    _show(live.apply(planned, batch_rows=batch_rows), as_json)


@store.command()
@_given(target=_named)
def status(target: StoreTarget, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Say how far the newest rollout is, and where its journal lies."""
    _show(target.open().rollout(), as_json)


@store.command()
@_given(target=_named)
def verify(target: StoreTarget, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Read every row of the newest rollout; the exit code is 1 where one is not where it should be."""
    found = target.open().verify()
    console_for(as_json).print(str(found), markup=False)
    if as_json:
        print_json({**asdict(found), "ok": found.ok})
    if not found.ok:
        raise typer.Exit(FAILED)


@store.command()
@_given(target=_named)
def resume(target: StoreTarget, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Finish a rollout that was interrupted, in the direction in which it went."""
    _show(target.open().resume(), as_json)


@store.command()
@_given(target=_named)
def rollback(target: StoreTarget, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Give every row its base vector back; rows that somebody else changed stay as they are."""
    _show(target.open().rollback(), as_json)
