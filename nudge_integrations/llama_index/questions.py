"""Training pairs for nodes: questions written by a LlamaIndex language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms.llm import LLM
from llama_index.core.schema import BaseNode

from nudge_integrations import generation
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import Encoder
from nudge_integrations.llama_index.embedding import base_model
from nudge_integrations.llama_index.encoder import as_encoder
from nudge_integrations.llama_index.nodes import check_ids, embed_text

__all__ = ["agenerate_qa_pairs", "generate_qa_pairs"]


def generate_qa_pairs(
    nodes: Sequence[BaseNode], llm: LLM, *, embed_model: BaseEmbedding | Encoder | None = None, **options: Any
) -> RetrievalDataset:
    """Ask a language model for questions that nodes answer, and make a dataset of them.

    Args:
        nodes: The nodes; their text is what an index embeds of them.
        llm: Any LlamaIndex language model.
        embed_model: Makes the vectors that ``round_trip`` and ``coverage`` compare.
        **options: Those of ``nudge_integrations.generation.generate_qa_pairs``: ``questions_per_document``, ``prompt``,
            ``examples``, ``output_path`` (resumes by node id and content, never by count), ``workers``, ``retries``,
            ``on_failure``, ``round_trip`` (keep a question only if its own node is among this many nearest),
            ``coverage`` (ask for this many nodes only, from all over the collection), ``seed``, ``progress`` and
            ``on_report``, which is called with the counts of what was kept and dropped.

    Returns:
        A dataset whose document ids are node ids.

    Raises:
        InputError: If node ids come twice, or an option cannot be used.
        DatasetError: If a node has no question, with ``on_failure="raise"``, or none has.

    >>> from llama_index.core.llms import MockLLM
    >>> from llama_index.core.schema import TextNode
    >>> dataset = generate_qa_pairs([TextNode(id_="d1", text="Cats purr.")], MockLLM(max_tokens=2))
    >>> dataset.corpus["d1"], dict(dataset.qrels[dataset.query_ids[0]])
    ('Cats purr.', {'d1': 1.0})
    """

    def ask(prompt: str) -> str:
        return llm.complete(prompt).text

    return generation.generate_qa_pairs(_texts(nodes), ask, encoder=_encoder(embed_model), **options)


async def agenerate_qa_pairs(
    nodes: Sequence[BaseNode], llm: LLM, *, embed_model: BaseEmbedding | Encoder | None = None, **options: Any
) -> RetrievalDataset:
    """Do the same as `generate_qa_pairs` with the model's asynchronous calls, ``workers`` of them at once."""

    async def ask(prompt: str) -> str:
        return (await llm.acomplete(prompt)).text

    return await generation.agenerate_qa_pairs(_texts(nodes), ask, encoder=_encoder(embed_model), **options)


def _texts(nodes: Sequence[BaseNode]) -> dict[str, str]:
    check_ids(nodes)
    return {node.node_id: embed_text(node) for node in nodes}


def _encoder(embed_model: BaseEmbedding | Encoder | None) -> Encoder | None:
    return None if embed_model is None else as_encoder(base_model(embed_model))
