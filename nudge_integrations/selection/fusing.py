"""The best candidate with signals added to its dense scores, where they are worth it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Fusion, LexicalSignal, QueryScorer, Signal
from nudge_integrations.selection.confirm import mapped_queries
from nudge_integrations.selection.fused import DEPTH, FusedPools, best_weights
from nudge_integrations.selection.map_search import FoundMap, MapSearch
from nudge_integrations.selection.outcome import Fitted
from nudge_integrations.selection.pairs import FoundPair, adapted_labels
from nudge_integrations.solver import Candidate, PerQuery, Prepared, Solution
from nudge_integrations.solver.decision import QueryScores, decide, gain_and_error, mean, noise_groups, rare_warning
from nudge_integrations.solver.nudge_search import coarse_rows, target_of
from nudge_integrations.solver.served_scores import ServedQueries, served_by_nudge

__all__ = ["fuse"]

# What queries for documents that nobody labelled may lose where they are protected: a tenth of a point.
_UNSEEN_LOSS = 0.001

# What signals would gain is told by the queries of about so many groups.
_TOLD = 256

_ADD_THEM = (
    "the score counts signals beside the vectors: the retrievers of this package add BM25, whatever else serves the "
    "vectors must add the signals with the weights of `fusion`"
)


def fuse(
    prepared: Prepared,
    solution: Solution,
    signals: Sequence[Signal],
    texts: Sequence[str] | None,
    fitted: Sequence[Fitted] = (),
    *,
    serve: bool = True,
) -> Solution:
    """Add to a solution the signals that gain more than noise, each with the weight that is best.

    A signal's weight is searched exactly on the dense scores that the solution serves, each query without its own
    labels. What it gains is told by halves of the queries: each is served by the weights that are best for the other.

    Args:
        prepared: What the solution was found with.
        solution: The solution.
        signals: The signals.
        texts: (m,) the texts of the queries that evaluate: of the labelled ones, or of the validation set.
        fitted: The query maps and pairs that it was chosen from.
        serve: False to only say in the table of candidates what the signals would gain, by some of the queries.

    Raises:
        InputError: If there is not a text a query, two signals have one name, or documents that nobody labelled shift.
    """
    _check(prepared, signals, texts)
    if not signals or texts is None or not len(prepared.evaluation):
        return solution
    if prepared.noes_alone:
        untried = "signals were not tried: no query says what answers it"
        return replace(solution, warnings=(*solution.warnings, *((untried,) if serve else ())))
    if solution.negative_weight is not None:
        prepared = prepared.with_negative_weight(solution.negative_weight)
    served = _served(prepared, solution, fitted)
    if not serve:
        rows = coarse_rows(prepared.evaluation.groups, prepared.options.seed, _TOLD)
        served = [[part.only(rows) for part in parts] for parts in served]
        evaluation = prepared.evaluation.take(rows)
        prepared = replace(prepared, evaluation=evaluation, evaluation_rows=prepared.evaluation_rows[rows])
    asked = [texts[row] for row in prepared.evaluation_rows]
    once = [_Once(signal) for signal in signals]
    seen, unseen = (FusedPools.of(prepared, parts, once, asked) for parts in served)
    search = _Search(prepared, seen, unseen, [signal.name for signal in signals], solution)
    return search.solution(signals, serve=serve)


class _Once:
    """A signal whose scores of the same queries are worked out once, not for seen and unseen ones each."""

    def __init__(self, signal: Signal) -> None:
        self.signal, self.name = signal, signal.name
        self._last: tuple[list[str], QueryScorer] | None = None

    def of(self, queries: Sequence[str]) -> QueryScorer:
        if self._last is None or self._last[0] != queries:
            self._last = (list(queries), self.signal.of(queries))
        return self._last[1]


def _served(prepared: Prepared, solution: Solution, fitted: Sequence[Fitted]) -> list[list[ServedQueries]]:
    """Return the evaluation queries as a solution without their labels serves them, seen and unseen."""
    winner = next((one for one in fitted if one.candidate.method == solution.method), None)
    if solution.query_map is None or winner is None:
        return [[part] for part in served_by_nudge(prepared, solution)]
    if isinstance(winner.found, FoundMap):
        return [[part] for part in _served_by_map(winner.search, winner.found)]
    return _served_by_pair(winner.search, winner.found)


def _check(prepared: Prepared, signals: Sequence[Signal], texts: Sequence[str] | None) -> None:
    names = [signal.name for signal in signals]
    if len(set(names)) < len(names):
        raise InputError(f"two signals have one name; got {', '.join(names)}")
    count = len(prepared.labels.groups) if prepared.held_out is None else len(prepared.held_out.queries)
    if signals and (texts is None or len(texts) != count):
        given = "none" if texts is None else str(len(texts))
        raise InputError(f"signals score texts: give the texts of the {count} queries (query_texts=); got {given}")


@dataclass(frozen=True, eq=False)
class _Weighed:
    """Weights of some signals, and what they are worth out of sample."""

    weights: NDArray[np.float64]
    scores: QueryScores
    line: Candidate


@dataclass(frozen=True, eq=False)
class _Search:
    """Signals, taken in one after another as long as each gains more than noise."""

    prepared: Prepared
    seen: FusedPools
    unseen: FusedPools
    names: Sequence[str]
    start: Solution

    def solution(self, signals: Sequence[Signal], *, serve: bool) -> Solution:
        nothing = np.zeros(len(self.names))
        dense = QueryScores(self.seen.values(nothing), self.unseen.values(nothing))
        best, lines = None, []
        scores, left = dense, list(range(len(self.names)))
        while left:
            chosen = [signal for signal in range(len(self.names)) if signal not in left]
            found = {signal: self._weighed([*chosen, signal], scores) for signal in left}
            first = max(found, key=lambda signal: found[signal].line.gain)
            lines.append(found[first].line)
            if not self._worth_it(found[first], scores):
                break
            best, scores = found[first], found[first].scores
            left.remove(first)
        names = ", ".join(repr(name) for name in self.names)
        note = "above the same without it" if serve else f"not served: ask for it with signals=({names},)"
        noted = (replace(line, note=note) for line in lines)
        start = replace(self.start, candidates=(*self.start.candidates, *noted))
        if best is None or not serve:
            return start
        return self._fused(start, best, dense, signals)

    def _weighed(self, tried: Sequence[int], before: QueryScores) -> _Weighed:
        """Return the best weights of some signals; each half of the queries tells what those of the other gain."""
        options, groups = self.prepared.options, self.prepared.evaluation.groups
        random = np.random.default_rng(options.seed)
        half = random.permutation(int(groups.max()) + 1)[groups] % 2 == 0
        weights = self._best(tried, np.full(len(groups), True))
        seen, unseen = np.zeros(len(groups)), np.zeros(len(groups))
        for side in filter(np.any, (half, ~half)):
            other = weights if side.all() else self._best(tried, ~side)
            seen[side] = self.seen.only(side).values(other)
            unseen[side] = self.unseen.only(side).values(other)
        scores = QueryScores(seen, unseen)
        weight = options.unseen_weight
        risen = scores.objective(weight) - before.objective(weight)
        gain, error = gain_and_error(risen, noise_groups(self.prepared))
        method = "+".join(
            [*([] if self.start.method == "none" else [self.start.method]), *(self.names[i] for i in tried)]
        )
        line = Candidate(method, None, float(weights[tried[-1]]), mean(seen), mean(unseen), gain, error, len(groups))
        return _Weighed(weights, scores, line)

    def _best(self, tried: Sequence[int], queries: NDArray[np.bool_]) -> NDArray[np.float64]:
        weight = self.prepared.options.unseen_weight
        unseen = self.unseen.only(queries) if weight else None
        return best_weights(self.seen.only(queries), unseen, weight, tried, self.seen.count)

    def _worth_it(self, found: _Weighed, before: QueryScores) -> bool:
        options = self.prepared.options
        if not found.line.step > 0.0 or rare_warning(self.prepared, found.scores, before.seen):
            return False
        if options.protects_unseen:
            gain, error = gain_and_error(found.scores.unseen - before.unseen, noise_groups(self.prepared))
            if gain - error < -_UNSEEN_LOSS:
                return False
        status = decide(
            self.prepared, found.line, mean(before.seen), standard_errors=options.standard_errors, fixed=False
        ).status
        return status == "improved"

    def _fused(self, start: Solution, best: _Weighed, dense: QueryScores, signals: Sequence[Signal]) -> Solution:
        weight = self.prepared.options.unseen_weight
        risen = best.scores.objective(weight) - dense.objective(weight)
        gain, error = gain_and_error(risen, noise_groups(self.prepared))
        weights = {name: float(value) for name, value in zip(self.names, best.weights, strict=True) if value > 0.0}
        lexical = [one.index.settings for one in signals if isinstance(one, LexicalSignal) and one.name in weights]
        settings, tokenizer = (lexical[0].as_dict(), lexical[0].tokenizer) if lexical else (None, None)
        fusion = Fusion(weights, settings, DEPTH, gain, error, tokenizer)
        score, baseline = mean(best.scores.seen), start.per_query.weighed()[0]
        return replace(
            start,
            fusion=fusion,
            score=score,
            unseen_score=mean(best.scores.unseen),
            status="fixed" if start.status == "fixed" else "improved",
            warnings=(*start.warnings, _ADD_THEM),
            reason=f"{start.metric} {start.baseline:.4f} -> {score:.4f} over {start.queries} queries, {fusion}",
            per_query=PerQuery.of(self.prepared.evaluated(), baseline, best.scores.seen, best.scores.unseen),
        )


def _served_by_map(search: MapSearch, found: FoundMap) -> tuple[ServedQueries, ServedQueries]:
    """Return the evaluation queries as a map without their labels changes them, seen and unseen."""
    prepared = search.prepared
    every = np.arange(len(prepared.evaluation))
    seen, unseen = (
        ServedQueries(every, replace(prepared.evaluation, queries=queries), prepared.labels)
        for queries in mapped_queries(search, found)
    )
    return seen, unseen


def _served_by_pair(search: MapSearch, pair: FoundPair) -> list[list[ServedQueries]]:
    """Return the evaluation queries by folds whose labels neither map nor documents know; and as if unseen."""
    prepared, maps = search.prepared, search.maps
    every = np.arange(len(prepared.evaluation))

    def served(places: NDArray[np.int64], shifts: torch.Tensor, *, unseen: bool) -> ServedQueries:
        adapted = adapted_labels(search, pair.setting, pair.strength, shifts)
        labels = replace(adapted, negatives=pair.labels.negatives)
        at = torch.from_numpy(prepared.evaluation_rows[places])
        evaluation = replace(prepared.evaluation.take(places), queries=labels.queries[at])
        nudge = pair.nudge
        # The softmax's normalisers are those of the nudge that is served.
        targets = target_of(labels, nudge.targets.direction, nudge.candidate.method, prepared.options)
        return ServedQueries(places, evaluation, labels, targets, nudge.parameter, unseen)

    folds = maps.by_fold(pair.setting)
    seen = [served(np.flatnonzero(fold[search.places]), shifts, unseen=False) for fold, shifts in folds]
    shifts = maps.unseen([pair.setting], np.arange(len(maps.teaching.rows)))[:, 0]
    return [[part for part in seen if len(part.places)], [served(every, shifts, unseen=True)]]
