"""Ranking metrics as sums over relevant documents, so that one rank that changes changes one summand.

Each metric of a query is ``sum over its relevant documents of weight * contribution(rank, order)``: ``rank`` counts all
documents from 1, ``order`` counts the relevant ones alone. Definitions follow trec_eval, as ir_measures has them:
Success@k (hit), R@k, P@k, RR@k (mrr), AP@k (map) and nDCG@k with linear gains.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["METRICS", "Metric", "parse_metric"]

# Nobody looks further down, and a cutoff is a width of tables.
_LARGEST_CUTOFF = 1_000_000

METRICS = ("hit", "recall", "precision", "mrr", "map", "ndcg")


@dataclass(frozen=True)
class Metric:
    """A ranking metric with its cutoff, such as nDCG@10.

    Attributes:
        name: One of ``METRICS``.
        k: How many ranks count.
    """

    name: str
    k: int

    def __str__(self) -> str:
        return f"{self.name}@{self.k}"

    def contribution(self, rank: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what relevant documents add at these ranks, before their weights.

        Args:
            rank: From 1, among all documents.
            order: From 1, among the relevant documents of the query.
        """
        inside = rank <= self.k
        match self.name:
            case "hit":
                return np.where(inside & (order == 1), 1.0, 0.0)
            case "mrr":
                return np.where(inside & (order == 1), 1.0 / rank, 0.0)
            case "map":
                return np.where(inside, order / rank, 0.0)
            case "ndcg":
                return np.where(inside, 1.0 / np.log2(rank + 1.0), 0.0)
            case _:
                return np.where(inside, 1.0, 0.0)

    def weights(self, gains: sparse.csr_array) -> NDArray[np.float64]:
        """Return the weight of each stored gain, in CSR order.

        nDCG: gain over the ideal DCG; recall and map: one over the number of relevant documents; precision: 1/k.
        """
        counts = np.diff(gains.indptr)
        match self.name:
            case "ndcg":
                return gains.data / np.repeat(self._ideal(gains), counts)
            case "recall" | "map":
                return 1.0 / np.repeat(counts, counts).astype(np.float64)
            case "precision":
                return np.full(gains.nnz, 1.0 / self.k)
            case _:
                return np.ones(gains.nnz)

    def _ideal(self, gains: sparse.csr_array) -> NDArray[np.float64]:
        """Return the best DCG@k each query can have."""
        query = np.repeat(np.arange(gains.shape[0]), np.diff(gains.indptr))
        best_first = np.lexsort((-gains.data, query))
        rank = np.arange(gains.nnz) - gains.indptr[query] + 1
        discounted = np.where(rank <= self.k, gains.data[best_first] / np.log2(rank + 1.0), 0.0)
        return np.bincount(query, weights=discounted, minlength=gains.shape[0]).astype(np.float64)


def parse_metric(name: str) -> Metric:
    """Read a metric's name, such as ``"ndcg@10"``.

    Raises:
        InputError: If the metric is unknown or its cutoff is none from 1 to 1,000,000.

    Example:
        >>> parse_metric("ndcg@10")
        Metric(name='ndcg', k=10)
    """
    match = re.fullmatch(r"([a-z]+)@([1-9][0-9]{0,6})", name) if isinstance(name, str) else None
    if match is None or match[1] not in METRICS or int(match[2]) > _LARGEST_CUTOFF:
        raise InputError(
            f"unknown metric {name!r:.80}; expected one of {', '.join(f'{metric}@k' for metric in METRICS)} "
            f"with a cutoff k from 1 to {_LARGEST_CUTOFF:,}, such as 'ndcg@10'"
        )
    return Metric(match[1], int(match[2]))
