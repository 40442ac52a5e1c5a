"""Expected figures of the accuracy table; printed beside it, gating nothing.

The prototype's figures are nDCG@10 of all-MiniLM-L6-v2 under the same protocol, with a search of 25 steps: no
fine-tuning, nudge-n by leave-one-out, contrastive by leave-one-out.
"""

from __future__ import annotations

from typing import Any

from _rows import PROTECTED

PROTOTYPE = {
    "scifact": (63.4, 85.9, 85.9),
    "nfcorpus": (31.7, 36.4, 38.0),
    "stackfaq": (95.1, 99.8, 99.8),
    "squad2": (80.5, 80.5, 81.7),
    "sealtools": (66.5, 68.1, 69.1),
    "metatool": (69.9, 83.6, 83.6),
}
# The row that tries no query maps.
ALONE = "auto, nudges alone"
SLACK = 0.3
HARM = 0.2
AHEAD = {ALONE: 1.0, "auto": 1.5}
FROM_BEST = 0.5


Means = dict[str, dict[str, float]]
"""nDCG@10 of a collection and a row."""


def compare(tables: dict[str, Means]) -> list[dict[str, Any]]:
    """One line an expectation: what, measured, expected at least, met."""
    lines = _in_distribution(tables["test"]) if "test" in tables else []
    for table, title in (("test", ALONE), ("test", "auto"), ("unseen", PROTECTED), ("clusters", "auto")):
        for name, row in tables.get(table, {}).items():
            if {title, "none"} <= row.keys():
                lines.append(_line(f"{table}, {name}: {title}, no harm", row[title] - row["none"], -HARM))
    return lines


def _in_distribution(everything: Means) -> list[dict[str, Any]]:
    """The collections of the prototype; what came later is held to doing no harm alone."""
    lines = []
    means = {name: row for name, row in everything.items() if name in PROTOTYPE}
    for name, row in means.items():
        if {ALONE, "none"} <= row.keys():
            none, *searched = PROTOTYPE[name]
            lines.append(_line(f"{name}: {ALONE}", row[ALONE], max(searched) - SLACK))
            lines.append(_line(f"{name}: {ALONE}, gain", row[ALONE] - row["none"], max(searched) - none - SLACK))
        if "auto" in row:
            lines.append(_line(f"{name}: auto beside the best row", row["auto"] - max(row.values()), -FROM_BEST))
    for title, least in AHEAD.items():
        both = [row[title] - row["nudge-ft N"] for row in means.values() if {title, "nudge-ft N"} <= row.keys()]
        if both:
            lines.append(
                _line(f"mean of {len(both)} collections: {title} above nudge-ft N", sum(both) / len(both), least)
            )
    return lines


def _line(what: str, measured: float, least: float) -> dict[str, Any]:
    return {"what": what, "measured": measured, "at_least": least, "met": bool(measured >= least)}
