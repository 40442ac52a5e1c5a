"""Where a command's words go: to people on a console, or one JSON object to stdout and the words to stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console

__all__ = ["console_for", "print_json"]


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command's end, which knows what to do; rich would exit by itself."""
        raise BrokenPipeError


def console_for(as_json: bool) -> Console:
    """Open the console for people: stdout, or stderr where stdout belongs to a machine."""
    return _Screen(stderr=as_json, highlight=False)


def print_json(content: Mapping[str, Any]) -> None:
    """Print one object to stdout."""
    typer.echo(json.dumps(content, indent=2, allow_nan=False))
