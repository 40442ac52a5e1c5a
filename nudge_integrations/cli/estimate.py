"""How long a fit will take: the encoder timed on a few texts, the machine on a small product."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from nudge_integrations.dataset import Splits

if TYPE_CHECKING:
    from nudge_integrations.encoding import Encoder

__all__ = ["Estimate", "estimate", "fitting_seconds", "in_words"]

_SAMPLE, _EVALUATED, _ROWS = 24, 4096, 20_000
# Seconds of `fit(method="auto")`, as tests/bench measured them: about 3 ms for each labelled query that is evaluated,
# and no more than five times the one product of these queries and the corpus.
_START, _PER_QUERY, _PRODUCTS = 1.5, 0.003, 5.0


@dataclass(frozen=True)
class Estimate:
    """The time that a fit is expected to take, to about a factor of two.

    Attributes:
        embedding: Seconds to embed all texts; None where the encoder was not timed.
        fitting: Seconds of the fit by the default method.
    """

    embedding: float | None
    fitting: float

    def __str__(self) -> str:
        """Say it in a line."""
        fitting = f"about {in_words(self.fitting)} to fit"
        return fitting if self.embedding is None else f"about {in_words(self.embedding)} to embed, {fitting}"


def estimate(splits: Splits, encoder: Encoder | None = None, dimension: int = 384) -> Estimate:
    """Time the encoder on a few of the documents and say what all of it will take.

    Args:
        splits: What is to be fitted.
        encoder: What makes the vectors; None leaves embedding out.
        dimension: Of the vectors, where no encoder says.
    """
    labelled = len(splits.train) + (0 if splits.validation is None else len(splits.validation))
    embedding = None
    if encoder is not None:
        texts = list(islice(splits.test.corpus.values(), _SAMPLE))
        encoder.encode_documents(texts[:1])  # loads what is loaded on first use
        start = time.perf_counter()
        dimension = encoder.encode_documents(texts).shape[1]
        each = (time.perf_counter() - start) / max(1, len(texts))
        embedding = each * (len(splits.test.corpus) + labelled + len(splits.test))
    return Estimate(embedding, fitting_seconds(len(splits.test.corpus), labelled, dimension))


def fitting_seconds(documents: int, labelled: int, dimension: int) -> float:
    """Return about how long the default method takes on this machine, with vectors that are there already.

    >>> fitting_seconds(1000, 500, 64) < fitting_seconds(1000, 5000, 64)
    True
    """
    evaluated = min(labelled, _EVALUATED)
    rows = min(documents, _ROWS)
    random = np.random.default_rng(0)
    one, other = (random.standard_normal((count, dimension), np.float32) for count in (rows, 64))
    start = time.perf_counter()
    one @ other.T
    product = (time.perf_counter() - start) * (evaluated / 64) * (documents / max(1, rows))
    return _START + _PER_QUERY * evaluated + _PRODUCTS * product


def in_words(seconds: float) -> str:
    """Write a time without digits that nobody can promise.

    >>> in_words(3.4), in_words(140), in_words(9000)
    ('3 s', '2 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
