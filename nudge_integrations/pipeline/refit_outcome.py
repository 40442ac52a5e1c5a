"""The outcome of a refit: its gain on new queries, the changes, and why or why not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from nudge_integrations.artifact import Nudge, NudgeDiff
from nudge_integrations.pipeline.document_changes import DocumentChanges

__all__ = ["NewQueryGain", "RefitDetails", "nothing_gained", "without"]


@dataclass(frozen=True)
class NewQueryGain:
    """The gain of a refit on queries that came since the last fit, which neither nudge has learned from.

    Attributes:
        queries: How many they are.
        metric: What is measured.
        before: Its mean with the present nudge.
        after: Its mean with the new one, each query without its own labels.
        standard_error: The standard error of the gain, paired over queries.
    """

    queries: int
    metric: str
    before: float
    after: float
    standard_error: float

    @property
    def gain(self) -> float:
        """How much the metric rises."""
        return self.after - self.before

    @property
    def interval(self) -> tuple[float, float]:
        """The gain's 95 % interval; infinite below two queries."""
        return self.gain - 1.96 * self.standard_error, self.gain + 1.96 * self.standard_error

    def __str__(self) -> str:
        low, high = self.interval
        change = f"{self.metric} {self.before:.4f} -> {self.after:.4f} on {self.queries} new queries"
        return f"{change}, gain {self.gain:+.4f} (95 % interval {low:+.4f} to {high:+.4f})"


@dataclass(frozen=True, eq=False)
class RefitDetails:
    """The outcome of a refit.

    Attributes:
        nudge: The nudge to serve from now on: the new one, or the present one with the new labels beside it.
        fitted: What the fit on everything gave.
        changed: Whether documents, queries or scores are served in another way than before.
        reason: Why, in words.
        documents: What became of the documents that labels are about.
        new_labels: How many labels came since the last fit.
        gain: What the fit gains on new queries; None where there are none that can tell.
        diff: What changes, with the vectors to write. Documents that were edited or are gone are left out.
    """

    nudge: Nudge
    fitted: Nudge
    changed: bool
    reason: str
    documents: DocumentChanges
    new_labels: int
    gain: NewQueryGain | None
    diff: NudgeDiff

    def __str__(self) -> str:
        lines = [f"{'changed' if self.changed else 'unchanged'}: {self.reason}", f"{self.new_labels} new labels"]
        lines += [] if self.gain is None else [str(self.gain)]
        return "\n".join([*lines, str(self.documents), repr(self.nudge)])


def nothing_gained(fitted: Nudge, gain: NewQueryGain | None, *, require_gain: bool) -> str | None:
    """Say why the present nudge stays; None where the new one takes its place."""
    if fitted.status == "no_gain":
        return f"the fit on all labels finds no gain, so nothing changes: {fitted.reason}"
    if not require_gain:
        return None
    if gain is None:
        return "a gain is required, and no new query can show one, so nothing changes"
    if not gain.gain > 2.0 * gain.standard_error:
        return f"a gain beyond noise is required, so nothing changes: {gain}"
    return None


def without(diff: NudgeDiff, left_out: Collection[str]) -> NudgeDiff:
    """Leave documents out of a diff whose base vectors are not those of the former fit any more."""
    kept = [row for row, document in enumerate(diff.ids) if document not in left_out]
    return replace(
        diff,
        added=tuple(i for i in diff.added if i not in left_out),
        removed=tuple(i for i in diff.removed if i not in left_out),
        changed={i: angle for i, angle in diff.changed.items() if i not in left_out},
        ids=tuple(diff.ids[row] for row in kept),
        vectors=diff.vectors[kept],
    )
