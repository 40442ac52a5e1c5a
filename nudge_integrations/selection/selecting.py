"""`select`: every candidate evaluated out of sample, and the best of them if it beats doing nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from nudge_integrations.errors import InputError
from nudge_integrations.selection.candidates import CANDIDATES, affordable, fit_candidates
from nudge_integrations.selection.outcome import SelectionResult
from nudge_integrations.selection.problem import FEWEST_QUERIES, problem_of
from nudge_integrations.solver import Solution
from nudge_integrations.solver.nudging import log_outcome, solve_with
from nudge_integrations.solver.options import BLOCK_BYTES, Options

__all__ = ["evaluate_candidates", "select"]


def select(
    documents: object,
    queries: object,
    relevance: object,
    *,
    candidates: Sequence[str] = CANDIDATES,
    metric: str = "ndcg@10",
    unseen_weight: float = 0.0,
    groups: ArrayLike | Sequence[object] | None = None,
    max_queries: int = 4096,
    max_seconds: float | None = None,
    standard_errors: float = 2.0,
    seed: int = 0,
    device: str | torch.device | None = None,
    block_bytes: int = BLOCK_BYTES,
    progress: bool = False,
) -> Solution:
    r"""Choose the best of nudging documents, adapting queries, both in either order, and doing nothing.

    Every candidate is evaluated by queries that it was not fitted to, and must beat doing nothing by more than noise. A
    query map must also not cost queries of another topic more than a tenth of a point, see
    `nudge_integrations.selection.settings`. From ``unseen_weight=0.5`` on queries whose documents nobody labelled are
    protected too: a nudge may cost them a tenth of a point at most, standard error included, and a query map, which
    reaches them all, must be a gain to them.

    ===================  ==========================================================================================
    candidate            what it is, and how it is evaluated
    ===================  ==========================================================================================
    ``nudge``            `solve` with ``method="auto"``; exact leave-one-out
    ``query-map``        a contrastive ridge for queries, `ridge` in the table; exact leave-one-out. Where it is better
                         in several steps, `iterated-ridge`: five folds with refits
    ``query-map+nudge``  documents move towards queries adapted by the map that is best with a nudge, at most as strong
                         as the best alone; five folds of queries, whose labels no map has seen, and exact
                         leave-one-out of the nudge on top
    ``nudge+query-map``  a ridge for queries, fitted to documents that each query's own label did not move
    ===================  ==========================================================================================

    Args:
        documents: (n, d) numpy array, torch tensor or memory map of float16, bfloat16, float32 or float64; made unit
            length on reading. Read about a hundred times, in blocks: the evaluation of a map is one pass.
        queries: (m, d), the labelled queries; made unit length.
        relevance: (m, n) scipy sparse gains, > 0 where a document is relevant to a query.
        candidates: Which to try.
        metric: What is maximised: hit@k, recall@k, precision@k, mrr@k, map@k or ndcg@k.
        unseen_weight: 0 .. 1, how much the choice weighs queries for documents that nobody labelled; from 0.5 on they
            are protected, whatever else could be gained, and ``nudge+query-map`` is left out.
        groups: (m,) names; queries of one group are held out together. Leaves out ``nudge+query-map``.
        max_queries: Evaluate by a seeded sample of at most this many queries.
        max_seconds: Leave out what would take longer than is left, the slowest first; the solution's warnings say
            which. None has no limit; what is tried then depends on the input alone.
        standard_errors: How far above zero the gain must be, in standard errors over queries; else nothing changes.
            With fewer than 30 labelled queries more is required, see `solve`; query maps are tried from 100 on.
        seed: For the sample of queries, the clusters and, in large corpora, the documents in a softmax.
        device: Where to compute; None for where ``documents`` are.
        block_bytes: Bound on temporary memory, beside the labelled documents and the queries.
        progress: Show progress bars.

    Returns:
        A `Solution` whose ``query_map`` is to be applied to queries, unit(q + q M), if it is not None. Its
        ``candidates`` are all that were evaluated; print it to see them as a table.

    Raises:
        InputError: As `solve`; also if a candidate is unknown.

    Example:
        >>> import numpy as np
        >>> from scipy import sparse
        >>> random = np.random.default_rng(0)
        >>> documents = random.normal(size=(50, 8))
        >>> relevant = np.arange(400) % 50
        >>> queries = documents[(relevant + 1) % 50] + random.normal(size=(400, 8))
        >>> relevance = sparse.csr_array((np.ones(400), (np.arange(400), relevant)), shape=(400, 50))
        >>> solution = select(documents, queries, relevance, metric="mrr@10")
        >>> solution.status, len(solution.candidates) > 6
        ('improved', True)
    """
    unknown = set(candidates) - set(CANDIDATES)
    if unknown or not candidates:
        raise InputError(f"unknown candidates {sorted(unknown)}; expected some of {', '.join(CANDIDATES)}")
    options = Options(
        metric=metric,
        unseen_weight=unseen_weight,
        max_queries=max_queries,
        standard_errors=standard_errors,
        seed=seed,
        block_bytes=block_bytes,
        progress=progress,
    )
    inputs = documents, queries, relevance
    result = evaluate_candidates(options, *inputs, candidates, groups=groups, max_seconds=max_seconds, device=device)
    solution = result.best(candidates)
    log_outcome(solution)
    return solution


def evaluate_candidates(
    options: Options,
    documents: object,
    queries: object,
    relevance: object,
    candidates: Sequence[str],
    *,
    groups: ArrayLike | Sequence[object] | None = None,
    max_seconds: float | None = None,
    device: str | torch.device | None = None,
) -> SelectionResult:
    """Fit and evaluate every candidate; always a nudge alone too, which the others must beat."""
    options = options.protecting()
    start = time.monotonic()
    nudge = solve_with(options, documents, queries, relevance, groups=groups, device=device)
    nudge_seconds = time.monotonic() - start
    rows = nudge.per_query.rows
    names = rows if groups is None else np.asarray(groups)[rows]
    nothing_else = SelectionResult(
        options, nudge, (), np.unique(names, return_inverse=True)[1].astype(np.int64), (), True
    )
    others = [name for name in candidates if name != "nudge"]
    if not others:
        return nothing_else
    if len(rows) < FEWEST_QUERIES:
        note = f"query maps were not tried: fewer than {FEWEST_QUERIES} labelled queries determine none"
        return replace(nothing_else, notes=(note,))
    problem = problem_of(options, nudge, documents, queries, relevance, groups, device)
    left = None if max_seconds is None else max_seconds - (time.monotonic() - start)
    kept, notes = affordable(others, problem, nudge_seconds, left)
    some_unlabelled = len(np.unique(problem.relevance.indices)) < problem.relevance.shape[1]
    return replace(nothing_else, fitted=fit_candidates(problem, kept), notes=notes, some_unlabelled=some_unlabelled)
