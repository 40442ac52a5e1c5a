"""A store whose k-th call fails, for every k: success within the retries or one error of ours, and no row is lost."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_stores import NO_WAIT, named
from postgres_server import installed
from safetensors.numpy import save

from nudge_integrations import RetrievalDataset
from nudge_integrations.errors import (
    ArtifactError,
    CorruptArtifactError,
    InputError,
    RolloutError,
    RolloutInterrupted,
    StoreError,
)
from nudge_integrations.storage import claimed
from nudge_integrations.storage.sealing import seal
from nudge_integrations.stores import LiveStore, fit_store, open_store
from nudge_integrations.stores.canary import Canary
from nudge_integrations.stores.journal import RolloutJournal, RowBatch

ROWS, WIDTH, CALLS = 24, 6, 14
IDS = [named(row) for row in range(ROWS)]
RANDOM = np.random.default_rng(3)
VECTORS = RANDOM.standard_normal((ROWS, WIDTH))
DATASET = RetrievalDataset(
    {document_id: document_id for document_id in IDS},
    {f"q{row}": f"question {row}" for row in range(ROWS)},
    {f"q{row}": {IDS[row]: 1.0} for row in range(ROWS)},
)
QUERIES = VECTORS + 0.3 * np.roll(VECTORS, 1, axis=0)


class Busy(Exception):
    status_code = 429


ERRORS: dict[str, Callable[[], BaseException]] = {
    "refused": lambda: ConnectionRefusedError("refused"),
    "time-out": lambda: TimeoutError("too slow"),
    "429": Busy,
    "memory": MemoryError,
    "disk full": lambda: OSError(28, "No space left on device"),
    "Ctrl-C": KeyboardInterrupt,
}


class FailsAt:
    """An adapter whose k-th fetch or write fails, once or from then on; or that lies about a write."""

    def __init__(self, adapter: Any, call: int, error: Callable[[], BaseException] | str, lasting: bool) -> None:
        self._adapter, self._call, self._error, self._lasting = adapter, call, error, lasting
        self.healed = False
        self._calls = 0

    def _fails(self) -> bool:
        self._calls += 1
        return not self.healed and (self._calls == self._call or (self._lasting and self._calls > self._call))

    def describe(self) -> Any:
        return self._adapter.describe()

    def scan(self, rows: int, *, vectors: bool = True) -> Iterator[Any]:
        found: Iterator[Any] = self._adapter.scan(rows, vectors=vectors)
        return found

    def fetch(self, ids: Sequence[str]) -> Any:
        if self._fails() and callable(self._error):
            raise self._error()
        return self._adapter.fetch(ids)

    def write(self, ids: Sequence[str], vectors: Any) -> Any:
        if not self._fails():
            return self._adapter.write(ids, vectors)
        if callable(self._error):
            self._adapter.write(ids[:1], vectors[:1])
            raise self._error()
        self._adapter.write(ids[1:], vectors[1:])
        return ids if self._error == "lying" else ids[1:]


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("name", [*ERRORS, "lying", "partial"])
def test_failing_call_ends_well_or_in_one_error_and_is_recoverable(name: str, lasting: bool, tmp_path: Path) -> None:
    for call in range(1, CALLS):
        held: dict[str, Any] = dict(zip(IDS, VECTORS.tolist(), strict=True))
        store = open_store(held, journal=tmp_path / f"{call}", retries=NO_WAIT)
        nudge = fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-n", step=0.2)
        plan = store.plan(nudge)
        broken = FailsAt(store.adapter, call, ERRORS.get(name, name), lasting)
        failing = LiveStore(broken, tmp_path / f"{call}", NO_WAIT)
        raised: list[RolloutError] = []
        try:
            failing.apply(plan, batch_rows=7)
        except RolloutError as error:
            raised.append(error)
        for failure in raised:
            assert "rollout-0001" in str(failure)
            assert isinstance(failure, RolloutInterrupted) == (name == "Ctrl-C")
        broken.healed = True
        assert failing.resume().verify().at_target == plan.rows
        assert failing.rollback().state == "rolled back"
        assert {document_id: list(vector) for document_id, vector in held.items()} == dict(
            zip(IDS, VECTORS.tolist(), strict=True)
        )


def test_second_applier_is_told_who_is_first(tmp_path: Path) -> None:
    held: dict[str, Any] = dict(zip(IDS, VECTORS.tolist(), strict=True))
    store = open_store(held, journal=tmp_path / "journal", retries=NO_WAIT)
    plan = store.plan(fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-n", step=0.2))
    with (
        claimed(tmp_path / "journal", "applying"),
        pytest.raises(ArtifactError, match=r"in use: .* process .*applying"),
    ):
        store.apply(plan)
    assert held == dict(zip(IDS, VECTORS.tolist(), strict=True))


def test_altered_batch_is_refused_before_it_is_written(tmp_path: Path) -> None:
    held: dict[str, Any] = dict(zip(IDS, VECTORS.tolist(), strict=True))
    store = open_store(held, journal=tmp_path / "journal", retries=NO_WAIT)
    plan = store.plan(fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-n", step=0.2))
    run = store.apply(plan)
    batch = next((tmp_path / "journal").glob("rollout-0001/done/*"))
    data = bytearray(batch.read_bytes())
    data[-1] ^= 1
    batch.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match="altered"):
        run.rollback()


def test_other_folders_are_left_alone_and_journals_that_were_never_whole_go(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    for name in ("rollout-2024-backup", "rollout-x", "rollout-0002/notes", "rollout-0003/done", "rollout-9999"):
        (journal / name).mkdir(parents=True)
    (journal / "rollout-0003" / "done" / "000000.safetensors").touch()
    (journal / "rollout-10000" / "todo").mkdir(parents=True)
    (journal / "rollout-10000" / "todo" / "000000.safetensors").touch()
    store = open_store({"a": [1.0, 0.0], "b": [0.0, 1.0]}, journal=journal)
    dataset = RetrievalDataset({"a": "cats"}, {"q": "who?"}, {"q": {"a": 1}})
    nudge = fit_store(store, dataset, "toy", method="nudge-n", step=0.1, query_vectors=[[0.6, 0.8]])
    assert store.apply(store.plan(nudge)).journal.folder.name == "rollout-0004"
    others = {"rollout-2024-backup", "rollout-x", "rollout-0002", "rollout-0003"}
    assert {path.name for path in journal.glob("rollout-*")} == {*others, "rollout-0004"}
    assert store.rollout().state == "applied"


def sealed_again(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a plan and seal it again, as somebody who means harm would."""
    plan = json.loads((folder / "plan.json").read_text())
    plan.pop("sha256")
    change(plan)
    (folder / "plan.json").write_bytes(seal(plan))


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan["batches"].update({"../../victim": "0" * 64}),
        lambda plan: plan["batches"].update({"..": "0" * 64}),
        lambda plan: plan["batches"].update({"nul\0": "0" * 64}),
        lambda plan: plan["prediction"].update(tolerance="much"),
        lambda plan: plan["prediction"].update(after=None),
        lambda plan: plan["prediction"].pop("metric"),
        lambda plan: plan.update(batches=["000000.safetensors"]),
        lambda plan: plan.update(rows="all"),
    ],
)
def test_a_sealed_plan_that_can_be_none_is_refused(change: Callable[[dict[str, Any]], object], tmp_path: Path) -> None:
    held: dict[str, Any] = dict(zip(IDS, VECTORS.tolist(), strict=True))
    store = open_store(held, journal=tmp_path / "journal", retries=NO_WAIT)
    store.apply(store.plan(fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-n", step=0.2)))
    sealed_again(tmp_path / "journal" / "rollout-0001", change)
    with pytest.raises(CorruptArtifactError):
        RolloutJournal(tmp_path / "journal" / "rollout-0001")


@pytest.mark.parametrize("odd", ["not finite", "an id twice"])
def test_a_batch_with_a_vector_that_is_none_is_never_written(odd: str, tmp_path: Path) -> None:
    held: dict[str, Any] = dict(zip(IDS, VECTORS.tolist(), strict=True))
    store = open_store(held, journal=tmp_path / "journal", retries=NO_WAIT)
    run = store.apply(store.plan(fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-n", step=0.2)))
    folder = tmp_path / "journal" / "rollout-0001"
    batch = next(iter(run.journal.batches()))
    base = np.full_like(batch.base, np.nan) if odd == "not finite" else batch.base
    ids = (batch.ids[0],) * len(batch.ids) if odd == "an id twice" else batch.ids
    data = RowBatch(batch.name, ids, batch.held, base, batch.target).to_bytes()
    (folder / "done" / batch.name).write_bytes(data)
    sealed_again(folder, lambda plan: plan["batches"].update({batch.name: hashlib.sha256(data).hexdigest()}))
    applied = {name: list(row) for name, row in held.items()}
    with pytest.raises(CorruptArtifactError, match="whole batch"):
        open_store(held, journal=tmp_path / "journal", retries=NO_WAIT).rollout().rollback()
    assert held == applied


def test_what_a_store_kept_is_read_with_care(tmp_path: Path) -> None:
    held: dict[str, Any] = dict(zip(IDS, VECTORS.tolist(), strict=True))
    store = open_store(held, journal=tmp_path / "journal", retries=NO_WAIT)
    run = store.apply(store.plan(fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-n", step=0.2)))
    (run.journal.folder / "echo").mkdir(exist_ok=True)
    name = run.journal.names("done")[0]
    assert run.journal.echo(name) is None
    for content in (b"", b"{}", save({"other": np.zeros(1)})):
        (run.journal.folder / "echo" / name).write_bytes(content)
        with pytest.raises(CorruptArtifactError, match="restore it"):
            run.journal.echo(name)
    os.unlink(run.journal.folder / "echo" / name)
    os.mkfifo(run.journal.folder / "echo" / name)
    with pytest.raises(CorruptArtifactError, match="regular file"):
        run.journal.echo(name)


@pytest.mark.parametrize("event", [{"state": 5}, {"state": "applied", "skipped": ["d1"]}])
def test_events_that_are_none_are_refused(event: dict[str, Any], tmp_path: Path) -> None:
    held: dict[str, Any] = dict(zip(IDS, VECTORS.tolist(), strict=True))
    store = open_store(held, journal=tmp_path / "journal", retries=NO_WAIT)
    run = store.apply(store.plan(fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-n", step=0.2)))
    run.journal.note(**event)
    with pytest.raises(CorruptArtifactError, match="events"):
        run.journal.events()


@pytest.mark.parametrize("address", ["http://[half", "chroma://host:port", "nul\0", "~nobody-of-that-name/x", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"is no (address|store)"):
        open_store(address, "c")


def test_a_canary_that_is_none_is_refused() -> None:
    store = open_store(dict(zip(IDS, VECTORS.tolist(), strict=True)))
    nudge = fit_store(store, DATASET, "toy", query_vectors=QUERIES, method="nudge-n", step=0.2)
    whole = store.canary(nudge)
    assert whole is not None
    assert Canary.from_bytes(whole.to_bytes()).relevant == whole.relevant
    changes: list[dict[str, Any]] = [
        {"queries": np.full_like(whole.queries, np.nan)},
        {"queries": whole.queries[:1]},
        {"relevant": [{} for _ in whole.relevant]},
        {"relevant": [{"d": -1.0} for _ in whole.relevant]},
        {"relevant": "none"},
        {"metric": "speed@10"},
        {"expected": np.zeros(3)},
        {"hidden": ["one"]},
        {"hidden": [1] * len(whole)},
    ]
    for change in changes:
        with pytest.raises(CorruptArtifactError, match="canary"):
            Canary.from_bytes(replace(whole, **change).to_bytes())
    for data in (b"", b"{}", b"\0" * 100, save({"queries": whole.queries})):
        with pytest.raises(CorruptArtifactError, match="canary"):
            Canary.from_bytes(data)


@pytest.mark.parametrize("odd", [None, "x", [1.0], [[1.0, 0.0]], ["x", "y"], [None, 1.0], []])
@pytest.mark.parametrize("first", [True, False])
def test_a_vector_in_memory_that_is_none_is_named(odd: Any, first: bool) -> None:
    whole = {"a": [1.0, 0.0], "b": [0.0, 1.0]}
    held = {"odd": odd, **whole} if first else {**whole, "odd": odd}
    labels = RetrievalDataset({"a": "cats"}, {"q": "who?"}, {"q": {"a": 1}})
    with pytest.raises((StoreError, InputError)):
        fit_store(open_store(held), labels, "toy", method="nudge-n", step=0.1, query_vectors=[[0.6, 0.8]])


@pytest.mark.parametrize("labels", [None, {}, "labels.json"])
def test_labels_of_a_store_that_are_none_are_refused(labels: Any) -> None:
    with pytest.raises(InputError, match="RetrievalDataset"):
        fit_store(open_store({"a": [1.0, 0.0]}), labels, "toy", query_vectors=[[0.6, 0.8]])


def test_an_address_where_no_store_answers_is_an_error_of_ours_without_its_password() -> None:
    installed("psycopg")
    with pytest.raises(StoreError, match=r"localhost:1/db cannot be opened") as raised:
        open_store("postgresql://me:secret@localhost:1/db", "documents")
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_index_is_an_error_of_ours(tmp_path: Path) -> None:
    installed("faiss")
    (tmp_path / "notes.index").write_text("no index")
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(tmp_path / "notes.index", ids=["a"])
