"""Damaged files of every format: an error of ours or the right content, never somebody else's error and never a hang.

``make test-fuzz`` tries ten thousand; NUDGE_MUTANTS says how many there are in all, and NUDGE_SEED which.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fuzz_formats import FORMATS, Format
from fuzz_mutators import damage, damage_sealed

from nudge_integrations.errors import NudgeError

MUTANTS = int(os.environ.get("NUDGE_MUTANTS", "300"))
SEED = int(os.environ.get("NUDGE_SEED", "0"))
SECONDS = 5


class Hang(BaseException):
    """It took longer than it may."""


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def _outcome(work: Callable[[], Any]) -> tuple[Any, str | None]:
    """Return what a call returns, or None where it raises an error of ours; and what is wrong, if anything."""
    try:
        with _within(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work(), None
    except NudgeError:
        return None, None
    except Hang:
        return None, f"hangs\n{traceback.format_exc(limit=-3)}"
    except Exception:
        return None, traceback.format_exc(limit=-4)


def _fault(form: Format, folder: Path, whole: Any, *, sealed: bool) -> str | None:
    """Say what is wrong with how a damaged folder is read, or written again; None where nothing is."""
    content, fault = _outcome(lambda: form.content(folder))
    if fault is None and form.checked and not sealed and content not in (None, whole):
        fault = f"wrong content: {content}"
    if fault is not None or not form.replaced:
        return fault

    def written() -> bool:
        form.write(folder)
        return True

    done, fault = _outcome(written)
    if done:
        content, fault = _outcome(lambda: form.content(folder))
        fault = fault or (None if content == whole else f"written again it is not whole: {content}")
    return f"written again: {fault}" if fault else None


@pytest.mark.parametrize("form", FORMATS, ids=[form.name for form in FORMATS])
def test_damaged_files_are_refused_or_read_rightly(form: Format, tmp_path: Path) -> None:
    folder, pristine = tmp_path / "damaged", tmp_path / "whole"
    pristine.mkdir()
    form.write(pristine)
    whole = form.content(pristine)
    shutil.rmtree(pristine)
    pristine.mkdir()
    form.write(pristine)
    faults: list[str] = []
    for number in range(MUTANTS // len(FORMATS)):
        seed = f"{SEED} {form.name} {number}"
        rng = random.Random(seed)  # noqa: S311
        shutil.copytree(pristine, folder, dirs_exist_ok=True)
        sealed = rng.random() < 0.5
        if sealed:
            damage_sealed(folder, rng)
        else:
            sealed = damage(folder, rng)
        if (fault := _fault(form, folder, whole, sealed=sealed)) is not None:
            faults.append(f"mutant {seed!r}: {fault}")
        shutil.rmtree(folder)
    assert not faults, f"{len(faults)} of {MUTANTS // len(FORMATS)}:\n" + "\n".join(faults[:10])
