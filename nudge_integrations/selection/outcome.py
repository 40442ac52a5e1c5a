"""The result of the search: all candidates, and the best as a solution if it beats doing nothing beyond noise."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.selection.fitted import FittedCandidate, QueryScores
from nudge_integrations.solver import Candidate, Curve, PerQuery, Solution
from nudge_integrations.solver.decision import gain_and_error
from nudge_integrations.solver.options import Options

__all__ = ["SelectionResult"]


@dataclass(frozen=True, eq=False)
class SelectionResult:
    """All fitted candidates, each evaluated out of sample.

    Attributes:
        options: The options.
        nudge: The best nudge alone, which moves nothing where it does not beat doing nothing.
        fitted: The candidates beside it.
        groups: (e,) int64, evaluation queries of one group vary together.
        notes: What the user should know of the search.
        some_unlabelled: Whether there are documents that nobody labelled.
    """

    options: Options
    nudge: Solution
    fitted: Sequence[FittedCandidate]
    groups: NDArray[np.int64]
    notes: tuple[str, ...]
    some_unlabelled: bool

    def best(self, candidates: Collection[str]) -> Solution:
        """Return the best of some candidates, or of doing nothing."""
        options, baseline = self.options, self.nudge.per_query.baseline
        nothing = QueryScores(baseline, baseline)
        fitted = [candidate for candidate in self.fitted if candidate.name in candidates]
        lines = [candidate.row(nothing, self.groups, options.unseen_weight) for candidate in fitted]
        nudges = self.nudge.candidates if "nudge" in candidates else ()
        alone = self.nudge if nudges else _nothing(self.nudge)
        start = replace(
            alone,
            candidates=(*nudges, *lines),
            warnings=(*alone.warnings, *self.notes),
        )
        least = max((line.gain for line in nudges), default=0.0) if alone.status == "improved" else 0.0
        better = [
            (line, candidate)
            for line, candidate in zip(lines, fitted, strict=True)
            if line.gain > max(least, options.standard_errors * line.standard_error)
            and (options.unseen_loss is None or self._gains_unseen(candidate))
        ]
        if not better:
            return start
        line, candidate = max(better, key=lambda pair: pair[0].gain)
        lost, error = gain_and_error(candidate.scores.unseen - baseline, self.groups)
        loses = self.some_unlabelled and lost < -options.standard_errors * error
        warnings = (*self.notes, _unseen(start, line)) if loses else self.notes
        return replace(_solution(start, line, candidate), warnings=warnings)

    def _gains_unseen(self, candidate: FittedCandidate) -> bool:
        """Return whether queries for unlabelled documents gain by more than noise; a map changes all of them."""
        gain, error = gain_and_error(candidate.scores.unseen - self.nudge.per_query.baseline, self.groups)
        return gain > self.options.standard_errors * error


def _unseen(start: Solution, line: Candidate) -> str:
    return (
        f"queries for documents that nobody labelled lose: {start.metric} {start.baseline:.4f} -> "
        f"{line.unseen_score:.4f}; if labels cover only part of the traffic, raise unseen_weight (0 .. 1)"
    )


def _nothing(nudge: Solution) -> Solution:
    """Return a solution that changes nothing, whatever a nudge alone would bring."""
    if nudge.status == "no_gain":
        return nudge
    queries = nudge.per_query
    return replace(
        _still(nudge, np.zeros(0, np.int64)),
        status="no_gain",
        reason="no query map gains more than noise without a loss to queries of another topic",
        method="none",
        score=nudge.baseline,
        unseen_score=nudge.baseline,
        per_query=PerQuery(queries.rows, queries.baseline, queries.baseline, queries.baseline),
        warnings=(),
    )


def _still(nudge: Solution, rows: NDArray[np.int64]) -> Solution:
    """Return a solution in which every document stays."""
    return replace(
        nudge,
        rows=rows,
        vectors=nudge.vectors[: len(rows)],
        similarity="cosine",
        step=0.0,
        temperature=None,
        normaliser=None,
        shift=None,
    )


def _solution(start: Solution, line: Candidate, candidate: FittedCandidate) -> Solution:
    """Return a candidate as a solution; what it is compared with comes from ``start``."""
    moved = _still(start, np.zeros(0, np.int64)) if candidate.nudge is None else candidate.nudge
    query_map = None if candidate.query_map is None else candidate.query_map.cpu().numpy()
    queries = start.per_query
    return replace(
        moved,
        method=line.method,
        query_map=query_map,
        baseline=start.baseline,
        score=line.score,
        curve=moved.curve if candidate.nudge is not None else Curve(np.zeros(1), np.array([line.score]), 0.0),
        unseen_baseline=start.baseline,
        unseen_score=line.unseen_score,
        status="improved",
        reason=(
            f"{start.metric} {start.baseline:.4f} -> {line.score:.4f} over {len(queries.rows)} queries (out of sample)"
        ),
        protocol="leave-one-out",
        candidates=start.candidates,
        per_query=PerQuery(queries.rows, queries.baseline, candidate.scores.seen, candidate.scores.unseen),
    )
