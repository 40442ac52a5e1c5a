"""A power cut at any moment leaves the old content or the new, and the new once the call has returned."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from power_cuts import Disk

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.pipeline import fit
from nudge_integrations.pipeline.nudged_index import NudgedIndex
from nudge_integrations.storage import Log, write_atomically

CUTS = 150
DATASET = RetrievalDataset({"a": "cats", "b": "dogs"}, {"q": "barks?"}, {"q": {"b": 1}})


@contextmanager
def watched(root: Path) -> Iterator[Disk]:
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(root, patch)
        yield disk
    disk.close()


def states(disk: Disk, folder: Path, read: Callable[[Path], Any]) -> tuple[list[Any], list[Any]]:
    """Return what is read after cuts at random moments, and after cuts once everything has returned."""
    found: tuple[list[Any], list[Any]] = ([], [])
    rng = random.Random(0)  # noqa: S311
    for number in range(CUTS):
        at_the_end = number % 5 == 0
        left = folder / "left"
        disk.after_a_cut(left, rng, at_the_end=at_the_end)
        found[at_the_end].append(read(left))
        shutil.rmtree(left)
    return found


def nudge(step: float) -> Nudge:
    vectors: dict[str, Any] = {"document_vectors": np.eye(2), "query_vectors": [[1.0, 0.9]]}
    return fit(DATASET, "toy", method="nudge-n", step=step, **vectors)


def index(step: float) -> NudgedIndex:
    made = NudgedIndex()
    made.insert(["a", "b"], np.eye(2), ["cats", "dogs"], [{}, {"step": step}])
    made.apply(nudge(step))
    return made


def save_nudge(folder: Path, step: float) -> None:
    nudge(step).save(folder / "nudge", attachments={} if step < 0.3 else {"notes.txt": b"new"})


def step_of_nudge(folder: Path) -> float:
    return Nudge.load(folder / "nudge").step


def save_index(folder: Path, step: float) -> None:
    index(step).save(folder / "index")


def step_of_index(folder: Path) -> float:
    loaded = NudgedIndex.load(folder / "index")
    assert loaded.nudge is not None
    (hit,) = loaded.get(["b"])
    assert hit.metadata["step"] == loaded.nudge.step
    return loaded.nudge.step


@pytest.mark.parametrize(("save", "read"), [(save_nudge, step_of_nudge), (save_index, step_of_index)])
def test_a_cut_leaves_the_old_save_or_the_new_one(
    tmp_path: Path, save: Callable[[Path, float], None], read: Callable[[Path], float]
) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    save(root, 0.2)
    with watched(root) as disk:
        save(root, 0.4)
    between, after = states(disk, tmp_path, read)
    assert set(between) == {0.2, 0.4}
    assert set(after) == {0.4}


def test_a_cut_leaves_the_old_file_or_the_new_one_in_folders_that_are_new_too(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    with watched(root) as disk:
        write_atomically(root / "new" / "folder" / "file", ["content"])

    def read(left: Path) -> str | None:
        path = left / "new" / "folder" / "file"
        return path.read_text() if path.exists() else None

    between, after = states(disk, tmp_path, read)
    assert set(between) == {None, "content"}
    assert set(after) == {"content"}


def test_a_cut_takes_no_record_whose_append_returned(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    log = Log(root / "logs" / "log.jsonl", "test/records")
    with watched(root) as disk:
        log.append([{"id": 1}])
        first = len(disk.moments)
        log.append([{"id": 2}])
        log.compact(lambda records: records[1:])

    def read(left: Path) -> tuple[int, ...]:
        return tuple(record["id"] for record in Log(left / "logs" / "log.jsonl", "test/records").read().records)

    between, after = states(disk, tmp_path, read)
    assert set(after) == {(2,)}
    assert set(between) <= {(), (1,), (1, 2), (2,)}
    del disk.moments[first:]
    assert set(states(disk, tmp_path, read)[True]) == {(1,)}
