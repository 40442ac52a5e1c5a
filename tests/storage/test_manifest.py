"""Folders whose files change all at once: what may be in the way, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nudge_integrations.errors import ArtifactError, CorruptArtifactError, InputError
from nudge_integrations.storage import load_files, save_files
from nudge_integrations.storage.sealing import seal

FORMAT = {"format": "test/folder", "version": 1}
Files = dict[str, bytes]


def save(folder: Path, files: Files) -> None:
    save_files(folder, "manifest.json", FORMAT, {name: [content] for name, content in files.items()})


def load(folder: Path) -> Files:
    _, files = load_files(folder, "manifest.json", (), format_name=FORMAT["format"], version=1)  # type: ignore[arg-type]
    return {name: bytes(content) for name, content in files.items()}


def content_of(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "a/b",
            "../x",
            "/etc/x",
            "a\\b",
            "c:x",
            ".",
            "..",
            "",
            ".hidden",
            ".env.local",
            "nul\0",
            "line\nbreak",
            "\ud800",
        ),
        *("x" * 190, "é" * 95, "manifest.json", "Manifest.JSON", None, 3),
    ],
)
def test_a_name_that_is_no_plain_file_name_is_refused_before_anything_is_written(tmp_path: Path, name: Any) -> None:
    folder = tmp_path / "folder"
    save(folder, {"a": b"old"})
    before = content_of(folder)
    with pytest.raises(InputError, match="cannot be the name of a saved file"):
        save(folder, {"a": b"new", name: b"content"})
    assert content_of(folder) == before
    assert os.listdir(tmp_path) == ["folder"]


def test_names_that_only_differ_in_capitals_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'A\.txt' cannot .* beside 'a\.txt'"):
        save(tmp_path / "folder", {"a.txt": b"", "A.txt": b""})


@pytest.mark.parametrize("name", ["*", "[a-z]*", "?", "**", "x" * 189, "é" * 94, "part", "0" * 64, "a b", "ids", "nul"])
def test_saving_under_any_other_name_touches_no_file_of_the_user(tmp_path: Path, name: str) -> None:
    theirs = {
        f".{other}{ending}": b"the user's"
        for other in ("env", "ids.jsonl", "manifest.json", "a", "x" * 189, "*", "ids")
        for ending in (".local", ".swp", ".part~", f".{'0' * 63}", f".{'g' * 64}")
    }
    for other, content in theirs.items():
        (tmp_path / other).write_bytes(content)
    for content in (b"old", b"new"):
        save(tmp_path, {name: content, "a": content})
        assert load(tmp_path) == {name: content, "a": content}
    save(tmp_path, {"a": b"alone"})
    assert load(tmp_path) == {"a": b"alone"}
    found = content_of(tmp_path)
    assert found.keys() == {*theirs, "a", "manifest.json"}
    assert theirs.items() <= found.items()


@pytest.mark.parametrize(
    "entry",
    [
        {"bytes": 5, "sha256": "x/../../victim.txt"},
        {"bytes": 5, "sha256": "0" * 63},
        {"bytes": 5, "sha256": "A" * 64},
        {"bytes": 5, "sha256": f"{'0' * 64}\n"},
        {"bytes": 5},
        {"bytes": "5", "sha256": "0" * 64},
        {"sha256": "0" * 64},
        [],
        None,
    ],
)
def test_a_sealed_manifest_cannot_point_at_other_files(tmp_path: Path, entry: Any) -> None:
    folder, victim = tmp_path / "folder", tmp_path / "victim.txt"
    save(folder, {"a": b"whole"})
    (folder / ".a.x").mkdir()
    victim.write_bytes(b"alive")
    (folder / "manifest.json").write_bytes(seal({**FORMAT, "files": {"a": entry}}))
    (folder / "a").unlink()
    with pytest.raises(CorruptArtifactError, match="does not name the files beside it"):
        load(folder)
    with pytest.raises(ArtifactError, match="nothing was overwritten"):
        save(folder, {"a": b"new"})
    assert victim.read_bytes() == b"alive"


@pytest.mark.parametrize("name", ["../victim.txt", "/victim.txt", ".hidden", "a/b", "", "manifest.json"])
def test_a_sealed_manifest_cannot_name_files_elsewhere(tmp_path: Path, name: str) -> None:
    folder, victim = tmp_path / "folder", tmp_path / "victim.txt"
    save(folder, {})
    victim.write_bytes(b"alive")
    entry = {"bytes": 5, "sha256": "0" * 64}
    (folder / "manifest.json").write_bytes(seal({**FORMAT, "files": {name: entry}}))
    with pytest.raises(CorruptArtifactError, match="does not name the files beside it"):
        load(folder)
    with pytest.raises(ArtifactError, match="nothing was overwritten"):
        save(folder, {"a": b"new"})
    assert victim.read_bytes() == b"alive"


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 << 30)


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, sparse, *(link_to(target) for target in ("/dev/zero", "manifest.json", "a"))]
)
@pytest.mark.parametrize("name", ["manifest.json", "a"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    save(tmp_path, {"a": b"content"})
    (tmp_path / name).unlink()
    make(tmp_path / name)
    with pytest.raises(CorruptArtifactError):
        load(tmp_path)


@pytest.mark.parametrize("name", ["manifest.json", "a", "b"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    save(tmp_path, {"a": b"content", "b": b"content"})
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ArtifactError, match=f"holds .*{name}.*nothing was overwritten"):
        save(tmp_path, {"a": b"new"})
    assert sorted(os.listdir(tmp_path)) == before


def test_what_was_read_stays_when_the_file_is_cut_off(tmp_path: Path) -> None:
    save(tmp_path, {"a": b"content" * 10_000})
    read = load(tmp_path)
    os.truncate(tmp_path / "a", 10)
    assert bytes(read["a"]) == b"content" * 10_000


def test_a_large_file_that_is_cut_off_while_it_is_used_does_not_end_the_process(tmp_path: Path) -> None:
    code = """if True:
        import os, sys
        from nudge_integrations.storage import load_files, save_files
        content = {"format": "test/folder", "version": 1}
        save_files(sys.argv[1], "manifest.json", content, {"large": [bytes(1 << 20)] * 65})
        _, files = load_files(sys.argv[1], "manifest.json", (), format_name="test/folder", version=1)
        os.truncate(os.path.join(sys.argv[1], "large"), 0)
        assert bytes(files["large"]) == bytes(65 << 20)
    """
    package = Path(__file__).parents[2]
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=package, check=False)
    assert process.returncode == 0


def test_a_save_whose_content_fails_leaves_no_file(tmp_path: Path) -> None:
    save(tmp_path, {"a": b"old", "b": b"old"})
    before = content_of(tmp_path)

    def failing() -> Iterator[bytes]:
        yield b"half"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        save_files(tmp_path, "manifest.json", FORMAT, {"a": [b"new"], "c": [b"new"], "d": failing()})
    with pytest.raises(ValueError, match="JSON"):
        save_files(tmp_path, "manifest.json", {**FORMAT, "figure": float("inf")}, {"a": [b"new"], "c": [b"new"]})
    assert content_of(tmp_path) == before


OLD, NEW, NEXT = {"a": b"old a", "b": b"old b"}, {"a": b"new a", "c": b"new c"}, {"b": b"next b", "d": b"next d"}


class Killed(BaseException):
    """The process ends: nothing that it does afterwards has an effect."""


class Death:
    """Lets a number of calls of one function of ``os`` through, and none of any function after that."""

    def __init__(self, fatal: str, calls: int, patch: pytest.MonkeyPatch) -> None:
        self.left = calls
        for name in ("replace", "unlink", "fsync", "listdir"):
            patch.setattr(os, name, self.wrapped(getattr(os, name), counted=name == fatal))

    def wrapped(self, original: Callable[..., Any], *, counted: bool) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.left -= counted
            if self.left < 0:
                raise Killed
            return original(*arguments, **options)

        return call


@pytest.mark.parametrize("call", ["replace", "unlink", "fsync"])
def test_a_kill_anywhere_leaves_one_save_and_blocks_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    saved = []
    for calls in range(40):
        folder = tmp_path / f"{call} {calls}"
        save(folder, OLD)
        with monkeypatch.context() as patch:
            Death(call, calls, patch)
            try:
                save(folder, NEW)
                break
            except Killed:
                pass
        saved.append(load(folder) == NEW)
        assert load(folder) in (OLD, NEW)
        save(folder, NEXT)
        assert load(folder) == NEXT
        left = content_of(folder).keys() - {"manifest.json", *NEXT}
        assert all(name.startswith(".") for name in left)
    assert len(saved) < 40
    assert saved == sorted(saved)


SAVING = """
import sys
from nudge_integrations.storage import save_files
print("ready", flush=True)
while True:
    for files in ({"a": [b"old a"], "b": [b"old b"]}, {"a": [b"new a"], "c": [b"new c"]}):
        save_files(sys.argv[1], "manifest.json", {"format": "test/folder", "version": 1}, files)
"""


def test_a_killed_process_leaves_one_save_and_blocks_none(tmp_path: Path) -> None:
    save(tmp_path, OLD)
    for pause in range(12):
        process = subprocess.Popen([sys.executable, "-c", SAVING, str(tmp_path)], stdout=subprocess.PIPE)
        with process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.03 + 0.0037 * pause)
            process.send_signal(signal.SIGKILL)
        assert load(tmp_path) in (OLD, NEW)
        save(tmp_path, NEXT)
        assert load(tmp_path) == NEXT
        save(tmp_path, OLD)


def test_staged_names_are_on_disk_before_the_manifest_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, OLD)
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(handle: int) -> None:
        calls.append("flush the folder" if os.path.samestat(os.fstat(handle), tmp_path.stat()) else "flush a file")
        fsync(handle)

    def noted_replace(source: Path, target: Path) -> None:
        calls.append("commit" if Path(target).name == "manifest.json" else "rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    save(tmp_path, NEW)
    commit = calls.index("commit")
    assert calls[commit - 2 : commit + 2] == ["flush a file", "flush the folder", "commit", "flush the folder"]
    assert calls[-1] == "flush the folder"
