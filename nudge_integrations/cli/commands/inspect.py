"""``nudge inspect``."""

from __future__ import annotations

from typing import Annotated

import typer

from nudge_integrations.cli.options import ConfigOption, DebugOption, JsonOption, NudgeArgument
from nudge_integrations.cli.screen import console_for, print_json

__all__ = ["EXAMPLES", "inspect"]

EXAMPLES = (
    "nudge inspect nudged",
    "nudge inspect nudged --top 50",
    "nudge inspect nudged --json | jq .moves",
)

TopOption = Annotated[int, typer.Option("--top", min=0, help="How many of the largest moves to list.")]


def inspect(
    nudge: NudgeArgument,
    top: TopOption = 10,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Say what a saved nudge is: where it comes from, whether it is intact, and which documents moved most.

    Every file that belongs to it is read and its checksum compared; an altered byte is an error (exit code 1).
    """
    from nudge_integrations.cli.card import card_of, card_table

    card = card_of(nudge, top)
    console_for(as_json).print(card_table(card))
    if as_json:
        print_json(card)
