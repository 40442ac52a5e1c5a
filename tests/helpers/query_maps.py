"""Nudges that map queries, made by hand: nothing is fitted."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nudge_integrations import Nudge


def mapped(nudge: Nudge) -> Nudge:
    """The same moves, and a map that turns every query far; it is not symmetric, so its transpose is another."""
    random = np.random.default_rng(0).standard_normal((nudge.dimension, nudge.dimension))
    return dataclasses.replace(nudge, query_map=(random / np.sqrt(nudge.dimension)).astype(np.float32))


def map_alone(nudge: Nudge) -> Nudge:
    """The map alone: no document moves."""
    still: dict[str, Any] = {"ids": (), "text_hashes": (), "vectors": nudge.vectors[:0], "base": nudge.base[:0]}
    still |= {"ambiguous_texts": {}, "similarity": "cosine", "method": "ridge", "step": 0.0, "temperature": None}
    return dataclasses.replace(mapped(nudge), **still)


def asked(nudge: Nudge, queries: Any) -> NDArray[np.float64]:
    """Map (m, d) base vectors of queries by the formula: unit(q + q M) for unit q."""
    rows = np.array(queries, dtype=np.float64)
    if nudge.query_map is None:
        return rows
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows += rows @ nudge.query_map
    turned: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return turned
