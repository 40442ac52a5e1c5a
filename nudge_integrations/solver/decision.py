"""Is it worth changing anything? Gains with their standard errors, the guard against noise, and both in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from nudge_integrations.solver.prepare import Prepared
from nudge_integrations.solver.solution import Candidate, Status

__all__ = [
    "Decision",
    "QueryScores",
    "decide",
    "gain_and_error",
    "is_careful",
    "mean",
    "noise_groups",
    "rare_queries",
    "rare_warning",
    "repetition_warning",
    "too_few_labels",
    "unseen_warning",
]

# Fewer queries than this are often about a few documents, and steps and directions that suit these by chance are found
# easily. With 10 to 29 neighbouring queries of four collections, a guard of 2 standard errors over queries let through
# nudges that cost all other queries up to 1.4 points; 1.5 times as many over documents let none.
FEWEST_QUERIES, CAUTION = 30, 1.5

# Documents with so many labels at most are rare: popular ones must not pay with them.
RARE = 3

# Queries whose vectors have this cosine say nearly the same; so many of the queries are looked at, and a warning is
# worth it from this share of them on.
_NEARLY_EQUAL, _LOOKED_AT, _WORTH_A_WARNING = 0.99, 1024, 0.01


@dataclass(frozen=True, eq=False)
class QueryScores:
    """The metric of every evaluation query, served by what was fitted without it.

    Attributes:
        seen: (e,) float64, fitted without the query or its group.
        unseen: (e,) float64, fitted as if nobody had labelled the documents that are relevant to it.
    """

    seen: NDArray[np.float64]
    unseen: NDArray[np.float64]

    def objective(self, unseen_weight: float) -> NDArray[np.float64]:
        """Return (1 - w) seen + w unseen, (e,)."""
        return (1.0 - unseen_weight) * self.seen + unseen_weight * self.unseen


@dataclass(frozen=True)
class Decision:
    """Whether to change anything, and why."""

    status: Status
    reason: str


def decide(prepared: Prepared, best: Candidate, baseline: float, *, standard_errors: float, fixed: bool) -> Decision:
    """Say whether a gain is more than noise.

    It must exceed ``standard_errors`` times its standard error over queries: the spread of a paired bootstrap of the
    mean, which has a closed form. Queries of one group count as one draw. With too few labels errors are over
    documents, and it must exceed 1.5 times as many, and these in Student's t for so few draws.
    """
    protocol = "leave-one-out" if prepared.evaluation.own is not None else "validation"
    if prepared.noes_alone:
        protocol += ", what comes next in a ranking standing for the answer, as labels only say no"
    metric, count = prepared.options.metric, len(prepared.evaluation)
    change = f"{metric} {baseline:.4f} -> {best.score:.4f} over {count} queries ({protocol})"
    why = _nothing_to_learn(prepared)
    if fixed and prepared.labels.support().any():
        return Decision("fixed", f"the step was given; {change}")
    if best.step == 0.0 or fixed:
        return Decision("no_gain", why or "no step beats leaving the documents where they are")
    times, over = standard_errors, ""
    if is_careful(prepared):
        draws = len(np.unique(noise_groups(prepared)))
        times = float(stdtrit(max(1, draws - 1), ndtr(CAUTION * standard_errors)))
        over = f" over {draws} documents or groups, as fewer than {FEWEST_QUERIES} queries are labelled"
    if not best.gain > times * best.standard_error:
        noise = (
            f"the best step gains {best.gain:.4f}, which is not more than {times:.3g} standard errors "
            f"of {best.standard_error:.4f}{over}: {change}"
        )
        return Decision("no_gain", f"{why}; {noise}" if why else noise)
    return Decision("improved", change)


def too_few_labels(prepared: Prepared) -> bool:
    """Say whether labels are so few that they can hardly tell what a nudge does to queries for other documents."""
    evaluation = prepared.evaluation
    few = len(np.unique(evaluation.groups)) < FEWEST_QUERIES
    return evaluation.own is not None and few and prepared.unlabelled > 0


def is_careful(prepared: Prepared) -> bool:
    """Say whether more is asked of a gain than usual, as ``auto`` does with too few labels."""
    options = prepared.options
    return options.method == "auto" and options.standard_errors > 0.0 and too_few_labels(prepared)


def noise_groups(prepared: Prepared) -> NDArray[np.int64]:
    """Return (e,) which evaluation queries are one draw: those of a group; with too few labels, of one document."""
    own, groups = prepared.evaluation.own, prepared.evaluation.groups
    if own is None or not is_careful(prepared):
        return groups
    documents = prepared.labels.by_document().groups[own]
    return min(groups, documents, key=lambda codes: len(np.unique(codes)))


def unseen_warning(
    prepared: Prepared, scores: QueryScores, baseline: NDArray[np.float64], standard_errors: float
) -> tuple[str, ...]:
    """Return a warning where queries for documents that nobody labelled lose more than noise."""
    gain, error = gain_and_error(scores.unseen - baseline, noise_groups(prepared))
    if prepared.unlabelled == 0 or not gain < -standard_errors * error:
        return ()
    return (
        f"queries for documents that nobody labelled lose: {prepared.options.metric} {mean(baseline):.4f} -> "
        f"{mean(scores.unseen):.4f}; if labels cover only part of the traffic, raise unseen_weight (0 .. 1)",
    )


def rare_queries(prepared: Prepared) -> NDArray[np.bool_]:
    """Return (e,) which evaluation queries want rare documents alone; none where errors could not be told."""
    gains, support = prepared.evaluation.gains, prepared.labels.support()
    query = np.repeat(np.arange(len(prepared.evaluation)), np.diff(gains.indptr))
    most = np.zeros(len(prepared.evaluation), np.int64)
    np.maximum.at(most, query, support[gains.indices])
    rare: NDArray[np.bool_] = most <= RARE
    return rare if rare.sum() >= FEWEST_QUERIES else np.zeros_like(rare)


def rare_warning(prepared: Prepared, scores: QueryScores, baseline: NDArray[np.float64]) -> tuple[str, ...]:
    """Return a warning where queries for documents with few labels lose more than noise."""
    rare = rare_queries(prepared)
    if not rare.any():
        return ()
    gain, error = gain_and_error((scores.seen - baseline)[rare], noise_groups(prepared)[rare])
    if not gain < -prepared.options.standard_errors * error:
        return ()
    shares = prepared.evaluation.shares
    before, after = (
        mean(one[rare]) / (1.0 if shares is None else mean(shares[rare])) for one in (baseline, scores.seen)
    )
    return (
        f"queries for documents with at most {RARE} labels lose: {prepared.options.metric} {before:.4f} -> "
        f"{abs(after):.4f}; take method='auto', which does not let them, or average='document'",
    )


def repetition_warning(prepared: Prepared) -> tuple[str, ...]:
    """Return a warning where queries have near-duplicates in other groups, which answer them in leave-one-out."""
    evaluation = prepared.evaluation
    if evaluation.own is None or not len(evaluation):
        return ()
    rows = np.arange(0, len(evaluation), max(1, len(evaluation) // _LOOKED_AT))
    alike = evaluation.queries[torch.from_numpy(rows)] @ evaluation.queries.T
    groups = torch.from_numpy(evaluation.groups).to(alike.device)
    alike[groups[torch.from_numpy(rows)][:, None] == groups] = -1.0
    count = int((alike.amax(dim=1) >= _NEARLY_EQUAL).sum())
    if count < _WORTH_A_WARNING * len(rows):
        return ()
    return (
        f"{count} of {len(rows)} queries have a near-duplicate (cosine of {_NEARLY_EQUAL} or more) in another group, "
        "which makes leave-one-out too kind: give groups= that hold them together",
    )


def _nothing_to_learn(prepared: Prepared) -> str | None:
    """Return in words why the labels cannot teach anything, if so."""
    labels, evaluation = prepared.labels, prepared.evaluation
    if not labels.gains.nnz and labels.noes is None:
        return "no query has a relevant document, so there is no direction to move in"
    if not len(evaluation):
        return "no validation query has a relevant document, so no step can be evaluated"
    if evaluation.own is not None:
        noes = labels.pushes()
        by_group = (labels.members() @ (labels.gains if noes is None else labels.gains + noes)).tocsr()
        if np.bincount(by_group.indices, minlength=len(labels.rows)).max() < 2:
            return (
                "every labelled document is asked for once, so no query can show what another one's label is worth: "
                "give several queries a document, or queries to evaluate by (validation=)"
            )
    elif not np.isin(evaluation.gains.indices, labels.gains.indices).any():
        return "no validation query wants a document that a training query asks for, so nothing learnt could show"
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
