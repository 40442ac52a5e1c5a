"""How well an encoder ranks a validation set, on which fine-tuning stops."""

from __future__ import annotations

import numpy as np

from nudge_integrations.corpus import Metric
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import Encoder
from nudge_integrations.index import ExactIndex

__all__ = ["METRIC", "embedded", "validation_score"]

METRIC = Metric("ndcg", 10)


def embedded(dataset: RetrievalDataset, encoder: Encoder) -> ExactIndex:
    """Embed a corpus and make it searchable by cosine."""
    return ExactIndex(dataset.document_ids, encoder.encode_documents(list(dataset.corpus.values())))


def validation_score(dataset: RetrievalDataset, encoder: Encoder, index: ExactIndex | None = None) -> float:
    """Return the mean nDCG@10 of plain search, as `nudge_integrations.evaluate` defines it.

    Args:
        dataset: Queries that each have a relevant document, and the corpus that is searched.
        encoder: The encoder to evaluate.
        index: The corpus as this encoder embeds it, where that is there already.
    """
    index = embedded(dataset, encoder) if index is None else index
    found, _ = index.search(encoder.encode_queries(list(dataset.queries.values())), METRIC.k)
    gains = dataset.relevance()
    ids = dataset.document_ids
    rank_of = [{document: rank for rank, document in enumerate(row, start=1)} for row in found]
    query = np.repeat(np.arange(gains.shape[0]), np.diff(gains.indptr))
    rank = np.asarray(
        [rank_of[q].get(ids[column], METRIC.k + 1) for q, column in zip(query, gains.indices, strict=True)], np.int64
    )
    # nDCG looks at ranks among all documents alone, so the order among the relevant ones does not matter.
    return float((METRIC.weights(gains) * METRIC.contribution(rank, rank)).sum() / len(dataset))
