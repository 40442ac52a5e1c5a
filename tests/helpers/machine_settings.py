"""How many random sequences a state machine tries, and how long they are."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["lasting"]

RUNS, STEPS = int(os.environ.get("NUDGE_RUNS", "200")), int(os.environ.get("NUDGE_STEPS", "30"))


def lasting(most: int) -> settings:
    """Return settings of NUDGE_RUNS sequences; where no more than 200 are asked for, of this many at most."""
    return settings(
        max_examples=max(1, min(most, RUNS) if RUNS <= 200 else RUNS),
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=False,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
