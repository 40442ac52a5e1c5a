"""The solver once more, slow and obvious: every vector really moved, every ranking really sorted, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def unit(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def metric_of(scores: Floats, gains: Floats, metric: str) -> float:
    """Return one query's metric; equal scores are ranked by row."""
    name, cutoff = metric.split("@")
    k = int(cutoff)
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


def direction(documents: Floats, queries: Floats, gains: Floats, temperature: float | None) -> Floats:
    """Return G for all documents, zero where nobody asks for one."""
    labelled = gains.sum(axis=0) > 0
    if temperature is None:
        weights = (gains > 0).astype(float)
    else:
        total = gains.sum(axis=1, keepdims=True)
        weights = np.divide(gains, total, out=np.zeros_like(gains), where=total > 0)
        logits = queries @ documents.T / temperature
        soft = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights = weights - soft / soft.sum(axis=1, keepdims=True)
    return np.where(labelled[:, None], weights.T @ queries, 0.0)


def place(documents: Floats, sums: Floats, method: str, step: float) -> Floats:
    """Return where documents are at a step of a method."""
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


def score_at(
    documents: Floats,
    queries: Floats,
    gains: Floats,
    method: str,
    step: float,
    metric: str,
    *,
    temperature: float | None = None,
    groups: NDArray[np.int64] | None = None,
    unseen: bool = False,
) -> float:
    """Return the leave-one-out metric at a step, by fitting again without each query (or its group)."""
    groups = np.arange(len(queries)) if groups is None else groups
    values = []
    for query in np.flatnonzero(gains.sum(axis=1)):
        rest = gains * (groups != groups[query])[:, None]
        others = groups != groups[query]
        sums = direction(documents, queries[others], rest[others], temperature)
        if unseen:
            sums[gains[query] > 0] = 0.0
        placed = place(documents, sums, method, step)
        values.append(metric_of(placed @ queries[query], gains[query], metric))
    return float(np.mean(values))
