"""NudgedIndex: documents with base vectors, served where a nudge puts them; searched, changed, taken back, saved.

Base vectors are kept beside those that are searched, so that every fit starts from them and going back is exact.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nudge_integrations.artifact import Nudge
from nudge_integrations.artifact.matching import apply_documents, matched_rows
from nudge_integrations.corpus import as_rows
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.index import ExactIndex, Filter
from nudge_integrations.index.filters import metadata_test
from nudge_integrations.index.rows import FoundRow
from nudge_integrations.pipeline import index_format
from nudge_integrations.pipeline.fused_search import Words, fused_search, words_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Hit", "NudgedIndex", "Snapshot"]


@dataclass(frozen=True)
class Hit:
    """A document that was found.

    Attributes:
        id: Its id.
        text: Its text.
        metadata: Its metadata; not a copy.
        score: Inner product of the query and the vector that is served, plus weighed words where a text was given.
        vector: (d,) float32: the vector that is served.
    """

    id: str
    text: str
    metadata: Mapping[str, Any]
    score: float
    vector: NDArray[np.float32] = field(repr=False, compare=False)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The documents of an index at one moment.

    Attributes:
        texts: Id -> text, of n documents in the order of the rows.
        metadata: n metadata; not copies.
        vectors: (n, d) float32 base vectors, read-only.
        embedded: Rows of documents whose vectors were made of their texts.
    """

    texts: Mapping[str, str]
    metadata: Sequence[Mapping[str, Any]]
    vectors: NDArray[np.float32]
    embedded: Sequence[int]


@dataclass(frozen=True, eq=False)
class _Served:
    """The searched index together with the nudge that made it: the two change at once."""

    vectors: ExactIndex
    nudge: Nudge | None = None
    words: Words | None = None


