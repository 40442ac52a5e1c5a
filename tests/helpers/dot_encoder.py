"""A model that ranks by inner product: documents of many lengths, which count, and labelled queries about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.dataset import RetrievalDataset

__all__ = ["IDS", "TEXTS", "DotEncoder", "labels", "ranking"]

IDS = [f"d{row}" for row in range(60)]
TEXTS = [f"text {row}" for row in range(60)]


class DotEncoder:
    """Documents of lengths from about 1 to 14, and queries near half of them."""

    fingerprint = "dot"
    similarity: Literal["dot"] = "dot"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.documents = (rng.standard_normal((60, 12)) * rng.uniform(0.5, 4, (60, 1))).astype(np.float32)
        self.queries = (self.documents[np.arange(90) % 30] + rng.standard_normal((90, 12))).astype(np.float32)

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.documents[[int(text.split()[1]) for text in texts]]

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.queries[[int(text.split()[1]) for text in texts]]


def labels(queries: int = 90) -> RetrievalDataset:
    """Each query wants the document seven after the one that it is near: only labels can bring them together."""
    return RetrievalDataset(
        dict(zip(IDS, TEXTS, strict=True)),
        {f"q{row}": f"query {row}" for row in range(queries)},
        {f"q{row}": {f"d{(row + 7) % 30}": 1} for row in range(queries)},
    )


def ranking(documents: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the rows of documents for each query, by inner product, best first."""
    return np.argsort(-(queries.astype(np.float64) @ documents.T.astype(np.float64)), axis=1, kind="stable")
