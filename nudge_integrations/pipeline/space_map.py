"""A linear map from the space of one embedding model to that of another, learned from texts that both have embedded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.corpus import unit_rows
from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SpaceMap", "fit_space_map"]

_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
_FEWEST = 10


@dataclass(frozen=True, eq=False)
class SpaceMap:
    """A linear map of vectors, from a new model's space to a former one's.

    Attributes:
        matrix: (d, f) float32, from d numbers to f.
        kind: ``"orthogonal"`` or ``"ridge"``, whichever agreed better with texts that it was not fitted to.
        agreement: The mean cosine between mapped vectors and the former model's, of such texts.
    """

    matrix: NDArray[np.float32]
    kind: str
    agreement: float

    def apply(self, vectors: Any) -> NDArray[np.float32]:
        """Return (m, f) unit vectors for (m, d) vectors of the new model.

        Raises:
            InputError: If d differs, or a vector is zero or not finite.
        """
        rows = unit_rows(vectors, "vectors", dimension=len(self.matrix))
        return unit_rows(rows @ self.matrix, "mapped vectors")

    def __repr__(self) -> str:
        d, f = self.matrix.shape
        return f"SpaceMap({d} to {f} dimensions, {self.kind}, mean cosine {self.agreement:.3f})"


def fit_space_map(new: Any, old: Any, *, seed: int = 0) -> SpaceMap:
    """Fit a map from one space to another; a rotation or a ridge, whichever agrees better with a fifth of the texts.

    Args:
        new: (n, d) vectors of n texts from the new model.
        old: (n, f) vectors of the same texts from the former one.
        seed: For the choice of that fifth.

    Raises:
        InputError: If there are fewer than 10 texts, or the numbers differ.

    >>> random = np.random.default_rng(0)
    >>> old = random.standard_normal((50, 4))
    >>> rotation = np.linalg.qr(random.standard_normal((4, 4)))[0]
    >>> fit_space_map(old @ rotation.T, old)
    SpaceMap(4 to 4 dimensions, orthogonal, mean cosine 1.000)
    """
    one, other = (unit_rows(rows, "vectors").astype(np.float64) for rows in (new, old))
    if len(one) != len(other) or len(one) < _FEWEST:
        raise InputError(f"expected as many vectors of each model, {_FEWEST} or more; got {len(one)} and {len(other)}")
    order = np.random.default_rng(seed).permutation(len(one))
    held_out, rest = order[: len(one) // 5], order[len(one) // 5 :]
    kinds: list[float | None] = list(_PENALTIES)
    if one.shape[1] == other.shape[1]:
        kinds = [None, *kinds]

    def agreement(penalty: float | None) -> float:
        mapped = one[held_out] @ _fitted(one[rest], other[rest], penalty)
        lengths = np.maximum(np.linalg.norm(mapped, axis=1), 1e-12)
        return float(((mapped * other[held_out]).sum(axis=1) / lengths).mean())

    found = [agreement(penalty) for penalty in kinds]
    best = kinds[int(np.argmax(found))]
    matrix = _fitted(one, other, best).astype(np.float32)
    return SpaceMap(matrix, "orthogonal" if best is None else "ridge", max(found))


def _fitted(one: NDArray[np.float64], other: NDArray[np.float64], penalty: float | None) -> NDArray[np.float64]:
    """Return the rotation for None, else the ridge whose penalty is so many mean eigenvalues."""
    if penalty is None:
        left, _, right = np.linalg.svd(one.T @ other)
        rotation: NDArray[np.float64] = left @ right
        return rotation
    gram = one.T @ one
    ridge: NDArray[np.float64] = np.linalg.solve(
        gram + penalty * np.trace(gram) / len(gram) * np.eye(len(gram)), one.T @ other
    )
    return ridge
