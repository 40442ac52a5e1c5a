"""The best documents of queries in one pass over blocks, on several threads, with partial results that survive."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus import Neighbours
from nudge_integrations.corpus.topk import BestSoFar, row_blocks

__all__ = ["all_found", "best_of_blocks", "from_pairs", "merged"]

# Blocks that wait for a thread that is slower than the others.
_WAITING = 2

Saved = Callable[[int, Neighbours], None]


def merged(parts: Sequence[Neighbours], k: int) -> Neighbours:
    """Return the best k of several results for the same queries; ties go to the lower row.

    Args:
        parts: Scores and rows (m, k_i) of different documents, in any order.
        k: How many to keep.

    >>> one = Neighbours(np.float32([[0.5]]), np.array([[7]]))
    >>> other = Neighbours(np.float32([[0.5, 0.1]]), np.array([[3, 4]]))
    >>> merged([one, other], 2).rows.tolist()
    [[3, 7]]
    """
    scores, rows = (np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("scores", "rows"))
    by_row = np.argsort(rows, axis=1, kind="stable")
    scores, rows = np.take_along_axis(scores, by_row, axis=1), np.take_along_axis(rows, by_row, axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Neighbours(
        np.take_along_axis(scores, best, axis=1),
        np.take_along_axis(rows, best, axis=1),
        all(part.exact for part in parts),
    )


def from_pairs(
    query: NDArray[np.int64], row: NDArray[np.int64], score: NDArray[np.float32], *, queries: int, nowhere: int
) -> Neighbours:
    """Return results that come one a line, in any order, as arrays (m, w) of the longest list, with no order in them.

    Args:
        query: (r,) which query each is of.
        row: (r,) the document.
        score: (r,) its score.
        queries: m.
        nowhere: The row that stands for no document.

    >>> found = from_pairs(np.array([1, 1]), np.array([4, 2]), np.float32([0.5, 0.9]), queries=2, nowhere=9)
    >>> found.rows.tolist()
    [[9, 9], [4, 2]]
    """
    order = np.argsort(query, kind="stable")
    query, row, score = query[order], row[order], score[order]
    counts = np.bincount(query, minlength=queries)
    place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    scores = np.full((queries, int(counts.max(initial=0))), -np.inf, np.float32)
    rows = np.full(scores.shape, nowhere, np.int64)
    scores[query, place], rows[query, place] = score, row
    return Neighbours(scores, rows)


def best_of_blocks(
    blocks: Iterator[tuple[int, torch.Tensor]],
    queries: torch.Tensor,
    k: int,
    *,
    nowhere: int,
    floor: torch.Tensor | None = None,
    threads: int = 1,
    save: Saved | None = None,
    save_rows: int = 0,
    seen: Callable[[int], object] = lambda rows: None,
) -> Neighbours:
    """Return the best k documents of each query among blocks.

    Each thread has queries of its own and sees every block, so one large piece of a table keeps nobody waiting.

    Args:
        blocks: First rows and (b, d) unit vectors, in ascending rows.
        queries: (m, d) float32 unit vectors; where they are, there is computed.
        k: How many.
        nowhere: The row that stands for no document.
        floor: (m,) scores that are surely reached; see `likely_floor`.
        threads: How many threads of one core each.
        save: Is given the row after the last one seen, and the best so far.
        save_rows: About how many rows lie between two calls of it.
        seen: Is given the number of rows of every block.
    """
    with _Threads(queries, k, nowhere, floor, threads) as best:
        since = 0
        for first, block in blocks:
            best.see(block, first)
            seen(len(block))
            since += len(block)
            if save is not None and since >= save_rows:
                save(first + len(block), best.result())
                since = 0
        return best.result()


def all_found(
    found: Neighbours, floor: NDArray[np.float32], nowhere: int, again: Callable[[NDArray[np.int64]], Neighbours]
) -> Neighbours:
    """Return the best k documents of each query, also of those whose floor fewer than k documents reached.

    Args:
        found: The best k that reach the floor; changed in place.
        floor: (m,) scores that k documents almost surely reach.
        nowhere: The row that stands for no document, which is their number.
        again: Searches for some of the queries, by their places, without a floor.
    """
    missed = np.flatnonzero((found.rows[:, -1] == nowhere) & np.isfinite(floor))
    if len(missed) and found.rows.shape[1] <= nowhere:
        rest = again(missed)
        found.scores[missed], found.rows[missed] = rest.scores, rest.rows
    return found


class _Threads:
    """`BestSoFar` for some of the queries in each of several threads."""

    def __init__(self, queries: torch.Tensor, k: int, nowhere: int, floor: torch.Tensor | None, threads: int) -> None:
        on_processor = queries.device.type == "cpu"
        rows = max(1, -(-len(queries) // max(1, threads))) if on_processor else max(1, len(queries))
        self._on, self._one_core = queries.device, on_processor
        self._best = [
            BestSoFar(queries[part], k, nowhere, None if floor is None else floor[part])
            for part in row_blocks(len(queries), rows)
        ]
        self._empty = Neighbours(np.zeros((0, k), np.float32), np.zeros((0, k), np.int64))
        self._waiting: deque[list[Future[None]]] = deque()
        self._stack = ExitStack()
        self._pools: list[ThreadPoolExecutor] = []

    def __enter__(self) -> _Threads:
        if self._one_core:
            self._stack.enter_context(_one_core_each())
        start = partial(torch.set_num_threads, 1) if self._one_core else None
        for _ in self._best:
            self._pools.append(self._stack.enter_context(ThreadPoolExecutor(1, initializer=start)))
        return self

    def __exit__(self, *error: object) -> None:
        for futures in self._waiting:
            for future in futures:
                future.cancel()
        self._stack.close()

    def see(self, block: torch.Tensor, first_row: int) -> None:
        """Have every thread look at a block; waits where the slowest is too far behind."""
        if len(self._waiting) >= _WAITING:
            for future in self._waiting.popleft():
                future.result()
        there = block.to(self._on, non_blocking=True)
        self._waiting.append(
            [pool.submit(best.see, there, first_row) for pool, best in zip(self._pools, self._best, strict=True)]
        )

    def result(self) -> Neighbours:
        """Return the best of all blocks so far."""
        while self._waiting:
            for future in self._waiting.popleft():
                future.result()
        found = [best.result() for best in self._best]
        if not found:
            return self._empty
        scores, rows = (torch.cat(side).cpu().numpy() for side in zip(*found, strict=True))
        return Neighbours(scores, rows)


@contextmanager
def _one_core_each() -> Iterator[None]:
    """Have torch use one core a thread meanwhile: it would start as many for each thread as for one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
