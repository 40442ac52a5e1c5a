r"""Queries that teach a query map: where each should go, and which of them are left out together.

A query should go towards the documents that are relevant to it and away from those that the softmax puts first:
R = (Ybar - softmax(Q D^T / tau)) D, minus tau times the gradient of the cross-entropy by q. The softmax takes the
labelled documents and a uniform sample of the others; exact where these are all there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster.vq import kmeans, vq

from nudge_integrations.corpus.threads import share_of
from nudge_integrations.corpus.topk import row_blocks
from nudge_integrations.solver import Prepared
from nudge_integrations.solver.direction import NEVER
from nudge_integrations.solver.labels import Labels, group_codes

__all__ = ["LabelledQueries", "Teaching", "fold_codes", "labelled_queries", "teaching_of"]

# Documents of either kind that a softmax takes at most.
_SUPPORT = 6144

# k-means restarts: with the best of several starts, what a map may do depends on the queries and hardly on the seed.
_STARTS = 10

# Where clusters share more of their queries' documents than this they stay as they are; six collections have 4 to 23 %
# or 73 to 75 %.
_SHARED = 0.5


@dataclass(frozen=True, eq=False)
class LabelledQueries:
    """Queries that have a relevant document.

    Attributes:
        rows: (t,) int64, which of the labelled queries these are, ascending.
        queries: (t, d) float32.
        positives: (t, d) float32, the mean of the documents that are relevant to each, weighed by gain: Ybar D.
        groups: (t,) int64, those of one group are left out together.
    """

    rows: NDArray[np.int64]
    queries: torch.Tensor
    positives: torch.Tensor
    groups: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Teaching(LabelledQueries):
    """Queries that teach a query map, and the documents that they are kept away from.

    Attributes:
        support: (k, d) float32 unit vectors, the documents of the softmax.
        log_weight: (k,) float32, the logarithm of how many documents each of them stands for.
        documents: (t,) int64, by the most relevant document: what is like one that nobody asked for.
        clusters: (t,) int64, two k-means clusters, which share no document unless they share most: another topic.
        cross_selection: (t,) bool, whole groups: each half is served by the setting that suits the other.
        hidden: (t,) int64, the place in ``support`` of the document that each query never finds, which its softmax
            leaves out; -1 for none. None where none has one.
    """

    support: torch.Tensor
    log_weight: torch.Tensor
    documents: NDArray[np.int64]
    clusters: NDArray[np.int64]
    cross_selection: NDArray[np.bool_]
    hidden: NDArray[np.int64] | None = None

    def turned(self, axes: torch.Tensor) -> Teaching:
        """Return the same with all vectors along other axes, the columns of (d, d); inner products stay."""
        return replace(self, queries=self.queries @ axes, positives=self.positives @ axes, support=self.support @ axes)

    def with_support(self, prepared: Prepared, most: int) -> Teaching:
        """Return the same with other documents in the softmax, of either kind at most so many."""
        support, log_weight, hidden = _support(prepared, most, self.rows)
        return replace(self, support=support, log_weight=log_weight, hidden=hidden)

    def residuals(
        self,
        queries: torch.Tensor,
        temperatures: Sequence[float],
        block_bytes: int,
        rows: NDArray[np.int64] | slice = slice(None),
    ) -> dict[float, torch.Tensor]:
        """Return R (r, d) float32 for each temperature, for the teaching queries ``rows``, moved to (r, d)."""
        positives = self.positives[torch.from_numpy(rows) if isinstance(rows, np.ndarray) else rows]
        hidden = None if self.hidden is None else self.hidden[rows]
        found = {temperature: positives.clone() for temperature in temperatures}
        for block in row_blocks(len(queries), max(1, share_of(block_bytes) // (24 * max(1, len(self.support))))):
            scores = queries[block] @ self.support.T
            if hidden is not None:
                left_out = np.flatnonzero(hidden[block] >= 0)
                scores[torch.from_numpy(left_out), torch.from_numpy(hidden[block][left_out])] = NEVER
            for temperature, residual in found.items():
                weights = torch.softmax((scores / temperature).add_(self.log_weight), dim=1)
                residual[block].addmm_(weights, self.support, alpha=-1.0)
        return found


def teaching_of(prepared: Prepared, support: int = _SUPPORT) -> Teaching:
    """Return the queries that have a pool and a relevant document, and what they learn from."""
    labels, seed = prepared.labels, prepared.options.seed
    able = np.diff(labels.gains.indptr)[prepared.pools.queries] > 0
    learner = _labelled(labels, prepared.pools.queries[able])
    documents = group_codes(np.asarray(labels.gains[learner.rows].argmax(axis=1)).ravel())
    vectors, log_weight, hidden = _support(prepared, support, learner.rows)
    return Teaching(
        learner.rows,
        learner.queries,
        learner.positives,
        learner.groups,
        vectors,
        log_weight,
        documents,
        _parted(_clusters(learner.queries.double().cpu().numpy(), seed), documents),
        fold_codes(learner.groups, 2, seed) == 0,
        hidden,
    )


def labelled_queries(prepared: Prepared) -> LabelledQueries:
    """Return all queries that have a relevant document."""
    return _labelled(prepared.labels, np.flatnonzero(np.diff(prepared.labels.gains.indptr)))


def _labelled(labels: Labels, rows: NDArray[np.int64]) -> LabelledQueries:
    queries = labels.queries[torch.from_numpy(rows).to(labels.queries.device)]
    return LabelledQueries(rows, queries, _positives(labels.gains[rows], labels), group_codes(labels.groups[rows]))


def fold_codes(groups: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return a fold for each query: whole groups, dealt out at random, as many to each fold as to any other."""
    names, member = np.unique(groups, return_inverse=True)
    return np.random.default_rng(seed).permutation(len(names))[member] % folds


