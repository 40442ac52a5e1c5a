"""Rows of accuracy.py: what is made of training and validation queries, and what it brings to test queries."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Collection as Container
from typing import Any

import _entry
import _peers
import numpy as np
import torch
from _labelled import Collection, FloatArray, Labels, Split, concatenate
from _ranking import figures, judge, top
from _tables import note

from nudge_integrations.errors import InputError
from nudge_integrations.query_map import QueryMap, fit_trained
from nudge_integrations.solver import Solution, solve

Row = dict[str, Any]
Runner = Callable[[Collection, Split, int], Row]

METRIC = "ndcg@10"

# PEFA's weight of a document's own vector (PEFA-XS), and of its score beside the neighbours' (PEFA-XL): its middle.
WEIGHT, NEIGHBOURS = 0.5, 32
# OATS' interpolation, also its middle: the same trust in a document's text as in its queries, tuned on nothing.
OATS_WEIGHT = 0.5


def _unit(rows: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def pefa_xs(collection: Collection, split: Split, seed: int) -> Row:
    """Documents plus the unit mean of their queries: NUDGE-M with a fixed step."""
    known = concatenate(split.train, split.validation)
    sums = np.asarray((known.gains > 0).astype(np.float32).T @ known.queries, dtype=np.float32)
    moved = WEIGHT * collection.documents + (1.0 - WEIGHT) * _unit(sums)
    return {"figures": figures(moved.astype(np.float32), split.test)}


def oats(collection: Collection, split: Split, seed: int) -> Row:
    """Documents interpolated towards the centroid of their queries, made unit length; the others stay."""
    known = concatenate(split.train, split.validation)
    answers = (known.gains > 0).astype(np.float32)
    counts = np.asarray(answers.sum(axis=0), dtype=np.float32).reshape(-1, 1)
    centroids = np.asarray(answers.T @ known.queries) / np.maximum(counts, 1.0)
    moved = (1.0 - OATS_WEIGHT) * collection.documents + OATS_WEIGHT * centroids
    return {"figures": figures(np.where(counts > 0, _unit(moved.astype(np.float32)), collection.documents), split.test)}


def pefa_xl(collection: Collection, split: Split, seed: int) -> Row:
    """A document's score beside what the nearest labelled queries say for it."""
    known, queries = concatenate(split.train, split.validation), split.test.queries
    likeness = queries @ known.queries.T
    far = np.argsort(-likeness, axis=1, kind="stable")[:, NEIGHBOURS:]
    np.put_along_axis(likeness, far, 0.0, axis=1)
    votes = likeness @ (known.gains > 0).astype(np.float32).toarray()
    scores = WEIGHT * queries @ collection.documents.T + (1.0 - WEIGHT) * votes / NEIGHBOURS
    return {"figures": _means(scores.astype(np.float32), split.test)}


def _means(scores: FloatArray, labels: Labels) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in judge(top(scores), labels).items()}


def _trained(collection: Collection, split: Split, seed: int) -> QueryMap:
    """Train on the training queries; the validation queries say when to stop."""
    known = concatenate(split.train, split.validation)

    def ndcg(adapted: torch.Tensor) -> torch.Tensor:
        scores = adapted.numpy() @ collection.documents.T
        return torch.from_numpy(judge(top(scores), known)[METRIC] / 100.0)

    held_out = np.arange(len(split.train), len(known))
    labels = (collection.documents, known.queries, known.gains)
    return fit_trained(*labels, evaluate=ndcg, validation=held_out, seed=seed)


