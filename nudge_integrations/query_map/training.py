r"""What a query map is fitted to: checked labels, and the results of one pass over the corpus.

The softmax over the corpus is taken over the documents that are kept: all labelled ones, and a uniform sample of the
others that stands for all of them with the weight others / sampled; exact where the sample is everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from nudge_integrations.errors import InputError
from nudge_integrations.query_map.arrays import Matrix, as_matrix, as_relevance, row_blocks, unit_block

__all__ = ["BLOCK_BYTES", "Normaliser", "TrainingSet", "fold_codes", "read_training", "residuals"]

BLOCK_BYTES = 256 << 20
Normaliser = Literal["exact", "sampled"]

# Rows multiplied at a time: more make the products no faster.
_ROWS = 16_384


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Labels, and what they need of the corpus.

    Attributes:
        queries: (m, d) float32 unit vectors, on the device to work on.
        rows: (l,) int64, the queries that have a relevant document, ascending; only these are used.
        groups: (l,) int64, those of one group are held out together.
        positives: (l, d) float32, the mean of each one's relevant documents, weighed by gain: Ybar D.
        documents: (k, d) float32 unit vectors, the documents kept.
        log_weight: (k,) float32, the logarithm of how many documents each of them stands for.
        covariance: (d, d) float64 on the processor, of all documents, about their mean.
        normaliser: Whether the documents kept are all there are.
    """

    queries: torch.Tensor
    rows: torch.Tensor
    groups: NDArray[np.int64]
    positives: torch.Tensor
    documents: torch.Tensor
    log_weight: torch.Tensor
    covariance: torch.Tensor
    normaliser: Normaliser

    @property
    def labelled_queries(self) -> torch.Tensor:
        """The queries that have a relevant document, (l, d)."""
        return self.queries[self.rows]

    def every(self, adapted: torch.Tensor) -> torch.Tensor:
        """Return all queries (m, d): those that have a relevant document as given, (l, d), the others as they are."""
        return self.queries.index_copy(0, self.rows, adapted)


