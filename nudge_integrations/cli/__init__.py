"""The command line, ``nudge``: what the package does, on data in files.

    app.py        the commands, their options and how errors are told
    splits.py     a file or folder -> train, validation and test
    demo.py       the shipped requests, through all of the following
    measure.py    train, encode, fit, retrieve before and after -> figures
    agreement.py  the same artifact through both frameworks' retrievers
    tables.py     figures -> what is printed

Measuring prints nothing and drawing measures nothing, so that either can be used, and tested, without the other.
"""

from __future__ import annotations

import logging
import sys

from nudge_integrations.errors import MissingExtraError

__all__ = ["main"]


def main() -> None:
    """Run the command line; what it is drawn with may be absent, and then one line says what to install."""
    try:
        from nudge_integrations.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in {"typer", "rich"}:
            raise
        sys.exit(f"nudge: {MissingExtraError(error.name, 'cli')}")
    # What the package wants known, such as a loss for documents that nobody labelled, goes to stderr as a line.
    logging.basicConfig(level=logging.WARNING, format="nudge: %(message)s")
    app()
