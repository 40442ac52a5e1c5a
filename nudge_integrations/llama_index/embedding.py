"""NudgedEmbedding: an embedding model that returns nudged vectors, for any index, pipeline or store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from numpy import float32
from numpy.typing import NDArray

from nudge_integrations.artifact import Nudge
from nudge_integrations.encoding import Encoder, text_hash
from nudge_integrations.errors import InputError
from nudge_integrations.index import with_extra_coordinate, with_zero_coordinate
from nudge_integrations.llama_index.encoder import as_embedding, check_model, pickled

__all__ = ["NudgedEmbedding", "base_model"]

logger = logging.getLogger(__name__)


class NudgedEmbedding(BaseEmbedding):
    """An embedding model that gives a known text its nudged vector, and any other text the base model's.

    Works wherever LlamaIndex takes an embedding model: ``VectorStoreIndex``, ``IngestionPipeline`` (whose cache sees
    another nudge as another model), ``refresh_ref_docs``. A text is known by its content, so embedding it again keeps
    its nudged vector, and an edited text is a new one. Texts that did not move are scaled to unit length. Queries go to
    the base model, and through the query map if the nudge has one.

    Args:
        base: The embedding model, or encoder, that the nudge was fitted with.
        nudge: The nudge to serve texts with.
        extra_coordinate: Whether to add one coordinate, with which cosine, L2 and inner product all rank by inner
            product: vectors of d + 1 numbers. None adds it exactly where vectors have lengths that matter.
        **kwargs: Other fields of ``BaseEmbedding``; by default those of the base model.

    Raises:
        MismatchError: If the nudge was made with another model; on embedding, if a known text gets another vector.
        InputError: If ``embeddings_cache`` is given: it is keyed by text alone, and would serve one nudge's vectors to
            the next. Give it to the base model.

    >>> embed_model = NudgedEmbedding(base, Nudge.load("out"))  # doctest: +SKIP
    >>> index = VectorStoreIndex(nodes, embed_model=embed_model)  # doctest: +SKIP
    """

    base: BaseEmbedding = Field(exclude=True)
    extra_coordinate: bool = False
    fingerprint: str = ""
    _nudge: Nudge = PrivateAttr()

    def __init__(
        self, base: BaseEmbedding | Encoder, nudge: Nudge, *, extra_coordinate: bool | None = None, **kwargs: Any
    ) -> None:
        model = base_model(base)
        check_model(model, nudge)
        if kwargs.get("embeddings_cache") is not None:
            raise InputError(
                "embeddings_cache is keyed by text alone and would serve stale vectors after another nudge: "
                "give it to the base model"
            )
        extra = nudge.similarity == "dot" if extra_coordinate is None else extra_coordinate
        fields: dict[str, Any] = {
            name: getattr(model, name) for name in ("model_name", "embed_batch_size", "num_workers", "callback_manager")
        }
        fields |= {
            "base": model,
            "extra_coordinate": extra,
            "fingerprint": f"{nudge.fingerprint}{'+1' if extra else ''}",
        }
        super().__init__(**{**fields, **kwargs})
        self._nudge = nudge
        if nudge.ambiguous_texts:
            logger.warning(
                "%d texts belong to documents that moved to different places; by text they all get one place. "
                "A NudgeRetriever tells them apart by id",
                len(nudge.ambiguous_texts),
            )

    @property
    def nudge(self) -> Nudge:
        """The nudge that texts are served with."""
        return self._nudge

    @classmethod
    def class_name(cls) -> str:
        """Name the class, as the framework wants it."""
        return "NudgedEmbedding"

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return pickled(self, "base", "nudge")

    def __repr__(self) -> str:
        """Show the base model and the nudge."""
        return f"NudgedEmbedding({self.base.class_name()} {self.model_name!r}, {self.nudge!r})"

    __str__ = __repr__

    def get_agg_embedding_from_queries(
        self, queries: list[str], agg_fn: Callable[..., list[float]] | None = None
    ) -> list[float]:
        """Embed several strings of one query, aggregate, and map the result as one query."""
        return self._mapped(self.base.get_agg_embedding_from_queries(queries, agg_fn))

    async def aget_agg_embedding_from_queries(
        self, queries: list[str], agg_fn: Callable[..., list[float]] | None = None
    ) -> list[float]:
        """Do the same without blocking."""
        return self._mapped(await self.base.aget_agg_embedding_from_queries(queries, agg_fn))

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._mapped(self.base.get_query_embedding(query))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._mapped(await self.base.aget_query_embedding(query))

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._placed(texts, self.base.get_text_embedding_batch(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._placed(texts, await self.base.aget_text_embedding_batch(texts))

    def _placed(self, texts: Sequence[str], vectors: list[list[float]]) -> list[list[float]]:
        # Known texts are embedded too: their base vectors show whether this is still the model of the fit.
        placed = self.nudge.apply_texts([text_hash(text) for text in texts], vectors)
        return _lists(with_extra_coordinate(placed, self.nudge.max_norm) if self.extra_coordinate else placed)

    def _mapped(self, query: list[float]) -> list[float]:
        vector = self.nudge.transform_queries([query])
        return _lists(with_zero_coordinate(vector) if self.extra_coordinate else vector)[0]


def base_model(model: BaseEmbedding | Encoder) -> BaseEmbedding:
    """Return the model below all nudges, so that every fit starts from base vectors.

    Raises:
        InputError: If it is neither an embedding model nor an encoder.
    """
    embed_model = as_embedding(model)
    return base_model(embed_model.base) if isinstance(embed_model, NudgedEmbedding) else embed_model


def _lists(vectors: NDArray[float32]) -> list[list[float]]:
    rows: list[list[float]] = vectors.tolist()
    return rows
