"""Two rankings of the same queries side by side: what got better, what got worse, and whether it is more than noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.evaluation.breakdown import (
    Breakdown,
    Group,
    by_cluster,
    by_documents,
    by_labels,
    document_means,
)
from nudge_integrations.evaluation.metrics import DEFAULT_METRICS, Evaluation, evaluate
from nudge_integrations.evaluation.movement import MovedQuery, moved_queries
from nudge_integrations.evaluation.rankings import Source, depth_of
from nudge_integrations.evaluation.significance import Difference, holm, paired_differences

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.dataset import RetrievalDataset

__all__ = ["Comparison", "compare"]

_Differ: TypeAlias = Callable[[Sequence[str]], dict[str, Difference]]


@dataclass(frozen=True, repr=False)
class Comparison:
    """The change from one ranking to another, how sure that is, and for which queries.

    Attributes:
        before: The first evaluation.
        after: The other, of the same queries.
        differences: Metric -> difference over all queries; p-values corrected for all metrics.
        moved: Every query that changed, from the largest gain to the largest loss of the first metric.
        breakdowns: The same differences for groups of queries; p-values corrected within each breakdown.
        queries: Number of evaluated queries.
        confidence: Level of every interval.
        resamples: Resamples of every interval and test.
        seed: Seed of the resamples.
    """

    before: Evaluation
    after: Evaluation
    differences: Mapping[str, Difference]
    moved: tuple[MovedQuery, ...]
    breakdowns: tuple[Breakdown, ...]
    queries: int
    confidence: float
    resamples: int
    seed: int

    def risen(self, n: int = 10) -> tuple[MovedQuery, ...]:
        """Return the n queries that gained most, largest gain first."""
        return tuple(one for one in self.moved if (one.change, one.rank_change) > (0.0, 0.0))[:n]

    def fallen(self, n: int = 10) -> tuple[MovedQuery, ...]:
        """Return the n queries that lost most, largest loss first."""
        return tuple(one for one in reversed(self.moved) if (one.change, one.rank_change) < (0.0, 0.0))[:n]

    def breakdown(self, name: str) -> Breakdown:
        """Return one breakdown: ``"documents"``, ``"labels"`` or ``"clusters"``.

        Raises InputError if it was not made.
        """
        made = {one.name: one for one in self.breakdowns}
        if name not in made:
            raise InputError(
                f"there is no breakdown {name!r}, only {sorted(made)}: compare(..., train=) makes 'documents' and "
                "'labels', query_vectors= makes 'clusters'"
            )
        return made[name]

    def document_means(self) -> dict[str, tuple[float, float]]:
        """Return metric -> before and after, every relevant document counting the same; empty without labels."""
        return document_means(self.before, self.after, list(self.differences))

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain data, ready for JSON."""
        return {
            "queries": self.queries,
            "confidence": self.confidence,
            "resamples": self.resamples,
            "seed": self.seed,
            "metrics": {metric: difference.to_dict() for metric, difference in self.differences.items()},
            "document_means": {metric: list(means) for metric, means in self.document_means().items()},
            "breakdowns": [one.to_dict() for one in self.breakdowns],
            "moved": [one.to_dict() for one in self.moved],
        }

    def __repr__(self) -> str:
        """Show the differences."""
        figures = ", ".join(f"{d.metric} {d.before:.4f} -> {d.after:.4f}" for d in self.differences.values())
        return f"Comparison({figures}, queries={self.queries})"

    def _repr_html_(self) -> str:
        from nudge_integrations.evaluation.report.notebook import comparison_fragment

        return comparison_fragment(self)

    def to_junit(self, metric: str | None = None) -> str:
        """Return the comparison as JUnit XML, for a CI that shows tests: one test for each metric, and a group each.

        A test fails where its difference is a loss beyond noise; that of ``metric`` also where there is no gain beyond
        noise. Write it with ``Path("nudge.xml").write_text(comparison.to_junit())``.

        Args:
            metric: The metric that must gain; None asks for no gain.

        Raises:
            InputError: If that metric was not compared.
        """
        from nudge_integrations.evaluation.junit import junit_of

        return junit_of(self, metric)

    def __str__(self) -> str:
        """Show all figures as a table of plain text."""
        blocks = [("all queries", self.queries, self.differences)]
        for one in self.breakdowns:
            blocks += [(f"{one.name}: {group.label}", group.queries, group.differences) for group in one.groups]
        interval = f"{self.confidence:.0%} interval"
        head = f"{'':12}{'before':>8}{'after':>8}{'change':>9}  {interval:19}{'p (Holm)':>9}  wins/losses/ties"
        lines = [head]
        for title, queries, differences in blocks:
            lines.append(f"{title} ({queries:,})")
            lines += [_line(difference) for difference in differences.values()]
        return "\n".join(lines)


