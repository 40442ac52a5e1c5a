"""What the tests of adaptors share: a judge that sorts every ranking, and queries that a linear map sets right."""

from __future__ import annotations

import numpy as np
import torch
from oracle import Problem, metric_of, unit

from nudge_integrations.query_map import Evaluate


def evaluator_of(problem: Problem, metric: str = "ndcg@10") -> Evaluate:
    """Return a judge that sorts every ranking; a query without an answer is worth nothing."""

    def evaluate(adapted: torch.Tensor) -> torch.Tensor:
        scores = adapted.double().numpy() @ problem.documents.T
        pairs = zip(scores, problem.gains, strict=True)
        return torch.tensor([metric_of(row, gains, metric) if gains.any() else 0.0 for row, gains in pairs])

    return evaluate


def turned(seed: int = 0, documents: int = 80, queries: int = 240, width: int = 8) -> Problem:
    """Return queries that want what a fixed linear map of them is near to."""
    random = np.random.default_rng(seed)
    corpus = unit(random.normal(size=(documents, width)))
    wanted = random.integers(0, documents, queries)
    turn = np.linalg.qr(random.normal(size=(width, width)))[0]
    with_unlabelled = unit(corpus[wanted] + corpus[wanted] @ turn + 0.1 * random.normal(size=(queries, width)))
    gains = np.zeros((queries, documents))
    gains[np.arange(queries), wanted] = 1.0
    return Problem(corpus, with_unlabelled, gains, np.arange(queries))
