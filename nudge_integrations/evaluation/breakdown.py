"""Differences for groups of queries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.corpus import unit_rows
from nudge_integrations.dataset.clusters import cluster
from nudge_integrations.evaluation.significance import Difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.dataset import RetrievalDataset
    from nudge_integrations.evaluation.metrics import Evaluation

__all__ = ["Breakdown", "Group", "by_cluster", "by_documents", "by_labels", "document_means"]

# A cluster is named by the two queries in its middle, cut to so many characters.
_EXAMPLE = 48

SEEN, PART, UNSEEN = "seen", "in part", "unseen"
RARE = "1 label"

# The most labels that any relevant document of a query has in train: the group up to which it belongs.
_LABEL_GROUPS = ((0, "0 labels"), (1, RARE), (3, "2 to 3 labels"))
_MORE_LABELS = "4 or more labels"


@dataclass(frozen=True)
class Group:
    """A group of queries, and what changed for them.

    Attributes:
        label: Name of the group.
        query_ids: Ids of its queries.
        differences: Metric -> difference over these queries alone.
    """

    label: str
    query_ids: tuple[str, ...]
    differences: Mapping[str, Difference]

    @property
    def queries(self) -> int:
        """Number of queries."""
        return len(self.query_ids)

    @property
    def means_before(self) -> dict[str, float]:
        """Metric -> mean before, in [0, 1]."""
        return {metric: difference.before for metric, difference in self.differences.items()}

    @property
    def means_after(self) -> dict[str, float]:
        """Metric -> mean after, in [0, 1]."""
        return {metric: difference.after for metric, difference in self.differences.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, ready for JSON."""
        differences = {metric: difference.to_dict() for metric, difference in self.differences.items()}
        return {"label": self.label, "queries": self.queries, "metrics": differences}


@dataclass(frozen=True)
class Breakdown:
    """All queries, each in one group.

    Attributes:
        name: ``"documents"``, ``"labels"`` or ``"clusters"``.
        groups: The groups that have queries.
    """

    name: str
    groups: tuple[Group, ...]

    def __getitem__(self, label: str) -> Group:
        """Return the group of a label."""
        return {group.label: group for group in self.groups}[label]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, ready for JSON."""
        return {"name": self.name, "groups": [group.to_dict() for group in self.groups]}


def by_documents(dataset: RetrievalDataset, train: RetrievalDataset) -> dict[str, list[str]]:
    """Group queries by whether their relevant documents have training labels: all, some or none."""
    labels = _label_counts(train)
    groups: dict[str, list[str]] = {SEEN: [], PART: [], UNSEEN: []}
    for query in dataset.queries:
        known = [document in labels for document in _relevant(dataset, query)]
        groups[SEEN if all(known) else PART if any(known) else UNSEEN].append(query)
    return groups


def by_labels(dataset: RetrievalDataset, train: RetrievalDataset) -> dict[str, list[str]]:
    """Group queries by the most training labels that any of their relevant documents has."""
    labels = _label_counts(train)
    groups: dict[str, list[str]] = {**{label: [] for _, label in _LABEL_GROUPS}, _MORE_LABELS: []}
    for query in dataset.queries:
        most = max(labels[document] for document in _relevant(dataset, query))
        groups[next((label for limit, label in _LABEL_GROUPS if most <= limit), _MORE_LABELS)].append(query)
    return groups


def document_means(before: Evaluation, after: Evaluation, metrics: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return metric -> before and after, every relevant document counting the same; empty without labels.

    A mean over queries may rise while most documents are found less well: those that many queries want pay for it. A
    query with several relevant documents counts for each of them in part.
    """
    dataset = before.dataset
    if dataset is None:
        return {}
    return {
        metric: (_document_mean(dataset, before.per_query[metric]), _document_mean(dataset, after.per_query[metric]))
        for metric in metrics
    }


def _document_mean(dataset: RetrievalDataset, values: Mapping[str, float]) -> float:
    """Return the mean over relevant documents of the mean over the queries that want each, by id in ``values``."""
    totals, weights = defaultdict[str, float](float), defaultdict[str, float](float)
    for query, value in values.items():
        relevant = _relevant(dataset, query)
        for document in relevant:
            totals[document] += value / len(relevant)
            weights[document] += 1.0 / len(relevant)
    return sum(totals[document] / weights[document] for document in weights) / max(1, len(weights))


def _label_counts(train: RetrievalDataset) -> Counter[str]:
    return Counter(document for query in train.queries for document in _relevant(train, query))


def _relevant(dataset: RetrievalDataset, query: str) -> Sequence[str]:
    return [document for document, grade in dataset.qrels.get(query, {}).items() if grade > 0]


def by_cluster(
    dataset: RetrievalDataset, query_vectors: NDArray[Any], clusters: int, seed: int
) -> dict[str, list[str]]:
    """Group queries by k-means clusters of their vectors (m, d); each is named by two queries of its middle."""
    numbers = cluster(query_vectors, clusters, seed=seed, ids=dataset.query_ids)
    ids, vectors = np.array(dataset.query_ids), unit_rows(query_vectors, "query_vectors")
    groups: dict[str, list[str]] = {}
    for number in range(clusters):
        inside = np.flatnonzero(numbers == number)
        central = inside[np.argsort(-(vectors[inside] @ vectors[inside].sum(axis=0)), kind="stable")]
        texts = dict.fromkeys(shorten(dataset.queries[query], _EXAMPLE, placeholder=" ...") for query in ids[central])
        examples = ", ".join(f'"{text}"' for text in list(texts)[:2])
        groups[f"cluster {number + 1}: {examples}"] = ids[inside].tolist()
    return groups
