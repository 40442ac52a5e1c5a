"""Batches in which no document is a negative of a query that it is relevant to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from nudge_integrations.finetune.pairs import Texts, TrainingPair

__all__ = ["ConflictFreeBatches"]

# How many rows are looked at for each place in a batch; where labels overlap much, looking at all would take minutes.
LOOKS = 64


class ConflictFreeBatches:
    """Row numbers of training pairs, batch by batch: shuffled each epoch, the same for a seed and an epoch.

    In a batch every document is a negative of all queries but its own. So that this is never wrong, a batch holds no
    query text and no document text twice, and no document, positive or hard negative, that answers another of its
    queries, even if that answer is not what the other query came with.

    Every epoch has the same number of batches, the first epoch's. Where labels overlap so much that another epoch's
    shuffle needs more, the smallest of that epoch wait for another shuffle.

    Args:
        pairs: What is trained on.
        texts: Which texts answer which.
        size: Pairs in a full batch.
        seed: Another seed, another order.
    """

    def __init__(self, pairs: Sequence[TrainingPair], texts: Texts, size: int, seed: int) -> None:
        self.batch_size = size
        self.drop_last = False
        self._seed = seed
        self._epoch = 0
        self._queries = [texts.queries[pair.query] for pair in pairs]
        self._documents = [{texts.corpus[i] for i in (pair.document, *pair.negatives)} for pair in pairs]
        self._positives = [texts.positives(pair.query) for pair in pairs]
        self._count = len(self._batches(0))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._batches(self._epoch)
        while len(batches) < self._count:
            largest = max(batches, key=len)
            half = len(largest) // 2
            batches.append(largest[half:])
            del largest[half:]
        yield from batches[: self._count]

    def set_epoch(self, epoch: int) -> None:
        """Choose the shuffle of this epoch."""
        self._epoch = epoch

    def _batches(self, epoch: int) -> list[list[int]]:
        """Fill batch after batch with the next rows, in the order of the shuffle, that fit."""
        shuffled = np.random.default_rng([self._seed, epoch]).permutation(len(self._queries))
        waiting = deque(shuffled.tolist())
        batches = []
        while waiting:
            batches.append(self._next_batch(waiting))
        return batches

    def _next_batch(self, waiting: deque[int]) -> list[int]:
        """Take the rows of one batch out; those that do not fit go to the end."""
        batch: list[int] = []
        queries: set[str] = set()
        documents: set[str] = set()
        positives: set[str] = set()
        for _ in range(min(len(waiting), LOOKS * self.batch_size)):
            row = waiting.popleft()
            mine = self._documents[row]
            if (
                self._queries[row] in queries
                or not mine.isdisjoint(documents)
                or not mine.isdisjoint(positives)
                or not self._positives[row].isdisjoint(documents)
            ):
                waiting.append(row)
                continue
            batch.append(row)
            queries.add(self._queries[row])
            documents |= mine
            positives |= self._positives[row]
            if len(batch) == self.batch_size:
                break
        return batch