def _support(
    prepared: Prepared, most: int, rows: NDArray[np.int64]
) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.int64] | None]:
    """Return labelled documents and a sample of the others, with the logarithm of how many each stands for.

    And for each of some queries the place among them of the document that it never finds, see `Teaching`.
    """
    random = np.random.default_rng(prepared.options.seed)
    parts, weights = [], []
    places: list[NDArray[np.int64]] = []
    unlabelled = len(prepared.corpus) - len(prepared.labels.rows)
    for vectors, count in ((prepared.labels.documents, len(prepared.labels.rows)), (prepared.sample, unlabelled)):
        drawn = len(vectors) if len(vectors) <= most else most
        kept = np.sort(random.choice(len(vectors), drawn, replace=False))
        places.append(len(prepared.labels.rows) * len(places) + kept)
        parts.append(vectors[torch.from_numpy(kept).to(vectors.device)])
        weights.append(np.full(drawn, math.log(count / drawn) if drawn else 0.0, np.float32))
    hidden = prepared.labels.hidden
    if hidden is not None:
        place_of = np.full(len(prepared.labels.rows) + len(prepared.sample) + 1, -1)  # the last one for -1
        place_of[np.concatenate(places)] = np.arange(sum(map(len, places)))
        hidden = place_of[hidden[rows]]
    return torch.cat(parts), torch.from_numpy(np.concatenate(weights)).to(parts[0].device), hidden


def _positives(gains: sparse.csr_array, labels: Labels) -> torch.Tensor:
    """Return (t, d) the mean of each query's relevant documents, weighed by gain."""
    share = gains.data / np.repeat(gains.sum(axis=1), np.diff(gains.indptr))
    device = labels.documents.device
    return torch.nn.functional.embedding_bag(
        torch.from_numpy(gains.indices.astype(np.int64)).to(device),
        labels.documents,
        torch.from_numpy(gains.indptr[:-1].astype(np.int64)).to(device),
        mode="sum",
        per_sample_weights=torch.from_numpy(share).to(labels.documents),
    )


def _parted(clusters: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return clusters 0 and 1 of queries (t,), those for one document where most of them are.

    Else a map that has memorised a document passes for one that holds for another topic. Where topics share most of
    their documents, clusters stay as they are: a new topic will ask for known documents too.
    """
    share = (np.bincount(documents, weights=clusters) / np.bincount(documents))[documents]
    shared = (share > 0.0) & (share < 1.0)
    return clusters if len(shared) and shared.mean() > _SHARED else (share >= 0.5).astype(np.int64)


def _clusters(queries: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Return the k-means cluster of each query, of two; of one where they are all the same."""
    if len(np.unique(queries, axis=0)) < 2:
        return np.zeros(len(queries), np.int64)
    centres = kmeans(queries, 2, iter=_STARTS, seed=np.random.default_rng(seed))[0]
    return vq(queries, centres)[0].astype(np.int64)
