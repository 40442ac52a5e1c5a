"""`solve`: one corpus pass, a few directions and paths, the exact best step of each, and an honest choice of one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from nudge_integrations.errors import InputError
from nudge_integrations.solver._solution import Solution
from nudge_integrations.solver.choice import Trial, Verdict, judge, try_heading
from nudge_integrations.solver.chord import Chord
from nudge_integrations.solver.direction import Answered, Contrastive, Direction, log_normaliser
from nudge_integrations.solver.inputs import Prepared, prepare, read_inputs
from nudge_integrations.solver.metrics import Metric, parse_metric
from nudge_integrations.solver.path import Arc, Line, Path, SparseLine
from nudge_integrations.solver.problem import Labels, head_for
from nudge_integrations.solver.shift import mean_displacement, with_shift

__all__ = ["METHODS", "solve"]

logger = logging.getLogger(__name__)

METHODS = ("auto", "nudge-n", "nudge-m", "nudge-m+n", "nudge-s", "contrastive")
TEMPERATURES = (0.2, 0.1, 0.07, 0.05, 0.03)
BLOCK_BYTES = 256 << 20

_PATHS: dict[str, Path] = {
    "nudge-n": Arc(),
    "nudge-m": Line(),
    "nudge-m+n": Chord(),
    "nudge-s": SparseLine(),
    "contrastive": Arc(),
}


@dataclass(frozen=True)
class _Plan:
    """What to try and how, checked."""

    method: str
    metric: Metric
    temperatures: tuple[float | None, ...]
    graded: bool
    step: float | None
    unseen_weight: float
    standard_errors: float
    block_bytes: int
    progress: bool


def solve(
    documents: object,
    queries: object,
    relevance: object,
    *,
    method: str = "auto",
    metric: str = "ndcg@10",
    validation: tuple[object, object] | None = None,
    step: float | None = None,
    unseen_weight: float = 0.0,
    temperature: float | None = None,
    graded: bool = False,
    refit: bool = True,
    groups: ArrayLike | Sequence[object] | None = None,
    max_queries: int = 4096,
    normalize_queries: bool = True,
    shift: bool = False,
    standard_errors: float = 2.0,
    seed: int = 0,
    device: str | torch.device | None = None,
    block_bytes: int = BLOCK_BYTES,
    progress: bool = False,
) -> Solution:
    r"""Move the documents that queries ask for a bounded step towards those queries, as far as retrieval gains from it.

    A pure function: the same input and seed give the same answer, the input is never changed, and documents are always
    taken as base vectors, so solving twice is solving once.

    Args:
        documents: (n, d) numpy array, torch tensor or memory map of float16, bfloat16, float32 or float64; made unit
            length on reading. Read once, in blocks, so a memory map may be larger than memory.
        queries: (m, d), the labelled queries.
        relevance: (m, n) scipy sparse gains, > 0 where a document answers a query. Duplicate entries are summed.
        method: ``"nudge-n"`` (turn on the unit sphere), ``"nudge-m"`` (add a vector; rank by inner product),
            ``"nudge-m+n"`` (add, then make unit length), ``"nudge-s"`` (move one coordinate), ``"contrastive"`` (turn
            towards the queries it answers and away from those it should not), or ``"auto"``: the best of nothing,
            nudge-n and contrastive.
        metric: What the step maximises: hit@k, recall@k, precision@k, mrr@k, map@k or ndcg@k.
        validation: ``(queries, relevance)`` held out to choose the step by; None for exact leave-one-out.
        step: Take this step instead of searching: radians for nudge-n and contrastive, else a length.
        unseen_weight: 0 .. 1, how much the choice weighs queries for documents that nobody labelled.
        temperature: The softmax temperature of the contrastive direction; None tries several and none at all.
        graded: Weigh queries by their gains in the direction, not only in the metric.
        refit: With ``validation``, add its labels to the directions once the step is chosen.
        groups: (m,) names; queries of one group (near-duplicates, one user) are left out together.
        max_queries: Judge by a seeded sample of at most this many queries; the solution says how many.
        normalize_queries: Make queries unit length, so that a long one does not dominate a sum.
        shift: Also move every unlabelled document by the mean displacement of the labelled ones.
        standard_errors: How far above zero the gain must be, in standard errors over queries; else nothing moves.
        seed: For the sample of queries and, in large corpora, of documents in a softmax.
        device: Where to compute; None for where ``documents`` are.
        block_bytes: Bound on temporary memory, beside the labelled documents and the queries.
        progress: Show progress bars.

    Returns:
        A `Solution`. Where no gain is beyond noise its status is ``"no_gain"``, nothing moves, and ``reason`` says why.

    Raises:
        InputError: If shapes do not fit, a vector is zero, NaN or infinite (names the row), a gain is negative or not
            finite, or an option is out of range.

    The direction is G = W^T Q and the path an arc or a line from each document; the step is the middle of the widest
    plateau of the metric's exact, piecewise constant curve. Source: NUDGE (Zeighami, Wellmer, Parameswaran, ICLR 2025,
    arXiv 2409.02343); contrastive direction, exact search of any metric and leave-one-out are ours.

    Example:
        >>> import numpy as np
        >>> from scipy import sparse
        >>> random = np.random.default_rng(0)
        >>> documents = random.normal(size=(50, 8))
        >>> wanted = np.arange(200) % 50
        >>> queries = documents[(wanted + 1) % 50] + random.normal(size=(200, 8))
        >>> relevance = sparse.csr_array((np.ones(200), (np.arange(200), wanted)), shape=(200, 50))
        >>> solution = solve(documents, queries, relevance, method="nudge-n", metric="mrr@10")
        >>> solution.status, solution.score > 3 * solution.baseline
        ('improved', True)
    """
    plan = _plan(
        method, metric, temperature, graded, step, unseen_weight, standard_errors, max_queries, block_bytes, progress
    )
    inputs = read_inputs(documents, queries, relevance, validation, groups, device, normalize_queries=normalize_queries)
    prepared = prepare(
        inputs,
        plan.metric.k,
        max_queries=max_queries,
        sample=plan.temperatures != (None,),
        seed=seed,
        block_bytes=block_bytes,
        progress=progress,
    )
    trials = _trials(plan, prepared)
    best = max(trials, key=lambda trial: trial.candidate.gain)
    if shift:
        best = with_shift(
            best,
            prepared,
            inputs.documents,
            plan.metric,
            unseen_weight=unseen_weight,
            block_bytes=block_bytes,
            progress=progress,
        )
    verdict = judge(best, prepared, plan.metric, step=step, standard_errors=standard_errors)
    solution = _solution(plan, prepared, trials, best, verdict, len(inputs.documents), refit=refit, shift=shift)
    _log(solution)
    return solution


def _plan(
    method: str,
    metric: str,
    temperature: float | None,
    graded: bool,
    step: float | None,
    unseen_weight: float,
    standard_errors: float,
    max_queries: int,
    block_bytes: int,
    progress: bool,
) -> _Plan:
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
    for name, value, low, high in (
        ("step", 0.0 if step is None else step, 0.0, np.finfo(np.float32).max),
        ("unseen_weight", unseen_weight, 0.0, 1.0),
        ("temperature", 1.0 if temperature is None else temperature, 1e-3, 1e3),
        ("standard_errors", standard_errors, 0.0, np.inf),
        ("max_queries", max_queries, 1, np.inf),
        ("block_bytes", block_bytes, 1 << 16, np.inf),
    ):
        if not isinstance(value, int | float | np.number) or not low <= value <= high:
            raise InputError(f"{name} must be a number between {low:g} and {high:g}; got {value!r}")
    temperatures: tuple[float | None, ...] = (None,)
    if method in ("auto", "contrastive"):
        temperatures = (None, *TEMPERATURES) if temperature is None else (temperature,)
    elif temperature is not None:
        raise InputError(f"temperature= belongs to method='contrastive' or 'auto'; {method!r} takes no softmax")
    return _Plan(
        method,
        parse_metric(metric),
        temperatures,
        graded,
        step,
        unseen_weight,
        standard_errors,
        block_bytes,
        progress,
    )


def _trials(plan: _Plan, prepared: Prepared) -> list[Trial]:
    """Try every direction of the plan."""
    trials = []
    directions = _directions(plan.temperatures, plan, prepared.labels, prepared)
    if plan.method == "auto" and plan.temperatures != (None, *TEMPERATURES):
        directions.insert(0, Answered(plan.graded))
    for direction in directions:
        name = "nudge-n" if plan.method == "auto" and direction.temperature is None else plan.method
        name = "contrastive" if name == "auto" else name
        heading = head_for(prepared.labels, direction, _PATHS[name], plan.block_bytes)
        trial = try_heading(
            name,
            heading,
            prepared,
            plan.metric,
            step=plan.step,
            unseen_weight=plan.unseen_weight,
            block_bytes=plan.block_bytes,
            progress=plan.progress,
        )
        logger.debug("%s", trial.candidate)
        trials.append(trial)
    return trials


def _directions(
    temperatures: tuple[float | None, ...], plan: _Plan, labels: Labels, prepared: Prepared
) -> list[Direction]:
    """Return one direction a temperature; NUDGE's for None."""
    soft = tuple(temperature for temperature in temperatures if temperature is not None)
    normalisers = {}
    if soft:
        normalisers = log_normaliser(
            labels.queries, labels.documents, prepared.sample, prepared.others, soft, plan.block_bytes
        )
    return [
        Answered(plan.graded) if temperature is None else Contrastive(temperature, normalisers[temperature])
        for temperature in temperatures
    ]