def read_training(
    documents: object,
    queries: object,
    relevance: object,
    *,
    groups: ArrayLike | Sequence[object] | None = None,
    sample: int = _ROWS,
    seed: int = 0,
    device: str | torch.device | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> TrainingSet:
    """Check the inputs and read every document once, in blocks.

    Args:
        documents: (n, d) numpy array, torch tensor or memory map of any float type; made unit length on reading.
        queries: (m, d), the labelled queries; made unit length.
        relevance: (m, n) scipy sparse gains, > 0 where a document is relevant to a query.
        groups: (m,) names; queries of one group are held out together. None where every query is its own.
        sample: How many of the documents without a label a softmax takes; all of them where there are fewer.
        seed: For that sample.
        device: Where to compute; None for where ``documents`` are.
        block_bytes: Bound on the temporary memory, beside the documents kept and the queries.

    Raises:
        InputError: If shapes do not fit, a vector is zero, NaN or infinite, or a gain is negative or not finite.
    """
    corpus, given = as_matrix(documents, "documents"), as_matrix(queries, "queries")
    if corpus.shape[1] != given.shape[1]:
        raise InputError(
            f"queries have {given.shape[1]} dimensions and documents {corpus.shape[1]}; "
            "embed both with the same encoder"
        )
    gains = as_relevance(relevance, len(given), len(corpus))
    home = corpus.device if isinstance(corpus, torch.Tensor) else torch.device("cpu")
    on = home if device is None else torch.device(device)
    rows = np.flatnonzero(np.diff(gains.indptr)).astype(np.int64)
    labelled = np.unique(gains.indices)
    drawn = _draw(len(corpus), labelled, sample, seed)
    kept = np.union1d(labelled, drawn)
    vectors, covariance = _read(corpus, kept, on, block_bytes)
    others = len(corpus) - len(labelled)
    weight = np.ones(len(kept), np.float32)
    weight[np.searchsorted(kept, drawn)] = others / max(1, len(drawn))
    return TrainingSet(
        queries=unit_block(given, slice(0, len(given)), on, "queries"),
        rows=torch.from_numpy(rows).to(on),
        groups=_group_codes(groups, len(given))[rows],
        positives=_positives(gains[rows], kept, vectors),
        documents=vectors,
        log_weight=torch.from_numpy(np.log(weight)).to(on),
        covariance=covariance,
        normaliser="exact" if len(drawn) == others else "sampled",
    )


def _draw(count: int, labelled: NDArray[np.int32], size: int, seed: int) -> NDArray[np.int64]:
    """Return a uniform sample of the rows without a label."""
    free = np.ones(count, dtype=bool)
    free[labelled] = False
    others = np.flatnonzero(free)
    return np.random.default_rng(seed).choice(others, size, replace=False) if size < len(others) else others


def _read(
    documents: Matrix, kept: NDArray[np.int64], device: torch.device, block_bytes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows to keep and the covariance of all rows."""
    count, width = documents.shape
    rows = torch.empty(len(kept), width, device=device)
    total = torch.zeros(width, dtype=torch.float64)
    products = torch.zeros(width, width, dtype=torch.float64)
    for part in row_blocks(count, min(_ROWS, block_bytes // (16 * max(1, width)))):
        block = unit_block(documents, part, device, "documents")
        first, last = np.searchsorted(kept, [part.start, part.stop])
        rows[first:last] = block[torch.from_numpy(kept[first:last] - part.start).to(device)]
        total += block.sum(dim=0).double().cpu()
        products += (block.T @ block).double().cpu()
    mean = total / max(1, count)
    return rows, products / max(1, count) - torch.outer(mean, mean)


def _positives(gains: sparse.csr_array, kept: NDArray[np.int64], documents: torch.Tensor) -> torch.Tensor:
    """Return (l, d) the mean of each query's relevant documents, weighed by gain."""
    counts = np.diff(gains.indptr)
    share = gains.data / np.repeat(gains.sum(axis=1), counts)
    return torch.nn.functional.embedding_bag(
        torch.from_numpy(np.searchsorted(kept, gains.indices)).to(documents.device),
        documents,
        torch.from_numpy(gains.indptr[:-1].astype(np.int64)).to(documents.device),
        mode="sum",
        per_sample_weights=torch.from_numpy(share).to(documents),
    )


def _group_codes(groups: ArrayLike | Sequence[object] | None, queries: int) -> NDArray[np.int64]:
    if groups is None:
        return np.arange(queries)
    names = np.asarray(groups)
    if names.shape != (queries,):
        raise InputError(f"groups must name one group for each of the {queries} queries; got shape {names.shape}")
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def fold_codes(groups: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return a fold for each query: whole groups, dealt out at random, as many to each fold as to any other."""
    names, member = np.unique(groups, return_inverse=True)
    return np.random.default_rng(seed).permutation(len(names))[member] % folds


def residuals(
    training: TrainingSet,
    queries: torch.Tensor,
    positives: torch.Tensor,
    temperatures: Sequence[float],
    block_bytes: int = BLOCK_BYTES,
) -> dict[float, torch.Tensor]:
    r"""Return (Ybar - softmax(Q D^T / tau)) D for each temperature: minus tau times the cross-entropy's gradient by q.

    Args:
        training: The documents.
        queries: (l, d) float32, of any length.
        positives: (l, d) float32, Ybar D of these queries.
        temperatures: tau, > 0.
        block_bytes: Bound on the temporary memory.

    Returns:
        For each temperature (l, d) float32, on the device of the queries.
    """
    results = {temperature: positives.clone() for temperature in temperatures}
    documents = training.documents
    for block in row_blocks(len(queries), block_bytes // (12 * max(1, len(documents)))):
        scores = queries[block] @ documents.T
        for temperature, residual in results.items():
            weights = torch.softmax(scores / temperature + training.log_weight, dim=1)
            residual[block] -= weights @ documents
    return results
