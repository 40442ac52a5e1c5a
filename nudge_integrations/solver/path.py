r"""How a document gets to where it should go, and what a query scores along the way.

A document D and its target T (unit vectors, an angle ``phi`` apart) span a plane; every path stays in it. What a query
scores on the way therefore needs two coefficients only, its score ``base`` with D and ``end`` with T:

======================  ====================================  ==========================================  ==========
path                    where the document is                 score at parameter x                        x and step
======================  ====================================  ==========================================  ==========
``Line`` (NUDGE-M, -S)  D + t T                               (1 - x) base + x end, times 1 + t           x = t/(1+t)
``Arc`` (NUDGE-N)       D turned towards T by min(t, phi)     base cos + slope sin of min(x, phi)         x = t
``NormalisedLine`` (M+N)  D + t T, made unit length           ((1 - x) base + x end) / length             x = t/(1+t)
======================  ====================================  ==========================================  ==========

On a line every score is divided by 1 + t, which leaves each ranking alone and makes the parameter end at 1 where the
step is infinite; a document that rests then runs from ``base`` to 0. Source: NUDGE (arXiv 2409.02343), sections 3 and
4; the interpolation form is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Arc", "Line", "Path", "Scalars", "SparseLine", "Sphere", "Strength", "Unbounded", "columns", "unit"]

Scalars = NDArray[np.float64]

# Below this sine a document and its target span no plane: it is there already, or exactly opposite.
_NO_PLANE = 1e-5

# Below this angle an arc and its chord differ by less than float32 tells.
_SMALL_ANGLE = 0.01


class Path(Protocol):
    """How scores change along a step; ``coefficients`` are the (R, N) coefficients that describe N scores along it."""

    similarity: ClassVar[Literal["cosine", "dot"]]
    limit: ClassVar[float]

    def parameter(self, step: float) -> float:
        """Return the parameter x of a step t."""

    def end(self, cosine: Scalars) -> float:
        """Return the parameter after which no document moves, given the cosines between documents and targets."""

    def steps(self, parameters: Scalars) -> Scalars:
        """Return the steps t at parameters x."""

    def aim(self, sums: torch.Tensor) -> torch.Tensor:
        """Return unit targets for directions (u, d); a zero row stays zero."""

    def moves(self, cosine: Scalars) -> NDArray[np.bool_]:
        """Return which documents can move, given the cosine between each and its target."""

    def rest(self, base: torch.Tensor) -> torch.Tensor:
        """Return the ``end`` of documents that do not move."""

    def spread(self, cosine: torch.Tensor) -> torch.Tensor:
        """Return how much a score may exceed the larger of ``base`` and ``end`` on the way, as a factor >= 1."""

    def blend(self, cosine: torch.Tensor, parameter: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a and b, so that the score at a parameter is a base + b end."""

    def coefficients(self, base: Scalars, end: Scalars, cosine: Scalars) -> Scalars:
        """Return the (R, N) coefficients from which everything below works."""

    def score(self, coefficients: Scalars, parameter: Scalars) -> Scalars:
        """Return scores of coefficients (R, N) at one parameter, or at parameters (N, P)."""

    def turned(self, coefficients: Scalars, parameter: float) -> Scalars:
        """Return angles whose difference bounds how far documents turn between two parameters; 0 on a line."""

    def cross_once(self, one: Scalars, other: Scalars, begin: float, end: float) -> NDArray[np.bool_]:
        """Return which pairs of paths surely cross at most once between two parameters."""

    def crossings(self, one: Scalars, other: Scalars) -> Scalars:
        """Return (N, R) parameters among which every crossing of two paths is; NaN where there are fewer than R."""

    def place(self, documents: torch.Tensor, targets: torch.Tensor, step: float) -> torch.Tensor:
        """Return where unit documents (u, d) are at a step."""


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Make rows unit length; zero rows stay zero."""
    return torch.nn.functional.normalize(vectors, dim=1, eps=1e-30)


def columns(coefficients: Scalars, parameter: Scalars) -> Scalars:
    """Make coefficients of N paths fit parameters (N, P)."""
    return coefficients[:, :, None] if parameter.ndim == 2 else coefficients


class Unbounded:
    """Shared by `Line` and `NormalisedLine`: a step t >= 0 without end, searched as x = t / (1 + t)."""

    limit: ClassVar[float] = 1.0

    def parameter(self, step: float) -> float:
        """Return x = t / (1 + t)."""
        return step / (1.0 + step)

    def end(self, cosine: Scalars) -> float:
        """Return 1, where the step is infinite."""
        return self.limit

    def steps(self, parameters: Scalars) -> Scalars:
        """Return t = x / (1 - x)."""
        with np.errstate(divide="ignore"):
            return np.divide(parameters, 1.0 - parameters)


@dataclass(frozen=True)
class Line(Unbounded):
    """NUDGE-M: D + t T. Lengths change, so only the inner product ranks as intended."""

    similarity: ClassVar[Literal["cosine", "dot"]] = "dot"

    def aim(self, sums: torch.Tensor) -> torch.Tensor:
        """Return the directions at unit length."""
        return unit(sums)

    def moves(self, cosine: Scalars) -> NDArray[np.bool_]:
        """Return True throughout: a line needs no plane."""
        return np.ones(cosine.shape, dtype=bool)

    def rest(self, base: torch.Tensor) -> torch.Tensor:
        """Return zeros: scores are divided by 1 + t."""
        return torch.zeros_like(base)

    def spread(self, cosine: torch.Tensor) -> torch.Tensor:
        """Return ones: a linear score is largest at an end."""
        return torch.ones_like(cosine)

    def blend(self, cosine: torch.Tensor, parameter: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return 1 - x and x."""
        ends = torch.ones_like(cosine)
        return (1.0 - parameter) * ends, parameter * ends

    def coefficients(self, base: Scalars, end: Scalars, cosine: Scalars) -> Scalars:
        """Return base and end."""
        return np.stack([base, end])

    def score(self, coefficients: Scalars, parameter: Scalars) -> Scalars:
        """Return (1 - x) base + x end."""
        base, end = columns(coefficients, parameter)
        scores: Scalars = (1.0 - parameter) * base + parameter * end
        return scores

    def turned(self, coefficients: Scalars, parameter: float) -> Scalars:
        """Return zero: a score is linear in the parameter."""
        return np.zeros(())

    def cross_once(self, one: Scalars, other: Scalars, begin: float, end: float) -> NDArray[np.bool_]:
        """Return True throughout."""
        return np.ones(one.shape[1], dtype=bool)

    def crossings(self, one: Scalars, other: Scalars) -> Scalars:
        """Return the one root of a difference of lines."""
        base, end = one - other
        with np.errstate(divide="ignore", invalid="ignore"):
            root: Scalars = base / (base - end)
        return root[:, None]

    def place(self, documents: torch.Tensor, targets: torch.Tensor, step: float) -> torch.Tensor:
        """Return D + t T."""
        return documents + step * targets


