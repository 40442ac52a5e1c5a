"""A power cut at any moment leaves the old state or the new one, and the new one once the call has returned.

``make test-crash`` makes 12,000 cuts; NUDGE_CUTS says how many there are, and NUDGE_SEED which.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from crash_writers import WRITERS
from cut_checks import cut_faults

CUTS = int(os.environ.get("NUDGE_CUTS", "780"))
SEED = int(os.environ.get("NUDGE_SEED", "0"))


@pytest.mark.parametrize("first", [True, False], ids=["first save", "overwrite"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_cut_leaves_the_old_state_or_the_new_one(writer: str, first: bool, tmp_path: Path) -> None:
    each = -(-CUTS // (2 * len(WRITERS)))
    faults = cut_faults(writer, first, tmp_path, each, SEED)
    assert not faults, f"{len(faults)} of {each}:\n" + "\n".join(faults[:10])
