r"""The contrastive ridge taken in several steps: each looks at the softmax again from where the last one led.

M <- M + u c K Q^T (Ybar - softmax((Q + Q M) D^T / tau)) D P, from M = 0. Each teaching query is followed as the map
without it moves it, so that its responses say what is still missing for new queries. The responses of all steps add up
to those of one ridge, which the closed forms of `nudge_integrations.query_map.ridge` then serve.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.query_map.ridge import Regression, RidgeMaps, Setting
from nudge_integrations.solver.labels import group_codes

__all__ = ["iterated_responses"]

# Documents in the softmax: every step takes it anew, so that they are fewer than for one step.
_SUPPORT = 2048

# The strength of a step. One serves all collections: how many steps are taken is what makes a map strong.
_STRENGTH = 0.25


def iterated_responses(
    maps: RidgeMaps, setting: Setting, temperature: float, block_bytes: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield after each step the summed responses (t, d) of all queries, and those learned from each cluster alone.

    Args:
        maps: The teaching queries, and the whitening.
        setting: Whitening and penalty of every step.
        temperature: tau of the softmax.
        block_bytes: Bound on the temporary memory.
    """
    everything = [(np.arange(len(maps.teaching.rows)), maps.whole)]
    clusters = [(np.flatnonzero(maps.teaching.clusters == code), part) for code, part in maps.by_cluster.items()]
    parts = (everything, clusters)
    yield from zip(*(_steps(maps, setting, temperature, part, block_bytes) for part in parts), strict=True)


def _steps(
    maps: RidgeMaps,
    setting: Setting,
    temperature: float,
    parts: list[tuple[NDArray[np.int64], Regression]],
    block_bytes: int,
) -> Iterator[torch.Tensor]:
    """Yield the summed responses (t, d) after each step, learned within each part of the queries."""
    teaching = maps.teaching.reduced(_SUPPORT, maps.seed)
    groups = [group_codes(teaching.groups[rows]) for rows, _ in parts]
    total, shifts = torch.zeros_like(teaching.queries), torch.zeros_like(teaching.queries)
    while True:
        found = teaching.residuals(teaching.queries + shifts, [temperature], block_bytes)[temperature]
        total = total + found
        for (rows, regression), codes in zip(parts, groups, strict=True):
            at = torch.from_numpy(rows)
            left_out = regression.left_out(total[at], setting.penalty, codes, np.arange(len(rows)))
            shifts[at] = _STRENGTH * maps.scale(setting) * maps.whitened(left_out, setting.whitening)
        yield total
