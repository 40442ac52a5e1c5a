"""Accuracy on real collections, beside no fine-tuning, the reference and other ways; see README.md for the protocol.

Prints a markdown report, or with ``--json`` one JSON object; never fails on a figure.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import _labelled as labelled
import numpy as np
import torch
from _against import difference_table, differences
from _expected import compare
from _ranking import MEASURES
from _rows import PROTECTED, ROWS, rows
from _splits import TABLES
from _tables import TITLES, machine, markdown, note

Row = dict[str, Any]


def measure(table: str, name: str, methods: list[str], seeds: list[int]) -> Row:
    """Every method on every split of one collection."""
    collection = labelled.read(name)
    runs: dict[str, list[Row]] = {method: [] for method in methods}
    for seed in seeds:
        for parts in TABLES[table][0](collection.labels, seed):
            split = labelled.Split(*(collection.labels.take(part) for part in parts))
            for method, row in rows(methods, collection, split, seed).items():
                runs[method].append({"seed": seed, "judged": len(split.test), **row})
                note(f"{table} {name} seed {seed} {method}: nDCG@10 {row['figures']['ndcg@10']:.1f}")
    sizes = {"documents": len(collection.documents), "queries": len(collection.labels)}
    return {**sizes, "methods": {method: _summary(found) for method, found in runs.items() if found}}


def _summary(runs: list[Row]) -> Row:
    summary: Row = {}
    for measure in runs[0]["figures"]:
        values = [run["figures"][measure] for run in runs]
        summary[measure] = {"mean": float(np.mean(values)), "spread": float(np.std(values)), "values": values}
    return {**summary, "seconds": float(np.mean([run["seconds"] for run in runs])), "runs": runs}


def report(result: Row) -> str:
    """The whole result as markdown."""
    parts = ["# Accuracy", "", "Mean ± standard deviation over the splits, in percent."]
    for table, collections in result["tables"].items():
        every = [run for found in collections.values() for row in found["methods"].values() for run in row["runs"]]
        seeds = ", ".join(map(str, sorted({run["seed"] for run in every})))
        for metric in MEASURES if table == "test" else ("ndcg@10",):
            if not any(metric in row for found in collections.values() for row in found["methods"].values()):
                continue  # a run that was saved before the measure was taken
            parts += ["", f"## {metric}, {TITLES[table]} (seeds {seeds})", "", _grid(collections, metric)]
    parts += ["", "## Seconds for one fit", "", _grid(result["tables"].get("test", {}), "seconds")]
    if result["expected"]:
        lines = [
            [line["what"], f"{line['measured']:.2f}", f"{line['at_least']:.1f}", "yes" if line["met"] else "no"]
            for line in result["expected"]
        ]
        parts += ["", "## Against what was expected", "", markdown(["nDCG@10", "measured", "at least", "met"], lines)]
    if result.get("against"):
        parts += ["", "## Against an earlier run, nDCG@10 of the same splits", "", difference_table(result["against"])]
    return "\n".join(parts) + "\n"


def _grid(collections: dict[str, Row], metric: str) -> str:
    methods = [method for method in ROWS if any(method in found["methods"] for found in collections.values())]
    cells = [
        [method, *(_cell(found["methods"].get(method, {}).get(metric)) for found in collections.values())]
        for method in methods
    ]
    return markdown(["method", *collections], cells)


def _cell(figure: Any) -> str:
    if figure is None:
        return ""
    return f"{figure:.1f}" if isinstance(figure, float) else f"{figure['mean']:.1f} ± {figure['spread']:.1f}"


def _expected(tables: dict[str, Row]) -> list[Row]:
    means = {
        table: {
            name: {method: row["ndcg@10"]["mean"] for method, row in found["methods"].items()}
            for name, found in collections.items()
        }
        for table, collections in tables.items()
    }
    return compare(means)


def join(results: list[Row]) -> Row:
    """Several runs as one: tables, collections, methods and seeds side by side; of the same, the last counts."""
    tables: dict[str, Row] = {table: {} for table in TABLES}
    for result in results:
        for table, collections in result["tables"].items():
            for name, found in collections.items():
                methods = tables[table].setdefault(name, {**found, "methods": {}})["methods"]
                for method, row in found["methods"].items():
                    again = {run["seed"] for run in row["runs"]}
                    kept = [run for run in methods.get(method, {"runs": []})["runs"] if run["seed"] not in again]
                    methods[method] = _summary(sorted([*kept, *row["runs"]], key=lambda run: run["seed"]))
    tables = {
        table: {name: found[name] for name in TABLES[table][1] if name in found}
        for table, found in tables.items()
        if found
    }
    seeds = sorted({seed for result in results for seed in result["seeds"]})
    return {**results[0], "seeds": seeds, "tables": tables, "expected": _expected(tables)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*labelled.NAMES, *labelled.WHOLE]
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--collections", nargs="+", choices=names, help="of each table; all that belong to it")
    parser.add_argument("--methods", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--from", dest="saved", nargs="+", type=Path, help="measure nothing: join saved JSON objects")
    parser.add_argument("--against", nargs="+", type=Path, help="also compare with saved JSON objects, joined")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of markdown")
    return parser.parse_args()


def _measure(arguments: argparse.Namespace) -> Row:
    torch.set_num_threads(arguments.threads)
    logging.getLogger("nudge_integrations").setLevel(logging.ERROR)
    tables: dict[str, Row] = {}
    for table in arguments.tables:
        methods = [method for method in arguments.methods if method != PROTECTED or table == "unseen"]
        for name in arguments.collections or TABLES[table][1]:
            if labelled.available(name):
                tables.setdefault(table, {})[name] = measure(table, name, methods, arguments.seeds)
            else:
                note(f"left out, not found in shared/data beside the checkout: {name}")
    return {
        "machine": machine(arguments.threads),
        "seeds": arguments.seeds,
        "tables": tables,
        "expected": _expected(tables),
    }


def _read(paths: list[Path]) -> Row:
    return join([json.loads(path.read_text()) for path in paths])


def main() -> None:
    """Measure what the arguments ask for, or read it, and print it."""
    arguments = _arguments()
    saved = arguments.saved
    result = _read(saved) if saved else _measure(arguments)
    if arguments.against:
        result["against"] = differences(result["tables"], _read(arguments.against)["tables"])
    sys.stdout.write(json.dumps(result, indent=1) + "\n" if arguments.json else report(result))


if __name__ == "__main__":
    main()
