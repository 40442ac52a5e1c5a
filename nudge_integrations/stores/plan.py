"""Plans of rollouts: which rows would change, the cost and the expected gain; nothing is written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.corpus import row_lengths
from nudge_integrations.errors import MismatchError, SimilarityError, StoreError
from nudge_integrations.stores.canary import Canary, Prediction, predict
from nudge_integrations.stores.store import Floats, StoreAdapter, StoreInfo, fetched
from nudge_integrations.stores.store_corpus import Overlay, StoreCorpus, same_rows

if TYPE_CHECKING:
    from nudge_integrations.artifact import Nudge

__all__ = ["MOST_SKIPPED", "RolloutPlan", "plan_rollout"]

# From this part of the rows on, too much is not as it was for the nudge to be worth what it was fitted for.
MOST_SKIPPED = 0.05
# Under this part an approximate index copes with rows that move.
_MOST_MOVED = 0.2


@dataclass(frozen=True, eq=False)
class RolloutPlan:
    """The changes that applying a nudge to a store would make.

    Attributes:
        store: The store, as it was when this was planned.
        nudge: Fingerprint of the nudge.
        ids: r ids of the rows that the journal is about: those to change, and those that an earlier nudge has moved to
            where they stay, which rolling back gives their base vectors as well.
        held: (r, d) what they hold now.
        base: (r, d) what rolling back gives them.
        target: (r, d) what they shall hold.
        missing: Ids that the nudge moves and the store does not have any more.
        seconds: About how long applying takes, from how long reading took.
        gain: What the nudge gained out of sample, mean over queries.
        interval: 95 % interval of that gain; NaN where the nudge does not know.
        prediction: What canary queries are worth now and afterwards; None without queries.
        canary: The queries that are run once it is applied, or None.
        notes: What to know before applying.
    """

    store: StoreInfo
    nudge: str
    ids: tuple[str, ...]
    held: Floats
    base: Floats
    target: Floats
    missing: tuple[str, ...]
    seconds: float
    gain: float
    interval: tuple[float, float]
    prediction: Prediction | None
    canary: Canary | None
    notes: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many rows change."""
        return int(self._written.sum())

    @property
    def bytes(self) -> int:
        """How many bytes of vectors are written."""
        return int(self.target[self._written].nbytes)

    @property
    def _written(self) -> NDArray[np.bool_]:
        return ~same_rows(self.held, self.target, self.store.tolerance)

    @property
    def journal_bytes(self) -> int:
        """About how many bytes the journal takes."""
        parts = 2 if self.held is self.base else 3
        return parts * int(self.target.nbytes) + sum(len(document_id.encode()) + 4 for document_id in self.ids)

    def __str__(self) -> str:
        """Say what would change, one thing a line."""
        share = self.rows / max(1, self.store.count)
        lines = [
            f"store     {self.store.kind} {self.store.location}: {self.store.count} vectors of {self.store.dimension}, "
            f"ranked by {self.store.ranking}",
            f"rows      {self.rows} change ({share:.1%}), {len(self.missing)} are gone",
            f"bytes     {self.bytes:,} of vectors; the journal takes about {self.journal_bytes:,}",
            f"seconds   about {self.seconds:.1f}",
            f"gain      {self.gain:+.4f} out of sample (95 %: {self.interval[0]:+.4f} to {self.interval[1]:+.4f})",
            f"changes   {'all rows together' if self.store.atomicity == 'all' else 'row by row, with a journal'}",
        ]
        lines += [] if self.prediction is None else [f"canary    {self.prediction}"]
        return "\n".join([*lines, *(f"note      {note}" for note in self.notes)])


