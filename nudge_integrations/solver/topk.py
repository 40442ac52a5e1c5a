"""One pass over the corpus: the best scores of documents that do not move, and the rows that are needed later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from nudge_integrations.solver.arrays import Matrix, block_of, row_blocks, unit_rows

__all__ = ["Corpus", "best_of_block", "merge_best", "read_corpus"]

# Scores of one tile are looked at right after they are made, while they are still in the processor's cache.
_TILE_QUERIES, _TILE_BYTES = 1024, 16 << 20

# Rows of a tile that are looked at together: where none of them beats a query's floor, none is sorted.
_STRIP = 256


@dataclass(frozen=True, eq=False)
class Corpus:
    """What one pass over the documents leaves behind.

    Attributes:
        count: n, the number of documents.
        labelled: (u, d) float32 unit vectors of the rows asked for.
        sample: (s, d) float32 unit vectors of the rows sampled from the others.
        scores: (e, k) float32, each query's best scores among the others, best first; -inf where there are too few.
        rows: (e, k) int64, the rows of those scores.
    """

    count: int
    labelled: torch.Tensor
    sample: torch.Tensor
    scores: torch.Tensor
    rows: torch.Tensor


def best_of_block(
    queries: torch.Tensor, block: torch.Tensor, k: int, floor: torch.Tensor, buffer: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the best k of one block for the queries that have anything above their floor in it.

    Args:
        queries: (e, d) float32.
        block: (b, d) float32 unit vectors.
        k: How many to keep.
        floor: (e,) float32, a score that a document must beat to matter.
        buffer: float32 space for the scores of the block, its rows rounded up to whole strips (`strip_rows`); a fresh
            one for every block would cost as much as a tenth of the product.

    Returns:
        which queries (h,) int64, their best scores (h, c) float32, -inf where there are fewer, and rows in the block
        (h, c) int64; c >= min(k, b).
    """
    rows, width = strip_rows(len(block)), len(queries)
    scores = buffer[: rows * width].view(rows, width)
    # Documents first: the faster order of this product on a processor.
    torch.mm(block, queries.T, out=scores[: len(block)])
    scores[len(block) :] = -torch.inf
    strips = scores.view(-1, _STRIP, width)
    strip, query = torch.nonzero(strips.amax(dim=1) > floor, as_tuple=True)
    values, position = _best(strips[strip, :, query], torch.arange(_STRIP, device=block.device), k)
    which, of = torch.unique(query, return_inverse=True)
    results = values.new_full((len(which), len(strips), values.shape[1]), -torch.inf)
    results[of, strip] = values
    place = torch.zeros(results.shape, dtype=torch.int64, device=block.device)
    place[of, strip] = (position + _STRIP * strip[:, None]).clamp_max(len(block) - 1)
    return which, results.flatten(1), place.flatten(1)


