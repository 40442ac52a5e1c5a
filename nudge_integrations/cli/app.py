"""The commands of ``nudge``, put together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from nudge_integrations import __version__
from nudge_integrations.cli.commands import (
    apply,
    compare,
    convert,
    demo,
    doctor,
    evaluate,
    feedback,
    fit,
    generate,
    init,
    inspect,
    refit,
    report,
    store,
)
from nudge_integrations.cli.exits import OneLineErrors
from nudge_integrations.cli.options import OptionsCommand

__all__ = ["app"]

EXAMPLES = (
    "nudge demo    # the point, in under two minutes",
    "nudge init scifact    # a commented nudge.toml for your data",
    "nudge fit scifact --encoder all-MiniLM-L6-v2 --output nudged    # the same on labels of your own",
    "nudge compare nudged    # is it more than noise?",
    "nudge report nudged --output report.html    # all of it on one page",
)


def _epilog(examples: Iterable[str]) -> str:
    # A blank line apart, because typer would join lines that follow each other.
    return "\n\n".join(("Examples:", *examples))


app = typer.Typer(
    name="nudge",
    cls=OneLineErrors,
    epilog=_epilog(EXAMPLES),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command(epilog=_epilog(demo.EXAMPLES))(demo.demo)
app.command(epilog=_epilog(init.EXAMPLES))(init.init)
app.command(epilog=_epilog(doctor.EXAMPLES))(doctor.doctor)
app.command(epilog=_epilog(fit.EXAMPLES), cls=OptionsCommand)(fit.fit)
app.command(epilog=_epilog(refit.EXAMPLES))(refit.refit)
app.command(epilog=_epilog(evaluate.EXAMPLES))(evaluate.evaluate)
app.command(epilog=_epilog(compare.EXAMPLES))(compare.compare)
app.command(epilog=_epilog(report.EXAMPLES))(report.report)
app.command(epilog=_epilog(inspect.EXAMPLES))(inspect.inspect)
app.command(epilog=_epilog(apply.EXAMPLES))(apply.apply)
app.command(epilog=_epilog(convert.EXAMPLES))(convert.convert)
app.command(epilog=_epilog(generate.EXAMPLES))(generate.generate)
app.add_typer(store.store, help="A nudge in a vector store that serves.", epilog=_epilog(store.EXAMPLES))

feedback_app = typer.Typer(name="feedback", epilog=_epilog(feedback.EXAMPLES), no_args_is_help=True)
for verb in (feedback.convert, feedback.stats, feedback.add):
    feedback_app.command()(verb)
app.add_typer(feedback_app, help="Thumbs, clicks and judgement lists as labels; what is in a log; one more verdict.")


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"nudge {__version__}")
        raise typer.Exit


@app.callback()
def nudge(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Better retrieval from labelled queries: move the document vectors a little, keep the model.

    Exit codes: 0 done; 1 cannot be done with this data, nudge or file system; 2 wrong usage or configuration;
    3 no gain beyond noise, where `--require-gain` asks; 130 stopped by Ctrl-C; 141 nobody reads the output.
    """
