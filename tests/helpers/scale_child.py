"""Corpora whose process is killed while it searches."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from nudge_integrations.corpus import Neighbours
from nudge_integrations.scale import FileCorpus, open_corpus


class Killed(FileCorpus):
    """Ends the process, as the kernel would, at the first sight of a row."""

    at = 0

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "rows_read" and isinstance(value, int) and value >= self.at > 0:
            os.kill(os.getpid(), signal.SIGKILL)


class DyingOnce(FileCorpus):
    """Ends the worker that searches it, the first time."""

    def search_rows(self, *arguments: Any, **options: Any) -> Neighbours:
        marker = Path(os.environ["NUDGE_MARKER"])
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().search_rows(*arguments, **options)


def main(files: str, checkpoints: str, queries: str, k: int, at: int) -> None:
    corpus = open_corpus(files, checkpoints=checkpoints)
    corpus.checkpoint_rows = 5000
    corpus.__class__ = Killed
    Killed.at = at
    corpus.search(np.load(queries), k)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
