"""`solve`: one corpus pass, a few directions and paths, the exact best step of each, and the choice of one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nudge_integrations.solver.decision import Decision, SearchResult, decide, search_step, too_few_labels
from nudge_integrations.solver.direction import Contrastive, Direction, PositiveSum, log_normaliser
from nudge_integrations.solver.options import BLOCK_BYTES, PATHS, UNSEEN_LOSS, Options
from nudge_integrations.solver.prepare import Inputs, Prepared, prepare, read_inputs
from nudge_integrations.solver.problem import Labels, Targets, targets_of
from nudge_integrations.solver.shift import mean_displacement, with_shift
from nudge_integrations.solver.solution import Solution

__all__ = ["log_outcome", "method_targets", "prepare_for", "solve", "solve_with"]

logger = logging.getLogger(__name__)


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
        relevance: (m, n) scipy sparse gains, > 0 where a document is relevant to a query. Duplicate entries are summed.
        method: ``"nudge-n"`` (turn on the unit sphere), ``"nudge-m"`` (add a vector; rank by inner product),
            ``"nudge-m+n"`` (add, then make unit length), ``"nudge-s"`` (move one coordinate), ``"contrastive"`` (turn
            towards its relevant queries and away from others), or ``"auto"``: the best of nothing,
            nudge-n and contrastive.
        metric: What the step maximises: hit@k, recall@k, precision@k, mrr@k, map@k or ndcg@k.
        validation: ``(queries, relevance)`` held out to choose the step by; None for exact leave-one-out.
        step: Take this step instead of searching: radians for nudge-n and contrastive, else a length.
        unseen_weight: 0 .. 1, how much the choice weighs queries for documents that nobody labelled. From 0.5 on
            ``"auto"`` protects them as well: it costs them a tenth of a point at most, standard error included.
        temperature: The softmax temperature of the contrastive direction; None tries several and none at all.
        graded: Weigh queries by their gains in the direction, not only in the metric.
        refit: With ``validation``, add its labels to the directions once the step is chosen.
        groups: (m,) names; queries of one group (near-duplicates, one user) are held out together.
        max_queries: Evaluate by a seeded sample of at most this many queries; the solution says how many.
        normalize_queries: Make queries unit length, so that a long one does not dominate a sum.
        shift: Also move every unlabelled document by the mean displacement of the labelled ones.
        standard_errors: How far above zero the gain must be, in standard errors over queries; else nothing moves.
            With fewer than 30 labelled queries and documents that nobody labelled ``"auto"`` protects these as well, as
            above, and the gain must be 1.5 times as many standard errors over documents; 0 turns all of it off.
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
        >>> relevant = np.arange(200) % 50
        >>> queries = documents[(relevant + 1) % 50] + random.normal(size=(200, 8))
        >>> relevance = sparse.csr_array((np.ones(200), (np.arange(200), relevant)), shape=(200, 50))
        >>> solution = solve(documents, queries, relevance, method="nudge-n", metric="mrr@10")
        >>> solution.status, solution.score > 3 * solution.baseline
        ('improved', True)
    """
    options = Options(
        method=method,
        metric=metric,
        step=step,
        unseen_weight=unseen_weight,
        temperature=temperature,
        graded=graded,
        refit=refit,
        max_queries=max_queries,
        normalize_queries=normalize_queries,
        shift=shift,
        standard_errors=standard_errors,
        seed=seed,
        block_bytes=block_bytes,
        progress=progress,
    )
    if options.method == "auto":
        options = options.protecting()
    solution = solve_with(options, documents, queries, relevance, validation=validation, groups=groups, device=device)
    log_outcome(solution)
    return solution


def solve_with(
    options: Options,
    documents: object,
    queries: object,
    relevance: object,
    *,
    validation: tuple[object, object] | None = None,
    groups: ArrayLike | Sequence[object] | None = None,
    device: str | torch.device | None = None,
    rows: NDArray[np.int64] | None = None,
) -> Solution:
    """Do what `solve` does without logging; evaluate by queries ``rows`` (e,), ascending, or by a sample."""
    inputs = read_inputs(
        documents, queries, relevance, validation, groups, device, normalize_queries=options.normalize_queries
    )
    prepared = prepare_for(options, inputs, rows=rows)
    careful = options.method == "auto" and options.standard_errors > 0.0 and too_few_labels(prepared)
    options = replace(options, unseen_loss=UNSEEN_LOSS) if careful else options
    results = _search_all(options, prepared, by_document=careful)
    best = max(results, key=lambda result: result.candidate.gain)
    if options.shift:
        best = with_shift(
            best,
            prepared,
            inputs.documents,
            options.measured,
            unseen_weight=options.unseen_weight,
            block_bytes=options.block_bytes,
            progress=options.progress,
        )
    decision = decide(
        best,
        prepared,
        options.measured,
        step=options.step,
        standard_errors=options.standard_errors,
        by_document=careful,
    )
    return _solution(options, prepared, results, best, decision, len(inputs.documents))


