"""health: is it time to refit? New labels, what they would change, whether queries drift, and what the guard says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.corpus import unit_rows
from nudge_integrations.pipeline.document_changes import DocumentChanges
from nudge_integrations.pipeline.refit_outcome import NewQueryGain
from nudge_integrations.pipeline.refitting import refit_details

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.artifact import Nudge

__all__ = ["Health", "QueryDrift", "health"]

# So many queries that came before say how far apart labelled queries usually are.
_COMPARED = 4096
_FAR = 0.95


@dataclass(frozen=True)
class QueryDrift:
    """How far new queries are from those that the nudge was fitted to, by cosine.

    Attributes:
        queries: How many new ones.
        nearest: The mean cosine of a new query and the nearest one of the fit.
        usual: The same among the queries of the fit themselves.
        far: The share of new queries that are farther away than 95 % of those of the fit: 5 % where nothing drifts.
    """

    queries: int
    nearest: float
    usual: float
    far: float

    def __str__(self) -> str:
        return (
            f"new queries have a cosine of {self.nearest:.3f} to the nearest labelled one (usual: {self.usual:.3f}); "
            f"{self.far:.0%} of them are farther away than 95 % of the labelled ones are from each other"
        )


@dataclass(frozen=True, eq=False)
class Health:
    """How a nudge stands.

    Attributes:
        new_labels: How many labels came since the fit.
        step: The step that is served, and the one that a fit on everything would take.
        score: The metric of the last fit, and of that one; each query without its own labels.
        method: The method that is served, and that of a fit on everything.
        gain: What the refit would gain on queries that came since, with an interval; None where none can tell.
        drift: How far new queries are from the others; None where there are none.
        documents: What became of the documents that labels are about.
        guard: Whether the guard would still say yes to a nudge at all, and why.
        refit: Whether a refit would gain more than noise, or the guard would say no.
    """

    new_labels: int
    step: tuple[float, float]
    score: tuple[float, float]
    method: tuple[str, str]
    gain: NewQueryGain | None
    drift: QueryDrift | None
    documents: DocumentChanges
    guard: tuple[bool, str]
    refit: bool

    def __str__(self) -> str:
        yes = "yes" if self.guard[0] else "no"
        lines = [
            f"refit: {'yes' if self.refit else 'not yet'}",
            f"new labels: {self.new_labels}",
            f"step: {self.step[0]:.4g} -> {self.step[1]:.4g} ({self.method[0]} -> {self.method[1]})",
            f"score: {self.score[0]:.4f} -> {self.score[1]:.4f}",
            f"on new queries: {'none that can tell' if self.gain is None else self.gain}",
            f"drift: {'no new queries' if self.drift is None else self.drift}",
            f"documents: {self.documents}",
            f"guard: {yes}, {self.guard[1]}",
        ]
        return "\n".join(lines)


def health(nudge: Nudge, labels: Any = None, vectors: Any = None, **options: Any) -> Health:
    """Say whether a nudge should be fitted again; nothing is changed, and nothing is written.

    Args:
        nudge: The nudge that is served, with its labels.
        labels: Labels that came since, beside those that its log has got; or None.
        vectors: (n, d) base vectors of the documents; None to embed them.
        **options: As in `refit`: ``documents``, ``encoder``, ...

    Raises:
        InputError, MismatchError: As `refit`.

    >>> from nudge_integrations import RetrievalDataset, fit
    >>> corpus, base = {"a": "cats purr", "b": "dogs bark"}, [[1.0, 0.0], [0.0, 1.0]]
    >>> dataset = RetrievalDataset(corpus, {"q": "who purrs?"}, {"q": {"a": 1}})
    >>> nudge = fit(dataset, "toy", method="nudge-n", step=0.1, document_vectors=base, query_vectors=[[0.6, 0.8]])
    >>> more = RetrievalDataset(corpus, {"r": "who barks?"}, {"r": {"b": 1}})
    >>> health(nudge, more, base, query_vectors=[[0.8, 0.6]]).new_labels
    1
    """
    details = refit_details(nudge, labels, vectors, **options)
    fitted, gain = details.fitted, details.gain
    guard = fitted.status != "no_gain"
    better = details.changed and gain is not None and gain.gain > 2.0 * gain.standard_error
    return Health(
        new_labels=details.new_labels,
        step=(nudge.step, fitted.step),
        score=(nudge.score, fitted.score),
        method=(nudge.method, fitted.method),
        gain=gain,
        drift=_drift(nudge, fitted),
        documents=details.documents,
        guard=(guard, fitted.reason),
        refit=better or (not guard and nudge.status != "no_gain"),
    )


def _drift(nudge: Nudge, fitted: Nudge) -> QueryDrift | None:
    """Compare the queries that came since a fit with those before."""
    log = fitted.labels
    new = dict.fromkeys(label.query for label in log.since(nudge.fingerprint))
    old = dict.fromkeys(label.query for label in log.labels[: len(log) - len(log.since(nudge.fingerprint))])
    vectors = log.query_vectors(nudge.encoder)
    fresh = [vectors[query] for query in new if query not in old and query in vectors]
    known = [vectors[query] for query in old if query in vectors]
    if not fresh or len(known) < 2:
        return None
    before = unit_rows(np.stack(known), "queries")
    some = np.random.default_rng(0).permutation(len(before))[:_COMPARED]
    nearest = _nearest(unit_rows(np.stack(fresh), "queries"), before, None)
    usual = _nearest(before[some], before, some)
    far = float((nearest < np.quantile(usual, 1.0 - _FAR)).mean())
    return QueryDrift(len(fresh), float(nearest.mean()), float(usual.mean()), far)


def _nearest(
    queries: NDArray[np.float32], others: NDArray[np.float32], own: NDArray[np.int64] | None
) -> NDArray[np.float32]:
    """Return the largest cosine of each query with others, itself left out."""
    found = []
    for start in range(0, len(queries), 512):
        alike = queries[start : start + 512] @ others.T
        if own is not None:
            alike[np.arange(len(alike)), own[start : start + 512]] = -1.0
        found.append(alike.max(axis=1))
    return np.concatenate(found)
