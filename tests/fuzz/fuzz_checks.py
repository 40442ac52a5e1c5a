"""Damaged files, read within five seconds of work and a gigabyte: an error of ours, or the right content."""

from __future__ import annotations

import random
import resource
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuzz_formats import Format
from fuzz_mutators import damage, damage_sealed

from nudge_integrations.errors import NudgeError

__all__ = ["mutant_faults"]

SECONDS = 5.0
BYTES = 1 << 30


class Hang(BaseException):
    """It took longer than it may."""


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Allow so many seconds of work, four times as long to wait, and so much more memory than is in use."""

    def stop(*_: Any) -> None:
        raise Hang

    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = [(one, signal.signal(one, stop)) for one in (signal.SIGALRM, signal.SIGPROF)]
    resource.setrlimit(resource.RLIMIT_AS, (in_use + BYTES, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 4 * seconds)  # a busy machine is no fault; what waits for ever is
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        for one, handler in before:
            signal.signal(one, handler)


def _outcome(work: Callable[[], Any], seconds: float) -> tuple[Any, str | None]:
    """Return what a call returns, or None where it raises an error of ours; and what is wrong, if anything."""
    try:
        with _within(seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work(), None
    except NudgeError:
        return None, None
    except Hang:
        return None, f"hangs\n{traceback.format_exc(limit=-3)}"
    except Exception:
        return None, traceback.format_exc(limit=-4)


def _fault(form: Format, folder: Path, whole: Any, seconds: float, *, sealed: bool) -> str | None:
    """Say what is wrong with how a damaged folder is read, or written again; None where nothing is."""
    content, fault = _outcome(lambda: form.content(folder), seconds)
    if fault is None and form.checked and not sealed and content not in (None, whole):
        fault = f"wrong content: {content}"
    if fault is not None or not form.replaced:
        return fault

    def written() -> bool:
        form.write(folder)
        return True

    done, fault = _outcome(written, seconds)
    if done:
        content, fault = _outcome(lambda: form.content(folder), seconds)
        fault = fault or (None if content == whole else f"written again it is not whole: {content}")
    return f"written again: {fault}" if fault else None


def mutant_faults(
    form: Format, folder: Path, count: int, seed: object, *, seconds: float = SECONDS, most: int = 10
) -> list[str]:
    """Damage files of one format so many times and say what is wrong with how they are read, until there is enough."""
    damaged, pristine = folder / "damaged", folder / "whole"
    pristine.mkdir()
    form.write(pristine)
    whole = form.content(pristine)
    shutil.rmtree(pristine)
    pristine.mkdir()
    form.write(pristine)
    faults: list[str] = []
    for number in range(count):
        rng = random.Random(f"{seed} {form.name} {number}")  # noqa: S311
        shutil.copytree(pristine, damaged, dirs_exist_ok=True)
        sealed = rng.random() < 0.5
        if sealed:
            damage_sealed(damaged, rng)
        else:
            sealed = damage(damaged, rng)
        if (fault := _fault(form, damaged, whole, seconds, sealed=sealed)) is not None:
            faults.append(f"mutant '{seed} {form.name} {number}': {fault}")
        shutil.rmtree(damaged)
        if len(faults) == most:
            break
    shutil.rmtree(pristine)
    return faults
