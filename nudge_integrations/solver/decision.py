"""The best step of each method, and the decision whether its gain is more than noise, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from nudge_integrations.solver.curve import best_parameter, curve_of, sweep, sweep_by_document
from nudge_integrations.solver.metrics import Metric
from nudge_integrations.solver.prepare import Prepared
from nudge_integrations.solver.problem import Targets
from nudge_integrations.solver.solution import Candidate, Curve, PerQuery, Status

__all__ = ["Decision", "SearchResult", "decide", "gain_and_error", "mean", "search_step", "too_few_labels"]

# Fewer queries than this are often about a few documents, and steps and directions that suit these by chance are found
# easily. With 10 to 29 neighbouring queries of four collections, a guard of 2 standard errors over queries let through
# nudges that cost all other queries up to 1.4 points; 1.5 times as many over documents let none.
FEWEST_QUERIES, CAUTION = 30, 1.5


@dataclass(frozen=True, eq=False)
class SearchResult:
    """One method with its exact curve and its best step.

    Attributes:
        targets: Where the labelled documents move.
        parameter: The step in the path's own parameter.
        curve: The metric along the path, each query without its own labels.
        at_zero: (e,) float64, each query's metric at step 0.
        at_step: (e,) float64, each query's metric at the best step.
        unseen: (e,) float64, the same with the documents that are relevant to the query at rest.
        unseen_gain: How much the metric of documents that nobody labelled rose, mean over queries.
        unseen_error: The standard error of that gain.
        candidate: Its scores, as a row of the table.
    """

    targets: Targets
    parameter: float
    curve: Curve
    at_zero: NDArray[np.float64]
    at_step: NDArray[np.float64]
    unseen: NDArray[np.float64]
    unseen_gain: float
    unseen_error: float
    candidate: Candidate

    @property
    def baseline(self) -> float:
        """The metric at step 0."""
        return mean(self.at_zero)

    def per_query(self, rows: NDArray[np.int64], *, moves: bool) -> PerQuery:
        """Return the metric of every evaluation query; that of step 0 where nothing moves."""
        zero = self.at_zero
        return PerQuery(rows, zero, *((self.at_step, self.unseen) if moves else (zero, zero)))


@dataclass(frozen=True)
class Decision:
    """Whether documents move, and why."""

    status: Status
    reason: str
    warnings: tuple[str, ...]


def search_step(
    method: str,
    targets: Targets,
    prepared: Prepared,
    metric: Metric,
    *,
    step: float | None,
    unseen_weight: float,
    unseen_loss: float | None,
    by_document: bool,
    block_bytes: int,
    progress: bool,
) -> SearchResult:
    """Find the best step towards some targets, or evaluate the given one; errors are over queries or documents."""
    evaluation, path = prepared.evaluation, targets.path
    groups = _document_groups(prepared) if by_document else evaluation.groups
    swept = sweep(targets, prepared.labels, evaluation, metric, block_bytes, progress=progress)
    if unseen_loss is not None and evaluation.own is not None:
        unseen = sweep_by_document(targets, prepared.labels, evaluation, metric, block_bytes, progress=progress)
        swept = replace(swept, unseen=unseen)
    objective = swept.objective(unseen_weight)
    end = path.end(targets.cosine[targets.moving])
    parameter = best_parameter(*swept.curve(unseen_weight, unseen_loss), end) if step is None else path.parameter(step)
    gain, error = gain_and_error(objective.at(parameter) - objective.start, groups)
    at_rest = swept.unseen.at(parameter)
    unseen_gain, unseen_error = gain_and_error(at_rest - swept.unseen.start, groups)
    seen = swept.seen.at(parameter)
    curve = curve_of(swept.seen, path)[1]
    candidate = Candidate(
        method,
        targets.direction.temperature,
        float(path.steps(np.array(parameter))) if step is None else step,
        mean(seen),
        mean(at_rest),
        gain,
        error,
    )
    return SearchResult(
        targets, parameter, curve, swept.seen.start, seen, at_rest, unseen_gain, unseen_error, candidate
    )


def too_few_labels(prepared: Prepared) -> bool:
    """Return whether there are too few labels to tell what a nudge does to queries for other documents."""
    evaluation = prepared.evaluation
    return evaluation.own is not None and len(evaluation.queries) < FEWEST_QUERIES and not _all_labelled(prepared)


def _document_groups(prepared: Prepared) -> NDArray[np.int64]:
    """Return (e,) groups of evaluation queries: by most relevant document, or as given where that makes fewer."""
    own, groups = prepared.evaluation.own, prepared.evaluation.groups
    documents = prepared.labels.by_document().groups[own]
    return min(groups, documents, key=lambda codes: len(np.unique(codes)))


def decide(
    result: SearchResult,
    prepared: Prepared,
    metric: Metric,
    *,
    step: float | None,
    standard_errors: float,
    by_document: bool,
) -> Decision:
    """Decide whether the gain of the best step is more than noise.

    Its gain must exceed ``standard_errors`` times its standard error over queries: the spread of a paired bootstrap of
    the mean, which has a closed form. Queries of one group count as one draw. Where errors are over documents, it must
    exceed 1.5 times as many, and these in Student's t for so few draws.
    """
    candidate = result.candidate
    protocol = "leave-one-out" if prepared.evaluation.own is not None else "validation"
    count = len(prepared.evaluation.queries)
    change = f"{metric} {result.baseline:.4f} -> {candidate.score:.4f} over {count} queries ({protocol})"
    if step is not None:
        return Decision("fixed", f"the step was given; {change}", _warnings(result, prepared, metric, standard_errors))
    why = _nothing_to_learn(prepared)
    if result.parameter == 0.0:
        return Decision("no_gain", why or "no step beats leaving the documents where they are", ())
    times, over = standard_errors, ""
    if by_document:
        draws = len(np.unique(_document_groups(prepared)))
        times = float(stdtrit(max(1, draws - 1), ndtr(CAUTION * standard_errors)))
        over = f" over {draws} documents or groups, as fewer than {FEWEST_QUERIES} queries are labelled"
    if not candidate.gain > times * candidate.standard_error:
        noise = (
            f"the best step gains {candidate.gain:.4f}, which is not more than {times:.3g} standard errors "
            f"of {candidate.standard_error:.4f}{over}: {change}"
        )
        return Decision("no_gain", f"{why}; {noise}" if why else noise, ())
    return Decision("improved", change, _warnings(result, prepared, metric, standard_errors))


def _warnings(result: SearchResult, prepared: Prepared, metric: Metric, standard_errors: float) -> tuple[str, ...]:
    if _all_labelled(prepared) or not result.unseen_gain < -standard_errors * result.unseen_error:
        return ()
    return (
        f"queries for documents that nobody labelled lose: {metric} {result.baseline:.4f} -> "
        f"{result.candidate.unseen_score:.4f}; if labels cover only part of the traffic, raise unseen_weight (0 .. 1)",
    )


def _all_labelled(prepared: Prepared) -> bool:
    return prepared.others == 0 and bool((prepared.labels.support() > 0).all())


def _nothing_to_learn(prepared: Prepared) -> str | None:
    """Return in words why the labels cannot teach anything, if so."""
    labels, evaluation = prepared.labels, prepared.evaluation
    if not labels.gains.nnz:
        return "no query has a relevant document, so there is no direction to move in"
    if not len(evaluation.queries):
        return "no validation query has a relevant document, so no step can be evaluated"
    if evaluation.own is not None:
        by_group = (labels.members() @ labels.gains).tocsr()
        if np.bincount(by_group.indices, minlength=len(labels.rows)).max() < 2:
            return (
                "every labelled document has one query, so no query can show what another one's label is worth: "
                "give several queries a document, or queries to evaluate by (validation=)"
            )
    elif not np.isin(evaluation.gains.indices, labels.gains.indices).any():
        return "no document is relevant to both a validation query and a training query, so nothing learnt could show"
    return None


def gain_and_error(difference: NDArray[np.float64], groups: NDArray[np.int64]) -> tuple[float, float]:
    """Return the mean of per-query differences and its standard error, the queries of a group drawn as one."""
    gain = mean(difference)
    of_group = np.unique(groups, return_inverse=True)[1]
    residual = np.bincount(of_group, weights=difference - gain)
    draws = len(residual)
    if draws < 2:
        return gain, float("inf")
    return gain, float(np.sqrt(draws / (draws - 1) * (residual**2).sum()) / len(difference))


def mean(values: NDArray[np.float64]) -> float:
    """Return the mean of per-query values, 0 where there are none."""
    return float(values.mean()) if len(values) else 0.0
