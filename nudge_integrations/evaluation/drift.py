"""How far documents moved, how their neighbourhoods changed, and which unmoved documents lost rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.corpus import row_lengths, unit_rows
from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.artifact import Nudge
    from nudge_integrations.evaluation.metrics import Evaluation

__all__ = ["Drift", "UnmovedRanks", "angles_between", "drift"]

# Documents that are read at once, and moved documents that are compared with them at once: 32 MiB of scores.
_BLOCK_ROWS, _BLOCK_QUERIES = 16_384, 512

_QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True)
class UnmovedRanks:
    """Changes in the rankings of documents that did not move themselves.

    Attributes:
        retrieved: How many of them were retrieved for some query before, to the depth of the rankings.
        fell: How many rank lower for at least one query, or are no longer retrieved for it.
        relevant: Pairs of a query and such a document relevant to it, retrieved before or after.
        relevant_fell: Pairs of which the document ranks lower now, or is no longer retrieved.
        relevant_rose: Pairs of which it ranks higher, or is retrieved only now.
    """

    retrieved: int
    fell: int
    relevant: int
    relevant_fell: int
    relevant_rose: int


@dataclass(frozen=True, eq=False, repr=False)
class Drift:
    """How far r of n documents moved, and what that did to their surroundings.

    Attributes:
        ids: The r documents that moved, in the nudge's order.
        documents: n, how many documents there are.
        radians: (r,) float64 angle in radians between where each was and where it is.
        lengths: (r,) float64 length of each now; 1 but under ``"dot"``, where a longer document scores higher.
        neighbours: k, how many nearest neighbours were looked at.
        kept: (r,) float64 share of each document's k nearest neighbours that are still among its k nearest, in [0, 1].
            Nearest by angle, of all documents as they are served before and after; NaN never.
        shift: Length of what was added to every document that did not move; 0 for nothing.
        unmoved: What happened to the ranks of documents that did not move; None without evaluations.
    """

    ids: tuple[str, ...]
    documents: int
    radians: NDArray[np.float64]
    lengths: NDArray[np.float64]
    neighbours: int
    kept: NDArray[np.float64]
    shift: float
    unmoved: UnmovedRanks | None

    @property
    def degrees(self) -> NDArray[np.float64]:
        """(r,) float64: the angles in degrees."""
        return np.degrees(self.radians)

    def quantiles(self, at: Sequence[float] = _QUANTILES) -> dict[float, float]:
        """Return quantile -> angle in degrees; 0 where nothing moved."""
        values = np.quantile(self.degrees, at) if len(self.ids) else np.zeros(len(at))
        return dict(zip(at, values.tolist(), strict=True))

    def histogram(self, bins: int = 20) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return (bins,) counts of documents and (bins + 1,) edges in degrees, from 0 to the largest angle."""
        counts, edges = np.histogram(self.degrees, bins=bins, range=(0.0, self.quantiles()[1.0] or 1.0))
        return counts, edges

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, ready for JSON."""
        counts, edges = self.histogram()
        return {
            "documents": self.documents,
            "moved": len(self.ids),
            "degrees": {f"{at:g}": angle for at, angle in self.quantiles().items()},
            "histogram": {"counts": counts.tolist(), "edges_degrees": edges.tolist()},
            "largest_length": float(self.lengths.max(initial=1.0)),
            "neighbours": self.neighbours,
            "neighbours_kept": _mean(self.kept),
            "shift": self.shift,
            "unmoved": None if self.unmoved is None else asdict(self.unmoved),
        }

    def __repr__(self) -> str:
        """Show the median and the largest angle, and how many neighbours stayed."""
        angles = self.quantiles()
        return (
            f"Drift({len(self.ids)} of {self.documents} documents moved by {angles[0.5]:.2f} degrees (median), "
            f"{angles[1.0]:.2f} at most; {_mean(self.kept):.1%} of their {self.neighbours} nearest neighbours stayed)"
        )


def drift(
    nudge: Nudge,
    ids: Sequence[str],
    vectors: NDArray[Any],
    *,
    neighbours: int = 10,
    before: Evaluation | None = None,
    after: Evaluation | None = None,
) -> Drift:
    """Measure what a nudge did to the documents.

    The corpus is read twice, in blocks, so it may be a memory map; memory beside it is some 100 MB and the moved rows.

    Args:
        nudge: Which documents moved, and where to.
        ids: n document ids.
        vectors: (n, d) their base vectors, of any length.
        neighbours: How many nearest neighbours of a moved document to look at; all others where there are fewer.
        before: Rankings of test queries by the base vectors, to see which documents that did not move lost rank.
        after: Rankings of the same queries by the nudged vectors.

    Returns:
        Angles, lengths, neighbours kept and ranks lost.

    Raises:
        InputError: If neighbours < 1, the numbers of ids and vectors differ, a document that moved is not there, or
            only one of the evaluations is given.
        MismatchError: If a document that moved does not come with its base vector.

    >>> from scipy import sparse
    >>> from nudge_integrations.artifact import Nudge
    >>> from nudge_integrations.solver import solve
    >>> documents, ids = np.array([[1.0, 0], [0.9, 0.1], [0, 1]]), ["a", "b", "c"]
    >>> solution = solve(documents, np.array([[0.0, 1]]), sparse.csr_array([[1.0, 0, 0]]), method="nudge-n", step=1.5)
    >>> nudge = Nudge.from_solution(solution, ids=ids, documents=documents, texts=None, encoder="toy", dataset_hash="")
    >>> drift(nudge, ids, documents, neighbours=1)
    Drift(1 of 3 documents moved by 85.94 degrees (median), 85.94 at most; 0.0% of their 1 nearest neighbours stayed)
    """
    if neighbours < 1:
        raise InputError(f"neighbours must be at least 1; got {neighbours!r}")
    if (before is None) != (after is None):
        raise InputError("ranks need two evaluations of the same queries: give before and after, or neither")
    if len(ids) != len(vectors):
        raise InputError(f"{len(vectors)} vectors came with {len(ids)} ids; there must be one id a vector")
    row_of = {document: row for row, document in enumerate(ids)}
    absent = [document for document in nudge.ids if document not in row_of]
    if absent:
        raise InputError(f"{absent[0]!r} (of {len(absent)}) moved and is not among the ids: give the whole corpus")
    rows = np.fromiter((row_of[document] for document in nudge.ids), np.int64, len(nudge))
    here = unit_rows(nudge.base, "base vectors")
    there = unit_rows(nudge.vectors, "nudged vectors")
    k = min(neighbours, len(ids) - 1)

    def base(start: int) -> NDArray[np.float32]:
        stop = start + _BLOCK_ROWS
        return unit_rows(vectors[start:stop], "document vectors", ids=ids[start:stop])

    def nudged(start: int) -> NDArray[np.float32]:
        stop = start + _BLOCK_ROWS
        return unit_rows(nudge.apply(ids[start:stop], vectors[start:stop]), "nudged vectors")

    old, new = _nearest(here, rows, base, len(ids), k), _nearest(there, rows, nudged, len(ids), k)
    return Drift(
        ids=nudge.ids,
        documents=len(ids),
        radians=angles_between(here, there),
        lengths=row_lengths(nudge.vectors, "nudged vectors"),
        neighbours=neighbours,
        kept=_shared(old, new),
        shift=0.0 if nudge.shift is None else float(np.linalg.norm(nudge.shift)),
        unmoved=None if before is None or after is None else _unmoved_ranks(before, after, nudge),
    )


def angles_between(here: NDArray[np.float32], there: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the (r,) angles in radians between (r, d) unit rows and others."""
    a, b = here.astype(np.float64), there.astype(np.float64)
    # The half-angle form keeps small angles exact, where the arc cosine of a number near 1 does not.
    angles: NDArray[np.float64] = 2 * np.arctan2(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))
    return angles


