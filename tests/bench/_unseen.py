"""Queries for documents that nobody labelled: 30 % of the labelled documents lose their labels."""

from __future__ import annotations

from typing import Any

import _labelled as labelled
import numpy as np
import numpy.typing as npt
from _labelled import Collection, Labels
from _ranking import figures
from _tables import markdown, note

from nudge_integrations.hybrid import solve_hybrid
from nudge_integrations.solver import solve

NAMES = ("squad2", "stackfaq", "scifact", "sealtools")
SHARE = 0.3
GAIN = ": leave-one-out gain"
METHODS = ("nudge-n", "auto")
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "unseen_weight=.5": {"unseen_weight": 0.5},
    "shift": {"shift": True},
}


def stripped_documents(labels: Labels, seed: int) -> npt.NDArray[np.bool_]:
    """A seeded 30 % of the documents that have a label, as a mask over documents (n,)."""
    wanted = np.unique(labels.gains.indices)
    chosen = np.random.default_rng(seed).permutation(wanted)[: int(SHARE * len(wanted))]
    mask = np.zeros(labels.gains.shape[1], dtype=np.bool_)
    mask[chosen] = True
    return mask


def divide(labels: Labels, stripped: npt.NDArray[np.bool_]) -> tuple[Labels, Labels, Labels]:
    """Queries none of whose answers were stripped; those all of whose were; and what labels remain of any query."""
    lost = np.asarray((labels.gains @ stripped.astype(np.float64)) > 0)
    kept = np.asarray((labels.gains @ (~stripped).astype(np.float64)) > 0)
    complete, wanted = labels.take(np.flatnonzero(~lost)), labels.take(np.flatnonzero(~kept))
    return complete, wanted, labelled.strip(labels, stripped)


def _once(collection: Collection, seed: int) -> dict[str, Any]:
    complete, wanted, remaining = divide(collection.labels, stripped_documents(collection.labels, seed))
    rows: dict[str, Any] = {"queries": len(wanted), "none": figures(collection.documents, wanted)["ndcg@10"]}
    fitted = [(method, method, complete) for method in METHODS] + [("auto", "auto on labels in part", remaining)]
    for method, title, known in fitted:
        for name, options in OPTIONS.items():
            solution = solve(
                collection.documents, known.queries, known.gains, method=method, metric="ndcg@10", seed=seed, **options
            )
            served = solution.apply(collection.documents)
            rows[f"{title}, {name}"] = figures(served, wanted, solution.query_map)["ndcg@10"]
            rows[f"{title}, {name}{GAIN}"] = 100 * (solution.score - solution.baseline)
    for name, weight in (("default", 0.0), ("unseen_weight=.5", 0.5)):
        problem = (collection.documents, complete.queries, complete.gains)
        solution = solve_hybrid(*problem, metric="ndcg@10", seed=seed, unseen_weight=weight)
        served = solution.apply(collection.documents)
        rows[f"auto with query maps, {name}"] = figures(served, wanted, solution.query_map)["ndcg@10"]
        rows[f"auto with query maps, {name}{GAIN}"] = 100 * (solution.score - solution.baseline)
    return rows


def measure(name: str, seeds: list[int]) -> dict[str, Any]:
    """Every method and option on one collection: mean over seeds, and the values."""
    collection = labelled.read(name)
    runs = []
    for seed in seeds:
        runs.append(_once(collection, seed))
        note(f"{name} seed {seed}: unseen documents, {runs[-1]['queries']} queries")
    return {
        row: {"mean": float(np.mean(values)), "spread": float(np.std(values)), "values": values}
        for row in runs[0]
        for values in [[run[row] for run in runs]]
    }


def table(result: dict[str, Any]) -> str:
    """Rows none, then method and option; one column a collection; the leave-one-out gain in brackets."""
    names = [row for row in next(iter(result.values())) if not row.endswith(GAIN) and row != "queries"]
    rows = [["queries", *(f"{found['queries']['mean']:.0f}" for found in result.values())]]
    for name in names:
        cells = []
        for found in result.values():
            cell = f"{found[name]['mean']:.1f}"
            cells.append(cell if name == "none" else f"{cell} ({found[name + GAIN]['mean']:+.1f})")
        rows.append([name, *cells])
    return markdown(["row (leave-one-out gain)", *result], rows)
