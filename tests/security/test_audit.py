"""Hostile files, read under an audit hook: no program, no socket, no unpickling, nothing imported from their folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COUNT = int(os.environ.get("NUDGE_AUDITED", "5"))


def audited(code: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(HERE.parent / "helpers"), str(HERE.parent / "fuzz"), *sys.path])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    return subprocess.run([sys.executable, *code], cwd=tmp_path, env=environment, capture_output=True, text=True)


def test_reading_hostile_files_runs_and_asks_nothing(tmp_path: Path) -> None:
    done = audited([str(HERE / "audit_child.py"), str(tmp_path), str(COUNT)], tmp_path)
    # Whoever reads them is told of what was left out; a traceback, or what the hook says, would end the process.
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("act", "event"),
    [
        ("import pickle; pickle.loads(pickle.dumps(print))", "pickle.find_class"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("import socket; socket.socket().connect_ex(('127.0.0.1', 9))", "socket.connect"),
    ],
)
def test_the_hook_sees_it(act: str, event: str, tmp_path: Path) -> None:
    program = f"""
import sys
import audit_child
original = audit_child.FORMATS[0]
def content(folder):
    if "hostile" in str(folder):
        {act}
audit_child.FORMATS = (type(original)("nudge", original.write, content),)
audit_child.commands = lambda folder: None
from pathlib import Path
audit_child.main(Path({str(tmp_path)!r}), 1)
"""
    paths = str(HERE)
    done = audited(["-c", f"import sys; sys.path.insert(0, {paths!r})\n{program}"], tmp_path)
    assert done.returncode == 98, done.stderr
    assert done.stderr.startswith(event)
