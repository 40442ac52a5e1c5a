"""The exact curve of a ranking metric along a path, and the best step on it.

A metric is piecewise constant along a path, so its maximum is found among the rank changes, without a grid. The path
may be the one that documents take, or the strength of a query map: both are searched here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.solver.path import Path
from nudge_integrations.solver.rank_changes import RankChanges

__all__ = ["Bound", "Curve", "best_step", "curve_of", "first_step", "mixed"]

# A plateau narrower than this cannot be told from its neighbours once the vectors are float32.
_NARROWEST = 1e-5

# Sums of the same changes in another order differ by this much.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Curve:
    """A ranking metric along a path: exact and piecewise constant.

    Attributes:
        steps: (c,) float64, ascending, ``steps[0] == 0``: where the metric changes.
        values: (c,) float64: ``values[i]`` holds from ``steps[i]`` up to ``steps[i + 1]``, the last to the path's end.
        end: The last step of the path; infinite for a line.
    """

    steps: NDArray[np.float64]
    values: NDArray[np.float64]
    end: float

    def at(self, step: float) -> float:
        """Return the metric at a step of the path."""
        return float(self.values[np.searchsorted(self.steps, step, side="right") - 1])

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        return (
            f"Curve({len(self)} pieces over [0, {self.end:.4g}], from {self.values[0]:.4f} to {self.values.max():.4f})"
        )


@dataclass(frozen=True, eq=False)
class Bound:
    """A limit on the loss of other queries.

    Attributes:
        changes: Their metric along the path.
        loss: How far its mean may fall below that of step 0.
        standard_errors: How many standard errors of that difference count against it; below 0, how many it may lose.
    """

    changes: RankChanges
    loss: float
    standard_errors: float = 0.0


def mixed(seen: RankChanges, unseen: RankChanges | None, unseen_weight: float) -> RankChanges:
    """Return (1 - w) seen + w unseen."""
    if unseen is None or unseen_weight == 0.0:
        return seen
    parts = ((seen, 1.0 - unseen_weight), (unseen, unseen_weight))
    return RankChanges(
        np.sum([weight * part.start for part, weight in parts], axis=0),
        np.sum([weight * part.first for part, weight in parts], axis=0),
        np.concatenate([part.query for part, _ in parts]),
        np.concatenate([part.parameter for part, _ in parts]),
        np.concatenate([weight * part.change for part, weight in parts]),
    )


def best_step(path: Path, objective: RankChanges, bounds: Sequence[Bound] = (), end: float = 0.0) -> float:
    """Return the parameter of the middle of the widest plateau of the largest mean, 0 where that is as good.

    The width is measured in the path's own bounded parameter. Plateaus too narrow for float32 vectors do not count, and
    none where a bound is broken.

    Args:
        path: The path.
        objective: The metric of each query along it.
        bounds: What others may lose.
        end: The parameter after which nothing moves any more.
    """
    parameters, curve = curve_of(objective, path)
    values = curve.values
    if bounds:
        parameters, values = _within(path, parameters, values, bounds)
    # Without its own labels a document may turn further than ``end``; a line's parameter never exceeds 1.
    beyond = parameters[-1] + 2.0 * _NARROWEST if np.isfinite(curve.end) else path.limit
    width = np.diff(np.append(parameters, max(end, beyond)))
    values = np.where((width >= _NARROWEST) | (parameters == 0.0), values, -np.inf)
    best = values.max()
    if values[0] >= best - _ROUNDING:
        return 0.0
    widest = int(np.argmax(np.where(values >= best - _ROUNDING, width, 0.0)))
    return float(parameters[widest] + width[widest] / 2.0)


def first_step(path: Path, objective: RankChanges, best: float, short: float) -> float:
    """Return the first parameter, in the middle of its plateau, whose mean is at most ``short`` below that at ``best``.

    Plateaus too narrow for float32 vectors do not count.
    """
    parameters, curve = curve_of(objective, path)
    width = np.diff(np.append(parameters, best))
    enough = curve.values >= float(objective.at(best).mean()) - short
    found = np.flatnonzero(enough & (width >= _NARROWEST) & (parameters > 0.0))
    return float(parameters[found[0]] + width[found[0]] / 2.0) if len(found) else best


def _within(
    path: Path, parameters: NDArray[np.float64], values: NDArray[np.float64], bounds: Sequence[Bound]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the curve with -inf where a bound is broken."""
    for bound in bounds:
        curves = [curve_of(changes, path) for changes in (bound.changes, bound.changes.squared())]
        every = np.unique(np.concatenate([parameters, *(at for at, _ in curves)]))
        mean, square = (curve.values[np.searchsorted(at, every, side="right") - 1] for at, curve in curves)
        risen = mean - mean[0]
        error = np.sqrt(np.maximum(square - risen**2, 0.0) / max(1, len(bound.changes.start) - 1))
        values = values[np.searchsorted(parameters, every, side="right") - 1]
        values = np.where(risen - bound.standard_errors * error < -bound.loss, -np.inf, values)
        changed = np.append(True, values[1:] != values[:-1])
        parameters, values = every[changed], values[changed]
    return parameters, values


def curve_of(changes: RankChanges, path: Path) -> tuple[NDArray[np.float64], Curve]:
    """Return the parameters at which the mean metric changes, and the curve over the steps."""
    count = max(1, len(changes.start))
    # So close to the end of a line every step is out of float32's reach.
    within = np.flatnonzero(changes.parameter < path.limit - _NARROWEST)
    order = within[np.argsort(changes.parameter[within], kind="stable")]
    parameters, firsts = np.unique(changes.parameter[order], return_index=True)
    values = changes.first.sum() + np.cumsum(changes.change[order])
    last = np.append(firsts[1:], len(order))[: len(firsts)] - 1  # none where nothing ever changes
    values = np.concatenate([[changes.start.sum()], values[last]]) / count
    parameters = np.concatenate([[0.0], parameters])
    if changes.first.sum() != changes.start.sum():
        # Documents that tie at step 0 part right after it.
        parameters = np.insert(parameters, 1, np.nextafter(0.0, 1.0))
        values = np.insert(values, 1, changes.first.sum() / count)
    changed = np.concatenate([[True], np.abs(np.diff(values)) > _ROUNDING])
    parameters, values = parameters[changed], values[changed]
    return parameters, Curve(path.steps(parameters), values, float(path.steps(np.array(path.limit))))
