"""Documents searched by vectors and by words at once: the best of the sum, over the whole corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.corpus.counts import whole_number
from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Bm25, Fusion, LexicalIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.index import ExactIndex
    from nudge_integrations.index.rows import FoundRow

__all__ = ["Words", "fused_search", "words_of"]

# Both lists are so long at first, as to score a thousand documents costs much less than to search again.
_FIRST_DEPTH = 1000


@dataclass(frozen=True, eq=False)
class Words:
    """The texts of documents, and how much they weigh beside the vectors."""

    index: LexicalIndex
    fusion: Fusion


def words_of(fusion: Fusion | None, ids: Sequence[str], texts: Sequence[str]) -> Words | None:
    """Return the texts of documents as a nudge's signals need them; None where it has no signals.

    Raises:
        InputError: If a signal, or a tokenizer, is one that only its maker has.
        MissingExtraError: If bm25s is not installed.
    """
    if fusion is None:
        return None
    others, settings = [name for name in fusion.weights if name != Bm25.name], fusion.bm25()
    if others or settings is None:
        raise InputError(
            f"this nudge weighs the signal {others[0]!r}, which is not saved with it: add the scores yourself with "
            "nudge.fusion.fused(), or fit with signals=('bm25',) alone"
        )
    index = LexicalIndex(settings)
    index.insert(ids, texts)
    return Words(index, fusion)


def fused_search(
    vectors: ExactIndex,
    words: Words,
    query: NDArray[np.float32],
    text: str,
    k: int,
    test: Callable[[Mapping[str, Any]], bool] | None,
) -> list[FoundRow]:
    """Return the k best documents by the sum of both, with that score, best first; exact over the whole corpus.

    The best of either signal are scored by both, and more of them as long as a document further down either list could
    still be among the k best.

    Args:
        vectors: The documents' vectors.
        words: Their texts.
        query: (d,), already through the query map.
        text: The query in words.
        k: How many at most.
        test: What a document's metadata must satisfy.

    Raises:
        InputError: As `ExactIndex.search_rows`.
    """
    lexical, fusion = words.index.score(text), words.fusion

    def passes(document_id: str) -> bool:
        return test is not None and any(test(row.metadata) for row in vectors.rows([document_id]))

    wanted = whole_number(k, "k")
    depth = max(wanted, fusion.depth, _FIRST_DEPTH)
    while True:
        near = vectors.search_rows(query, depth, where=test)
        best = lexical.best(depth, None if test is None else passes)
        by_id = {row.id: row for row in near}
        by_id |= {row.id: row for row in vectors.rows([one for one in best if one not in by_id])}
        found = list(by_id.values())
        # In float64, each in the same order of additions, then rounded, as `ExactIndex` decides.
        rows = np.array([row.vector for row in found], dtype=np.float64).reshape(len(found), len(query))
        dense = (rows * query.astype(np.float64)).sum(axis=1).astype(np.float32).astype(np.float64)
        scores = fusion.fused(dense, {Bm25.name: lexical.of(list(by_id))})
        order = np.lexsort(([lexical.row_of.get(one, -1) for one in by_id], -scores))[:wanted]
        further = float(lexical.of(best[-1:])[0]) if len(best) == depth else 0.0
        if len(near) < depth or scores[order[-1]] >= fusion.fused(near[-1].score, {Bm25.name: further}):
            return [replace(found[place], score=float(scores[place])) for place in order]
        depth *= 4