@dataclass(frozen=True)
class SparseLine(Line):
    """NUDGE-S: the bound is on the sum of absolute changes, so one coordinate moves: the direction's largest."""

    def aim(self, sums: torch.Tensor) -> torch.Tensor:
        """Return sign(G_k) e_k with k = argmax |G_k|."""
        largest = sums.abs().argmax(dim=1, keepdim=True)
        return torch.zeros_like(sums).scatter_(1, largest, sums.gather(1, largest).sign())


@dataclass(frozen=True)
class Strength(Line):
    """A query map's strength: unit(q + u l) with 0 <= u <= 2.

    The length of q + u l is the same for every document, so documents rank by q.D + u l.D: a line with the shift's
    score l.D as its end.
    """

    limit: ClassVar[float] = 2.0 / 3.0


class Sphere:
    """Shared by `Arc` and `NormalisedLine`: unit vectors throughout, from D to T in their plane."""

    similarity: ClassVar[Literal["cosine", "dot"]] = "cosine"

    def aim(self, sums: torch.Tensor) -> torch.Tensor:
        """Return the directions at unit length."""
        return unit(sums)

    def moves(self, cosine: Scalars) -> NDArray[np.bool_]:
        """Return False where a document is at its target already or exactly opposite: there is no plane to turn in."""
        return np.greater(1.0 - cosine**2, _NO_PLANE**2)

    def rest(self, base: torch.Tensor) -> torch.Tensor:
        """Return the base score."""
        return base

    def spread(self, cosine: torch.Tensor) -> torch.Tensor:
        """Return 1 / cos(phi / 2): on an arc of angle phi no score exceeds its larger end by more."""
        return torch.sqrt(2.0 / (1.0 + cosine).clamp_min(1e-30))


