r"""The contrastive ridge taken in several steps: each looks at the softmax again from where the last one led.

M <- M + u c K Q^T (Ybar - softmax((Q + Q M) D^T / tau)) D P from M = 0, with K, P and c as in the contrastive ridge,
which is the first step at u = 1. Cross-validation with full refits chooses u, the penalty in K and the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import ArrayLike

from nudge_integrations.adaptor.adaptor import Adaptor, Judge, mean_of, moved
from nudge_integrations.adaptor.choice import climb
from nudge_integrations.adaptor.ridge import Regression, Whitening, fit_ridge, regression
from nudge_integrations.adaptor.training import BLOCK_BYTES, Training, fold_codes, read_training, residuals
from nudge_integrations.errors import InputError

__all__ = ["fit_softmax"]

# Strength u and penalty lambda, and where the search begins; the steps after which a map is judged.
_GRID = ((0.0625, 0.125, 0.25), (0.01, 0.1, 1.0))
_START = (0.125, 0.1)
_JUDGED_STEPS = (1, 2, 4, 8, 12, 16)

# Documents without a label in the softmax. Every step takes it anew, so that they are fewer than for the ridge.
_SAMPLE = 1024


@dataclass(frozen=True, eq=False)
class _Fold:
    """Queries that teach and queries that are held out, (l',) and (h,) int64 among those that have an answer."""

    teaching: torch.Tensor
    held_out: torch.Tensor
    regression: Regression


@dataclass(frozen=True, eq=False)
class _Trial:
    """A strength and a penalty at their best number of steps: the held-out queries (l, d) and the judge's mean."""

    steps: int
    score: float
    held_out: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Ascent:
    """What all steps of all folds share."""

    training: Training
    spread: Whitening
    whitening: float
    temperature: float
    block_bytes: int

    def maps(self, fold: _Fold, strength: float, penalty: float) -> Iterator[tuple[torch.Tensor, float]]:
        """Yield the map (d, d) float32 after each step, and the scale c."""
        queries, answers = self.training.asked[fold.teaching], self.training.answers[fold.teaching]
        kernel = fold.regression.kernel(penalty).to(queries)
        projection = self.spread.matrix(self.whitening).to(queries)
        total, scale = torch.zeros_like(projection), None
        while True:
            found = residuals(self.training, queries + queries @ total, answers, [self.temperature], self.block_bytes)
            change = kernel @ (queries.T @ found[self.temperature]) @ projection
            if scale is None:
                scale = self.spread.scale(queries, queries @ change)
            total = total + strength * scale * change
            yield total, scale

    def trial(self, folds: Sequence[_Fold], judge: Judge, strength: float, penalty: float) -> _Trial:
        """Take steps in every fold until the held-out queries gain no more."""
        asked = self.training.asked
        best = _Trial(0, -np.inf, asked)
        walks = [self.maps(fold, strength, penalty) for fold in folds]
        for step in range(1, _JUDGED_STEPS[-1] + 1):
            maps = [next(walk)[0] for walk in walks]
            if step in _JUDGED_STEPS:
                adapted = asked.clone()
                for fold, found in zip(folds, maps, strict=True):
                    adapted[fold.held_out] = moved(asked[fold.held_out], asked[fold.held_out] @ found)
                score = mean_of(judge, self.training, adapted)
                if score <= best.score:
                    break
                best = _Trial(step, score, adapted)
        return best


def fit_softmax(
    documents: object,
    queries: object,
    relevance: object,
    *,
    judge: Judge,
    ridge: Adaptor | None = None,
    folds: int = 5,
    groups: ArrayLike | Sequence[object] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Adaptor:
    r"""Fit the contrastive ridge in several steps, as many as queries outside the fold gain from.

    Temperature and whitening are those of the contrastive ridge; the strength and penalty of a step and the number of
    steps are chosen by cross-validation with full refits. The softmax takes all labelled documents and a seeded sample
    of 1,024 others, which stand for the rest.

    Args:
        documents: (n, d) numpy array, torch tensor or memory map of float16, bfloat16, float32 or float64; made unit
            length on reading. Read once, in blocks.
        queries: (m, d), the labelled queries; made unit length.
        relevance: (m, n) scipy sparse gains, > 0 where a document answers a query.
        judge: Takes all queries adapted, (m, d) float32 unit vectors on the device, and returns their metric, (m,).
        ridge: What `fit_ridge` found for the same input, if it is at hand; else it is fitted first.
        folds: How many parts the queries are dealt into.
        groups: (m,) names; queries of one group (one document, one topic) are in one fold.
        seed: For the folds and the sample of documents.
        device: Where to compute; None for where ``documents`` are.
        block_bytes: Bound on temporary memory, beside the documents kept and the queries.

    Returns:
        An `Adaptor`; its map is zero where no setting beats leaving the queries alone.

    Raises:
        InputError: If shapes do not fit, a vector is zero, NaN or infinite, or a gain is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from scipy import sparse
        >>> random = np.random.default_rng(0)
        >>> documents = random.normal(size=(20, 4))
        >>> wanted = np.arange(80) % 20
        >>> queries = documents[wanted] @ np.roll(np.eye(4), 1, axis=1) + documents[wanted]
        >>> relevance = sparse.csr_array((np.ones(80), (np.arange(80), wanted)), shape=(80, 20))
        >>> unit = torch.nn.functional.normalize(torch.from_numpy(documents).float())
        >>> def hit(adapted):
        ...     return ((adapted @ unit.T).argmax(dim=1) == torch.from_numpy(wanted)).float()
        >>> adaptor = fit_softmax(documents, queries, relevance, judge=hit)
        >>> adaptor.score > adaptor.baseline + 0.2, adaptor.steps > 1
        (True, True)
    """
    inputs = (documents, queries, relevance)
    first = ridge or fit_ridge(*inputs, judge=judge, groups=groups, seed=seed, device=device, block_bytes=block_bytes)
    whitening = first.whitening
    if whitening is None or folds < 2:
        raise InputError(f"ridge must be what fit_ridge returned, and folds at least 2; got {ridge!r} and {folds!r}")
    training = read_training(*inputs, groups=groups, sample=_SAMPLE, seed=seed, device=device, block_bytes=block_bytes)
    ascent = _Ascent(training, Whitening.of(training.covariance), whitening, first.temperature, block_bytes)
    parts = _folds(training, folds, seed)
    trials: dict[tuple[float, ...], _Trial] = {}

    def value(point: tuple[float, ...]) -> float:
        trials[point] = ascent.trial(parts, judge, *point)
        return trials[point].score

    (strength, penalty), score = climb(_GRID, _START, value)
    baseline = mean_of(judge, training, training.asked)
    if score > baseline:
        best = trials[strength, penalty]
    else:
        strength, best = 0.0, _Trial(1, baseline, training.asked)
    everything = torch.arange(len(training.rows), device=training.rows.device)
    last = ascent.maps(_Fold(everything, everything[:0], regression(training.asked)), strength, penalty)
    fitted, scale = next(islice(last, best.steps - 1, None))
    return Adaptor(
        map=fitted.cpu().numpy(),
        name="softmax",
        temperature=first.temperature,
        whitening=whitening,
        penalty=penalty,
        strength=strength,
        scale=scale,
        steps=best.steps,
        baseline=baseline,
        score=best.score,
        held_out_queries=training.every(best.held_out).cpu().numpy(),
        normaliser=training.normaliser,
    )


def _folds(training: Training, count: int, seed: int) -> list[_Fold]:
    """Deal the queries into folds, each held out once."""
    asked, codes = training.asked, fold_codes(training.groups, count, seed)
    parts = []
    for fold in np.unique(codes):
        teaching, held_out = (
            torch.from_numpy(np.flatnonzero(side)).to(asked.device) for side in (codes != fold, codes == fold)
        )
        parts.append(_Fold(teaching, held_out, regression(asked[teaching])))
    return parts
