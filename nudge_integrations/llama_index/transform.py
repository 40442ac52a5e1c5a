"""NudgeTransform: a pipeline step that puts nudged vectors on nodes which an earlier step embedded.

After a refit a docstore must be told that its documents are to be written again: `rewrite_documents`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, TransformComponent
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.storage.docstore.types import BaseDocumentStore

from nudge_integrations.artifact import Nudge
from nudge_integrations.artifact.matching import apply_documents
from nudge_integrations.errors import InputError
from nudge_integrations.index import with_extra_coordinate
from nudge_integrations.llama_index.nodes import text_of

__all__ = ["NudgeTransform", "rewrite_documents"]

logger = logging.getLogger(__name__)

# Where a docstore keeps which nudge its documents were last asked to be written with.
_COLLECTION, _KEY = "nudge_integrations", "nudge"


class NudgeTransform(TransformComponent):
    """A step for an ``IngestionPipeline``, after the embedding model: base vectors in, nudged vectors out.

    The pipeline's cache sees another nudge as another step. A docstore does not: it leaves unchanged documents out
    before any step sees them, so after a refit call `rewrite_documents` before the pipeline runs. Where vectors have
    lengths that matter, they get one more coordinate, so that cosine, L2 and inner product all rank by inner product.
    Search the store with queries of ``NudgedEmbedding``, which go through the nudge's query map where there is one, and
    have the coordinate too.

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
            logger.warning(
                "no nodes to nudge: with a docstore, unchanged documents keep the vectors of the nudge before: "
                "after a refit call rewrite_documents(docstore, nudge) before the pipeline runs"
            )
            return nodes
        vectors = np.asarray([node.embedding for node in nodes], dtype=np.float32)
        ids, texts = [node.node_id for node in nodes], [text_of(node) for node in nodes]
        placed = apply_documents(self.nudge, ids, texts, vectors)
        if self.extra_coordinate:
            placed = with_extra_coordinate(placed, self.nudge.max_norm)
        for node, row in zip(nodes, placed.tolist(), strict=True):
            node.embedding = row
        return nodes


def rewrite_documents(docstore: BaseDocumentStore, nudge: Nudge) -> int:
    """Have documents written again that a docstore holds since another nudge, the next time they come.

    A pipeline with ``DocstoreStrategy.UPSERTS``, or ``refresh_ref_docs``, then removes and writes them as if they had
    been edited, with whatever vectors its steps give them now. The docstore keeps which nudge was asked for, so calling
    this before every run writes each document once a nudge.

    Args:
        docstore: The docstore of the pipeline or the index.
        nudge: The nudge that the pipeline's steps use from now on.

    Returns:
        How many documents are written again.

    Raises:
        InputError: If the docstore is no ``KVDocumentStore``, as those of the framework are.

    >>> rewrite_documents(pipeline.docstore, nudge)  # doctest: +SKIP
    1418
    >>> pipeline.run(documents=documents)  # doctest: +SKIP
    """
    if not isinstance(docstore, KVDocumentStore):
        raise InputError(f"got a docstore of the class {type(docstore).__name__}, expected a KVDocumentStore")
    kept = docstore._kvstore.get(_KEY, collection=_COLLECTION)
    if kept is not None and kept.get("nudge") == nudge.fingerprint:
        return 0
    entries = docstore._kvstore.get_all(collection=docstore._metadata_collection)
    stale = {
        i: f"{entry['doc_hash']}, before {nudge.fingerprint}" for i, entry in entries.items() if "doc_hash" in entry
    }
    docstore.set_document_hashes(stale)
    docstore._kvstore.put(_KEY, {"nudge": nudge.fingerprint}, collection=_COLLECTION)
    return len(stale)
