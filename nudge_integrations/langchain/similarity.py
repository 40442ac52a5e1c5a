"""The similarity that a vector store ranks by, and whether it ranks nudged vectors rightly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from nudge_integrations.errors import InputError, SimilarityError
from nudge_integrations.langchain.embeddings import NudgedEmbeddings

__all__ = ["check_store", "ranks_by"]

logger = logging.getLogger(__name__)


def ranks_by(store: VectorStore) -> str | None:
    """Return the similarity that a store ranks by.

    Args:
        store: A LangChain vector store.

    Returns:
        ``"cosine"``, ``"dot"`` (inner product), ``"l2"``, another word of the store's own, or None for an unknown
        store. InMemory, Chroma, Qdrant, PGVector and PGVectorStore are known.

    >>> from langchain_core.embeddings import DeterministicFakeEmbedding
    >>> ranks_by(InMemoryVectorStore(DeterministicFakeEmbedding(size=4)))
    'cosine'
    """
    if isinstance(store, InMemoryVectorStore):
        return "cosine"
    for kind in type(store).__mro__:
        if kind.__name__ in _KNOWN:
            ranking = _KNOWN[kind.__name__](store)
            return None if ranking is None else _WORDS.get(str(ranking).lower(), str(ranking).lower())
    return None


def check_store(store: VectorStore) -> NudgedEmbeddings:
    """Refuse a store that would rank the vectors of its `NudgedEmbeddings` wrongly, before it does.

    Vectors of one length, those of nudges whose ``similarity`` is ``"cosine"`` and all with the extra coordinate, are
    ranked alike by cosine, inner product and L2. Others by inner product alone.

    Args:
        store: A store whose embeddings are `NudgedEmbeddings`.

    Returns:
        The embeddings of the store.

    Raises:
        InputError: If its embeddings are others.
        SimilarityError: If it ranks by something else than these vectors are made for.
    """
    embedding = store.embeddings
    if not isinstance(embedding, NudgedEmbeddings):
        raise InputError(
            f"the embeddings of this {type(store).__name__} are {type(embedding).__name__}, so its vectors are not "
            "nudged; make it with NudgedEmbeddings(base, nudge) and add the documents, or use NudgeVectorStore"
        )
    ranking = ranks_by(store)
    of_one_length = embedding.extra_coordinate or embedding.nudge.similarity == "cosine"
    if of_one_length and ranking not in ("cosine", "dot", "l2", None):
        raise SimilarityError(
            f"{type(store).__name__} ranks by {ranking}; nudged vectors need cosine, inner product or L2"
        )
    if not of_one_length and ranking != "dot":
        raise SimilarityError(
            f"{type(store).__name__} ranks by {ranking or 'something unknown'}, and lengths count in the vectors of "
            f"{embedding.nudge.method!r}: make the store rank by inner product, or give NudgedEmbeddings its extra "
            "coordinate, with which cosine and L2 are right too"
        )
    if embedding.nudge.fusion is not None:
        logger.warning("%s", embedding.nudge.fusion.left_out_by(store))
    return embedding


_WORDS = {
    **dict.fromkeys(("ip", "inner", "inner_product"), "dot"),
    **dict.fromkeys(("euclid", "euclidean"), "l2"),
    "cosine_distance": "cosine",
}


def _value(word: Any) -> Any:
    return getattr(word, "value", word)


def _chroma(store: Any) -> Any:
    hnsw = store._collection.configuration_json.get("hnsw") or {}
    return hnsw.get("space")


def _postgres(store: Any) -> Any:
    # The strategy is in the asynchronous store inside; the enum's name is clearer than its SQL operator.
    return store._PGVectorStore__vs.distance_strategy.name


_KNOWN: Mapping[str, Callable[[Any], Any]] = {
    "NudgeVectorStore": lambda store: "dot",
    "Chroma": _chroma,
    "QdrantVectorStore": lambda store: _value(store.distance),
    "PGVector": lambda store: _value(store._distance_strategy),
    "PGVectorStore": _postgres,
}
