"""Vectors -> a picture's points: the two main axes of the corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.corpus import as_matrix, unit_rows
from nudge_integrations.errors import InputError
from nudge_integrations.evaluation.report.contents import Projection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.evaluation.report.contents import Point

__all__ = ["project"]

_ARROWS, _QUERIES = 200, 200
"""More would hide one another."""


def project(
    documents: Any, moved_from: NDArray[Any], moved_to: NDArray[Any], queries: Any, *, sample: int, seed: int
) -> Projection:
    """Project vectors onto the first two principal components of the corpus.

    The components are those of a sample of the unit base vectors, centred: the right singular vectors of the two
    largest singular values (Pearson, "On lines and planes of closest fit to systems of points in space", 1901).

    Args:
        documents: (n, d) base vectors: an array, a tensor or a memory map, of which only the sample is read.
        moved_from: (r, d) base vectors of the documents that moved.
        moved_to: (r, d) where they moved to.
        queries: (m, d) query vectors, or None.
        sample: How many documents at most.
        seed: Seed of the samples.

    Raises:
        InputError: If the dimensions differ, a vector is zero or not finite, or there are fewer than two coordinates.

    >>> seen = project(np.eye(3), np.eye(3)[:1], np.eye(3)[1:2], None, sample=10, seed=0)
    >>> len(seen.corpus), len(seen.arrows), seen.totals
    (3, 1, (3, 1, 0))
    """
    rng = np.random.default_rng(seed)
    base = unit_rows(_some(documents, "documents", sample, rng), "documents")
    if base.shape[1] < 2 or len(base) < 2:
        raise InputError(f"a picture needs two documents of two coordinates or more; got documents {base.shape}")
    dimension = base.shape[1]
    centre = base.mean(axis=0, dtype=np.float64)
    _, lengths, axes = np.linalg.svd(base - centre, full_matrices=False)
    # A singular vector's sign is arbitrary: the largest coordinate is made positive, so that a picture can be repeated.
    axes = axes[:2] * np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    explained = lengths**2 / max(float((lengths**2).sum()), np.finfo(float).tiny)

    def points(vectors: NDArray[Any]) -> list[Point]:
        return [(float(x), float(y)) for x, y in (vectors - centre) @ axes.T]

    chosen = _rows(len(moved_from), _ARROWS, rng)
    starts = points(unit_rows(moved_from[chosen], "base vectors", dimension=dimension))
    ends = points(moved_to[chosen])
    query_points = (
        []
        if queries is None
        else points(unit_rows(_some(queries, "queries", _QUERIES, rng), "queries", dimension=dimension))
    )
    return Projection(
        corpus=tuple(points(base)),
        arrows=tuple(zip(starts, ends, strict=True)),
        queries=tuple(query_points),
        explained=(float(explained[0]), float(explained[1])),
        totals=(len(documents), len(moved_from), 0 if queries is None else len(queries)),
    )


def _some(vectors: Any, name: str, most: int, rng: np.random.Generator) -> Any:
    rows = as_matrix(vectors, name)
    return rows[_rows(len(rows), most, rng)]


def _rows(count: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if count <= most:
        return np.arange(count)
    return np.sort(rng.choice(count, most, replace=False))
