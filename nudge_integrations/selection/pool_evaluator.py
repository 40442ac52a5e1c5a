"""Query maps evaluated on pools: the metric of mapped queries along the strength of their shift.

A mapped query is ranked among the best documents of the query as it was, and the documents that are relevant to it.
That is exact where the pools are the whole corpus and off by up to .07 points of nDCG@10 elsewhere; what is chosen is
confirmed by another search of the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus.metrics import Metric
from nudge_integrations.corpus.threads import in_threads
from nudge_integrations.corpus.topk import row_blocks
from nudge_integrations.solver import Prepared
from nudge_integrations.solver.labels import values_of_pairs
from nudge_integrations.solver.path import Strength
from nudge_integrations.solver.rank_changes import RankChanges, changes_on, one_after_another
from nudge_integrations.solver.segments import ScorePaths, segment_of

__all__ = ["STRENGTH", "PoolEvaluator"]

STRENGTH = Strength()

# The strengths are searched piece by piece, as on a short one fewer documents can come within the cutoff: on every
# piece where queries have many relevant documents, else on several at once.
_EDGES = tuple(
    STRENGTH.parameter(strength)
    for strength in (0.0, 0.05, 0.1, 0.15, 0.2, 0.27, 0.35, 0.45, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5)
)
_MANY, _TOGETHER = 4, 4

# A score costs about so many times as much where documents are gathered for it as in a product with all of them.
_GATHERING = 100

# Documents that are gathered at a time: what they take stays in the processor's cache.
_GATHERED = 4096


@dataclass(frozen=True, eq=False)
class PoolEvaluator:
    """Some of the evaluation queries, with the documents of their pools.

    Attributes:
        rows: (p,) int64, which of the evaluation queries these are, ascending.
        metric: What is measured.
        paths: The documents of every pool, with the queries' scores of them as they are.
        documents: (k,) int64, the corpus rows of the documents in any pool, ascending.
        axes: (d, d) float32, the axes along which shifts come, one a column.
        table: (k, d) float32, the documents' unit vectors along these.
        place: (entries,) int64, which of them each document of the paths is.
    """

    rows: NDArray[np.int64]
    metric: Metric
    paths: ScorePaths
    documents: NDArray[np.int64]
    axes: torch.Tensor
    table: torch.Tensor
    place: NDArray[np.int64]

    @classmethod
    def of(cls, prepared: Prepared, rows: NDArray[np.int64], axes: torch.Tensor) -> PoolEvaluator:
        """Gather the pools of some evaluation queries, and the documents that are relevant to them, along some axes."""
        paths = _paths(prepared, rows)
        documents, place = np.unique(paths.row, return_inverse=True)
        taken = torch.from_numpy(prepared.corpus.take(documents)).to(prepared.labels.queries.device)
        table = torch.nn.functional.normalize(taken, dim=1) @ axes
        return cls(rows, prepared.options.measured, paths, documents, axes, table, place.astype(np.int64))

    def changes(self, shifts: torch.Tensor, end: float = STRENGTH.limit) -> RankChanges:
        """Return the exact metric of the queries along the strength of their shifts (p, d), up to a parameter."""
        paths = self._shifted(shifts)
        many = int(paths.relevant.sum()) > _MANY * len(self.rows)
        edges = [edge for edge in _EDGES[:: 1 if many else _TOGETHER] if edge < end]

        def changes_between(ends: tuple[float, float]) -> tuple[float, RankChanges]:
            segment = segment_of(STRENGTH, paths, self.metric.k, *ends)
            return ends[0], changes_on(STRENGTH, self.metric, segment, len(self.rows))

        return one_after_another(in_threads(changes_between, pairwise([*edges, end])))

    def best_static(
        self, places: NDArray[np.int64], queries: torch.Tensor, labelled: NDArray[np.int64], k: int, nowhere: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return scores and rows (p, k) of the best documents that nobody labelled for other vectors of some queries.

        Args:
            places: (p,) which of the queries, ascending.
            queries: (p, d) float32, their vectors.
            labelled: (u,) the labelled corpus rows, ascending.
            k: How many documents.
            nowhere: The row that stands for no document.
        """
        kept = np.isin(self.paths.query, places) & ~np.isin(self.paths.row, labelled)
        query, row, place = np.searchsorted(places, self.paths.query[kept]), self.paths.row[kept], self.place[kept]
        score = _scores(queries @ self.axes, self.table, query, place).double().cpu().numpy()
        order = np.lexsort((row, -score, query))
        query, row, score = query[order], row[order], score[order]
        rank = np.arange(len(query)) - np.searchsorted(query, query)
        best = rank < k
        found = np.full((len(places), k), -np.inf), np.full((len(places), k), nowhere, np.int64)
        found[0][query[best], rank[best]], found[1][query[best], rank[best]] = score[best], row[best]
        return found

    def _shifted(self, shifts: torch.Tensor) -> ScorePaths:
        paths = self.paths
        ends = _scores(shifts, self.table, paths.query, self.place).double().cpu().numpy()
        return replace(paths, coefficients=np.stack([paths.coefficients[0], ends]))


def _scores(
    vectors: torch.Tensor, table: torch.Tensor, query: NDArray[np.int64], place: NDArray[np.int64]
) -> torch.Tensor:
    """Return (entries,) the inner products of vectors (p, d) with documents of a table (k, d), one pair an entry."""
    of, at = (torch.from_numpy(index).to(vectors.device) for index in (query, place))
    if len(vectors) * len(table) <= _GATHERING * len(at):
        return (vectors @ table.T).ravel()[of * len(table) + at]
    scores = vectors.new_empty(len(at))
    for part in row_blocks(len(at), _GATHERED):
        scores[part] = torch.linalg.vecdot(table[at[part]], vectors[of[part]])
    return scores


def _paths(prepared: Prepared, rows: NDArray[np.int64]) -> ScorePaths:
    """Return the base scores of each query's pool and relevant documents; the ends are not known yet."""
    labels, evaluation, pools = prepared.labels, prepared.evaluation.take(rows), prepared.pools
    count = len(prepared.corpus)
    at = pools.at(prepared.evaluation_rows[rows])
    found, base = pools.rows[at], pools.scores[at]
    query = np.broadcast_to(np.arange(len(found))[:, None], found.shape)
    inside = found < count
    relevant = evaluation.gains.tocoo()
    of, column = (axis.astype(np.int64) for axis in relevant.coords)
    weights = evaluation.weights(prepared.options.measured)
    keys = query[inside] * count + found[inside]
    wanted = of * count + labels.rows[column]
    missing = ~np.isin(wanted, keys)
    vectors = labels.documents[torch.from_numpy(column[missing]).to(labels.documents.device)]
    asked = evaluation.queries[torch.from_numpy(of[missing]).to(vectors.device)]
    scores = np.concatenate([base[inside], torch.linalg.vecdot(vectors, asked).cpu().numpy()]).astype(np.float64)
    every = np.concatenate([keys, wanted[missing]])
    order = np.lexsort((every % count, every // count))
    query, row, scores = every[order] // count, every[order] % count, scores[order]
    weight = values_of_pairs(evaluation.gains, weights, query, labels.columns_of(row))
    paths = ScorePaths(query, row, np.stack([scores, scores]), ~np.isnan(weight), np.nan_to_num(weight))
    return paths if evaluation.ignored is None else paths.take(~evaluation.ignores(paths.query, paths.row))
