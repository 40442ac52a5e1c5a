"""The LlamaIndex edge: labelled queries become ordinary LlamaIndex retrievers, indexes and embedding models.

    documents -> nodes -> generate_qa_pairs -> NudgeFinetuneEngine -> as_retriever | as_index | get_finetuned_model
                          (or your own labels)

Needs the extra ``llama-index``: ``pip install 'nudge-integrations[llama-index]'``.
"""

from importlib.util import find_spec

from nudge_integrations.errors import MissingExtraError

if find_spec("llama_index") is None or find_spec("llama_index.core") is None:
    raise MissingExtraError("llama_index.core", "llama-index")

from nudge_integrations.llama_index.embedding import NudgedEmbedding
from nudge_integrations.llama_index.encoder import as_embedding, as_encoder
from nudge_integrations.llama_index.engine import NudgeFinetuneEngine
from nudge_integrations.llama_index.evaluation import aevaluate_retriever, evaluate_retriever
from nudge_integrations.llama_index.events import NudgeFinetuneEndEvent, NudgeFinetuneStartEvent
from nudge_integrations.llama_index.feedback import FeedbackEventHandler, log_feedback
from nudge_integrations.llama_index.nodes import labels_over_nodes, to_nodes
from nudge_integrations.llama_index.questions import agenerate_qa_pairs, generate_qa_pairs
from nudge_integrations.llama_index.retriever import NudgeRetriever
from nudge_integrations.llama_index.transform import NudgeTransform, rewrite_documents

__all__ = [
    "FeedbackEventHandler",
    "NudgeFinetuneEndEvent",
    "NudgeFinetuneEngine",
    "NudgeFinetuneStartEvent",
    "NudgeRetriever",
    "NudgeTransform",
    "NudgedEmbedding",
    "aevaluate_retriever",
    "agenerate_qa_pairs",
    "as_embedding",
    "as_encoder",
    "evaluate_retriever",
    "generate_qa_pairs",
    "labels_over_nodes",
    "log_feedback",
    "rewrite_documents",
    "to_nodes",
]
