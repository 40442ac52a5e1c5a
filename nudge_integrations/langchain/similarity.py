"""Whether a vector store ranks nudged vectors rightly."""

from __future__ import annotations

import logging

from langchain_core.vectorstores import VectorStore

from nudge_integrations.errors import InputError, SimilarityError
from nudge_integrations.langchain.embeddings import NudgedEmbeddings
from nudge_integrations.stores import ranks_by

__all__ = ["check_store", "nudged_embeddings"]

logger = logging.getLogger(__name__)


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
    embedding = nudged_embeddings(store)
    if embedding.nudge.fusion is not None:
        logger.warning("%s", embedding.nudge.fusion.left_out_by(store))
    return embedding


def nudged_embeddings(store: VectorStore) -> NudgedEmbeddings:
    """Do what `check_store` does, without its warning where the nudge weighs words too.

    Raises:
        InputError: If the embeddings are others.
        SimilarityError: If the store ranks by something else than these vectors are made for.
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
    return embedding
