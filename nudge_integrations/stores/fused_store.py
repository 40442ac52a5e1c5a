"""FusedStore: a live store searched by vectors and by texts, added up as a nudge weighs them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nudge_integrations.corpus import unit_rows
from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Bm25, LexicalIndex
from nudge_integrations.fusion.weights import over_largest
from nudge_integrations.stores.store import fetched, stored_ids
from nudge_integrations.stores.text_search import TEXT_SEARCH, Texts, own_text_search, text_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.artifact import Nudge
    from nudge_integrations.fusion import Fusion
    from nudge_integrations.stores.live_store import LiveStore

__all__ = ["FusedStore"]

logger = logging.getLogger(__name__)

# Both searches go on to about so many documents each, where one further down could still be among the best.
_FURTHEST = 1000

Near = Callable[[int], Sequence[str]]
Passing = Callable[[list[str]], Collection[str]]


class FusedStore:
    """The text side of a live store that a nudge with weights of words serves.

    The best documents of either search are scored by both: by the vectors that the store holds, exactly, and by its
    own text search, or BM25 in this process beside it, as the nudge was fitted.

    Documents that others write to the store are taken in when they are found by vector, and left out once they are
    gone; `refresh` reads all texts again.

    Args:
        live: The store.
        fusion: The weights of a nudge.
        lengths: Whether the lengths of stored vectors count.
        texts: Reads the texts of documents from the store.

    Raises:
        InputError: If the nudge weighs a signal that cannot be had here.
        MissingExtraError: If bm25s is needed and not installed.
    """

    def __init__(self, live: LiveStore, fusion: Fusion, *, lengths: bool, texts: Texts) -> None:
        self.live, self.fusion, self._lengths, self._texts = live, fusion, lengths, texts
        odd = [name for name in fusion.weights if name not in (Bm25.name, TEXT_SEARCH)]
        if odd:
            raise InputError(
                f"this nudge weighs the signal {odd[0]!r}, which only its maker can compute: rank by "
                "nudge.fusion.ranked, or fit with signals=('bm25',)"
            )
        self._own = own_text_search(live.adapter) if TEXT_SEARCH in fusion.weights else None
        if TEXT_SEARCH in fusion.weights and self._own is None:
            raise InputError(
                f"this nudge weighs the text search of the store that it was fitted to, and {live.info.location} has "
                "none: set it up there, or fit again with signals=('bm25',)"
            )
        self._index: LexicalIndex | None = None
        self._settings = fusion.bm25()
        self.refresh()
        logger.info("%s: %s", live.info.location, self)

    @classmethod
    def of(cls, live: LiveStore, nudge: Nudge, texts: Texts) -> FusedStore | None:
        """Return the text side of a store; None where the nudge weighs no words."""
        if nudge.fusion is None:
            return None
        return cls(live, nudge.fusion, lengths=nudge.similarity == "dot", texts=texts)

    def __repr__(self) -> str:
        own = [] if self._own is None else [f"{TEXT_SEARCH}: {self._own.text_search()}"]
        beside = [] if self._index is None else [f"{Bm25.name}: bm25s beside the store, {len(self._index)} texts"]
        return f"{self.fusion}; {', '.join([*own, *beside])}"

    def refresh(self) -> None:
        """Read the texts of all rows again, where BM25 is beside the store."""
        if self._settings is not None:
            self._index = text_index(self._settings, stored_ids(self.live.adapter), self._texts)

    def insert(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Take note of documents that were written to the store."""
        if self._index is not None:
            self._index.insert(ids, texts)

    def delete(self, ids: Sequence[str]) -> None:
        """Take note of documents that were deleted from the store."""
        if self._index is not None:
            self._index.discard(ids)

    def ranked(
        self, query: NDArray[np.float32], words: str, k: int, near: Near, passing: Passing | None = None
    ) -> list[tuple[str, float]]:
        """Return the ids of the k best documents by the sum of vectors and words, best first.

        Args:
            query: (d,) as it is compared with the stored vectors.
            words: The query as it was asked.
            k: How many at most.
            near: Takes a number, returns the ids of so many documents as the store finds them by vector.
            passing: Takes ids, returns those that pass the filter of ``near``; None without a filter.
        """
        depth = max(k, self.fusion.depth)
        while True:
            found = list(near(depth))
            best, scores, further = self._by_text(words, depth, found)
            others = [one for one in best if one not in set(found)]
            if passing is not None and others:
                # Where the store has fewer than were asked for, no other passes.
                allowed = passing(others) if len(found) >= depth else ()
                others = [one for one in others if one in allowed]
            ids, dense = self._dense(query, [*found, *others])
            signals = {name: np.array([of.get(one, 0.0) for one in ids]) for name, of in scores.items()}
            fused = self.fusion.fused(dense, signals)
            order = np.argsort(-fused, kind="stable")[:k]
            last = self.fusion.fused(float(dense[: len(found)].min(initial=1.0)), further)
            if len(found) < depth or depth >= _FURTHEST or (len(order) == k and fused[order[-1]] >= last):
                return [(ids[place], float(fused[place])) for place in order]
            depth *= 4

    def _by_text(
        self, words: str, depth: int, found: list[str]
    ) -> tuple[list[str], dict[str, dict[str, float]], dict[str, float]]:
        """Return the best documents by text, signal -> their scores, and signal -> what others have at most."""
        best: list[str] = []
        scores: dict[str, dict[str, float]] = {}
        further: dict[str, float] = {}
        if self._own is not None:
            # No deeper than in the fit, where what was not found among so many scored 0.
            scores[TEXT_SEARCH] = over_largest(TEXT_SEARCH, self._own.search_text(words, self.fusion.depth))
            best, further[TEXT_SEARCH] = list(scores[TEXT_SEARCH]), 0.0
        if self._index is not None:
            self._take_in(found)
            lexical = self._index.score(words)
            own = lexical.best(depth)
            ids = list(dict.fromkeys([*best, *own, *found]))
            scores[Bm25.name] = dict(zip(ids, lexical.of(ids).tolist(), strict=True))
            further[Bm25.name] = scores[Bm25.name][own[-1]] if len(own) == depth else 0.0
            best = list(dict.fromkeys([*best, *own]))
        return best, scores, further

    def _take_in(self, found: list[str]) -> None:
        index = self._index
        new = [] if index is None else [one for one in found if one not in index]
        if index is not None and new:
            index.insert(new, self._texts(new))

    def _dense(self, query: NDArray[np.float32], ids: list[str]) -> tuple[list[str], NDArray[np.float64]]:
        """Return those of the ids that the store holds, and their inner products."""
        there, vectors = fetched(self.live.adapter, ids)
        if not there.all():
            self.delete([one for one, held in zip(ids, there, strict=True) if not held])
        rows = vectors[there].astype(np.float64)
        if not self._lengths and len(rows):
            rows = unit_rows(rows.astype(np.float32), "stored vectors").astype(np.float64)
        return [one for one, held in zip(ids, there, strict=True) if held], rows @ query.astype(np.float64)
