"""Documents of a store in LangChain's words: added with or without their vectors, replaced, deleted, read by id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.runnables import run_in_executor

from nudge_integrations.corpus.texts import whole
from nudge_integrations.encoding.encoder import checked_texts
from nudge_integrations.errors import InputError
from nudge_integrations.langchain.documents import distinct, document_id
from nudge_integrations.langchain.vector_search import ExactSearch, document_of

__all__ = ["StoredDocuments"]


class StoredDocuments(ExactSearch):
    """The documents of `NudgeVectorStore`: what goes in and out beside the searches."""

    id_key: str | None

    def add_documents(
        self, documents: list[Document], ids: Sequence[str | None] | None = None, **kwargs: Any
    ) -> list[str]:
        """Embed documents and add them, or replace those whose ids are there.

        Args:
            documents: n documents.
            ids: n ids, in place of the documents' own; None where the document's own counts (see `document_id`).
            **kwargs: None are known.

        Returns:
            The n ids.

        Raises:
            InputError: If the numbers differ, one id comes with two contents, or the embeddings return no vector for a
                document; nothing was added then.
        """
        order = self._ids(documents, ids)
        named = distinct(documents, order)
        self._insert(named, self._embedding.embed_documents(_texts(named)))
        return order

    async def aadd_documents(
        self, documents: list[Document], ids: Sequence[str | None] | None = None, **kwargs: Any
    ) -> list[str]:
        """Do what `add_documents` does with the embeddings' own async path."""
        order = self._ids(documents, ids)
        named = distinct(documents, order)
        vectors = await self._embedding.aembed_documents(_texts(named))
        await run_in_executor(None, self._insert, named, vectors)
        return order

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Do what `add_documents` does for n texts, with n metadata and n ids where these are given."""
        return self.add_documents(_documents(texts, metadatas), ids, **kwargs)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Do what `add_texts` does with the embeddings' own async path."""
        return await self.aadd_documents(_documents(texts, metadatas), ids, **kwargs)

    def add_embeddings(
        self,
        texts: Iterable[str],
        embeddings: Any,
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        ids: Sequence[str | None] | None = None,
    ) -> list[str]:
        """Add documents whose vectors are there already; nothing is embedded.

        Args:
            texts: n texts.
            embeddings: (n, d) base vectors: lists, or an array.
            metadatas: n metadata; none when None.
            ids: n ids; as `add_documents`.

        Returns:
            The n ids.

        Raises:
            InputError: If the numbers differ, d differs from that of the store, a value is not finite, or one id comes
                with two contents.
            MismatchError: If the store is nudged and a document that moved comes with another vector than its base.
        """
        documents = _documents(texts, metadatas)
        if len(documents) != len(embeddings):
            raise InputError(f"{len(documents)} texts came with {len(embeddings)} embeddings; give one each")
        order = self._ids(documents, ids)
        first = {identifier: row for row, identifier in reversed(list(enumerate(order)))}
        named = distinct(documents, order)
        once = embeddings if len(named) == len(order) else [embeddings[first[identifier]] for identifier in named]
        self._insert(named, once, given=True)
        return order

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Remove documents by id; ids that are not there are no error.

        Returns:
            True.

        Raises:
            InputError: If no ids are given, or one text in place of a list.
        """
        if ids is None:
            raise InputError("delete needs ids; to remove everything, make a new store")
        self._index.discard(_listed(ids))
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids that are there, in this order."""
        return list(map(document_of, self._index.get(_listed(ids))))

    def _insert(self, named: Mapping[str, Document], vectors: Any, *, given: bool = False) -> None:
        texts = [document.page_content for document in named.values()]
        self._index.insert(list(named), vectors, texts, [one.metadata for one in named.values()], given=given)

    def _ids(self, documents: Sequence[Document], ids: Sequence[str | None] | None) -> list[str]:
        odd = [one for one in documents if not isinstance(one, Document)]
        if odd:
            raise InputError(f"expected documents, got a {type(odd[0]).__name__}; texts alone go through add_texts")
        given = [None] * len(documents) if ids is None else ids
        if isinstance(given, str) or len(given) != len(documents):
            came = repr(given) if isinstance(given, str) else f"{len(given)} ids"
            raise InputError(f"{len(documents)} documents came with {came}; give a list with one each")
        pairs = zip(documents, given, strict=True)
        return [document_id(document, self.id_key) if name is None else str(name) for document, name in pairs]


def _documents(texts: Iterable[str], metadatas: Sequence[Mapping[str, Any]] | None) -> list[Document]:
    """Return n texts with their metadata as documents."""
    listed = checked_texts(texts if isinstance(texts, str) else list(texts))
    entries: Sequence[Mapping[str, Any]] = metadatas or [{}] * len(listed)
    if len(entries) != len(listed):
        raise InputError(f"{len(listed)} texts came with {len(entries)} metadatas; give one each")
    odd = [one for one in entries if not isinstance(one, Mapping)]
    if odd:
        raise InputError(f"metadatas must be one mapping a text; got {odd[0]!r:.80}")
    return [Document(page_content=text, metadata=dict(entry)) for text, entry in zip(listed, entries, strict=True)]


def _listed(ids: Sequence[str]) -> Sequence[str]:
    if isinstance(ids, str):
        raise InputError(f"expected a list of ids, got the text {ids!r:.80}; give [{ids!r:.80}]")
    return ids


def _texts(documents: Mapping[str, Document]) -> list[str]:
    """Return the texts of documents as a model takes them."""
    return [whole(document.page_content) for document in documents.values()]
