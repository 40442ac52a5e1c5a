"""The exact metric of adapted queries against all documents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations.solver.arrays import Matrix
from nudge_integrations.solver.metrics import Metric
from nudge_integrations.solver.topk import read_corpus

__all__ = ["Evaluator"]


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Evaluates adapted queries: a corpus, some of the labelled queries, and their relevant documents.

    Attributes:
        documents: (n, d), any float type; read once for every call.
        gains: (m, n) gains of all labelled queries.
        rows: (e,) int64, which of them are evaluation queries.
        metric: The ranking metric.
        block_bytes: Bound on the temporary memory.
    """

    documents: Matrix
    gains: sparse.csr_array
    rows: NDArray[np.int64]
    metric: Metric
    block_bytes: int

    def of(self, queries: torch.Tensor) -> NDArray[np.float64]:
        """Return (e,) float64, the metric of the evaluation rows of queries (m, d) float32; ties: earlier row."""
        evaluated = queries[torch.from_numpy(self.rows).to(queries.device)]
        nothing = np.zeros(0, np.int64)
        results = read_corpus(self.documents, nothing, nothing, evaluated, self.metric.k, block_bytes=self.block_bytes)
        return self.of_results(results.rows.cpu().numpy())

    def of_results(self, results: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (e,) float64, the metric of rankings (e, k) of corpus rows; n where there is no document."""
        gains = self.gains[self.rows]
        weights = sparse.csr_array((self.metric.weights(gains), gains.indices, gains.indptr), shape=gains.shape)
        relevant = self._at(gains, results) > 0.0
        rank = np.broadcast_to(np.arange(1, results.shape[1] + 1), results.shape)
        contribution = self.metric.contribution(rank, np.cumsum(relevant, axis=1))
        value: NDArray[np.float64] = (self._at(weights, results) * contribution).sum(axis=1)
        return value

    @staticmethod
    def _at(matrix: sparse.csr_array, results: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (e, k) the entries of a matrix (e, n) in columns ``results``; 0 beyond its last column."""
        inside = results < matrix.shape[1]
        query = np.repeat(np.arange(len(results)), results.shape[1])
        picked = sparse.csr_matrix(matrix)[query, np.where(inside, results, 0).ravel()]
        return np.where(inside, np.asarray(picked, dtype=np.float64).reshape(results.shape), 0.0)
