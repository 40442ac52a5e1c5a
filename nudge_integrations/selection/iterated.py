r"""The ridge taken in several steps, for queries that it fits better than in one.

Each step takes the softmax anew, see `nudge_integrations.query_map.iterated`, so that held-out queries have no closed
form: maps are fitted again without each fold of queries. One strength and one
penalty serve all collections; how many steps are taken is what makes a map strong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.query_map.iterated import IteratedRidge
from nudge_integrations.query_map.training import fold_codes
from nudge_integrations.selection.fitted import QueryScores
from nudge_integrations.selection.settings import (
    EvaluatedSetting,
    Evaluators,
    Folds,
    HeldOutQueries,
    best_setting,
    evaluator_of,
)

__all__ = ["StepMaps", "step_maps"]

_STRENGTH, _PENALTY = 0.25, 0.1
_EVALUATED_STEPS = (1, 2, 3, 4, 6, 8)
_FOLDS = 5


@dataclass(frozen=True, eq=False)
class StepMaps:
    """The maps after each number of steps, and the scores of the one that is best alone.

    Attributes:
        ridge: The steps.
        groups: (l,) int64, the fold of each query.
        documents: (l,) int64, the fold of each query's document.
        adapted: For each number of steps (l, d), the labelled queries, each adapted by a map without its fold.
        steps: How many are best alone.
        gain: How much queries of other folds gain with them.
        scores: The labelled queries, each cross-selection fold with as many steps as suit the other.
    """

    ridge: IteratedRidge
    groups: NDArray[np.int64]
    documents: NDArray[np.int64]
    adapted: dict[int, torch.Tensor]
    steps: int
    gain: float
    scores: QueryScores

    def of(self, steps: int) -> torch.Tensor:
        """Return the map, (d, d) float32."""
        return self.ridge.map(_STRENGTH, _PENALTY, steps)[0].cpu()

    def seen(self, steps: int) -> torch.Tensor:
        """Return the labelled queries (l, d), each adapted by the map without its fold."""
        return self.adapted[steps]

    def unseen(self, steps: int) -> torch.Tensor:
        """Return the same for maps without all queries for the documents of its fold."""
        return _after(self.ridge, self.documents, steps)

    def held_out_folds(self, steps: int) -> Iterator[tuple[NDArray[np.bool_], torch.Tensor]]:
        """Yield folds of queries (l,), and all queries (l, d) as `seen` has them, by maps without that fold at all."""
        for fold in np.unique(self.groups):
            taken = self.ridge.held_out(self.groups, _STRENGTH, _PENALTY, without=int(fold))
            yield self.groups == fold, next(islice(taken, steps - 1, None))


def step_maps(
    ridge: IteratedRidge, folds: Folds, coarse: Evaluators, full: Evaluators, unseen_weight: float, seed: int
) -> StepMaps | None:
    """Take steps as long as held-out queries gain and no others lose; None where the first step does not help.

    Args:
        ridge: The steps.
        folds: Which queries are held out together.
        coarse: Evaluators while steps are taken.
        full: Evaluators of the chosen number of steps.
        unseen_weight: 0 .. 1, how much queries count whose documents nobody labelled.
        seed: For the folds.
    """
    groups, documents = (fold_codes(codes, _FOLDS, seed) for codes in (folds.groups, folds.documents))
    adapted, evaluated = _taken(ridge, folds, groups, documents, coarse, unseen_weight)
    if not evaluated:
        return None
    steps = max(evaluated)
    chosen = [best_setting(evaluated, folds.cross_selection[coarse.rows] == side) or steps for side in (False, True)]
    cross_selection = torch.from_numpy(folds.cross_selection).to(ridge.training.labelled_queries.device)[:, None]
    seen = torch.where(cross_selection, adapted[chosen[0]], adapted[chosen[1]])
    first, second = (_after(ridge, documents, count) for count in chosen)
    unseen = torch.where(cross_selection, first, second)
    scores = QueryScores(full.seen(seen), full.unseen(unseen))
    return StepMaps(ridge, groups, documents, adapted, steps, evaluated[steps].gain(), scores)


def _taken(
    ridge: IteratedRidge,
    folds: Folds,
    groups: NDArray[np.int64],
    documents: NDArray[np.int64],
    evaluators: Evaluators,
    unseen_weight: float,
) -> tuple[dict[int, torch.Tensor], dict[int, EvaluatedSetting]]:
    """Return the queries after each number of steps that was better than the one before, evaluated."""
    evaluate = evaluator_of(ridge.training.labelled_queries, folds, evaluators, unseen_weight)
    partitions = (groups, folds.clusters, *([documents] if unseen_weight else []))
    taken = [ridge.held_out(codes, _STRENGTH, _PENALTY) for codes in partitions]
    adapted: dict[int, torch.Tensor] = {}
    evaluated: dict[int, EvaluatedSetting] = {}
    best = 0.0
    for steps, held_out in enumerate(zip(*taken, strict=True), start=1):
        if steps not in _EVALUATED_STEPS:
            continue
        results = evaluate(
            HeldOutQueries(*((lambda queries=queries: queries) for queries in (*held_out, held_out[0])[:3]))
        )
        if results.gain() <= best or results.loss_to_others < 0.0:
            break
        adapted[steps], evaluated[steps], best = held_out[0], results, results.gain()
        if steps == _EVALUATED_STEPS[-1]:
            break
    return adapted, evaluated


def _after(ridge: IteratedRidge, codes: NDArray[np.int64], steps: int) -> torch.Tensor:
    return next(islice(ridge.held_out(codes, _STRENGTH, _PENALTY), steps - 1, None))