def plan_rollout(
    adapter: StoreAdapter,
    nudge: Nudge,
    *,
    overlay: Overlay | None = None,
    canary: Canary | None = None,
    allow_rounding: bool = False,
) -> RolloutPlan:
    """Compare a nudge with what a store holds.

    Args:
        adapter: The store.
        nudge: What to apply.
        overlay: Base vectors of the rows that an earlier nudge has moved.
        canary: Queries to run once it is applied.
        allow_rounding: Write to a store of half precision, which rounds.

    Raises:
        SimilarityError: If the store would rank the nudged vectors wrongly.
        MismatchError: If the store holds vectors of another model or dimension, or was nudged by somebody else.
        StoreError: If it is another collection, or would round.
    """
    info = adapter.describe()
    _refuse(info, nudge, allow_rounding)
    corpus = StoreCorpus.of(adapter, overlay)
    earlier = overlay.place if overlay is not None else {}
    wanted = list(corpus.ids) if nudge.shift is not None else [*nudge.ids, *(i for i in earlier if i not in nudge)]
    started = time.monotonic()
    there, held = fetched(adapter, wanted)
    seconds = time.monotonic() - started
    # Documents that an earlier nudge moved may have been deleted since.
    gone = (document_id for document_id, found in zip(wanted, there, strict=True) if not found)
    missing = tuple(document_id for document_id in gone if document_id in nudge)
    if len(missing) > MOST_SKIPPED * len(wanted):
        raise StoreError(
            f"{len(missing)} of the {len(wanted)} documents that move are not in {info.location}, as {missing[0]!r}: "
            "is it the right collection? Else fit again on what it holds now"
        )
    ids, held = [i for i, found in zip(wanted, there, strict=True) if found], held[there]
    base = held if overlay is None else overlay.replace(ids, held)
    _refuse_lengths(info, corpus, base)
    target = _targets(nudge, ids, base).astype(info.dtype)
    written = ~same_rows(held, target, info.tolerance)
    # Nothing is journalled where nothing is written; else all that is not at its base vector, so as to get it back.
    changes = np.flatnonzero(written | (written.any() & ~same_rows(held, base, info.tolerance)))
    rows = [ids[row] for row in changes]
    now, target = held[changes], target[changes]
    prediction = None
    if canary is not None and rows:
        canary, prediction = predict(canary, corpus, StoreCorpus(adapter, corpus.ids), rows, target)
    gain, interval = _gain(nudge)
    return RolloutPlan(
        *(info, nudge.fingerprint, tuple(rows), now, now if base is held else base[changes], target, missing),
        *(3.0 * seconds, gain, interval, prediction, canary, _notes(nudge, info, int(written.sum()), prediction)),
    )


def _targets(nudge: Nudge, ids: Sequence[str], base: Floats) -> Floats:
    """Return where rows go; those that this nudge does not know stay at their base vectors."""
    nudged = nudge.apply(ids, base)
    if nudge.shift is not None:
        return nudged
    moves = np.array([document_id in nudge for document_id in ids], np.bool_)
    return np.where(moves[:, None], nudged, base)


def _refuse(info: StoreInfo, nudge: Nudge, allow_rounding: bool) -> None:
    if info.count and nudge.dimension not in (info.dimension, 0):
        raise MismatchError(
            f"the nudge moves vectors of {nudge.dimension} numbers, {info.location} holds {info.dimension}: it belongs "
            "to another model or collection, or the store cuts vectors short; fit on this store"
        )
    if nudge.similarity == "dot" and info.ranking != "dot":
        raise SimilarityError(
            f"lengths count in the vectors of {nudge.method!r}, and {info.location} ranks by {info.ranking}: fit with "
            "method='nudge-n', or fill a store that ranks by inner product"
        )
    if info.dtype == "float16" and not allow_rounding:
        raise StoreError(
            f"{info.location} holds half precision, so targets are rounded to three digits: say allow_rounding=True"
        )


def _refuse_lengths(info: StoreInfo, corpus: StoreCorpus, base: Floats) -> None:
    """Refuse lengths that count where the nudge was fitted to vectors of unit length."""
    if info.ranking == "cosine":
        return
    sample = corpus.sample(1000, 0)
    lengths = row_lengths(np.concatenate([sample, base.astype(np.float32)]), "vectors of the store")
    if (np.abs(lengths - 1.0) > 1e-3).any():
        raise SimilarityError(
            f"{info.location} ranks by {info.ranking} and holds vectors of length {lengths.min():.3g} to "
            f"{lengths.max():.3g}; nudged ones have length 1 and would be ranked wrongly among them: "
            "fill the store with unit vectors, or have it rank by cosine"
        )


def _gain(nudge: Nudge) -> tuple[float, tuple[float, float]]:
    gain = nudge.score - nudge.baseline
    errors = [c["standard_error"] for c in nudge.candidates if c["method"] == nudge.method]
    spread = 1.96 * min(errors, default=float("nan"))
    return gain, (gain - spread, gain + spread)


def _notes(nudge: Nudge, info: StoreInfo, rows: int, prediction: Prediction | None) -> tuple[str, ...]:
    notes = []
    if nudge.query_map is not None:
        notes.append("queries must go through nudge.transform_queries, or a retriever of this package")
    if not rows:
        notes.append("nothing changes: every row is where the nudge puts it")
    if info.rebuild and rows > _MOST_MOVED * info.count:
        notes.append(
            f"more than {_MOST_MOVED:.0%} of all rows move: rebuild the {info.index} index afterwards: {info.rebuild}"
        )
    if prediction is not None and prediction.recall < 0.98:
        notes.append(f"the store's own search finds {prediction.recall:.1%} of the exact best now")
    return tuple(notes)
