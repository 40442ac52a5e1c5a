"""The gain from the labels so far, and the gain to expect of more of them: an extrapolation with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nudge_integrations.artifact.placement import map_queries
from nudge_integrations.corpus import unit_rows
from nudge_integrations.errors import InputError
from nudge_integrations.evaluation.metrics import evaluate
from nudge_integrations.evaluation.report.elements import element
from nudge_integrations.evaluation.report.learning_chart import learning_chart
from nudge_integrations.evaluation.report.notebook import fragment
from nudge_integrations.evaluation.report.wording import metric_name, percent, points
from nudge_integrations.index import ExactIndex
from nudge_integrations.selection import CANDIDATES, select

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from nudge_integrations.dataset import RetrievalDataset

__all__ = ["Forecast", "LearningCurve", "learning_curve"]

# score(n) = a - b n^-c: no single c fits all collections, so each is tried and the interval holds them all.
_RATES = (0.25, 0.5, 1.0)
_FEWEST = 20


@dataclass(frozen=True)
class Forecast:
    """The gain to expect of more labels.

    Attributes:
        more: How many more labelled queries.
        gain: By how much the metric is expected to rise, in [0, 1].
        low: Lower end of the interval.
        high: Upper end.
        confidence: Level of the interval.
    """

    more: int
    gain: float
    low: float
    high: float
    confidence: float

    def __str__(self) -> str:
        """Say it in a sentence."""
        return (
            f"{self.more:,} more labelled queries: {points(self.gain)} points expected, {self.confidence:.0%} interval "
            f"{points(self.low)} to {points(self.high)}"
        )


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """The metric on test queries against the number of labelled queries.

    Attributes:
        metric: Its name.
        sizes: Numbers of labelled queries, ascending; the first is 0, nothing fitted.
        per_query: (sizes, test queries) float64, the metric of every test query, mean over the repeats.
        seed: Seed of the subsets and of the resamples.
    """

    metric: str
    sizes: tuple[int, ...]
    per_query: NDArray[np.float64]
    seed: int

    @property
    def means(self) -> NDArray[np.float64]:
        """(sizes,) float64: the metric at each size, in [0, 1]."""
        means: NDArray[np.float64] = self.per_query.mean(axis=1)
        return means

    def forecast(self, more: int = 200, confidence: float = 0.9, resamples: int = 500) -> Forecast:
        """Say what more labels of the same kind would buy.

        The last sizes are fitted by a - b n^-c for several rates c, on resampled test queries; the interval holds the
        spread of both. It says nothing of labels of another kind.

        Args:
            more: How many more labelled queries.
            confidence: Level of the interval, between 0 and 1.
            resamples: Resamples of the test queries.

        Raises:
            InputError: If ``more`` or ``confidence`` is out of range.
        """
        if more < 1 or not 0 < confidence < 1:
            raise InputError(f"more must be 1 or more and confidence between 0 and 1; got {more} and {confidence}")
        rng = np.random.default_rng(self.seed)
        sizes = np.array(self.sizes[1:], np.float64)
        gains = []
        for _ in range(resamples):
            drawn = rng.integers(0, self.per_query.shape[1], self.per_query.shape[1])
            values = self.per_query[1:, drawn].mean(axis=1)
            gains += [_rise(sizes, values, rate, more) for rate in _RATES]
        low, middle, high = np.quantile(gains, [(1 - confidence) / 2, 0.5, (1 + confidence) / 2]).tolist()
        return Forecast(more, middle, low, high, confidence)

    def __str__(self) -> str:
        """Show sizes and means, and what as many labels again would buy."""
        lines = [f"{'labelled queries':>16}  {metric_name(self.metric)}"]
        lines += [
            f"{size:>16,}  {percent(mean):>7}" for size, mean in zip(self.sizes, self.means.tolist(), strict=True)
        ]
        return "\n".join([*lines, str(self.forecast())])

    def _repr_html_(self) -> str:
        forecast = self.forecast()
        rise = forecast.low, forecast.gain, forecast.high
        return fragment(
            learning_chart(self.metric, self.sizes, self.means.tolist(), forecast.more, rise),
            element("p", str(forecast)),
        )


def learning_curve(
    train: RetrievalDataset,
    test: RetrievalDataset,
    *,
    document_vectors: Any,
    query_vectors: Any,
    test_query_vectors: Any,
    metric: str = "ndcg@10",
    method: Literal["auto", "nudge"] = "auto",
    sizes: Sequence[int] | None = None,
    repeats: int = 2,
    seed: int = 0,
    ignore_identical_ids: bool = False,
) -> LearningCurve:
    """Fit on fewer labels than there are, and see what each size is worth on the test queries.

    It takes ``repeats`` fits a size; five sizes and two repeats cost about five times what one fit on all labels does.

    Args:
        train: Labelled queries.
        test: Other labelled queries about the same documents.
        document_vectors: (n, d) base vectors, in the order of ``train.document_ids``.
        query_vectors: (m, d), in the order of ``train.query_ids``.
        test_query_vectors: (t, d), in the order of ``test.query_ids``.
        metric: What is maximised and measured.
        method: ``"auto"``, or ``"nudge"`` for nudges alone, which is faster.
        sizes: Numbers of labelled queries; None for an eighth, a quarter, a half, three quarters and all.
        repeats: Random subsets of each size.
        seed: Seed of the subsets.
        ignore_identical_ids: As in `fit`: no query finds the document that has its id.

    Returns:
        The curve; ``forecast(200)`` says what 200 more labels would buy.

    Raises:
        InputError: If there are too few labels, ``method``, ``repeats`` or a size is none that there can be, or vectors
            do not fit.
    """
    if method not in ("auto", "nudge") or repeats < 1:
        raise InputError(f'method must be "auto" or "nudge" and repeats 1 or more; got {method!r} and {repeats}')
    ids = train.document_ids
    if list(test.document_ids) != list(ids):
        raise InputError("train and test must be over the same documents, in the same order")
    total = len(train.queries)
    shares = [round(total * share) for share in (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)]
    chosen = sorted(set(sizes if sizes is not None else [size for size in shares if size >= _FEWEST]))
    if len(chosen) < 2 or chosen[0] < 1 or chosen[-1] > total:
        raise InputError(f"a curve needs two sizes or more between 1 and {total:,} labelled queries; got {chosen}")
    base, learned, asked = (
        unit_rows(side, "vectors") for side in (document_vectors, query_vectors, test_query_vectors)
    )
    row_of = {document: row for row, document in enumerate(ids)}
    ignored = np.array([row_of.get(query, -1) for query in train.queries]) if ignore_identical_ids else None
    task = _Task(test, base, learned, asked, train.relevance(document_ids=ids), metric, method, seed, ignored)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(total) for _ in range(repeats)]
    scores = [task.scores(None)]
    for size in chosen:
        drawn = [np.sort(order[:size]) for order in (orders if size < total else orders[:1])]
        scores.append(np.mean([task.scores(rows) for rows in drawn], axis=0))
    return LearningCurve(metric, (0, *chosen), np.array(scores), seed)


@dataclass(frozen=True, eq=False)
class _Task:
    """The data and settings that all fits of a curve share."""

    test: RetrievalDataset
    documents: NDArray[np.float32]
    queries: NDArray[np.float32]
    asked: NDArray[np.float32]
    relevance: sparse.csr_array
    metric: str
    method: str
    seed: int
    ignored: NDArray[np.int64] | None

    def scores(self, rows: NDArray[np.int64] | None) -> NDArray[np.float64]:
        """Return the metric of every test query after a fit to some labelled queries; None fits nothing."""
        documents, asked, similarity = self.documents, self.asked, "cosine"
        if rows is not None:
            candidates = ("nudge",) if self.method == "nudge" else CANDIDATES
            given = documents, self.queries[rows], self.relevance[rows]
            ignored = None if self.ignored is None else self.ignored[rows]
            solution = select(*given, candidates=candidates, metric=self.metric, seed=self.seed, ignored=ignored)
            documents, similarity = solution.apply(documents), solution.similarity
            asked = map_queries(solution.query_map, asked.shape[1], asked)
        index = ExactIndex(self.test.document_ids, documents, similarity="dot" if similarity == "dot" else "cosine")
        alone = self.ignored is not None
        found = evaluate((index, asked), self.test, (self.metric,), ignore_identical_ids=alone)
        per_query = found.per_query[self.metric]
        return np.array([per_query[query] for query in self.test.query_ids])


def _rise(sizes: NDArray[np.float64], values: NDArray[np.float64], rate: float, more: int) -> float:
    """Return by how much a - b n^-c rises from the last size on; never below zero."""
    x = sizes**-rate
    centred = x - x.mean()
    slope = min(0.0, float(centred @ values) / float(centred @ centred))
    return slope * (float((sizes[-1] + more) ** -rate) - float(sizes[-1] ** -rate))
