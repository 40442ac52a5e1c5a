"""Accuracy on real collections, beside no fine-tuning and the reference; see README.md for the protocol.

Prints a markdown report, or with ``--json`` one JSON object; never fails on a figure.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _clusters
import _labelled as labelled
import _partners
import _peers
import _unseen
import numpy as np
import torch
from _expected import ALONE, compare
from _labelled import Collection, Split
from _ranking import MEASURES, figures
from _tables import machine, markdown, note

from nudge_integrations.solver import solve

# Title of a row -> method of `solve`.
OURS = {name: name for name in ("nudge-n", "nudge-m", "nudge-m+n", "nudge-s", "contrastive")} | {ALONE: "auto"}
METHODS = ("none", *_peers.NAMES, *OURS, *_partners.ROWS)

Row = dict[str, Any]


def _none(collection: Collection, split: Split) -> Row:
    return {"figures": figures(collection.documents, split.test)}


def _peer(name: str) -> Callable[[Collection, Split], Row]:
    def run(collection: Collection, split: Split) -> Row:
        start = time.perf_counter()
        documents = _peers.finetune(name, collection.documents, split.train, split.validation)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "figures": figures(documents, split.test)}

    return run


def _ours(method: str, seed: int) -> Callable[[Collection, Split], Row]:
    def run(collection: Collection, split: Split) -> Row:
        known = labelled.concatenate(split.train, split.validation)
        start = time.perf_counter()
        solution = solve(collection.documents, known.queries, known.gains, method=method, metric="ndcg@10", seed=seed)
        seconds = time.perf_counter() - start
        served = figures(solution.apply(collection.documents), split.test, solution.query_map)
        return {"seconds": seconds, "chosen": _partners.described(solution), "figures": served}

    return run


def _partner(name: str, seed: int) -> Callable[[Collection, Split], Row]:
    def run(collection: Collection, split: Split) -> Row:
        start = time.perf_counter()
        row = _partners.ROWS[name](collection, split, seed)
        return {"seconds": time.perf_counter() - start, **row}

    return run


def _runner(method: str, seed: int) -> Callable[[Collection, Split], Row]:
    if method == "none":
        return _none
    if method in _peers.NAMES:
        return _peer(method)
    return _ours(OURS[method], seed) if method in OURS else _partner(method, seed)


def _summary(runs: list[Row]) -> Row:
    summary: Row = {}
    for measure in MEASURES:
        values = [run["figures"][measure] for run in runs]
        summary[measure] = {"mean": float(np.mean(values)), "spread": float(np.std(values)), "values": values}
    if "seconds" in runs[0]:
        summary["seconds"] = float(np.mean([run["seconds"] for run in runs]))
    return summary


def measure(name: str, methods: list[str], seeds: list[int]) -> Row:
    """Every method on every split of one collection."""
    collection = labelled.read(name)
    runs: dict[str, list[Row]] = {method: [] for method in methods}
    for seed in seeds:
        split = labelled.split(collection, seed)
        for method in methods:
            row = _runner(method, seed)(collection, split)
            runs[method].append({"seed": seed, **row})
            note(f"{name} seed {seed} {method}: nDCG@10 {row['figures']['ndcg@10']:.1f}")
    sizes = {"documents": len(collection.documents), "queries": len(collection.labels)}
    return {**sizes, "methods": {method: {**_summary(rows), "runs": rows} for method, rows in runs.items()}}


def _cell(figure: Row) -> str:
    return f"{figure['mean']:.1f} ± {figure['spread']:.1f}"


def report(result: Row) -> str:
    """The whole result as markdown."""
    seeds = ", ".join(map(str, result["seeds"]))
    parts = ["# Accuracy", "", f"Mean ± standard deviation over the splits of seeds {seeds}, in percent."]
    collections = result["collections"]
    for metric in MEASURES if collections else ():
        rows = [
            [method, *(_cell(found["methods"][method][metric]) for found in collections.values())]
            for method in result["methods"]
        ]
        parts += ["", f"## {metric}, test queries", "", markdown(["method", *collections], rows)]
    if result["unseen"]:
        parts += ["", "## nDCG@10 of queries whose documents were never labelled", "", _unseen.table(result["unseen"])]
    if result["clusters"]:
        parts += ["", "## nDCG@10 of queries of a cluster that was left out", "", _clusters.table(result["clusters"])]
    if result["expected"]:
        rows = [
            [line["what"], f"{line['measured']:.1f}", f"{line['at_least']:.1f}", "yes" if line["met"] else "no"]
            for line in result["expected"]
        ]
        parts += ["", "## Against what was expected", "", markdown(["nDCG@10", "measured", "at least", "met"], rows)]
    return "\n".join(parts) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*labelled.NAMES, *labelled.WHOLE]
    parser.add_argument("--collections", nargs="*", choices=names, default=list(labelled.NAMES))
    parser.add_argument("--unseen", nargs="*", choices=names, default=list(_unseen.NAMES))
    parser.add_argument("--clusters", nargs="*", choices=names, default=list(labelled.NAMES[:-1]))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--from", dest="saved", type=Path, help="measure nothing: show a saved JSON object")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of markdown")
    return parser.parse_args()


def _measure(arguments: argparse.Namespace) -> Row:
    torch.set_num_threads(arguments.threads)
    logging.getLogger("nudge_integrations").setLevel(logging.ERROR)
    asked = {*arguments.collections, *arguments.unseen, *arguments.clusters}
    absent = [name for name in asked if not labelled.available(name)]
    if absent:
        note(f"left out, not found in shared/data beside the checkout: {', '.join(sorted(absent))}")
    collections = {
        name: measure(name, arguments.methods, arguments.seeds) for name in arguments.collections if name not in absent
    }
    unseen = {name: _unseen.measure(name, arguments.seeds) for name in arguments.unseen if name not in absent}
    clusters = {name: _clusters.measure(name, arguments.seeds) for name in arguments.clusters if name not in absent}
    means = {
        name: {method: row["ndcg@10"]["mean"] for method, row in found["methods"].items()}
        for name, found in collections.items()
    }
    return {
        "machine": machine(arguments.threads),
        "seeds": arguments.seeds,
        "methods": arguments.methods,
        "collections": collections,
        "unseen": unseen,
        "clusters": clusters,
        "expected": compare(means),
    }


def main() -> None:
    """Measure what the arguments ask for, or read it, and print it."""
    arguments = _arguments()
    result = json.loads(arguments.saved.read_text()) if arguments.saved else _measure(arguments)
    sys.stdout.write(json.dumps(result, indent=1) + "\n" if arguments.json else report(result))


if __name__ == "__main__":
    main()
