"""Where a nudge puts documents, how they come back, and how two nudges differ: arrays in, arrays out.

Rows say which moved vector belongs to a document; -1 stands for a document that did not move.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, Protocol

import numpy as np

from nudge_integrations.corpus import Matrix, as_matrix, as_rows, unit_rows
from nudge_integrations.encoding.identity import SAME_VECTOR
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.fusion import Fusion

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Moves",
    "NudgeDiff",
    "as_base",
    "compare",
    "edited",
    "map_queries",
    "place",
    "rows_of",
    "take_back",
]

logger = logging.getLogger(__name__)

# How many edited documents a warning names.
_MOST_LISTED = 20


class Moves(Protocol):
    """The part of a nudge that is needed here."""

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(r, d) float32: where documents moved to."""

    @property
    def base(self) -> NDArray[np.float32]:
        """(r, d) float32: where they were; unit rows where documents are ranked by cosine."""

    @property
    def base_norm(self) -> float | None:
        """The largest length of a base vector where lengths count; None where documents are ranked by cosine."""

    @property
    def shift(self) -> NDArray[np.float32] | None:
        """(d,) float32: what documents that did not move take; None for nothing."""

    @property
    def query_map(self) -> NDArray[np.float32] | None:
        """(d, d) float32: what queries go through; None for nothing."""

    @property
    def fusion(self) -> Fusion | None:
        """The weights of signals beside dense scores; None for nothing."""

    @property
    def by_id(self) -> Mapping[str, int]:
        """Id -> row."""


