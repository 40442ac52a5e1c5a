"""The candidates beside a nudge alone with their figures, and the best of all as a solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from nudge_integrations.query_map.ridge import Setting
from nudge_integrations.selection.confirm import confirm_map, confirm_pair
from nudge_integrations.selection.map_search import FoundMap, MapSearch
from nudge_integrations.selection.pairs import FoundPair
from nudge_integrations.selection.pool_evaluator import STRENGTH
from nudge_integrations.solver import Candidate, PerQuery, Prepared, Solution
from nudge_integrations.solver.curve import curve_of
from nudge_integrations.solver.decision import (
    Decision,
    QueryScores,
    gain_and_error,
    mean,
    rare_warning,
    repetition_warning,
    unseen_warning,
)
from nudge_integrations.solver.nudge_search import NudgeResult
from nudge_integrations.solver.solving import solution_of

__all__ = ["Fitted", "confirmed", "fitted_map", "fitted_pair", "solution_with"]

_UNHEEDED = (
    "labels that say no were not heeded: a query map alone served best, and moves no document away; "
    "method='nudge' heeds them"
)

# An exact figure that is further from that of the pools than this part of a standard error sends the search back.
_MOVED = 0.1


@dataclass(frozen=True, eq=False)
class Fitted:
    """A query map, or a nudge after one.

    Attributes:
        search: What it was found with.
        found: The map or the pair.
        candidate: Its line of the table.
        scores: The metric of all evaluation queries where it was confirmed on the whole corpus, else None.
    """

    search: MapSearch
    found: FoundMap | FoundPair
    candidate: Candidate
    scores: QueryScores | None = None

    @property
    def setting(self) -> tuple[Setting, float]:
        """The map's setting and strength."""
        found = self.found
        return (
            (found.best.setting, found.best.strength)
            if isinstance(found, FoundMap)
            else (found.setting, found.strength)
        )

    def query_map(self) -> NDArray[np.float32]:
        """Return the map, (d, d)."""
        setting, strength = self.setting
        matrix: NDArray[np.float32] = (strength * self.search.maps.map(setting)).float().cpu().numpy()
        return matrix


def fitted_map(search: MapSearch, found: FoundMap) -> Fitted:
    """Return a map with its figures on pools."""
    line = _line(search, found.best.kind, None, 0.0, found.seen, found.unseen, found.objective - found.baseline)
    return Fitted(search, found, line)


def fitted_pair(search: MapSearch, pair: FoundPair) -> Fitted:
    """Return a pair with its figures on pools."""
    nudge = pair.nudge.candidate
    name = f"{pair.kind}+{nudge.method}"
    gains = pair.objective - pair.baseline
    line = _line(search, name, nudge.temperature, nudge.step, pair.seen, nudge.unseen_score, gains)
    return Fitted(search, pair, line)


def confirmed(
    prepared: Prepared, fitted: list[Fitted], alone: NudgeResult, least: float
) -> tuple[list[Fitted], NDArray[np.int64] | None]:
    """Search the corpus for the best candidate, if it may win, and put its exact figures in the place of the pools'.

    Returns:
        The candidates, and (e, k) the documents that mapped queries find where the figure moved, else None.
    """
    hopeful = [
        one for one in fitted if one.candidate.gain > 0.0 and (isinstance(one.found, FoundMap) or one.found.beats)
    ]
    if not hopeful:
        return fitted, None
    best = max(hopeful, key=lambda one: one.candidate.gain)
    rows = best.search.full.rows
    weight = prepared.options.unseen_weight
    beside = gain_and_error(alone.scores.objective(weight)[rows] - alone.baseline[rows], np.arange(len(rows)))[0]
    if least > 0.0 and best.candidate.gain <= beside - best.candidate.standard_error:
        return fitted, None
    found = best.found
    exact = confirm_map(best.search, found) if isinstance(found, FoundMap) else confirm_pair(best.search, found)
    was, scores = best.candidate, exact.scores
    moved = abs(mean(scores.seen[rows]) - was.score) > _MOVED * was.standard_error
    gain, error = gain_and_error(scores.objective(weight) - alone.baseline, prepared.evaluation.groups)
    line = replace(
        was,
        score=mean(scores.seen),
        unseen_score=mean(scores.unseen),
        gain=gain,
        standard_error=error,
        queries=len(scores.seen),
        exact=True,
    )
    kept = [replace(one, candidate=line, scores=scores) if one is best else one for one in fitted]
    return kept, exact.rows if moved and not prepared.pools.whole else None


