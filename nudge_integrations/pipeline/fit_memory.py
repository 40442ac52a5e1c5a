"""Searches that a fit keeps for the next one of the same documents in this process, while its nudge is in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus.remembered import RememberedCorpus, Searches
from nudge_integrations.errors import InputError
from nudge_integrations.solver import Options, OptionValues, PerQuery

__all__ = ["FitMemory", "memory_of", "remember", "remembered_corpus"]

# Larger corpora are searched again: looking whether they are the same would take longer than it saves.
_LARGEST_BYTES = 2 << 30


@dataclass(frozen=True, eq=False)
class FitMemory:
    """The searches and figures of a fit.

    Attributes:
        query_ids: (m,) the ids of the labelled queries.
        per_query: The metric of those that evaluated, each without its own labels.
        searches: What was found in the documents for these queries; None where that is not kept.
    """

    query_ids: tuple[str, ...]
    per_query: PerQuery
    searches: Searches | None


_MEMORIES: WeakKeyDictionary[Nudge, FitMemory] = WeakKeyDictionary()


def remember(nudge: Nudge, memory: FitMemory) -> None:
    """Keep what a fit found, until its nudge is gone."""
    _MEMORIES[nudge] = memory


def memory_of(nudge: Nudge | None) -> FitMemory | None:
    """Return what the fit of a nudge found; None where it was fitted in another process."""
    if nudge is not None and not isinstance(nudge, Nudge):
        raise InputError(f"warm must be a nudge that was fitted before; got a {type(nudge).__name__}")
    return None if nudge is None else _MEMORIES.get(nudge)


def remembered_corpus(documents: Any, queries: Any, options: OptionValues, warm: Nudge | None) -> Any:
    """Return documents as a corpus that searches for each labelled query once, also over fits; others as they are.

    Args:
        documents: (n, d) base vectors; a memory map, or what is on a device or too large, stays as it is.
        queries: (m, d), the labelled queries.
        options: The options of the fit.
        warm: A nudge that was fitted to these documents before.
    """
    plain = type(documents) is np.ndarray and type(queries) is np.ndarray
    if not plain or documents.nbytes > _LARGEST_BYTES or not len(documents) or not queries.any(axis=1).all():
        return documents
    chosen, memory = Options().changed(**options), memory_of(warm)
    former = None if memory is None else memory.searches
    how = (chosen.device, chosen.block_bytes, chosen.progress)
    return RememberedCorpus(documents, *how, queries=queries, former=former)
