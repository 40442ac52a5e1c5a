"""The cases of `speed.py` for the default: `select` at several sizes, beside the floor, nudge-ft and older code."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import _data
import _jobs
import _labelled
import _peers
import numpy as np
from _cases import Row, Settings, run, with_data
from _data import Shape
from _entry import exported
from _floor import floor
from _splits import at_random
from _tables import note

MOST_EVALUATED = 4_096  # evaluation queries of the default, at most
SMALL = 20_000  # documents; older code takes minutes beyond
QUICK = 10  # times smaller
FEWEST_DOCUMENTS, FEWEST_LABELS = 67, 200  # fewer labels would leave query maps out
MIDDLE = (200_000, 20_000)  # documents x labels of the part `linear`


@dataclass(frozen=True)
class Size:
    """Documents x labelled queries of synthetic data; ``peers`` says whether nudge-ft runs beside."""

    documents: int
    labels: int
    mapped: bool = False
    threads: int | None = None
    peers: bool = False


SIZES = {
    "67x858": Size(67, 858, threads=1),
    "5000x2000": Size(5_000, 2_000),
    "20000x5000": Size(20_000, 5_000),
    "200000x20000": Size(200_000, 20_000),
    "200000x50000": Size(200_000, 50_000, peers=True),
    "1000000x50000": Size(1_000_000, 50_000),
    "1000000x50000-mapped": Size(1_000_000, 50_000, mapped=True),
}
COLLECTIONS = ("scifact", "sealtools", "metatool", "squad2", "stackfaq", "nfcorpus")
ROWS = (*SIZES, *COLLECTIONS, "linear")


def default(settings: Settings) -> Row:
    """Every row asked for; with ``settings.old``, the older code on the same data, new and old in turns."""
    asked = settings.rows or ROWS
    rows: Row = {}
    with exported(settings.old) as old:
        for name, size in SIZES.items():
            if name in asked:
                small = size.documents <= SMALL or settings.old_sizes == "all"
                rows[name] = _synthetic(settings, size, old if small else None)
        for name in COLLECTIONS:
            if name in asked and _labelled.available(name):
                rows[name] = _real(settings, name, old)
            elif name in asked:
                note(f"left out, not found in shared/data beside the checkout: {name}")
    return {"rows": rows, "linear": _linear(settings) if "linear" in asked else {}}


def _shape(settings: Settings, documents: int, labels: int) -> Shape:
    if settings.quick:
        documents = max(documents // QUICK, min(documents, FEWEST_DOCUMENTS))
        labels = max(labels // QUICK, min(labels, FEWEST_LABELS))
    return settings.shape(documents, labels)


def _synthetic(settings: Settings, size: Size, old: Path | None) -> Row:
    shape = _shape(settings, size.documents, size.labels)
    shape = replace(shape, dtype="float16" if size.mapped else "float32")
    threads = size.threads or settings.threads
    return with_data(
        shape,
        settings,
        lambda directory: _rows(settings, directory, threads, old, mapped=size.mapped, peers=size.peers),
    )


def _real(settings: Settings, name: str, old: Path | None) -> Row:
    """The split of the table "test" with seed 0: training and validation queries teach, test queries judge."""
    collection = _labelled.read(name)
    train, validation, test = at_random(collection.labels, 0)[0]
    known = np.concatenate([train, validation])
    if settings.quick:
        known, test = known[: max(FEWEST_LABELS, len(known) // QUICK)], test[: max(50, len(test) // QUICK)]
    with tempfile.TemporaryDirectory(dir=settings.directory) as place:
        directory = Path(place)
        np.save(directory / "documents.npy", collection.documents)
        for part, rows in (("train", known), ("judged", test)):
            _data.save_labels(directory, part, collection.labels.take(rows))
        note(f"{name}: {len(collection.documents):,} documents, {len(known):,} labelled queries")
        sizes = {"documents": len(collection.documents), "train": len(known), "evaluated": len(test)}
        return {"shape": sizes, **_rows(settings, directory, settings.threads, old)}


def _rows(
    settings: Settings, directory: Path, threads: int, old: Path | None, *, mapped: bool = False, peers: bool = False
) -> Row:
    common = {"directory": directory, "threads": threads}
    below = {"part": "train", "most": MOST_EVALUATED, "mapped": mapped, "repeats": 1 if mapped else settings.repeats}
    found: Row = {
        "threads": threads,
        "floor": run(settings, "floor", floor, **common, **below),
        "none ndcg@10": run(settings, "no fine-tuning", _jobs.untouched, **common)["ndcg@10"],
    }
    turns: dict[str, list[Row]] = {"new": [], "old": []}
    for _ in range(settings.rounds):
        turns["new"].append(run(settings, "default", _jobs.default, mapped=mapped, **common))
        if old is not None:
            turns["old"].append(run(settings, "old", _jobs.default, mapped=mapped, package=old, **common))
    found |= {name: _middle(runs) for name, runs in turns.items() if runs}
    if old is not None:
        found["old"]["revision"] = settings.old
    if peers:
        found["peers"] = {name: run(settings, name, _jobs.peer, name=name, **common) for name in _peers.NAMES}
    return found


def _middle(runs: list[Row]) -> Row:
    """One row of several runs: the middle of the seconds, the most of the memory."""
    memory = {name: max(one[name] for one in runs) for name in ("memory_mib", "over_import_mib", "over_inputs_mib")}
    return {
        **runs[0],
        **memory,
        "all_seconds": [one["seconds"] for one in runs],
        "seconds": statistics.median(one["seconds"] for one in runs),
        "cpu_seconds": statistics.median(one["all_cpu_seconds"][0] for one in runs),
    }


def _linear(settings: Settings) -> Row:
    """Three sizes each of documents and of labels, all else equal but what labels ask for, which grows with them."""
    documents, labels = MIDDLE
    sizes = {
        "documents": [(documents * size // 2, labels) for size in (1, 2, 4)],
        "labels": [(documents, labels * size // 2) for size in (1, 2, 4)],
    }
    found: dict[tuple[int, int], Row] = {}
    for size in dict.fromkeys(size for series in sizes.values() for size in series):
        shape = _shape(settings, *size)
        found[size] = with_data(shape, settings, lambda directory: _alone(settings, directory))
    return {name: [found[size] for size in series] for name, series in sizes.items()}


def _alone(settings: Settings, directory: Path) -> Row:
    return _middle([run(settings, "default", _jobs.default, directory=directory) for _ in range(settings.rounds)])
