"""Tests for who writes a store adapter: a contract suite for pytest, strategies, and a state machine for hypothesis.

    class TestMyStore(StoreContract):            # every promise of an adapter and of a rollout, a test each
        def fill(self, folder, ids, vectors): ...
        def open(self, folder): ...

    TestMyStoreInAnyOrder = store_machine(TestMyStore).TestCase    # the same under random sequences, crashes among them

Needs the extra ``testing`` (pytest, hypothesis).
"""

from nudge_integrations.testing.contract import StoreContract
from nudge_integrations.testing.faults import FailingAdapter, InjectedFault
from nudge_integrations.testing.machine import StoreMachine, store_machine
from nudge_integrations.testing.strategies import document_ids, labelled_datasets, unit_vectors

__all__ = [
    "FailingAdapter",
    "InjectedFault",
    "StoreContract",
    "StoreMachine",
    "document_ids",
    "labelled_datasets",
    "store_machine",
    "unit_vectors",
]
