"""A comparison and what was fitted -> a report."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import as_matrix, unit_rows
from nudge_integrations.errors import InputError
from nudge_integrations.evaluation.comparison import Comparison
from nudge_integrations.evaluation.drift import angles_between
from nudge_integrations.evaluation.report.card import card, limits, title_of
from nudge_integrations.evaluation.report.contents import CandidateRow, QueryRow, StepCurve
from nudge_integrations.evaluation.report.opened import opened
from nudge_integrations.evaluation.report.projection import project
from nudge_integrations.evaluation.report.renderings import Report
from nudge_integrations.evaluation.report.wording import turns
from nudge_integrations.feedback import Feedback, FeedbackWeek, LabelLog, by_week
from nudge_integrations.solver import METHODS, Solution

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.evaluation.drift import Drift
    from nudge_integrations.evaluation.metrics import Evaluation

__all__ = ["report"]


def report(
    comparison: Comparison,
    fitted: Solution | Nudge,
    *,
    documents: Any = None,
    queries: Any = None,
    drift: Drift | None = None,
    title: str | None = None,
    details: Mapping[str, str] | None = None,
    feedback: Feedback | LabelLog | None = None,
    sample: int = 2000,
    seed: int = 0,
) -> Report:
    """Put together what a fit changed, for people: text, tables, and one page that needs nothing else.

    Args:
        comparison: The rankings before and after, as `compare` returns it.
        fitted: What was fitted: a `Solution`, or a `Nudge`, which also knows its encoder, data, versions and date.
        documents: (n, d) base vectors, for the picture of the corpus; without them there is none, and of a `Solution`
            no angles either. A memory map will do: only a sample is read.
        queries: (m, d) vectors of the test queries, for the same picture.
        drift: What the fit did to the neighbourhoods of documents, as `drift` measures it.
        title: The page's heading; None says what the data and the date are, where they are known.
        details: More lines for the card, label -> value, such as where the data come from.
        feedback: What to show over time; None for the labels that a `Nudge` keeps.
        sample: How many documents the picture shows at most.
        seed: The seed of that sample.

    Returns:
        The report; show it, or write it with ``save(path)``, a page, Markdown, LaTeX, CSV or JSON.

    Raises:
        InputError: If something else is given than a comparison and a fit, or vectors do not fit to it.

    >>> from nudge_integrations.dataset import RetrievalDataset
    >>> from nudge_integrations.evaluation import compare
    >>> from nudge_integrations.pipeline import fit
    >>> dataset = RetrievalDataset({"a": "cats", "b": "dogs"}, {"q": "barks?"}, {"q": {"b": 1}})
    >>> nudge = fit(dataset, "toy", step=0.5, method="nudge-n", document_vectors=np.eye(2), query_vectors=[[1.0, 0.9]])
    >>> page = report(compare({"q": ["a", "b"]}, {"q": ["b", "a"]}, dataset), nudge)
    >>> page
    Report(ndcg@10 0.6309 -> 1.0000, queries=1)
    >>> page.to_html().startswith("<!doctype html>")
    True
    """
    _check(comparison, fitted, sample)
    base = _base(fitted, documents)
    known = comparison.before.dataset or comparison.after.dataset
    total = fitted.documents if isinstance(fitted, Solution) else None if known is None else len(known.corpus)
    rows, texts = opened(_rows(comparison), comparison)
    return Report(
        title=title or title_of(fitted, details or {}),
        differences=tuple(comparison.differences.values()),
        confidence=comparison.confidence,
        resamples=comparison.resamples,
        queries=rows,
        breakdowns=comparison.breakdowns,
        curve=_curve(fitted),
        angles=() if base is None else _angles(base, fitted.vectors),
        drift=None if drift is None else drift.to_dict(),
        projection=None
        if documents is None or base is None
        else project(documents, base, fitted.vectors, queries, sample=sample, seed=seed),
        card=card(fitted, comparison, total, details or {}),
        limits=limits(fitted, comparison),
        candidates=_candidates(fitted),
        texts=texts,
        feedback=_weeks(fitted, feedback),
    )


def _weeks(fitted: Solution | Nudge, feedback: Feedback | LabelLog | None) -> tuple[FeedbackWeek, ...]:
    """Return what was said in each week; labels that all came at once, from one source, say nothing over time."""
    log = fitted.labels if feedback is None and isinstance(fitted, Nudge) else feedback
    weeks = () if log is None else by_week(log)
    return weeks if feedback is not None or len(weeks) > 1 else ()


def _check(comparison: object, fitted: object, sample: int) -> None:
    if not isinstance(comparison, Comparison):
        raise InputError(f"report needs a Comparison, as compare(...) returns it; got a {type(comparison).__name__}")
    if not isinstance(fitted, Solution | Nudge):
        raise InputError(f"report needs the Solution or Nudge that was compared; got a {type(fitted).__name__}")
    if sample < 2:
        raise InputError(f"sample must be 2 documents or more; got {sample}")


def _base(fitted: Solution | Nudge, documents: Any) -> NDArray[np.float32] | None:
    """Return the (r, d) base vectors of the documents that moved."""
    if isinstance(fitted, Nudge):
        return fitted.base
    if documents is None:
        return None
    rows = as_matrix(documents, "documents")
    if tuple(rows.shape) != (fitted.documents, fitted.vectors.shape[1]):
        raise InputError(
            f"the solution is for documents of shape ({fitted.documents}, {fitted.vectors.shape[1]}); got "
            f"{tuple(rows.shape)}: give the base vectors that it was made from"
        )
    return unit_rows(rows[fitted.rows], "documents")


def _angles(base: NDArray[np.float32], vectors: NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(angles_between(base, unit_rows(vectors, "moved vectors")).tolist())


def _curve(fitted: Solution | Nudge) -> StepCurve | None:
    if isinstance(fitted, Solution):
        points = np.column_stack([fitted.curve.steps, fitted.curve.values])
    elif fitted.curve is not None:
        points = fitted.curve
    else:
        return None
    return StepCurve(
        metric=fitted.metric,
        protocol=fitted.protocol,
        queries=fitted.queries,
        steps=tuple(points[:, 0].tolist()),
        values=tuple(points[:, 1].tolist()),
        unit="rad" if turns(fitted.method) else "length",
        step=fitted.step,
        baseline=fitted.baseline,
        score=fitted.score,
    )


def _candidates(fitted: Solution | Nudge) -> tuple[CandidateRow, ...]:
    tried = [one if isinstance(one, Mapping) else asdict(one) for one in fitted.candidates]
    return tuple(
        CandidateRow(
            name=_name(one, {other["method"] for other in tried}),
            gain=float(one["gain"]),
            error=float(one["standard_error"]),
            chosen=(one["method"], one["temperature"]) == (fitted.method, fitted.temperature),
        )
        for one in tried
    )


def _name(one: Mapping[str, Any], methods: Collection[str]) -> str:
    # The gain of a signal is that over the best without it, which is a candidate itself.
    without, _, last = one["method"].rpartition("+")
    if without in methods and last not in METHODS:
        return f"{last}, on top of the best"
    return str(one["method"]) if one["temperature"] is None else f"{one['method']}, tau {one['temperature']:g}"


def _rows(comparison: Comparison) -> tuple[QueryRow, ...]:
    before, after = comparison.before, comparison.after
    metrics = list(comparison.differences)
    known = before.dataset or after.dataset
    moved = {one.query_id: one for one in comparison.moved}
    rows = []
    for query in before.per_query[metrics[0]]:
        one = moved.get(query)
        place = (one.document_id, one.old_rank, one.new_rank) if one else _unmoved(query, before)
        old, new = (tuple(side.per_query[metric][query] for metric in metrics) for side in (before, after))
        rows.append(QueryRow(query, "" if known is None else known.queries[query], old, new, *place))
    return tuple(sorted(rows, key=lambda row: -row.change))


def _unmoved(query: str, side: Evaluation) -> tuple[str | None, int | None, int | None]:
    """Return the relevant document that ranks first, and its rank twice."""
    relevant = {} if side.dataset is None else side.dataset.qrels[query]
    for rank, document in enumerate(side.rankings.get(query, ()), start=1):
        if relevant.get(document, 0) > 0:
            return document, rank, rank
    return None, None, None
