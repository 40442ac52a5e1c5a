"""Documents that can be searched: what is accepted as vectors, what a corpus answers, and how rankings are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nudge_integrations.corpus.corpus import Corpus, CorpusVectors, IdentifiedCorpus, Neighbours
from nudge_integrations.corpus.metrics import METRICS, Metric, parse_metric
from nudge_integrations.corpus.vectors import Matrix, as_matrix, as_rows, row_lengths, unit_rows

if TYPE_CHECKING:
    from nudge_integrations.corpus.arrays import ArrayCorpus, as_corpus

__all__ = [
    "METRICS",
    "ArrayCorpus",
    "Corpus",
    "CorpusVectors",
    "IdentifiedCorpus",
    "Matrix",
    "Metric",
    "Neighbours",
    "as_corpus",
    "as_matrix",
    "as_rows",
    "parse_metric",
    "row_lengths",
    "unit_rows",
]

# These compute with torch, which whoever only checks vectors need not load.
_WITH_TORCH = ("ArrayCorpus", "as_corpus")


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        from nudge_integrations.corpus import arrays

        return getattr(arrays, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
