"""Signals of a fit over a live store: the text search that the store has of its own, else BM25 beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Bm25, LexicalIndex, LexicalSignal, SearchSignal, Signal
from nudge_integrations.stores.store import StoreAdapter

__all__ = ["TEXT_SEARCH", "TextSearch", "Texts", "own_text_search", "signals_over", "text_index"]

logger = logging.getLogger(__name__)

TEXT_SEARCH = "text-search"
"""The name of the signal that a store's own text search is."""

Texts = Callable[[list[str]], Sequence[str]]
"""Takes ids of documents, returns their texts in this order."""

# How many texts are read from a store at once.
_AT_ONCE = 1000


@runtime_checkable
class TextSearch(Protocol):
    """A store that may have a text search of its own."""

    def text_search(self) -> str | None:
        """Say what it is; None where none is set up."""

    def search_text(self, query: str, k: int) -> list[tuple[str, float]]:
        """Return the ids of the k best documents with their scores, the best first."""


def own_text_search(adapter: StoreAdapter) -> TextSearch | None:
    """Return a store as its own text search; None where it has none."""
    return adapter if isinstance(adapter, TextSearch) and adapter.text_search() is not None else None


def text_index(settings: Bm25, ids: Sequence[str], texts: Texts) -> LexicalIndex:
    """Return the documents of a store as BM25 reads them.

    Raises:
        MissingExtraError: If bm25s is not installed.
    """
    index = LexicalIndex(settings)
    for start in range(0, len(ids), _AT_ONCE):
        part = list(ids[start : start + _AT_ONCE])
        index.insert(part, texts(part))
    return index


def signals_over(
    adapter: StoreAdapter, ids: Sequence[str], asked: Sequence[str | Bm25 | Signal], texts: Texts | None
) -> list[Signal]:
    """Return signals for the rows of a store.

    Args:
        adapter: The store.
        ids: The id of each row.
        asked: ``"bm25"`` is the store's own text search where it has one, and else BM25 beside it, as are ``"bm25:de"``
            and a `Bm25` over any store; ``"text-search"`` is the store's own alone.
        texts: The texts of the rows, for BM25 beside the store.

    Raises:
        InputError: If a signal is unknown, or needs what is not there.
        MissingExtraError: If bm25s is needed and not installed.
    """
    found: list[Signal] = []
    for one in (asked,) if isinstance(asked, str | Bm25) else asked:
        own = own_text_search(adapter) if one in (Bm25.name, TEXT_SEARCH) else None
        if own is not None:
            logger.info("signals: %s, whose own scores are weighed", own.text_search())
            found.append(SearchSignal(TEXT_SEARCH, own.search_text, ids))
        elif one == TEXT_SEARCH:
            raise InputError(
                f"{adapter.describe().location} has no text search that can be weighed: set one up (a full-text index "
                "of LanceDB, a tsvector column of Postgres, sparse vectors of Qdrant), or ask for signals=('bm25',)"
            )
        elif isinstance(one, str | Bm25):
            settings = one if isinstance(one, Bm25) else Bm25.named(one)
            if texts is None:
                raise InputError("BM25 beside a store needs the texts of all its rows: give texts=")
            logger.info("signals: BM25 in this process beside the store, over %d texts", len(ids))
            found.append(LexicalSignal(text_index(settings, ids, texts)))
        else:
            found.append(one)
    return found
