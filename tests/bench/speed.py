"""Speed and memory, beside the reference and the floor; see README.md for what each case measures.

Prints a markdown report, or with ``--json`` one JSON object; never fails on a figure.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import _cases
from _cases import Row, Settings
from _default import ROWS, default
from _speed_report import expectations, report
from _tables import machine

CASES = {**_cases.CASES, "default": default}
QUICK = {"documents": 20_000, "mapped_documents": 100_000, "train": 5_000, "mapped_train": 5_000, "evaluated": 200}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*CASES, "cuda"]
    parser.add_argument("--only", type=lambda text: text.split(","), help=f"some of {','.join(names)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes and less; figures mean little")
    parser.add_argument("--documents", type=int, default=200_000, help="of the cases reference and linear")
    parser.add_argument("--mapped-documents", type=int, default=5_000_000)
    parser.add_argument("--cuda-documents", type=int, default=10_000_000)
    parser.add_argument("--train", type=int, default=50_000, help="training queries")
    parser.add_argument("--mapped-train", type=int, default=50_000)
    parser.add_argument("--evaluated", type=int, default=1_000, help="validation queries")
    parser.add_argument("--labelled", type=int, default=20_000, help="documents that queries may ask for, at most")
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=3, help="of solve and of the floor; the reference runs once")
    parser.add_argument("--rows", nargs="+", choices=ROWS, help="of the case default; all")
    parser.add_argument("--old", metavar="REVISION", help="case default: beside the code of a git revision")
    parser.add_argument(
        "--old-sizes",
        choices=("small", "all"),
        default="small",
        help="which synthetic rows the old code runs too: up to 20,000 documents, or all; real collections always",
    )
    parser.add_argument("--rounds", type=int, default=1, help="case default: new and old take turns so many times")
    parser.add_argument("--directory", type=Path, help="where the data is made and removed; default: the system's")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda adds the case cuda")
    parser.add_argument("--from", dest="saved", nargs="+", type=Path, help="measure nothing: join saved JSON objects")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of markdown")
    arguments = parser.parse_args()
    unknown = set(arguments.only or ()) - set(names)
    if unknown:
        parser.error(f"unknown case {sorted(unknown)}; expected some of {names}")
    return arguments


def _measure(arguments: argparse.Namespace) -> Row:
    values = vars(arguments) | (QUICK if arguments.quick else {})
    settings = Settings(**{name: values[name] for name in Settings.__dataclass_fields__})
    only = arguments.only or [*CASES, *(["cuda"] if arguments.device == "cuda" else [])]
    cases = {name: case(settings) for name, case in CASES.items() if name in only}
    if "cuda" in only:
        from _cuda import cuda

        cases["cuda"] = cuda(settings.shape(arguments.cuda_documents, settings.train))
    return {
        "machine": machine(settings.threads),
        "repeats": settings.repeats,
        "cases": cases,
        "expected": expectations(cases),
    }


def join(results: list[Row]) -> Row:
    """Several runs as one: cases side by side, and rows of the case default; of the same, the last counts."""
    cases: Row = {}
    for result in results:
        for name, case in result["cases"].items():
            if name == "default" and name in cases:
                before = cases[name]
                case = {"rows": before["rows"] | case["rows"], "linear": case["linear"] or before["linear"]}
            cases[name] = case
    return {**results[0], "cases": cases, "expected": expectations(cases)}


def main() -> None:
    """Measure what the arguments ask for, or read it, and print it."""
    arguments = _arguments()
    saved = arguments.saved
    result = join([json.loads(path.read_text()) for path in saved]) if saved else _measure(arguments)
    sys.stdout.write(json.dumps(result, indent=1) + "\n" if arguments.json else report(result))


if __name__ == "__main__":
    main()