def _solution(
    plan: _Plan,
    prepared: Prepared,
    trials: list[Trial],
    best: Trial,
    verdict: Verdict,
    documents: int,
    *,
    refit: bool,
    shift: bool,
) -> Solution:
    """Return the solution of the best trial, or of doing nothing."""
    chosen, path = best.candidate, best.heading.path
    moves = verdict.status != "no_gain"
    heading = best.heading
    if moves and refit and prepared.everything is not prepared.labels:
        direction = _directions((chosen.temperature,), plan, prepared.everything, prepared)[0]
        heading = head_for(prepared.everything, direction, path, plan.block_bytes)
    rows = np.flatnonzero(heading.moving) if moves and chosen.step > 0.0 else np.zeros(0, np.int64)
    index = torch.from_numpy(rows).to(heading.targets.device)
    moved_by = mean_displacement(heading, prepared.labels, chosen.step) if shift and len(rows) else None
    vectors = path.place(prepared.labels.documents[index], heading.targets[index], chosen.step)
    contrastive = len(plan.temperatures) > 1 or plan.temperatures[0] is not None
    return Solution(
        rows=prepared.labels.rows[rows],
        vectors=vectors.cpu().numpy(),
        similarity=path.similarity if moves else "cosine",
        method=chosen.method if moves else "none",
        step=chosen.step if moves else 0.0,
        temperature=chosen.temperature if moves else None,
        metric=str(plan.metric),
        baseline=best.baseline,
        score=chosen.score if moves else best.baseline,
        curve=best.curve,
        unseen_baseline=best.baseline,
        unseen_score=chosen.unseen_score if moves else best.baseline,
        status=verdict.status,
        reason=verdict.reason,
        warnings=verdict.warnings,
        protocol="leave-one-out" if prepared.judged.own is not None else "validation",
        queries=len(prepared.judged.queries),
        judged_of=prepared.judged_of,
        normaliser=("exact" if len(prepared.sample) == prepared.others else "sampled") if contrastive else None,
        candidates=tuple(trial.candidate for trial in trials),
        documents=documents,
        shift=None if moved_by is None else moved_by.cpu().numpy(),
    )


def _log(solution: Solution) -> None:
    level = logging.WARNING if solution.status == "no_gain" else logging.INFO
    logger.log(level, "%s: %s", solution.method if solution.status != "no_gain" else "nothing moved", solution.reason)
    for warning in solution.warnings:
        logger.warning("%s", warning)
