"""Documents of a vector store of LangChain by their ids: texts, and whether they pass a filter of that store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from nudge_integrations.errors import InputError
from nudge_integrations.index.filters import metadata_test
from nudge_integrations.stores.frameworks import by_class

__all__ = ["LiveDocuments", "id_of"]


def id_of(document: Document) -> str:
    """Return the id of a document that a store found; Qdrant's has it in the metadata."""
    return str(document.id or document.metadata["_id"])


class LiveDocuments:
    """The documents of a store.

    Args:
        store: The store.
    """

    def __init__(self, store: VectorStore) -> None:
        self.store = store

    def by_id(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return those documents that are there."""
        return {id_of(one): one for one in self.store.get_by_ids(list(ids))} if ids else {}

    def texts(self, ids: list[str]) -> list[str]:
        """Return the text of each document; none of one that is not there."""
        found = self.by_id(ids)
        return [found[one].page_content if one in found else "" for one in ids]

    def passing(self, options: Mapping[str, Any]) -> Callable[[list[str]], Collection[str]] | None:
        """Return what tells which documents pass the filter of a search; None without a filter.

        Raises:
            InputError: If the search has other options than ``filter``, which words could not heed.
        """
        where = options.get("filter")
        odd = [name for name, value in options.items() if name != "filter" and value is not None]
        if odd:
            raise InputError(f"{odd[0]!r} cannot be heeded where words are searched too: give filter=")
        if where is None:
            return None
        if (of_store := by_class(_PASSING, self.store)) is not None:
            return lambda ids: of_store(self.store, ids, where)
        if callable(where):  # of documents, in memory
            return lambda ids: {name for name, one in self.by_id(ids).items() if where(one)}
        test = metadata_test(where)
        return lambda ids: {name for name, one in self.by_id(ids).items() if test is None or test(one.metadata)}


def _qdrant(store: Any, ids: list[str], where: Any) -> set[str]:
    both = type(where)(must=[where, {"has_id": ids}])
    found = store.client.scroll(store.collection_name, both, limit=len(ids), with_payload=False)[0]
    return {str(point.id) for point in found}


def _chroma(store: Any, ids: list[str], where: Any) -> set[str]:
    return set(store._collection.get(ids=ids, where=where, include=[])["ids"])


_PASSING: Mapping[str, Callable[[Any, list[str], Any], set[str]]] = {"QdrantVectorStore": _qdrant, "Chroma": _chroma}
