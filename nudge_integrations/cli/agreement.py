"""One saved nudge through both frameworks: their retrievers must return the same documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nudge_integrations.dataset import RetrievalDataset
    from nudge_integrations.encoding import Encoder

__all__ = ["Agreement", "compare_retrievers"]

SHOWN = 3
"""How many documents of the example query are kept to be shown."""


@dataclass(frozen=True)
class Agreement:
    """What two retrievers made from one nudge return.

    Attributes:
        agree: Whether they return the same documents in the same order, for every query.
        queries: How many queries both answered.
        example: The first query.
        llama_index: Its best documents by the LlamaIndex retriever.
        langchain: Its best documents by the LangChain retriever.
    """

    agree: bool
    queries: int
    example: str
    llama_index: tuple[str, ...]
    langchain: tuple[str, ...]


def compare_retrievers(artifact: Path, encoder: Encoder, dataset: RetrievalDataset, k: int = 10) -> Agreement:
    """Load a nudge into a LlamaIndex and a LangChain retriever and ask both every query.

    Args:
        artifact: A saved nudge.
        encoder: The encoder that it was fitted with.
        dataset: The documents, and the queries to ask.
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
    by_one = [tuple(found.node.node_id for found in one.retrieve(query)) for query in queries]
    by_other = [tuple(str(document.id) for document in other.invoke(query)) for query in queries]
    return Agreement(
        agree=by_one == by_other,
        queries=len(queries),
        example=queries[0],
        llama_index=by_one[0][:SHOWN],
        langchain=by_other[0][:SHOWN],
    )
