"""A file that is replaced is the old one or the new one, whole, whatever happens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nudge_integrations.storage import make_folder, replacing, write_atomically


def test_text_and_bytes_replace_a_file_and_leave_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    write_atomically(path, ["ü\n", b"\xff", memoryview(b"end")])
    assert path.read_bytes() == "ü\n".encode() + b"\xffend"
    write_atomically(path, [])
    assert path.read_bytes() == b""
    assert os.listdir(path.parent) == ["file.txt"]


def test_pieces_that_raise_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, ["old"])

    def failing() -> Iterator[str]:
        yield "half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, failing())
    with pytest.raises(TypeError), replacing(path) as beside:
        beside.write_bytes("no bytes")  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "file"
    write_atomically(path, ["old"])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space"):
            write_atomically(path, ["new"])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_longest_name_that_the_system_takes_is_no_problem(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("x" * 255), ["content"])
    assert os.listdir(tmp_path) == ["x" * 255]


def test_content_is_on_disk_before_the_rename_and_the_name_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    folder, fsync, replace = tmp_path.stat().st_ino, os.fsync, os.replace

    def noted_fsync(handle: int) -> None:
        calls.append("folder" if os.fstat(handle).st_ino == folder else "file")
        fsync(handle)

    def noted_replace(source: Path, target: Path) -> None:
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    with replacing(tmp_path / "file") as beside:
        beside.write_bytes(b"content")
    assert calls == ["file", "replace", "folder"]


def test_the_parents_of_new_folders_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle).st_ino))
    make_folder(tmp_path / "a" / "b")
    assert flushed == [tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino]
    make_folder(tmp_path / "a" / "b")
    assert len(flushed) == 2
