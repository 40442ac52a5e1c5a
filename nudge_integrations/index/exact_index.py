"""ExactIndex: ids, vectors and their similarity; exact top k, filters, insert, delete, save, load.

What both framework edges search. numpy only. Vectors that are not of unit length mean nothing under cosine, so the
similarity travels with them; `with_extra_coordinate` carries inner products to stores that only know cosine or L2.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nudge_integrations.corpus import as_rows, row_lengths, unit_rows
from nudge_integrations.corpus.counts import whole_number
from nudge_integrations.errors import InputError
from nudge_integrations.index import format as index_format
from nudge_integrations.index.filters import Filter, metadata_test
from nudge_integrations.index.rows import FoundRow, Rows
from nudge_integrations.index.search import top_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ExactIndex"]


class ExactIndex:
    """Ids and vectors that are searched exactly: every query is compared with every vector.

    The order of rows is the order of insertion; a replaced vector keeps its row. Equal scores are ordered by row, and
    the score of a vector does not depend on its row, on other rows or on how many queries are asked at once. Searches
    see one moment of the index, whole, while other threads insert and delete.

    Args:
        ids: n distinct ids, one a row.
        vectors: (n, d) numbers; copied. The first vectors decide d.
        similarity: ``"cosine"`` scales vectors and queries to unit length, ``"dot"`` takes both as they are.
        metadata: n JSON objects, one a row, to filter by; none when None.

    Raises:
        InputError: If the numbers of ids, vectors and metadata differ, an id comes twice or is no string, or a vector
            is not finite, or zero under cosine.

    >>> index = ExactIndex(["north", "east", "far east"], [[0, 1], [1, 0], [9, 0]], similarity="dot")
    >>> index.search([[1.0, 0.1]], k=2)[0]
    [['far east', 'east']]
    """

    def __init__(
        self,
        ids: Sequence[str] = (),
        vectors: object = (),
        *,
        similarity: Literal["cosine", "dot"] = "cosine",
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        if similarity not in ("cosine", "dot"):
            raise InputError(f"similarity must be 'cosine' or 'dot'; got {similarity!r}")
        self._similarity: Literal["cosine", "dot"] = similarity
        self._writing = threading.Lock()
        self._rows = Rows.of([], np.empty((0, 0), dtype=np.float32), [], largest_norm=0.0)
        self.insert(ids, vectors, metadata)

    @property
    def similarity(self) -> Literal["cosine", "dot"]:
        """How scores are computed: ``"cosine"`` or ``"dot"``."""
        return self._similarity

    @property
    def dimension(self) -> int | None:
        """Number of coordinates of a vector; None before the first vector."""
        return self._rows.vectors.shape[1] or None

    @property
    def ids(self) -> list[str]:
        """The n ids in the order of the rows, as a new list."""
        return self._rows.ordered().ids

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The (n, d) float32 vectors in the order of the rows, read-only."""
        return self._rows.ordered().dense()

    def search(
        self, queries: object, k: int, *, where: Filter | None = None
    ) -> tuple[list[list[str]], NDArray[np.float32]]:
        """Return the ids of the k most similar vectors for each query, best first, and their scores.

        Memory beside the vectors: one block of scores (64 MiB, or one query against all rows if that is more).

        Args:
            queries: (m, d) numbers.
            k: How many at most; all when the index, or what passes the filter, holds fewer.
            where: Only rows whose metadata pass this filter; `metadata_test` says what it may be.

        Returns:
            m lists of c ids, and (m, c) float32 scores, cosine or inner product; c is the same for all queries.

        Raises:
            InputError: If k is no whole number or < 1, d differs, a query is not finite, or zero under cosine, or the
                filter cannot be used.
        """
        rows, slots, scores = self._searched(queries, k, where)
        return [[rows.ids[slot] for slot in some] for some in slots.tolist()], scores

    def search_rows(self, query: object, k: int, *, where: Filter | None = None) -> list[FoundRow]:
        """Return the k rows most similar to one query, whole and as they were at one moment, best first.

        Args:
            query: (d,) numbers.
            k: As in `search`.
            where: As in `search`.

        Raises:
            InputError: As `search`; also if there are several queries.
        """
        rows, slots, scores = self._searched([query], k, where)
        return rows.found(slots[0].tolist(), scores[0].tolist())

    def _searched(
        self, queries: object, k: int, where: Filter | None
    ) -> tuple[Rows, NDArray[np.int64], NDArray[np.float32]]:
        wanted = whole_number(k, "k")
        test = metadata_test(where)
        rows = self._rows
        width = rows.vectors.shape[1] or None
        checked = unit_rows if self._similarity == "cosine" else as_rows
        asked = checked(queries, "queries", dimension=width)
        if width is None:
            return rows, np.empty((len(asked), 0), dtype=np.int64), np.empty((len(asked), 0), dtype=np.float32)
        norm, allowed = rows.largest_norm, rows.allowed(test)
        return rows, *top_rows(rows.filled, asked, wanted, largest_norm=norm, places=rows.places, allowed=allowed)

    def insert(self, ids: Sequence[str], vectors: object, metadata: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Add vectors, or replace those whose ids are there.

        Args:
            ids: b distinct ids.
            vectors: (b, d) numbers; copied.
            metadata: b JSON objects; None keeps those of ids that are there and gives the new ones none.

        Raises:
            InputError: Where the constructor raises it; nothing was inserted then.
        """
        _check_ids(ids)
        entries = None if metadata is None else _copied(metadata, ids)
        with self._writing:
            if self._similarity == "cosine":
                fresh = unit_rows(vectors, "vectors", dimension=self.dimension, ids=ids)
                norm = 1.0
            else:
                fresh = np.array(as_rows(vectors, "vectors", dimension=self.dimension, ids=ids))
                norm = float(row_lengths(fresh, "vectors").max(initial=0.0))
            self._rows = self._rows.inserted(ids, fresh, entries, norm)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove vectors.

        Args:
            ids: Ids that are there; ``id in index`` tells.

        Raises:
            InputError: If an id is not there; nothing was removed then.
        """
        with self._writing:
            self._rows = self._rows.deleted(ids)

    def discard(self, ids: Sequence[str]) -> None:
        """Remove vectors; ids that are not there are no error."""
        unwanted = dict.fromkeys(ids)
        with self._writing:
            self._rows = self._rows.deleted([i for i in unwanted if i in self._rows.slot_of])

    def rows(self, ids: Sequence[str]) -> list[FoundRow]:
        """Return the rows of those ids that are there, in this order, as they are at one moment."""
        wanted = list(ids)  # before the lock: iterating may be anybody's code
        with self._writing:
            rows = self._rows
            slots = [rows.slot_of[i] for i in wanted if i in rows.slot_of]
        return rows.found(slots, [0.0] * len(slots))

    def contents(self) -> tuple[list[str], NDArray[np.float32], list[Mapping[str, Any]]]:
        """Return n ids, (n, d) vectors, read-only, and n metadata of one moment, in the order of the rows."""
        rows = self._rows.ordered()
        return rows.ids, rows.dense(), rows.metadata

    def get(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the (n, d) float32 vectors of n ids, as a new array.

        Raises:
            InputError: If an id is not there.
        """
        with self._writing:
            rows = self._rows
            slots = rows.slots(ids)
        return rows.vectors[slots]

    def get_metadata(self, ids: Sequence[str]) -> list[Mapping[str, Any]]:
        """Return the metadata of n ids; an empty mapping where there are none.

        Raises:
            InputError: If an id is not there.
        """
        with self._writing:
            rows = self._rows
            slots = rows.slots(ids)
        return [rows.metadata[slot] for slot in slots]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a folder, in place of an index that is there; readers see the old one or the new one.

        Args:
            path: A folder; created if absent. Other files in it stay.

        Raises:
            InputError: If metadata would not come back as it is, being no JSON, or holding tuples or keys that are no
                strings; names the id.
            ArtifactError: If files of those names are there that are no index, or the path is a file.
        """
        rows = self._rows.ordered()
        saved = index_format.SavedIndex(self._similarity, rows.ids, rows.metadata, rows.dense(), rows.largest_norm)
        index_format.write(path, saved)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verify: bool = True) -> ExactIndex:
        """Open a saved index.

        Args:
            path: Its folder.
            verify: Hash every byte, which reads the files once (about 1 GB a second). False checks sizes only and maps
                vectors of 64 MiB and more from the disk: nobody may cut that file off while it is in use.

        Raises:
            CorruptArtifactError: If a file is missing, truncated or altered.
            ArtifactError: If the folder holds something else, or a newer format.
        """
        saved = index_format.read(path, verify=verify)
        index = cls(similarity=saved.similarity)
        index._rows = Rows.of(saved.ids, saved.vectors, saved.metadata, largest_norm=saved.largest_norm)
        return index

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self._rows)

    def __contains__(self, document_id: object) -> bool:
        """Tell whether an id is there."""
        return document_id in self._rows.slot_of

    def __getstate__(self) -> dict[str, Any]:
        """Return one moment, without the lock, which belongs to this process."""
        rows = self._rows.ordered()
        state = rows.ids, np.array(rows.dense()), rows.metadata, rows.largest_norm
        return {"similarity": self._similarity, "rows": state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` returned."""
        self.__init__(similarity=state["similarity"])  # type: ignore[misc]
        ids, vectors, metadata, norm = state["rows"]
        self._rows = Rows.of(ids, vectors, metadata, largest_norm=norm)

    def __repr__(self) -> str:
        """Say how much there is."""
        return f"ExactIndex({len(self)} vectors, dimension={self.dimension}, similarity={self._similarity!r})"


def _check_ids(ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for document_id in ids:
        if not isinstance(document_id, str):
            raise InputError(f"ids must be strings; got {document_id!r} ({type(document_id).__name__})")
        if document_id in seen:
            raise InputError(f"id {document_id!r} comes twice; give every vector its own id")
        seen.add(document_id)


def _copied(metadata: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> list[Mapping[str, Any]]:
    if len(metadata) != len(ids):
        raise InputError(f"{len(ids)} ids came with {len(metadata)} metadata; there must be one an id")
    for document_id, entry in zip(ids, metadata, strict=True):
        if not isinstance(entry, Mapping):
            raise InputError(f"the metadata of {document_id!r} must be a mapping; got {type(entry).__name__}")
    return [dict(entry) for entry in metadata]
