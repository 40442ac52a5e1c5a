"""The best k of a corpus for many queries: one pass, in blocks, ties to the lower row."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["BestSoFar", "likely_floor", "row_blocks"]

# Scores of one tile are looked at right after they are made, while they are still in the processor's cache.
_TILE_QUERIES = 1024


def row_blocks(count: int, rows: int) -> Iterator[slice]:
    """Yield slices that cover ``count`` rows, ``rows`` at a time."""
    for start in range(0, count, rows):
        yield slice(start, min(start + rows, count))


class BestSoFar:
    """The best k documents of each query among the blocks that were seen so far.

    Blocks come in ascending rows, so of two equal scores the earlier one is kept. Most blocks hold little that beats a
    query's k-th best: what does is put aside and merged once it is about as much as k a query.

    Args:
        queries: (m, d) float32.
        k: How many to keep.
        nowhere: The row that stands for no document.
        floor: (m,) float32, scores that a document must reach to be looked at, see `likely_floor`; None for no floor.
    """

    def __init__(self, queries: torch.Tensor, k: int, nowhere: int, floor: torch.Tensor | None = None) -> None:
        self._queries = queries
        self._tiles = list(row_blocks(len(queries), _TILE_QUERIES))
        self._scores = torch.full((len(queries), k), -torch.inf, device=queries.device)
        self._rows = torch.full((len(queries), k), nowhere, dtype=torch.int64, device=queries.device)
        self._floor = self._scores.new_full((len(queries), 1), -torch.inf) if floor is None else floor[:, None].clone()
        self._aside: list[list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]] = [[] for _ in self._tiles]
        self._space: tuple[torch.Tensor, torch.Tensor] | None = None

    def see(self, block: torch.Tensor, first_row: int) -> None:
        """Look at a block of unit documents (b, d) whose rows begin at ``first_row``."""
        for number, tile in enumerate(self._tiles):
            shape = (tile.stop - tile.start, len(block))
            scores, above = (buffer[: shape[0] * shape[1]].view(shape) for buffer in self._buffers(len(block)))
            torch.mm(self._queries[tile], block.T, out=scores)
            query, column = _positions(torch.ge(scores, self._floor[tile], out=above))
            self._aside[number].append((query, column + first_row, scores[query, column]))
            if sum(len(part[0]) for part in self._aside[number]) > 4 * self._scores.shape[1] * len(scores):
                self._merge(number)

    def _buffers(self, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return space for scores and for what is above the floor: fresh memory for each block would cost a tenth."""
        size = rows * min(_TILE_QUERIES, len(self._queries))
        if self._space is None or len(self._space[0]) < size:
            self._space = self._scores.new_empty(size), self._scores.new_empty(size, dtype=torch.bool)
        return self._space

    def result(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores (m, k) float32, best first, and rows (m, k) int64."""
        for number in range(len(self._tiles)):
            self._merge(number)
        return self._scores, self._rows

    def _merge(self, number: int) -> None:
        if not self._aside[number]:
            return
        tile, parts = self._tiles[number], self._aside[number]
        self._aside[number] = []
        counts = [torch.bincount(query, minlength=tile.stop - tile.start) for query, _, _ in parts]
        k = self._scores.shape[1]
        width = k + int(torch.stack(counts).sum(dim=0).max())
        every = self._scores.new_full((len(counts[0]), width), -torch.inf)
        at = self._rows.new_zeros((len(counts[0]), width))
        every[:, :k], at[:, :k] = self._scores[tile], self._rows[tile]
        filled = torch.full_like(counts[0], k)
        for (query, rows, scores), count in zip(parts, counts, strict=True):
            place = torch.arange(len(query), device=query.device) + (filled - count.cumsum(0) + count)[query]
            every[query, place], at[query, place] = scores, rows
            filled += count
        # Earlier documents come first, so that a stable sort gives them the better place among equals.
        best = torch.sort(every, dim=1, descending=True, stable=True)
        self._scores[tile] = best.values[:, :k]
        self._rows[tile] = at.gather(1, best.indices[:, :k])
        self._floor[tile] = torch.maximum(self._floor[tile], self._scores[tile, -1:])


def likely_floor(queries: torch.Tensor, sample: torch.Tensor, k: int, count: int) -> torch.Tensor:
    """Return (m,) float32 scores that a query's k best documents reach almost surely.

    Args:
        queries: (m, d) float32.
        sample: (s, d) float32, a uniform sample of the documents.
        k: How many documents are wanted.
        count: n, how many documents there are.
    """
    expected = k * len(sample) / count
    # Five standard deviations of a Poisson count more: fewer than k documents reach that about once in a million.
    rank = math.ceil(expected + 5.0 * math.sqrt(expected) + 5.0)
    if rank > len(sample):
        return queries.new_full((len(queries),), -torch.inf)
    best = [torch.topk(queries[tile] @ sample.T, rank, dim=1) for tile in row_blocks(len(queries), _TILE_QUERIES)]
    floors = [found.values[:, -1] for found in best]
    return torch.cat(floors) if floors else queries.new_zeros(0)


def _positions(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the row and the column of every true entry, row by row."""
    if mask.device.type != "cpu":
        query, document = torch.nonzero(mask, as_tuple=True)
        return query, document
    # numpy finds them three times as fast as torch does on a processor.
    flat: NDArray[np.int64] = np.flatnonzero(mask.numpy())
    row, column = np.divmod(flat, mask.shape[1])
    return torch.from_numpy(row), torch.from_numpy(column)
