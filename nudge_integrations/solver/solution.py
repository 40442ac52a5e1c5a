"""The answer of `solve`: which documents moved where, how far, and what that is worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import torch

from nudge_integrations.corpus.arrays import unit_block
from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Fusion
from nudge_integrations.solver.curve import Curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Candidate", "PerQuery", "Similarity", "Solution", "Status", "table_of"]

Status = Literal["improved", "no_gain", "fixed"]
Similarity = Literal["cosine", "dot"]
ArrayT = TypeVar("ArrayT", "NDArray[np.floating]", torch.Tensor)


@dataclass(frozen=True, eq=False)
class PerQuery:
    """The metric of every evaluation query.

    Attributes:
        rows: (e,) int64, which of the queries: of the labelled ones, or of the validation set.
        baseline: (e,) float64 at step 0.
        score: (e,) float64 at the step, each query evaluated without its own labels (or on the validation set).
        unseen: (e,) float64 at the step, the documents that the query wants left where they were.
        weight: (e,) float64, how much each query counts in the means, 1 on average; None where all count alike.
    """

    rows: NDArray[np.int64]
    baseline: NDArray[np.float64]
    score: NDArray[np.float64]
    unseen: NDArray[np.float64]
    weight: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls, evaluated: tuple[NDArray[np.int64], NDArray[np.float64] | None], *weighed: NDArray[np.float64]
    ) -> PerQuery:
        """Take the rows and weights of queries, and three columns that come multiplied by the weights."""
        rows, weight = evaluated
        baseline, score, unseen = (column if weight is None else column / weight for column in weighed)
        return cls(rows, baseline, score, unseen, weight)

    def weighed(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return baseline, score and unseen times the weights: what their means are means of."""
        baseline, score, unseen = (
            column if self.weight is None else column * self.weight
            for column in (self.baseline, self.score, self.unseen)
        )
        return baseline, score, unseen


@dataclass(frozen=True)
class Candidate:
    """One way that was tried, and what it was worth out of sample.

    Attributes:
        method: Its name.
        temperature: The softmax temperature of a contrastive direction, else None.
        step: Its own best step.
        score: The metric there.
        unseen_score: The metric there for documents that nobody labelled.
        gain: How much what was maximised rose above doing nothing, mean over queries; of signals, above the same
            without them.
        standard_error: The standard error of that gain, paired over queries (or groups).
        queries: How many queries these are means over: those that fell behind early were evaluated by some only.
        exact: False where queries were ranked among the documents of their pools only.
        note: What a reader of its line should know.
    """

    method: str
    temperature: float | None
    step: float
    score: float
    unseen_score: float
    gain: float
    standard_error: float
    queries: int = 0
    exact: bool = True
    note: str = ""


