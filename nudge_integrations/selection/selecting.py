"""`select`: nudges, query maps and both, each evaluated out of sample, and the best if it beats doing nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Signal
from nudge_integrations.selection.candidates import CANDIDATES, Asked, asked_for
from nudge_integrations.selection.fusing import fuse
from nudge_integrations.selection.map_search import MapSearch, search_map
from nudge_integrations.selection.outcome import Fitted, confirmed, fitted_map, fitted_pair, solution_with
from nudge_integrations.selection.pairs import search_pair
from nudge_integrations.selection.stages import Stages
from nudge_integrations.solver import Options, OptionValues, Prepared, Solution
from nudge_integrations.solver.decision import decide, mean
from nudge_integrations.solver.negative_weight import search_with_noes
from nudge_integrations.solver.nudge_search import NudgeResult, coarse_rows
from nudge_integrations.solver.prepare import Beside, prepare_for
from nudge_integrations.solver.solving import log_outcome, prepared_options, solution_of

__all__ = ["select"]

# A map has as many numbers as a vector squared: fewer queries say too little about it.
_FEWEST_QUERIES = 100

# What one evaluated map may cost, in scores of documents and in comparisons with relevant ones; where all queries would
# cost more, maps are compared by some of them, and what is chosen is confirmed by all.
_SCORES, _COMPARISONS, _COMPARED = 12_000_000, 4_000_000, 1024

# A search for a map takes about so many times as long as setting it up.
_SEARCH = 4

# Parts of the time of a selection, in percent, that have passed after nudges, query maps and both were searched.
_NUDGES, _MAPS, _PAIRS = 10, 65, 80

# How often what was confirmed may send the search back.
_ROUNDS = 2


def select(
    documents: object,
    queries: object = None,
    relevance: object = None,
    *,
    candidates: Sequence[str] = CANDIDATES,
    groups: ArrayLike | Sequence[object] | None = None,
    ignored: ArrayLike | None = None,
    signals: Sequence[Signal] = (),
    query_texts: Sequence[str] | None = None,
    serve_signals: bool = True,
    negatives: object = None,
    weights: object = None,
    **options: Unpack[OptionValues],
) -> Solution:
    r"""Choose the best of nudging documents, mapping queries, both, and doing nothing.

    Every candidate is evaluated by queries that it was not fitted to, and must beat doing nothing by more than noise. A
    query map must also not cost queries of another topic more than a tenth of a point. From ``unseen_weight=0.5`` on
    queries for documents that nobody labelled are protected too: a nudge may cost them a tenth of a point at most,
    standard error included, and a query map, which reaches them all, must be a gain to them.

    ===================  ==========================================================================================
    candidate            what it is, and how it is evaluated
    ===================  ==========================================================================================
    ``nudge``            `solve` with ``method="auto"``; exact leave-one-out
    ``query-map``        a contrastive ridge for queries, taken in one step (``ridge``) or several
                         (``iterated-ridge``), with the exact best strength; leave-one-out in closed form
    ``query-map+nudge``  documents move towards mapped queries; five folds of queries, whose labels no map has seen, and
                         exact leave-one-out of the nudge on top
    ===================  ==========================================================================================

    The solution's ``method`` names one of them more closely, as ``"ridge+contrastive"``, and may be asked for again.
    The corpus is searched once, and once more to confirm what was chosen: candidates are compared on pools of each
    query's 200 best documents, and the figures of the solution are those of the whole corpus.

    Args:
        documents: (n, d) numpy array, torch tensor or memory map of float16, bfloat16, float32 or float64, made unit
            length on reading; or any `Corpus`; or a `Prepared`, in place of all data.
        queries: (m, d), the labelled queries.
        relevance: (m, n) scipy sparse gains, > 0 where a document answers a query, < 0 where it does not.
        candidates: Which to try; also single methods, such as ``"ridge"`` or ``"iterated-ridge+nudge-n"``.
        groups: (m,) names; queries of one group are left out together. None: those with equal vectors are one group.
        ignored: (m,) whole numbers, the row of a document that each query never finds, such as itself; -1 for none.
        signals: What may be added to the dense scores of the best candidate, such as a `LexicalSignal`: each with the
            weight that is best, where it gains more than noise. ``solution.fusion`` has the weights.
        query_texts: (m,) the texts of the queries, for signals.
        serve_signals: False to only say in the table of candidates what signals would add, by about 256 of the queries.
        negatives: (m, n) scipy sparse, > 0 where a document does not answer a query; see `solve`. Only nudges heed it.
        weights: (m,) or (m, n) scipy sparse, how much labels count; see `solve`.
        **options: See `Options`: metric="ndcg@10", unseen_weight=0.0, max_seconds=None, seed=0, ...

    Returns:
        A `Solution` whose ``query_map`` is to be applied to queries, unit(q + q M), if it is not None. Its
        ``candidates`` are all that was tried; print it to see them as a table.

    Raises:
        InputError: As `solve`; also if a candidate is unknown.

    Example:
        >>> import numpy as np
        >>> from scipy import sparse
        >>> random = np.random.default_rng(0)
        >>> documents = random.normal(size=(50, 8))
        >>> relevant = np.arange(400) % 50
        >>> queries = documents[(relevant + 1) % 50] + random.normal(size=(400, 8))
        >>> relevance = sparse.csr_array((np.ones(400), (np.arange(400), relevant)), shape=(400, 50))
        >>> solution = select(documents, queries, relevance, metric="mrr@10")
        >>> solution.status, len(solution.candidates) > 6
        ('improved', True)
    """
    start = time.monotonic()
    asked = asked_for(candidates)
    if isinstance(documents, Prepared):
        prepared = prepared_options(documents, (queries, relevance, groups, ignored, negatives, weights), options)
    else:
        changed = Options().changed(**options)
        beside: Beside = {"ignored": ignored, "negatives": negatives, "weights": weights}
        prepared = prepare_for(changed, documents, queries, relevance, None, groups, maps=asked.maps, **beside)
    given = prepared.options
    if given.step is not None or given.shift or prepared.held_out is not None:
        raise InputError("select() compares by leave-one-out: give step=, shift= and validation= to solve()")
    prepared = prepared.with_options(replace(given, method="auto"))
    solution = _Selection(prepared, asked, start, signals, query_texts, serve_signals).solution()
    log_outcome(solution)
    return solution


@dataclass(eq=False)
class _Selection:
    """One run of `select`."""

    prepared: Prepared
    asked: Asked
    start: float
    signals: Sequence[Signal]
    texts: Sequence[str] | None
    serve_signals: bool
    stages: Stages = field(init=False)

    def solution(self) -> Solution:
        with Stages(disable=not (self.prepared.options.progress and self.asked.maps)) as self.stages:
            return self._solution()

    def _solution(self) -> Solution:
        options = self.prepared.options
        self.prepared, alone, lines = search_with_noes(self.prepared, options)
        decision = decide(
            self.prepared, alone.candidate, mean(alone.baseline), standard_errors=options.standard_errors, fixed=False
        )
        nudge_seconds = time.monotonic() - self.start
        self.stages.reached("query maps", _NUDGES)
        nudge = solution_of(self.prepared, alone, lines, decision)
        gains = decision.status == "improved"
        fitted, notes = self._fitted(alone, gains, nudge_seconds) if self.asked.maps else ([], ())
        best = solution_with(self.prepared, nudge, fitted, notes, with_nudge=self.asked.nudge)
        if not self.serve_signals and self._too_late(0.0):
            return best
        return fuse(self.prepared, best, self.signals, self.texts, fitted, serve=self.serve_signals)

    def _fitted(
        self, alone: NudgeResult, alone_gains: bool, nudge_seconds: float
    ) -> tuple[list[Fitted], tuple[str, ...]]:
        """Return maps and pairs, the best of them with its exact figures, and what was left out in words."""
        evaluation = self.prepared.evaluation
        if self.prepared.noes_alone:
            return [], ("query maps were not tried: no query says what answers it",)
        if len(np.unique(evaluation.groups)) < _FEWEST_QUERIES:
            few = f"fewer than {_FEWEST_QUERIES} labelled queries say too little about one"
            return [], (f"query maps were not tried: {few}",)
        late = f"left out for want of time: {', '.join(name for name in self.asked.names if name != 'nudge')}"
        if self._too_late(0.0):
            return [], (late,)
        alone_rivals = alone_gains and self.asked.nudge
        fitted: list[Fitted] = []
        notes: tuple[str, ...] = ()
        for round_number in range(_ROUNDS):
            seconds = time.monotonic()
            search = MapSearch.of(self.prepared, self._compared())
            if self._too_late(_SEARCH * (time.monotonic() - seconds)):
                return [], (late,)
            found = search_map(search, self.asked.map_kinds)
            self.stages.reached("both", _MAPS)
            if found is None:
                return [], ()
            fitted = [fitted_map(search, found)] if self.asked.map_alone else []
            if self.asked.pairs and self._too_late(nudge_seconds):
                notes = ("left out for want of time: query-map+nudge",)
            elif self.asked.pairs:
                rivals = [found.best.objective.at(found.best.parameter)] if self.asked.map_alone else []
                pair = search_pair(search, found, alone, self.asked.pair_method, alone_gains=alone_gains, rivals=rivals)
                fitted += [] if pair is None else [fitted_pair(search, pair)]
            self.stages.reached("exact figures", _PAIRS)
            fitted, surfaced = confirmed(self.prepared, fitted, alone, alone.candidate.gain * alone_rivals)
            if surfaced is None or round_number == _ROUNDS - 1:
                break
            self.prepared = self.prepared.with_documents(surfaced)
        return fitted, notes

    def _compared(self) -> np.ndarray:
        """Return the places of the evaluation queries that maps are compared by."""
        evaluation, pools = self.prepared.evaluation, self.prepared.pools
        documents = min(len(self.prepared.corpus), pools.rows.size)
        relevant = evaluation.gains.nnz / max(1, len(evaluation))
        affordable = min(_SCORES // max(1, documents), int(_COMPARISONS / (pools.rows.shape[1] * (1.0 + relevant))))
        return coarse_rows(evaluation.groups, self.prepared.options.seed, max(_COMPARED, affordable))

    def _too_late(self, seconds: float) -> bool:
        limit = self.prepared.options.max_seconds
        return limit is not None and time.monotonic() - self.start + seconds >= limit
