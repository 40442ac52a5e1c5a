"""The vectors that a vector store holds, compared with those of the nudge that it is to be searched with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from langchain_core.vectorstores import VectorStore

from nudge_integrations.corpus import unit_rows
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import MismatchError, StoreError
from nudge_integrations.index import with_extra_coordinate
from nudge_integrations.langchain.embeddings import NudgedEmbeddings
from nudge_integrations.stores import open_store, ranks_by
from nudge_integrations.stores.store import fetched

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_vectors", "vectors_in"]

# How many documents that moved are looked for, among how many neighbours, and how far a stored vector may be from the
# nudged one: what a store that keeps half precision changes.
_SAMPLE, _NEIGHBOURS, _STORED_AS = 4, 4, 2e-3


def check_vectors(store: VectorStore, embedding: NudgedEmbeddings) -> None:
    """Read back some vectors of documents that moved, and refuse a store where they are others than the nudge's.

    A sample of documents, always the same for one nudge, is looked for by their nudged and their base vectors. What is
    not found is not checked, nor is a store of a kind that is not known.

    Raises:
        MismatchError: If a stored vector is a base vector, or one of another nudge or model; names the document.
    """
    nudge = embedding.nudge
    if ranks_by(store) is None or not len(nudge):
        return
    rows = np.random.default_rng(0).permutation(len(nudge))[:_SAMPLE]
    nudged, probes = nudge.vectors, np.concatenate([nudge.vectors[rows], nudge.base[rows]])
    if embedding.extra_coordinate:
        nudged, probes = (with_extra_coordinate(vectors, nudge.max_norm) for vectors in (nudged, probes))
    try:
        hits = [hit for probe in probes.tolist() for hit in store.similarity_search_by_vector(probe, k=_NEIGHBOURS)]
        known = {hit.id or hit.metadata.get("_id"): nudge.by_text_hash.get(text_hash(hit.page_content)) for hit in hits}
        row_of = {name: row for name, row in known.items() if name is not None and row is not None}
        stored = vectors_in(store, list(row_of)) if row_of else nudged[:0]
    except Exception as error:  # each store has errors of its own
        raise MismatchError(
            f"{type(store).__name__} cannot be searched by the vectors of this nudge, of {nudged.shape[1]} numbers "
            f"({error}): fill a store through NudgedEmbeddings(base, nudge)"
        ) from error
    expected = nudged[list(row_of.values())]
    if embedding.extra_coordinate or nudge.similarity == "cosine":  # a store may scale vectors of one length
        stored, expected = unit_rows(stored, "stored vectors"), unit_rows(expected, "nudged vectors")
    distance = np.linalg.norm(stored - expected, axis=1)
    if (distance > _STORED_AS).any():
        name = list(row_of)[int(distance.argmax())]
        raise MismatchError(
            f"the vector that {type(store).__name__} holds of {name!r} is not where this nudge puts it: a base vector, "
            "or one of another nudge; add the documents again through NudgedEmbeddings(base, nudge)"
        )


def vectors_in(store: VectorStore, ids: Sequence[str]) -> NDArray[np.float32]:
    """Return the (r, d) vectors that a store holds of ids that are all there.

    Raises:
        StoreError: If one is not, or the store cannot be read.
    """
    live = open_store(store)
    try:
        there, rows = fetched(live.adapter, ids)
    finally:
        live.close()
    if not there.all():
        raise StoreError(f"{live.adapter.describe().location} does not hold {ids[int(np.argmin(there))]!r} any more")
    return rows.astype(np.float32)
