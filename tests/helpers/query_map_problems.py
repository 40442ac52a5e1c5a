"""Shared by the tests of query maps: an evaluator that sorts every ranking, and queries that a linear map corrects."""

from __future__ import annotations

import numpy as np
import torch
from oracle import Problem, metric_of, unit

from nudge_integrations.query_map import Evaluate


def evaluator_of(problem: Problem, metric: str = "ndcg@10") -> Evaluate:
    """Return an evaluator that sorts every ranking; a query without a relevant document scores 0."""

    def evaluate(adapted: torch.Tensor) -> torch.Tensor:
        scores = adapted.double().numpy() @ problem.documents.T
        pairs = zip(scores, problem.gains, strict=True)
        return torch.tensor([metric_of(row, gains, metric) if gains.any() else 0.0 for row, gains in pairs])

    return evaluate


def turned(seed: int = 0, documents: int = 80, queries: int = 240, width: int = 8) -> Problem:
    """Return queries whose relevant document is near a fixed linear map of them."""
    random = np.random.default_rng(seed)
    corpus = unit(random.normal(size=(documents, width)))
    relevant = random.integers(0, documents, queries)
    turn = np.linalg.qr(random.normal(size=(width, width)))[0]
    vectors = unit(corpus[relevant] + corpus[relevant] @ turn + 0.1 * random.normal(size=(queries, width)))
    gains = np.zeros((queries, documents))
    gains[np.arange(queries), relevant] = 1.0
    return Problem(corpus, vectors, gains, np.arange(queries))