@dataclass(frozen=True)
class NudgeDiff:
    """The changes from one nudge to another.

    Attributes:
        added: Ids that only the other moves.
        removed: Ids that only the first moves.
        changed: Id -> angle in radians between where the two put it, for those that both move to different places.
            The angle is 0 where, under ``"dot"``, only the length differs.
        same: Ids that both put in the same place.
        shift: Whether documents that do not move take another shift.
        query_map: Whether queries go through another map.
        fusion: Whether other signals are added to the scores, or with other weights.
        ids: k ids: all that are added, removed or changed.
        vectors: (k, d) float32: what to write for them where the first is served, to serve the other. Where the shift
            changes too, so do all other documents: `Nudge.apply` them again.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, float]
    same: tuple[str, ...]
    shift: bool
    query_map: bool
    fusion: bool
    ids: tuple[str, ...]
    vectors: NDArray[np.float32] = field(compare=False)

    def __repr__(self) -> str:
        """Count instead of listing."""
        counts = f"added={len(self.added)}, removed={len(self.removed)}, changed={len(self.changed)}"
        others = f"{', another shift' if self.shift else ''}{', another query map' if self.query_map else ''}"
        others += ", other signals" if self.fusion else ""
        return f"NudgeDiff({counts}, same={len(self.same)}{others})"


def rows_of(row_of: Mapping[str, int], names: Sequence[str]) -> NDArray[np.int64]:
    """Return the (n,) rows of n ids or text hashes; -1 for documents that did not move.

    Raises:
        InputError: If one is no string, and so could never be found.
    """
    odd = [names] if isinstance(names, str) else [name for name in names if not isinstance(name, str)]
    if odd:
        raise InputError(
            f"ids are strings, as in the dataset of the fit; got {odd[0]!r} ({type(odd[0]).__name__}): "
            "give a list of them, [str(i) for i in ids] where they are numbers"
        )
    return np.fromiter((row_of.get(name, -1) for name in names), np.int64, len(names))


def place(
    moves: Moves, rows: NDArray[np.int64], names: Sequence[str], vectors: object, *, keep_edited: bool = False
) -> NDArray[np.float32]:
    """Return (n, d) float32 nudged vectors for (n, d) base vectors.

    Args:
        moves: Where documents were and where they moved to.
        rows: (n,) rows of the moved vectors; -1 for documents that did not move.
        names: n names for messages.
        vectors: (n, d) base vectors.
        keep_edited: Treat documents that come with another vector, as long as they are no more than half of those that
            moved, as documents that did not move, with a warning that names them.

    Raises:
        InputError: If the numbers of names, rows and vectors differ, or a vector is zero or not finite.
        MismatchError: If d differs, or a document that moved does not come with its base vector.
    """
    placed = _base_rows(moves, vectors, names)
    moved = rows >= 0
    far = _distance(placed[moved], moves.base[rows[moved]]) > SAME_VECTOR
    if far.any():
        others = np.flatnonzero(moved)[far]
        if (_distance(placed[others], _nudged(moves, rows[others])) <= SAME_VECTOR).any():
            _refuse(others, names, "nudged already; start from base vectors, which `revert` gives back")
        if not keep_edited or 2 * len(others) > len(far):
            reason = "from another model or of another text; encode the documents as they were at the fit, or fit again"
            _refuse(others, names, reason)
        listed = ", ".join(repr(names[other]) for other in others[:_MOST_LISTED])
        logger.warning("%d documents changed since the fit and stay where they are: %s", len(others), listed)
        moved[others] = False
    if moves.shift is not None and not moved.all():
        placed[~moved] = unit_rows(placed[~moved] + moves.shift, "shifted vectors")
    placed[moved] = moves.vectors[rows[moved]]
    return placed


def edited(moves: Moves, rows: NDArray[np.int64], names: Sequence[str], vectors: object) -> list[str]:
    """Return the names of documents that moved and come with another vector than their base vector.

    Raises:
        InputError: Where `place` raises it.
        MismatchError: If d differs.
    """
    base = _base_rows(moves, vectors, names)
    moved = np.flatnonzero(rows >= 0)
    far = _distance(base[moved], moves.base[rows[moved]]) > SAME_VECTOR
    return [names[row] for row in moved[far]]


def take_back(moves: Moves, rows: NDArray[np.int64], names: Sequence[str], vectors: object) -> NDArray[np.float32]:
    """Return (n, d) float32 base vectors for (n, d) nudged vectors: the inverse of `place`.

    Raises:
        InputError: Where `place` raises it; also if the shift is 1 or longer, where it has no inverse.
        MismatchError: If d differs, or a document that moved is not where `place` put it.
    """
    base = _base_rows(moves, vectors, names)
    moved = rows >= 0
    distance = _distance(base[moved], _nudged(moves, rows[moved]))
    if moves.shift is None:
        # Base vectors may come too, so that what stopped half-way can be taken back. Under a shift the two look alike.
        distance = np.minimum(distance, _distance(base[moved], moves.base[rows[moved]]))
    far = np.flatnonzero(moved)[distance > SAME_VECTOR]
    if len(far):
        _refuse(far, names, "not where this nudge put it, so it cannot be taken back")
    if moves.shift is not None and not moved.all():
        base[~moved] = _unshift(base[~moved], moves.shift)
    base[moved] = moves.base[rows[moved]]
    return base


def as_base(moves: Moves, vectors: object, name: str, ids: Sequence[str] | None = None) -> NDArray[np.float32]:
    """Return (n, d) float32 vectors, new, in the form of base vectors: of unit length, or as long as they are.

    Raises:
        InputError: If a vector is not finite, or zero where documents are ranked by cosine; or d differs.
    """
    dimension = moves.base.shape[1]
    if moves.base_norm is None:
        return unit_rows(vectors, name, dimension=dimension, ids=ids)
    return np.array(as_rows(vectors, name, dimension=dimension, ids=ids))


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
    added = tuple(document_id for document_id in other.by_id if document_id not in first.by_id)
    removed = tuple(document_id for document_id in first.by_id if document_id not in other.by_id)
    changed = {document_id: float(angles[row]) for row, document_id in enumerate(both) if differs[row]}
    left = first.base[[first.by_id[document_id] for document_id in removed]]
    return NudgeDiff(
        added=added,
        removed=removed,
        changed=changed,
        same=tuple(document_id for row, document_id in enumerate(both) if not differs[row]),
        shift=_differ(first.shift, other.shift),
        query_map=_differ(first.query_map, other.query_map),
        fusion=first.fusion != other.fusion,
        ids=(*added, *changed, *removed),
        vectors=np.concatenate(
            [
                other.vectors[[other.by_id[document_id] for document_id in (*added, *changed)]],
                left if other.shift is None else unit_rows(left + other.shift, "shifted vectors"),
            ]
        ),
    )


def _differ(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> bool:
    return one is not other if one is None or other is None else not np.array_equal(one, other)


def _base_rows(moves: Moves, vectors: object, names: Sequence[str]) -> NDArray[np.float32]:
    rows = as_matrix(vectors, "document vectors", ids=names)
    _refuse_dimension(rows, moves.base.shape[1])
    return as_base(moves, rows, "document vectors", names)


def _nudged(moves: Moves, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return moved vectors in the form of base vectors."""
    return as_base(moves, moves.vectors[rows], "nudged vectors")


def _distance(vectors: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n,) distances between vectors and those that are expected, whose length is the unit."""
    lengths = np.maximum(np.linalg.norm(expected, axis=1), np.finfo(np.float32).tiny)
    apart: NDArray[np.float32] = np.linalg.norm(vectors - expected, axis=1) / lengths
    return apart


def _refuse_dimension(vectors: Matrix, dimension: int) -> None:
    if vectors.shape[1] not in (dimension, 0):  # an empty list has no dimension
        raise MismatchError(
            f"the vectors have {vectors.shape[1]} dimensions, this nudge has {dimension}: they come from another model"
        )


def _refuse(positions: NDArray[np.int64], names: Sequence[str], reason: str) -> NoReturn:
    others = f" and {len(positions) - 1} more" if len(positions) > 1 else ""
    raise MismatchError(f"the vector of {names[positions[0]]!r}{others} is {reason}")


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
