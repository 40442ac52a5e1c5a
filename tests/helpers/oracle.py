"""The solver once more, slow and obvious: every vector really moved, every ranking really sorted, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Unit documents (n, d), unit queries (m, d), gains (m, n); a group, and the row to ignore (or -1), a query."""

    documents: Floats
    queries: Floats
    gains: Floats
    groups: NDArray[np.int64]
    ignored: NDArray[np.int64] | None = None

    @property
    def relevance(self) -> sparse.csr_array:
        return sparse.csr_array(self.gains)

    def part(self, rows: ArrayLike) -> Problem:
        """Return the problem with some of its queries."""
        index = np.asarray(rows)
        ignored = None if self.ignored is None else self.ignored[index]
        return Problem(self.documents, self.queries[index], self.gains[index], self.groups[index], ignored)

    def without_ignored(self, scores: Floats) -> Floats:
        """Return scores (m, n), those of documents that a query ignores so low that no softmax takes them."""
        scores = scores.copy()
        rows = np.flatnonzero(self.ignored >= 0) if self.ignored is not None else np.zeros(0, np.int64)
        scores[rows, self.ignored[rows] if self.ignored is not None else rows] = -np.inf
        return scores

    def metric(self, query: int | np.signedinteger[Any], scores: Floats, metric: str, ties: float = 0.0) -> float:
        """Return one query's metric with scores of all documents, the one that it ignores taken out of the ranking."""
        if self.ignored is not None and self.ignored[query] >= 0:
            scores = scores.copy()
            scores[self.ignored[query]] = -np.inf
        return metric_of(scores, self.gains[query], metric, ties)


def unit(rows: Floats) -> Floats:
    scaled: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return scaled


