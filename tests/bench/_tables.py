"""Markdown tables and progress lines."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Sequence

TITLES = {
    "test": "test queries",
    "unseen": "queries for documents that were never labelled",
    "clusters": "queries of a cluster that was left out",
}


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table; every column but the first is right-aligned."""
    lines = [list(map(str, header)), ["---", *["---:"] * (len(header) - 1)]]
    lines += [[str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def note(text: str) -> None:
    """One line of progress, on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def machine(threads: int) -> dict[str, str | int]:
    """The machine that the figures were measured on, without names or paths."""
    import numpy as np
    import torch

    return {
        "processor": platform.machine(),
        "threads": threads,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
