"""Strategies of hypothesis for tests of stores and indexes: ids, vectors, and datasets with labels worth learning."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from nudge_integrations.dataset import RetrievalDataset

__all__ = ["document_ids", "labelled_datasets", "unit_vectors"]


def document_ids(*, most: int = 8) -> st.SearchStrategy[str]:
    """Draw ids of a few documents, so that they come again; UUIDs, which every store takes.

    >>> len(document_ids().example())  # doctest: +SKIP
    36
    """
    return st.integers(0, most - 1).map(lambda number: str(uuid5(NAMESPACE_OID, str(number))))


def unit_vectors(dimension: int) -> st.SearchStrategy[NDArray[np.float32]]:
    """Draw (d,) float32 vectors of unit length, spread evenly.

    >>> unit_vectors(3).example().shape  # doctest: +SKIP
    (3,)
    """

    def drawn(seed: int) -> NDArray[np.float32]:
        vector = np.random.default_rng(seed).standard_normal(dimension)
        unit: NDArray[np.float32] = (vector / np.linalg.norm(vector)).astype(np.float32)
        return unit

    return st.integers(0, 2**32 - 1).map(drawn)


@st.composite
def labelled_datasets(draw: st.DrawFn, ids: Sequence[str]) -> RetrievalDataset:
    """Draw a dataset over some documents: one to four queries, each with one or two relevant documents.

    Args:
        draw: Given by hypothesis.
        ids: The documents, one at least; their texts are their ids.
    """
    relevant = st.lists(st.sampled_from(sorted(ids)), min_size=1, max_size=2, unique=True)
    answers = draw(st.lists(relevant, min_size=1, max_size=4))
    return RetrievalDataset(
        {document_id: document_id for document_id in ids},
        {f"q{number}": f"question {number}" for number in range(len(answers))},
        {f"q{number}": dict.fromkeys(found, 1.0) for number, found in enumerate(answers)},
    )
