"""Where a nudge puts documents, how they come back, and how two nudges differ: arrays in, arrays out.

Rows say which moved vector belongs to a document; -1 stands for a document that did not move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nudge_integrations.corpus import Matrix, as_matrix, as_rows, unit_rows
from nudge_integrations.encoding.identity import SAME_VECTOR
from nudge_integrations.errors import InputError, MismatchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Moves", "NudgeDiff", "compare", "map_queries", "place", "take_back"]


class Moves(Protocol):
    """The part of a nudge that is needed here."""

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(r, d) float32: where documents moved to."""

    @property
    def base(self) -> NDArray[np.float32]:
        """(r, d) float32 unit rows: where they were."""

    @property
    def shift(self) -> NDArray[np.float32] | None:
        """(d,) float32: what documents that did not move take; None for nothing."""

    @property
    def query_map(self) -> NDArray[np.float32] | None:
        """(d, d) float32: what queries go through; None for nothing."""

    @property
    def by_id(self) -> Mapping[str, int]:
        """Id -> row."""


@dataclass(frozen=True)
class NudgeDiff:
    """What changes from one nudge to another.

    Attributes:
        added: Ids that only the other moves.
        removed: Ids that only the first moves.
        changed: Id -> angle in radians between where the two put it, for those that both move to different places.
            The angle is 0 where, under ``"dot"``, only the length differs.
        same: Ids that both put in the same place.
        shift: Whether documents that do not move take another shift.
        query_map: Whether queries go through another map.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, float]
    same: tuple[str, ...]
    shift: bool
    query_map: bool

    def __repr__(self) -> str:
        """Count instead of listing."""
        counts = f"added={len(self.added)}, removed={len(self.removed)}, changed={len(self.changed)}"
        others = f"{', another shift' if self.shift else ''}{', another query map' if self.query_map else ''}"
        return f"NudgeDiff({counts}, same={len(self.same)}{others})"


def place(moves: Moves, rows: NDArray[np.int64], names: Sequence[str], vectors: object) -> NDArray[np.float32]:
    """Return (n, d) float32 nudged vectors for (n, d) base vectors.

    Raises:
        InputError: If the numbers of names, rows and vectors differ, or a vector is zero or not finite.
        MismatchError: If d differs, or a document that moved does not come with its base vector.
    """
    placed = _units(moves, vectors, names)
    moved = rows >= 0
    distance = np.linalg.norm(placed[moved] - moves.base[rows[moved]], axis=1)
    if (distance > SAME_VECTOR).any():
        nudged = unit_rows(moves.vectors[rows[moved]], "nudged vectors")
        already = np.linalg.norm(placed[moved] - nudged, axis=1) <= SAME_VECTOR
        reason = (
            "nudged already; start from base vectors, which `revert` gives back"
            if already.any()
            else "from another model or of another text; encode the documents as they were at the fit, or fit again"
        )
        _refuse(distance, np.flatnonzero(moved), names, reason)
    if moves.shift is not None and not moved.all():
        placed[~moved] = unit_rows(placed[~moved] + moves.shift, "shifted vectors")
    placed[moved] = moves.vectors[rows[moved]]
    return placed


def take_back(moves: Moves, rows: NDArray[np.int64], names: Sequence[str], vectors: object) -> NDArray[np.float32]:
    """Return (n, d) float32 unit base vectors for (n, d) nudged vectors: the inverse of `place`.

    Raises:
        InputError: Where `place` raises it; also if the shift is 1 or longer, where it has no inverse.
        MismatchError: If d differs, or a document that moved is not where `place` put it.
    """
    base = _units(moves, vectors, names)
    moved = rows >= 0
    nudged = unit_rows(moves.vectors[rows[moved]], "nudged vectors")
    distance = np.linalg.norm(base[moved] - nudged, axis=1)
    if moves.shift is None:
        # Base vectors may come too, so that what stopped half-way can be taken back. Under a shift the two look alike.
        distance = np.minimum(distance, np.linalg.norm(base[moved] - moves.base[rows[moved]], axis=1))
    _refuse(distance, np.flatnonzero(moved), names, "not where this nudge put it, so it cannot be taken back")
    if moves.shift is not None and not moved.all():
        base[~moved] = _unshift(base[~moved], moves.shift)
    base[moved] = moves.base[rows[moved]]
    return base


def map_queries(query_map: NDArray[np.float32] | None, dimension: int, vectors: object) -> NDArray[np.float32]:
    """Return (m, d) float32 unit(q + q @ query_map) for (m, d) queries; the queries as they are without a map.

    Raises:
        InputError: If a vector is not finite, or zero and there is a map.
        MismatchError: If d differs.
    """
    queries = as_matrix(vectors, "queries")
    _refuse_dimension(queries, dimension)
    if query_map is None:
        return np.array(as_rows(queries, "queries"))
    unit = unit_rows(queries, "queries")
    return unit_rows(unit + unit @ query_map, "mapped queries")


def compare(first: Moves, other: Moves) -> NudgeDiff:
    """Say what changes from one nudge to another of the same dimension."""
    both = [document_id for document_id in first.by_id if document_id in other.by_id]
    here = first.vectors[[first.by_id[document_id] for document_id in both]].astype(np.float64)
    there = other.vectors[[other.by_id[document_id] for document_id in both]].astype(np.float64)
    differs = np.linalg.norm(here - there, axis=1) > 1e-6
    here, there = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (here, there))
    # The half-angle form keeps small angles exact, where the arc cosine of a number near 1 does not.
    angles = 2 * np.arctan2(np.linalg.norm(here - there, axis=1), np.linalg.norm(here + there, axis=1))
    return NudgeDiff(
        added=tuple(document_id for document_id in other.by_id if document_id not in first.by_id),
        removed=tuple(document_id for document_id in first.by_id if document_id not in other.by_id),
        changed={document_id: float(angles[row]) for row, document_id in enumerate(both) if differs[row]},
        same=tuple(document_id for row, document_id in enumerate(both) if not differs[row]),
        shift=_differ(first.shift, other.shift),
        query_map=_differ(first.query_map, other.query_map),
    )


def _differ(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> bool:
    return one is not other if one is None or other is None else not np.array_equal(one, other)


def _units(moves: Moves, vectors: object, names: Sequence[str]) -> NDArray[np.float32]:
    rows = as_matrix(vectors, "document vectors", ids=names)
    _refuse_dimension(rows, moves.base.shape[1])
    return unit_rows(rows, "document vectors", dimension=moves.base.shape[1], ids=names)


def _refuse_dimension(vectors: Matrix, dimension: int) -> None:
    if vectors.shape[1] not in (dimension, 0):  # an empty list has no dimension
        raise MismatchError(
            f"the vectors have {vectors.shape[1]} dimensions, this nudge has {dimension}: they come from another model"
        )


def _refuse(distance: NDArray[Any], positions: NDArray[np.int64], names: Sequence[str], reason: str) -> None:
    far = positions[distance > SAME_VECTOR]
    if len(far):
        others = f" and {len(far) - 1} more" if len(far) > 1 else ""
        raise MismatchError(f"the vector of {names[far[0]]!r}{others} is {reason}")


def _unshift(shifted: NDArray[np.float32], shift: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the unit b of each v = unit(b + s): b = c v - s, where c is the positive root of |c v - s| = 1."""
    offset = shift.astype(np.float64)
    if (room := 1.0 - float(offset @ offset)) <= 0.0:
        raise InputError(
            "the shift is as long as the vectors or longer, so it has no inverse: keep the base vectors instead"
        )
    rows = shifted.astype(np.float64)
    along = rows @ offset
    scale = along + np.sqrt(along * along + room)
    return unit_rows(scale[:, None] * rows - offset, "vectors without the shift")
