"""A TOML file for repeated runs: a table for each command, whose keys are the command's options.

    [fit]
    encoder = "sentence-transformers/all-MiniLM-L6-v2"
    output = "nudged"
    seed = 7

Keys are spelled as the options are (``unseen-weight``, or ``unseen_weight``), arguments by their name in lower case
(``dataset``). Options on the command line win, and code to import (``package.module:name``) is named there alone. A key
or table that means nothing is an error that names it.
"""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from nudge_integrations.cli.import_paths import is_import_path
from nudge_integrations.storage import read_regular

__all__ = ["use_config"]

_CODE = ("encoder", "llm")  # a file that came with somebody's data must not choose what code runs
_LARGEST = 1 << 20  # bytes, which nobody writes by hand


def use_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Take a command's defaults from its table in a file.

    Args:
        ctx: The command's context.
        path: The file; None for none.

    Returns:
        The path as it came.

    Raises:
        typer.BadParameter: If the file cannot be read, or names what there is not.
    """
    if path is not None:
        ctx.default_map = _defaults(ctx, _tables(path), path)
    return path


def _tables(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_regular(path, most=_LARGEST).decode("utf-8"))
    except FileNotFoundError as error:
        raise typer.BadParameter(f"{path} does not exist") from error
    except (OSError, ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{path} is not a TOML file: {error}") from error


def _defaults(ctx: typer.Context, tables: dict[str, Any], path: Path) -> dict[str, Any]:
    commands = list(getattr(ctx.parent.command, "commands", ())) if ctx.parent is not None else []
    for name, table in tables.items():
        _check(name, commands, f"{path}: there is no command {name!r}")
        if not isinstance(table, dict):
            raise typer.BadParameter(f"{path}: {name} is {table!r}, expected a table: [{name}]")
    names = _names(ctx)
    given = {key.replace("_", "-"): value for key, value in tables.get(str(ctx.info_name), {}).items()}
    for key, value in given.items():
        _check(key, names, f"{path}: [{ctx.info_name}] has no option {key!r}")
        if key in _CODE and is_import_path(str(value)):
            raise typer.BadParameter(f"{path}: {key} names code to import, {value!r}: give --{key} on the command line")
    several = {parameter.name for parameter in ctx.command.params if getattr(parameter, "multiple", False)}
    # One name alone, of those that an option may be given several times, would be read letter by letter.
    return {
        names[key]: [value] if names[key] in several and isinstance(value, str) else value
        for key, value in given.items()
    }


def _names(ctx: typer.Context) -> dict[str, str]:
    """Return the key in the file -> the parameter's own name."""
    names: dict[str, str] = {}
    for parameter in ctx.command.params:
        if parameter.name is None or not getattr(parameter, "expose_value", True):
            continue
        spelled = next((option[2:] for option in parameter.opts if option.startswith("--")), parameter.name)
        names[spelled.replace("_", "-")] = parameter.name
    return names


def _check(name: str, known: Any, message: str) -> None:
    if name not in known:
        near = get_close_matches(name, list(known), n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known))}"
        raise typer.BadParameter(f"{message}; {advice}")
