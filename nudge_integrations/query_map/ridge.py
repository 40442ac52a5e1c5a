r"""The contrastive ridge: query maps in closed form, and their exact answers for queries that were left out.

The map M = u c K Q^T R P predicts from a query where it should go. R are the responses of the teaching queries, the
residuals (Ybar - softmax(Q D^T / tau)) D; K = (Q^T Q + lambda trace(Q^T Q)/d I)^-1; P = mu s (Sigma + mu s I)^-1, with
Sigma the covariance of documents and s its mean variance, damps the directions in which documents vary most; c brings
the shift's deviation of scores to that of the base scores, so that a strength u of 1 weighs both alike.

Q^T Q and Sigma are decomposed once, so that every penalty is a rescaling, and every whitening as well, since vectors
lie along the axes of Sigma. For queries that are left out the penalty's unit and c stay those of all queries. All of it
is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh

from nudge_integrations.query_map.regression import Regression
from nudge_integrations.query_map.teaching import Teaching, fold_codes
from nudge_integrations.solver.labels import group_codes

__all__ = ["FittedMaps", "RidgeMaps", "Setting"]

# Queries that the scale of a shift is measured by.
_MEASURED = 1024

# Folds whose labels no map knows, of groups and of documents.
_FOLDS, _DOCUMENT_FOLDS = 5, 3


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
class FittedMaps:
    """Maps that were fitted again for everything that is left out; each is made when it is asked for.

    Attributes:
        steps: How many steps they took.
        whole: Makes (d, d) float32, that of all teaching queries.
        without_fold: Folds of the queries (t,), and the maps of the others.
        of_cluster: Makes the map that a cluster teaches.
        without_documents: Makes the same as ``without_fold`` for folds that hold all queries for a document.
    """

    steps: int
    whole: Callable[[], torch.Tensor]
    without_fold: Callable[[], list[tuple[NDArray[np.bool_], torch.Tensor]]]
    of_cluster: Callable[[int], torch.Tensor]
    without_documents: Callable[[], list[tuple[NDArray[np.bool_], torch.Tensor]]]


@dataclass(eq=False)
class RidgeMaps:
    """Every map that some settings make, and what each does for queries that were left out.

    All vectors in here lie along the axes of the documents' covariance.

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
    _measured: dict[Setting, torch.Tensor] = field(default_factory=dict)
    _products: dict[tuple[object, Hashable], torch.Tensor] = field(default_factory=dict)
    _by_fold: tuple[Setting, list[tuple[NDArray[np.bool_], torch.Tensor]]] | None = None

    @classmethod
    def of(
        cls,
        teaching: Teaching,
        covariance: NDArray[np.float64],
        seed: int,
        temperatures: Sequence[float],
        block_bytes: int,
    ) -> RidgeMaps:
        """Decompose the documents' covariance (d, d), and work out the responses for some temperatures."""
        variance, axes = (torch.from_numpy(part).to(teaching.queries) for part in eigh(covariance))
        turned = teaching.turned(axes)
        maps = cls(turned, variance.clamp_min(0.0), axes, seed)
        maps.responses.update(turned.residuals(turned.queries, temperatures, block_bytes).items())
        return maps

    def map(self, setting: Setting) -> torch.Tensor:
        """Return the map of strength 1, (d, d), for queries as they are given."""
        return self.axes @ (self.scale(setting) * self._unscaled(setting)) @ self.axes.T

    def seen(self, settings: Sequence[Setting], places: NDArray[np.int64]) -> torch.Tensor:
        """Return shifts (p, s, d) at strength 1 of teaching queries by maps without each one's group, or fold."""
        return self._shifts(settings, places, lambda one: self._left_out(one, self.teaching.groups, places))

    def unseen(self, settings: Sequence[Setting], places: NDArray[np.int64]) -> torch.Tensor:
        """Return the same by maps without all queries for its most relevant document."""
        return self._shifts(settings, places, lambda one: self._left_out(one, self.teaching.documents, places))

    def other_cluster(self, settings: Sequence[Setting], places: NDArray[np.int64]) -> torch.Tensor:
        """Return the same by the map that the other cluster of queries teaches."""
        return self._shifts(settings, places, lambda one: self._by_other_cluster(one, places))

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

    def as_given(self, shifts: torch.Tensor) -> torch.Tensor:
        """Return shifts (..., d) along the axes in which vectors were given."""
        return shifts @ self.axes.T

    def scale(self, setting: Setting) -> float:
        """Return c; 0 where nothing shifts."""
        if setting not in self._scales:
            queries = self.teaching.queries[:: max(1, len(self.teaching.queries) // _MEASURED)]
            if setting in self.iterated:
                shifts = queries @ self.iterated[setting].whole()
            else:
                # Settings that differ in their whitening follow one another.
                plain = setting._replace(whitening=0.0)
                if plain not in self._measured:
                    self._measured = {plain: queries @ self._undamped(setting)}
                shifts = self._measured[plain] * self.damping(setting.whitening)
            shifted = self._deviation(shifts)
            self._scales[setting] = self._deviation(queries) / shifted if shifted > 0.0 else 0.0
        return self._scales[setting]

    def damping(self, whitening: float) -> torch.Tensor:
        """Return (d,) the eigenvalues of P."""
        floor = whitening * self.variance.mean().clamp_min(1e-12)
        return floor / (self.variance + floor)

    def _deviation(self, vectors: torch.Tensor) -> float:
        """Return the standard deviation over documents of a vector's scores, summed over vectors (l, d)."""
        return float(torch.linalg.vector_norm(vectors * self.variance.sqrt(), dim=1).sum())

    def _unscaled(self, setting: Setting) -> torch.Tensor:
        if setting in self.iterated:
            return self.iterated[setting].whole()
        return self._undamped(setting) * self.damping(setting.whitening)

    def _undamped(self, setting: Setting) -> torch.Tensor:
        return self.whole.fit(self._products_of("whole", self.whole, setting), setting.penalty)

    def _shifts(
        self, settings: Sequence[Setting], places: NDArray[np.int64], shifts: Callable[[Setting], torch.Tensor]
    ) -> torch.Tensor:
        """Return scaled shifts (p, s, d) of settings; those of one step that differ in their whitening share them."""
        found = self.teaching.queries.new_empty(len(places), len(settings), self.teaching.queries.shape[1])
        shared: dict[Setting, torch.Tensor] = {}
        for number, setting in enumerate(settings):
            if setting in self.iterated:
                found[:, number] = self.scale(setting) * shifts(setting)
                continue
            plain = setting._replace(whitening=0.0)
            if plain not in shared:
                shared = {plain: shifts(setting)}
            torch.mul(shared[plain], self.scale(setting) * self.damping(setting.whitening), out=found[:, number])
        return found

    def _left_out(self, setting: Setting, groups: NDArray[np.int64], places: NDArray[np.int64]) -> torch.Tensor:
        """Return undamped shifts (p, d) by maps without some groups; by maps without folds where there are steps."""
        if setting in self.iterated:
            fitted = self.iterated[setting]
            parts = fitted.without_fold() if groups is self.teaching.groups else fitted.without_documents()
            shifts = torch.empty_like(self.teaching.queries)
            for fold, matrix in parts:
                at = torch.from_numpy(fold)
                shifts[at] = self.teaching.queries[at] @ matrix
            return shifts[torch.from_numpy(places)]
        products = self._products_of("whole", self.whole, setting)
        return self.whole.left_out(self.responses[setting.responses], products, setting.penalty, groups, places)

    def _by_other_cluster(self, setting: Setting, places: NDArray[np.int64]) -> torch.Tensor:
        clusters = self.teaching.clusters
        found = self.teaching.queries.new_zeros(len(places), self.teaching.queries.shape[1])
        for cluster in (0, 1):
            inside = torch.from_numpy(np.flatnonzero(clusters[places] == cluster))
            if len(inside) and (clusters != cluster).any():
                queries = self.teaching.queries[torch.from_numpy(places)[inside]]
                found[inside] = queries @ self._of_cluster(setting, 1 - cluster)
        return found

    def _of_cluster(self, setting: Setting, cluster: int) -> torch.Tensor:
        if setting in self.iterated:
            return self.iterated[setting].of_cluster(cluster)
        rows = torch.from_numpy(self.teaching.clusters == cluster)
        regression = self.by_cluster[cluster]
        return regression.fit(self._products_of(cluster, regression, setting, rows), setting.penalty)

    def _folds_of_iterated(self, setting: Setting) -> Iterator[tuple[NDArray[np.bool_], torch.Tensor]]:
        fitted, queries = self.iterated[setting], self.teaching.queries
        folds, whole = fitted.without_fold(), fitted.whole()
        for fold, without in folds:
            shifts = torch.empty_like(queries)
            for other, also_without in folds:
                at = torch.from_numpy(other)
                same = other is fold
                shifts[at] = queries[at] @ (without if same else without + also_without - whole)
            yield fold, shifts

    def _folds_of_ridge(self, setting: Setting) -> Iterator[tuple[NDArray[np.bool_], torch.Tensor]]:
        queries, responses = self.teaching.queries, self.responses[setting.responses]
        for fold, regression in self.folds:
            inside, kept = torch.from_numpy(fold), np.flatnonzero(~fold)
            others = torch.from_numpy(kept)
            theirs, groups = responses[others], group_codes(self.teaching.groups[kept])
            products = regression.products(theirs)
            shifts = torch.empty_like(queries)
            shifts[inside] = queries[inside] @ regression.fit(products, setting.penalty)
            shifts[others] = regression.left_out(theirs, products, setting.penalty, groups, np.arange(len(kept)))
            yield fold, shifts * self.damping(setting.whitening)

    def _products_of(
        self, part: object, regression: Regression, setting: Setting, rows: torch.Tensor | slice = slice(None)
    ) -> torch.Tensor:
        key = part, setting.responses
        if key not in self._products:
            self._products[key] = regression.products(self.responses[key[1]][rows])
        return self._products[key]

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
        codes = fold_codes(self.teaching.documents, _DOCUMENT_FOLDS, self.seed)
        return [codes == code for code in np.unique(codes)]
