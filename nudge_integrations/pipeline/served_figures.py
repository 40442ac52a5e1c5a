"""The metric of single queries as a nudge serves them, over all documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from nudge_integrations.artifact.matching import apply_documents
from nudge_integrations.corpus import Metric, unit_rows
from nudge_integrations.pipeline.nudged_index import NudgedIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.artifact import Nudge
    from nudge_integrations.dataset import RetrievalDataset

__all__ = ["served_figures"]

_SCORES_AT_ONCE = 1 << 24


def served_figures(
    nudge: Nudge | None,
    dataset: RetrievalDataset,
    documents: NDArray[np.float32],
    queries: NDArray[np.float32],
    metric: Metric,
    *,
    similarity: Literal["cosine", "dot"] = "cosine",
    ignore_identical_ids: bool = False,
) -> NDArray[np.float64]:
    """Return the metric of each query, in [0, 1].

    Args:
        nudge: What serves the documents; None for their base vectors.
        dataset: n documents, m queries and their labels.
        documents: (n, d) base vectors.
        queries: (m, d).
        metric: The metric.
        similarity: What base vectors are ranked by without a nudge.
        ignore_identical_ids: As in `fit`: no query finds the document that has its id.

    Returns:
        (m,) float64.
    """
    row_of = {document: row for row, document in enumerate(dataset.corpus)}
    own = [row_of.get(query) if ignore_identical_ids else None for query in dataset.queries]
    depth = metric.k + ignore_identical_ids
    if nudge is not None and nudge.fusion is not None:
        found = _with_words(nudge, dataset, documents, queries, depth)
    elif nudge is not None:
        served = apply_documents(nudge, dataset.document_ids, list(dataset.corpus.values()), documents)
        found = _by_vectors(served, nudge.transform_queries(queries), depth)
    else:
        found = _by_vectors(documents if similarity == "dot" else unit_rows(documents, "documents"), queries, depth)
    gains = dataset.relevance()
    every = metric.weights(gains)
    figures = np.zeros(len(queries))
    for query, (rows, hidden) in enumerate(zip(found, own, strict=True)):
        ranking = [row for row in rows if row != hidden][: metric.k]
        judged = slice(gains.indptr[query], gains.indptr[query + 1])
        weight_of = dict(zip(gains.indices[judged].tolist(), every[judged].tolist(), strict=True))
        weights = np.array([weight_of.get(row, 0.0) for row in ranking])
        rank, relevant = np.arange(1, len(ranking) + 1), np.array([row in weight_of for row in ranking], bool)
        figures[query] = (weights * metric.contribution(rank, np.cumsum(relevant)) * relevant).sum()
    return figures


def _by_vectors(served: NDArray[np.float32], queries: NDArray[np.float32], k: int) -> Iterator[Sequence[int]]:
    at_once = max(1, _SCORES_AT_ONCE // max(1, len(served)))
    for start in range(0, len(queries), at_once):
        scores = queries[start : start + at_once] @ served.T
        best = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
        order = np.lexsort((best, -np.take_along_axis(scores, best, axis=1)))
        yield from np.take_along_axis(best, order, axis=1).tolist()


def _with_words(
    nudge: Nudge, dataset: RetrievalDataset, documents: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> Iterator[Sequence[int]]:
    index, texts = NudgedIndex(), list(dataset.corpus.values())
    index.apply(nudge)  # before there are documents: all that it moves may be gone by now
    index.insert(dataset.document_ids, documents, texts, [{} for _ in texts])
    row_of = {document: row for row, document in enumerate(dataset.corpus)}
    for query, text in zip(queries, dataset.queries.values(), strict=True):
        yield [row_of[hit.id] for hit in index.search(query, k, text=text)]
