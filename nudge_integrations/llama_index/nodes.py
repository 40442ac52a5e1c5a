"""LlamaIndex nodes as documents of a dataset: their ids, the text that is embedded, labels over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, TextNode
from numpy.typing import NDArray

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.alignment import weighted_labels_over
from nudge_integrations.dataset.label_weights import LabelWeights
from nudge_integrations.errors import InputError

__all__ = [
    "bare",
    "check_count",
    "check_ids",
    "embed_text",
    "labels_over_nodes",
    "own_copy",
    "raw_texts",
    "text_of",
    "to_nodes",
    "weighted_labels_over_nodes",
    "with_embeddings",
]


def to_nodes(dataset: RetrievalDataset) -> list[TextNode]:
    """Make a node of every document: its id, its text, nothing else.

    >>> [node.node_id for node in to_nodes(RetrievalDataset({"d1": "cats purr"}, {}, {}))]
    ['d1']
    """
    return [TextNode(id_=document_id, text=text) for document_id, text in dataset.corpus.items()]


def embed_text(node: BaseNode) -> str:
    """Return the text that an index embeds for a node: metadata and body, as ``MetadataMode.EMBED`` puts them."""
    return node.get_content(metadata_mode=MetadataMode.EMBED)


def text_of(node: BaseNode) -> str:
    """Return the text that a node is known by: the embedded one, or its id where its vector comes from no text."""
    text = "" if isinstance(node, ImageNode) else embed_text(node)
    return text if text.strip() else node.node_id


def raw_texts(nodes: Sequence[BaseNode]) -> dict[str, str]:
    """Return node id -> text without metadata, by which a node is known again whatever metadata it comes with."""
    texts = {node.node_id: node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes}
    return {node_id: text for node_id, text in texts.items() if text.strip()}


def check_ids(nodes: Sequence[BaseNode]) -> None:
    """Refuse nodes that share an id.

    Raises:
        InputError: Names the id.
    """
    seen: set[str] = set()
    for node in nodes:
        if node.node_id in seen:
            raise InputError(f"node id {node.node_id!r} comes twice; give every node its own id")
        seen.add(node.node_id)


def check_count(name: str, value: Any) -> int:
    """Return a number of nodes as it is.

    Raises:
        InputError: If it is no whole number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} is {value!r}, expected a whole number of at least 1")
    return value


def labels_over_nodes(nodes: Sequence[BaseNode], labels: RetrievalDataset) -> RetrievalDataset:
    """Read labels over nodes: by node id, by the id of the document that a node was cut from, or by text.

    Raises:
        DatasetError: If a relevant document is none of these.
    """
    return weighted_labels_over_nodes(nodes, labels, None)[0]


def weighted_labels_over_nodes(
    nodes: Sequence[BaseNode], labels: RetrievalDataset, weights: LabelWeights | None
) -> tuple[RetrievalDataset, LabelWeights | None]:
    """Do what `labels_over_nodes` does, and say how much the labels count under the ids of the nodes."""
    texts = {node.node_id: text_of(node) for node in nodes}
    parents = {node.node_id: node.ref_doc_id for node in nodes if node.ref_doc_id}
    return weighted_labels_over(labels, weights, texts, parents)


def own_copy(node: BaseNode) -> BaseNode:
    """Copy a node so that whatever is changed in one changes nothing in the other.

    What an ``IndexNode`` leads to stays the same object: a retriever or an index is not copied.
    """
    leads_to = getattr(node, "obj", None)
    if leads_to is None:
        return node.model_copy(deep=True)
    copied = node.model_copy(update={"obj": None}).model_copy(deep=True)
    setattr(copied, "obj", leads_to)  # noqa: B010  only an IndexNode has one
    return copied


def bare(node: BaseNode) -> BaseNode:
    """Return a shallow copy without an embedding."""
    return node.model_copy(update={"embedding": None})


def with_embeddings(nodes: Sequence[BaseNode], vectors: NDArray[Any]) -> list[BaseNode]:
    """Copy n nodes and give each its row of (n, d) vectors as ``embedding``; the given nodes stay as they are."""
    rows = np.asarray(vectors, dtype=np.float32).tolist()
    copies = [own_copy(bare(node)) for node in nodes]
    for node, row in zip(copies, rows, strict=True):
        node.embedding = row
    return copies
