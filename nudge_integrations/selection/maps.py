"""Query maps of every setting, the best of them, and the folds of queries that are held out to find it.

The folds stand for new queries: of the same traffic, for other documents, of another topic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster.vq import kmeans, vq

from nudge_integrations.query_map import ContrastiveRidge, contrastive_ridge
from nudge_integrations.query_map.training import TrainingSet, fold_codes
from nudge_integrations.selection.fitted import QueryScores
from nudge_integrations.selection.settings import (
    EvaluateSetting,
    Evaluators,
    Folds,
    Setting,
    best_setting,
    evaluated_settings,
    setting_evaluator,
)

__all__ = ["QueryMaps", "folds_of", "query_maps"]

# k-means restarts.
_STARTS = 10

# Folds that a pair is evaluated by.
_FOLDS = 5

# Share of queries whose document has queries of both clusters; six collections have 4 to 23 % or 73 to 75 %.
_SHARED = 0.5


@dataclass(frozen=True, eq=False)
class QueryMaps:
    """The query maps of every setting, and the scores of the one that is best alone.

    Attributes:
        ridge: The maps.
        folds: Which queries are held out together.
        evaluate: Evaluates a setting by held-out queries.
        setting: The best alone.
        scores: The labelled queries, each without its group and with a setting that was chosen without it.
        seed: For the folds.
    """

    ridge: ContrastiveRidge
    folds: Folds
    evaluate: EvaluateSetting
    setting: Setting
    scores: QueryScores
    seed: int

    def of(self, setting: Setting) -> torch.Tensor:
        """Return the map, (d, d) float32."""
        fitted, scale = self.ridge.map(*setting[1:])
        return (setting.strength * scale * fitted).float()

    def seen(self, setting: Setting) -> torch.Tensor:
        """Return the labelled queries (l, d), each adapted by the map without its group."""
        return self.ridge.held_out(*setting, groups=self.folds.groups)

    def unseen(self, setting: Setting) -> torch.Tensor:
        """Return the same for maps without all queries for its document."""
        return self.ridge.held_out(*setting, groups=self.folds.documents)

    def held_out_folds(self, setting: Setting) -> Iterator[tuple[NDArray[np.bool_], torch.Tensor]]:
        """Yield folds of queries (l,), and all queries (l, d) as `seen` has them, by maps without that fold at all.

        For the queries of the fold itself the scale c is that of the full map.
        """
        folds = fold_codes(self.folds.groups, _FOLDS, self.seed)
        queries = self.ridge.held_out(*setting, groups=folds)
        for fold, ridge in enumerate(self._without):
            others = folds != fold
            adapted = queries.clone()
            adapted[torch.from_numpy(others)] = ridge.held_out(*setting, groups=self.folds.groups[others])
            yield ~others, adapted

    @cached_property
    def _without(self) -> list[ContrastiveRidge]:
        folds = fold_codes(self.folds.groups, _FOLDS, self.seed)
        return [self.ridge.without(folds == fold) for fold in range(_FOLDS)]


def folds_of(training: TrainingSet, gains: sparse.csr_array, seed: int) -> Folds:
    """Return the folds of the labelled queries, with their gains (l, n)."""
    relevant = np.asarray(gains.argmax(axis=1)).ravel()
    together = np.unique(relevant, return_inverse=True)[1].astype(np.int64)
    clusters = _clusters(training.labelled_queries.double().cpu().numpy(), seed)
    return Folds(training.groups, together, _parted(clusters, together), fold_codes(training.groups, 2, seed) == 0)


def _parted(clusters: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return clusters 0 and 1 of queries (l,), those for one document where most of them are.

    Otherwise a map that has memorised a document would seem to hold for another topic. Where topics share most of
    their documents, clusters stay as they are: queries of a new topic will have known documents too.
    """
    share = (np.bincount(documents, weights=clusters) / np.bincount(documents))[documents]
    shared = (share > 0.0) & (share < 1.0)
    return clusters if shared.mean() > _SHARED else (share >= 0.5).astype(np.int64)


def _clusters(queries: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Return the k-means cluster of each query, of two; of one where they are all the same."""
    if len(np.unique(queries, axis=0)) < 2:
        return np.zeros(len(queries), np.int64)
    # The best of several starts, so that what a map may do depends on the queries and hardly on the seed.
    centres = kmeans(queries, 2, iter=_STARTS, seed=np.random.default_rng(seed))[0]
    return vq(queries, centres)[0].astype(np.int64)


def query_maps(
    training: TrainingSet,
    folds: Folds,
    results: Mapping[float, torch.Tensor],
    coarse: Evaluators,
    full: Evaluators,
    unseen_weight: float,
    seed: int,
) -> QueryMaps | None:
    """Return the contrastive ridges with the setting that is best for held-out queries; None where no setting helps.

    Args:
        training: The labels, and what they need of the corpus.
        folds: Which queries are held out together.
        results: For each temperature (l, d) where queries should go.
        coarse: Evaluators while settings are compared.
        full: Evaluators of the chosen setting.
        unseen_weight: 0 .. 1, how much queries count whose documents nobody labelled.
        seed: For folds of queries.
    """
    labelled = training.labelled_queries
    ridge = contrastive_ridge(labelled, results, training.covariance)
    evaluate = setting_evaluator(ridge, folds, coarse, unseen_weight)
    evaluated = evaluated_settings(evaluate)
    chosen = best_setting(evaluated)
    if chosen is None:
        return None
    settings = [best_setting(evaluated, folds.cross_selection[coarse.rows] == side) for side in (False, True)]
    seen, unseen = (
        _crossed(ridge, settings, groups, folds.cross_selection) for groups in (folds.groups, folds.documents)
    )
    return QueryMaps(ridge, folds, evaluate, chosen, QueryScores(full.seen(seen), full.unseen(unseen)), seed)


def _crossed(
    ridge: ContrastiveRidge,
    settings: Sequence[Setting | None],
    groups: NDArray[np.int64],
    cross_selection: NDArray[np.bool_],
) -> torch.Tensor:
    """Return (l, d) queries adapted by maps without their group and with the setting chosen on the other fold."""
    parts = [ridge.queries if one is None else ridge.held_out(*one, groups=groups) for one in settings]
    return torch.where(torch.from_numpy(cross_selection).to(ridge.queries.device)[:, None], parts[0], parts[1])
