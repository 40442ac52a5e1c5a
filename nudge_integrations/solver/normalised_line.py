"""NUDGE-M+N: a line brought back to the unit sphere. Its scores cross where a quartic has its roots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.solver.path import Scalars, Sphere, Unbounded, columns, unit

__all__ = ["NormalisedLine"]


@dataclass(frozen=True)
class NormalisedLine(Unbounded, Sphere):
    """NUDGE-M+N: D + t T brought back to unit length; an arc with an angle schedule of each document's own."""

    def blend(self, cosine: torch.Tensor, parameter: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (1 - x) / length and x / length."""
        left = 1.0 - parameter
        length = torch.sqrt((left**2 + parameter**2 + 2.0 * left * parameter * cosine).clamp_min(1e-30))
        return left / length, parameter / length

    def coefficients(self, base: Scalars, end: Scalars, cosine: Scalars) -> Scalars:
        """Return base, end and the cosine of the angle between them."""
        return np.stack([base, end, cosine])

    def score(self, coefficients: Scalars, parameter: Scalars) -> Scalars:
        """Return ((1 - x) base + x end) / |(1 - x) D + x T|."""
        base, end, cosine = columns(coefficients, parameter)
        left = 1.0 - parameter
        length = np.sqrt(left**2 + 2.0 * left * parameter * cosine + parameter**2)
        scores: Scalars = (left * base + parameter * end) / length
        return scores

    def turned(self, coefficients: Scalars, parameter: float) -> Scalars:
        """Return the angle of (1 - x) D + x T from D."""
        cosine = coefficients[2]
        sine = np.sqrt(np.maximum(1.0 - cosine**2, 0.0))
        angle: Scalars = np.arctan2(parameter * sine, 1.0 - parameter + parameter * cosine)
        return angle

    def cross_once(self, one: Scalars, other: Scalars, begin: float, end: float) -> NDArray[np.bool_]:
        """Return False throughout: two such curves may cross up to four times."""
        return np.zeros(one.shape[1], dtype=bool)

    def crossings(self, one: Scalars, other: Scalars) -> Scalars:
        """Return the four roots of score^2 = score^2, a quartic; the search keeps those where the order changes."""
        quartic = _product(_square(one), _length(other)) - _product(_square(other), _length(one))
        scale = np.abs(quartic).max(axis=1, keepdims=True)
        quartic = np.divide(quartic, scale, out=np.zeros_like(quartic), where=scale > 0)
        # A vanishing leading coefficient is a root at infinity; a tiny one puts it far away instead.
        lead = np.where(np.abs(quartic[:, :1]) < 1e-12, 1e-12, quartic[:, :1])
        companion = np.zeros((len(quartic), 4, 4))
        companion[:, 0, :] = -quartic[:, 1:] / lead
        companion[:, [1, 2, 3], [0, 1, 2]] = 1.0
        roots = np.linalg.eigvals(companion)
        # Where curves touch, rounding makes a complex pair of a double root; a root too many does no harm.
        return np.where(np.abs(roots.imag) < 1e-3, roots.real, np.nan)

    def place(self, documents: torch.Tensor, targets: torch.Tensor, step: float) -> torch.Tensor:
        """Return unit(D + t T)."""
        return unit(documents + step * targets)


def _square(coefficients: Scalars) -> Scalars:
    """Return ((1 - x) base + x end)^2 as coefficients of x^2, x, 1."""
    rise, base = coefficients[1] - coefficients[0], coefficients[0]
    return np.stack([rise**2, 2.0 * rise * base, base**2], axis=1)


def _length(coefficients: Scalars) -> Scalars:
    """Return |(1 - x) D + x T|^2 as coefficients of x^2, x, 1."""
    bend = 2.0 - 2.0 * coefficients[2]
    return np.stack([bend, -bend, np.ones_like(bend)], axis=1)


def _product(left: Scalars, right: Scalars) -> Scalars:
    """Return the product of two quadratics as coefficients of x^4 ... 1."""
    out = np.zeros((len(left), 5))
    for power in range(3):
        out[:, power : power + 3] += left[:, power : power + 1] * right
    return out
