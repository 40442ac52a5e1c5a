"""LangChain documents: ids that can be depended on, and documents made from a dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence

from langchain_core.documents import Document

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import InputError

__all__ = ["distinct", "document_id", "to_documents"]


def document_id(document: Document, id_key: str | None = None) -> str:
    """Name a document: its id, else a value of its metadata, else a hash of what it holds.

    Args:
        document: The document.
        id_key: The metadata key that holds the id. Without it, and after it, ``"_id"`` is looked for, where Qdrant's
            results have it.

    Returns:
        ``document.id``, else ``metadata[id_key]``, else ``metadata["_id"]``, else the sha256 of the text, together with
        the metadata where there are any: a chunk that comes twice is one document, one text from two sources is two.

    >>> document_id(Document(page_content="cats purr", metadata={"key": 7}), id_key="key")
    '7'
    """
    if document.id is not None:
        return str(document.id)
    for key in (id_key, "_id"):
        if key is not None and document.metadata.get(key) is not None:
            return str(document.metadata[key])
    if not document.metadata:
        return text_hash(document.page_content)
    try:
        metadata = json.dumps(document.metadata, sort_keys=True, default=str)
    except (TypeError, ValueError):  # keys of several types, or an object that holds itself
        metadata = repr(document.metadata)
    return text_hash(f"{document.page_content}\0{metadata}")


def distinct(documents: Sequence[Document], ids: Sequence[str]) -> dict[str, Document]:
    """Return id -> document, in order; a document that comes twice is one.

    Raises:
        InputError: If one id has two contents.
    """
    named: dict[str, Document] = {}
    for identifier, document in zip(ids, documents, strict=True):
        known = named.setdefault(identifier, document)
        if (known.page_content, known.metadata) != (document.page_content, document.metadata):
            raise InputError(
                f"two documents have the id {identifier!r} and differ ({known.page_content[:40]!r} with "
                f"{known.metadata}, {document.page_content[:40]!r} with {document.metadata}): give each its own id "
                "(without one, those with the same text and metadata are one document)"
            )
    return named


def to_documents(dataset: RetrievalDataset) -> list[Document]:
    """Return the corpus of a dataset as LangChain documents, with their ids.

    >>> to_documents(RetrievalDataset({"d": "cats purr"}, {}, {}))
    [Document(id='d', metadata={}, page_content='cats purr')]
    """
    return [Document(id=identifier, page_content=text) for identifier, text in dataset.corpus.items()]
