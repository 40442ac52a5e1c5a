"""Labels among some documents only, and labels and those of a validation set below each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations.solver.inputs import GivenLabels
from nudge_integrations.solver.labels import Labels, mean_share

__all__ = ["among", "importance", "stacked"]


def stacked(labels: Labels, held_out: GivenLabels, name: str) -> sparse.csr_array | None:
    """Return what labels and validation labels say, below each other; None where neither says anything."""
    said: list[sparse.csr_array | None] = [getattr(labels, name), getattr(held_out, name)]
    if all(part is None for part in said):
        return None
    gains = (labels.gains, held_out.gains)
    parts = [_unsaid(of, name) if part is None else part for part, of in zip(said, gains, strict=True)]
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def _unsaid(gains: sparse.csr_array, name: str) -> sparse.csr_array:
    """Return weights of one, or no noes."""
    if name == "noes":
        return sparse.csr_array(gains.shape)
    return sparse.csr_array((np.ones(gains.nnz), gains.indices, gains.indptr), shape=gains.shape)


def importance(labels: GivenLabels, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return how much each of some queries counts, 1 on average; None where labels have no weights."""
    if labels.shares is None:
        return None
    weights = mean_share(labels.gains, labels.shares)[rows]
    return weights / weights.mean() if len(rows) else weights


def among(labels: GivenLabels, rows: NDArray[np.int64]) -> GivenLabels:
    """Return labels with only the documents in ``rows`` as columns."""
    noes, shares = (None if part is None else _columns(part, rows) for part in (labels.noes, labels.shares))
    return replace(labels, gains=_columns(labels.gains, rows), shares=shares, noes=noes)


def _columns(gains: sparse.csr_array, rows: NDArray[np.int64]) -> sparse.csr_array:
    """Return gains with only the columns in ``rows``, renumbered."""
    columns = np.searchsorted(rows, gains.indices)
    return sparse.csr_array((gains.data, columns, gains.indptr), shape=(gains.shape[0], len(rows)))
