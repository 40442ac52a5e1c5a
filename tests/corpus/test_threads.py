"""Blocks of a computation side by side: the order, errors, and torch's own number of threads afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from nudge_integrations.corpus.threads import in_threads, thread_count


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items_from_as_many_threads_as_torch_may_use() -> None:
    together = threading.Barrier(3, timeout=20)

    def waited(number: int) -> tuple[int, int, int]:
        together.wait()
        return number, torch.get_num_threads(), thread_count()

    # The barrier opens for three at once; each of them has one thread for its own operations, and starts no others.
    assert in_threads(waited, range(6)) == [(number, 1, 1) for number in range(6)]
    assert torch.get_num_threads() == 3


def test_an_error_is_raised_and_torch_has_its_threads_back() -> None:
    def refused(number: int) -> int:
        raise ValueError(f"no {number}")

    with pytest.raises(ValueError, match="no 0"):
        in_threads(refused, range(5))
    assert torch.get_num_threads() == 3


def test_several_callers_at_a_time_leave_torch_its_number() -> None:
    callers = [threading.Thread(target=in_threads, args=(abs, range(50))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert torch.get_num_threads() == 3


def test_one_thread_runs_one_after_another_in_the_caller() -> None:
    torch.set_num_threads(1)
    assert in_threads(lambda _: threading.get_ident(), range(3)) == [threading.get_ident()] * 3


def test_of_many_threads_only_a_few_are_used() -> None:
    torch.set_num_threads(32)
    assert thread_count() == 4
    assert len(set(in_threads(lambda _: threading.get_ident(), range(200)))) <= 4
    assert torch.get_num_threads() == 32
