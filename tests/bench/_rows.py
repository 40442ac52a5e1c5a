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


def _evaluator(collection: Collection, known: Labels) -> Callable[[torch.Tensor], torch.Tensor]:
    from nudge_integrations.selection.evaluator import Evaluator
    from nudge_integrations.solver.metrics import parse_metric

    rows = np.arange(len(known))
    evaluator = Evaluator(collection.documents, known.gains, rows, parse_metric("ndcg@10"), 1 << 27)
    return lambda adapted: torch.from_numpy(evaluator.of(adapted))


def _fit_map(name: str, collection: Collection, split: Split, seed: int) -> Any:
    import nudge_integrations.query_map

    known = concatenate(split.train, split.validation)
    options: dict[str, Any] = {"evaluate": _evaluator(collection, known), "seed": seed}
    if name == "trained query map":
        options["validation"] = np.arange(len(split.train), len(known))
    fit = getattr(nudge_integrations.query_map, MAPS[name])
    return fit(collection.documents, known.queries, known.gains, **options)


def _nudged(query_map: Any, method: str, collection: Collection, split: Split, seed: int) -> Solution:
    """Move documents towards adapted queries, none of which is judged by what it taught the map."""
    options: dict[str, Any] = {"method": method, "metric": METRIC, "seed": seed}
    known = concatenate(split.train, split.validation)
    adapted = query_map.held_out_queries
    if adapted is not None:
        return solve(collection.documents, adapted, known.gains, **options)
    train, validation = (query_map.apply(part.queries) for part in (split.train, split.validation))
    # As the paper does, without a guard: a tenth of the labels says little beyond noise.
    options |= {"validation": (validation, split.validation.gains), "standard_errors": 0.0}
    return solve(collection.documents, train, split.train.gains, **options)


def _mapped(names: Container[str], collection: Collection, split: Split, seed: int) -> dict[str, Row]:
    """Query maps alone, and nudges after them."""
    found: dict[str, Row] = {}
    for title in MAPS:
        after = {method: name for method in NUDGES if (name := f"{title} + {method}") in names}
        if title not in names and not after:
            continue
        start = time.perf_counter()
        try:
            query_map = _fit_map(title, collection, split, seed)
        except (ImportError, AttributeError) as error:
            note(f"left out, not in this version: {', '.join([title, *after.values()])} ({error})")
            continue
        fitting = time.perf_counter() - start
        if title in names:
            chosen = {"baseline": 100 * query_map.baseline, "score": 100 * query_map.score, "steps": query_map.steps}
            served = figures(collection.documents, split.test, query_map.map)
            found[title] = {"seconds": fitting, "chosen": chosen, "figures": served}
        for method, name in after.items():
            start = time.perf_counter()
            solution = _nudged(query_map, method, collection, split, seed)
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
# Their names in `nudge_integrations.query_map`, looked up when they are asked for.
MAPS = {"trained query map": "fit_trained", "ridge": "fit_ridge", "iterated-ridge": "fit_iterated_ridge"}
NUDGES = ("nudge-n", "nudge-m", "contrastive")  # after a map
MAPPED = tuple(f"{title}{end}" for title in MAPS for end in ("", *(f" + {method}" for method in NUDGES)))
CANDIDATES = ("query-map", "query-map+nudge", "nudge+query-map")
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
