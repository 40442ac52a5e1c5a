"""Nudge: the documents that moved, where to, and how that came about; saved, loaded, applied, reverted, compared."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.artifact import format as artifact_format
from nudge_integrations.artifact import placement
from nudge_integrations.artifact.matching import ambiguous_texts
from nudge_integrations.artifact.over_time import NudgeOverTime
from nudge_integrations.artifact.placement import NudgeDiff
from nudge_integrations.artifact.record import HasFingerprint, fingerprint_of
from nudge_integrations.corpus import CorpusVectors, as_rows, row_lengths, unit_rows
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import InputError
from nudge_integrations.feedback import LabelLog

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.solver import Solution

__all__ = ["Nudge"]

_FROM_SOLUTION = (
    *("similarity", "method", "step", "temperature", "metric", "baseline", "score", "unseen_baseline", "unseen_score"),
    *("status", "reason", "warnings", "protocol", "queries", "query_map", "shift", "fusion"),
)


@dataclass(frozen=True, eq=False, repr=False)
class Nudge(NudgeOverTime):
    """The result of a fit: which documents moved, where to, what that is worth, and what it was made from.

    Its attributes are those of `NudgeRecord`. Frozen; the arrays are read-only.

    >>> from scipy import sparse
    >>> from nudge_integrations.solver import solve
    >>> documents, queries = np.eye(3), np.array([[0.6, 0.8, 0.0]])
    >>> relevance = sparse.csr_array([[1.0, 0.0, 0.0]])
    >>> solution = solve(documents, queries, relevance, method="nudge-n", step=0.1)
    >>> nudge = Nudge.from_solution(
    ...     solution, ids=["a", "b", "c"], documents=documents, texts=None, encoder="toy", dataset_hash=""
    ... )
    >>> nudge.apply(["b", "a"], documents[[1, 0]]).round(3).tolist()
    [[0.0, 1.0, 0.0], [0.9950000047683716, 0.10000000149011612, 0.0]]
    """

    @classmethod
    def from_solution(
        cls,
        solution: Solution,
        *,
        ids: Sequence[str],
        documents: NDArray[Any] | CorpusVectors,
        texts: Sequence[str] | None,
        encoder: str | HasFingerprint,
        dataset_hash: str,
        validation_hash: str | None = None,
        base_norm: float | None = None,
        labels: LabelLog | None = None,
    ) -> Nudge:
        """Give a solution's rows their ids and note where they come from.

        Args:
            solution: What `solve` returned.
            ids: n ids, one a row of documents.
            documents: (n, d) base vectors, or those of a corpus; only the rows that moved are read.
            texts: n texts; None if documents will only ever be found by id.
            encoder: The encoder, or its fingerprint.
            dataset_hash: Hash of the dataset.
            validation_hash: Hash of the validation dataset, if there was one.
            base_norm: The largest length of any document where the model ranks by inner product, else None.
            labels: The labels that the solution was found with, to keep them with the nudge.

        Raises:
            InputError: If the numbers of ids, documents and texts differ, or an id comes twice.
        """
        for name, items in (("ids", ids), ("texts", ids if texts is None else texts)):
            if len(items) != len(documents):
                raise InputError(
                    f"{len(documents)} documents came with {len(items)} {name}; there must be one a document"
                )
        moved = [int(row) for row in solution.rows]
        as_they_were = unit_rows if base_norm is None else as_rows
        return cls(
            ids=tuple(ids[row] for row in moved),
            vectors=solution.vectors,
            base=as_they_were(documents[solution.rows], "documents", dimension=documents.shape[1]),
            base_norm=base_norm,
            text_hashes=() if texts is None else tuple(text_hash(texts[row]) for row in moved),
            encoder=fingerprint_of(encoder),
            dataset_hash=dataset_hash,
            validation_hash=validation_hash,
            ambiguous_texts={} if texts is None else ambiguous_texts(moved, solution.vectors, ids, texts),
            versions=artifact_format.current_versions(),
            labels=LabelLog() if labels is None else labels,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            curve=artifact_format.thin_curve(solution.curve.steps, solution.curve.values),
            candidates=tuple(asdict(candidate) for candidate in solution.candidates),
            **{name: getattr(solution, name) for name in _FROM_SOLUTION},
        )

    @property
    def dimension(self) -> int:
        """Number of coordinates of a vector, d."""
        return int(self.vectors.shape[1])

    @property
    def max_norm(self) -> float:
        """The largest length of any document of the fit after `apply`: 1 under ``"cosine"``."""
        return max(
            1.0 if self.base_norm is None else self.base_norm,
            float(row_lengths(self.vectors, "nudged vectors").max(initial=0.0)),
        )

    @cached_property
    def by_id(self) -> Mapping[str, int]:
        """Id -> row of ``vectors``, for the documents that moved."""
        return MappingProxyType({document_id: row for row, document_id in enumerate(self.ids)})

    @cached_property
    def by_text_hash(self) -> Mapping[str, int]:
        """Text hash -> row of ``vectors``, for the documents that moved; the first one's where they share a text."""
        last_to_first = range(len(self.text_hashes) - 1, -1, -1)
        return MappingProxyType({self.text_hashes[row]: row for row in last_to_first})

    @cached_property
    def base_hashes(self) -> tuple[str, ...]:
        """The r sha256 (hex) of the base vectors' little-endian float32 bytes."""
        return tuple(hashlib.sha256(row.astype("<f4").tobytes()).hexdigest() for row in self.base)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) of all that decides which vectors it serves, for cache keys. Fitting the same again keeps it."""
        return artifact_format.content_fingerprint(self._fields())

    def vector(self, document_id: str) -> NDArray[np.float32]:
        """Return the (d,) nudged vector of one document.

        Raises:
            InputError: If that document did not move.
        """
        if document_id not in self.by_id:
            raise InputError(f"document {document_id!r} did not move, so it has no nudged vector; ask `in` before")
        vector: NDArray[np.float32] = self.vectors[self.by_id[document_id]]
        return vector

    def apply(self, ids: Sequence[str], vectors: object, *, edited: Collection[str] = ()) -> NDArray[np.float32]:
        """Put the documents that moved where they belong; the others keep their direction, or take the shift.

        The documents may be any part of the corpus in any order, so a large corpus can be nudged block by block. One
        that was edited since the fit is treated as one that did not move, and a warning names it, as does `edited`.

        Args:
            ids: n document ids.
            vectors: (n, d) base vectors of any length, from the same encoder.
            edited: Ids of documents that are known to be edited, from `edited` over all of them; a part of the corpus
                may then hold edited documents only.

        Returns:
            (n, d) float32, a new array; of unit length but for documents that moved under ``"dot"``, and with the
            lengths that they came with where there is a ``base_norm``.

        Raises:
            InputError: If an id is no string, the numbers of ids and vectors differ, or a vector is zero or not finite.
            MismatchError: If d differs, a document comes nudged already, or more than half of those that moved come
                with other vectors than their base vectors: from another model.
        """
        rows = placement.rows_of(self.by_id, ids)
        if edited:
            rows[[document_id in edited for document_id in ids]] = -1
        return placement.place(self, rows, ids, vectors, keep_edited=True)

    def edited(self, ids: Sequence[str], vectors: object) -> list[str]:
        """Return the ids of documents that moved and come with another vector than at the fit; as `apply` takes them.

        Raises:
            InputError, MismatchError: Where `apply` raises them for reasons other than another vector.
        """
        return placement.edited(self, placement.rows_of(self.by_id, ids), ids, vectors)

    def apply_texts(self, text_hashes: Sequence[str], vectors: object) -> NDArray[np.float32]:
        """Do the same as `apply` for documents known by their text: hashes as `text_hash` makes them instead of ids."""
        return placement.place(self, placement.rows_of(self.by_text_hash, text_hashes), text_hashes, vectors)

    def revert(self, ids: Sequence[str], vectors: object) -> NDArray[np.float32]:
        """Return the base vectors for nudged ones, at unit length unless there is a ``base_norm``: undoes `apply`.

        Base vectors may come too, and stay as they are, unless there is a shift.

        Args:
            ids: n document ids.
            vectors: (n, d) nudged vectors.

        Returns:
            (n, d) float32, a new array.

        Raises:
            InputError: Where `apply` raises it; also if the shift is as long as a vector, where it has no inverse.
            MismatchError: If d differs, or a document that moved is not where this nudge put it.
        """
        return placement.take_back(self, placement.rows_of(self.by_id, ids), ids, vectors)

    def transform_queries(self, vectors: object) -> NDArray[np.float32]:
        """Return (m, d) float32 unit(q + q @ query_map) for (m, d) queries; without a map the queries as they are.

        Raises:
            InputError: If a vector is not finite, or zero and there is a map.
            MismatchError: If d differs.
        """
        return placement.map_queries(self.query_map, self.dimension, vectors)

    def diff(self, other: Nudge) -> NudgeDiff:
        """Say what changes from this nudge to another one of the same encoder.

        Raises:
            MismatchError: If the other is of another encoder or dimension.
        """
        self.check_encoder(other.encoder)
        return placement.compare(self, other)

    def __len__(self) -> int:
        """Return the number of documents that moved."""
        return len(self.ids)

    def __contains__(self, document_id: object) -> bool:
        """Tell whether a document moved."""
        return document_id in self.by_id
