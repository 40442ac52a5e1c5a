"""How much labels count, by the ids of a dataset, as the matrix that the solver takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights, check_queries
from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["weight_matrix"]


def weight_matrix(
    weights: LabelWeights | None,
    dataset: RetrievalDataset,
    labels: sparse.csr_array,
    ids: Sequence[str],
    twins: Mapping[str, tuple[str, ...]],
) -> sparse.csr_array | None:
    """Return (m, n) the weight of each label, stored as the labels are; None where there are no weights.

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
        >>> weight_matrix({"q": {"d": 0.5}}, dataset, dataset.relevance(), ["d"], {}).data.tolist()
        [0.5]
    """
    if weights is None:
        return None
    check_queries(weights, dataset)
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
