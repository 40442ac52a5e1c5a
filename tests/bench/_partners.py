"""Rows of accuracy.py beside nudges: PEFA, query maps, and both in either order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _labelled import Collection, FloatArray, Labels, Split, concatenate
from _ranking import figures, judge, top

from nudge_integrations.adaptor import Adaptor, fit_ridge, fit_softmax, fit_trained
from nudge_integrations.hybrid import CANDIDATES, solve_hybrid
from nudge_integrations.hybrid.ranking import Ranking
from nudge_integrations.solver import Solution
from nudge_integrations.solver.metrics import parse_metric

Row = dict[str, Any]

# PEFA's weight of a document's own vector (PEFA-XS), and of its score beside the neighbours' (PEFA-XL): its middle.
WEIGHT, NEIGHBOURS = 0.5, 32


def _unit(rows: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def pefa_xs(collection: Collection, split: Split, seed: int) -> Row:
    """Documents plus the unit mean of their queries: NUDGE-M with a fixed step."""
    known = concatenate(split.train, split.validation)
    sums = np.asarray((known.gains > 0).astype(np.float32).T @ known.queries, dtype=np.float32)
    moved = WEIGHT * collection.documents + (1.0 - WEIGHT) * _unit(sums)
    return {"figures": figures(moved.astype(np.float32), split.test)}


def pefa_xl(collection: Collection, split: Split, seed: int) -> Row:
    """A document's score beside what the nearest labelled queries say for it."""
    known, queries = concatenate(split.train, split.validation), split.test.queries
    likeness = queries @ known.queries.T
    far = np.argsort(-likeness, axis=1, kind="stable")[:, NEIGHBOURS:]
    np.put_along_axis(likeness, far, 0.0, axis=1)
    votes = likeness @ (known.gains > 0).astype(np.float32).toarray()
    scores = WEIGHT * queries @ collection.documents.T + (1.0 - WEIGHT) * votes / NEIGHBOURS
    return {"figures": _means(scores.astype(np.float32), split.test)}


def _means(scores: FloatArray, labels: Labels) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in judge(top(scores), labels).items()}


def _judge(collection: Collection, known: Labels) -> Callable[[torch.Tensor], torch.Tensor]:
    rows = np.arange(len(known))
    ranking = Ranking(collection.documents, known.gains, rows, parse_metric("ndcg@10"), 1 << 27)
    return lambda adapted: torch.from_numpy(ranking.of(adapted))


def _adapted(fit: Callable[..., Adaptor]) -> Callable[[Collection, Split, int], Row]:
    def run(collection: Collection, split: Split, seed: int) -> Row:
        known = concatenate(split.train, split.validation)
        options: dict[str, Any] = {"judge": _judge(collection, known), "seed": seed}
        if fit is fit_trained:
            options["validation"] = np.arange(len(split.train), len(known))
        adaptor = fit(collection.documents, known.queries, known.gains, **options)
        chosen = {"baseline": 100 * adaptor.baseline, "score": 100 * adaptor.score, "steps": adaptor.steps}
        return {"chosen": chosen, "figures": figures(collection.documents, split.test, adaptor.map)}

    return run


def described(solution: Solution) -> Row:
    """What was chosen, and what it promised."""
    return {
        "method": solution.method,
        "step": solution.step,
        "temperature": solution.temperature,
        "status": solution.status,
        "baseline": 100 * solution.baseline,
        "score": 100 * solution.score,
    }


def _hybrid(*candidates: str) -> Callable[[Collection, Split, int], Row]:
    def run(collection: Collection, split: Split, seed: int) -> Row:
        known = concatenate(split.train, split.validation)
        solution = solve_hybrid(collection.documents, known.queries, known.gains, candidates=candidates, seed=seed)
        served = figures(solution.apply(collection.documents), split.test, solution.query_map)
        return {"chosen": described(solution), "figures": served}

    return run


ROWS: dict[str, Callable[[Collection, Split, int], Row]] = {
    "PEFA-XS": pefa_xs,
    "PEFA-XL": pefa_xl,
    "trained adaptor": _adapted(fit_trained),
    "ridge": _adapted(fit_ridge),
    "softmax": _adapted(fit_softmax),
    "adaptor": _hybrid("adaptor"),
    "adaptor+nudge": _hybrid("adaptor+nudge"),
    "nudge+adaptor": _hybrid("nudge+adaptor"),
    "auto": _hybrid(*CANDIDATES),
}
