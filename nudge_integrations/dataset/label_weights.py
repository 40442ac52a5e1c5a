"""How much labels count, by the ids of their queries and documents; in memory, and in a file beside the labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nudge_integrations.dataset.retrieval_dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.storage import read_regular, write_atomically

__all__ = [
    "LabelWeights",
    "check_queries",
    "read_weights",
    "weight_of",
    "weights_of_labels",
    "weights_of_queries",
    "write_weights",
]

LabelWeights = Mapping[str, float | Mapping[str, float]]
"""Query id -> the weight of all its labels, or -> {document id: weight}. What is not named weighs 1."""

_LARGEST = 4 << 30  # bytes


def weight_of(weights: LabelWeights, query: str, document: str) -> float:
    """Return how much a label counts.

    >>> weight_of({"q": {"d": 0.5}}, "q", "d"), weight_of({"q": {"d": 0.5}}, "r", "d")
    (0.5, 1.0)
    """
    given = weights.get(query, 1.0)
    return given.get(document, 1.0) if isinstance(given, Mapping) else given


def weights_of_labels(dataset: RetrievalDataset, weights: LabelWeights | None) -> dict[tuple[str, str], float]:
    """Return (query id, document id) -> how much the label counts, of all labels of a dataset; empty where all count 1.

    Raises:
        InputError: If weights are about a query that the dataset does not have.

    >>> data = RetrievalDataset({"d": "tea"}, {"q": "?"}, {"q": {"d": 1}})
    >>> weights_of_labels(data, {"q": 0.5})
    {('q', 'd'): 0.5}
    """
    if weights is None or weights == {}:
        return {}
    check_queries(weights, dataset)
    labels = ((query, document) for query, grades in dataset.qrels.items() for document in grades)
    return {label: weight_of(weights, *label) for label in labels}


def check_queries(weights: LabelWeights, dataset: RetrievalDataset) -> None:
    """Refuse weights about queries that a dataset does not have.

    Raises:
        InputError: If there are any, or weights are no mapping.
    """
    if not isinstance(weights, Mapping):
        raise InputError(f"weights are query id -> a number, or -> {{document id: a number}}; got {weights!r:.80}")
    unknown = [query for query in weights if query not in dataset.queries]
    if unknown:
        raise InputError(f"weights: query {unknown[0]!r} is not in the dataset; use the ids of its queries")


def weights_of_queries(weights: LabelWeights | None, queries: Iterable[str]) -> LabelWeights | None:
    """Return the weights of some queries, such as those of one part of a split; None where there are no weights.

    >>> weights_of_queries({"q": 0.5, "r": 2.0}, ["q", "s"])
    {'q': 0.5}
    """
    return None if weights is None else {query: weights[query] for query in queries if query in weights}


def write_weights(weights: LabelWeights, labels: Path) -> Path:
    """Write the weights of labels beside their file or folder, where `read_weights` finds them."""
    beside = _beside(labels)
    write_atomically(beside, [json.dumps(weights)])
    return beside


def read_weights(labels: Path) -> LabelWeights | None:
    """Return the weights that lie beside a file or folder of labels; None where there are none.

    Raises:
        DatasetError: If they cannot be read.
    """
    beside = _beside(labels)
    if not beside.is_file():
        return None
    try:
        found = json.loads(read_regular(beside, most=_LARGEST))
        return {query: _numbers(given) for query, given in found.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{beside} does not hold weights of labels, {{query id: {{document id: weight}}}}: {error}"
        ) from error


def _beside(labels: Path) -> Path:
    return labels.with_name(labels.name + ".weights.json")


def _numbers(given: Any) -> float | dict[str, float]:
    return {i: float(weight) for i, weight in given.items()} if isinstance(given, Mapping) else float(given)