def table_of(candidates: Sequence[Candidate]) -> str:
    """Return candidates as a table in plain text, one a line, under a line of headings."""
    lines = [
        f"{'candidate':<26}{'tau':>6}{'step':>8}{'score':>9}{'unseen':>9}{'gain':>10}{'std. error':>12}{'queries':>9}"
    ]
    for one in candidates:
        temperature = "" if one.temperature is None else f"{one.temperature:g}"
        lines.append(
            f"{one.method:<26}{temperature:>6}{one.step:>8.3f}{one.score:>9.4f}{one.unseen_score:>9.4f}"
            f"{one.gain:>+10.4f}{one.standard_error:>12.4f}{one.queries:>9}{'' if one.exact else '  on pools'}"
            f"{one.note and f'  {one.note}'}"
        )
    return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Solution:
    """Where documents moved, how far, and what that is worth.

    Attributes:
        rows: (r,) int64, documents that moved, ascending.
        vectors: (r, d) float32, where they moved to.
        similarity: ``"cosine"``: unit vectors, for which cosine, dot and L2 rank alike; ``"dot"``: lengths matter.
        method: The method chosen; ``"none"`` where nothing moves.
        step: How far: an angle in radians for nudge-n and contrastive, a length for nudge-m, nudge-m+n and nudge-s.
        temperature: The softmax temperature of a contrastive direction, else None.
        metric: The metric that was maximised.
        baseline: The metric at step 0, in [0, 1].
        score: The metric at the step, each query evaluated without its own labels (or on the validation set).
        curve: The metric along the whole path.
        unseen_baseline: The metric at step 0 for documents that nobody labelled: the same queries, so the same number.
        unseen_score: The metric at the step with every document that a query wants left where it was.
        status: ``"improved"``, ``"no_gain"`` (nothing moves; ``reason`` says why) or ``"fixed"`` (the step was given).
        reason: The status in words.
        warnings: What the user should know before serving this.
        protocol: ``"leave-one-out"`` or ``"validation"``.
        queries: How many queries the metric is a mean over.
        evaluable: How many could have been evaluation, where ``max_queries`` left some out.
        normaliser: ``"exact"``, ``"sampled"`` for a contrastive softmax over part of the corpus, else None.
        candidates: Everything that was tried.
        per_query: The metric of every evaluation query; its means, weighted where labels
            have weights, are ``baseline``, ``score`` and ``unseen_score``.
        documents: n, how many documents there are.
        query_map: None, or (d, d) float32 to apply to queries: unit(q + q M).
        shift: None, or (d,) float32 added to every document that nobody labelled, which is then made unit length again.
        fusion: None, or the weights of signals that are added to dense scores.
        negative_weight: How much a no counted beside a yes; None where nobody said no.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    similarity: Similarity
    method: str
    step: float
    temperature: float | None
    metric: str
    baseline: float
    score: float
    curve: Curve
    unseen_baseline: float
    unseen_score: float
    status: Status
    reason: str
    warnings: tuple[str, ...]
    protocol: Literal["leave-one-out", "validation"]
    queries: int
    evaluable: int
    normaliser: Literal["exact", "sampled"] | None
    candidates: tuple[Candidate, ...]
    per_query: PerQuery
    documents: int
    query_map: NDArray[np.float32] | None = None
    shift: NDArray[np.float32] | None = field(default=None)
    fusion: Fusion | None = None
    negative_weight: float | None = None

    def apply(self, documents: ArrayT) -> ArrayT:
        """Return all documents with the nudge applied.

        Args:
            documents: (n, d) the base vectors that were solved for, numpy or torch, any float type.

        Returns:
            (n, d) float32 of the same kind: moved documents where they moved to, all others at unit length.

        Raises:
            InputError: If the number of documents or their width differs, or a vector is zero or not finite.
        """
        if tuple(documents.shape) != (self.documents, self.vectors.shape[1]):
            raise InputError(
                f"this solution is for documents of shape ({self.documents}, {self.vectors.shape[1]}); "
                f"got {tuple(documents.shape)}: apply it to the base vectors it was made from"
            )
        if isinstance(documents, torch.Tensor):
            return self._applied(documents.detach().to(torch.float32, copy=True))
        return self._applied(torch.from_numpy(np.array(documents, dtype=np.float32))).numpy()

    def _applied(self, fresh: torch.Tensor) -> torch.Tensor:
        moved = unit_block(fresh, "documents")
        if self.shift is not None:
            moved = torch.nn.functional.normalize(moved + torch.from_numpy(self.shift).to(moved), dim=1)
        moved[torch.from_numpy(self.rows).to(moved.device)] = torch.from_numpy(self.vectors).to(moved)
        return moved

    def __repr__(self) -> str:
        moved = f"{len(self.rows)} of {self.documents} documents moved"
        moved += "" if self.query_map is None else ", queries mapped"
        moved += "" if self.fusion is None else f", {self.fusion}"
        return (
            f"Solution({self.method}, step={self.step:.4g}, {moved}, {self.metric} {self.baseline:.4f} -> "
            f"{self.score:.4f} over {self.queries} queries ({self.protocol}), {self.status})"
        )

    def __str__(self) -> str:
        return f"{self!r}\n{table_of(self.candidates)}"