def _mapped(names: Container[str], collection: Collection, split: Split, seed: int) -> dict[str, Row]:
    """A trained query map alone, and nudges after it, as the paper does: without a guard."""
    after = {method: name for method in NUDGES if (name := f"{TRAINED} + {method}") in names}
    if TRAINED not in names and not after:
        return {}
    start = time.perf_counter()
    query_map = _trained(collection, split, seed)
    fitting = time.perf_counter() - start
    found: dict[str, Row] = {}
    if TRAINED in names:
        chosen = {"baseline": 100 * query_map.baseline, "score": 100 * query_map.score, "steps": query_map.steps}
        served = figures(collection.documents, split.test, query_map.map)
        found[TRAINED] = {"seconds": fitting, "chosen": chosen, "figures": served}
    train, validation = (query_map.apply(part.queries) for part in (split.train, split.validation))
    for method, name in after.items():
        start = time.perf_counter()
        held_out = (validation, split.validation.gains)
        solution = solve(
            collection.documents,
            train,
            split.train.gains,
            method=method,
            metric=METRIC,
            seed=seed,
            validation=held_out,
            standard_errors=0.0,
        )
        seconds = fitting + time.perf_counter() - start
        found[name] = {"seconds": seconds, **_served(solution, collection, split, query_map.map)}
    return found


def _none(collection: Collection, split: Split, seed: int) -> Row:
    return {"figures": figures(collection.documents, split.test)}


def _peer(name: str) -> Runner:
    def run(collection: Collection, split: Split, seed: int) -> Row:
        return {
            "figures": figures(_peers.finetune(name, collection.documents, split.train, split.validation), split.test)
        }

    return run


def _nudge(method: str) -> Runner:
    def run(collection: Collection, split: Split, seed: int) -> Row:
        known = concatenate(split.train, split.validation)
        solution = solve(collection.documents, known.queries, known.gains, method=method, metric=METRIC, seed=seed)
        return _served(solution, collection, split)

    return run


def _served(solution: Solution, collection: Collection, split: Split, query_map: FloatArray | None = None) -> Row:
    chosen = {
        "method": solution.method,
        "step": solution.step,
        "temperature": solution.temperature,
        "status": solution.status,
        "baseline": 100 * solution.baseline,
        "score": 100 * solution.score,
    }
    served = figures(solution.apply(collection.documents), split.test, query_map)
    return {"chosen": chosen, "figures": served}


ALONE: dict[str, Runner] = {
    "none": _none,
    "PEFA-XS": pefa_xs,
    "PEFA-XL": pefa_xl,
    "OATS": oats,
    **{name: _peer(name) for name in _peers.NAMES},
    **{name: _nudge(name) for name in ("nudge-n", "nudge-m", "nudge-m+n", "nudge-s", "contrastive")},
    "auto, nudges alone": _nudge("auto"),
}
TRAINED = "trained query map"
NUDGES = ("nudge-n", "nudge-m", "contrastive")  # after a map
MAPPED = (TRAINED, *(f"{TRAINED} + {method}" for method in NUDGES))
CANDIDATES = ("query-map", "query-map+nudge", "ridge", "iterated-ridge")
AUTO, PROTECTED = "auto", "auto, unseen_weight=.5"
# Options of `select`.
SELECTED: dict[str, Row] = {
    **{name: {"candidates": (name,)} for name in CANDIDATES},
    AUTO: {},
    PROTECTED: {"unseen_weight": 0.5},
}
ROWS = (*ALONE, *MAPPED, *SELECTED)


def rows(names: Container[str], collection: Collection, split: Split, seed: int) -> dict[str, Row]:
    """Return the rows asked for; without those of candidates and maps that this version of the package lacks."""
    found = {}
    for name, run in ALONE.items():
        if name in names:
            start = time.perf_counter()
            row = run(collection, split, seed)
            found[name] = {"seconds": time.perf_counter() - start, **row}
    found |= _mapped(names, collection, split, seed)
    for name in SELECTED:
        if name in names:
            try:
                found[name] = _selected(name, collection, split, seed)
            except InputError as error:
                if name not in CANDIDATES:
                    raise
                note(f"left out, not in this version: {name} ({error})")
    return found


def _selected(name: str, collection: Collection, split: Split, seed: int) -> Row:
    known = concatenate(split.train, split.validation)
    select = _entry.select()
    start = time.perf_counter()
    solution = select(collection.documents, known.queries, known.gains, metric=METRIC, seed=seed, **SELECTED[name])
    seconds = time.perf_counter() - start
    return {"seconds": seconds, **_served(solution, collection, split, solution.query_map)}
