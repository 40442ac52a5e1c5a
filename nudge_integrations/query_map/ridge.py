r"""The contrastive ridge: a query map in closed form, with exact leave-one-out.

The residual R = (Ybar - softmax(Q D^T / tau)) D P says where each query should go. P = mu s (Sigma + mu s I)^-1, with
Sigma the covariance of documents and s its mean variance, damps the directions in which documents vary most. The map
M = u c K Q^T R, K = (Q^T Q + lambda trace(Q^T Q)/d I)^-1, predicts the residual from the query; c brings the shift's
deviation of scores to that of the base scores. All of it is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nudge_integrations.query_map.query_map import Evaluate, QueryMap, mean_of, moved
from nudge_integrations.query_map.search import coordinate_search
from nudge_integrations.query_map.training import BLOCK_BYTES, read_training, residuals

__all__ = ["ContrastiveRidge", "Whitening", "contrastive_ridge", "fit_ridge", "regression"]

TEMPERATURES = (0.1, 0.05, 0.03)

# Strength u, temperature tau, whitening mu and penalty lambda; where the search begins.
_GRID = ((0.125, 0.25, 0.5, 1.0), TEMPERATURES, (1.0, 0.1, 0.03), (0.001, 0.01, 0.1, 1.0))
_START = (0.5, 0.05, 0.1, 0.1)


@dataclass(frozen=True, eq=False)
class Regression:
    """Ridge regression on queries for every penalty at once, in the eigenbasis of Q^T Q.

    Attributes:
        basis: (d, d) float64, eigenvectors of Q^T Q, one a column.
        energy: (d,) float64, its eigenvalues.
        rotated: (l, d) float64, Q times the basis.
    """

    basis: torch.Tensor
    energy: torch.Tensor
    rotated: torch.Tensor

    def inverse(self, penalty: float) -> torch.Tensor:
        """Return (d,) the eigenvalues of K = (Q^T Q + penalty trace(Q^T Q)/d I)^-1."""
        return 1.0 / (self.energy + penalty * self.energy.mean().clamp_min(1e-12))

    def kernel(self, penalty: float) -> torch.Tensor:
        """Return K, (d, d) float64."""
        return (self.basis * self.inverse(penalty)) @ self.basis.T

    def fit(self, responses: torch.Tensor, penalty: float) -> torch.Tensor:
        """Return (d, k) float64, K Q^T R for responses R (l, k)."""
        return self.basis @ (self.inverse(penalty)[:, None] * (self.rotated.T @ responses))

    def predictions(
        self, responses: torch.Tensor, penalty: float, *partitions: NDArray[Any]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        r"""Return predictions (l, k) float64 for all queries, and for each partition by the fit without its group.

        With H = Q K Q^T the prediction for a group g is (I - H_gg)^-1 (Q_g K Q^T R - H_gg R_g); for a single query
        (q M - h r) / (1 - h). The penalty's unit, trace(Q^T Q)/d, stays that of all queries.
        """
        inverse, products = self.inverse(penalty), self.rotated.T @ responses
        fitted = self.rotated @ (inverse[:, None] * products)
        leverage = (self.rotated.square() @ inverse)[:, None]
        single = (fitted - leverage * responses) / (1.0 - leverage)
        held_out = []
        for groups in partitions:
            predictions = single.clone()
            for group in _groups_of_many(groups):
                own, theirs = self.rotated[group], responses[group]
                if len(group) <= len(inverse):
                    block = (own * inverse) @ own.T
                    rest = torch.eye(len(group), dtype=block.dtype) - block
                    predictions[group] = torch.linalg.solve(rest, fitted[group] - block @ theirs)
                else:
                    rest = torch.diag(1.0 / inverse) - own.T @ own
                    predictions[group] = own @ torch.linalg.solve(rest, products - own.T @ theirs)
            held_out.append(predictions)
        return fitted, held_out


def regression(queries: torch.Tensor) -> Regression:
    """Prepare ridge regressions on queries (l, d)."""
    rows = queries.double().cpu()
    energy, basis = torch.linalg.eigh(rows.T @ rows)
    return Regression(basis, energy.clamp_min(0.0), rows @ basis)


def _groups_of_many(groups: NDArray[Any]) -> list[torch.Tensor]:
    """Return the members of every group that has more than one."""
    code, count = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    members = np.split(np.argsort(code, kind="stable"), np.cumsum(count)[:-1])
    return [torch.from_numpy(group) for group in members if len(group) > 1]


@dataclass(frozen=True, eq=False)
class Whitening:
    """The covariance of documents in its eigenbasis.

    Attributes:
        basis: (d, d) float64, eigenvectors, one a column.
        variance: (d,) float64, eigenvalues.
    """

    basis: torch.Tensor
    variance: torch.Tensor

    @classmethod
    def of(cls, covariance: torch.Tensor) -> Whitening:
        """Decompose a covariance (d, d) float64."""
        variance, basis = torch.linalg.eigh(covariance)
        return cls(basis, variance.clamp_min(0.0))

    def matrix(self, whitening: float) -> torch.Tensor:
        """Return P = mu s (Sigma + mu s I)^-1, (d, d); s is the mean variance."""
        floor = whitening * self.variance.mean().clamp_min(1e-12)
        return (self.basis * (floor / (self.variance + floor))) @ self.basis.T

    def deviation(self, vectors: torch.Tensor) -> float:
        """Return the standard deviation over documents of a vector's scores, summed over vectors (l, d)."""
        spread = (vectors.double().cpu() @ self.basis) * self.variance.sqrt()
        return float(torch.linalg.vector_norm(spread, dim=1).sum())

    def scale(self, queries: torch.Tensor, shift: torch.Tensor) -> float:
        """Return c, which brings the deviation of the shifts' scores to that of the queries'; 0 if nothing shifts."""
        shifted = self.deviation(shift)
        return self.deviation(queries) / shifted if shifted > 0.0 else 0.0


