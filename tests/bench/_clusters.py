"""Queries of another topic: two k-means clusters of queries, one to learn from and the other to be judged by."""

from __future__ import annotations

from typing import Any

import _labelled as labelled
import numpy as np
from _ranking import figures
from _tables import markdown, note
from scipy.cluster.vq import kmeans2

from nudge_integrations.hybrid import solve_hybrid
from nudge_integrations.solver import solve

ROWS: dict[str, Any] = {
    "nudge-n": lambda *problem: solve(*problem, method="nudge-n"),
    "auto, nudges alone": solve,
    "auto": solve_hybrid,
}


def measure(name: str, seeds: list[int]) -> dict[str, Any]:
    """Every row with either cluster left out: mean over seeds and clusters, and the values."""
    collection = labelled.read(name)
    values: dict[str, list[float]] = {"none": [], **{row: [] for row in ROWS}}
    for seed in seeds:
        cluster = kmeans2(collection.labels.queries.astype(np.float64), 2, seed=seed, minit="++")[1]
        for left_out in (0, 1):
            known, judged = (
                collection.labels.take(np.flatnonzero((cluster == left_out) == out)) for out in (False, True)
            )
            values["none"].append(figures(collection.documents, judged)["ndcg@10"])
            for row, method in ROWS.items():
                solution = method(collection.documents, known.queries, known.gains)
                served = solution.apply(collection.documents)
                values[row].append(figures(served, judged, solution.query_map)["ndcg@10"])
            note(
                f"{name} seed {seed} cluster {left_out} left out: {values['none'][-1]:.1f} -> {values['auto'][-1]:.1f}"
            )
    return {
        row: {"mean": float(np.mean(found)), "spread": float(np.std(found)), "values": found}
        for row, found in values.items()
    }


def table(result: dict[str, Any]) -> str:
    """Rows none and methods, one column a collection."""
    rows = [[row, *(f"{found[row]['mean']:.1f}" for found in result.values())] for row in ("none", *ROWS)]
    return markdown(["row", *result], rows)
