"""Processes that are killed at every step of every writer: a fresh one reads the old state or the new, and goes on.

``make test-crash`` tries 3,200; NUDGE_KILLS says how many there are, and NUDGE_SEED which.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from kills import chosen, every_kill, started

KILLS = int(os.environ.get("NUDGE_KILLS", "300"))
SEED = int(os.environ.get("NUDGE_SEED", "0"))


def test_a_kill_at_any_step_leaves_the_old_state_or_the_new_one(tmp_path: Path) -> None:
    with started(tmp_path) as child:
        kills = every_kill(child)
        picked = chosen(kills, KILLS, SEED)
        faults = [fault for kill in picked if (fault := child.fault(kill)) is not None]
    print(f"{len(picked)} kills, {len(set(picked))} different ones of {len(kills)}")  # noqa: T201
    print(Counter(kill.writer for kill in picked))  # noqa: T201
    assert not faults, f"{len(faults)} of {len(picked)} (seed {SEED}):\n" + "\n".join(faults[:20])
