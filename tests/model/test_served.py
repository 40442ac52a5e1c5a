"""What serves nudged documents, under any sequence of changes: `NudgedIndex`, and the store and retriever of the edges.

``make test-model`` tries 1,000 sequences of 50 steps; NUDGE_RUNS and NUDGE_STEPS say how many and how long.
"""

from __future__ import annotations

import os

import pytest
from machine_settings import lasting
from served_machines import IndexMachine, RetrieverMachine, StoreOfDocumentsMachine

TestIndexInAnyOrder = IndexMachine.TestCase
TestIndexInAnyOrder.settings = lasting(50)
TestStoreInAnyOrder = StoreOfDocumentsMachine.TestCase
TestStoreInAnyOrder.settings = lasting(40)
TestRetrieverInAnyOrder = RetrieverMachine.TestCase
TestRetrieverInAnyOrder.settings = lasting(25)


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
