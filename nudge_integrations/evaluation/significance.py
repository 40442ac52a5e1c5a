"""Paired confidence intervals and significance tests over queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr, ndtri

from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Difference", "holm", "paired_differences"]

# Numbers (counts or signs, 8 bytes each) in one block of resamples.
_BLOCK_NUMBERS = 2**20

# Values of a metric are in [0, 1]; what differs by less differs by rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Difference:
    """How a metric differs between two rankings of the same queries, and how sure that is.

    Attributes:
        metric: Its name, such as ``"ndcg@10"``.
        before: Mean over the queries, in [0, 1].
        after: The same with the other ranking.
        difference: after - before.
        low: Lower end of the difference's confidence interval.
        high: Its upper end.
        p_value: How often chance alone, which is as likely to favour the one as the other on each query, gives a mean
            difference of this size or more in either direction.
        p_adjusted: The same after Holm's correction for all the metrics (and groups) that were tested together.
        wins: Queries with a larger value after.
        losses: Queries with a smaller value.
        ties: Queries with the same value.
    """

    metric: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    p_value: float
    p_adjusted: float
    wins: int
    losses: int
    ties: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, ready for JSON."""
        return asdict(self)


def paired_differences(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    metrics: Sequence[str],
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Difference]:
    """Compare values of the same queries.

    The interval is the paired bootstrap's over queries, bias-corrected and accelerated (BCa; Efron, "Better bootstrap
    confidence intervals", JASA 1987), as in ``scipy.stats.bootstrap``, with the same resamples for all metrics. The
    test flips the signs of the queries' differences (Fisher's randomisation test), as in
    ``scipy.stats.permutation_test(permutation_type="samples")``: exact over all 2^c flips of the c queries that differ
    where these are no more than the resamples, else (1 + flips as extreme) / (1 + resamples). Both in blocks, so that
    10,000 queries need 10,000 resamples in seconds and some 50 MB.

    Args:
        before: (n, c) float64, n >= 1 queries and c metrics.
        after: (n, c) float64, the same queries.
        metrics: c names.
        resamples: Number of resamples, for the interval and for the test.
        confidence: Level of the interval, between 0 and 1.
        seed: Seed of the resamples.

    Returns:
        Metric -> difference, not yet corrected for several metrics: ``p_adjusted`` is ``p_value``; see `holm`.

    Raises:
        InputError: If resamples < 1 or confidence is not between 0 and 1.

    >>> a, b = np.array([[0.0], [0.5], [0.0], [1.0]]), np.array([[1.0], [1.0], [0.5], [1.0]])
    >>> mrr = paired_differences(a, b, ["mrr@10"])["mrr@10"]
    >>> mrr.difference, mrr.wins, mrr.losses, mrr.ties, mrr.p_value
    (0.5, 3, 0, 1, 0.25)
    """
    if resamples < 1 or not 0 < confidence < 1:
        raise InputError(
            f"resamples must be at least 1 and confidence between 0 and 1; got {resamples!r} and {confidence!r}"
        )
    change = after - before
    change[np.abs(change) < _ROUNDING] = 0.0
    drawn = _resampled_means(change, resamples, np.random.default_rng([seed, 0]))
    differences = {}
    for column, metric in enumerate(metrics):
        values = change[:, column]
        low, high = _interval(values, drawn[:, column], confidence)
        p_value = _sign_flip_p_value(values[values != 0], resamples, np.random.default_rng([seed, 1]))
        differences[metric] = Difference(
            metric=metric,
            before=float(before[:, column].mean()),
            after=float(after[:, column].mean()),
            difference=float(values.mean()),
            low=low,
            high=high,
            p_value=p_value,
            p_adjusted=p_value,
            wins=int((values > 0).sum()),
            losses=int((values < 0).sum()),
            ties=int((values == 0).sum()),
        )
    return differences


def holm(families: Iterable[Mapping[str, Difference]]) -> list[dict[str, Difference]]:
    """Correct the p-values of differences that are looked at together, so that any false alarm is as rare as one.

    The i-th smallest of t p-values becomes the largest of (t - j + 1) p_j over j <= i, at most 1 (Holm, "A simple
    sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979).

    Args:
        families: Differences by metric, such as one mapping for each group of queries.

    Returns:
        The same with ``p_adjusted``.
    """
    given = [dict(family) for family in families]
    places = sorted(
        ((number, metric) for number, family in enumerate(given) for metric in family),
        key=lambda place: given[place[0]][place[1]].p_value,
    )
    adjusted = 0.0
    for rank, (number, metric) in enumerate(places):
        difference = given[number][metric]
        adjusted = min(1.0, max(adjusted, (len(places) - rank) * difference.p_value))
        given[number][metric] = replace(difference, p_adjusted=adjusted)
    return given


def _resampled_means(change: NDArray[np.float64], resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (resamples, c) means of n queries drawn with replacement."""
    n = len(change)
    means = np.empty((resamples, change.shape[1]))
    for start, size in _blocks(resamples, n):
        picks = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(picks.ravel(), minlength=size * n).reshape(size, n)
        means[start : start + size] = counts.astype(np.float64) @ change / n
    return means


def _interval(values: NDArray[np.float64], means: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return the BCa interval of the mean, for which the jackknife's acceleration has a closed form."""
    mean = float(values.mean())
    away = values - mean
    squares = float((away**2).sum())
    if squares <= len(values) * _ROUNDING**2:
        return mean, mean
    half = 0.5 / len(means)
    below = (means < mean - _ROUNDING).mean() + (np.abs(means - mean) <= _ROUNDING).mean() / 2
    bias = ndtri(np.clip(below, half, 1 - half))
    acceleration = float((away**3).sum()) / (6 * squares**1.5)
    shifted = bias + ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(means, ndtr(bias + shifted / (1 - acceleration * shifted)))
    return float(low), float(high)


def _sign_flip_p_value(differing: NDArray[np.float64], resamples: int, rng: np.random.Generator) -> float:
    """Return the two-sided p-value of the sum of the differences that are not 0; ties change no sum."""
    count = len(differing)
    observed = abs(float(differing.sum())) - _ROUNDING
    exact = count < resamples.bit_length() and 2**count <= resamples
    total = 2**count if exact else resamples
    extreme = 0
    for start, size in _blocks(total, count):
        if exact:
            flips = ((np.arange(start, start + size)[:, None] >> np.arange(count)) & 1).astype(np.float64)
        else:
            drawn = rng.integers(256, size=(size, (count + 7) // 8), dtype=np.uint8)
            flips = np.unpackbits(drawn, axis=1, count=count).astype(np.float64)
        sums = differing.sum() - 2 * (flips @ differing)
        extreme += int((np.abs(sums) >= observed).sum())
    return extreme / total if exact else (1 + extreme) / (1 + total)


def _blocks(total: int, width: int) -> Iterator[tuple[int, int]]:
    size = max(1, _BLOCK_NUMBERS // max(1, width))
    return ((start, min(size, total - start)) for start in range(0, total, size))
