"""How much labels count, by the ids of a dataset, as the matrix that the solver takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LabelWeights", "weight_matrix", "weight_of"]

LabelWeights = Mapping[str, float | Mapping[str, float]]
"""Query id -> the weight of all its labels, or -> {document id: weight}. What is not named weighs 1."""


def weight_matrix(
    weights: LabelWeights,
    dataset: RetrievalDataset,
    labels: sparse.csr_array,
    ids: Sequence[str],
    twins: Mapping[str, tuple[str, ...]],
) -> sparse.csr_array:
    """Return (m, n) the weight of each label, stored as the labels are.

    Args:
        weights: The weights.
        dataset: m queries.
        labels: (m, n) grades that are not 0.
        ids: The ids of the n documents.
        twins: Id -> the ids of all documents with the same text, which were all given the label of one of them.

    Raises:
        InputError: If a query or a document is unknown, or a weight is no number >= 0.

    Example:
        >>> dataset = RetrievalDataset({"d": "text"}, {"q": "a question"}, {"q": {"d": 1}})
        >>> weight_matrix({"q": {"d": 0.5}}, dataset, dataset.relevance(), ["d"], {}).toarray().tolist()
        [[0.5]]
    """
    if not isinstance(weights, Mapping):
        raise InputError(f"weights are query id -> a number, or -> {{document id: a number}}; got {weights!r:.80}")
    unknown = [query for query in weights if query not in dataset.queries]
    if unknown:
        raise InputError(f"weights: query {unknown[0]!r} is not in the dataset; use the ids of its queries")
    data = np.ones(labels.nnz)
    for row, query in enumerate(dataset.queries):
        given = weights.get(query)
        if given is None:
            continue
        _refuse_odd(given, query, dataset)
        part = slice(labels.indptr[row], labels.indptr[row + 1])
        if isinstance(given, Mapping):
            data[part] = [_of(given, ids[column], twins) for column in labels.indices[part]]
        else:
            data[part] = given
    return sparse.csr_array((_checked(data), labels.indices, labels.indptr), shape=labels.shape)


def weight_of(weights: LabelWeights, query: str, document: str) -> float:
    """Return how much a label counts.

    >>> weight_of({"q": {"d": 0.5}}, "q", "d"), weight_of({"q": {"d": 0.5}}, "r", "d")
    (0.5, 1.0)
    """
    given = weights.get(query, 1.0)
    return given.get(document, 1.0) if isinstance(given, Mapping) else given


def _of(given: Mapping[str, float], document: str, twins: Mapping[str, tuple[str, ...]]) -> float:
    if document in given:
        return given[document]
    return next((given[twin] for twin in twins.get(document, ()) if twin in given), 1.0)


def _refuse_odd(given: object, query: str, dataset: RetrievalDataset) -> None:
    """Refuse what is no number, and weights of documents that are not there."""
    values = given if isinstance(given, Mapping) else {None: given}
    odd = [value for value in values.values() if not isinstance(value, Real)]
    if odd:
        raise InputError(f"weights of query {query!r} must be numbers; got {odd[0]!r:.80}")
    absent = [document for document in values if document is not None and document not in dataset.corpus]
    if absent:
        raise InputError(f"weights of query {query!r}: document {absent[0]!r} is not in the dataset")


def _checked(data: NDArray[np.float64]) -> NDArray[np.float64]:
    if not (np.isfinite(data) & (data >= 0.0)).all():
        raise InputError(f"weights must be finite numbers >= 0; got {data.min():g} .. {data.max():g}")
    return data
