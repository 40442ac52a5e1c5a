"""The append-only log: what was appended is read back, whatever a crash or a bad disk did to the file."""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudge_integrations.errors import ArtifactError, CorruptArtifactError, InputError
from nudge_integrations.storage import Log

Record = dict[str, Any]
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
records_of = st.lists(st.dictionaries(st.text(), values | st.lists(values), max_size=3), max_size=6)


def log_in(folder: Path | str) -> Log:
    return Log(Path(folder) / "log.jsonl", "test/records")


@given(records_of, st.data())
def test_any_truncation_leaves_a_prefix_and_appending_goes_on_from_there(records: list[Record], data: Any) -> None:
    with TemporaryDirectory() as folder:
        log = log_in(folder)
        log.append(records)
        whole = log.path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        log.path.write_bytes(whole[:cut])
        content = log.read()
        assert content.records == records[: len(content.records)]
        assert content.torn or len(content.records) >= whole[:cut].count(b"\n") - 1
        log.append([{"after": "the crash"}])
        assert log.read().records == [*content.records, {"after": "the crash"}]
        assert not log.read().torn


@given(records_of, st.data())
def test_no_flipped_bit_gives_a_record_that_was_not_appended(records: list[Record], data: Any) -> None:
    with TemporaryDirectory() as folder:
        log = log_in(folder)
        log.append(records)
        damaged = bytearray(log.path.read_bytes())
        bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
        damaged[bit // 8] ^= 1 << bit % 8
        log.path.write_bytes(damaged)
        try:
            strict = log.read().records
        except ArtifactError:
            pass
        else:
            assert strict == records[: len(strict)]
        try:
            lenient = log.read(skip_damaged=True).records
        except ArtifactError:
            return
        remaining = iter(records)
        assert all(record in remaining for record in lenient)  # in the order in which they were appended
        assert len(lenient) >= len(records) - 2


@given(st.lists(records_of, max_size=5))
def test_appends_add_up(parts: list[list[Record]]) -> None:
    with TemporaryDirectory() as folder:
        for part in parts:
            log_in(folder).append(part)
        assert log_in(folder).read().records == list(itertools.chain(*parts))


def test_a_line_that_was_cut_off_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = log_in(tmp_path)
    log.append([{"id": 1}, {"id": 2}])
    log.path.write_bytes(log.path.read_bytes()[:-5])
    with caplog.at_level(logging.WARNING):
        content = log.read()
    assert (content.records, content.torn, content.damaged) == ([{"id": 1}], True, ())
    assert "log.jsonl: the last line is cut off" in caplog.text


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = log_in(tmp_path)
    log.append([{"id": 1}, {"id": 2}, {"id": 3}])
    log.path.write_bytes(log.path.read_bytes().replace(b'"id": 2', b'"id": 7'))
    with pytest.raises(CorruptArtifactError, match=r"log\.jsonl: line 3 is damaged"):
        log.read()
    with pytest.raises(CorruptArtifactError, match="line 3"):
        log.compact(lambda records: records)
    with caplog.at_level(logging.WARNING):
        content = log.read(skip_damaged=True)
    assert (content.records, content.torn, content.damaged) == ([{"id": 1}, {"id": 3}], False, (3,))
    assert "1 lines are cut off or damaged" in caplog.text


def test_other_tools_can_read_the_lines(tmp_path: Path) -> None:
    log = log_in(tmp_path / "new")
    log.append([{"text": "ü\n\u2028\ud800"}])
    lines = [json.loads(line)["record"] for line in log.path.read_text().splitlines()]
    assert lines == [{"format": "test/records", "version": 1}, {"text": "ü\n\u2028\ud800"}]


def test_a_log_that_was_never_written_is_empty_and_stays_absent(tmp_path: Path) -> None:
    assert log_in(tmp_path).read().records == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"somebody's notes\n", b"{}\n", b"\0" * 200 + b"x"])