def solution_with(
    prepared: Prepared, nudge: Solution, fitted: Sequence[Fitted], notes: tuple[str, ...], *, with_nudge: bool
) -> Solution:
    """Return the best of a nudge alone, the candidates beside it, and doing nothing."""
    options, baseline = prepared.options, nudge.per_query.weighed()[0]
    start = nudge if with_nudge else _nothing(nudge)
    lines = tuple(one.candidate for one in fitted)
    start = replace(start, candidates=(*(nudge.candidates if with_nudge else ()), *lines))
    scores = QueryScores(*start.per_query.weighed()[1:])
    least = mean(scores.objective(options.unseen_weight) - baseline) if start.status == "improved" else 0.0
    better = [one for one in fitted if one.scores is not None and _may_win(prepared, one, one.scores, baseline, least)]
    if not better:
        return replace(start, warnings=(*start.warnings, *notes))
    best = max(better, key=lambda one: one.candidate.gain)
    return replace(_solution(prepared, start, best), warnings=(*_warnings(prepared, best, baseline), *notes))


def _may_win(prepared: Prepared, one: Fitted, scores: QueryScores, baseline: NDArray[np.float64], least: float) -> bool:
    options, line = prepared.options, one.candidate
    if line.gain <= max(least, _times(options.standard_errors, one) * line.standard_error):
        return False
    if options.standard_errors and rare_warning(prepared, scores, baseline):
        return False
    if not options.protects_unseen:
        return True
    # A map changes the queries for documents that nobody labelled too: these must surely gain.
    gain, error = gain_and_error(scores.unseen - baseline, prepared.evaluation.groups)
    return gain > options.standard_errors * error


def _times(standard_errors: float, one: Fitted) -> float:
    """Return how many standard errors a gain must exceed: as seldom by chance for the best of several as for one."""
    if isinstance(one.found, FoundMap) or standard_errors == 0.0:
        return standard_errors
    return float(-ndtri(ndtr(-standard_errors) / one.found.attempts))


def _warnings(prepared: Prepared, best: Fitted, baseline: NDArray[np.float64]) -> tuple[str, ...]:
    if best.scores is None:
        return ()
    unseen = unseen_warning(prepared, best.scores, baseline, prepared.options.standard_errors)
    unheeded = prepared.labels.noes is not None and isinstance(best.found, FoundMap)
    return (*unseen, *repetition_warning(prepared), *([_UNHEEDED] if unheeded else []))


def _line(
    search: MapSearch,
    method: str,
    temperature: float | None,
    step: float,
    seen: NDArray[np.float64],
    unseen: float,
    gains: NDArray[np.float64],
) -> Candidate:
    """Return the line of the table of what was evaluated on pools."""
    rows = search.full.rows
    gain, error = gain_and_error(gains, search.prepared.evaluation.groups[rows])
    return Candidate(method, temperature, step, mean(seen), unseen, gain, error, len(rows), search.prepared.pools.whole)


def _nothing(nudge: Solution) -> Solution:
    """Return a solution that changes nothing, whatever a nudge alone would bring."""
    if nudge.status == "no_gain":
        return nudge
    queries = nudge.per_query
    return replace(
        _still(nudge),
        status="no_gain",
        reason="no query map gains more than noise without a loss to queries of another topic",
        method="none",
        score=nudge.baseline,
        unseen_score=nudge.baseline,
        per_query=replace(queries, score=queries.baseline, unseen=queries.baseline),
        warnings=(),
    )


def _still(nudge: Solution) -> Solution:
    """Return a solution in which every document stays."""
    return replace(
        nudge,
        rows=nudge.rows[:0],
        vectors=nudge.vectors[:0],
        similarity="cosine",
        step=0.0,
        temperature=None,
        normaliser=None,
        shift=None,
    )


def _solution(prepared: Prepared, start: Solution, best: Fitted) -> Solution:
    """Return the best map or pair as a solution; what it is compared with comes from ``start``."""
    found, line, scores = best.found, best.candidate, best.scores
    if isinstance(found, FoundMap):
        moved, curve = _still(start), curve_of(found.best.seen, STRENGTH)[1]
        curve = replace(curve, end=float(STRENGTH.steps(np.array(found.best.end))))
    else:
        decision = Decision("improved", "")
        compared = best.search.full.rows
        evaluation = prepared.evaluation.take(compared)
        rows = prepared.evaluation_rows[compared]
        towards = replace(prepared, labels=found.labels, evaluation=evaluation, evaluation_rows=rows)
        moved = solution_of(towards, found.nudge, (), decision)
        curve = moved.curve
    queries = start.per_query
    count = len(queries.rows)
    return replace(
        moved,
        method=line.method,
        query_map=best.query_map(),
        baseline=start.baseline,
        score=line.score,
        curve=curve,
        unseen_baseline=start.baseline,
        unseen_score=line.unseen_score,
        status="improved",
        reason=f"{start.metric} {start.baseline:.4f} -> {line.score:.4f} over {count} queries (out of sample)",
        protocol="leave-one-out",
        queries=start.queries,
        evaluable=start.evaluable,
        candidates=start.candidates,
        per_query=PerQuery.of(
            prepared.evaluated(), queries.weighed()[0], *((scores.seen, scores.unseen) if scores else ())
        ),
    )
