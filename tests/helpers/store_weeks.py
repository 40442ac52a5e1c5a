"""Two weeks of a store that serves: nudged in place, changed by its users meanwhile, nudged again, taken back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from framework_stores import Filling, FrameworkStore
from numpy.typing import NDArray

from nudge_integrations import RetrievalDataset
from nudge_integrations.solver import solve
from nudge_integrations.stores import LiveStore, Rollout, fit_store, open_store
from nudge_integrations.stores.store import fetched

Rows = NDArray[np.float32]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Labelled:
    """Documents, queries with their vectors, and which documents answer them."""

    filling: Filling
    query_vectors: Rows
    dataset: RetrievalDataset

    def about(self, ids: Sequence[str], part: slice = slice(None)) -> tuple[RetrievalDataset, Rows]:
        """Take the queries of a part whose documents are all among some ids, with their vectors."""
        there, every = set(ids), self.dataset.query_ids
        rows = [row for row in range(len(every))[part] if self.dataset.qrels[every[row]].keys() <= there]
        names = [every[row] for row in rows]
        corpus = {i: text for i, text in self.dataset.corpus.items() if i in there}
        queries = {name: self.dataset.queries[name] for name in names}
        labels = RetrievalDataset(corpus, queries, {name: self.dataset.qrels[name] for name in names})
        return labels, self.query_vectors[rows]


@dataclass(frozen=True)
class Week:
    """One rollout: its time in seconds, and whether it is right.

    Attributes:
        seconds: By the name of the step.
        rows: How many rows changed.
        right: Which part of the queries found exactly what `solve` ranks first, through the framework's own search.
    """

    seconds: dict[str, float]
    rows: int
    right: float


class Weeks:
    """One store of a framework, what it must hold, and what happens to it.

    Args:
        kind: Of store.
        folder: For its files and the journal.
        labelled: Documents and labels; the last ones are inserted later.
        changes: How many documents are inserted, deleted and edited in between.
    """

    def __init__(self, kind: FrameworkStore, folder: Path, labelled: Labelled, changes: tuple[int, int, int]) -> None:
        self.kind, self.folder, self.labelled = kind, folder, labelled
        self.inserted, self.deleted, self.edited = changes
        whole = labelled.filling
        self.now = part_of(whole, np.arange(len(whole.ids) - self.inserted))
        self.seconds: dict[str, float] = {}
        self.opened: list[LiveStore] = []
        self.store = self.timed("fill", lambda: kind.fill(folder, self.now))
        self.base = self.held()

    def timed(self, name: str, action: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        result = action()
        self.seconds[name] = time.perf_counter() - started
        return result

    def live(self) -> LiveStore:
        live = open_store(self.store, journal=self.folder / "journal", **self.kind.options(self.folder, self.now))
        self.opened.append(live)
        return live

    def close(self) -> None:
        """Close all connections that were opened, and the framework's own."""
        for live in self.opened:
            live.close()
        self.kind.close(self.store)

    def held(self) -> dict[str, Any]:
        """Return all vectors that the store holds."""
        live = self.live()
        there, rows = fetched(live.adapter, list(self.now.ids))
        assert there.all()
        assert live.info.count == len(self.now.ids)
        return dict(zip(self.now.ids, rows, strict=True))

    def nudged(self, part: slice) -> tuple[Week, Rollout]:
        """Fit to the labels of a part, plan, apply, verify, and compare with the exact ranking."""
        live = self.live()
        dataset, queries = self.labelled.about(self.now.ids, part)
        options: dict[str, Any] = {"method": "nudge-n", "query_vectors": queries}
        nudge = self.timed("fit", lambda: fit_store(live, dataset, "all-MiniLM-L6-v2", **options))
        plan = self.timed("plan", lambda: live.plan(nudge))
        run = self.timed("apply", lambda: live.apply(plan))
        assert self.timed("verify", lambda: run.verify()).ok
        assert run.skipped == {}
        base = np.array([self.base[i] for i in self.now.ids], np.float32)
        relevance = RetrievalDataset(dict.fromkeys(self.now.ids, ""), dataset.queries, dataset.qrels).relevance()
        after = solve(base, queries, relevance, method="nudge-n").apply(base)
        return Week(dict(self.seconds), plan.rows, self.right(queries, after)), run

    def right(self, queries: Rows, documents: Rows, k: int = 10) -> float:
        """Say for which part of up to 100 queries the framework finds what is ranked first, ties aside."""
        row_of = {document_id: row for row, document_id in enumerate(self.now.ids)}
        asked = queries[: min(100, len(queries))]
        found = [self.kind.found(self.store, query, k) for query in asked]
        if self.kind.name == "llama-index-faiss":  # it names rows
            found = [[self.now.ids[int(name)] for name in names] for names in found]
        scores = asked @ documents.T
        best = -np.sort(-scores, axis=1)[:, :k]
        served = np.array([scores[query, [row_of[i] for i in names]] for query, names in enumerate(found)])
        return float((np.abs(served - best) < 1e-5).all(axis=1).mean())

    def change(self, seed: int = 0) -> None:
        """Insert, delete and edit documents through the framework, as its users do; some of them have moved."""
        whole = self.labelled.filling
        chosen = np.random.default_rng(seed).permutation(len(self.now.ids))
        gone, other = chosen[: self.deleted], chosen[self.deleted : self.deleted + self.edited]
        turned = (whole.vectors[other] + whole.vectors[np.roll(other, 1)]).astype(np.float32)
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        edited = replace(part_of(whole, other), vectors=turned)
        edited = replace(edited, texts=[f"{text} (edited)" for text in edited.texts])
        new = part_of(whole, np.arange(len(self.now.ids), len(whole.ids)))
        self.kind.exchange(self.store, [self.now.ids[row] for row in [*gone, *other]], [edited, new])
        stays = np.setdiff1d(np.arange(len(self.now.ids)), [*gone, *other])
        self.now = joined(part_of(self.now, stays), edited, new)
        live = self.live()
        _, rows = fetched(live.adapter, [*edited.ids, *new.ids])
        self.base |= dict(zip([*edited.ids, *new.ids], rows, strict=True))

    def as_before(self) -> bool:
        """Say whether every vector is what it was before the first nudge, or since its last edit: bit for bit, or to
        the last bits where the store makes vectors unit length."""
        held, tolerance = self.held(), self.live().info.tolerance
        rows = [(held[i], self.base[i]) for i in self.now.ids]
        return all(np.array_equal(a, b) if not tolerance else np.abs(a - b).max() <= tolerance for a, b in rows)


def part_of(filling: Filling, rows: NDArray[np.int64]) -> Filling:
    """Take some rows."""
    ids, texts = ([names[row] for row in rows] for names in (filling.ids, filling.texts))
    tenants = [filling.tenants[row] for row in rows] if filling.tenants else ()
    return Filling(ids, texts, filling.vectors[rows], tenants, filling.queries)


def joined(*parts: Filling) -> Filling:
    """Put several together."""
    ids, texts, tenants = ([name for part in parts for name in getattr(part, f)] for f in ("ids", "texts", "tenants"))
    return Filling(ids, texts, np.concatenate([part.vectors for part in parts]), tenants, parts[0].queries)
