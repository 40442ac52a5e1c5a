"""Signals beside the dense scores: whether they are worth having, and their weights by exact search.

With score = dense + w * signal every (query, document) pair's score is a line in w, so the exact search of the step
serves here too. Dense scores are those of what was chosen, each query without its own labels; BM25 learns nothing from
labels. Candidates are the union of each signal's best documents, the best dense ones, and the relevant ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from nudge_integrations.corpus.arrays import unit_block
from nudge_integrations.corpus.metrics import Metric
from nudge_integrations.fusion import Signal
from nudge_integrations.solver import Prepared
from nudge_integrations.solver.curve import best_step, mixed
from nudge_integrations.solver.labels import values_of_pairs
from nudge_integrations.solver.path import Line
from nudge_integrations.solver.rank_changes import RankChanges, changes_on, one_after_another, values_at
from nudge_integrations.solver.segments import ScorePaths, segment_of
from nudge_integrations.solver.served_scores import ServedQueries

__all__ = ["DEPTH", "FusedPools", "best_weights"]

# How many of each signal's best documents are scored by all signals.
DEPTH = 100

_LINE = Line()

# The path of a weight is searched in pieces, so that few documents can come within the cutoff on each.
_EDGES = (0.0, 0.1, 0.2, 0.35, 0.6, 1.0)

# How often the weights of several signals are searched in turn.
_ROUNDS = 3

# How many smaller weights are looked at for one that is as good within noise.
_SMALLER = 24


@dataclass(frozen=True, eq=False)
class FusedPools:
    """Queries with the candidates of all signals.

    Attributes:
        metric: What is measured.
        count: e, how many queries.
        paths: The candidates, by query; their coefficients are the dense scores, twice.
        signals: (s, entries) float64, their scores by each signal.
    """

    metric: Metric
    count: int
    paths: ScorePaths
    signals: NDArray[np.float64]

    @classmethod
    def of(
        cls, prepared: Prepared, served: Sequence[ServedQueries], signals: Sequence[Signal], texts: Sequence[str]
    ) -> FusedPools:
        """Score the candidates of all evaluation queries, whose texts these are."""
        parts = [part for one in served for part in _parts(prepared, one, signals, texts)]
        query, row, dense = (np.concatenate([part[axis] for part in parts]) for axis in range(3))
        order = np.argsort(query, kind="stable")
        relevant, weight = _relevance(prepared, query[order], row[order])
        paths = ScorePaths(query[order], row[order], np.stack([dense, dense])[:, order], relevant, weight)
        scores = np.concatenate([part[3] for part in parts], axis=1)[:, order]
        return cls(prepared.options.measured, len(prepared.evaluation), paths, scores)

    def only(self, queries: NDArray[np.bool_]) -> FusedPools:
        """Return some of the queries (e,)."""
        inside = queries[self.paths.query]
        paths = self.paths.take(inside)
        renumbered = replace(paths, query=(np.cumsum(queries) - 1)[paths.query])
        return replace(self, count=int(queries.sum()), paths=renumbered, signals=self.signals[:, inside])

    def values(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (e,) the metric at some weights (s,)."""
        return values_at(_LINE, self.metric, self._along(weights, None), 0.0, self.count)

    def changes(self, weights: NDArray[np.float64], signal: int) -> RankChanges:
        """Return the exact metric along the weight of one signal, the others at theirs."""
        paths, found = self._along(weights, signal), []
        for begin, end in pairwise(_EDGES):
            segment = segment_of(_LINE, paths, self.metric.k, begin, end)
            found.append((begin, changes_on(_LINE, self.metric, segment, self.count)))
        return one_after_another(found)

    def _along(self, weights: NDArray[np.float64], signal: int | None) -> ScorePaths:
        others = np.array(weights, dtype=np.float64)
        if signal is not None:
            others[signal] = 0.0
        fixed = self.paths.coefficients[0] + others @ self.signals
        end = fixed if signal is None else self.signals[signal]
        return replace(self.paths, coefficients=np.stack([fixed, end]))


def best_weights(
    seen: FusedPools, unseen: FusedPools | None, unseen_weight: float, tried: Sequence[int], count: int | None = None
) -> NDArray[np.float64]:
    """Return the weights (s,) that are best together, and those of signals that are not tried as 0.

    Each is the smallest whose loss against the best is within one standard error, paired over queries. Without a
    query's own labels dense scores are a little weaker than those that are served, and other queries want smaller
    weights more often than larger ones. The error is that of ``count`` such queries; None for as many as there are.
    """
    weights = np.zeros(len(seen.signals))
    for _ in range(_ROUNDS if len(tried) > 1 else 1):
        before = weights.copy()
        for signal in tried:
            changes = seen.changes(weights, signal)
            other = None if unseen is None or not unseen_weight else unseen.changes(weights, signal)
            weights[signal] = _LINE.steps(np.array(_smallest_as_good(mixed(changes, other, unseen_weight), count)))
        if np.allclose(weights, before):
            break
    return weights


