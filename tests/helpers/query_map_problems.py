"""Shared by the tests of query maps: slow numpy maps, an evaluator that sorts, and queries that a map corrects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from oracle import Floats, Problem, metric_of, unit

from nudge_integrations.query_map import Evaluate
from nudge_integrations.query_map.ridge import RidgeMaps, Setting
from nudge_integrations.query_map.teaching import teaching_of
from nudge_integrations.solver import prepare

Rows = NDArray[np.bool_]


def evaluator_of(problem: Problem, metric: str = "ndcg@10") -> Evaluate:
    """Return an evaluator that sorts every ranking; a query without a relevant document scores 0."""

    def evaluate(adapted: torch.Tensor) -> torch.Tensor:
        scores = adapted.double().numpy() @ problem.documents.T
        pairs = zip(scores, problem.gains, strict=True)
        return torch.tensor([metric_of(row, gains, metric) if gains.any() else 0.0 for row, gains in pairs])

    return evaluate


def turned(seed: int = 0, documents: int = 80, queries: int = 240, width: int = 8) -> Problem:
    """Return queries whose relevant document is near a fixed linear map of them."""
    random = np.random.default_rng(seed)
    corpus = unit(random.normal(size=(documents, width)))
    relevant = random.integers(0, documents, queries)
    turn = np.linalg.qr(random.normal(size=(width, width)))[0]
    vectors = unit(corpus[relevant] + corpus[relevant] @ turn + 0.1 * random.normal(size=(queries, width)))
    gains = np.zeros((queries, documents))
    gains[np.arange(queries), relevant] = 1.0
    return Problem(corpus, vectors, gains, np.arange(queries))


def maps_of(problem: Problem, temperatures: Sequence[float] = (0.1,), **options: Any) -> RidgeMaps:
    """Return the ridges of a problem's labels, its groups left out together."""
    prepared = prepare(problem.documents, problem.queries, problem.relevance, groups=problem.groups, **options)
    seed, block_bytes = prepared.options.seed, prepared.options.block_bytes
    return RidgeMaps.of(teaching_of(prepared), prepared.covariance, seed, temperatures, block_bytes)


def shifts_of(maps: RidgeMaps, kind: str, setting: Setting, places: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the shifts (p, d) of some queries, in the axes in which vectors were given."""
    found: NDArray[np.float32] = maps.as_given(getattr(maps, kind)([setting], places)[:, 0]).numpy()
    return found


def dense_residuals(problem: Problem, temperature: float, query_map: Floats | float = 0.0) -> Floats:
    """Return where queries should go, by a softmax over all documents, once they have been mapped so far."""
    asked = problem.queries + problem.queries @ (query_map + np.zeros((problem.queries.shape[1],) * 2))
    logits = problem.without_ignored(asked @ problem.documents.T) / temperature
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    target = problem.gains / problem.gains.sum(axis=1, keepdims=True)
    residual: Floats = (target - scores / scores.sum(axis=1, keepdims=True)) @ problem.documents
    return residual


def dense_projection(documents: Floats, whitening: float) -> Floats:
    """Return P, which damps the directions in which documents vary most."""
    covariance = np.cov(documents.T, bias=True)
    floor = whitening * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    projection: Floats = floor @ np.linalg.inv(covariance + floor)
    return projection


def unit_of_penalty(queries: Floats) -> float:
    return float(np.trace(queries.T @ queries) / queries.shape[1])


def dense_ridge(queries: Floats, responses: Floats, penalty: float, penalty_unit: float | None = None) -> Floats:
    """Return K Q^T R; the penalty's unit is that of these queries where none is given."""
    scale = unit_of_penalty(queries) if penalty_unit is None else penalty_unit
    energy = queries.T @ queries + penalty * scale * np.eye(queries.shape[1])
    found: Floats = np.linalg.solve(energy, queries.T @ responses).astype(np.float64)
    return found


def dense_map(problem: Problem, setting: Setting, penalty_unit: float | None = None) -> Floats:
    """Return the map of a setting that all queries of a problem teach, before it is scaled."""
    residuals = dense_residuals(problem, float(str(setting.responses)))
    found = dense_ridge(problem.queries, residuals, setting.penalty, penalty_unit)
    return found @ dense_projection(problem.documents, setting.whitening)


def dense_scale(problem: Problem, query_map: Floats) -> float:
    """Return by how much a map's shifts change scores less than scores differ as they are."""
    as_they_are, shifted = (
        (vectors @ problem.documents.T).std(axis=1).sum() for vectors in (problem.queries, problem.queries @ query_map)
    )
    return float(as_they_are / shifted)


def shifts_without(problem: Problem, setting: Setting, groups: NDArray[Any], *, own_unit: bool = False) -> Floats:
    """Return (m, d), the shift of each query by a map fitted to all queries outside its group, scaled as that of all.

    Args:
        problem: The labels.
        setting: Of the map.
        groups: (m,) those of one are left out together.
        own_unit: Whether the penalty's unit is that of the queries outside the group.
    """
    penalty_unit = None if own_unit else unit_of_penalty(problem.queries)
    shifts = np.zeros_like(problem.queries)
    for group in np.unique(groups):
        inside = groups == group
        if not inside.all():
            shifts[inside] = problem.queries[inside] @ dense_map(problem.part(~inside), setting, penalty_unit)
    return shifts * dense_scale(problem, dense_map(problem, setting))


def walked(problem: Problem, setting: Setting, steps: int, scale: float) -> Floats:
    """Return the map after some steps of strength 1/2, each with a softmax over all documents."""
    total = np.zeros((problem.queries.shape[1],) * 2)
    projection = dense_projection(problem.documents, setting.whitening)
    for _ in range(steps):
        residuals = dense_residuals(problem, float(str(setting.responses)), total)
        total = total + 0.5 * scale * dense_ridge(problem.queries, residuals, setting.penalty) @ projection
    return total
