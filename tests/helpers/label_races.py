"""Processes at one log of labels, and at one log of feedback that rotates, with readers beside them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from copies import begun, ended
from label_writers import feedback_log, labels_of, source_of
from sabotages import sabotaged

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.feedback import LabelLog

__all__ = ["feedback_race", "label_race"]


def label_race(folder: Path, writers: int, turns: int, sabotage: str | None) -> Any:
    """Label the same queries from several processes while one deletes what another adds; return what is wrong."""
    log, queries = LabelLog(folder / "labels.jsonl"), labels_of("shared", turns).queries

    def add(source: int, document: str, asked: Sequence[str]) -> None:
        qrels: dict[str, Mapping[str, float]] = {query: {document: 1.0} for query in asked}
        dataset = RetrievalDataset({document: "text"}, {query: queries[query] for query in asked}, qrels)
        log.add(dataset, source=source_of(str(source)))

    def adding(writer: int) -> None:
        for turn, query in enumerate(queries):
            add(writer, f"d{writer} {turn}", [query])

    def adding_what_goes() -> None:
        for turn in range(turns):
            add(0, f"d{turn}", list(queries))

    def deleting() -> None:
        for _ in range(turns):
            log.delete(source=source_of("0"))

    work = [partial(adding, writer) for writer in range(1, writers)]
    if faults := _together([*work, adding_what_goes, deleting], [partial(_distinct, log)], folder, sabotage):
        return faults
    left, there = _pairs(log), [(q, f"d{w} {turn}") for turn, q in enumerate(queries) for w in range(1, writers)]
    return [f"{len(left)} labels of {len(there)}"] if sorted(left) != sorted(there) else []


def _distinct(log: LabelLog, stopped: Callable[[], bool]) -> None:
    while not stopped():
        assert len(seen := _pairs(log)) == len(set(seen))


def _pairs(log: LabelLog) -> list[tuple[str, str]]:
    """Return the labels that nobody deletes."""
    return [(label.query, label.document) for label in log.labels if label.source != source_of("0")]


def feedback_race(folder: Path, writers: int, turns: int, sabotage: str | None) -> Any:
    """Write feedback from several processes to a log that rotates; readers must see all that came before."""

    def writing(writer: int) -> None:
        for turn in range(turns):
            feedback_log(str(folder)).record(f"query {writer}", f"d{turn}", "yes")

    def reading(stopped: Callable[[], bool]) -> None:
        before = [0] * writers
        while True:
            last = stopped()
            verdicts = feedback_log(str(folder)).read().verdicts
            for writer in range(writers):
                seen = [one.document for one in verdicts if one.query == f"query {writer}"]
                assert seen == [f"d{turn}" for turn in range(len(seen))], seen
                assert len(seen) >= before[writer]
                before[writer] = len(seen)
            if last:
                assert before == [turns] * writers, before
                return

    work = [partial(writing, writer) for writer in range(writers)]
    return _together(work, [reading, reading], folder, sabotage)


def _together(
    writing: Sequence[Callable[[], None]],
    reading: Sequence[Callable[[Callable[[], bool]], None]],
    folder: Path,
    sabotage: str | None,
) -> list[str]:
    """Let all of them run at once, each in a process; readers until the writers are done. Return what went wrong."""
    stop = folder / "stop"

    def guarded(work: Callable[[], None]) -> Callable[[], str]:
        def call() -> str:
            with sabotaged(sabotage):
                try:
                    work()
                except Exception:
                    return traceback.format_exc(limit=-3)
                return ""

        return call

    read = [begun(guarded(partial(work, stop.exists))) for work in reading]
    wrote = [begun(guarded(work)) for work in writing]
    said = [ended(*one)[1] for one in wrote]
    stop.touch()
    return [fault for fault in [*said, *(ended(*one)[1] for one in read)] if fault]
