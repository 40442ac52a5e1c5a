"""Queries that are run against a store before and after it is changed, and what they should then be worth."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy import sparse

from nudge_integrations.corpus import as_rows, parse_metric, unit_rows
from nudge_integrations.corpus.topk import BestSoFar
from nudge_integrations.errors import CorruptArtifactError, InputError
from nudge_integrations.pipeline.refitting import last_options
from nudge_integrations.stores.store import Floats, Searchable, StoreAdapter
from nudge_integrations.stores.store_corpus import StoreCorpus, recall_of

if TYPE_CHECKING:
    from nudge_integrations.artifact import Nudge
    from nudge_integrations.dataset import RetrievalDataset

__all__ = ["Canary", "Prediction", "exact_ids", "ids_found", "predict"]

# Queries that are enough to see that something is wrong.
_MOST_QUERIES = 256
# Scores that differ in the last bits may swap two documents.
_ROUNDING = 0.002


@dataclass(frozen=True, eq=False)
class Canary:
    """Queries with the ids of the documents that answer them.

    Attributes:
        queries: (m, d) float32 unit vectors, as they are sent to the store.
        relevant: m lists of ids and gains.
        metric: What they are measured by, such as ``"ndcg@10"``.
        hidden: Names of the queries, where a query never finds the document that has its name; else None.
        expected: (m,) float64, what each is worth once the store is changed; None before that was predicted.
    """

    queries: NDArray[np.float32]
    relevant: list[dict[str, float]]
    metric: str
    expected: NDArray[np.float64] | None = None
    hidden: list[str] | None = None

    @classmethod
    def of(cls, dataset: RetrievalDataset, queries: object, nudge: Nudge) -> Canary:
        """Take labelled queries, a sample of them where there are many, as the nudge has them sent.

        Args:
            dataset: m queries and the ids of the documents that answer them.
            queries: (m, d) their vectors, before any query map.
            nudge: What they will be sent with, and the metric.

        Raises:
            InputError: If vectors do not fit.
        """
        ids = dataset.query_ids
        wanted = [{i: float(g) for i, g in dataset.qrels.get(name, {}).items() if g > 0} for name in ids]
        rows = np.array([row for row, relevant in enumerate(wanted) if relevant], np.int64)
        if len(rows) > _MOST_QUERIES:
            rows = np.sort(np.random.default_rng(0).choice(rows, _MOST_QUERIES, replace=False))
        width = nudge.dimension or None  # None where nothing moves
        given = as_rows(queries, "query vectors", dimension=width, ids=ids)[rows]
        sent = unit_rows(nudge.transform_queries(given), "queries", dimension=width)
        alone = last_options(nudge).get("ignore_identical_ids", False)
        hidden = [ids[row] for row in rows] if alone else None
        return cls(sent, [wanted[row] for row in rows], nudge.metric, hidden=hidden)

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def depth(self) -> int:
        """How many results a query is asked for."""
        return parse_metric(self.metric).k + (self.hidden is not None)

    def without_hidden(self, found: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the ids that count among those that each query found, best first."""
        k = parse_metric(self.metric).k
        if self.hidden is None:
            return [list(ids)[:k] for ids in found]
        return [[i for i in ids if i != name][:k] for ids, name in zip(found, self.hidden, strict=True)]

    def compared(self, found: Sequence[Sequence[str]], skipped: Collection[str]) -> tuple[float, float]:
        """Return the mean found and the mean expected, over queries for no document that was left out."""
        whole = np.array([set(skipped).isdisjoint(relevant) for relevant in self.relevant], np.bool_)
        if self.expected is None or not whole.any():
            return 0.0, 0.0
        return float(self.figures(found)[whole].mean()), float(self.expected[whole].mean())

    def figures(self, found: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        """Return the (m,) metric of each query for the ids that it found, best first."""
        metric = parse_metric(self.metric)
        values = np.zeros(len(self))
        for query, (ids, relevant) in enumerate(zip(self.without_hidden(found), self.relevant, strict=True)):
            names = list(relevant)
            gains = sparse.csr_array(np.array([list(relevant.values())]))
            place = {document_id: rank for rank, document_id in enumerate(ids, start=1)}
            ranks = np.array([place.get(name, metric.k + 1) for name in names], np.int64)
            order = np.empty(len(names), np.int64)
            order[np.argsort(ranks, kind="stable")] = np.arange(1, len(names) + 1)
            values[query] = (metric.weights(gains) * metric.contribution(ranks, order)).sum()
        return values

    def to_bytes(self) -> bytes:
        """Write it as safetensors."""
        note = {"relevant": json.dumps(self.relevant), "metric": self.metric, "hidden": self.hidden}
        expected = np.zeros(0) if self.expected is None else self.expected
        note_bytes = np.frombuffer(json.dumps(note).encode(), np.uint8)
        return save({"queries": self.queries, "expected": expected, "note": note_bytes})

    @classmethod
    def from_bytes(cls, data: bytes) -> Canary:
        """Read what `to_bytes` wrote.

        Raises:
            CorruptArtifactError: If it is something else.
        """
        try:
            arrays = load(data)
            note: dict[str, Any] = json.loads(arrays["note"].tobytes())
            about = json.loads(note["relevant"]), note["metric"], arrays["expected"], note.get("hidden")
            return cls(as_rows(arrays["queries"], "canary queries"), *about)._checked()
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise CorruptArtifactError(f"the canary queries cannot be read ({error}); fit again") from error

    def _checked(self) -> Canary:
        """Raise ValueError or TypeError where what was read cannot be canary queries."""
        grades = [grade for relevant in self.relevant for grade in relevant.values()]
        names = [name for relevant in self.relevant for name in relevant]
        counts = {len(self.relevant), len(self if self.hidden is None else self.hidden)}
        if self.expected is None or self.expected.shape not in ((0,), (len(self),)) or counts != {len(self)}:
            raise ValueError(f"other counts than {len(self)} queries")
        if not all(isinstance(name, str) for name in (*names, *(self.hidden or ()))) or not all(self.relevant):
            raise ValueError("an id is no text, or a query asks for nothing")
        if not (np.isfinite(np.array(grades, float)) & (np.array(grades, float) > 0)).all():
            raise ValueError("a gain is no number above 0")
        parse_metric(self.metric)
        return self


@dataclass(frozen=True)
class Prediction:
    """The metric of canary queries before a change, and what it should be after it.

    Attributes:
        metric: What they are measured by.
        queries: How many.
        before: The figure now, by the store's own search.
        after: The exact figure once all rows have moved.
        tolerance: How much less is still taken for the same: what the store's own search misses now, and rounding.
        recall: Which part of the exact best the store's own search finds now.
    """

    metric: str
    queries: int
    before: float
    after: float
    tolerance: float
    recall: float

    def __str__(self) -> str:
        return (
            f"{self.metric} of {self.queries} labelled queries {self.before:.4f} -> {self.after:.4f} "
            f"(rolled back below {self.after - self.tolerance:.4f})"
        )


def ids_found(adapter: StoreAdapter, corpus: StoreCorpus, queries: NDArray[np.float32], k: int) -> list[list[str]]:
    """Return what a store itself finds for queries; a pass over all vectors where it has no search of its own."""
    if isinstance(adapter, Searchable):
        return adapter.search(queries, k, exact=False)[0]
    return exact_ids(corpus, queries, k)


def exact_ids(corpus: StoreCorpus, queries: NDArray[np.float32], k: int) -> list[list[str]]:
    """Return the best k ids of each query, by a pass over all vectors."""
    return [[corpus.ids[row] for row in rows if row < len(corpus)] for rows in corpus.search(queries, k).rows]


def predict(
    canary: Canary, corpus: StoreCorpus, held: StoreCorpus, ids: Sequence[str], target: Floats
) -> tuple[Canary, Prediction]:
    """Say what queries are worth on a store now, and once some rows are at their targets.

    Args:
        canary: The queries.
        corpus: The store, base vectors in place of those that an earlier nudge moved.
        held: The store as it is now.
        ids: r ids that move.
        target: (r, d) where to.

    Returns:
        The queries with what each should be worth, and the means.

    Raises:
        InputError: If there are no queries, or they have another dimension.
    """
    if not len(canary) or canary.queries.shape[1] != corpus.dimension:
        raise InputError(f"canary queries are {canary.queries.shape}; give at least one, of {corpus.dimension} numbers")
    k = canary.depth
    own = ids_found(held.adapter, held, canary.queries, k)
    exact = exact_ids(held, canary.queries, k)
    before, best = float(canary.figures(own).mean()), float(canary.figures(exact).mean())
    expected = canary.figures(_after(canary.queries, corpus, held, list(ids), target, k))
    # Twice what the store's own search misses now, and half a query: documents come and go meanwhile.
    tolerance = _ROUNDING + 2.0 * max(0.0, best - before) + 0.5 / len(canary)
    after, recall = float(expected.mean()), recall_of(own, exact)
    return replace(canary, expected=expected), Prediction(canary.metric, len(canary), before, after, tolerance, recall)


def _after(
    queries: NDArray[np.float32], corpus: StoreCorpus, held: StoreCorpus, ids: list[str], target: Floats, k: int
) -> list[list[str]]:
    """Return the best k ids of each query once rows have moved: the best that stay, and all that move."""
    moving = np.array([corpus.row_of[document_id] for document_id in ids], np.int64)
    depth = min(len(corpus), 4 * k)
    while True:
        found = held.search(queries, depth)
        stays = ~np.isin(found.rows, moving) & (found.rows < len(corpus))
        if depth == len(corpus) or (stays.sum(axis=1) >= min(k, len(corpus) - len(moving))).all():
            break
        depth = min(len(corpus), 8 * depth)
    best = BestSoFar(torch.from_numpy(queries), k, len(ids))
    best.see(torch.from_numpy(np.asarray(target, np.float32)), 0)
    scores, places = (part.numpy() for part in best.result())
    results = []
    for query in range(len(queries)):
        stay = zip(found.scores[query][stays[query]], found.rows[query][stays[query]], strict=True)
        move = [(s, int(moving[p])) for s, p in zip(scores[query], places[query], strict=True) if p < len(ids)]
        ranked = sorted([*stay, *move], key=lambda one: (-one[0], one[1]))[:k]
        results.append([corpus.ids[row] for _, row in ranked])
    return results
