"""Which documents to label next: those that people are shown most, and of which nobody has said anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.corpus import unit_rows
from nudge_integrations.errors import InputError
from nudge_integrations.index import ExactIndex

if TYPE_CHECKING:
    from nudge_integrations.dataset import RetrievalDataset

__all__ = ["label_next"]

_DEPTH, _ALIKE = 10, 0.95


def label_next(
    dataset: RetrievalDataset, document_vectors: Any, query_vectors: Any, count: int = 20
) -> tuple[tuple[str, float], ...]:
    """List the documents without a label that rank highest for most queries.

    A document that is shown often and that nobody labelled is wrong there, or right and nobody said so: a label tells
    which. Each query shows a document 1 / log2(rank + 1) much, to rank 10. Documents that are nearly equal to one that
    is listed already (cosine of 0.95 or more) are left out. Any queries will do, labelled or from a log: only their
    vectors are looked at.

    Args:
        dataset: The documents, and the labels that there are.
        document_vectors: (n, d), in the order of ``dataset.document_ids``.
        query_vectors: (m, d) of what people ask.
        count: How many documents at most.

    Returns:
        Document ids with how much they are shown, most first.

    Raises:
        InputError: If vectors do not fit, or ``count`` is below 1.

    >>> from nudge_integrations.dataset import RetrievalDataset
    >>> dataset = RetrievalDataset({"a": "cats", "b": "dogs"}, {"q": "purrs?"}, {"q": {"a": 1}})
    >>> label_next(dataset, np.eye(2), [[1.0, 0.2]])[0][0]
    'b'
    """
    if count < 1:
        raise InputError(f"count must be 1 or more; got {count}")
    vectors = unit_rows(document_vectors, "document_vectors")
    asked = unit_rows(np.asarray(query_vectors, np.float32), "query_vectors", dimension=vectors.shape[1])
    ids = dataset.document_ids
    labelled = {document for grades in dataset.qrels.values() for document, grade in grades.items() if grade > 0}
    place_of = {document: place for place, document in enumerate(ids)}
    shown = np.zeros(len(ids))
    for ranked in ExactIndex(ids, vectors).search(asked, min(_DEPTH, len(ids)))[0]:
        for rank, document in enumerate(ranked, start=1):
            shown[place_of[document]] += 1.0 / np.log2(rank + 1.0)
    listed: list[int] = []
    for row in np.argsort(-shown, kind="stable").tolist():
        if len(listed) == count or shown[row] == 0:
            break
        alike = listed and float((vectors[listed] @ vectors[row]).max()) >= _ALIKE
        if ids[row] not in labelled and not alike:
            listed.append(row)
    return tuple((ids[row], float(shown[row])) for row in listed)
