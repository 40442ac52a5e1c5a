"""Dense scores at one step, each query served by what was fitted without its own labels: for whatever is added to them.

A query's labelled documents move, so their scores are worked out as the search of the step does; all others rest, and
are scored by their base vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.errors import InputError
from nudge_integrations.solver.labels import EvaluationQueries, Labels, values_of_pairs
from nudge_integrations.solver.leave_one_out import labelled_pairs, query_blocks, scores_of
from nudge_integrations.solver.nudge_search import directions_of, target_of
from nudge_integrations.solver.prepare import Prepared
from nudge_integrations.solver.solution import Solution
from nudge_integrations.solver.targets import Targets

__all__ = ["ServedQueries", "served_by_nudge"]


@dataclass(frozen=True, eq=False)
class ServedQueries:
    """Some evaluation queries, as something that was fitted without their labels serves them.

    Attributes:
        places: (p,) int64, which of the evaluation queries.
        evaluation: These queries, as they are searched with.
        labels: The labels that move documents.
        targets: Where documents are headed; None where all rest.
        parameter: How far they are on their path.
        unseen: Whether the documents that a query wants rest for it.
    """

    places: NDArray[np.int64]
    evaluation: EvaluationQueries
    labels: Labels
    targets: Targets | None = None
    parameter: float = 0.0
    unseen: bool = False

    def only(self, rows: NDArray[np.int64]) -> ServedQueries:
        """Return those of the queries that are among some, ascending evaluation queries, numbered as these are."""
        kept = np.flatnonzero(np.isin(self.places, rows))
        places = np.searchsorted(rows, self.places[kept])
        return replace(self, places=places, evaluation=self.evaluation.take(kept))

    def blocks(self, block_bytes: int) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield blocks of the queries with their scores (c, u) of all labelled documents."""
        for block in query_blocks(self.evaluation, self.labels, block_bytes):
            yield block, self._scores(block)

    def _scores(self, block: slice) -> NDArray[np.float64]:
        if self.targets is None:
            base: NDArray[np.float64] = (
                (self.evaluation.queries[block] @ self.labels.documents.T).double().cpu().numpy()
            )
            return base
        targets, path, parameter = self.targets, self.targets.path, self.parameter
        found = scores_of(targets, self.labels, self.evaluation, block)
        before, after = path.blend(found.cosine, parameter)
        scores: NDArray[np.float64] = (before * found.base + after * found.end).double().cpu().numpy()
        pairs = labelled_pairs(targets, self.labels, self.evaluation, block)
        gains = self.evaluation.gains[block]
        relevant = ~np.isnan(values_of_pairs(gains, gains.data, pairs.query, pairs.column))
        coefficients = pairs.coefficients(path, relevant & self.unseen)
        scores[pairs.query, pairs.column] = path.score(coefficients, np.array(parameter))
        # On a line every score is divided by 1 + t, which leaves each ranking alone but not what is added to it.
        return scores if path.similarity == "cosine" else scores * (1.0 + float(path.steps(np.array(parameter))))


def served_by_nudge(prepared: Prepared, solution: Solution) -> tuple[ServedQueries, ServedQueries]:
    """Return the evaluation queries as a solution without a query map serves them, seen and unseen.

    Raises:
        InputError: If the solution maps queries or shifts documents that nobody labelled.
    """
    if solution.query_map is not None or solution.shift is not None:
        raise InputError("only what moves labelled documents alone can be evaluated again without its parts")
    every = np.arange(len(prepared.evaluation))
    at_rest = ServedQueries(every, prepared.evaluation, prepared.labels)
    if solution.step == 0.0:
        return at_rest, at_rest
    options = replace(prepared.options, method=solution.method)
    (direction,) = directions_of(prepared, options, prepared.labels, (solution.temperature,))
    targets = target_of(prepared.labels, direction, solution.method, options)
    moved = replace(at_rest, targets=targets, parameter=targets.path.parameter(solution.step))
    return moved, replace(moved, unseen=True)
