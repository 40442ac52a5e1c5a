"""The store in memory under the contract suite and the state machine that ship with the package.

``make test-model`` tries 1,000 sequences of 50 steps; NUDGE_RUNS and NUDGE_STEPS say how many and how long.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from machine_settings import lasting
from numpy.typing import NDArray

from nudge_integrations.stores import StoreAdapter
from nudge_integrations.stores.memory import MemoryStore
from nudge_integrations.testing import StoreContract, store_machine

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")


class TestMemory(StoreContract):
    def fill(self, folder: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        self.held = dict(zip(ids, vectors.tolist(), strict=True))

    def open(self, folder: Path) -> StoreAdapter:
        return MemoryStore(self.held)


def in_any_order(contract: type[StoreContract], most: int) -> Any:
    case = store_machine(contract).TestCase
    case.settings = lasting(most)
    return pytest.mark.filterwarnings("ignore")(case)


TestMemoryInAnyOrder = in_any_order(TestMemory, 60)