class NudgedIndex:
    """Documents with base vectors, and where a nudge puts them.

    Without a nudge vectors are searched as they came, by inner product. With one they have unit length, but for those
    that a magnitude method moved. Searches see one nudge and its vectors while other threads change either.

    >>> index = NudgedIndex()
    >>> index.insert(["a", "b"], [[1.0, 0.0], [0.0, 1.0]], ["cats purr", "dogs bark"], [{}, {"loud": True}])
    >>> [(hit.text, hit.score) for hit in index.search([0.0, 1.0], k=1)]
    [('dogs bark', 1.0)]
    """

    def __init__(self) -> None:
        self.model = ""  # the fingerprint that the saved index was written with
        self._base = ExactIndex(similarity="dot")
        self._served = _Served(self._base)
        self._writing = threading.Lock()

    def __len__(self) -> int:
        return len(self._base)

    def __contains__(self, document_id: object) -> bool:
        return document_id in self._base

    @property
    def nudge(self) -> Nudge | None:
        """The nudge that moves the documents; None when nothing does."""
        return self._served.nudge

    @property
    def base(self) -> ExactIndex:
        """The vectors as they came; to read only."""
        return self._base

    @property
    def served(self) -> ExactIndex:
        """The vectors that are searched; to read only."""
        return self._served.vectors

    def insert(
        self,
        ids: Sequence[str],
        vectors: object,
        texts: Sequence[str],
        metadata: Sequence[Mapping[str, Any]],
        *,
        given: bool = False,
    ) -> None:
        """Add n documents with (n, d) base vectors, or replace those whose ids are there.

        Args:
            ids: n ids.
            vectors: (n, d) base vectors.
            texts: n texts.
            metadata: n metadata.
            given: Whether the vectors were given, so that embedding the texts need not give the same.

        Raises:
            InputError: Where `ExactIndex.insert` raises it; nothing was inserted then.
            MismatchError: If a document that the nudge moves comes with another vector than its base vector.
        """
        mark = {"given": True} if given else {}
        entries = [{"text": text, "metadata": dict(entry), **mark} for text, entry in zip(texts, metadata, strict=True)]
        if not len(ids):
            return
        with self._writing:
            served = self._served
            # First what may be refused, so that nothing is inserted then.
            placed = None if served.nudge is None else apply_documents(served.nudge, ids, texts, vectors)
            self._base.insert(ids, vectors, entries)
            if placed is not None:
                served.vectors.insert(ids, placed, entries)
            if served.words is not None:
                served.words.index.insert(ids, texts)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove documents that are there.

        Raises:
            InputError: If an id is not there; nothing was removed then.
        """
        with self._writing:
            self._base.delete(ids)
            if self._served.nudge is not None:
                self._served.vectors.delete(ids)
            if self._served.words is not None:
                self._served.words.index.delete(ids)

    def discard(self, ids: Sequence[str]) -> None:
        """Remove documents; ids that are not there are no error."""
        with self._writing:
            self._base.discard(ids)
            if self._served.nudge is not None:
                self._served.vectors.discard(ids)
            if self._served.words is not None:
                self._served.words.index.discard(ids)

    def snapshot(self) -> Snapshot:
        """Return all documents with their base vectors, as they are at one moment, in the order of the rows."""
        ids, vectors, entries = self._base.contents()
        texts = {document_id: entry["text"] for document_id, entry in zip(ids, entries, strict=True)}
        embedded = [row for row, entry in enumerate(entries) if "given" not in entry]
        return Snapshot(texts, [entry["metadata"] for entry in entries], vectors, embedded)

    def get(self, ids: Sequence[str]) -> list[Hit]:
        """Return those documents that are there by id, in this order, with score 0."""
        return list(map(_hit, self._served.vectors.rows(ids)))

    def search(self, query: object, k: int, *, where: Filter | None = None, text: str | None = None) -> list[Hit]:
        """Return the k documents with the largest inner product with one (d,) query, best first.

        Queries go through the nudge's query map, if any. Where the nudge weighs words too, the sum of both counts.

        Args:
            query: (d,) numbers.
            k: How many at most.
            where: As in `metadata_test`, about the documents' metadata.
            text: The query in words, as it was asked; without it vectors alone count.

        Raises:
            InputError: If k is no whole number or < 1, the query is not one vector of d finite numbers, or the filter
                cannot be used.
        """
        return self.search_mapped(query, k, where=where, text=text)[1]

    def search_mapped(
        self, query: object, k: int, *, where: Filter | None = None, text: str | None = None
    ) -> tuple[NDArray[np.float32], list[Hit]]:
        """Do what `search` does, and also return the (d,) query as it was compared: behind the query map."""
        served = self._served
        asked = _one_query(query)
        if served.nudge is not None:
            asked = served.nudge.transform_queries(asked)
        test = metadata_test(where)
        about = None if test is None else lambda entry: test(entry["metadata"])
        if served.words is not None and text is not None:
            return asked[0], list(map(_hit, fused_search(served.vectors, served.words, asked[0], text, k, about)))
        return asked[0], list(map(_hit, served.vectors.search_rows(asked[0], k, where=about)))

    def apply(self, nudge: Nudge) -> None:
        """Serve the documents where a nudge puts them, in place of any nudge before.

        Raises:
            MismatchError: If the nudge moves documents, but not one of these (unless it serves them already, and those
                are gone since); or they come from another model.
            InputError: If it weighs a signal that only its maker can compute.
            MissingExtraError: If it weighs words and bm25s is not installed.
        """
        with self._writing:
            ids, vectors, entries = self._base.contents()
            texts = [entry["text"] for entry in entries]
            new = self.nudge is None or self.nudge.fingerprint != nudge.fingerprint
            if new and len(nudge) and ids and (matched_rows(nudge, ids, texts, vectors) < 0).all():
                raise MismatchError(
                    f"none of the {len(nudge)} documents that this nudge moves is among the {len(ids)} here, by id or "
                    f"by text (it knows {nudge.ids[0]!r}, here is {ids[0]!r}): give the documents that it was fitted on"
                )
            words = words_of(nudge.fusion, ids, texts)
            placed = ExactIndex(similarity="dot")
            if ids:
                placed.insert(ids, apply_documents(nudge, ids, texts, vectors), entries)
            self._served = _Served(placed, nudge, words)

    def revert(self) -> None:
        """Serve base vectors again, exactly."""
        with self._writing:
            self._served = _Served(self._base)

    def copy(self) -> NudgedIndex:
        """Return another index over the same documents, with no nudge."""
        other, (ids, vectors, entries) = NudgedIndex(), self._base.contents()
        if ids:
            other._base.insert(ids, vectors, entries)
        return other

    def save(self, path: str | os.PathLike[str], *, model: str = "") -> None:
        """Write everything to a folder, in place of what was saved there; readers see the old state or the new one.

        Args:
            path: The folder.
            model: The fingerprint of the model that made the base vectors, which `load` returns as ``index.model``.

        Raises:
            InputError: If metadata would not come back as it is; names the id.
            ArtifactError: If something else is in the way.
        """
        with self._writing:
            placed = None if self.nudge is None else self._served.vectors
            index_format.write(path, self._base, placed, self.nudge, self._served.words, model)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verify: bool = True) -> NudgedIndex:
        """Open what was saved; ``verify=False`` hashes nothing, and maps large files from the disk.

        Raises:
            CorruptArtifactError: If a file is missing, truncated or altered.
            ArtifactError: If the folder holds something else, or a newer format.
        """
        index = cls()
        index._base, placed, nudge, words, index.model = index_format.read(path, verify=verify)
        index._served = _Served(index._base if placed is None else placed, nudge, words)
        return index

    def __getstate__(self) -> dict[str, Any]:
        """Return one moment, without the lock, which belongs to this process."""
        with self._writing:
            return {"model": self.model, "base": self._base, "served": self._served}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` returned."""
        self.model, self._base, self._served = state["model"], state["base"], state["served"]
        self._writing = threading.Lock()


def _hit(row: FoundRow) -> Hit:
    return Hit(row.id, row.metadata["text"], row.metadata["metadata"], row.score, row.vector)


def _one_query(query: object) -> NDArray[np.float32]:
    """Return a query as (1, d); a batch of queries would otherwise be answered by its first alone."""
    try:
        return as_rows([query], "the query")
    except InputError as error:
        raise InputError(f"expected a query as one vector of numbers, several queries one by one: {error}") from error
