"""A saved nudge in figures, and as they are printed: provenance, integrity, and the largest moves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.screen import two_columns
from nudge_integrations.corpus import unit_rows
from nudge_integrations.evaluation.drift import angles_between

__all__ = ["card_of", "card_table"]

_PLAIN = ("method", "similarity", "metric", "queries", "protocol", "status", "reason", "temperature", "created")
_FIGURES = ("step", "baseline", "score", "unseen_baseline", "unseen_score")
_ORIGIN = ("encoder", "dataset_hash", "validation_hash")


def card_of(folder: Path, top: int = 10) -> dict[str, Any]:
    """Read a saved nudge, check every file of it, and describe it as plain data.

    Args:
        folder: Where it was saved.
        top: How many of the largest moves to name.

    Returns:
        Its record; ``files`` (name -> bytes and sha256, all of them compared), ``angles`` (quantiles in degrees) and
        ``moves`` (id and degrees, largest first). A figure that was not measured is None.

    Raises:
        ArtifactError: If it is no nudge, or not intact.
    """
    nudge, files = Nudge.load_with_files(folder)
    degrees = np.degrees(angles_between(nudge.base, unit_rows(nudge.vectors, "nudged vectors")))
    largest = np.argsort(-degrees, kind="stable")[:top]
    quantiles: list[float] = np.quantile(degrees, [0, 0.25, 0.5, 0.75, 1]).tolist() if len(nudge) else []
    return {
        "intact": True,
        **{name: getattr(nudge, name) for name in _PLAIN},
        **{name: _figure(getattr(nudge, name)) for name in _FIGURES},
        "moved": len(nudge),
        "dimension": nudge.dimension,
        "query_map": nudge.query_map is not None,
        "shift": nudge.shift is not None,
        "fusion": None if nudge.fusion is None else nudge.fusion.as_dict(),
        "fingerprint": nudge.fingerprint,
        **{name: getattr(nudge, name) for name in _ORIGIN},
        "versions": dict(nudge.versions),
        "warnings": list(nudge.warnings),
        "ambiguous_texts": len(nudge.ambiguous_texts),
        "files": {name: {"bytes": len(data), "sha256": sha256(data).hexdigest()} for name, data in files.items()},
        "angles": dict(zip(("least", "quarter", "median", "three_quarters", "most"), quantiles, strict=False)),
        "moves": [{"id": nudge.ids[row], "degrees": float(degrees[row])} for row in largest],
    }


def card_table(card: Mapping[str, Any]) -> RenderableType:
    """Draw what `card_of` returned."""
    unseen = f"{_percent(card['unseen_baseline'])} -> {_percent(card['unseen_score'])}"
    total = sum(entry["bytes"] for entry in card["files"].values())
    rows = {
        "documents moved": f"{card['moved']:,} of dimension {card['dimension']}",
        "queries": "go through a query map" if card["query_map"] else "as they are",
        **_signals(card["fusion"]),
        "method": f"{card['method']}, step {card['step']:.4g}, similarity {card['similarity']}",
        card["metric"]: f"{_percent(card['baseline'])} -> {_percent(card['score'])} over {card['queries']:,} queries "
        f"({card['protocol']})",
        "unlabelled documents": unseen,
        "status": f"{card['status']}: {card['reason']}",
        "encoder": card["encoder"],
        "dataset": card["dataset_hash"],
        "made": f"{card['created']} by {', '.join(f'{name} {number}' for name, number in card['versions'].items())}",
        "fingerprint": card["fingerprint"],
        "integrity": f"intact: {len(card['files'])} files, {total:,} bytes, every checksum fits",
    }
    rows.update({f"warning {number}": text for number, text in enumerate(card["warnings"], start=1)})
    return Group(two_columns(rows), *_moves(card))


def _signals(fusion: Mapping[str, Any] | None) -> dict[str, str]:
    if fusion is None:
        return {}
    weights = " + ".join(f"{weight:.3g} {name}" for name, weight in fusion["weights"].items())
    gain = f"{100 * fusion['gain']:+.1f} points, standard error {100 * fusion['standard_error']:.1f}"
    language = "" if fusion["lexical"] is None else f", language {fusion['lexical']['language'] or 'none'}"
    return {"scores": f"dense + {weights} ({gain}{language})"}


def _moves(card: Mapping[str, Any]) -> list[RenderableType]:
    if not card["moves"]:
        return []
    angles = card["angles"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("document", overflow="fold")
    table.add_column("degrees", justify="right")
    for move in card["moves"]:
        table.add_row(escape(move["id"]), f"{move['degrees']:.1f}")
    return ["", f"Largest moves; the median is {angles['median']:.1f} degrees", "", table]


def _figure(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{100 * value:.1f}"
