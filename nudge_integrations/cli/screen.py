"""Where a command's words go: to people on a console, or one JSON object to stdout and the words to stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from tqdm import tqdm

__all__ = ["Lines", "console_for", "harmless", "print_json", "rows_table", "shows_bars", "two_columns"]

# No width on the screen: all control characters but tab and newline. Half of a character cannot be printed at all.
_HARMFUL: dict[int, str | None] = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))
_HARMFUL |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def harmless(text: str) -> str:
    r"""Leave out what a terminal would obey, such as an escape sequence that fills the clipboard.

    Example:
        >>> harmless("clear\x1b[2J")
        'clear[2J'
    """
    return text.translate(_HARMFUL)


def shows_bars() -> bool:
    """Tell whether anybody watches: a log file or a pipe is given no progress bars."""
    return sys.stderr.isatty()


class Lines(logging.Handler):
    """Shows what is logged as one line a message on stderr, above any progress bar, and without escape sequences."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message; those of other packages say whose they are."""
        try:
            said = " ".join(record.getMessage().split())
            whose = "" if record.name.startswith("nudge_integrations") else f"{record.name}: "
            tqdm.write(f"nudge: {harmless(whose + said)}", file=sys.stderr)
        except Exception:
            self.handleError(record)


class _Screen(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Draw, without what texts and paths would tell the terminal to do; colours are added later."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=harmless(segment.text))

    def on_broken_pipe(self) -> None:
        """Leave it to the command's end, which knows what to do; rich would exit by itself."""
        raise BrokenPipeError


def console_for(as_json: bool) -> Console:
    """Open the console for people: stdout, or stderr where stdout belongs to a machine."""
    return _Screen(stderr=as_json, highlight=False)


def two_columns(rows: Mapping[str, object]) -> Table:
    """Draw names beside their values, as texts without markup."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(escape(name), escape(str(value)))
    return table


def rows_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Draw rows of texts without markup below a head; all columns but the first two hold figures."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for place, name in enumerate(head):
        table.add_column(escape(name), justify="left" if place < 2 else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def print_json(content: Mapping[str, Any]) -> None:
    """Print one object to stdout."""
    typer.echo(json.dumps(content, indent=2, allow_nan=False))
