"""One search of the corpus: the best documents that nobody labelled, and pools to evaluate query maps on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus.corpus import Corpus

__all__ = ["Pools", "best_unlabelled", "searched", "searched_without"]

# How many documents of a query are looked at so that enough of them are unlabelled.
_DEEPEST = 1000

Static = tuple[NDArray[np.float64], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Pools:
    """The best documents of labelled queries.

    Attributes:
        queries: (t,) int64, rows of the labels, ascending.
        scores: (t, K) float32, best first; -inf where the corpus has fewer documents.
        rows: (t, K) int64, the corpus rows of these scores; n where there is no document.
        whole: Whether every pool is the whole corpus.
    """

    queries: NDArray[np.int64]
    scores: NDArray[np.float32]
    rows: NDArray[np.int64]
    whole: bool

    def at(self, queries: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of some of the queries, given as rows of the labels."""
        return np.searchsorted(self.queries, queries)

    def with_documents(
        self, at: NDArray[np.int64], scores: NDArray[np.float32], rows: NDArray[np.int64], nowhere: int
    ) -> Pools:
        """Return pools with more documents (e, k) for the queries at some places; none is there twice."""
        more_scores = np.full((len(self.queries), rows.shape[1]), -np.inf, np.float32)
        more_rows = np.full(more_scores.shape, nowhere, np.int64)
        known = (self.rows[at][:, :, None] == rows[:, None, :]).any(axis=1) | (rows == nowhere)
        more_scores[at], more_rows[at] = np.where(known, -np.inf, scores), np.where(known, nowhere, rows)
        return replace(self, scores=np.hstack([self.scores, more_scores]), rows=np.hstack([self.rows, more_rows]))


def searched(
    corpus: Corpus,
    evaluated: torch.Tensor,
    own: NDArray[np.int64] | None,
    labelled: torch.Tensor,
    of_labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    k: int,
    pool: int,
    ignored: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> tuple[Static, Pools, bool]:
    """Search once for the queries that evaluate and those that need a pool.

    Args:
        corpus: The documents.
        evaluated: (e, d) float32, the queries that evaluate.
        own: (e,) their rows in the labels, None where they are others.
        labelled: (m, d) float32, the labelled queries.
        of_labels: Rows of these that need a pool, ascending.
        rows: (u,) the labelled documents, ascending.
        k: How many documents that nobody labelled each evaluated query needs.
        pool: K.
        ignored: (e,) and (m,) the corpus row that each evaluated and each labelled query never finds, -1 for none.

    Returns:
        Scores and rows (e, k) of the best documents that nobody labelled, the pools, and whether search was exact.
    """
    pool = _depth(corpus, rows, k, pool)
    others = of_labels if own is None else np.setdiff1d(of_labels, own)
    asked = torch.cat([evaluated, labelled[torch.from_numpy(others).to(labelled.device)]]).cpu().numpy()
    never = None if ignored is None else np.concatenate([ignored[0], ignored[1][others]])
    scores, best, exact = searched_without(corpus, asked, pool, never)
    count = len(evaluated)
    first = None if never is None else never[:count]
    static = _static(corpus, asked[:count], (scores[:count], best[:count]), rows, k, first)
    of = others if own is None else np.concatenate([own, others])
    start = count if own is None else 0
    order = np.argsort(of, kind="stable")
    pools = Pools(of[order], scores[start:][order], best[start:][order], pool >= len(corpus))
    return static, pools, exact


def searched_without(
    corpus: Corpus, queries: NDArray[np.float32], k: int, ignored: NDArray[np.int64] | None
) -> tuple[NDArray[np.float32], NDArray[np.int64], bool]:
    """Return scores and rows (m, k) of the best documents, and whether that is exact.

    Args:
        corpus: The documents.
        queries: (m, d) unit queries.
        k: How many.
        ignored: (m,) the row that each query never finds, -1 for none; None where none has one.
    """
    if ignored is None:
        found = corpus.search(queries, k)
        return found.scores, found.rows, found.exact
    found = corpus.search(queries, min(k + 1, len(corpus)))
    hidden = found.rows == ignored[:, None]
    order = np.argsort(hidden, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(np.where(hidden, np.float32(-np.inf), found.scores), order, axis=1)
    return scores, np.take_along_axis(np.where(hidden, len(corpus), found.rows), order, axis=1), found.exact


def best_unlabelled(
    corpus: Corpus,
    queries: NDArray[np.float32],
    labelled: NDArray[np.int64],
    k: int,
    depth: int = 0,
    ignored: NDArray[np.int64] | None = None,
) -> Static:
    """Return scores and rows (e, k) of the best documents that are not among the labelled rows, nor ignored (e,).

    Where most near documents are labelled, looking ``depth`` deep at once saves another search.
    """
    found = corpus.search(queries, _depth(corpus, labelled, k, max(4 * k, depth)))
    return _static(corpus, queries, (found.scores, found.rows), labelled, k, ignored)


def _depth(corpus: Corpus, labelled: NDArray[np.int64], k: int, least: int) -> int:
    """Return how deep to search so that twice k documents that nobody labelled are among the best, on average.

    Where next to all documents are labelled that would be the whole corpus: then the few queries that need it search
    again.
    """
    count = max(1, len(corpus))
    unlabelled = len(corpus) - len(labelled)
    deep = math.ceil(2 * min(k, unlabelled) * count / max(1, unlabelled))
    return min(count, max(least, k, min(deep, _DEEPEST)))


def _static(
    corpus: Corpus,
    queries: NDArray[np.float32],
    found: tuple[NDArray[np.float32], NDArray[np.int64]],
    labelled: NDArray[np.int64],
    k: int,
    ignored: NDArray[np.int64] | None,
) -> Static:
    """Return the best k documents that nobody labelled; searches deeper for queries whose pools hold too few."""
    ignored = np.full(len(queries), -1) if ignored is None else ignored
    most = len(corpus) - len(labelled) - ((ignored >= 0) & ~np.isin(ignored, labelled))
    depth = found[0].shape[1]
    scores = np.full((len(queries), k), -np.inf)
    rows = np.full((len(queries), k), len(corpus), dtype=np.int64)
    missing = np.arange(len(queries))
    while True:
        free = ~np.isin(found[1], labelled) & (found[1] < len(corpus)) & (found[1] != ignored[missing][:, None])
        first = np.argsort(~free, axis=1, kind="stable")[:, :k]
        taken = np.take_along_axis(free, first, axis=1)
        width = first.shape[1]
        scores[missing, :width] = np.where(taken, np.take_along_axis(found[0], first, axis=1), -np.inf)
        rows[missing, :width] = np.where(taken, np.take_along_axis(found[1], first, axis=1), len(corpus))
        missing = missing[taken.sum(axis=1) < np.minimum(k, most[missing])]
        if not len(missing) or depth >= len(corpus):
            return scores, rows
        depth = min(len(corpus), 16 * depth)
        deeper = corpus.search(queries[missing], depth)
        found = deeper.scores, deeper.rows