@dataclass(frozen=True)
class Arc(Sphere):
    """NUDGE-N: turn D towards T by the angle min(t, phi). The paper's gamma is the squared chord, 2 - 2 cos t."""

    limit: ClassVar[float] = math.pi

    def parameter(self, step: float) -> float:
        """Return the angle itself, at most pi."""
        return min(step, math.pi)

    def end(self, cosine: Scalars) -> float:
        """Return the largest angle between a document and its target."""
        return float(np.arccos(np.clip(cosine, -1.0, 1.0)).max(initial=0.0))

    def steps(self, parameters: Scalars) -> Scalars:
        """Return the angles themselves."""
        return parameters

    def blend(self, cosine: torch.Tensor, parameter: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return sin(phi - theta) / sin phi and sin(theta) / sin phi, with theta = min(x, phi)."""
        angle = torch.arccos(cosine.clamp(-1.0, 1.0))
        turned = angle.clamp(max=parameter)
        # Small angles blend in proportion: their sines are lost in float32.
        share = turned / angle.clamp_min(1e-30)
        small, sine = angle < _SMALL_ANGLE, torch.sin(angle).clamp_min(1e-30)
        base = torch.where(small, 1.0 - share, torch.sin(angle - turned) / sine)
        return base, torch.where(small, share, torch.sin(turned) / sine)

    def coefficients(self, base: Scalars, end: Scalars, cosine: Scalars) -> Scalars:
        """Return base, slope = (end - base cos phi) / sin phi, end, phi, and where in [0, pi) the score levels out."""
        moving = self.moves(cosine)
        sine = np.sqrt(np.maximum(1.0 - cosine**2, 0.0))
        slope = np.divide(end - base * cosine, sine, out=np.zeros_like(base), where=moving)
        angle = np.where(moving, np.arctan2(sine, cosine), 0.0)
        return np.stack([base, slope, np.where(moving, end, base), angle, np.arctan2(slope, base) % np.pi])

    def score(self, coefficients: Scalars, parameter: Scalars) -> Scalars:
        """Return base cos x + slope sin x, and ``end`` from phi on."""
        base, slope, end, angle, _ = columns(coefficients, parameter)
        scores: Scalars = np.where(parameter < angle, base * np.cos(parameter) + slope * np.sin(parameter), end)
        return scores

    def turned(self, coefficients: Scalars, parameter: float) -> Scalars:
        """Return x: no document turns further."""
        return np.array(parameter)

    def cross_once(self, one: Scalars, other: Scalars, begin: float, end: float) -> NDArray[np.bool_]:
        """Return True where both turn or both have arrived, or the one that still turns has no extremum in between."""
        turning, arrived = ([track[3] >= end for track in (one, other)], [track[3] <= begin for track in (one, other)])
        level = [(track[4] > begin) & (track[4] < end) for track in (one, other)]
        both = (turning[0] & turning[1]) | (arrived[0] & arrived[1])
        only_one = (arrived[0] & turning[1] & ~level[1]) | (arrived[1] & turning[0] & ~level[0])
        once: NDArray[np.bool_] = both | only_one
        return once

    def crossings(self, one: Scalars, other: Scalars) -> Scalars:
        """Return at most three roots: one while both turn, two while only the one with the larger angle does."""
        both = np.arctan2(other[0] - one[0], one[1] - other[1]) % np.pi
        one_last = one[3] >= other[3]
        base, slope = np.where(one_last, one[:2], other[:2])
        halted = np.where(one_last, other[2], one[2])
        with np.errstate(divide="ignore", invalid="ignore"):
            # Clipped, so that scores that only touch part there despite rounding; a root too many does no harm.
            away = np.arccos(np.clip(halted / np.hypot(base, slope), -1.0, 1.0))
        peak = np.arctan2(slope, base)
        return np.stack([both, (peak - away) % (2.0 * np.pi), (peak + away) % (2.0 * np.pi)], axis=1)

    def place(self, documents: torch.Tensor, targets: torch.Tensor, step: float) -> torch.Tensor:
        """Return D turned by min(t, phi) in the plane of D and T."""
        # The chord gives small angles without cancellation: |T - D| = 2 sin(phi / 2).
        chord = torch.linalg.vector_norm(targets - documents, dim=1, keepdim=True)
        turned = (2.0 * torch.asin((chord / 2.0).clamp(max=1.0))).clamp(max=step)
        cosine = (documents * targets).sum(dim=1, keepdim=True)
        sideways = unit(targets - cosine * documents)
        return unit(torch.cos(turned) * documents + torch.sin(turned) * sideways)
