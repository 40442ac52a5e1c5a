"""Documents searched by vectors and by words at once: the best of the sum, over the whole corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Bm25, Fusion, LexicalIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.index import ExactIndex

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
    others = [name for name in fusion.weights if name != Bm25.name]
    if others or fusion.lexical is None:
        raise InputError(
            f"this nudge weighs the signal {others[0]!r}, which is not saved with it: add the scores yourself with "
            "nudge.fusion.fused(), or fit with signals=('bm25',) alone"
        )
    index = LexicalIndex(Bm25.from_dict(dict(fusion.lexical)))
    index.insert(ids, texts)
    return Words(index, fusion)


def fused_search(
    vectors: ExactIndex,
    words: Words,
    query: NDArray[Any],
    text: str,
    k: int,
    test: Callable[[Mapping[str, Any]], bool] | None,
) -> tuple[list[str], NDArray[np.float64]]:
    """Return the ids and scores of the k best documents by the sum of both, best first; exact over the whole corpus.

    The best of either signal are scored by both, and more of them as long as a document further down either list could
    still be among the k best.

    Args:
        vectors: The documents' vectors.
        words: Their texts.
        query: (1, d), already through the query map.
        text: The query in words.
        k: How many at most.
        test: What a document's metadata must satisfy.

    Raises:
        InputError: As `ExactIndex.search`.
    """
    lexical, fusion = words.index.score(text), words.fusion

    def passes(document_id: str) -> bool:
        try:
            return test is not None and test(vectors.get_metadata([document_id])[0])
        except InputError:  # another thread has just deleted it
            return False

    depth = k if k < 1 else max(k, fusion.depth, _FIRST_DEPTH)
    while True:
        (near,), (by_vector,) = vectors.search(query, depth, where=test)
        best = lexical.best(depth, None if test is None else passes)
        found = [document_id for document_id in dict.fromkeys([*near, *best]) if document_id in vectors]
        try:
            rows = vectors.get(found) if found else np.zeros((0, query.shape[1]))
        except InputError:
            if all(document_id in vectors for document_id in found):
                raise
            continue
        # In float64, each in the same order of additions, then rounded, as `ExactIndex` decides.
        dense = (rows * query[0].astype(np.float64)).sum(axis=1).astype(np.float32).astype(np.float64)
        scores = fusion.fused(dense, {Bm25.name: lexical.of(found)})
        order = np.lexsort(([lexical.row_of.get(document_id, -1) for document_id in found], -scores))[:k]
        further = float(lexical.of(best[-1:])[0]) if len(best) == depth else 0.0
        if len(near) < depth or scores[order[-1]] >= fusion.fused(float(by_vector[-1]), {Bm25.name: further}):
            return [found[place] for place in order], scores[order]
        depth *= 4
