"""Base vectors of nodes and queries: embeddings that are there, texts in batches, images through the image path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from llama_index.core.async_utils import run_jobs
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings.multi_modal_base import MultiModalEmbedding
from llama_index.core.indices.query.query_transform.base import BaseQueryTransform
from llama_index.core.schema import BaseNode, ImageNode, QueryBundle
from llama_index.core.utils import get_tqdm_iterable
from numpy.typing import NDArray

from nudge_integrations.corpus.texts import whole
from nudge_integrations.errors import InputError
from nudge_integrations.llama_index.encoder import EncoderEmbedding
from nudge_integrations.llama_index.nodes import embed_text

__all__ = [
    "anode_vectors",
    "aquery_vector",
    "aquery_vectors",
    "node_vectors",
    "query_vector",
    "query_vectors",
    "transformed",
]

# Queries that are embedded at once where the model does not say.
_WORKERS = 4

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class _Work:
    """Which nodes come with a vector, and which are embedded by their text or image."""

    nodes: Sequence[BaseNode]
    texts: list[int]
    images: list[int]

    @classmethod
    def of(cls, nodes: Sequence[BaseNode], embed_model: BaseEmbedding) -> _Work:
        bare = [row for row, node in enumerate(nodes) if node.embedding is None]
        multi_modal = isinstance(embed_model, MultiModalEmbedding)
        images = [row for row in bare if isinstance(nodes[row], ImageNode)]
        if images and not multi_modal:
            raise InputError(
                f"node {nodes[images[0]].node_id!r} (of {len(images)}) is an image, and {embed_model.class_name()} "
                "embeds no images: take a multi-modal embedding model, or give the nodes their embedding"
            )
        return cls(nodes, [row for row in bare if not isinstance(nodes[row], ImageNode)], images)

    def texts_to_embed(self) -> list[str]:
        return [whole(embed_text(self.nodes[row])) for row in self.texts]

    def images_to_embed(self) -> list[Any]:
        return [cast("ImageNode", self.nodes[row]).resolve_image() for row in self.images]

    def join(self, texts: Iterable[Sequence[float]], images: Iterable[Sequence[float]]) -> Vectors:
        rows: list[Any] = [node.embedding for node in self.nodes]
        for row, vector in (*zip(self.texts, texts, strict=True), *zip(self.images, images, strict=True)):
            rows[row] = vector
        odd = next((i for i, vector in enumerate(rows) if len(vector) != len(rows[0])), None)
        if odd is not None:
            raise InputError(
                f"the vector of node {self.nodes[odd].node_id!r} has {len(rows[odd])} dimensions, that of "
                f"{self.nodes[0].node_id!r} {len(rows[0])}: take one model for all nodes"
            )
        return np.asarray(rows, dtype=np.float32)


def node_vectors(nodes: Sequence[BaseNode], embed_model: BaseEmbedding, *, show_progress: bool = False) -> Vectors:
    """Return the base vectors of nodes, embedded as an index embeds them.

    Args:
        nodes: n nodes. An ``embedding`` that is there is used as it is; it must be a base vector.
        embed_model: Embeds texts in its batches, and image nodes by their image if it is multi-modal.
        show_progress: Whether the framework shows its bar.

    Returns:
        (n, d) float32.

    Raises:
        InputError: If there are images and the model embeds none, or dimensions differ.
    """
    work = _Work.of(nodes, embed_model)
    texts = embed_model.get_text_embedding_batch(work.texts_to_embed(), show_progress=show_progress)
    if not work.images:
        return work.join(texts, ())
    multi_modal = cast("MultiModalEmbedding", embed_model)
    return work.join(texts, multi_modal.get_image_embedding_batch(work.images_to_embed(), show_progress=show_progress))


async def anode_vectors(
    nodes: Sequence[BaseNode], embed_model: BaseEmbedding, *, show_progress: bool = False
) -> Vectors:
    """Do the same as `node_vectors` with the model's asynchronous batches, ``num_workers`` of them at once."""
    work = _Work.of(nodes, embed_model)
    texts = await embed_model.aget_text_embedding_batch(work.texts_to_embed(), show_progress=show_progress)
    if not work.images:
        return work.join(texts, ())
    multi_modal = cast("MultiModalEmbedding", embed_model)
    images = await multi_modal.aget_image_embedding_batch(work.images_to_embed(), show_progress=show_progress)
    return work.join(texts, images)


def transformed(query: str | QueryBundle, query_transform: BaseQueryTransform | None) -> QueryBundle:
    """Rewrite a query; one with a vector of its own stays as it is.

    Raises:
        InputError: If the query has neither a text nor a vector.
    """
    bundle = QueryBundle(query) if isinstance(query, str) else query
    if bundle.embedding is None and not any(text.strip() for text in bundle.embedding_strs):
        raise InputError("the query is empty: give it a text, or an embedding")
    return bundle if query_transform is None or bundle.embedding is not None else query_transform.run(bundle)


def query_vector(query: QueryBundle, embed_model: BaseEmbedding) -> list[float]:
    """Return a query's own embedding if it has one, else that of its strings through the model's query path."""
    if query.embedding is not None:
        return query.embedding
    return embed_model.get_agg_embedding_from_queries([*map(whole, query.embedding_strs)])


async def aquery_vector(query: QueryBundle, embed_model: BaseEmbedding) -> list[float]:
    """Do the same as `query_vector` without blocking."""
    if query.embedding is not None:
        return query.embedding
    return await embed_model.aget_agg_embedding_from_queries([*map(whole, query.embedding_strs)])


def query_vectors(
    texts: Sequence[str],
    embed_model: BaseEmbedding,
    query_transform: BaseQueryTransform | None = None,
    *,
    show_progress: bool = False,
) -> Vectors:
    """Return the base vectors of queries: rewritten as in a retriever, then embedded through the query path.

    Returns:
        (m, d) float32.
    """
    if query_transform is None and isinstance(embed_model, EncoderEmbedding):
        return embed_model.encoder.encode_queries(list(texts))
    bar = get_tqdm_iterable(list(texts), show_progress, "Embedding queries")
    return np.asarray([query_vector(transformed(text, query_transform), embed_model) for text in bar], dtype=np.float32)


async def aquery_vectors(
    texts: Sequence[str],
    embed_model: BaseEmbedding,
    query_transform: BaseQueryTransform | None = None,
    *,
    show_progress: bool = False,
) -> Vectors:
    """Do the same as `query_vectors` with ``num_workers`` queries at once; rewriting runs in threads."""

    async def vector_of(text: str) -> list[float]:
        if query_transform is None:
            return await aquery_vector(QueryBundle(text), embed_model)
        return await aquery_vector(await asyncio.to_thread(transformed, text, query_transform), embed_model)

    workers = embed_model.num_workers or _WORKERS
    jobs = [vector_of(text) for text in texts]
    rows = await run_jobs(jobs, show_progress=show_progress, workers=workers, desc="Embedding queries")
    return np.asarray(rows, dtype=np.float32)