def _nearest(
    queries: NDArray[np.float32],
    own: NDArray[np.int64],
    block_at: Callable[[int], NDArray[np.float32]],
    count: int,
    k: int,
) -> NDArray[np.int64]:
    """Return (r, k) rows of the unit vectors nearest to each of r unit vectors, without its own row."""
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), k), -1, dtype=np.int64)
    for start in range(0, count if len(queries) and k else 0, _BLOCK_ROWS):
        block = block_at(start)
        for part in _parts(len(queries)):
            scored = queries[part] @ block.T
            itself = np.flatnonzero((own[part] >= start) & (own[part] < start + len(block)))
            scored[itself, own[part][itself] - start] = -np.inf
            best = np.argpartition(-scored, min(k, len(block)) - 1, axis=1)[:, :k]
            every = np.hstack([scores[part], np.take_along_axis(scored, best, axis=1)])
            places = np.hstack([rows[part], best + start])
            order = np.lexsort((places, -every), axis=1)[:, :k]
            scores[part] = np.take_along_axis(every, order, axis=1)
            rows[part] = np.take_along_axis(places, order, axis=1)
    return rows


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK_QUERIES) for start in range(0, count, _BLOCK_QUERIES))


def _shared(old: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (r,) the share of each row of old that is in the same row of new; 1 where there is nothing to share."""
    if old.shape[1] == 0:
        return np.ones(len(old))
    kept = [np.isin(mine, theirs).mean() for mine, theirs in zip(old, new, strict=True)]
    return np.array(kept, dtype=np.float64)


def _unmoved_ranks(before: Evaluation, after: Evaluation, nudge: Nudge) -> UnmovedRanks:
    dataset = before.dataset or after.dataset
    retrieved: set[str] = set()
    fell: set[str] = set()
    relevant = relevant_fell = relevant_rose = 0
    for query, ranking in before.rankings.items():
        old = {document: rank for rank, document in enumerate(ranking) if document not in nudge}
        new = {document: rank for rank, document in enumerate(after.rankings.get(query, ()))}
        lower = {document for document, rank in old.items() if new.get(document, len(new) + rank + 1) > rank}
        retrieved |= old.keys()
        fell |= lower
        grades = {} if dataset is None else dataset.qrels.get(query, {})
        for document in (d for d, grade in grades.items() if grade > 0 and d not in nudge):
            was, now = old.get(document), new.get(document)
            relevant += was is not None or now is not None
            relevant_fell += document in lower
            relevant_rose += now is not None and (was is None or now < was)
    return UnmovedRanks(len(retrieved), len(fell), relevant, relevant_fell, relevant_rose)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 1.0