def strip_rows(rows: int) -> int:
    """Return a number of rows rounded up to whole strips."""
    return -(-rows // _STRIP) * _STRIP


def merge_best(
    scores: torch.Tensor, rows: torch.Tensor, more_scores: torch.Tensor, more_rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best k of two lists of candidates per query, best first."""
    every = torch.cat([rows, more_rows], dim=1)
    values, position = _best(torch.cat([scores, more_scores], dim=1), every, scores.shape[1])
    return values, every.gather(1, position)


def _best(scores: torch.Tensor, rows: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k best scores (h, k') and their positions; of equal ones at the cutoff those with the lowest rows."""
    best = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1)
    values, position = best.values[:, :k], best.indices[:, :k]
    if best.values.shape[1] > k:
        # topk keeps any of equal scores; documents that occur twice must not change who is above whom.
        tied = torch.nonzero((values[:, -1] == best.values[:, k]) & torch.isfinite(values[:, -1]))[:, 0]
        if len(tied):
            by_row = rows.expand_as(scores)[tied].argsort(dim=1)
            order = scores[tied].gather(1, by_row).argsort(dim=1, descending=True, stable=True)[:, :k]
            position[tied] = by_row.gather(1, order)
    return values, position


def read_corpus(
    documents: Matrix,
    labelled: NDArray[np.int64],
    sampled: NDArray[np.int64],
    queries: torch.Tensor,
    k: int,
    *,
    block_bytes: int,
    shift: torch.Tensor | None = None,
    progress: bool = False,
) -> Corpus:
    """Read every document once, in blocks; documents may be a memory map of any size.

    Args:
        documents: (n, d), any float type.
        labelled: (u,) rows to keep in full and leave out of the search, ascending.
        sampled: (s,) other rows to keep, ascending.
        queries: (e, d) float32 on the device to work on.
        k: How many of the best scores to keep for each query.
        block_bytes: Bound on the temporary memory.
        shift: (d,) float32 added to every unit vector, which is then made unit length again.
        progress: Show a progress bar.

    Raises:
        InputError: If a document is zero, NaN or infinite.
    """
    count, width = documents.shape
    device = queries.device
    kept = {name: torch.empty(len(rows), width, device=device) for name, rows in _named(labelled, sampled)}
    scores = torch.full((len(queries), k), -torch.inf, device=device)
    rows = torch.full((len(queries), k), count, dtype=torch.int64, device=device)
    at_once = block_rows(width, block_bytes, device)
    buffer = torch.empty(min(len(queries), _TILE_QUERIES) * strip_rows(min(at_once, count)), device=device)
    parts = list(row_blocks(count, at_once))
    for part in tqdm(parts, desc="reading the corpus", unit="block", disable=not progress):
        block = unit_rows(block_of(documents, part, device), "documents", part.start)
        if shift is not None:
            block = torch.nn.functional.normalize(block + shift, dim=1)
        for name, picked in _named(labelled, sampled):
            first, last = np.searchsorted(picked, [part.start, part.stop])
            kept[name][first:last] = block[torch.from_numpy(picked[first:last] - part.start).to(device)]
        others, start_rows = _without(block, labelled, part)
        if len(others) and k:
            _search_block(queries, others, start_rows, scores, rows, buffer)
    return Corpus(count, kept["labelled"], kept["sampled"], scores, rows)


def block_rows(width: int, block_bytes: int, device: torch.device) -> int:
    """Return how many documents to hold at a time: block, copy in the stored type and scores within ``block_bytes``."""
    rows = block_bytes // (4 * (3 * width + _TILE_QUERIES))
    if device.type == "cpu":
        rows = min(rows, max(1, _TILE_BYTES // (4 * _TILE_QUERIES)))
    return max(1, rows)


def _named(
    labelled: NDArray[np.int64], sampled: NDArray[np.int64]
) -> tuple[tuple[str, NDArray[np.int64]], tuple[str, NDArray[np.int64]]]:
    return ("labelled", labelled), ("sampled", sampled)


def _without(block: torch.Tensor, labelled: NDArray[np.int64], part: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a block without its labelled rows, and the corpus rows of what is left."""
    first, last = np.searchsorted(labelled, [part.start, part.stop])
    rows = np.arange(part.start, part.stop)
    if last > first:
        rows = np.delete(rows, labelled[first:last] - part.start)
        block = block[torch.from_numpy(rows - part.start).to(block.device)]
    return block, torch.from_numpy(rows).to(block.device)


def _search_block(
    queries: torch.Tensor,
    block: torch.Tensor,
    block_row: torch.Tensor,
    scores: torch.Tensor,
    rows: torch.Tensor,
    buffer: torch.Tensor,
) -> None:
    """Merge the best of one block into the running best, in place, a tile of queries at a time."""
    for tile in row_blocks(len(queries), _TILE_QUERIES):
        which, results, position = best_of_block(queries[tile], block, scores.shape[1], scores[tile, -1], buffer)
        which = which + tile.start
        if len(which):
            scores[which], rows[which] = merge_best(scores[which], rows[which], results, block_row[position])
