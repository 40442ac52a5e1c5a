"""NudgedIndex: documents with base vectors, served where a nudge puts them; searched, changed, taken back, saved.

What a framework's vector store stands on: documents come in with base vectors and are searched where the nudge puts
them. The base vectors are kept, so that every fit starts from them and going back is exact.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nudge_integrations.artifact import Nudge
from nudge_integrations.artifact.matching import apply_documents, matched_rows
from nudge_integrations.corpus import as_matrix
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.index import ExactIndex, Filter
from nudge_integrations.pipeline import index_format

__all__ = ["Hit", "NudgedIndex"]


@dataclass(frozen=True)
class Hit:
    """A document that was found.

    Attributes:
        id: Its id.
        text: Its text.
        metadata: Its metadata; not a copy.
        score: Inner product of the query and the vector that is served.
    """

    id: str
    text: str
    metadata: Mapping[str, Any]
    score: float


@dataclass(frozen=True, eq=False)
class _Served:
    """What is searched, together with the nudge that made it: the two change at once."""

    vectors: ExactIndex
    nudge: Nudge | None


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
        self._base = ExactIndex(similarity="dot")
        self._served = _Served(self._base, None)
        self._writing = threading.Lock()

    def __len__(self) -> int:
        return len(self._base)

    def __contains__(self, document_id: object) -> bool:
        return document_id in self._base

    @property
    def nudge(self) -> Nudge | None:
        """What moves the documents; None when nothing does."""
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
        self, ids: Sequence[str], vectors: object, texts: Sequence[str], metadata: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add n documents with (n, d) base vectors, or replace those whose ids are there.

        Raises:
            InputError: Where `ExactIndex.insert` raises it; nothing was inserted then.
            MismatchError: If a document that the nudge moves comes with another vector than its base vector.
        """
        entries = [{"text": text, "metadata": dict(entry)} for text, entry in zip(texts, metadata, strict=True)]
        if not len(ids):
            return
        with self._writing:
            served = self._served
            # First what may be refused, so that nothing is inserted then.
            placed = None if served.nudge is None else apply_documents(served.nudge, ids, texts, vectors)
            self._base.insert(ids, vectors, entries)
            if placed is not None:
                served.vectors.insert(ids, placed, entries)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove documents that are there.

        Raises:
            InputError: If an id is not there; nothing was removed then.
        """
        with self._writing:
            self._base.delete(ids)
            if self._served.nudge is not None:
                self._served.vectors.delete(ids)

    def texts(self) -> dict[str, str]:
        """Return id -> text, in the order of the rows."""
        ids = self._base.ids
        return {i: entry["text"] for i, entry in zip(ids, self._base.get_metadata(ids), strict=True)}

    def get(self, ids: Sequence[str]) -> list[Hit]:
        """Return documents by id, with score 0.

        Raises:
            InputError: If an id is not there.
        """
        return _hits(self._base, ids, [0.0] * len(ids))

    def search(self, query: object, k: int, *, where: Filter | None = None) -> list[Hit]:
        """Return the k documents with the largest inner product with one (d,) query, best first.

        The query goes through the nudge's query map where there is one.

        Args:
            query: (d,) numbers.
            k: How many at most.
            where: As in `ExactIndex.search`, about the documents' metadata.

        Raises:
            InputError: If k < 1, the query is not one vector, d differs or it is not finite.
        """
        served = self._served
        queries: object = as_matrix([query], "the query")
        if served.nudge is not None:
            queries = served.nudge.transform_queries(queries)
        test = _about_documents(where)
        while True:
            found, scores = served.vectors.search(queries, k, where=test)
            try:
                return _hits(served.vectors, found[0], scores[0].tolist())
            except InputError:
                # Only if another thread deleted what was found; it is not found again then.
                if all(document_id in served.vectors for document_id in found[0]):
                    raise

    def apply(self, nudge: Nudge) -> None:
        """Serve the documents where a nudge puts them, in place of any nudge before.

        Raises:
            MismatchError: If the nudge moves documents, but not one of these; or they come from another model.
        """
        with self._writing:
            ids, vectors = self._base.ids, self._base.vectors
            entries = self._base.get_metadata(ids)
            texts = [entry["text"] for entry in entries]
            if len(nudge) and ids and (matched_rows(nudge, ids, texts, vectors) < 0).all():
                raise MismatchError(
                    f"none of the {len(nudge)} documents that this nudge moves is among the {len(ids)} here, by id or "
                    f"by text (it knows {nudge.ids[0]!r}, here is {ids[0]!r}): give the documents that it was fitted on"
                )
            placed = ExactIndex(similarity="dot")
            if ids:
                placed.insert(ids, apply_documents(nudge, ids, texts, vectors), entries)
            self._served = _Served(placed, nudge)

    def revert(self) -> None:
        """Serve base vectors again, exactly."""
        with self._writing:
            self._served = _Served(self._base, None)

    def copy(self) -> NudgedIndex:
        """Return another index over the same documents, with no nudge."""
        other = NudgedIndex()
        with self._writing:
            ids = self._base.ids
            if ids:
                other._base.insert(ids, self._base.vectors, self._base.get_metadata(ids))
        return other

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a folder, in place of what was saved there; readers see the old state or the new one.

        Raises:
            InputError: If metadata is no JSON; names the id.
            ArtifactError: If something else is in the way.
        """
        with self._writing:
            placed = None if self.nudge is None else self._served.vectors
            index_format.write(path, self._base, placed, self.nudge)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verify: bool = True) -> NudgedIndex:
        """Open what was saved; vectors are mapped from the disk. ``verify=False`` does not hash the large files.

        Raises:
            CorruptArtifactError: If a file is missing, truncated or altered.
            ArtifactError: If the folder holds something else, or a newer format.
        """
        index = cls()
        index._base, placed, nudge = index_format.read(path, verify=verify)
        index._served = _Served(index._base if placed is None else placed, nudge)
        return index


def _hits(index: ExactIndex, ids: Sequence[str], scores: Sequence[float]) -> list[Hit]:
    rows = zip(ids, index.get_metadata(ids), scores, strict=True)
    return [Hit(document_id, entry["text"], entry["metadata"], score) for document_id, entry, score in rows]


def _about_documents(where: Filter | None) -> Filter | None:
    if where is None:
        return None
    if callable(where):
        test = where
        return lambda entry: test(entry["metadata"])
    if not isinstance(where, Mapping):
        raise InputError(f"a filter is a mapping or a function of the metadata; got {type(where).__name__}")
    conditions = dict(where)
    return lambda entry: all(
        key in entry["metadata"] and entry["metadata"][key] == conditions[key] for key in conditions
    )