def random_problem(
    seed: int, documents: int = 20, queries: int = 16, width: int = 5, density: float = 0.15, noise: float = 1.0
) -> Problem:
    """Return queries scattered around their relevant documents, graded 1 to 3; every query has one."""
    random = np.random.default_rng(seed)
    corpus = unit(random.normal(size=(documents, width)))
    gains = (random.random((queries, documents)) < density) * random.integers(1, 4, (queries, documents))
    gains[np.arange(queries), random.integers(0, documents, queries)] = 1
    centres = unit(random.normal(size=(documents, width)))
    vectors = unit((gains > 0) @ centres + noise * random.normal(size=(queries, width)))
    groups = random.integers(0, max(2, queries // 2), queries)
    return Problem(corpus, vectors, gains.astype(np.float64), groups)


def metric_of(scores: Floats, gains: Floats, metric: str, ties: float = 0.0) -> float:
    """Return one query's metric; equal scores are ranked by row.

    With ``ties`` > 0, scores that are that close are ranked as well as they can be; < 0, as badly.
    """
    name, cutoff = metric.split("@")
    k = int(cutoff)
    scores = scores + ties * gains / gains.max()
    ranked = np.argsort(-np.round(scores, 9), kind="stable")[:k]
    found = gains[ranked]
    hits = found > 0
    discount = 1.0 / np.log2(np.arange(2, len(found) + 2))
    if name == "hit":
        return float(hits.any())
    if name == "recall":
        return float(hits.sum() / (gains > 0).sum())
    if name == "precision":
        return float(hits.sum() / k)
    if name == "mrr":
        return float(1.0 / (np.argmax(hits) + 1)) if hits.any() else 0.0
    if name == "map":
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        return float((precision * hits).sum() / (gains > 0).sum())
    ideal = np.sort(gains)[::-1][:k]
    return float((found * discount).sum() / (ideal / np.log2(np.arange(2, len(ideal) + 2))).sum())


def direction(problem: Problem, temperature: float | None = None, *, graded: bool = False) -> Floats:
    """Return G for all documents, zero where nobody asks for one."""
    gains, queries = problem.gains, problem.queries
    labelled = gains.sum(axis=0) > 0
    if temperature is None:
        weights = gains if graded else (gains > 0).astype(float)
    else:
        total = gains.sum(axis=1, keepdims=True)
        weights = np.divide(gains, total, out=np.zeros_like(gains), where=total > 0)
        logits = problem.without_ignored(queries @ problem.documents.T) / temperature
        soft = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        weights = weights - soft / soft.sum(axis=1, keepdims=True)
    return np.where(labelled[:, None], weights.T @ queries, 0.0)


def place(documents: Floats, sums: Floats, method: str, step: float) -> Floats:
    """Return where documents are at a step of a method; contrastive takes nudge-n's path."""
    placed = documents.copy()
    for row, total in enumerate(sums):
        length = np.linalg.norm(total)
        if length < 1e-6:
            continue
        start, target = documents[row], total / length
        if method == "nudge-s":
            target = np.zeros_like(total)
            target[np.argmax(np.abs(total))] = np.sign(total[np.argmax(np.abs(total))])
        if method in ("nudge-m", "nudge-s"):
            placed[row] = start + step * target
            continue
        sideways = target - (target @ start) * start
        if np.linalg.norm(sideways) < 1e-6:
            continue
        if method == "nudge-m+n":
            placed[row] = unit(start + step * target)
            continue
        angle = min(step, float(np.arccos(np.clip(target @ start, -1, 1))))
        placed[row] = np.cos(angle) * start + np.sin(angle) * unit(sideways)
    return placed


def moved(problem: Problem, method: str, step: float, temperature: float | None = None, **options: bool) -> Floats:
    """Return every document where a method puts it."""
    return place(problem.documents, direction(problem, temperature, **options), method, step)


def mean_metric(documents: Floats, queries: Floats, gains: Floats, metric: str) -> float:
    """Return the mean over the queries that have a relevant document."""
    rows = np.flatnonzero(gains.sum(axis=1))
    return (
        float(np.mean([metric_of(documents @ queries[row], gains[row], metric) for row in rows])) if len(rows) else 0.0
    )


def left_out(
    problem: Problem,
    method: str,
    step: float,
    metric: str,
    *,
    temperature: float | None = None,
    graded: bool = False,
    grouped: bool = False,
    unseen: bool = False,
    shift: Floats | None = None,
    ties: float = 0.0,
) -> Floats:
    """Return each query's metric at a step by fitting again without it and its copies, or without its group.

    Args:
        problem: The labels.
        method: How documents move.
        step: How far.
        metric: What to measure.
        temperature: Of a contrastive direction.
        graded: Weigh queries by their gains.
        grouped: Leave the whole group of a query out.
        unseen: Also hold every relevant document of the query where it was.
        shift: (d,) added to documents that do not move, which are then made unit length again.
        ties: As in `metric_of`.
    """
    groups = problem.groups if grouped else same_question(problem.queries)
    values = []
    for query in np.flatnonzero(problem.gains.sum(axis=1)):
        sums = direction(problem.part(groups != groups[query]), temperature, graded=graded)
        if unseen:
            sums[problem.gains[query] > 0] = 0.0
        placed = place(problem.documents, sums, method, step)
        if shift is not None:
            still = np.linalg.norm(sums, axis=1) < 1e-6
            placed[still] = unit(problem.documents[still] + shift)
        values.append(problem.metric(query, placed @ problem.queries[query], metric, ties))
    return np.array(values)


def same_question(queries: Floats) -> NDArray[np.int64]:
    """Return a number for each query, the same for queries with equal vectors."""
    return np.unique(queries.round(6) + 0.0, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def leave_one_out(problem: Problem, method: str, step: float, metric: str, **options: Any) -> float:
    """Return the mean of `left_out`, which explains the options."""
    values = left_out(problem, method, step, metric, **options)
    return float(values.mean()) if len(values) else 0.0


def held_out(
    problem: Problem,
    evaluation: Problem,
    method: str,
    step: float,
    metric: str,
    *,
    temperature: float | None = None,
    unseen: bool = False,
    ties: float = 0.0,
) -> float:
    """Return the metric of held-out queries at a step, by moving the documents once."""
    sums = direction(problem, temperature)
    values = []
    for query in np.flatnonzero(evaluation.gains.sum(axis=1)):
        kept = np.where((evaluation.gains[query] > 0)[:, None], 0.0, sums) if unseen else sums
        placed = place(problem.documents, kept, method, step)
        values.append(evaluation.metric(query, placed @ evaluation.queries[query], metric, ties))
    return float(np.mean(values)) if values else 0.0
