"""Labels written to a log: added, deleted by their source, bounded; and feedback, by many at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.feedback import FeedbackLog, LabelLog

__all__ = ["add_bounded", "add_labels", "delete_labels", "feedback_log", "labels_of", "read_labels", "source_of"]

_TIME = "2026-01-02T03:04:05+00:00"
_WIDTH = 64


def labels_of(name: str, count: int) -> RetrievalDataset:
    """One label for each of some queries."""
    names = [f"{name}-{row}" for row in range(count)]
    return RetrievalDataset(
        {i: f"text {i}" for i in names}, {i: f"query {i}" for i in names}, {i: {i: 1.0} for i in names}
    )


def _add(log: LabelLog, name: str, count: int) -> None:
    dataset = labels_of(name, count)
    vectors = np.ones((count, _WIDTH), np.float32)
    log.add(dataset, query_vectors=vectors, encoder="toy", source=source_of(name), time=_TIME)


def source_of(name: str) -> str:
    return f"source {name}"


def _log(folder: Path, **options: Any) -> LabelLog:
    return LabelLog(folder / "labels.jsonl", **options)


def add_labels(folder: Path, state: int, size: int) -> None:
    _add(_log(folder), str(state), min(size, 100))


def add_bounded(folder: Path, state: int, size: int) -> None:
    """Add labels to a log that has no room for the vectors of two states, but for their labels."""
    count = min(size, 100)
    _add(_log(folder, most_bytes=1700 * count), str(state), count)


def delete_labels(folder: Path, state: int, size: int) -> None:
    """Begin with labels from three sources; each further state is without one more of them."""
    if not _log(folder).labels:
        whole = LabelLog()
        for name in "012":
            _add(whole, name, min(size, 100))
        whole.save(folder / "labels.jsonl")
    for former in range(state):
        _log(folder).delete(source=source_of(str(former)))


def read_labels(folder: Path) -> Any:
    log = _log(folder)
    return [(label.query, label.document, label.source) for label in log.labels] or None


def feedback_log(folder: str) -> FeedbackLog:
    """A log that rotates every few lines."""
    return FeedbackLog(Path(folder) / "feedback.jsonl", largest=2000)