def prepare_for(
    options: Options, inputs: Inputs, *, sample: bool | None = None, rows: NDArray[np.int64] | None = None
) -> Prepared:
    """Read the corpus once; with a sample of it for a softmax, if the options or ``sample`` ask for one."""
    return prepare(
        inputs,
        options.measured.k,
        max_queries=options.max_queries,
        sample=options.temperatures != (None,) if sample is None else sample,
        seed=options.seed,
        block_bytes=options.block_bytes,
        progress=options.progress,
        evaluation_rows=rows,
    )


def _search_all(options: Options, prepared: Prepared, *, by_document: bool) -> list[SearchResult]:
    """Find the best step of every method of the options."""
    results = []
    for name, targets in method_targets(options, prepared):
        result = search_step(
            name,
            targets,
            prepared,
            options.measured,
            step=options.step,
            unseen_weight=options.unseen_weight,
            unseen_loss=options.unseen_loss,
            by_document=by_document,
            block_bytes=options.block_bytes,
            progress=options.progress,
        )
        logger.debug("%s", result.candidate)
        results.append(result)
    return results


def method_targets(options: Options, prepared: Prepared) -> Iterator[tuple[str, Targets]]:
    """Yield each method of the options with its targets."""
    directions = _directions(options.temperatures, options, prepared.labels, prepared)
    if options.method == "auto" and None not in options.temperatures:
        directions.insert(0, PositiveSum(options.graded))
    for direction in directions:
        name = "nudge-n" if options.method == "auto" and direction.temperature is None else options.method
        name = "contrastive" if name == "auto" else name
        yield name, targets_of(prepared.labels, direction, PATHS[name], options.block_bytes)


def _directions(
    temperatures: tuple[float | None, ...], options: Options, labels: Labels, prepared: Prepared
) -> list[Direction]:
    """Return one direction a temperature; NUDGE's for None."""
    soft = tuple(temperature for temperature in temperatures if temperature is not None)
    normalisers = {}
    if soft:
        normalisers = log_normaliser(
            labels.queries, labels.documents, prepared.sample, prepared.others, soft, options.block_bytes
        )
    return [
        PositiveSum(options.graded) if temperature is None else Contrastive(temperature, normalisers[temperature])
        for temperature in temperatures
    ]


def _solution(
    options: Options,
    prepared: Prepared,
    results: list[SearchResult],
    best: SearchResult,
    decision: Decision,
    documents: int,
) -> Solution:
    """Return the solution of the best method, or of doing nothing."""
    chosen, path = best.candidate, best.targets.path
    moves = decision.status != "no_gain"
    targets = _refitted(options, prepared, best) if moves and options.refit else best.targets
    rows = np.flatnonzero(targets.moving) if moves and chosen.step > 0.0 else np.zeros(0, np.int64)
    index = torch.from_numpy(rows).to(targets.vectors.device)
    moved_by = mean_displacement(targets, prepared.labels, chosen.step) if options.shift and len(rows) else None
    vectors = path.place(prepared.labels.documents[index], targets.vectors[index], chosen.step)
    contrastive = len(options.temperatures) > 1 or options.temperatures[0] is not None
    return Solution(
        rows=prepared.labels.rows[rows],
        vectors=vectors.cpu().numpy(),
        similarity=path.similarity if moves else "cosine",
        method=chosen.method if moves else "none",
        step=chosen.step if moves else 0.0,
        temperature=chosen.temperature if moves else None,
        metric=options.metric,
        baseline=best.baseline,
        score=chosen.score if moves else best.baseline,
        curve=best.curve,
        unseen_baseline=best.baseline,
        unseen_score=chosen.unseen_score if moves else best.baseline,
        status=decision.status,
        reason=decision.reason,
        warnings=decision.warnings,
        protocol="leave-one-out" if prepared.evaluation.own is not None else "validation",
        queries=len(prepared.evaluation.queries),
        evaluable=prepared.evaluable,
        normaliser=("exact" if len(prepared.sample) == prepared.others else "sampled") if contrastive else None,
        candidates=tuple(result.candidate for result in results),
        per_query=best.per_query(prepared.evaluation_rows, moves=moves),
        documents=documents,
        shift=None if moved_by is None else moved_by.cpu().numpy(),
    )


def _refitted(options: Options, prepared: Prepared, best: SearchResult) -> Targets:
    """Return the targets with the validation labels included."""
    if prepared.held_out is None:
        return best.targets
    everything = prepared.everything()
    direction = _directions((best.candidate.temperature,), options, everything, prepared)[0]
    return targets_of(everything, direction, best.targets.path, options.block_bytes)


def log_outcome(solution: Solution) -> None:
    """Log the outcome and the reason, as a warning where nothing moved."""
    level = logging.WARNING if solution.status == "no_gain" else logging.INFO
    logger.log(level, "%s: %s", solution.method if solution.status != "no_gain" else "nothing moved", solution.reason)
    for warning in solution.warnings:
        logger.warning("%s", warning)
