"""Damaged files of every format: an error of ours or the right content, never somebody else's error and never a hang.

``make test-fuzz`` tries twenty thousand; NUDGE_MUTANTS says how many there are in all, and NUDGE_SEED which.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fuzz_checks import mutant_faults
from fuzz_formats import FORMATS, Format

MUTANTS = int(os.environ.get("NUDGE_MUTANTS", "2000"))
SEED = int(os.environ.get("NUDGE_SEED", "0"))


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.parametrize("form", FORMATS, ids=[form.name for form in FORMATS])
def test_damaged_files_are_refused_or_read_rightly(form: Format, tmp_path: Path) -> None:
    each = -(-MUTANTS // len(FORMATS))
    faults = mutant_faults(form, tmp_path, each, SEED)
    assert not faults, f"of {each}:\n" + "\n".join(faults)
