"""The case "default" of speed.py as markdown, and beside what was expected; nothing here gates."""

from __future__ import annotations

from typing import Any

from _tables import markdown

Row = dict[str, Any]
Line = tuple[str, float, str, float]

OVER_FLOOR = {"200000x20000": 5.0, "20000x5000": 15.0}
OVER_NUDGE_FT_M, UNDER_NUDGE_FT_N = 1.3, 5.0
OVER_OLD = 8.0
OVER_OLD_ON = {"nfcorpus": 5.0}
MEMORY_MIB = 600.0
SECONDS = {"1000000x50000": 150.0, "1000000x50000-mapped": 150.0}
BEYOND_LINEAR = 1.1  # times the size's ratio


def expected(case: Row | None) -> list[Line]:
    """Limits that the figures are compared with: name, measured, at least or at most, the limit."""
    if case is None:
        return []
    lines = [line for name, row in case["rows"].items() for line in _row_lines(name, row)]
    for name, points in case["linear"].items():
        ratio = (points[-1]["seconds"] / points[0]["seconds"]) / (_size(name, points[-1]) / _size(name, points[0]))
        lines.append((f"default, {name}: seconds' ratio over the size's", ratio, "at most", BEYOND_LINEAR))
    return lines


def _row_lines(name: str, row: Row) -> list[Line]:
    new, old, peers = row["new"], row.get("old"), row.get("peers")
    lines = []
    if name in OVER_FLOOR:
        ratio = new["seconds"] / row["floor"]["seconds"]
        lines.append((f"default, {name}: seconds over the floor", ratio, "at most", OVER_FLOOR[name]))
    if peers:
        ratio, inverse = (peers[peer]["seconds"] / new["seconds"] for peer in ("nudge-ft N", "nudge-ft M"))
        lines.append((f"default, {name}: nudge-ft N's seconds over its own", ratio, "at least", UNDER_NUDGE_FT_N))
        lines.append((f"default, {name}: seconds over nudge-ft M's", 1 / inverse, "at most", OVER_NUDGE_FT_M))
    if old:
        least = OVER_OLD_ON.get(name, OVER_OLD)
        ratio = old["seconds"] / new["seconds"]
        lines.append((f"default, {name}: old code's seconds over its own", ratio, "at least", least))
    if name in SECONDS:
        lines.append((f"default, {name}: seconds", new["seconds"], "at most", SECONDS[name]))
    what = f"default, {name}: memory over imports and inputs, MiB"
    return [*lines, (what, new["over_inputs_mib"], "at most", MEMORY_MIB)]


def _size(name: str, point: Row) -> int:
    size: int = point["shape"]["documents" if name == "documents" else "train"]
    return size


def sections(case: Row) -> list[str]:
    """The case as lines of markdown."""
    parts = [
        "## The default",
        "",
        "`select` over all labels; the floor is the product of its evaluation queries (at most 4,096) and the corpus. "
        "Memory over imports and inputs.",
    ]
    if case["rows"]:
        parts += ["", _table(case["rows"])]
    if any("old" in row for row in case["rows"].values()):
        parts += ["", "Beside the older code, same data and threads, in turns:", "", _old_table(case["rows"])]
    for name, row in case["rows"].items():
        if "peers" in row:
            parts += ["", f"Beside nudge-ft, {name}:", "", _peer_table(row)]
    if case["linear"]:
        parts += ["", "Cost against size:", "", _linear_table(case["linear"])]
    return parts


def _table(rows: Row) -> str:
    header = ["data", "documents", "labelled queries", "threads", "method", "seconds", "CPU seconds", "floor"]
    header += ["over floor", "MiB over inputs", "nDCG@10 before", "after, new queries"]
    cells = []
    for name, row in rows.items():
        new, floor, shape = row["new"], row["floor"]["seconds"], row["shape"]
        cells.append(
            [
                name,
                *(f"{shape['documents']:,}", f"{shape['train']:,}", row["threads"], new["method"]),
                *(f"{new['seconds']:.2f}", f"{new['cpu_seconds']:.2f}"),
                *(f"{floor:.3f}", f"{new['seconds'] / floor:.1f}", f"{new['over_inputs_mib']:,.0f}"),
                *(f"{row['none ndcg@10']:.1f}", f"{new['ndcg@10']:.1f}"),
            ]
        )
    return markdown(header, cells)


def _old_table(rows: Row) -> str:
    header = ["data", "seconds", "old", "old / new", "MiB over inputs", "old", "method", "old", "nDCG@10", "old"]
    cells = [
        [
            name,
            *(f"{new['seconds']:.2f}", f"{old['seconds']:.2f}", f"{old['seconds'] / new['seconds']:.1f}"),
            *(f"{one['over_inputs_mib']:,.0f}" for one in (new, old)),
            *(one["method"] for one in (new, old)),
            *(f"{one['ndcg@10']:.1f}" for one in (new, old)),
        ]
        for name, row in rows.items()
        if "old" in row
        for new, old in ((row["new"], row["old"]),)
    ]
    return markdown(header, cells)


def _peer_table(row: Row) -> str:
    runs = {"default": row["new"], **row["peers"]}
    cells = [
        [
            name,
            *(f"{one['seconds']:.2f}", f"{one['seconds'] / row['new']['seconds']:.2f}"),
            *(f"{one['over_inputs_mib']:,.0f}", f"{one['ndcg@10']:.1f}"),
        ]
        for name, one in runs.items()
    ]
    return markdown(["run", "seconds", "over the default's", "MiB over inputs", "nDCG@10, new queries"], cells)


def _linear_table(linear: Row) -> str:
    cells = [
        [
            name,
            *(f"{_size(name, point):,}", f"{_size(name, point) / _size(name, points[0]):.1f}"),
            *(f"{point['seconds']:.2f}", f"{point['seconds'] / points[0]['seconds']:.2f}"),
        ]
        for name, points in linear.items()
        for point in points
    ]
    return markdown(["what grows", "size", "size ratio", "seconds", "time ratio"], cells)
