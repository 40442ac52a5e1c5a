"""speed.py's figures as markdown, and beside what was expected; nothing here gates."""

from __future__ import annotations

import json
from typing import Any

import _default_report
from _tables import markdown

Row = dict[str, Any]
Line = tuple[str, float, str, float]

EXPECTED_FASTER = {"nudge-ft N": ("solve, nudge-n", 50.0), "nudge-ft M": ("solve, nudge-m", 6.0)}


def expectations(cases: Row) -> list[Row]:
    """One line an expectation: what, measured, the limit, met."""
    lines = [*_reference_lines(cases.get("reference")), *_mapped_lines(cases.get("mapped"))]
    lines += _default_report.expected(cases.get("default"))
    return [
        {
            "what": what,
            "measured": value,
            "limit": f"{sign} {limit:g}",
            "met": bool(value >= limit if sign == "at least" else value <= limit),
        }
        for what, value, sign, limit in lines
    ]


def _reference_lines(case: Row | None) -> list[Line]:
    if case is None:
        return []
    rows = case["rows"]
    lines = [
        (f"{name}: seconds over {ours}", rows[name]["seconds"] / rows[ours]["seconds"], "at least", limit)
        for name, (ours, limit) in EXPECTED_FASTER.items()
    ]
    ours, theirs = rows["solve, nudge-n"], rows["nudge-ft N"]
    lines.append(("solve, nudge-n: seconds over the floor", ours["seconds"] / rows["floor"]["seconds"], "at most", 2.0))
    memory = ("memory_mib", "over_import_mib")
    return [*lines, *((f"solve, nudge-n: {m} over nudge-ft N's", ours[m] / theirs[m], "at most", 0.2) for m in memory)]


def _mapped_lines(case: Row | None) -> list[Line]:
    if case is None:
        return []
    ours, floor = case["rows"]["solve, nudge-n"], case["rows"]["floor"]
    return [
        ("memory map: anonymous memory, MiB", ours["memory_mib"], "at most", 1.5e9 / 2**20),
        ("memory map: seconds over reading and multiplying", ours["seconds"] / floor["seconds"], "at most", 1.5),
        ("memory map: seconds over the product alone", ours["seconds"] / floor["product_seconds"], "at most", 1.5),
    ]


def _sizes(shape: Row) -> str:
    return (
        f"{shape['documents']:,} x {shape['dimension']} {shape['dtype']} documents, {shape['train']:,} train and "
        f"{shape['evaluated']:,} validation queries over {shape['labelled']:,} documents, seed {shape['seed']}"
    )


def _run_table(rows: Row) -> str:
    header = [
        "run",
        "seconds",
        "over floor",
        "peak MiB",
        "over imports",
        "over inputs",
        "moved",
        "nDCG@10, new queries",
    ]
    floor = rows["floor"]["seconds"]
    cells = [
        [
            name,
            f"{row['seconds']:.2f}",
            f"{row['seconds'] / floor:.2f}",
            f"{row['memory_mib']:,.0f}",
            f"{row['over_import_mib']:,.0f}",
            f"{row['over_inputs_mib']:,.0f}",
            f"{row['moved']:,}" if "moved" in row else "",
            f"{row['ndcg@10']:.1f}" if "ndcg@10" in row else "",
        ]
        for name, row in rows.items()
    ]
    return markdown(header, cells)


def _reference(case: Row) -> list[str]:
    return [
        "## The reference and the floor, same data, threads and validation queries",
        "",
        f"{_sizes(case['shape'])}. Without fine-tuning nDCG@10 is {case['none ndcg@10']:.1f}. "
        f"Floor: {case['rows']['floor']['form']}.",
        "",
        _run_table(case["rows"]),
    ]


def _mapped(case: Row) -> list[str]:
    floor = case["rows"]["floor"]
    return [
        "## A memory map on disk",
        "",
        f"{_sizes(case['shape'])}. The product alone takes {floor['product_seconds']:.2f} s; the floor row also reads "
        f"and converts every block ({floor['form']}).",
        "",
        _run_table(case["rows"]),
    ]


def _linear(case: Row) -> list[str]:
    parts = ["## Cost against size, nudge-n", ""]
    sizes = {"documents": "documents", "evaluated queries": "evaluated", "labelled documents": "labelled"}
    rows = []
    for name, points in case.items():
        first = points[0]
        for point in points:
            size, start = point["shape"][sizes[name]], first["shape"][sizes[name]]
            ratio = f"{point['seconds'] / first['seconds']:.2f}"
            rows.append([name, f"{size:,}", f"{size / start:.1f}", f"{point['seconds']:.2f}", ratio])
    return [*parts, markdown(["what grows", "size", "size ratio", "seconds", "time ratio"], rows)]


def _real(case: Row) -> list[str]:
    rows = [
        [
            f"{name}, {method}",
            *(row["queries"], row["labels"], f"{row['seconds']:.2f}"),
            f"{found['embedding_seconds']:.0f}",
            f"{found['embedding_seconds'] / row['seconds']:.0f}",
            *(f"{row['baseline']:.1f}", f"{row['score']:.1f}"),
        ]
        for name, found in case["collections"].items()
        for method, row in found["rows"].items()
    ]
    header = ["collection, method", "queries", "labels", "seconds", "embedding the corpus", "times faster"]
    return [
        "## Leave-one-out on real collections, beside embedding their documents",
        "",
        f"Embedding: {case['texts_per_second']:.0f} abstracts a second with all-MiniLM-L6-v2.",
        "",
        markdown([*header, "nDCG@10 before", "leave-one-out"], rows),
    ]


def _cuda(case: Row) -> list[str]:
    return ["## On the device", "", _sizes(case["shape"]), "", _run_table(case["rows"])]


SECTIONS = {
    "reference": _reference,
    "mapped": _mapped,
    "linear": _linear,
    "real": _real,
    "default": _default_report.sections,
    "cuda": _cuda,
}


def report(result: Row) -> str:
    """The whole result as markdown."""
    parts = [
        "# Speed",
        "",
        f"Machine: {json.dumps(result['machine'])}. Seconds are the median of {result['repeats']} calls (one call for "
        "the reference, the memory map and the real collections). Memory is anonymous memory at its peak, each run in "
        "a process of its own.",
    ]
    for name, case in result["cases"].items():
        parts += ["", *SECTIONS[name](case)]
    if result["expected"]:
        rows = [
            [line["what"], f"{line['measured']:.2f}", line["limit"], "yes" if line["met"] else "no"]
            for line in result["expected"]
        ]
        parts += ["", "## Against what was expected", "", markdown(["figure", "measured", "expected", "met"], rows)]
    return "\n".join(parts) + "\n"
