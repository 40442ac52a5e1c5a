"""Which documents a nudge knows, when they come with both an id and a text: edited ones and renamed ones too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nudge_integrations.artifact.placement import edited, place
from nudge_integrations.corpus import as_matrix
from nudge_integrations.encoding import text_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.artifact.nudge import Nudge

__all__ = ["ambiguous_texts", "apply_documents", "matched_rows"]


def matched_rows(nudge: Nudge, ids: Sequence[str], texts: Sequence[str], vectors: object) -> NDArray[np.int64]:
    """Return the (n,) rows of ``nudge.vectors`` that belong to documents; -1 for those that did not move.

    A document is known by its id, and else by its text, where no two documents share it. One whose id is known and
    whose text is another is new, unless its vector is still the same: frameworks differ in what they put around a text.

    Args:
        nudge: The nudge.
        ids: n ids.
        texts: n texts.
        vectors: (n, d) base vectors.

    Raises:
        InputError: If a vector is zero or not finite.
        MismatchError: If d differs.
    """
    rows = np.full(len(ids), -1, dtype=np.int64)
    in_doubt: list[int] = []
    for position, (document_id, text) in enumerate(zip(ids, texts, strict=True)):
        digest = text_hash(text)
        row = nudge.by_id.get(document_id)
        if row is not None:
            rows[position] = row
            if nudge.text_hashes and nudge.text_hashes[row] != digest:
                in_doubt.append(position)
        elif digest not in nudge.ambiguous_texts:
            rows[position] = nudge.by_text_hash.get(digest, -1)
    if in_doubt:
        some = as_matrix(vectors, "document vectors", ids=ids)[in_doubt]
        names = [ids[position] for position in in_doubt]
        other = set(edited(nudge, rows[in_doubt], names, some))
        rows[[position for position in in_doubt if ids[position] in other]] = -1
    return rows


def apply_documents(nudge: Nudge, ids: Sequence[str], texts: Sequence[str], vectors: object) -> NDArray[np.float32]:
    """Do the same as `Nudge.apply` for documents with both ids and texts; see `matched_rows`.

    Returns:
        (n, d) float32, a new array; of unit length but for documents that moved under ``"dot"``.

    Raises:
        InputError: If a vector is zero or not finite.
        MismatchError: If d differs, or a known document with its known text comes with another vector: another model's,
            or one that was nudged already.
    """
    return place(nudge, matched_rows(nudge, ids, texts, vectors), ids, vectors)


def ambiguous_texts(
    moved: Sequence[int], vectors: NDArray[np.float32], ids: Sequence[str], texts: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return text hash -> ids, for texts of which one document moved and another stayed or moved elsewhere."""
    sharing: dict[str, list[int]] = {texts[row]: [] for row in moved}
    for row, text in enumerate(texts):
        if text in sharing:
            sharing[text].append(row)
    place_of = {row: vector.tobytes() for row, vector in zip(moved, vectors, strict=True)}
    return {
        text_hash(text): tuple(ids[row] for row in rows)
        for text, rows in sharing.items()
        if len({place_of.get(row) for row in rows}) > 1
    }
