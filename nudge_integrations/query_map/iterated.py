r"""The iterated ridge: the contrastive ridge in several steps, each with the softmax at the queries of the last one.

M <- M + u c K Q^T (Ybar - softmax((Q + Q M) D^T / tau)) D P from M = 0, with K, P and c as in the contrastive ridge,
which is the first step at u = 1. Cross-validation with full refits chooses u, the penalty in K and the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nudge_integrations.errors import InputError
from nudge_integrations.query_map.query_map import Evaluate, QueryMap, mean_of, moved
from nudge_integrations.query_map.ridge import Regression, Whitening, fit_ridge, regression
from nudge_integrations.query_map.search import coordinate_search
from nudge_integrations.query_map.training import BLOCK_BYTES, TrainingSet, fold_codes, read_training, residuals

__all__ = ["IteratedRidge", "fit_iterated_ridge", "iterated_ridge"]

# Strength u and penalty lambda, and where the search begins; the steps after which a map is evaluated.
_GRID = ((0.0625, 0.125, 0.25), (0.01, 0.1, 1.0))
_START = (0.125, 0.1)
_EVALUATED_STEPS = (1, 2, 4, 8, 12, 16)

# Documents without a label in the softmax. Every step takes it anew, so that they are fewer than for the ridge.
_SAMPLE = 1024


@dataclass(frozen=True, eq=False)
class _Fold:
    """Queries to fit to and queries to adapt, (l',) and (h,) int64 among those that have a relevant document."""

    fitted_to: torch.Tensor
    served: torch.Tensor
    regression: Regression

    @classmethod
    def of(cls, training: TrainingSet, fitted_to: NDArray[np.bool_], served: NDArray[np.bool_]) -> _Fold:
        labelled = training.labelled_queries
        fit, serve = (torch.from_numpy(np.flatnonzero(side)).to(labelled.device) for side in (fitted_to, served))
        return cls(fit, serve, regression(labelled[fit]))


@dataclass(frozen=True, eq=False)
class _BestSteps:
    """A strength and a penalty at their best number of steps: the held-out queries (l, d) and their mean metric."""

    steps: int
    score: float
    held_out: torch.Tensor


@dataclass(frozen=True, eq=False)
class IteratedRidge:
    """The steps of every map, and what they share.

    Attributes:
        training: The labels, and what they need of the corpus.
        spread: The covariance of the documents.
        temperature: tau of the softmax.
        whitening: mu of P.
        block_bytes: Bound on the temporary memory.
    """

    training: TrainingSet
    spread: Whitening
    temperature: float
    whitening: float
    block_bytes: int

    def map(self, strength: float, penalty: float, steps: int) -> tuple[torch.Tensor, float]:
        """Return the map (d, d) float32 fitted to all queries, after some steps, and the scale c."""
        everything = np.ones(len(self.training.rows), dtype=bool)
        taken = self._maps(_Fold.of(self.training, everything, ~everything), strength, penalty)
        return next(islice(taken, steps - 1, None))

    def held_out(
        self, codes: NDArray[np.int64], strength: float, penalty: float, *, without: int | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield after each step the queries (l, d), each adapted by a map fitted without its code.

        Args:
            codes: (l,) which queries are held out together; for each code a map is fitted to the others.
            strength: u.
            penalty: lambda.
            without: Queries of this code are used for no map at all; None uses every code.
        """
        labelled = self.training.labelled_queries
        used = np.ones(len(codes), dtype=bool) if without is None else codes != without
        folds = [_Fold.of(self.training, used & (codes != code), codes == code) for code in np.unique(codes)]
        for maps in zip(*(self._maps(fold, strength, penalty) for fold in folds), strict=True):
            adapted = labelled.clone()
            for fold, (fitted, _) in zip(folds, maps, strict=True):
                adapted[fold.served] = moved(labelled[fold.served], labelled[fold.served] @ fitted)
            yield adapted

    def _maps(self, fold: _Fold, strength: float, penalty: float) -> Iterator[tuple[torch.Tensor, float]]:
        queries, positives = self.training.labelled_queries[fold.fitted_to], self.training.positives[fold.fitted_to]
        kernel = fold.regression.kernel(penalty).to(queries)
        projection = self.spread.matrix(self.whitening).to(queries)
        total, scale = torch.zeros_like(projection), None
        while True:
            results = residuals(
                self.training, queries + queries @ total, positives, [self.temperature], self.block_bytes
            )
            change = kernel @ (queries.T @ results[self.temperature]) @ projection
            if scale is None:
                scale = self.spread.scale(queries, queries @ change)
            total = total + strength * scale * change
            yield total, scale


def iterated_ridge(
    documents: object,
    queries: object,
    relevance: object,
    temperature: float,
    whitening: float,
    *,
    groups: ArrayLike | Sequence[object] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> IteratedRidge:
    """Prepare the steps; the arguments are those of `fit_iterated_ridge` and the settings of the contrastive ridge."""
    training = read_training(
        documents,
        queries,
        relevance,
        groups=groups,
        sample=_SAMPLE,
        seed=seed,
        device=device,
        block_bytes=block_bytes,
    )
    return IteratedRidge(training, Whitening.of(training.covariance), temperature, whitening, block_bytes)


def _best_steps(
    steps: IteratedRidge, codes: NDArray[np.int64], evaluate: Evaluate, strength: float, penalty: float
) -> _BestSteps:
    """Take steps until the held-out queries gain no more."""
    best = _BestSteps(0, -np.inf, steps.training.labelled_queries)
    taken = islice(steps.held_out(codes, strength, penalty), _EVALUATED_STEPS[-1])
    for step, adapted in enumerate(taken, start=1):
        if step in _EVALUATED_STEPS:
            score = mean_of(evaluate, steps.training, adapted)
            if score <= best.score:
                break
            best = _BestSteps(step, score, adapted)
    return best


def fit_iterated_ridge(
    documents: object,
    queries: object,
    relevance: object,
    *,
    evaluate: Evaluate,
    ridge: QueryMap | None = None,
    folds: int = 5,
    groups: ArrayLike | Sequence[object] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> QueryMap:
    r"""Fit the contrastive ridge in several steps, as many as held-out queries gain from.

    Temperature and whitening are those of the contrastive ridge; the strength and penalty of a step and the number of
    steps are chosen by cross-validation with full refits. The softmax takes all labelled documents and a seeded sample
    of 1,024 others, which stand for the rest.

    Args:
        documents: (n, d) numpy array, torch tensor or memory map of float16, bfloat16, float32 or float64; made unit
            length on reading. Read once, in blocks.
        queries: (m, d), the labelled queries; made unit length.
        relevance: (m, n) scipy sparse gains, > 0 where a document is relevant to a query.
        evaluate: Takes all queries adapted, (m, d) float32 unit vectors on the device, and returns their metric, (m,).
        ridge: The result of `fit_ridge` for the same input; None fits it first.
        folds: How many parts the queries are dealt into.
        groups: (m,) names; queries of one group (one document, one topic) are in one fold.
        seed: For the folds and the sample of documents.
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
        >>> documents = random.normal(size=(20, 4))
        >>> relevant = np.arange(80) % 20
        >>> queries = documents[relevant] @ np.roll(np.eye(4), 1, axis=1) + documents[relevant]
        >>> relevance = sparse.csr_array((np.ones(80), (np.arange(80), relevant)), shape=(80, 20))
        >>> unit = torch.nn.functional.normalize(torch.from_numpy(documents).float())
        >>> def hit(adapted):
        ...     return ((adapted @ unit.T).argmax(dim=1) == torch.from_numpy(relevant)).float()
        >>> query_map = fit_iterated_ridge(documents, queries, relevance, evaluate=hit)
        >>> query_map.score > query_map.baseline + 0.2, query_map.steps > 1
        (True, True)
    """
    inputs = (documents, queries, relevance)
    first = ridge or fit_ridge(
        *inputs, evaluate=evaluate, groups=groups, seed=seed, device=device, block_bytes=block_bytes
    )
    whitening = first.whitening
    if whitening is None or folds < 2:
        raise InputError(f"ridge must be what fit_ridge returned, and folds at least 2; got {ridge!r} and {folds!r}")
    steps = iterated_ridge(
        *inputs, first.temperature, whitening, groups=groups, seed=seed, device=device, block_bytes=block_bytes
    )
    training = steps.training
    codes = fold_codes(training.groups, folds, seed)
    tested: dict[tuple[float, ...], _BestSteps] = {}

    def value(point: tuple[float, ...]) -> float:
        tested[point] = _best_steps(steps, codes, evaluate, *point)
        return tested[point].score

    (strength, penalty), score = coordinate_search(_GRID, _START, value)
    baseline = mean_of(evaluate, training, training.labelled_queries)
    if score > baseline:
        best = tested[strength, penalty]
    else:
        strength, best = 0.0, _BestSteps(1, baseline, training.labelled_queries)
    fitted, scale = steps.map(strength, penalty, best.steps)
    return QueryMap(
        map=fitted.cpu().numpy(),
        name="iterated-ridge",
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
