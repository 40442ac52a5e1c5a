"""A corpus is whatever answers three questions: the best of these queries, the vectors of these rows, a sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Corpus", "CorpusVectors", "IdentifiedCorpus", "Neighbours"]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The best documents of some queries, best first.

    Attributes:
        scores: (m, k) float32, inner products of unit vectors; -inf where the corpus has fewer than k documents.
        rows: (m, k) int64, whose scores these are; ``len(corpus)`` where there is no document.
        exact: False where an approximate index may have missed some.
    """

    scores: NDArray[np.float32]
    rows: NDArray[np.int64]
    exact: bool = True


@runtime_checkable
class Corpus(Protocol):
    """Documents that can be searched: an array, a memory map, files, a cluster or a vector store.

    Rows are numbered from 0 in an order that does not change. `ArrayCorpus` is the one for arrays.
    """

    @property
    def dimension(self) -> int:
        """d, how many numbers a vector has."""

    def __len__(self) -> int:
        """Return n, the number of documents."""

    def search(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """Return the best k documents, at unit length, of (m, d) unit queries; ties go to the lower row."""

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the base vectors (r, d) of some rows, of any length."""

    def sample(self, count: int, seed: int) -> NDArray[np.float32]:
        """Return the base vectors (s, d) of a uniform sample without replacement; all n where there are fewer."""


@runtime_checkable
class IdentifiedCorpus(Corpus, Protocol):
    """A corpus that knows the ids of its documents, as files do."""

    def rows_of(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the rows of some ids; those that are not there are left out."""


class CorpusVectors:
    """The (n, d) vectors of a corpus, indexed by rows as an array is; only the rows that are asked for are read.

    Args:
        corpus: Whose vectors they are.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.shape = len(corpus), corpus.dimension

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._corpus.take(rows)
