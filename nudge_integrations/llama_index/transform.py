"""NudgeTransform: a pipeline step that puts nudged vectors on nodes which an earlier step embedded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, TransformComponent

from nudge_integrations.artifact import Nudge
from nudge_integrations.artifact.matching import apply_documents
from nudge_integrations.errors import InputError
from nudge_integrations.index import with_extra_coordinate
from nudge_integrations.llama_index.nodes import text_of

__all__ = ["NudgeTransform"]


class NudgeTransform(TransformComponent):
    """A step for an ``IngestionPipeline``, after the embedding model: base vectors in, nudged vectors out.

    The pipeline's cache sees another nudge as another step. Where vectors have lengths that matter, they get one more
    coordinate, so that cosine, L2 and inner product all rank by inner product. Search the store with queries of
    ``NudgedEmbedding``, which go through the nudge's query map where there is one, and have the coordinate too.

    Args:
        nudge: The nudge to place nodes with.
        extra_coordinate: Whether to add the coordinate; None adds it exactly where it is needed.

    >>> pipeline = IngestionPipeline(transformations=[splitter, embed_model, NudgeTransform(nudge)])  # doctest: +SKIP
    """

    extra_coordinate: bool = False
    fingerprint: str = ""
    _nudge: Nudge = PrivateAttr()

    def __init__(self, nudge: Nudge, *, extra_coordinate: bool | None = None) -> None:
        fields: dict[str, Any] = {
            "extra_coordinate": nudge.similarity == "dot" if extra_coordinate is None else extra_coordinate,
            "fingerprint": nudge.fingerprint,
        }
        super().__init__(**fields)
        self._nudge = nudge

    @property
    def nudge(self) -> Nudge:
        """The nudge that nodes are placed with."""
        return self._nudge

    @classmethod
    def class_name(cls) -> str:
        """Name the class, as the framework wants it."""
        return "NudgeTransform"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Replace each node's ``embedding``, in place as the framework's own steps do.

        Raises:
            InputError: If a node has no ``embedding``.
            MismatchError: If a node's vector is not its base vector: nudged already, or of another model.
        """
        bare = [node.node_id for node in nodes if node.embedding is None]
        if bare:
            raise InputError(
                f"node {bare[0]!r} (of {len(bare)}) has no embedding to nudge: put NudgeTransform after the embedding "
                "model in the list of transformations"
            )
        if not nodes:
            return nodes
        vectors = np.asarray([node.embedding for node in nodes], dtype=np.float32)
        ids, texts = [node.node_id for node in nodes], [text_of(node) for node in nodes]
        placed = apply_documents(self.nudge, ids, texts, vectors)
        if self.extra_coordinate:
            placed = with_extra_coordinate(placed, self.nudge.max_norm)
        for node, row in zip(nodes, placed.tolist(), strict=True):
            node.embedding = row
        return nodes
