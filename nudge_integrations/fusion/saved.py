"""Checks of a saved lexical index before bm25s, which makes none, computes with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_saved"]


def check_saved(names: Any, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Check that ids, tokens and numbers fit together.

    Raises:
        ValueError: If they cannot be an index.
    """
    ids, tokens = names["ids"], names["tokens"]
    for name, texts in (("ids", ids), ("tokens", tokens)):
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"the {name} are no list of texts")
        if len(set(texts)) != len(texts):
            raise ValueError(f"one of the {name} is there twice")
    for name, kind in (("tokens", np.integer), ("lengths", np.integer), ("data", np.floating)):
        if name in tensors and (tensors[name].ndim != 1 or not np.issubdtype(tensors[name].dtype, kind)):
            raise ValueError(f"{name} has another shape or type")
    lengths = tensors["lengths"]
    if len(lengths) != len(ids) or (lengths < 0).any() or lengths.sum() != len(tensors["tokens"]):
        raise ValueError(f"{len(ids)} ids, {len(lengths)} lengths and {len(tensors['tokens'])} tokens do not fit")
    _check_range(tensors["tokens"], len(tokens), "tokens")
    if "data" in tensors:
        _check_scores(tensors["data"], tensors["indices"], tensors["indptr"], len(ids))


def _check_scores(data: NDArray[Any], indices: NDArray[Any], starts: NDArray[Any], documents: int) -> None:
    if indices.shape != data.shape or starts.ndim != 1 or not len(starts) or not np.isfinite(data).all():
        raise ValueError("the scores are no sparse matrix of numbers")
    _check_range(indices, documents, "indices")
    _check_range(starts, len(data) + 1, "indptr")
    if (np.diff(starts) < 0).any() or starts[0] != 0 or starts[-1] != len(data):
        raise ValueError("the rows of the scores do not follow each other")


def _check_range(numbers: NDArray[Any], end: int, name: str) -> None:
    if not np.issubdtype(numbers.dtype, np.integer) or (len(numbers) and not 0 <= numbers.min() <= numbers.max() < end):
        raise ValueError(f"{name} are no whole numbers from 0 to {end - 1}")