@dataclass(frozen=True, eq=False)
class ContrastiveRidge:
    """Every map of the grid, exact for held-out queries; see `contrastive_ridge`.

    Attributes:
        queries: (l, d) float32 unit vectors, on the device to work on.
        residuals: For each temperature (l, d) float32, before the whitening.
        regression: The regression on these queries.
        whitening: The covariance of the documents.
    """

    queries: torch.Tensor
    residuals: Mapping[float, torch.Tensor]
    regression: Regression
    whitening: Whitening

    def map(self, temperature: float, whitening: float, penalty: float) -> tuple[torch.Tensor, float]:
        """Return M0 = K Q^T R, (d, d) float64, and its scale c."""
        fitted = self.regression.fit(self._residuals(temperature), penalty) @ self.whitening.matrix(whitening)
        return fitted, self.whitening.scale(self.queries, self.queries.double().cpu() @ fitted)

    def held_out(
        self,
        strength: float,
        temperature: float,
        whitening: float,
        penalty: float,
        *,
        groups: ArrayLike | None = None,
    ) -> torch.Tensor:
        """Return (l, d) float32: unit(q + u s), s the shift by the map without the query's group.

        ``groups`` names one for each query (l,); None where every query is its own.
        """
        codes = np.arange(len(self.queries)) if groups is None else np.asarray(groups)
        (shift,) = self.shifts(temperature, whitening, penalty, codes)
        return moved(self.queries, strength * shift)

    def shifts(
        self, temperature: float, whitening: float, penalty: float, *partitions: NDArray[Any]
    ) -> list[torch.Tensor]:
        """Return for each partition of the queries (l,) how the map without its group shifts each, (l, d) float32.

        The scale c is that of the full map: a mean over all queries.
        """
        projection = self.whitening.matrix(whitening)
        fitted, held_out = self.regression.predictions(self._residuals(temperature), penalty, *partitions)
        projection *= self.whitening.scale(self.queries, fitted @ projection)
        return [(predictions @ projection).to(self.queries) for predictions in held_out]

    def without(self, held_out: NDArray[np.bool_]) -> ContrastiveRidge:
        """Return the same, fitted without some queries (l,)."""
        kept = torch.from_numpy(~held_out)
        queries = self.queries[kept.to(self.queries.device)]
        results = {temperature: results[kept.to(results.device)] for temperature, results in self.residuals.items()}
        return ContrastiveRidge(queries, results, regression(queries), self.whitening)

    def _residuals(self, temperature: float) -> torch.Tensor:
        return self.residuals[temperature].double().cpu()


