"""Rank every document exactly and let ir_measures judge the ranking."""

from __future__ import annotations

import ir_measures
import numpy as np
import numpy.typing as npt
from _labelled import FloatArray, IntArray, Labels
from ir_measures import R, Success, nDCG

MEASURES = {"ndcg@10": nDCG @ 10, "ndcg@5": nDCG @ 5, "hit@1": Success @ 1, "recall@10": R @ 10}
DEPTH = 10


def top(scores: FloatArray, depth: int = DEPTH) -> IntArray:
    """The best documents of every query, best first; ties go to the earlier document."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :depth].astype(np.int64)


def judge(ranked: IntArray, labels: Labels) -> dict[str, npt.NDArray[np.float64]]:
    """Every measure of every query, (m,) each, in percent; a query counts even where nothing was found."""
    pointers, columns, values = labels.gains.indptr, labels.gains.indices, labels.gains.data
    qrels = {
        str(row): {str(columns[cell]): int(values[cell]) for cell in range(pointers[row], pointers[row + 1])}
        for row in range(len(labels))
    }
    run = {
        str(row): {str(document): float(len(best) - place) for place, document in enumerate(best)}
        for row, best in enumerate(ranked)
    }
    figures = {name: np.zeros(len(labels)) for name in MEASURES}
    names = {measure: name for name, measure in MEASURES.items()}
    for value in ir_measures.iter_calc(list(MEASURES.values()), qrels, run):
        figures[names[value.measure]][int(value.query_id)] = 100.0 * value.value
    return figures


def figures(documents: FloatArray, labels: Labels, query_map: FloatArray | None = None) -> dict[str, float]:
    """Mean of every measure, by inner product with ``documents``, in percent."""
    queries = labels.queries
    if query_map is not None:
        queries = queries + queries @ query_map
    return {name: float(values.mean()) for name, values in judge(top(queries @ documents.T), labels).items()}
