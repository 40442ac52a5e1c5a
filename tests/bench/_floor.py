"""The least that any method must do: one matrix product of evaluated queries x corpus, and one read of the corpus."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import _data
import numpy as np
import torch
from _measure import Clock

ROWS = (1_024, 4_096, 16_384)
HELD_ROWS = 131_072
FORMS = ("queries first", "documents first")


def floor(
    clock: Clock,
    *,
    directory: Path,
    mapped: bool = False,
    repeats: int = 3,
    part: str = "chosen",
    most: int | None = None,
) -> dict[str, Any]:
    """The product by the best of a few blocked forms, float32, of the first ``most`` queries of a part.

    ``product_seconds`` is the product alone, over documents that lie in memory as float32. Where the documents are a
    memory map, ``seconds`` is reading, converting and multiplying every block, else the product.
    """
    # A copy-on-write map: torch takes no read-only array, and nothing is written.
    documents = np.load(directory / "documents.npy", mmap_mode="c" if mapped else None)
    queries = torch.from_numpy(_data.load_labels(directory, part).queries[:most])
    held = torch.from_numpy(np.array(documents[:HELD_ROWS], dtype=np.float32))
    trials = {(form, rows): _seconds(held, queries, form, rows) for form in FORMS for rows in ROWS}
    form, rows = min(trials, key=trials.__getitem__)
    whole = torch.from_numpy(documents)
    clock.timed(lambda: _multiply(whole, queries, form, rows), repeats)
    median = sorted(clock.seconds)[repeats // 2]
    # A mapped corpus is too large to hold: its product is timed over the part held, again and again.
    again = sorted(_seconds(held, queries, form, rows) for _ in range(3))[1] / len(held) * len(documents)
    return {"product_seconds": again if mapped else median, "form": f"{form}, blocks of {rows:,} documents"}


def _seconds(documents: torch.Tensor, queries: torch.Tensor, form: str, rows: int) -> float:
    start = time.perf_counter()
    _multiply(documents, queries, form, rows)
    return time.perf_counter() - start


def _multiply(documents: torch.Tensor, queries: torch.Tensor, form: str, rows: int) -> None:
    """Multiply block by block into one buffer, converting blocks that are not float32 into another."""
    scores = torch.empty(len(queries) * rows)
    block = torch.empty(rows, documents.shape[1])
    for first in range(0, len(documents), rows):
        part = documents[first : first + rows]
        if part.dtype != torch.float32:
            part = block[: len(part)].copy_(part)
        sides = (queries, part.T) if form == FORMS[0] else (part, queries.T)
        out = scores[: len(queries) * len(part)].view(sides[0].shape[0], sides[1].shape[1])
        torch.matmul(*sides, out=out)
