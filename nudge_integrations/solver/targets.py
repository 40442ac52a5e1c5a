"""Where every labelled document is headed: its direction, at unit length, and the angle to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.solver.direction import Direction, sums
from nudge_integrations.solver.labels import Labels
from nudge_integrations.solver.path import Path

__all__ = ["NO_DIRECTION", "Targets", "cosine_between", "targets_of"]

# Queries that cancel leave a sum of about this length by rounding, which is no direction.
NO_DIRECTION = 1e-6


@dataclass(frozen=True, eq=False)
class Targets:
    """Where every labelled document is headed.

    Attributes:
        direction: The weights that the sums are made with.
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
    """Return where the labelled documents go by a direction and a path.

    Documents without a label, without a net direction, or already at their target do not move.
    """
    total = sums(direction, labels, block_bytes)
    vectors = path.aim(total)
    cosine = cosine_between(labels.documents, vectors)
    lengths = torch.linalg.vector_norm(total, dim=1).cpu().numpy()
    moving = (labels.support() > 0) & (lengths > NO_DIRECTION) & path.moves(cosine)
    return Targets(direction, path, total, vectors, np.where(moving, cosine, 1.0), moving)


def cosine_between(one: torch.Tensor, other: torch.Tensor) -> NDArray[np.float64]:
    """Return the cosine between unit rows (p, d), exact also near 1 and -1, where an inner product in float32 is not.

    1 - |T - D|^2 / 2 for sharp angles, |T + D|^2 / 2 - 1 for blunt ones.
    """
    near, far = (torch.linalg.vector_norm(pair, dim=1).double().cpu().numpy() for pair in (one - other, one + other))
    cosine: NDArray[np.float64] = np.where(near <= far, 1.0 - near**2 / 2.0, far**2 / 2.0 - 1.0)
    return cosine
