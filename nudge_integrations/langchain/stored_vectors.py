"""The vectors that a vector store holds, compared with those of the nudge that it is to be searched with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.vectorstores import VectorStore

from nudge_integrations.corpus import unit_rows
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import MismatchError
from nudge_integrations.index import with_extra_coordinate
from nudge_integrations.langchain.embeddings import NudgedEmbeddings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_vectors"]

# How many documents that moved are looked for, among how many neighbours, and how far a stored vector may be from the
# nudged one: what a store that keeps half precision changes.
_SAMPLE, _NEIGHBOURS, _STORED_AS = 4, 4, 2e-3


def check_vectors(store: VectorStore, embedding: NudgedEmbeddings) -> None:
    """Read back some vectors of documents that moved, and refuse a store where they are others than the nudge's.

    A sample of documents, always the same for one nudge, is looked for by their nudged and their base vectors. What is
    not found is not checked, nor is a store of another kind than InMemory, Chroma, Qdrant and PGVector.

    Raises:
        MismatchError: If a stored vector is a base vector, or one of another nudge or model; names the document.
    """
    nudge = embedding.nudge
    read = next((_READERS[kind.__name__] for kind in type(store).__mro__ if kind.__name__ in _READERS), None)
    if read is None or not len(nudge):
        return
    rows = np.random.default_rng(0).permutation(len(nudge))[:_SAMPLE]
    nudged, probes = nudge.vectors, np.concatenate([nudge.vectors[rows], nudge.base[rows]])
    if embedding.extra_coordinate:
        nudged, probes = (with_extra_coordinate(vectors, nudge.max_norm) for vectors in (nudged, probes))
    try:
        hits = [hit for probe in probes.tolist() for hit in store.similarity_search_by_vector(probe, k=_NEIGHBOURS)]
        known = {hit.id or hit.metadata.get("_id"): nudge.by_text_hash.get(text_hash(hit.page_content)) for hit in hits}
        row_of = {name: row for name, row in known.items() if name is not None and row is not None}
        stored = read(store, list(row_of)) if row_of else nudged[:0]
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


def _in_memory(store: Any, ids: Sequence[str]) -> NDArray[np.float32]:
    return np.array([store.store[document_id]["vector"] for document_id in ids], dtype=np.float32)


def _chroma(store: Any, ids: Sequence[str]) -> NDArray[np.float32]:
    got = store._collection.get(ids=list(ids), include=["embeddings"])
    return _in_order(dict(zip(got["ids"], got["embeddings"], strict=True)), ids)


def _qdrant(store: Any, ids: Sequence[str]) -> NDArray[np.float32]:
    points = store.client.retrieve(store.collection_name, list(ids), with_vectors=True)
    name = store.vector_name  # "" for the only one
    vectors = {point.id: point.vector[name] if isinstance(point.vector, dict) else point.vector for point in points}
    return _in_order(vectors, ids)


def _pgvector(store: Any, ids: Sequence[str]) -> NDArray[np.float32]:
    with store._make_sync_session() as session:
        kind = store.EmbeddingStore
        here = kind.collection_id == store.get_collection(session).uuid
        rows = session.query(kind.id, kind.embedding).filter(here, kind.id.in_(list(ids)))
        return _in_order({row[0]: row[1] for row in rows}, ids)


def _in_order(vectors: Mapping[Any, Any], ids: Sequence[str]) -> NDArray[np.float32]:
    return np.array([vectors[document_id] for document_id in ids], dtype=np.float32)


_READERS: Mapping[str, Callable[[Any, Sequence[str]], NDArray[np.float32]]] = {
    "InMemoryVectorStore": _in_memory,
    "Chroma": _chroma,
    "QdrantVectorStore": _qdrant,
    "PGVector": _pgvector,
}
