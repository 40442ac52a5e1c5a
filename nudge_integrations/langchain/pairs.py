"""Training pairs for LangChain documents: questions written by a LangChain language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseLanguageModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable
from pydantic import BaseModel, Field

from nudge_integrations import generation
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError
from nudge_integrations.langchain.documents import distinct, document_id
from nudge_integrations.langchain.encoder import as_encoder

__all__ = ["Questions", "agenerate_qa_pairs", "generate_qa_pairs"]


class Questions(BaseModel):
    """Questions that a document answers."""

    questions: list[str] = Field(description="Different questions that the document answers, one an item.")


def generate_qa_pairs(
    documents: Sequence[Document],
    llm: Runnable[Any, Any],
    *,
    embedding: Embeddings | Encoder | None = None,
    id_key: str | None = None,
    structured: bool | None = None,
    **options: Any,
) -> RetrievalDataset:
    """Ask a language model for questions that documents answer, and make a dataset of them.

    ``workers`` calls run at once, as ``batch`` would make them.

    Args:
        documents: The documents, named as `document_id` says.
        llm: Any LangChain language model, or another runnable from a prompt to text.
        embedding: Makes the vectors that ``round_trip`` and ``coverage`` compare.
        id_key: The metadata key that holds the id of documents without ``id``.
        structured: Whether to ask through ``with_structured_output``; by default where the model can.
        **options: Those of ``nudge_integrations.generation.generate_qa_pairs``: ``questions_per_document``, ``prompt``,
            ``examples``, ``output_path`` (resumes by id and content, never by count), ``workers``, ``retries``,
            ``on_failure``, ``round_trip`` (keep a question only if its own document is among this many nearest),
            ``coverage`` (ask for this many documents only, from all over the collection), ``seed``, ``progress`` and
            ``on_report``, which is called with the counts of what was kept and dropped.

    Returns:
        A dataset whose document ids are those of the documents.

    Raises:
        InputError: If two documents have one id, an option cannot be used, or the model has no structured output.
        DatasetError: If a document has no question, with ``on_failure="raise"``, or none has.

    >>> from langchain_core.language_models import FakeListChatModel
    >>> cats = Document(id="d1", page_content="Cats purr.")
    >>> dataset = generate_qa_pairs([cats], FakeListChatModel(responses=["Who?"]))
    >>> list(dataset.queries.values()), dict(dataset.qrels[dataset.query_ids[0]])
    (['Who?'], {'d1': 1.0})
    """
    model = _text_model(llm, structured)

    def ask(prompt: str) -> str | Sequence[str]:
        return _questions(model.invoke(prompt))

    return generation.generate_qa_pairs(_texts(documents, id_key), ask, encoder=_encoder(embedding), **options)


async def agenerate_qa_pairs(
    documents: Sequence[Document],
    llm: Runnable[Any, Any],
    *,
    embedding: Embeddings | Encoder | None = None,
    id_key: str | None = None,
    structured: bool | None = None,
    **options: Any,
) -> RetrievalDataset:
    """Do the same as `generate_qa_pairs` with the model's asynchronous calls, ``workers`` of them at once."""
    model = _text_model(llm, structured)

    async def ask(prompt: str) -> str | Sequence[str]:
        return _questions(await model.ainvoke(prompt))

    texts = _texts(documents, id_key)
    return await generation.agenerate_qa_pairs(texts, ask, encoder=_encoder(embedding), **options)


def _text_model(llm: Runnable[Any, Any], structured: bool | None) -> Runnable[Any, Any]:
    if structured is not False and isinstance(llm, BaseLanguageModel):
        try:
            return llm.with_structured_output(Questions)
        except NotImplementedError as error:
            if structured:
                raise InputError(
                    f"{type(llm).__name__} has no structured output; leave structured= out to have its text read"
                ) from error
    return llm | StrOutputParser()


def _questions(answer: Any) -> str | Sequence[str]:
    if isinstance(answer, str):
        return answer
    return Questions.model_validate(answer, from_attributes=True).questions


def _texts(documents: Sequence[Document], id_key: str | None) -> dict[str, str]:
    named = distinct(documents, [document_id(document, id_key) for document in documents])
    return {identifier: document.page_content for identifier, document in named.items()}


def _encoder(embedding: Embeddings | Encoder | None) -> Encoder | None:
    return None if embedding is None else as_encoder(embedding)
