"""The cases of speed.py: each case makes its data, runs its jobs and returns plain values."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import _data
import _jobs
import _labelled
import _peers
from _data import Shape
from _floor import floor
from _measure import in_own_process
from _tables import note

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """Sizes and places, from the command line."""

    documents: int
    mapped_documents: int
    train: int
    mapped_train: int
    evaluated: int
    labelled: int
    dimension: int
    seed: int
    threads: int
    repeats: int
    directory: Path | None
    quick: bool
    rows: list[str] | None
    old: str | None
    old_sizes: str
    rounds: int

    def shape(self, documents: int, train: int) -> Shape:
        """A synthetic collection with these settings' other sizes."""
        pool = min(self.labelled, documents // 2, max(1, 2 * train // 5))
        return Shape(documents, self.dimension, train, self.evaluated, pool, seed=self.seed)


def with_data(shape: Shape, settings: Settings, jobs: Callable[[Path], Row]) -> Row:
    """Make a collection on disk, run jobs on it, and remove it."""
    with tempfile.TemporaryDirectory(dir=settings.directory) as name:
        note(f"making {shape.documents:,} x {shape.dimension} {shape.dtype} documents, {shape.train:,} train queries")
        _data.write(shape, Path(name))
        return {"shape": shape.as_dict(), **jobs(Path(name))}


def run(settings: Settings, what: str, job: Callable[..., Row], **arguments: Any) -> Row:
    """One job in a process of its own; ``threads`` and ``package`` are those of `in_own_process`."""
    row = in_own_process(job, arguments.pop("threads", settings.threads), **arguments)
    note(f"  {what}: {row['seconds']:.2f} s, {row['memory_mib']:,.0f} MiB")
    return row


def reference(settings: Settings) -> Row:
    """Both sides on the same data, and the floor."""

    def jobs(directory: Path) -> Row:
        rows = {"floor": run(settings, "floor", floor, directory=directory, repeats=settings.repeats)}
        none = run(settings, "no fine-tuning", _jobs.untouched, directory=directory)
        for method in ("nudge-n", "nudge-m"):
            rows[f"solve, {method}"] = run(
                settings, method, _jobs.ours, directory=directory, method=method, repeats=settings.repeats
            )
        for name in _peers.NAMES:
            rows[name] = run(settings, name, _jobs.peer, directory=directory, name=name)
        return {"rows": rows, "none ndcg@10": none["ndcg@10"]}

    return with_data(settings.shape(settings.documents, settings.train), settings, jobs)


def mapped(settings: Settings) -> Row:
    """A float16 memory map that is larger than the memory it may take."""

    def jobs(directory: Path) -> Row:
        arguments = {"directory": directory, "mapped": True, "repeats": 1}
        rows = {"floor": run(settings, "floor", floor, **arguments)}
        rows["solve, nudge-n"] = run(settings, "nudge-n", _jobs.ours, method="nudge-n", judge=False, **arguments)
        return {"rows": rows}

    shape = replace(settings.shape(settings.mapped_documents, settings.mapped_train), dtype="float16")
    return with_data(shape, settings, jobs)


def linear(settings: Settings) -> Row:
    """Three sizes each of documents, evaluated queries and labelled documents, all else equal."""
    middle = settings.shape(settings.documents, settings.train)
    series = {
        "documents": [replace(middle, documents=middle.documents * size // 2) for size in (1, 2, 4)],
        "evaluated queries": [replace(middle, evaluated=middle.evaluated * size // 2) for size in (1, 2, 4)],
        "labelled documents": [
            replace(middle, labelled=middle.labelled * size // 2, train=middle.train * size // 2) for size in (1, 2, 4)
        ],
    }
    found: dict[Shape, Row] = {}
    for shape in dict.fromkeys(shape for shapes in series.values() for shape in shapes):
        found[shape] = with_data(shape, settings, lambda directory: _ours_only(settings, directory))
    return {name: [found[shape] for shape in shapes] for name, shapes in series.items()}


def _ours_only(settings: Settings, directory: Path) -> Row:
    return run(
        settings, "nudge-n", _jobs.ours, directory=directory, method="nudge-n", judge=False, repeats=settings.repeats
    )


def real(settings: Settings) -> Row:
    """Leave-one-out over every label of real collections, beside embedding their documents."""
    speed = run(settings, "embedding", _jobs.embed)
    collections: Row = {}
    for name in ("scifact", "nfcorpus"):
        if not _labelled.available(name):
            note(f"left out, not found in shared/data beside the checkout: {name}")
            continue
        rows = {
            method: run(settings, f"{name} {method}", _jobs.leave_one_out, name=name, method=method)
            for method in ("nudge-n", "nudge-m", "contrastive", "auto")
        }
        documents = len(_labelled.read(name).documents)
        seconds = documents / speed["texts_per_second"]
        collections[name] = {"documents": documents, "embedding_seconds": seconds, "rows": rows}
    return {"texts_per_second": speed["texts_per_second"], "collections": collections}


CASES: dict[str, Callable[[Settings], Row]] = {
    "reference": reference,
    "mapped": mapped,
    "linear": linear,
    "real": real,
}
