r"""The contrastive ridge: query maps in closed form, and their exact answers for queries that were left out.

The map M = u c K Q^T R P predicts from a query where it should go. R are the responses of the teaching queries, the
residuals (Ybar - softmax(Q D^T / tau)) D; K = (Q^T Q + lambda trace(Q^T Q)/d I)^-1; P = mu s (Sigma + mu s I)^-1, with
Sigma the covariance of documents and s its mean variance, damps the directions in which documents vary most; c brings
the shift's deviation of scores to that of the base scores, so that a strength u of 1 weighs both alike.

Q^T Q is decomposed once, so that every penalty is a rescaling; so is Sigma, for every whitening. With H = Q K Q^T a
group g of queries is answered without itself by (I - H_gg)^-1 (Q_g K Q^T R - H_gg R_g), which for a single query is
(q M - h r) / (1 - h). The penalty's unit and c stay those of all queries. All of it is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh

from nudge_integrations.query_map.teaching import Teaching, fold_codes
from nudge_integrations.solver.labels import group_codes

__all__ = ["Regression", "RidgeMaps", "Setting"]

# Queries that the scale of a shift is measured by.
_MEASURED = 1024

# Whitened responses that are remembered.
_REMEMBERED = 4

# Folds whose labels no map knows.
_FOLDS = 5


class Setting(NamedTuple):
    """The settings of a contrastive ridge.

    Attributes:
        responses: The softmax's temperature of one step, or of several with their number.
        whitening: mu.
        penalty: lambda.
    """

    responses: Hashable
    whitening: float
    penalty: float


@dataclass(frozen=True, eq=False)
class Regression:
    """Ridge regression on queries for every penalty at once, in the eigenbasis of Q^T Q.

    Attributes:
        queries: (t, d) float32, Q.
        energy: (d,) float32, the eigenvalues of Q^T Q.
        basis: (d, d) float32, its eigenvectors, one a column.
        rotated: (t, d) float32, Q times the basis.
    """

    queries: torch.Tensor
    energy: torch.Tensor
    basis: torch.Tensor
    rotated: torch.Tensor

    @classmethod
    def on(cls, queries: torch.Tensor) -> Regression:
        """Prepare regressions on queries (t, d)."""
        rows = queries.double()
        energy, basis = eigh((rows.T @ rows).cpu().numpy())
        found = torch.from_numpy(basis).to(queries)
        return cls(queries, torch.from_numpy(energy).to(queries).clamp_min(0.0), found, queries @ found)

    def inverse(self, penalty: float) -> torch.Tensor:
        """Return (d,) the eigenvalues of K."""
        return 1.0 / (self.energy + penalty * self.energy.mean().clamp_min(1e-12))

    def fit(self, responses: torch.Tensor, penalty: float) -> torch.Tensor:
        """Return K Q^T R, (d, d), for responses R (t, d)."""
        return self.basis @ (self.inverse(penalty)[:, None] * (self.rotated.T @ responses))

    def left_out(
        self, responses: torch.Tensor, penalty: float, groups: NDArray[np.int64], places: NDArray[np.int64]
    ) -> torch.Tensor:
        """Return the predictions (p, d) for some of the queries, each without its group."""
        inverse, products = self.inverse(penalty), self.rotated.T @ responses
        at = torch.from_numpy(places).to(responses.device)
        own = self.rotated[at]
        fitted = (own * inverse) @ products
        leverage = (own.square() @ inverse)[:, None]
        found = (fitted - leverage * responses[at]) / (1.0 - leverage)
        for members in _groups_of_many(groups, places):
            answers = self._without_themselves(members, responses, inverse, products)
            # Where each member is among the places, if it is.
            place = np.minimum(np.searchsorted(places, members.numpy().ravel()), len(places) - 1)
            asked = np.flatnonzero(places[place] == members.numpy().ravel())
            found[torch.from_numpy(place[asked])] = answers.flatten(0, 1)[torch.from_numpy(asked)]
        return found

    def _without_themselves(
        self, members: torch.Tensor, responses: torch.Tensor, inverse: torch.Tensor, products: torch.Tensor
    ) -> torch.Tensor:
        """Return the predictions (b, s, d) for b groups of s queries each, without the group."""
        own, theirs = self.rotated[members].double(), responses[members].double()
        inverse, products = inverse.double(), products.double()
        if members.shape[1] <= len(inverse):
            block = (own * inverse) @ own.mT
            rest = torch.eye(members.shape[1], dtype=block.dtype, device=block.device) - block
            answers = torch.linalg.solve(rest, (own * inverse) @ products - block @ theirs)
        else:
            rest = torch.diag(1.0 / inverse) - own.mT @ own
            answers = own @ torch.linalg.solve(rest, products - own.mT @ theirs)
        found: torch.Tensor = answers.to(responses)
        return found


def _groups_of_many(groups: NDArray[np.int64], places: NDArray[np.int64]) -> list[torch.Tensor]:
    """Return the members (b, s) of groups of several with a query among the places, those of one size together."""
    count = np.bincount(groups)
    wanted = np.unique(groups[places][count[groups[places]] > 1])
    order = np.argsort(groups, kind="stable")
    first = np.cumsum(count) - count
    found = []
    for size in np.unique(count[wanted]):
        codes = wanted[count[wanted] == size]
        found.append(torch.from_numpy(order[first[codes][:, None] + np.arange(size)]))
    return found


@dataclass(frozen=True, eq=False)
class FittedMaps:
    """Maps that were fitted again for everything that is left out.

    Attributes:
        steps: How many steps they took.
        whole: (d, d) float32, that of all teaching queries.
        without_fold: Folds of the queries (t,), and the maps of the others.
        of_cluster: The map that each cluster teaches.
        without_documents: Makes the same as ``without_fold`` for folds that hold all queries for a document.
    """

    steps: int
    whole: torch.Tensor
    without_fold: list[tuple[NDArray[np.bool_], torch.Tensor]]
    of_cluster: dict[int, torch.Tensor]
    without_documents: Callable[[], list[tuple[NDArray[np.bool_], torch.Tensor]]]


@dataclass(eq=False)
class RidgeMaps:
    """Every map that some settings make, and what each does for queries that were left out.

    Attributes:
        teaching: The queries.
        variance: (d,) float32, the eigenvalues of the documents' covariance.
        axes: (d, d) float32, its eigenvectors, one a column.
        seed: For folds.
        responses: For each temperature (t, d) float32, where queries should go.
        iterated: The settings whose maps took several steps.
    """

    teaching: Teaching
    variance: torch.Tensor
    axes: torch.Tensor
    seed: int
    responses: dict[Hashable, torch.Tensor] = field(default_factory=dict)
    iterated: dict[Setting, FittedMaps] = field(default_factory=dict)
    _scales: dict[Setting, float] = field(default_factory=dict)
    _whitened: dict[tuple[Hashable, float], torch.Tensor] = field(default_factory=dict)
    _unseen: dict[Setting, list[tuple[NDArray[np.bool_], torch.Tensor]]] = field(default_factory=dict)
    _by_fold: tuple[Setting, list[tuple[NDArray[np.bool_], torch.Tensor]]] | None = None

    @classmethod
    def of(cls, teaching: Teaching, covariance: NDArray[np.float64], seed: int) -> RidgeMaps:
        """Decompose the documents' covariance (d, d)."""
        variance, axes = eigh(covariance)
        like = teaching.queries
        return cls(teaching, torch.from_numpy(variance).to(like).clamp_min(0.0), torch.from_numpy(axes).to(like), seed)

    def map(self, setting: Setting) -> torch.Tensor:
        """Return the map of strength 1, (d, d)."""
        return self.scale(setting) * self._unscaled(setting)

    def seen(self, setting: Setting, places: NDArray[np.int64]) -> torch.Tensor:
        """Return the shifts (p, d) at strength 1 of some teaching queries by maps without each one's group, or fold."""
        if setting in self.iterated:
            return self._by_maps(setting, self.iterated[setting].without_fold)[torch.from_numpy(places)]
        return self._left_out(setting, self.teaching.groups, places)

    def unseen(self, setting: Setting, places: NDArray[np.int64]) -> torch.Tensor:
        """Return the same by maps without all queries for its most relevant document."""
        if setting in self.iterated:
            if setting not in self._unseen:
                self._unseen[setting] = self.iterated[setting].without_documents()
            return self._by_maps(setting, self._unseen[setting])[torch.from_numpy(places)]
        return self._left_out(setting, self.teaching.documents, places)

    def other_cluster(self, setting: Setting, places: NDArray[np.int64]) -> torch.Tensor:
        """Return the same by the map that the other cluster of queries teaches."""
        clusters = self.teaching.clusters
        found = torch.zeros_like(self.teaching.queries[:1]).repeat(len(places), 1)
        for cluster in (0, 1):
            inside = torch.from_numpy(np.flatnonzero(clusters[places] == cluster))
            if len(inside) and (clusters != cluster).any():
                queries = self.teaching.queries[torch.from_numpy(places)[inside]]
                found[inside] = queries @ self._of_cluster(setting, 1 - cluster)
        return self.scale(setting) * found

    def by_fold(self, setting: Setting) -> list[tuple[NDArray[np.bool_], torch.Tensor]]:
        """Return each fold (t,), and shifts (t, d) of all teaching queries by maps that know no label of the fold.

        The queries of the fold are shifted by the map of all others, the others by that map without their own group.
        Where maps took several steps it is without their own fold: M without two folds is taken as M without one, plus
        M without the other, less M, which is exact but for what the two do together.
        """
        if self._by_fold is None or self._by_fold[0] != setting:
            folds = self._folds_of_iterated(setting) if setting in self.iterated else self._folds_of_ridge(setting)
            self._by_fold = setting, [(fold, self.scale(setting) * shifts) for fold, shifts in folds]
        return self._by_fold[1]

    def scale(self, setting: Setting) -> float:
        """Return c; 0 where nothing shifts."""
        if setting not in self._scales:
            queries = self.teaching.queries[:: max(1, len(self.teaching.queries) // _MEASURED)]
            shifted = self._deviation(queries @ self._unscaled(setting))
            self._scales[setting] = self._deviation(queries) / shifted if shifted > 0.0 else 0.0
        return self._scales[setting]

    def whitened(self, vectors: torch.Tensor, whitening: float) -> torch.Tensor:
        """Return vectors (p, d) times P."""
        floor = whitening * self.variance.mean().clamp_min(1e-12)
        return ((vectors @ self.axes) * (floor / (self.variance + floor))) @ self.axes.T

    def _deviation(self, vectors: torch.Tensor) -> float:
        """Return the standard deviation over documents of a vector's scores, summed over vectors (l, d)."""
        return float(torch.linalg.vector_norm((vectors @ self.axes) * self.variance.sqrt(), dim=1).sum())

    def _unscaled(self, setting: Setting) -> torch.Tensor:
        if setting in self.iterated:
            return self.iterated[setting].whole
        return self.whole.fit(self._whitened_responses(setting), setting.penalty)

    def _of_cluster(self, setting: Setting, cluster: int) -> torch.Tensor:
        if setting in self.iterated:
            return self.iterated[setting].of_cluster[cluster]
        rows = torch.from_numpy(self.teaching.clusters == cluster)
        return self.by_cluster[cluster].fit(self._whitened_responses(setting)[rows], setting.penalty)

    def _by_maps(self, setting: Setting, parts: list[tuple[NDArray[np.bool_], torch.Tensor]]) -> torch.Tensor:
        """Return the shifts (t, d) of all teaching queries, each by the map of its fold."""
        shifts = torch.empty_like(self.teaching.queries)
        for fold, matrix in parts:
            at = torch.from_numpy(fold)
            shifts[at] = self.scale(setting) * (self.teaching.queries[at] @ matrix)
        return shifts

    def _folds_of_iterated(self, setting: Setting) -> Iterator[tuple[NDArray[np.bool_], torch.Tensor]]:
        fitted, queries = self.iterated[setting], self.teaching.queries
        for fold, without in fitted.without_fold:
            shifts = torch.empty_like(queries)
            for other, also_without in fitted.without_fold:
                at = torch.from_numpy(other)
                same = other is fold
                shifts[at] = queries[at] @ (without if same else without + also_without - fitted.whole)
            yield fold, shifts

    def _folds_of_ridge(self, setting: Setting) -> Iterator[tuple[NDArray[np.bool_], torch.Tensor]]:
        queries, responses = self.teaching.queries, self._whitened_responses(setting)
        for fold, regression in self.folds:
            inside, kept = torch.from_numpy(fold), np.flatnonzero(~fold)
            others = torch.from_numpy(kept)
            shifts = torch.empty_like(queries)
            shifts[inside] = queries[inside] @ regression.fit(responses[others], setting.penalty)
            groups = group_codes(self.teaching.groups[kept])
            shifts[others] = regression.left_out(responses[others], setting.penalty, groups, np.arange(len(kept)))
            yield fold, shifts

    def _left_out(self, setting: Setting, groups: NDArray[np.int64], places: NDArray[np.int64]) -> torch.Tensor:
        responses = self._whitened_responses(setting)
        return self.scale(setting) * self.whole.left_out(responses, setting.penalty, groups, places)

    def _whitened_responses(self, setting: Setting) -> torch.Tensor:
        """Return R P (t, d): whatever is linear in the responses needs no whitening afterwards."""
        key = setting.responses, setting.whitening
        if key not in self._whitened:
            if len(self._whitened) >= _REMEMBERED:
                self._whitened.pop(next(iter(self._whitened)))
            self._whitened[key] = self.whitened(self.responses[setting.responses], setting.whitening)
        return self._whitened[key]

    @cached_property
    def whole(self) -> Regression:
        """The regression on all teaching queries."""
        return Regression.on(self.teaching.queries)

    @cached_property
    def by_cluster(self) -> dict[int, Regression]:
        """The regressions on the queries of each cluster."""
        clusters = self.teaching.clusters
        return {code: Regression.on(self.teaching.queries[torch.from_numpy(clusters == code)]) for code in (0, 1)}

    @cached_property
    def folds(self) -> list[tuple[NDArray[np.bool_], Regression]]:
        """Folds (t,) of whole groups, and the regressions on the queries outside each."""
        codes = fold_codes(self.teaching.groups, _FOLDS, self.seed)
        masks = [codes == code for code in np.unique(codes)]
        return [(fold, Regression.on(self.teaching.queries[torch.from_numpy(~fold)])) for fold in masks]

    @property
    def document_folds(self) -> list[NDArray[np.bool_]]:
        """Folds (t,) that hold all queries for a document."""
        codes = fold_codes(self.teaching.documents, _FOLDS, self.seed)
        return [codes == code for code in np.unique(codes)]
