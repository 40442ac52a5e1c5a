"""The metric of evaluation queries while documents move towards their targets: along the whole path, or at one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nudge_integrations.corpus.metrics import Metric
from nudge_integrations.corpus.threads import in_threads, share_of, thread_count
from nudge_integrations.solver.labels import EvaluationQueries, Labels, values_of_pairs
from nudge_integrations.solver.leave_one_out import Pairs, labelled_pairs, query_blocks, scores_of
from nudge_integrations.solver.pruning import candidates, segments
from nudge_integrations.solver.rank_changes import RankChanges, changes_on, one_after_another, values_at
from nudge_integrations.solver.segments import ScorePaths, segment_of
from nudge_integrations.solver.targets import Targets

__all__ = ["Sweep"]

Result = TypeVar("Result")

# Fewer queries are not worth a thread of their own.
_FEWEST = 128


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
        path, k = targets.path, self.metric.k

        def block_changes(block: slice) -> RankChanges:
            paths, last = self._paths(targets, block, unseen=unseen)
            return one_after_another(
                [
                    (segment.begin, changes_on(path, self.metric, segment, block.stop - block.start))
                    for segment in segments(path, paths, k, last)
                ]
            )

        return RankChanges.side_by_side(self._of_blocks(block_changes))

    def values(self, targets: Targets, parameter: float, *, unseen: bool = False) -> NDArray[np.float64]:
        """Return (e,) float64, the metric at one parameter; ``unseen`` as in `changes`."""
        path, k = targets.path, self.metric.k

        def block_values(block: slice) -> NDArray[np.float64]:
            paths, _ = self._paths(targets, block, unseen=unseen)
            there = segment_of(path, paths, k, parameter, parameter).paths
            return values_at(path, self.metric, there, parameter, block.stop - block.start)

        return np.concatenate([np.zeros(0), *self._of_blocks(block_values)])

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

    def _of_blocks(self, function: Callable[[slice], Result]) -> list[Result]:
        """Return what a function makes of each block of queries, in threads."""
        most = max(_FEWEST, -(-len(self.evaluation) // thread_count()))
        blocks = query_blocks(self.evaluation, self.labels, share_of(self.block_bytes), most)
        total = len(self.evaluation)
        with tqdm(total=total, desc="searching the step", unit="query", disable=not self.progress) as bar:

            def one(block: slice) -> Result:
                result = function(block)
                bar.update(block.stop - block.start)
                return result

            return in_threads(one, blocks)

    def _paths(self, targets: Targets, block: slice, *, unseen: bool) -> tuple[ScorePaths, float]:
        """Return the paths of all documents that may count for a block's queries, and where the last one stops."""
        pairs, own = self._own(targets, block, unseen=unseen)
        scores = scores_of(targets, self.labels, self.evaluation, block)
        others = candidates(targets.path, self.labels, self.evaluation, block, self.metric.k, scores, pairs)
        nearest = np.array([float(scores.cosine.min()) if scores.cosine.numel() else 1.0])
        return ScorePaths.join(others, own), targets.path.end(nearest)

    def _own(self, targets: Targets, block: slice, *, unseen: bool) -> tuple[Pairs, ScorePaths]:
        """Return the pairs that the labels of a block's queries name, and the paths of these."""
        gains, labels = self.evaluation.gains, self.labels
        pairs = labelled_pairs(targets, labels, self.evaluation, block)
        weights = self.weights[gains.indptr[block.start] :]
        weight = values_of_pairs(gains[block], weights, pairs.query, pairs.column)
        relevant = ~np.isnan(weight)
        coefficients = pairs.coefficients(targets.path, relevant & unseen)
        rows = labels.rows[pairs.column]
        paths = ScorePaths(pairs.query, rows, coefficients, relevant, np.where(relevant, weight, 0.0))
        if self.evaluation.ignored is not None:
            paths = paths.take(~self.evaluation.ignores(pairs.query + block.start, rows))
        return pairs, paths

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """The weight of each stored gain of the evaluation queries."""
        return self.evaluation.weights(self.metric)
