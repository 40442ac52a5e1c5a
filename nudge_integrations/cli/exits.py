"""How a command ends: an exit code, one line for an error, silence for Ctrl-C and for a reader that went away.

0    done
1    cannot be done with this data, artifact or file system; the line says what to do
2    wrong usage, or a wrong configuration file
3    `compare --require-gain`, `refit --require-gain`: no gain beyond noise
130  stopped by Ctrl-C; nothing is left half-written
141  whoever read the output went away, as `head` does
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from nudge_integrations.cli.screen import harmless
from nudge_integrations.errors import NudgeError

__all__ = ["FAILED", "INTERRUPTED", "NO_GAIN", "READER_GONE", "WRONG_USAGE", "OneLineErrors", "remember_debug"]

FAILED, WRONG_USAGE, NO_GAIN, INTERRUPTED, READER_GONE = 1, 2, 3, 130, 141

# Typer has no public name for what all its usage errors have in common.
_UsageError: type[Any] = typer.BadParameter.__mro__[1]
_DEBUG = "nudge.debug"


def remember_debug(ctx: typer.Context, debug: bool) -> bool:
    """Note that errors are to be shown with their traceback."""
    ctx.meta[_DEBUG] = debug
    return debug


class OneLineErrors(TyperGroup):
    """A group of commands that end as this module says."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command and exit; usage errors become one line, where typer would draw a box."""
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except _UsageError as error:
            command = error.ctx.command_path if error.ctx is not None else "nudge"
            _tell(f"{error.format_message()} ({command} --help lists what there is)")
            code = WRONG_USAGE
        except typer.Abort:
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; whatever goes wrong in it becomes a line and an exit code.

        Raises:
            typer.Exit: With the code of this module that fits.
        """
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except (typer.Exit, typer.Abort, _UsageError):
            raise
        except BrokenPipeError as error:
            # What Python would still flush at its end goes nowhere, instead of failing again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(READER_GONE) from error
        except KeyboardInterrupt as error:
            # A rollout that is interrupted says itself how to go on.
            _tell(str(error) if isinstance(error, NudgeError) else "stopped; nothing is left half-written")
            raise typer.Exit(INTERRUPTED) from error
        except Exception as error:
            if ctx.meta.get(_DEBUG):
                raise
            _tell(_in_words(error))
            raise typer.Exit(FAILED) from error


def _in_words(error: Exception) -> str:
    if isinstance(error, NudgeError | OSError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}; run it again with --debug and report the traceback"


def _tell(message: str) -> None:
    typer.echo(f"nudge: {harmless(' '.join(message.split()))}", err=True)
