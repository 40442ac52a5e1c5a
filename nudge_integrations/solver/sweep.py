"""The metric of evaluation queries while documents move towards their targets: along the whole path, or at one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from tqdm import tqdm

from nudge_integrations.corpus.metrics import Metric
from nudge_integrations.solver.labels import EvaluationQueries, Labels
from nudge_integrations.solver.leave_one_out import Pairs, labelled_pairs, query_blocks, scores_of
from nudge_integrations.solver.pruning import candidate_segments
from nudge_integrations.solver.rank_changes import RankChanges, changes_on, one_after_another, values_at
from nudge_integrations.solver.segments import ScorePaths, segment_of
from nudge_integrations.solver.targets import Targets

__all__ = ["Sweep"]

Columns = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Sweep:
    """Evaluation queries, and the documents that move.

    Attributes:
        labels: The labels, of which each query's own group is left out.
        evaluation: The queries.
        metric: What is measured.
        block_bytes: Bound on the temporary memory.
        progress: Show a progress bar over queries.
    """

    labels: Labels
    evaluation: EvaluationQueries
    metric: Metric
    block_bytes: int
    progress: bool = False

    def changes(self, targets: Targets, *, unseen: bool = False) -> RankChanges:
        """Return the exact metric along the whole path.

        With ``unseen`` every document that is relevant to a query rests for it, as if nobody had labelled it.
        """
        path, k, parts = targets.path, self.metric.k, []
        for block, apart, own in self._blocks(targets, unseen):
            scores, found = scores_of(targets, self.labels, self.evaluation, block), []
            for begin, end, others in candidate_segments(path, self.labels, self.evaluation, block, k, scores, apart):
                segment = segment_of(path, ScorePaths.join(others, own), k, begin, end)
                found.append((begin, changes_on(path, self.metric, segment, block.stop - block.start)))
            parts.append(one_after_another(found))
        return RankChanges.side_by_side(parts)

    def values(self, targets: Targets, parameter: float, *, unseen: bool = False) -> NDArray[np.float64]:
        """Return (e,) float64, the metric at one parameter; ``unseen`` as in `changes`."""
        path, k, parts = targets.path, self.metric.k, [np.zeros(0)]
        for block, apart, own in self._blocks(targets, unseen):
            scores = scores_of(targets, self.labels, self.evaluation, block)
            segments = candidate_segments(path, self.labels, self.evaluation, block, k, scores, apart, at=parameter)
            for _, _, others in segments:
                paths = ScorePaths.join(others, own)
                parts.append(values_at(path, self.metric, paths, parameter, block.stop - block.start))
        return np.concatenate(parts)

    def by_document(self) -> tuple[Sweep, NDArray[np.int64]]:
        """Return the same with queries grouped by their most relevant document, and where each query is in it.

        With ``unseen`` a relevant document rests; but only without its other queries' labels do these no longer push
        away the documents around it, where the direction takes a softmax.
        """
        labels = self.labels.by_document()
        evaluation = replace(self.evaluation, groups=labels.groups[self.evaluation.own])
        # Group after group, so that what its queries share is worked out once.
        order = np.argsort(evaluation.groups, kind="stable")
        return replace(self, labels=labels, evaluation=evaluation.take(order)), order

    def _blocks(self, targets: Targets, unseen: bool) -> Iterator[tuple[slice, Columns, ScorePaths]]:
        """Yield blocks of queries, the pairs that their labels name or that they ignore, and paths of the former."""
        weights, gains = self.metric.weights(self.evaluation.gains), self.evaluation.gains
        with tqdm(
            total=len(self.evaluation), desc="searching the step", unit="query", disable=not self.progress
        ) as bar:
            for block in query_blocks(self.evaluation, self.labels, self.block_bytes):
                pairs = labelled_pairs(targets, self.labels, self.evaluation, block)
                weight = _weights_at(pairs, gains[block], weights[gains.indptr[block.start] :])
                relevant = ~np.isnan(weight)
                end, cosine = pairs.end, pairs.cosine
                if unseen:
                    rest = targets.path.rest(torch.from_numpy(pairs.base)).numpy()
                    end, cosine = np.where(relevant, rest, end), np.where(relevant, 1.0, cosine)
                coefficients = targets.path.coefficients(pairs.base, end, cosine)
                rows = self.labels.rows[pairs.column]
                own = ScorePaths(pairs.query, rows, coefficients, relevant, np.where(relevant, weight, 0.0))
                ignored = self.evaluation.ignored_among(self.labels.rows, block)
                if len(ignored[0]):
                    own = own.take(~self.evaluation.ignores(pairs.query + block.start, rows))
                yield block, _and(pairs, ignored), own
                bar.update(block.stop - block.start)


def _and(pairs: Pairs, more: Columns) -> Columns:
    return np.concatenate([pairs.query, more[0]]), np.concatenate([pairs.column, more[1]])


def _weights_at(pairs: Pairs, gains: sparse.csr_array, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (p,) the weight of each pair that has a gain, NaN for the others; both are sorted by query and column."""
    documents = gains.shape[1]
    key = np.repeat(np.arange(gains.shape[0]), np.diff(gains.indptr)) * documents + gains.indices
    pair = pairs.query * documents + pairs.column
    place = np.minimum(np.searchsorted(key, pair), max(len(key) - 1, 0))
    return np.where(key[place] == pair, weights[place], np.nan) if len(key) else np.full(len(pair), np.nan)
