"""`solve`: a few directions and paths, the exact best step of each, and an honest choice of one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Literal, Unpack

import numpy as np
import torch
from numpy.typing import ArrayLike

from nudge_integrations.errors import InputError
from nudge_integrations.solver.decision import (
    Decision,
    decide,
    mean,
    rare_warning,
    repetition_warning,
    unseen_warning,
)
from nudge_integrations.solver.negative_weight import search_with_noes
from nudge_integrations.solver.nudge_search import NudgeResult, directions_of, target_of
from nudge_integrations.solver.options import Options, OptionValues
from nudge_integrations.solver.prepare import Beside, Prepared, prepare_for
from nudge_integrations.solver.shift import mean_displacement, with_shift
from nudge_integrations.solver.solution import Candidate, PerQuery, Solution
from nudge_integrations.solver.targets import Targets

__all__ = ["log_outcome", "prepared_options", "solution_of", "solve"]

logger = logging.getLogger(__name__)


def solve(
    documents: object,
    queries: object = None,
    relevance: object = None,
    *,
    method: str = "auto",
    validation: tuple[object, object] | tuple[object, object, object] | None = None,
    groups: ArrayLike | Sequence[object] | None = None,
    ignored: ArrayLike | None = None,
    negatives: object = None,
    weights: object = None,
    **options: Unpack[OptionValues],
) -> Solution:
    r"""Move the documents that queries ask for a bounded step towards those queries, as far as retrieval gains from it.

    A pure function: the same input and seed give the same answer, the input is never changed, and documents are always
    taken as base vectors, so solving twice is solving once.

    Args:
        documents: (n, d) numpy array, torch tensor or memory map of float16, bfloat16, float32 or float64, made unit
            length on reading and read once, in blocks; or any `Corpus`; or a `Prepared`, in place of all data.
        queries: (m, d), the labelled queries.
        relevance: (m, n) scipy sparse gains, > 0 where a document answers a query, < 0 where it does not (a no).
            Duplicate entries are summed.
        method: One of the methods of `Options`; ``"auto"`` is the best of nothing, nudge-n and contrastive.
        validation: ``(queries, relevance)`` held out to choose the step by, or with their ``ignored`` as a third; None
            for exact leave-one-out.
        groups: (m,) names; queries of one group (near-duplicates, one user) are left out together. None: those with
            equal vectors are one group.
        ignored: (m,) whole numbers, the row of a document that each query never finds, such as itself; -1 for none.
        negatives: (m, n) scipy sparse noes beside those in ``relevance``, > 0 where a document does not answer a query.
            It moves away from that query by the same bounded path; in the metric it is like any other document that is
            not relevant. A query with noes alone teaches directions and is not evaluated.
        weights: How much labels count, yes and no: (m,) one a query, or (m, n) scipy sparse, one a label; 1 by default.
            A query's mean over its relevant documents is its weight in the metric's mean, and so in the guard.
        **options: See `Options`: metric="ndcg@10", step=None, unseen_weight=0.0, seed=0, ...

    Returns:
        A `Solution`. Where no gain is beyond noise its status is ``"no_gain"``, nothing moves, and ``reason`` says why.

    Raises:
        InputError: If shapes do not fit, a vector is zero, NaN or infinite (names the row), a label or its weight is
            not finite, a query says yes and no to one document, or an option is out of range.

    The direction is G = W^T Q and the path an arc or a line from each document; the step is the middle of the widest
    plateau of the metric's exact, piecewise constant curve. Source: NUDGE (Zeighami, Wellmer, Parameswaran, ICLR 2025,
    arXiv 2409.02343); contrastive direction, exact search of any metric and leave-one-out are ours.

    Example:
        >>> import numpy as np
        >>> from scipy import sparse
        >>> random = np.random.default_rng(0)
        >>> documents = random.normal(size=(50, 8))
        >>> relevant = np.arange(200) % 50
        >>> queries = documents[(relevant + 1) % 50] + random.normal(size=(200, 8))
        >>> relevance = sparse.csr_array((np.ones(200), (np.arange(200), relevant)), shape=(200, 50))
        >>> solution = solve(documents, queries, relevance, method="nudge-n", metric="mrr@10")
        >>> solution.status, solution.score > 3 * solution.baseline
        ('improved', True)
    """
    if isinstance(documents, Prepared):
        given = (queries, relevance, validation, groups, ignored, negatives, weights)
        prepared = prepared_options(documents, given, {**options, "method": method})
    else:
        asked = Options().changed(**options, method=method)
        softmax = asked.temperatures != (None,)
        data = documents, queries, relevance, validation, groups
        beside: Beside = {"ignored": ignored, "negatives": negatives, "weights": weights}
        prepared = prepare_for(asked, *data, softmax=softmax, maps=False, **beside)
    solution = solve_prepared(prepared)
    log_outcome(solution)
    return solution


def prepared_options(prepared: Prepared, data: Sequence[object], options: Mapping[str, object]) -> Prepared:
    """Return something prepared with options changed that do not need the corpus again.

    Raises:
        InputError: If data was given as well, or an option is fixed by what was prepared.
    """
    if any(value is not None for value in data):
        raise InputError(
            "what was prepared holds queries, labels, their weights, validation, groups and ignored; give it alone"
        )
    asked, now = prepared.options.changed(**options), prepared.options
    kept = ("max_queries", "normalize_queries", "seed", "ignore_identical_ids")
    fixed = [name for name in kept if getattr(asked, name) != getattr(now, name)]
    if asked.measured.k > now.measured.k:
        fixed.append("metric")
    if fixed:
        raise InputError(
            f"{', '.join(fixed)} cannot change any more (the metric's cutoff not rise above {now.measured.k}): "
            "prepare again with it"
        )
    return prepared.with_options(asked)


def solve_prepared(prepared: Prepared) -> Solution:
    """Do what `solve` does without a word in the log."""
    options = prepared.options
    prepared, best, candidates = search_with_noes(prepared, options)
    if options.shift:
        best = with_shift(best, prepared)
    decision = decide(
        prepared,
        best.candidate,
        mean(best.baseline),
        standard_errors=options.standard_errors,
        fixed=options.step is not None,
    )
    return solution_of(prepared, best, candidates, decision)


def solution_of(prepared: Prepared, best: NudgeResult, candidates: Sequence[Candidate], decision: Decision) -> Solution:
    """Return the solution of the best nudge, or of doing nothing."""
    options, chosen, path = prepared.options, best.candidate, best.targets.path
    moves, baseline = decision.status != "no_gain", mean(best.baseline)
    targets = _refitted(prepared, best) if moves and options.refit else best.targets
    rows = np.flatnonzero(targets.moving) if moves and chosen.step > 0.0 else np.zeros(0, np.int64)
    index = torch.from_numpy(rows).to(targets.vectors.device)
    moved_by = mean_displacement(targets, prepared.labels, chosen.step) if options.shift and len(rows) else None
    scores = (best.scores.seen, best.scores.unseen) if moves else (best.baseline, best.baseline)
    return Solution(
        rows=prepared.labels.rows[rows],
        vectors=path.place(prepared.labels.documents[index], targets.vectors[index], chosen.step).cpu().numpy(),
        similarity=path.similarity if moves else "cosine",
        method=chosen.method if moves else "none",
        step=chosen.step if moves else 0.0,
        temperature=chosen.temperature if moves else None,
        metric=options.metric,
        baseline=baseline,
        score=chosen.score if moves else baseline,
        curve=best.curve,
        unseen_baseline=baseline,
        unseen_score=chosen.unseen_score if moves else baseline,
        status=decision.status,
        reason=decision.reason,
        warnings=_warnings(prepared, best) if moves else (),
        protocol="leave-one-out" if prepared.evaluation.own is not None else "validation",
        queries=len(prepared.evaluation),
        evaluable=prepared.evaluable,
        normaliser=_normaliser(prepared),
        candidates=tuple(candidates),
        per_query=PerQuery.of(prepared.evaluated(), best.baseline, *scores),
        documents=len(prepared.corpus),
        shift=None if moved_by is None else moved_by.cpu().numpy(),
        negative_weight=None if prepared.labels.noes is None else prepared.labels.negative_weight,
    )


def _warnings(prepared: Prepared, best: NudgeResult) -> tuple[str, ...]:
    unseen = unseen_warning(prepared, best.scores, best.baseline, prepared.options.standard_errors)
    return (*unseen, *rare_warning(prepared, best.scores, best.baseline), *repetition_warning(prepared))


def _normaliser(prepared: Prepared) -> Literal["exact", "sampled"] | None:
    """Say whether a softmax was taken over all documents and pushed by all queries."""
    if prepared.options.temperatures == (None,):
        return None
    labels = prepared.labels
    whole = len(prepared.sample) == len(prepared.corpus) - len(labels.rows)
    return "exact" if whole and len(labels.negatives) == len(labels.queries) else "sampled"


def _refitted(prepared: Prepared, best: NudgeResult) -> Targets:
    """Return where documents head once the validation labels count as well."""
    if prepared.held_out is None:
        return best.targets
    everything = prepared.everything()
    (direction,) = directions_of(prepared, prepared.options, everything, (best.candidate.temperature,))
    return target_of(everything, direction, best.candidate.method, prepared.options)


def log_outcome(solution: Solution) -> None:
    """Say what came of it, and why; nothing moved is a warning."""
    level = logging.WARNING if solution.status == "no_gain" else logging.INFO
    logger.log(level, "%s: %s", solution.method if solution.status != "no_gain" else "nothing moved", solution.reason)
    for warning in solution.warnings:
        logger.warning("%s", warning)