def test_a_file_of_another_kind_is_refused_and_not_touched(tmp_path: Path, content: bytes) -> None:
    log = log_in(tmp_path)
    log.path.write_bytes(content)
    for call in (log.read, lambda: log.append([{}]), lambda: log.compact(list)):
        with pytest.raises(ArtifactError, match="no log of this format"):
            call()
    assert log.path.read_bytes() == content


def test_another_format_or_version_is_refused(tmp_path: Path) -> None:
    log_in(tmp_path).append([{"id": 1}])
    for other, words in (
        (Log(log_in(tmp_path).path, "test/others"), "no log of this format"),
        (Log(log_in(tmp_path).path, "test/records", version=2), "format version 1, older than 2"),
    ):
        with pytest.raises(ArtifactError, match=words):
            other.append([{"id": 2}])
    assert log_in(tmp_path).read().records == [{"id": 1}]


def sparse(path: Path) -> None:
    log_in(path.parent).append([{"id": 1}])
    os.truncate(path, 5 << 30)


def link_to(target: str) -> Any:
    return lambda path: path.symlink_to(target)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, sparse, link_to("/dev/zero"), link_to("log.jsonl")])
def test_what_is_no_file_of_a_plausible_size_is_refused_at_once(tmp_path: Path, make: Any) -> None:
    log = log_in(tmp_path)
    make(log.path)
    for call in (log.read, lambda: log.append([{}]), lambda: log.compact(list)):
        with pytest.raises(ArtifactError, match=r"is no file|which no log"):
            call()


@pytest.mark.parametrize("record", [{"x": float("nan")}, {"x": object()}, ["x"], "x", None])
def test_what_is_no_json_object_is_refused_and_nothing_written(tmp_path: Path, record: Any) -> None:
    log = log_in(tmp_path)
    with pytest.raises(InputError, match="must be a JSON object"):
        log.append([{"id": 1}, record])
    assert os.listdir(tmp_path) == []


def test_a_full_disk_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_in(tmp_path)
    log.append([{"id": 1}])
    before = log.path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            log.append([{"id": 2}])
    assert log.path.read_bytes() == before


def test_compaction_bounds_the_size_and_changes_nothing_when_it_fails(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for number in range(50):
        log.append([{"id": "one", "number": number}])
    large = log.path.stat().st_size
    with pytest.raises(ZeroDivisionError):
        log.compact(lambda records: 1 / 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError):
        log.compact(lambda records: [{"x": object()}])
    assert len(log.read().records) == 50
    log.compact(lambda records: records[-1:])
    assert log.read().records == [{"id": "one", "number": 49}]
    assert log.path.stat().st_size < large / 20
    assert os.listdir(tmp_path) == ["log.jsonl"]


APPENDING = """
import sys
from nudge_integrations.storage import Log
log = Log(sys.argv[1], "test/records")
for number in range(int(sys.argv[3])):
    log.append([{"writer": sys.argv[2], "number": number, "text": "x" * 3000}])
    print(number, flush=True)
"""


def appending(log: Log, writer: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPENDING, str(log.path), writer, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_nothing_is_lost_or_mixed_while_two_processes_append_and_a_third_compacts(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    writers = [appending(log, name, 80) for name in "ab"]
    until, seen = time.monotonic() + 60, 0
    while any(writer.poll() is None for writer in writers) and time.monotonic() < until:
        records = log.read().records
        for name in "ab":
            numbers = [record["number"] for record in records if record["writer"] == name]
            assert numbers == list(range(len(numbers)))
        assert len(records) >= seen
        seen = len(records)
        log.compact(lambda records: records)
    assert [writer.wait(60) for writer in writers] == [0, 0]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    assert len(log.read().records) == 160


def test_what_append_returned_for_survives_a_kill(tmp_path: Path) -> None:
    for number in range(3):
        log = Log(tmp_path / f"{number}.jsonl", "test/records")
        with appending(log, "a", 10_000) as writer:
            assert writer.stdout is not None
            acknowledged = [int(writer.stdout.readline()) for _ in range(20 * (number + 1))]
            writer.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
        found = [record["number"] for record in log.read().records]
        assert found[: len(acknowledged)] == acknowledged
        assert len(found) <= len(acknowledged) + 1
