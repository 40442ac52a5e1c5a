"""What the search works on: labels and the documents they name, evaluation queries, and targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations.solver.direction import Direction, sums
from nudge_integrations.solver.path import Path

__all__ = ["NO_DIRECTION", "EvaluationQueries", "Labels", "Targets", "accurate_cosine", "targets_of"]

# Queries that cancel leave a sum of about this length by rounding, which is no direction.
NO_DIRECTION = 1e-6


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels and the documents they name.

    Attributes:
        queries: (m, d) float32.
        gains: (m, u) gains of the documents below.
        groups: (m,) int64, queries of one group are held out together.
        rows: (u,) int64 corpus rows, ascending.
        documents: (u, d) float32 unit vectors.
    """

    queries: torch.Tensor
    gains: sparse.csr_array
    groups: NDArray[np.int64]
    rows: NDArray[np.int64]
    documents: torch.Tensor

    def members(self) -> sparse.csr_array:
        """Return the (groups, m) incidence of queries in groups."""
        ones = np.ones(len(self.groups))
        shape = (int(self.groups.max(initial=-1)) + 1, len(self.groups))
        return sparse.csr_array((ones, (self.groups, np.arange(len(self.groups)))), shape=shape)

    def by_document(self) -> Labels:
        """Return the same labels with queries grouped by their most relevant document; others are by themselves."""
        codes = len(self.rows) + np.arange(len(self.groups))
        able = np.flatnonzero(np.diff(self.gains.indptr))
        if len(able):  # scipy finds no argmax among no columns
            codes[able] = self.gains[able].argmax(axis=1)
        return replace(self, groups=np.unique(codes, return_inverse=True)[1].astype(np.int64))

    def support(self) -> NDArray[np.int64]:
        """Return (u,) how many queries each document is relevant to."""
        return np.bincount(self.gains.indices, minlength=len(self.rows))


@dataclass(frozen=True, eq=False)
class EvaluationQueries:
    """The queries that a step is evaluated by.

    Attributes:
        queries: (e, d) float32.
        gains: (e, u) gains of the labelled documents.
        own: (e,) int64 rows of these queries in the labels, for leave-one-out; None for held-out queries.
        groups: (e,) int64, queries whose metric varies together.
        scores: (e, k) float64 best scores of the documents that never move.
        rows: (e, k) int64 corpus rows of those scores.
    """

    queries: torch.Tensor
    gains: sparse.csr_array
    own: NDArray[np.int64] | None
    groups: NDArray[np.int64]
    scores: NDArray[np.float64]
    rows: NDArray[np.int64]

    def take(self, order: NDArray[np.int64]) -> EvaluationQueries:
        """Return the same queries in another order, or some of them."""
        at = torch.from_numpy(order).to(self.queries.device)
        own = None if self.own is None else self.own[order]
        return EvaluationQueries(
            self.queries[at], self.gains[order], own, self.groups[order], self.scores[order], self.rows[order]
        )


@dataclass(frozen=True, eq=False)
class Targets:
    """Where every labelled document should go.

    Attributes:
        direction: What the sums are made of.
        path: How documents follow them.
        sums: (u, d) float32 G = W^T Q.
        vectors: (u, d) float32 unit vectors.
        cosine: (u,) float64 between each document and its target; 1 where it does not move.
        moving: (u,) bool.
    """

    direction: Direction
    path: Path
    sums: torch.Tensor
    vectors: torch.Tensor
    cosine: NDArray[np.float64]
    moving: NDArray[np.bool_]


def targets_of(labels: Labels, direction: Direction, path: Path, block_bytes: int) -> Targets:
    """Return the targets of labelled documents by a direction and a path.

    Documents without a label, without a net direction, or already at their target do not move.
    """
    total = sums(direction, labels.gains, labels.queries, labels.documents, block_bytes)
    vectors = path.aim(total)
    cosine = accurate_cosine(labels.documents, vectors)
    lengths = torch.linalg.vector_norm(total, dim=1).cpu().numpy()
    moving = (labels.support() > 0) & (lengths > NO_DIRECTION) & path.moves(cosine)
    return Targets(direction, path, total, vectors, np.where(moving, cosine, 1.0), moving)


def accurate_cosine(one: torch.Tensor, other: torch.Tensor) -> NDArray[np.float64]:
    """Return the cosine between unit rows (p, d), exact also near 1 and -1, where an inner product in float32 is not.

    1 - |T - D|^2 / 2 for sharp angles, |T + D|^2 / 2 - 1 for blunt ones.
    """
    near, far = (torch.linalg.vector_norm(pair, dim=1).double().cpu().numpy() for pair in (one - other, one + other))
    cosine: NDArray[np.float64] = np.where(near <= far, 1.0 - near**2 / 2.0, far**2 / 2.0 - 1.0)
    return cosine
