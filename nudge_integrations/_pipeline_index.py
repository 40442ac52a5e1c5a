"""NudgedIndex: documents with base vectors, served where a nudge puts them; searched, changed, taken back, saved.

What a framework's vector store stands on: documents come in with base vectors and are searched where the nudge puts
them. The base vectors are kept, so that every fit starts from them and going back is exact.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nudge_integrations import _pipeline_index_format as index_format
from nudge_integrations._artifact_matching import apply_documents, matched_rows
from nudge_integrations.artifact import Nudge
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.index import ExactIndex, Filter

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
class NudgedIndex:
    """Documents with base vectors, and where a nudge puts them.

    Without a nudge vectors are searched as they came, by inner product. With one they have unit length, but for those
    that a magnitude method moved. Searches see one moment, whole, while other threads insert and delete.

    Attributes:
        nudge: What moves the documents; None when nothing does.
        base: The vectors as they came.
        placed: The vectors where the nudge puts them; None without one.

    >>> index = NudgedIndex()
    >>> index.insert(["a", "b"], [[1.0, 0.0], [0.0, 1.0]], ["cats purr", "dogs bark"], [{}, {"loud": True}])
    >>> [(hit.text, hit.score) for hit in index.search([0.0, 1.0], k=1)]
    [('dogs bark', 1.0)]
    """

    nudge: Nudge | None = None
    base: ExactIndex = field(default_factory=lambda: ExactIndex(similarity="dot"))
    placed: ExactIndex | None = None
    _writing: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def served(self) -> ExactIndex:
        """The vectors that are searched."""
        return self.base if self.placed is None else self.placed

    def __len__(self) -> int:
        return len(self.base)

    def __contains__(self, document_id: object) -> bool:
        return document_id in self.base

    def insert(
        self, ids: Sequence[str], vectors: object, texts: Sequence[str], metadata: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add n documents with (n, d) base vectors, or replace those whose ids are there.

        Raises:
            InputError: As `ExactIndex.insert`; nothing was inserted then.
            MismatchError: If a document that the nudge moves comes with another vector than its base vector.
        """
        entries = [{"text": text, "metadata": dict(entry)} for text, entry in zip(texts, metadata, strict=True)]
        if not len(ids):
            return
        with self._writing:
            # First of all what may be refused, so that nothing is inserted then.
            placed = None if self.nudge is None else apply_documents(self.nudge, ids, texts, vectors)
            self.base.insert(ids, vectors, entries)
            if self.placed is not None:
                self.placed.insert(ids, placed, entries)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove documents that are there.

        Raises:
            InputError: If an id is not there; nothing was removed then.
        """
        with self._writing:
            self.base.delete(ids)
            if self.placed is not None:
                self.placed.delete(ids)

    def texts(self) -> dict[str, str]:
        """Return id -> text, in the order of the rows."""
        ids = self.base.ids
        return {document_id: entry["text"] for document_id, entry in zip(ids, self._entries(ids), strict=True)}

    def get(self, ids: Sequence[str]) -> list[Hit]:
        """Return documents by id, with score 0.

        Raises:
            InputError: If an id is not there.
        """
        entries = self._entries(ids)
        return [Hit(i, entry["text"], entry["metadata"], 0.0) for i, entry in zip(ids, entries, strict=True)]

    def search(self, query: object, k: int, *, where: Filter | None = None) -> list[Hit]:
        """Return the k documents with the largest inner product with one (d,) query, best first.

        The query goes through the nudge's query map where there is one.

        Args:
            query: (d,) numbers.
            k: How many at most.
            where: As in `ExactIndex.search`, about the documents' metadata.

        Raises:
            InputError: If k < 1, d differs or the query is not finite.
        """
        asked = np.atleast_2d(np.asarray(query))
        if self.nudge is not None:
            asked = self.nudge.transform_queries(asked)
        found, scores = self.served.search(asked, k, where=_about_documents(where))
        return [
            replace(hit, score=float(score)) for hit, score in zip(self.get(found[0]), scores[0].tolist(), strict=True)
        ]

    def nudged(self, nudge: Nudge | None) -> NudgedIndex:
        """Return the same documents where a nudge puts them, or with None where they were; this index stays.

        Raises:
            MismatchError: If the nudge moves documents, but not one of these; or they come from another model.
        """
        if nudge is None:
            return NudgedIndex(base=self.base)
        with self._writing:
            ids = self.base.ids
            entries, vectors = self.base.get_metadata(ids), self.base.vectors
        texts = [entry["text"] for entry in entries]
        if len(nudge) and ids and (matched_rows(nudge, ids, texts, vectors) < 0).all():
            raise MismatchError(
                f"none of the {len(nudge)} documents that this nudge moves is among the {len(ids)} here, by id or by "
                f"text (the nudge knows {nudge.ids[0]!r}, here is {ids[0]!r}): give the documents that it was fitted on"
            )
        placed = ExactIndex(similarity="dot")
        if ids:
            placed.insert(ids, apply_documents(nudge, ids, texts, vectors), entries)
        return NudgedIndex(nudge=nudge, base=self.base, placed=placed)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a folder, in place of what was saved there; readers see the old state or the new one.

        Raises:
            InputError: If metadata is no JSON; names the id.
            ArtifactError: If something else is in the way.
        """
        with self._writing:
            index_format.write(path, self.base, self.placed, self.nudge)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verify: bool = True) -> NudgedIndex:
        """Open what was saved; vectors are mapped from the disk. ``verify=False`` does not hash the large files.

        Raises:
            CorruptArtifactError: If a file is missing, truncated or altered.
            ArtifactError: If the folder holds something else, or a newer format.
        """
        base, placed, nudge = index_format.read(path, verify=verify)
        return cls(nudge=nudge, base=base, placed=placed)

    def _entries(self, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        return self.base.get_metadata(ids)


def _about_documents(where: Filter | None) -> Filter | None:
    if where is None:
        return None
    if callable(where):
        test = where
        return lambda entry: test(entry["metadata"])
    if not isinstance(where, Mapping):
        raise InputError(f"a filter is a mapping or a function of the metadata; got {type(where).__name__}")
    wanted = dict(where)
    return lambda entry: all(key in entry["metadata"] and entry["metadata"][key] == wanted[key] for key in wanted)