def _line(one: Difference) -> str:
    return (
        f"  {one.metric:10}{one.before:8.4f}{one.after:8.4f}{one.difference:+9.4f}"
        f"  [{one.low:+.4f}, {one.high:+.4f}]{one.p_adjusted:10.4f}  {one.wins}/{one.losses}/{one.ties}"
    )


def compare(
    before: Evaluation | Source,
    after: Evaluation | Source,
    dataset: RetrievalDataset | None = None,
    *,
    metrics: Sequence[str] | None = None,
    ignore_identical_ids: bool = False,
    train: RetrievalDataset | None = None,
    query_vectors: NDArray[Any] | None = None,
    clusters: int = 4,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Say what changed between two rankings of the same queries, and whether it is more than noise.

    Intervals, tests and the correction for several metrics are those of `paired_differences` and `holm`.

    Args:
        before: An `Evaluation`, or whatever `evaluate` takes.
        after: The same for the other ranking.
        dataset: Queries and their relevant documents; needed unless both are evaluations.
        metrics: Names with a cutoff; the first one orders the queries that moved. None takes those that the evaluations
            given have, and `DEFAULT_METRICS` where none is given.
        ignore_identical_ids: Leave out of each ranking the document that has the query's id; as in `evaluate`.
        train: What the fit learned from: splits the figures by seen and unseen documents and by number of labels.
        query_vectors: (m, d), one row a query in the dataset's order: splits the figures by query cluster.
        clusters: How many clusters.
        resamples: Resamples of every interval and test.
        confidence: Level of every interval, between 0 and 1.
        seed: Seed of the resamples and clusters.

    Returns:
        The differences, the queries that moved and the breakdowns.

    Raises:
        DatasetError: If the two were evaluated on different queries or labels, or there is no dataset.
        InputError: If an evaluation lacks a metric or has what was to be left out, or an option is out of range.

    >>> from nudge_integrations.dataset import RetrievalDataset
    >>> corpus, queries = {"a": "cats", "b": "dogs"}, {"q": "purrs?", "r": "barks?"}
    >>> dataset = RetrievalDataset(corpus, queries, {"q": {"a": 1}, "r": {"b": 1}})
    >>> comparison = compare({"q": ["a"], "r": ["a", "b"]}, {"q": ["a"], "r": ["b", "a"]}, dataset, metrics=["hit@1"])
    >>> comparison
    Comparison(hit@1 0.5000 -> 1.0000, queries=2)
    >>> comparison.risen()[0]
    MovedQuery(query_id='r', text='barks?', before=0.0, after=1.0, document_id='b', old_rank=2, new_rank=1)
    """
    names = _metrics_of(before, after, metrics)
    labels = next((given for given in (dataset, _dataset_of(before), _dataset_of(after)) if given is not None), None)
    first, second = (_evaluated(side, labels, names, ignore_identical_ids) for side in (before, after))
    _check_same(first, second, labels)

    def differ(queries: Sequence[str]) -> dict[str, Difference]:
        old, new = (
            np.array([[side.per_query[metric][query] for metric in names] for query in queries])
            for side in (first, second)
        )
        return paired_differences(old, new, names, resamples=resamples, confidence=confidence, seed=seed)

    return Comparison(
        before=first,
        after=second,
        differences=holm([differ(list(first.per_query[names[0]]))])[0],
        moved=moved_queries(first, second, labels, names[0]),
        breakdowns=_breakdowns(differ, labels, train, query_vectors, clusters, seed),
        queries=first.queries,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def _dataset_of(side: Evaluation | Source) -> RetrievalDataset | None:
    return side.dataset if isinstance(side, Evaluation) else None


def _metrics_of(
    before: Evaluation | Source, after: Evaluation | Source, metrics: Sequence[str] | None
) -> tuple[str, ...]:
    if metrics is not None:
        return (metrics,) if isinstance(metrics, str) else tuple(dict.fromkeys(metrics))
    given = [list(side.means) for side in (before, after) if isinstance(side, Evaluation)]
    common = tuple(metric for metric in given[0] if metric in given[-1]) if given else DEFAULT_METRICS
    if not common:
        raise InputError(f"the evaluations have no metric in common: {given[0]} and {given[-1]}; evaluate both alike")
    return common


def _evaluated(
    side: Evaluation | Source, dataset: RetrievalDataset | None, metrics: Sequence[str], ignore_identical_ids: bool
) -> Evaluation:
    if not isinstance(side, Evaluation):
        if dataset is None:
            raise DatasetError(
                "rankings cannot be evaluated without labels: give compare a dataset, or two evaluations"
            )
        return evaluate(side, dataset, metrics, depth=depth_of(side), ignore_identical_ids=ignore_identical_ids)
    if ignore_identical_ids and any(query in ranking for query, ranking in side.rankings.items()):
        raise InputError("an evaluation has queries among their own results: evaluate with ignore_identical_ids=True")
    absent = [metric for metric in metrics if metric not in side.per_query]
    if absent:
        raise InputError(f"an evaluation has no {absent[0]!r}, only {list(side.means)}; evaluate it with that metric")
    return side


def _check_same(first: Evaluation, second: Evaluation, dataset: RetrievalDataset | None) -> None:
    ours, theirs = (next(iter(side.per_query.values())).keys() for side in (first, second))
    if ours != theirs:
        raise DatasetError(
            f"only queries that are in both evaluations can be compared; {len(ours - theirs)} are only in the first, "
            f"{len(theirs - ours)} only in the second: evaluate both on one dataset"
        )
    if dataset is None:
        return
    if ours != dataset.queries.keys():
        raise DatasetError(f"the evaluations are of {len(ours)} queries that are not the dataset's {len(dataset)}")
    if any(side.dataset is not None and side.dataset.qrels != dataset.qrels for side in (first, second)):
        raise DatasetError("the two evaluations are of different labels; evaluate both on one dataset")


def _breakdowns(
    differ: _Differ,
    dataset: RetrievalDataset | None,
    train: RetrievalDataset | None,
    query_vectors: NDArray[Any] | None,
    clusters: int,
    seed: int,
) -> tuple[Breakdown, ...]:
    if train is None and query_vectors is None:
        return ()
    if dataset is None:
        raise DatasetError("there are no labels to split the queries by: give compare the dataset")
    queries_by: dict[str, dict[str, list[str]]] = {}
    if train is not None:
        queries_by["documents"] = by_documents(dataset, train)
        queries_by["labels"] = by_labels(dataset, train)
    if query_vectors is not None:
        queries_by["clusters"] = by_cluster(dataset, query_vectors, clusters, seed)
    return tuple(_breakdown(name, groups, differ) for name, groups in queries_by.items())


def _breakdown(name: str, groups: Mapping[str, list[str]], differ: _Differ) -> Breakdown:
    filled = {label: tuple(queries) for label, queries in groups.items() if queries}
    corrected = holm(differ(queries) for queries in filled.values())
    pairs = zip(filled.items(), corrected, strict=True)
    return Breakdown(name, tuple(Group(label, queries, differences) for (label, queries), differences in pairs))
