"""Several processes at one folder: readers see whole states alone, and no writer's work is lost.

``make test-crash`` overwrites 200 times; NUDGE_OVERWRITES says how often.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kills import CrashChild, started

OVERWRITES = int(os.environ.get("NUDGE_OVERWRITES", "60"))


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashChild]:
    with started(tmp_path_factory.mktemp("races")) as found:
        yield found


@pytest.mark.parametrize(("readers", "writers"), [(4, 1), (2, 2)])
@pytest.mark.parametrize("writer", ["nudge", "nudged index", "run folder", "dataset", "log, compacted"])
def test_readers_see_whole_states_while_others_overwrite(
    child: CrashChild, writer: str, readers: int, writers: int
) -> None:
    answer = child.race(writer, readers=readers, writers=writers, saves=OVERWRITES // writers)
    assert answer["faults"] == []
    assert answer["loads"] > readers


def test_four_processes_fill_one_cache(child: CrashChild, tmp_path: Path) -> None:
    answer = child.ask("cache_race", folder=str(tmp_path), writers=4, appends=OVERWRITES // 2, sabotage=None)
    assert answer == {"wrong": 0, "errors": []}


def test_processes_label_the_same_queries_while_one_deletes(child: CrashChild, tmp_path: Path) -> None:
    assert child.ask("label_race", folder=str(tmp_path), writers=3, turns=OVERWRITES // 2, sabotage=None) == []


def test_processes_share_a_log_of_feedback_that_rotates(child: CrashChild, tmp_path: Path) -> None:
    assert child.ask("feedback_race", folder=str(tmp_path), writers=4, turns=OVERWRITES, sabotage=None) == []
