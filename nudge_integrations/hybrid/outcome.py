"""The best candidate as a solution, if it beats doing nothing by more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nudge_integrations.hybrid.trial import Trial, Worth
from nudge_integrations.solver import Candidate, Curve, PerQuery, Solution
from nudge_integrations.solver._plan import Plan
from nudge_integrations.solver.choice import gain_and_error

__all__ = ["best_of"]


def best_of(
    plan: Plan,
    nudge: Solution,
    trials: Sequence[Trial],
    groups: ArrayLike | Sequence[object] | None,
    notes: tuple[str, ...],
    *,
    nudge_counts: bool,
    some_unlabelled: bool,
) -> Solution:
    """Return the best of a nudge alone and the trials.

    Args:
        plan: The options.
        nudge: The best nudge alone, which moves nothing where it does not beat doing nothing.
        trials: The other candidates.
        groups: (m,) names; queries of one group vary together.
        notes: What the user should know of the search.
        nudge_counts: Whether a nudge alone may be chosen.
        some_unlabelled: Whether there are documents that nobody labelled.
    """
    rows, baseline = nudge.per_query.rows, nudge.per_query.baseline
    names = rows if groups is None else np.asarray(groups)[rows]
    drawn_as_one = np.unique(names, return_inverse=True)[1].astype(np.int64)
    nothing = Worth(baseline, baseline)
    lines = [trial.candidate(nothing, drawn_as_one, plan.unseen_weight) for trial in trials]
    alone = nudge if nudge_counts else _nothing(nudge)
    start = replace(
        alone,
        candidates=(*(alone.candidates if nudge_counts else ()), *lines),
        warnings=(*alone.warnings, *notes),
    )
    least = max((line.gain for line in nudge.candidates), default=0.0) if alone.status == "improved" else 0.0
    better = [
        (line, trial)
        for line, trial in zip(lines, trials, strict=True)
        if line.gain > max(least, plan.standard_errors * line.standard_error)
        and (plan.unseen_loss is None or _gains_unseen(plan, trial, baseline, drawn_as_one))
    ]
    if not better:
        return start
    line, trial = max(better, key=lambda pair: pair[0].gain)
    lost, error = gain_and_error(trial.worth.unseen - baseline, drawn_as_one)
    loses = some_unlabelled and lost < -plan.standard_errors * error
    return replace(_solution(start, line, trial), warnings=(*notes, _unseen(start, line)) if loses else notes)


def _gains_unseen(plan: Plan, trial: Trial, baseline: NDArray[np.float64], groups: NDArray[np.int64]) -> bool:
    """Say whether queries for documents that nobody labelled surely gain; a map reaches all of them."""
    gain, error = gain_and_error(trial.worth.unseen - baseline, groups)
    return gain > plan.standard_errors * error


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
        reason="no query map gains more than noise without harm to queries of another topic",
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


def _solution(start: Solution, line: Candidate, trial: Trial) -> Solution:
    """Return a trial as a solution; what it is compared with comes from ``start``."""
    moved = _still(start, np.zeros(0, np.int64)) if trial.nudge is None else trial.nudge
    query_map = None if trial.query_map is None else trial.query_map.cpu().numpy()
    queries = start.per_query
    return replace(
        moved,
        method=line.method,
        query_map=query_map,
        baseline=start.baseline,
        score=line.score,
        curve=moved.curve if trial.nudge is not None else Curve(np.zeros(1), np.array([line.score]), 0.0),
        unseen_baseline=start.baseline,
        unseen_score=line.unseen_score,
        status="improved",
        reason=(
            f"{start.metric} {start.baseline:.4f} -> {line.score:.4f} over {len(queries.rows)} queries (out of sample)"
        ),
        protocol="leave-one-out",
        candidates=start.candidates,
        per_query=PerQuery(queries.rows, queries.baseline, trial.worth.seen, trial.worth.unseen),
    )