def _smallest_as_good(changes: RankChanges, count: int | None) -> float:
    """Return the parameter of the smallest weight that is no worse than the best by more than a standard error."""
    best = best_step(_LINE, changes, (), _LINE.limit)
    most, count = changes.at(best), count or max(1, len(changes.start))
    for parameter in np.linspace(0.0, best, _SMALLER, endpoint=False):
        lost = most - changes.at(float(parameter))
        if lost.mean() <= lost.std() / np.sqrt(count):
            return float(parameter)
    return best


_Part = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


def _parts(prepared: Prepared, served: ServedQueries, signals: Sequence[Signal], texts: Sequence[str]) -> list[_Part]:
    """Return query, row, dense score and (s, entries) scores of the candidates, block after block."""
    found = []
    depth = min(DEPTH, len(prepared.corpus))
    limit = max(1, prepared.options.block_bytes // (4 * max(1, len(prepared.corpus))))
    for block, labelled in served.blocks(prepared.options.block_bytes):
        for start in range(block.start, block.stop, limit):
            part = slice(start, min(block.stop, start + limit))
            here = labelled[part.start - block.start : part.stop - block.start]
            scorers = [signal.of([texts[place] for place in served.places[part]]) for signal in signals]
            rows = _candidates(prepared, served, part, here, [scorer.best(depth) for scorer in scorers], depth)
            first = np.append(np.full((len(rows), 1), True), rows[:, 1:] != rows[:, :-1], axis=1)
            if served.evaluation.ignored is not None:
                first &= rows != served.evaluation.ignored[part][:, None]
            scores = np.stack([scorer.at(rows)[first] for scorer in scorers])
            query = np.nonzero(first)[0]
            dense = _dense(prepared, served.evaluation.queries[part], here, query, rows[first])
            found.append((served.places[part][query], rows[first], dense, scores))
    return found


def _candidates(
    prepared: Prepared,
    served: ServedQueries,
    part: slice,
    labelled: NDArray[np.float64],
    best: Sequence[NDArray[np.int64]],
    depth: int,
) -> NDArray[np.int64]:
    """Return (c, p) rows of candidates, ascending, some of them several times."""
    found = prepared.corpus.search(served.evaluation.queries[part].cpu().numpy(), depth).rows
    count = min(depth, labelled.shape[1])
    top = np.argpartition(labelled, labelled.shape[1] - count, axis=1)[:, labelled.shape[1] - count :]
    gains = served.evaluation.gains[part]
    counts = np.diff(gains.indptr)
    # Padded with the first of each query: a row that is there twice does no harm.
    first = prepared.labels.rows[gains.indices[gains.indptr[:-1]]]
    wanted = np.repeat(first[:, None], int(counts.max(initial=1)), axis=1)
    query = np.repeat(np.arange(len(counts)), counts)
    wanted[query, np.arange(gains.nnz) - gains.indptr[query]] = prepared.labels.rows[gains.indices]
    rows = np.concatenate([found, prepared.labels.rows[top], *best, wanted], axis=1)
    return np.sort(rows, axis=1)


def _dense(
    prepared: Prepared,
    queries: torch.Tensor,
    labelled: NDArray[np.float64],
    query: NDArray[np.int64],
    row: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return (entries,) dense scores: of labelled documents those given (c, u), of the others by their base vectors."""
    column = prepared.labels.columns_of(row)
    moved = column >= 0
    scores = np.zeros(len(row))
    scores[moved] = labelled[query[moved], column[moved]]
    documents, place = np.unique(row[~moved], return_inverse=True)
    taken = torch.from_numpy(prepared.corpus.take(documents)).to(queries.device)
    table = unit_block(taken, "documents", documents)
    scores[~moved] = (queries @ table.T).double().cpu().numpy()[query[~moved], place]
    return scores


def _relevance(
    prepared: Prepared, query: NDArray[np.int64], row: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return (entries,) whether each document is relevant to its query, and its weight in the metric."""
    evaluation = prepared.evaluation
    weights = evaluation.weights(prepared.options.measured)
    weight = values_of_pairs(evaluation.gains, weights, query, prepared.labels.columns_of(row))
    return ~np.isnan(weight), np.nan_to_num(weight)
