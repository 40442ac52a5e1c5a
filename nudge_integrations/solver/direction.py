r"""Where a labelled document should go: a weighted sum of the queries, G = W^T Q.

==================  =====================================================================================
direction           W
==================  =====================================================================================
``Answered``        [Y > 0] (NUDGE), or Y itself where ``graded``
``Contrastive``     Y with rows of sum one, minus softmax(Q D^T / tau): minus the gradient of the softmax
                    cross-entropy at the base vectors, one closed-form step; NUDGE's is its limit
                    without the negatives
==================  =====================================================================================

Labels may weigh more or less than one: they multiply [Y > 0], and the row of a query in Ybar - P by their mean. A no,
"this does not answer it", is a label too: it enters W with minus its weight, in either direction, so that the document
turns away from that query.

Both answer the same questions, so a new direction is a class of a few lines: the weights of labelled pairs
(``weights``), the weights of the negatives, which are all other pairs (``negatives``), and a temperature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations.corpus.threads import share_of
from nudge_integrations.corpus.topk import row_blocks
from nudge_integrations.solver.labels import Labels
from nudge_integrations.solver.ragged import ragged

__all__ = ["NEVER", "Answered", "Contrastive", "Direction", "log_normalisers", "sums"]

# The score of a document that a softmax leaves out: no share of it, and finite where there is no other.
NEVER = -1e4

# Queries summed at a time in float32; sums of these are summed in float64, so that many labels lose no digits.
_SUMMED = 256


class Direction(Protocol):
    """Where labels say that documents should go."""

    @property
    def temperature(self) -> float | None:
        """The softmax temperature, None where there is none: only a softmax has negatives."""

    def weights(self, labels: Labels) -> sparse.csr_array:
        """Return the label part of W: (m, u), nonzero where a query has a gain, or says no."""

    def negatives(
        self, scores: torch.Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64] | None = None
    ) -> torch.Tensor:
        """Return the rest of W for queries ``rows``; not asked without a temperature.

        Args:
            scores: (c, p) their base scores with labelled documents.
            rows: (c,) the queries.
            columns: (p,) which documents, or (c, 1); None for all of them, in order.
        """


@dataclass(frozen=True)
class Answered:
    """NUDGE's direction: the sum of the queries that a document answers.

    Attributes:
        graded: Weigh each query by its gain instead of 1.
    """

    graded: bool = False

    @property
    def temperature(self) -> float | None:
        """None: no softmax is taken."""
        return None

    def weights(self, labels: Labels) -> sparse.csr_array:
        """Return [Y > 0] times the weights of labels, or Y where graded; minus the noes."""
        if self.graded:
            return _minus_noes(labels.gains.data, labels)
        return _minus_noes(np.ones(labels.gains.nnz) if labels.shares is None else labels.shares.data, labels)

    def negatives(
        self, scores: torch.Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64] | None = None
    ) -> torch.Tensor:
        """Return zeros: documents that are not relevant to a query get nothing from it."""
        return torch.zeros_like(scores)


@dataclass(frozen=True, eq=False)
class Contrastive:
    """Minus the gradient of the softmax cross-entropy at the base vectors (ours).

    Attributes:
        temperature: tau, > 0.
        log_normaliser: (m,) float32, log sum_j exp(q . D_j / tau) over the whole corpus, less the logarithms of how
            many queries each one stands for and of its importance; infinite for queries that are no negatives.
        hidden: (m,) int64, the column of the document that each query never finds and so does not push away; other
            numbers for none. None where none has one.
    """

    temperature: float
    log_normaliser: torch.Tensor
    hidden: NDArray[np.int64] | None = None

    def weights(self, labels: Labels) -> sparse.csr_array:
        """Return Y with rows of sum one, times the importance of queries; minus the noes."""
        gains = labels.gains
        totals = np.repeat(gains.sum(axis=1) / labels.importance(), np.diff(gains.indptr))
        return _minus_noes(gains.data / totals, labels)

    def negatives(
        self, scores: torch.Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64] | None = None
    ) -> torch.Tensor:
        """Return minus the softmax probabilities, times importance and how many queries each one stands for."""
        normaliser = self.log_normaliser[torch.from_numpy(rows).to(scores.device)]
        weights = (scores / self.temperature).sub_(normaliser[:, None])
        if self.hidden is not None:
            those = np.arange(scores.shape[1]) if columns is None else columns
            weights[torch.from_numpy(self.hidden[rows][:, None] == those).to(scores.device)] = -torch.inf
        return weights.exp_().neg_()


def _minus_noes(data: NDArray[np.float64], labels: Labels) -> sparse.csr_array:
    """Return (m, u) weights of the labels with a gain, minus those of the noes; no pair is both."""
    gains, pushes = labels.gains, labels.pushes()
    weights = sparse.csr_array((data, gains.indices, gains.indptr), shape=gains.shape)
    return weights if pushes is None else (weights - pushes).tocsr()


def sums(direction: Direction, labels: Labels, block_bytes: int) -> torch.Tensor:
    """Return G = W^T Q for the labelled documents, (u, d) float32 on the device of the queries."""
    total = _weighted_sums(direction.weights(labels).T.tocsr(), labels.queries).to(labels.documents.dtype)
    if direction.temperature is not None:
        at_once = max(1, share_of(block_bytes) // (12 * max(1, len(labels.documents))))
        for block in row_blocks(len(labels.negatives), at_once):
            rows = labels.negatives[block]
            queries = labels.queries[torch.from_numpy(rows).to(labels.queries.device)]
            total.addmm_(direction.negatives(queries @ labels.documents.T, rows).T, queries)
    return total


def _weighted_sums(weights: sparse.csr_array, queries: torch.Tensor) -> torch.Tensor:
    """Return weights (u, m) @ queries (m, d) as float64."""
    counts = -(-np.diff(weights.indptr) // _SUMMED)
    document, part = ragged(counts)
    begins = torch.from_numpy((weights.indptr[document] + part * _SUMMED).astype(np.int64)).to(queries.device)
    sums = torch.nn.functional.embedding_bag(
        torch.from_numpy(weights.indices.astype(np.int64)).to(queries.device),
        queries,
        begins,
        mode="sum",
        per_sample_weights=torch.from_numpy(weights.data).to(queries),
    )
    total = torch.zeros(weights.shape[0], queries.shape[1], dtype=torch.float64, device=queries.device)
    return total.index_add_(0, torch.from_numpy(document).to(queries.device), sums.double())


def log_normalisers(
    queries: torch.Tensor,
    documents: torch.Tensor,
    sample: torch.Tensor,
    others: int,
    temperatures: tuple[float, ...],
    block_bytes: int,
    hidden: NDArray[np.int64] | None = None,
) -> dict[float, torch.Tensor]:
    r"""Return log sum_j exp(q . D_j / tau) over the whole corpus for each temperature.

    Exact over ``documents``; the ``others`` enter through a uniform sample of them, each for others / len(sample). The
    tail counts: thousands of documents at a similarity of .1 outweigh twenty at .5. Exact where all are sampled.

    Args:
        queries: (m, d) float32.
        documents: (u, d) float32 unit vectors, summed exactly.
        sample: (s, d) float32 unit vectors, drawn uniformly from the others.
        others: How many other documents there are.
        temperatures: tau, > 0.
        block_bytes: Bound on the temporary memory.
        hidden: (m,) int64, the place among ``documents`` and then ``sample`` of one that each query leaves out of its
            sum; -1 for none. None where none does.

    Returns:
        For each temperature (m,) float32.
    """
    normaliser = {temperature: torch.empty(len(queries), device=queries.device) for temperature in temperatures}
    candidates = torch.cat([documents, sample])
    offset = torch.zeros(len(candidates), device=queries.device)
    if len(sample):
        offset[len(documents) :] = math.log(others / len(sample))
    for block in row_blocks(len(queries), max(1, share_of(block_bytes) // (24 * max(1, len(candidates))))):
        scores = queries[block] @ candidates.T
        if hidden is not None:
            left_out = np.flatnonzero(hidden[block] >= 0)
            scores[torch.from_numpy(left_out), torch.from_numpy(hidden[block][left_out])] = NEVER
        for temperature, values in normaliser.items():
            values[block] = torch.logsumexp(scores / temperature + offset, dim=1)
    return normaliser
