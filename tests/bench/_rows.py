"""Rows of accuracy.py: what is made of training and validation queries, and what it brings to test queries."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from collections.abc import Collection as Container
from typing import Any

import _peers
import numpy as np
import torch
from _labelled import Collection, FloatArray, Labels, Split, concatenate
from _ranking import figures, judge, top

from nudge_integrations.query_map import QueryMap, fit_iterated_ridge, fit_ridge, fit_trained
from nudge_integrations.selection import CANDIDATES
from nudge_integrations.selection.evaluator import Evaluator
from nudge_integrations.selection.selecting import evaluate_candidates
from nudge_integrations.solver import Solution, solve
from nudge_integrations.solver.metrics import parse_metric
from nudge_integrations.solver.options import Options

Row = dict[str, Any]
Runner = Callable[[Collection, Split, int], Row]

METRIC = "ndcg@10"

# PEFA's weight of a document's own vector (PEFA-XS), and of its score beside the neighbours' (PEFA-XL): its middle.
WEIGHT, NEIGHBOURS = 0.5, 32


def _unit(rows: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def pefa_xs(collection: Collection, split: Split, seed: int) -> Row:
    """Documents plus the unit mean of their queries: NUDGE-M with a fixed step."""
    known = concatenate(split.train, split.validation)
    sums = np.asarray((known.gains > 0).astype(np.float32).T @ known.queries, dtype=np.float32)
    moved = WEIGHT * collection.documents + (1.0 - WEIGHT) * _unit(sums)
    return {"figures": figures(moved.astype(np.float32), split.test)}


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
    rows = np.arange(len(known))
    evaluator = Evaluator(collection.documents, known.gains, rows, parse_metric("ndcg@10"), 1 << 27)
    return lambda adapted: torch.from_numpy(evaluator.of(adapted))


def _fit_map(name: str, collection: Collection, split: Split, seed: int) -> QueryMap:
    known = concatenate(split.train, split.validation)
    options: dict[str, Any] = {"evaluate": _evaluator(collection, known), "seed": seed}
    if name == "trained query map":
        options["validation"] = np.arange(len(split.train), len(known))
    return MAPS[name](collection.documents, known.queries, known.gains, **options)


def _nudged(query_map: QueryMap, method: str, collection: Collection, split: Split, seed: int) -> Solution:
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
        query_map = _fit_map(title, collection, split, seed)
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
    **{name: _peer(name) for name in _peers.NAMES},
    **{name: _nudge(name) for name in ("nudge-n", "nudge-m", "nudge-m+n", "nudge-s", "contrastive")},
    "auto, nudges alone": _nudge("auto"),
}
MAPS: dict[str, Callable[..., QueryMap]] = {
    "trained query map": fit_trained,
    "ridge": fit_ridge,
    "iterated-ridge": fit_iterated_ridge,
}
NUDGES = ("nudge-n", "nudge-m", "contrastive")  # after a map
MAPPED = tuple(f"{title}{end}" for title in MAPS for end in ("", *(f" + {method}" for method in NUDGES)))
# Candidates of one and the same fit; the seconds are those of them all, and so `auto`'s.
TOGETHER = {name: (name,) for name in CANDIDATES if name != "nudge"} | {"auto": CANDIDATES}
PROTECTED = "auto, unseen_weight=.5"
ROWS = (*ALONE, *MAPPED, *TOGETHER, PROTECTED)


def rows(names: Container[str], collection: Collection, split: Split, seed: int) -> dict[str, Row]:
    """Return the rows asked for."""
    found = {}
    for name, run in ALONE.items():
        if name in names:
            start = time.perf_counter()
            row = run(collection, split, seed)
            found[name] = {"seconds": time.perf_counter() - start, **row}
    found |= _mapped(names, collection, split, seed)
    for weight, titles in ((0.0, TOGETHER), (0.5, {PROTECTED: CANDIDATES})):
        asked = {title: candidates for title, candidates in titles.items() if title in names}
        found |= _together(asked, weight, collection, split, seed) if asked else {}
    return found


def _together(
    asked: Mapping[str, tuple[str, ...]], unseen_weight: float, collection: Collection, split: Split, seed: int
) -> dict[str, Row]:
    known = concatenate(split.train, split.validation)
    options = Options(metric=METRIC, unseen_weight=unseen_weight, seed=seed)
    start = time.perf_counter()
    result = evaluate_candidates(options, collection.documents, known.queries, known.gains, CANDIDATES)
    seconds = time.perf_counter() - start
    return {
        title: {"seconds": seconds, **_served(solution, collection, split, solution.query_map)}
        for title, candidates in asked.items()
        for solution in (result.best(candidates),)
    }
