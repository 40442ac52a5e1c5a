"""The command line, ``nudge``: what the package does, on data in files.

    app.py          the commands, put together
    commands/       one a module: options, the call, and what is printed
    options.py      options that several commands share
    config.py       a TOML file's defaults for them
    exits.py        exit codes, and errors in one line
    screen.py       text for people, or one JSON object for machines

and what they call

    encoders.py     what --encoder names -> an encoder (import_paths.py: package.module:name -> an object)
    measure.py      train, encode, fit, retrieve before and after -> figures
    evaluation.py   run files, run folders, or a nudge and an encoder -> evaluations and rankings
    card.py         a saved nudge -> provenance, integrity, largest moves
    given_vectors.py vectors in files or in a kept run, instead of those that a model would make again
    corpus_files.py documents that are rows of Parquet or Lance files: fitted, measured
    refit.py        a run folder and new labels -> a new run
    store.py        a live store as it is named, and the queries that check it
    found.py        datasets, extras and labels that are there (estimate.py: seconds; configuration.py: nudge.toml)
    apply.py        a saved nudge and a file of vectors -> nudged vectors (vector_files.py: .npy and .safetensors)
    formats.py      datasets in files of several forms
    demo.py         the shipped requests, through all of this (edge_check.py: both frameworks' retrievers)
    tables.py       tables and lines that are printed

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
    from nudge_integrations.cli.screen import Lines

    # What the package wants known, such as a loss for documents that nobody labelled, goes to stderr as a line.
    logging.basicConfig(level=logging.WARNING, handlers=[Lines()])
    logging.captureWarnings(True)
    app(prog_name="nudge")
