"""A saved index in a folder that others use too: processes that save at once, kills, and files of the user."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nudge_integrations.errors import ArtifactError, CorruptArtifactError
from nudge_integrations.pipeline.nudged_index import NudgedIndex
from nudge_integrations.storage import save_files

OURS = re.compile(r"index-[0-9a-f]{16}|collection\.json")


def index_of(count: int) -> NudgedIndex:
    index = NudgedIndex()
    ids = [f"d{row}" for row in range(count)]
    index.insert(ids, np.eye(8)[:count] + 1, ids, [{}] * count)
    return index


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def point_to(folder: Path, index: object) -> None:
    """Replace the manifest by one with a right checksum that names another folder."""
    content = {"format": "nudge-integrations/nudged-index", "version": 1, "index": index, "nudged": False}
    save_files(folder, "collection.json", content, {})


def test_folders_and_files_of_the_user_stay(tmp_path: Path) -> None:
    theirs = ["index-notes", "index-", "index-0123456789abcdef", "index-0123456789abcdef0", "other"]
    for name in theirs:
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("the user's")
    (tmp_path / "index-file").write_text("the user's")
    for count in (2, 3, 4):
        index_of(count).save(tmp_path)
        assert len(NudgedIndex.load(tmp_path)) == count
    found = names_in(tmp_path)
    assert {*theirs, "index-file"} < {*found}
    assert all((tmp_path / name / "notes.txt").read_text() == "the user's" for name in theirs)
    assert len(found) == len(theirs) + 3


def test_what_earlier_and_killed_saves_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index_of(2).save(tmp_path)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nudge_integrations.pipeline.index_format.shutil.rmtree", killed)
        for count in (3, 4):
            with pytest.raises(KeyboardInterrupt):
                index_of(count).save(tmp_path)
    assert len(NudgedIndex.load(tmp_path)) == 4
    assert len(names_in(tmp_path)) > 2
    index_of(5).save(tmp_path)
    assert len(NudgedIndex.load(tmp_path)) == 5
    assert len(names_in(tmp_path)) == 2


@pytest.mark.parametrize(
    "name",
    ["../victim", "victim", "index-notes", "index-0123456789ABCDEF", "index-0123456789abcdef/..", "", None, 3, ["x"]],
)
def test_a_sealed_manifest_cannot_point_at_another_folder(tmp_path: Path, name: object) -> None:
    folder, victim = tmp_path / "folder", tmp_path / "victim"
    index_of(3).save(folder)
    index_of(2).save(victim)
    inner = next(victim.glob("index-*"))
    point_to(folder, f"../victim/{inner.name}" if name == "../victim" else name)
    before = names_in(folder)
    with pytest.raises(CorruptArtifactError, match="is no folder of a saved index"):
        NudgedIndex.load(folder)
    with pytest.raises(ArtifactError, match="save to another folder"):
        index_of(4).save(folder)
    assert names_in(folder) == before
    assert len(NudgedIndex.load(victim)) == 2


def test_an_absolute_path_in_a_sealed_manifest_is_refused(tmp_path: Path) -> None:
    index_of(3).save(tmp_path / "folder")
    index_of(2).save(tmp_path / "victim")
    point_to(tmp_path / "folder", str(next((tmp_path / "victim").glob("index-*"))))
    with pytest.raises(CorruptArtifactError, match="is no folder of a saved index"):
        NudgedIndex.load(tmp_path / "folder")


def test_a_manifest_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "collection.json").write_text("{}")
    with pytest.raises(ArtifactError):
        index_of(2).save(tmp_path)
    assert names_in(tmp_path) == ["collection.json"]
    assert (tmp_path / "collection.json").read_text() == "{}"


def test_a_save_that_fails_leaves_the_old_one_alone(tmp_path: Path) -> None:
    index_of(2).save(tmp_path)
    before, index = names_in(tmp_path), index_of(3)
    index.insert(["odd"], [[1.0] * 8], ["text"], [{"when": object()}])
    with pytest.raises(ValueError, match="'odd'"):
        index.save(tmp_path)
    assert names_in(tmp_path) == before
    assert len(NudgedIndex.load(tmp_path)) == 2


SAVING = """
import itertools, sys
import numpy as np
from nudge_integrations.pipeline.nudged_index import NudgedIndex
indexes = []
for count in (int(sys.argv[2]), int(sys.argv[2]) + 1):
    indexes.append(NudgedIndex())
    ids = [f"d{row}" for row in range(count)]
    indexes[-1].insert(ids, np.eye(8)[:count] + 1, ids, [{}] * count)
print("ready", flush=True)
sys.stdin.readline()
for turn in range(int(sys.argv[3])):
    indexes[turn % 2].save(sys.argv[1])
"""


def saving(folder: Path, count: int, turns: int) -> subprocess.Popen[str]:
    """Start a process that is ready to save and does when it is told to."""
    command = [sys.executable, "-c", SAVING, str(folder), str(count), str(turns)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def start(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("start\n")
    process.stdin.flush()


def test_two_processes_save_to_one_folder_while_it_is_read(tmp_path: Path) -> None:
    index_of(2).save(tmp_path)
    with saving(tmp_path, 2, 20) as first, saving(tmp_path, 4, 20) as second:
        start(first)
        start(second)
        until, loads = time.monotonic() + 90, 0
        while None in (first.poll(), second.poll()) and time.monotonic() < until:
            assert len(NudgedIndex.load(tmp_path)) in range(2, 6)
            loads += 1
    assert (first.returncode, second.returncode) == (0, 0)
    assert loads > 0
    assert len(names_in(tmp_path)) == 2


def test_a_killed_process_leaves_a_whole_index_and_blocks_no_save(tmp_path: Path) -> None:
    index_of(2).save(tmp_path)
    for pause in range(5):
        with saving(tmp_path, 2, 1_000_000) as process:
            start(process)
            time.sleep(0.1 + 0.05 * pause)
            process.send_signal(signal.SIGKILL)
        assert len(NudgedIndex.load(tmp_path)) in (2, 3, 4)
        index_of(4).save(tmp_path)
        assert len(NudgedIndex.load(tmp_path)) == 4
    assert all(OURS.fullmatch(name) for name in names_in(tmp_path))
