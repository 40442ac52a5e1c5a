"""Edge check: one saved nudge in both frameworks' retrievers, which must return the same documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nudge_integrations.dataset import RetrievalDataset
    from nudge_integrations.encoding import Encoder

__all__ = ["EdgeCheck", "check_edges"]

SHOWN = 3
"""How many documents of the example query are kept to be shown."""


@dataclass(frozen=True)
class EdgeCheck:
    """The results of two retrievers made from one nudge.

    Attributes:
        agree: Whether they return the same documents in the same order, for every query.
        queries: How many queries both were given.
        example: The first query.
        llama_index: Its best documents by the LlamaIndex retriever.
        langchain: Its best documents by the LangChain retriever.
    """

    agree: bool
    queries: int
    example: str
    llama_index: tuple[str, ...]
    langchain: tuple[str, ...]


def check_edges(artifact: Path, encoder: Encoder, dataset: RetrievalDataset, k: int = 10) -> EdgeCheck:
    """Load a nudge into a LlamaIndex and a LangChain retriever and compare their results for every query.

    Args:
        artifact: A saved nudge.
        encoder: The encoder that it was fitted with.
        dataset: The documents, and the queries to retrieve for.
        k: How many documents to compare.

    Returns:
        Whether they agree, with an example.

    Raises:
        MissingExtraError: If a framework is not installed.
    """
    from nudge_integrations.langchain import NudgeRetriever, to_documents
    from nudge_integrations.llama_index import NudgeFinetuneEngine, to_nodes

    engine = NudgeFinetuneEngine.from_artifact(artifact, encoder, to_nodes(dataset))
    one = engine.as_retriever(similarity_top_k=k)
    other = NudgeRetriever.from_artifact(artifact, encoder, to_documents(dataset), k=k)
    queries = list(dataset.queries.values())
    by_one = [tuple(hit.node.node_id for hit in one.retrieve(query)) for query in queries]
    by_other = [tuple(str(document.id) for document in other.invoke(query)) for query in queries]
    return EdgeCheck(
        agree=by_one == by_other,
        queries=len(queries),
        example=queries[0],
        llama_index=by_one[0][:SHOWN],
        langchain=by_other[0][:SHOWN],
    )