def contrastive_ridge(
    queries: torch.Tensor, residuals: Mapping[float, torch.Tensor], covariance: torch.Tensor
) -> ContrastiveRidge:
    """Prepare the maps of a grid.

    Args:
        queries: (l, d) float32 unit vectors.
        residuals: For each temperature (l, d) float32, where each query should go: (Ybar - softmax(Q D^T / tau)) D.
        covariance: (d, d) float64, of the documents.
    """
    return ContrastiveRidge(queries, residuals, regression(queries), Whitening.of(covariance))


def fit_ridge(
    documents: object,
    queries: object,
    relevance: object,
    *,
    evaluate: Evaluate,
    groups: ArrayLike | Sequence[object] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> QueryMap:
    r"""Fit the contrastive ridge, with the setting that is best for held-out queries.

    Every setting is evaluated by queries that are adapted without their own label (or group) in closed form, which is
    exact but for two numbers that stay those of all queries: the scale and the penalty's unit. The grid is searched one
    axis at a time, so that about twenty of its settings are evaluated.

    Args:
        documents: (n, d) numpy array, torch tensor or memory map of float16, bfloat16, float32 or float64; made unit
            length on reading. Read once, in blocks.
        queries: (m, d), the labelled queries; made unit length.
        relevance: (m, n) scipy sparse gains, > 0 where a document is relevant to a query.
        evaluate: Takes all queries adapted, (m, d) float32 unit vectors on the device, and returns their metric, (m,).
        groups: (m,) names; queries of one group (one document, one topic) are held out together.
        seed: For the sample of documents in the softmax over a large corpus.
        device: Where to compute; None for where ``documents`` are.
        block_bytes: Bound on temporary memory, beside the documents kept and the queries.

    Returns:
        A `QueryMap`; its map is zero where no setting beats leaving the queries alone.

    Raises:
        InputError: If shapes do not fit, a vector is zero, NaN or infinite, or a gain is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from scipy import sparse
        >>> random = np.random.default_rng(0)
        >>> documents = random.normal(size=(60, 8))
        >>> relevant = np.arange(240) % 60
        >>> queries = documents[relevant] @ np.roll(np.eye(8), 1, axis=1) + documents[relevant]
        >>> relevance = sparse.csr_array((np.ones(240), (np.arange(240), relevant)), shape=(240, 60))
        >>> unit = torch.nn.functional.normalize(torch.from_numpy(documents).float())
        >>> def hit(adapted):
        ...     return ((adapted @ unit.T).argmax(dim=1) == torch.from_numpy(relevant)).float()
        >>> query_map = fit_ridge(documents, queries, relevance, evaluate=hit)
        >>> query_map.score > query_map.baseline + 0.2
        True
    """
    training = read_training(
        documents, queries, relevance, groups=groups, seed=seed, device=device, block_bytes=block_bytes
    )
    labelled = training.labelled_queries
    results = residuals(training, labelled, training.positives, TEMPERATURES, block_bytes)
    ridge = contrastive_ridge(labelled, results, training.covariance)

    def value(point: tuple[float, ...]) -> float:
        return mean_of(evaluate, training, ridge.held_out(*point, groups=training.groups))

    (strength, temperature, whitening, penalty), score = coordinate_search(_GRID, _START, value)
    baseline = mean_of(evaluate, training, labelled)
    strength = strength if score > baseline else 0.0
    fitted, scale = ridge.map(temperature, whitening, penalty)
    held_out = ridge.held_out(strength, temperature, whitening, penalty, groups=training.groups)
    return QueryMap(
        map=(strength * scale * fitted).float().numpy(),
        name="ridge",
        temperature=temperature,
        whitening=whitening,
        penalty=penalty,
        strength=strength,
        scale=scale,
        steps=1,
        baseline=baseline,
        score=max(score, baseline),
        held_out_queries=training.every(held_out).cpu().numpy(),
        normaliser=training.normaliser,
    )
