r"""The ridge taken in several steps, for queries that it fits better than in one.

Each step looks at the softmax again, see `nudge_integrations.adaptor.softmax`, so that no closed form says what a map
does for queries that were left out of it: maps are fitted again without each fold of queries. One strength and one
penalty serve all collections; how many steps are taken is what makes a map strong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.adaptor.softmax import Ascent
from nudge_integrations.adaptor.training import fold_codes
from nudge_integrations.hybrid.settings import Folds, JudgedSetting, Judges, LeftOut, best_setting, judge_of
from nudge_integrations.hybrid.trial import Worth

__all__ = ["StepMaps", "step_maps"]

_STRENGTH, _PENALTY = 0.25, 0.1
_JUDGED_STEPS = (1, 2, 3, 4, 6, 8)
_FOLDS = 5


@dataclass(frozen=True, eq=False)
class StepMaps:
    """The maps after some steps, those that do no harm, and what the best of them alone is worth.

    Attributes:
        ascent: The steps.
        groups: (l,) int64, the fold of each query.
        documents: (l,) int64, the fold of each query's document.
        adapted: For each number of steps (l, d), the labelled queries, each adapted by a map without its fold.
        steps: How many are best alone.
        gain: How much queries of other folds gain with them.
        worth: Of the labelled queries, each half with as many steps as suit the other.
    """

    ascent: Ascent
    groups: NDArray[np.int64]
    documents: NDArray[np.int64]
    adapted: dict[int, torch.Tensor]
    steps: int
    gain: float
    worth: Worth

    def of(self, steps: int) -> torch.Tensor:
        """Return the map, (d, d) float32."""
        return self.ascent.map(_STRENGTH, _PENALTY, steps)[0].cpu()

    def seen(self, steps: int) -> torch.Tensor:
        """Return the labelled queries (l, d), each adapted by the map without its fold."""
        return self.adapted[steps]

    def unseen(self, steps: int) -> torch.Tensor:
        """Return the same for maps without all queries for the documents of its fold."""
        return _after(self.ascent, self.documents, steps)

    def left_out(self, steps: int) -> Iterator[tuple[NDArray[np.bool_], torch.Tensor]]:
        """Yield folds of queries (l,), and all queries (l, d) as `seen` has them, by maps without that fold at all."""
        for fold in np.unique(self.groups):
            walk = self.ascent.held_out(self.groups, _STRENGTH, _PENALTY, without=int(fold))
            yield self.groups == fold, next(islice(walk, steps - 1, None))


def step_maps(
    ascent: Ascent, folds: Folds, climbing: Judges, judges: Judges, unseen_weight: float, seed: int
) -> StepMaps | None:
    """Take steps as long as queries gain that did not teach them and nobody loses; None where the first does not.

    Args:
        ascent: The steps.
        folds: What is left out together.
        climbing: Judge while steps are taken.
        judges: Judge those that are chosen.
        unseen_weight: 0 .. 1, how much queries count whose documents nobody labelled.
        seed: For the folds.
    """
    groups, documents = (fold_codes(codes, _FOLDS, seed) for codes in (folds.groups, folds.documents))
    adapted, judged = _taken(ascent, folds, groups, documents, climbing, unseen_weight)
    if not judged:
        return None
    steps = max(judged)
    chosen = [best_setting(judged, folds.halves[climbing.rows] == side) or steps for side in (False, True)]
    halves = torch.from_numpy(folds.halves).to(ascent.training.asked.device)[:, None]
    seen = torch.where(halves, adapted[chosen[0]], adapted[chosen[1]])
    first, second = (_after(ascent, documents, count) for count in chosen)
    unseen = torch.where(halves, first, second)
    worth = Worth(judges.seen(seen), judges.unseen(unseen))
    return StepMaps(ascent, groups, documents, adapted, steps, judged[steps].gain(), worth)


def _taken(
    ascent: Ascent,
    folds: Folds,
    groups: NDArray[np.int64],
    documents: NDArray[np.int64],
    judges: Judges,
    unseen_weight: float,
) -> tuple[dict[int, torch.Tensor], dict[int, JudgedSetting]]:
    """Return the queries after each number of steps that was better than the one before, and what it is worth."""
    judge = judge_of(ascent.training.asked, folds, judges, unseen_weight)
    partitions = (groups, folds.clusters, *([documents] if unseen_weight else []))
    walks = [ascent.held_out(codes, _STRENGTH, _PENALTY) for codes in partitions]
    adapted: dict[int, torch.Tensor] = {}
    judged: dict[int, JudgedSetting] = {}
    best = 0.0
    for steps, left_out in enumerate(zip(*walks, strict=True), start=1):
        if steps not in _JUDGED_STEPS:
            continue
        found = judge(LeftOut(*((lambda queries=queries: queries) for queries in (*left_out, left_out[0])[:3])))
        if found.gain() <= best or found.harm < 0.0:
            break
        adapted[steps], judged[steps], best = left_out[0], found, found.gain()
        if steps == _JUDGED_STEPS[-1]:
            break
    return adapted, judged


def _after(ascent: Ascent, codes: NDArray[np.int64], steps: int) -> torch.Tensor:
    return next(islice(ascent.held_out(codes, _STRENGTH, _PENALTY), steps - 1, None))
