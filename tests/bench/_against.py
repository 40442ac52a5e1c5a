"""The default now and in an earlier run: no collection much worse, no table's mean lower; gating nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from _rows import AUTO, PROTECTED
from _tables import markdown

Row = dict[str, Any]

METRIC = "ndcg@10"
ALLOWED, ALLOWED_MEAN = -0.2, 0.0


def differences(now: Row, then: Row) -> list[Row]:
    """One line a table, row and collection, and one a table and row for the mean over collections.

    Of every row the seeds that both runs have are compared; what either lacks is left out.
    """
    lines = []
    for table, collections in now.items():
        for title in (AUTO, PROTECTED):
            found = []
            for name, collection in collections.items():
                before = then.get(table, {}).get(name, {"methods": {}})["methods"].get(title)
                after = collection["methods"].get(title)
                seeds = _seeds(before) & _seeds(after)
                if seeds:
                    found.append(_line(table, title, name, _mean(after, seeds), _mean(before, seeds), ALLOWED))
            lines += found
            if found:
                mean_now, mean_then = (float(np.mean([line[side] for line in found])) for side in ("now", "then"))
                lines.append(_line(table, title, f"mean of {len(found)}", mean_now, mean_then, ALLOWED_MEAN))
    return lines


def _seeds(row: Row | None) -> set[int]:
    return {run["seed"] for run in row["runs"]} if row else set()


def _mean(row: Row, seeds: set[int]) -> float:
    return float(np.mean([run["figures"][METRIC] for run in row["runs"] if run["seed"] in seeds]))


def _line(table: str, title: str, name: str, now: float, then: float, allowed: float) -> Row:
    values = {"now": now, "then": then, "difference": now - then, "allowed": allowed, "met": now - then >= allowed}
    return {"table": table, "row": title, "collection": name, **values}


def difference_table(lines: list[Row]) -> str:
    """The lines as markdown."""
    cells = [
        [
            f"{line['table']}, {line['row']}",
            line["collection"],
            *(f"{line[name]:.2f}" for name in ("now", "then")),
            f"{line['difference']:+.2f}",
            f"{line['allowed']:.1f}",
            "yes" if line["met"] else "no",
        ]
        for line in lines
    ]
    return markdown(["table, row", "collection", "now", "then", "difference", "at least", "met"], cells)
