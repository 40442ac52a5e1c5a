"""Clicks weighted by the inverse of how likely anybody looks at a position.

People click what stands first, so clicks alone teach the ranking that they came from. Each click counts 1 / p_r, with
p_r how likely position r is looked at beside the first. Three ways to know p, the best that the log allows:

1. results that were shuffled before they were shown: clicks over impressions at each position;
2. one document shown for one query at several positions: p_r = r^-eta, eta the most likely given where such pairs were
   clicked (each pair is its own control, so its relevance drops out);
3. else eta = 1, and the reason says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["PositionWeights", "Shown"]

# Fewer clicks than this tell nothing about positions.
_FEWEST = 50
# Nobody looks further than this; what a log says of further positions counts as said of this one.
_DEEPEST = 9_999


@dataclass(frozen=True)
class Shown:
    """One document that was shown for one query.

    Attributes:
        query: The text of the query.
        document: The id of the document.
        position: Where, from 0.
        clicked: Whether it was clicked.
        shuffled: Whether the results were in random order.
        time: When, as ISO 8601 text.
        source: Which log says so.
    """

    query: str
    document: str
    position: int
    clicked: bool = False
    shuffled: bool = False
    time: str = ""
    source: str = ""


@dataclass(frozen=True)
class PositionWeights:
    """How much a click at each position counts.

    Attributes:
        propensity: How likely each position is looked at, the first of them 1; further ones are as the last.
        eta: The exponent, where p_r = r^-eta; None where p was read off shuffled results.
        clip: The smallest propensity that is believed.
        reason: Where it comes from, in words.
        effective_sample_size: How many equal clicks the weighted ones are worth: (sum w)^2 / sum w^2.

    Example:
        >>> shown = [Shown("q", "d", 0, clicked=True), Shown("q", "e", 3, clicked=True)]
        >>> weights = PositionWeights.of(shown)
        >>> weights.eta, weights.weight(0), weights.weight(3), round(weights.effective_sample_size, 2)
        (1.0, 1.0, 4.0, 1.47)
    """

    propensity: tuple[float, ...]
    eta: float | None
    clip: float
    reason: str
    effective_sample_size: float

    def weight(self, position: int) -> float:
        """Return how much a click at a position (from 0) counts."""
        return 1.0 / max(self.propensity[min(position, len(self.propensity) - 1)], self.clip)

    @classmethod
    def of(cls, shown: Sequence[Shown], *, clip: float = 0.1) -> PositionWeights:
        """Estimate weights from what was shown and clicked."""
        shown = [one if one.position <= _DEEPEST else replace(one, position=_DEEPEST) for one in shown]
        depth = max((one.position for one in shown), default=0) + 1
        shuffled = [one for one in shown if one.shuffled]
        eta: float | None = None
        if sum(one.clicked for one in shuffled) >= _FEWEST:
            propensity, reason = _by_shuffling(shuffled, depth), f"from {len(shuffled):,} shuffled impressions"
        else:
            eta, reason = _eta_by_swaps(shown)
            propensity = np.arange(1.0, depth + 1.0) ** -eta
        drawn = np.array([1.0 / max(propensity[one.position], clip) for one in shown if one.clicked])
        size = float(drawn.sum() ** 2 / (drawn**2).sum()) if len(drawn) else 0.0
        return cls(tuple(float(p) for p in propensity), eta, clip, reason, size)


def _by_shuffling(shown: Sequence[Shown], depth: int) -> NDArray[np.float64]:
    """Return clicks over impressions beside those of the first position, smoothed, and never rising."""
    clicks, seen = np.zeros(depth), np.zeros(depth)
    for one in shown:
        seen[one.position] += 1
        clicks[one.position] += one.clicked
    rate = (clicks + clicks.sum() / seen.sum()) / (seen + 1.0)
    falling: NDArray[np.float64] = np.minimum.accumulate(rate / rate[0])
    return falling


def _eta_by_swaps(shown: Sequence[Shown]) -> tuple[float, str]:
    """Return the most likely eta of p_r = r^-eta, by pairs that were shown at several positions; 1 where few were."""
    pairs: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for one in shown:
        counts = pairs[one.query, one.document][one.position]
        counts[0] += 1
        counts[1] += one.clicked
    moved = [places for places in pairs.values() if len(places) > 1 and sum(c for _, c in places.values()) > 0]
    clicks = sum(count for places in moved for _, count in places.values())
    if clicks < _FEWEST:
        return 1.0, f"eta = 1 is assumed: only {clicks} clicks on documents that one query showed at several positions"
    grid = np.linspace(0.0, 3.0, 301)
    likelihood = np.zeros(len(grid))
    for places in moved:
        rank = np.array([position + 1.0 for position in places])
        seen, hit = np.array(list(places.values()), dtype=np.float64).T
        expected = seen[:, None] * rank[:, None] ** -grid
        likelihood += hit @ np.log(expected / expected.sum(axis=0))
    eta = float(grid[np.argmax(likelihood)])
    return eta, f"eta = {eta:.2f} from {clicks:,} clicks on documents that one query showed at several positions"
