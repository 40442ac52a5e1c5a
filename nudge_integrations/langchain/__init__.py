"""The LangChain edge: labelled queries become ordinary LangChain retrievers, vector stores and embeddings.

    documents, embedding, dataset ──> NudgeRetriever.from_documents ──> chains
    embedding, nudge ───────────────> NudgedEmbeddings ───────────────> any vector store
    documents, embedding ───────────> NudgeVectorStore ──> fit(dataset), apply(nudge), revert()
    documents, language model ──────> generate_qa_pairs ──> dataset

Needs ``pip install 'nudge-integrations[langchain]'``.
"""

from __future__ import annotations

from nudge_integrations.errors import MissingExtraError

try:
    import langchain_core as _langchain_core
except ImportError as error:
    raise MissingExtraError("langchain_core", "langchain") from error

from nudge_integrations.langchain.documents import document_id, to_documents
from nudge_integrations.langchain.embeddings import NudgedEmbeddings
from nudge_integrations.langchain.encoder import as_embedding, as_encoder
from nudge_integrations.langchain.evaluators import langsmith_evaluators
from nudge_integrations.langchain.feedback import FeedbackCallbackHandler
from nudge_integrations.langchain.pairs import agenerate_qa_pairs, generate_qa_pairs
from nudge_integrations.langchain.retriever import NudgeRetriever
from nudge_integrations.langchain.similarity import check_store
from nudge_integrations.langchain.vector_store import NudgeVectorStore
from nudge_integrations.stores import ranks_by

__all__ = [
    "FeedbackCallbackHandler",
    "NudgeRetriever",
    "NudgeVectorStore",
    "NudgedEmbeddings",
    "agenerate_qa_pairs",
    "as_embedding",
    "as_encoder",
    "check_store",
    "document_id",
    "generate_qa_pairs",
    "langsmith_evaluators",
    "ranks_by",
    "to_documents",
]

del _langchain_core
