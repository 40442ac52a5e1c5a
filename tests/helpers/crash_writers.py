"""Everything that writes to disk and replaces what is there: how to save one of three states, and how to read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import label_writers as labels
import numpy as np
from file_steps import normal_name
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding.embedding_cache import EmbeddingCache, text_key
from nudge_integrations.evaluation import RunFolder
from nudge_integrations.finetune.pairs import TrainingPair
from nudge_integrations.finetune.record import RunRecord
from nudge_integrations.fusion import Bm25, Fusion, LexicalIndex
from nudge_integrations.index import ExactIndex
from nudge_integrations.pipeline.nudged_index import NudgedIndex
from nudge_integrations.storage import Log, replacing
from nudge_integrations.stores.journal import RolloutJournal, latest_journal
from nudge_integrations.stores.plan import RolloutPlan
from nudge_integrations.stores.store import StoreInfo

__all__ = ["NEW", "NEXT", "OLD", "SIZES", "WRITERS", "Writer", "names_in"]

OLD, NEW, NEXT = range(3)
SIZES = (3, 40, 1500)
WIDTH = 4


@dataclass(frozen=True)
class Writer:
    """One way of writing.

    Attributes:
        name: What it is called.
        save: Saves one of the states `OLD`, `NEW` or `NEXT`, of a size, in place of the one before.
        content: Reads what is there: None where nothing is, else what can be compared.
        grows: Whether states are added to the ones before, so that a first part of the new one may be there.
        tidy: Whether the next save removes everything that a killed one left.
        power: Whether a save that returned survives a power cut.
    """

    name: str
    save: Callable[[Path, int, int], None]
    content: Callable[[Path], Any]
    grows: bool = False
    tidy: bool = True
    power: bool = True


def names_in(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, without the random parts of their names."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
    return sorted(map(normal_name, found))


def _or_nothing(read: Callable[[Path], Any], manifest: str) -> Callable[[Path], Any]:
    """Return a reader that says None where nothing was saved, and raises for whatever else is wrong."""
    return lambda folder: read(folder) if (folder / manifest).exists() else None


@cache
def _vectors(state: int, size: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(100 * state + size).standard_normal((size, WIDTH)).astype(np.float32)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _ids(size: int) -> tuple[str, ...]:
    return tuple(f"d{row}" for row in range(size))


@cache
def _nudge(state: int, size: int) -> Nudge:
    values: dict[str, Any] = {
        **{"ids": _ids(size), "vectors": _vectors(state, size), "base": _vectors(9, size), "text_hashes": ()},
        **{"similarity": "cosine", "method": "nudge-n", "step": 0.1 * (state + 1), "temperature": None},
        **{"metric": "ndcg@10", "baseline": 0.1, "score": 0.2, "unseen_baseline": 0.0, "unseen_score": 0.0},
        **{"status": "improved", "reason": "", "warnings": (), "protocol": "validation", "queries": 3},
        **{"encoder": "toy", "dataset_hash": "", "validation_hash": None, "ambiguous_texts": {}, "versions": {}},
        "created": "2026-01-01",
        "fusion": Fusion({"bm25": 0.5}, Bm25().as_dict(), 100, 0.05, 0.01) if state == NEW else None,
    }
    return Nudge(**values)


def _attached(state: int) -> dict[str, bytes]:
    return {"notes.txt": b"new"} if state == NEW else {"old.txt": b"other", "more.txt": b""} if state == NEXT else {}


def _save_nudge(folder: Path, state: int, size: int) -> None:
    _nudge(state, size).save(folder, attachments=_attached(state))


def _nudge_content(folder: Path) -> Any:
    nudge, files = Nudge.load_with_files(folder)
    return nudge.step, nudge.fingerprint, {name: files[name] for name in files if name.endswith(".txt")}


def _save_index(folder: Path, state: int, size: int) -> None:
    count = size + state
    ExactIndex(_ids(count), _vectors(state, count), metadata=[{"state": state}] * count).save(folder)


def _index_content(folder: Path) -> Any:
    index = ExactIndex.load(folder)
    return index.ids, index.vectors.tobytes(), index.get_metadata(index.ids)


def _save_nudged_index(folder: Path, state: int, size: int) -> None:
    index, ids = NudgedIndex(), _ids(size)
    index.insert(ids, _vectors(9, size), ids, [{"state": state}] * size)
    if state != NEXT:
        index.apply(_nudge(state, size))
    index.save(folder, model=str(state))


def _nudged_index_content(folder: Path) -> Any:
    index = NudgedIndex.load(folder)
    entries = [hit.metadata["state"] for hit in index.get(index.base.ids)]
    step = None if index.nudge is None else index.nudge.step
    return index.model, step, index.base.vectors.tobytes(), index.served.vectors.tobytes(), entries


def _save_run(folder: Path, state: int, size: int) -> None:
    ids, queries = _ids(size), [f"q{row}" for row in range(3)]
    qrels = {query: {ids[state % size]: 1.0} for query in queries}
    labels = RetrievalDataset(dict(zip(ids, ids, strict=True)), dict(zip(queries, queries, strict=True)), qrels)
    ranking = {query: list(ids[:2]) for query in queries}
    validation = labels if state == NEW else None
    vectors = _vectors(9, size), _vectors(8, 3)
    run = RunFolder(_nudge(state, size), {"state": state}, labels, validation, labels, ranking, ranking, *vectors)
    run.save(folder)


def _run_content(folder: Path) -> Any:
    run = RunFolder.load(folder)
    return run.nudge.step, run.result, run.train.qrels, run.validation is None, run.documents.tobytes()


def _records(state: int, size: int) -> list[dict[str, Any]]:
    return [{"state": state, "row": row} for row in range(min(size, 200))]


def _log(folder: Path) -> Log:
    return Log(folder / "log.jsonl", "test/log")


def _append(folder: Path, state: int, size: int) -> None:
    _log(folder).append(_records(state, size))


def _compact(folder: Path, state: int, size: int) -> None:
    _log(folder).compact(lambda records: _records(state, size))


def _log_content(folder: Path) -> Any:
    return [(record["state"], record["row"]) for record in _log(folder).read().records] or None


def _save_cache(folder: Path, state: int, size: int) -> None:
    count = min(size, 200)
    EmbeddingCache(folder, "toy").append(
        [text_key("query", f"{state} {row}") for row in range(count)], _vectors(state, count)
    )


def _cache_content(folder: Path) -> Any:
    if not folder.exists():
        return None
    keys = [text_key("query", f"{state} {row}") for state in range(3) for row in range(200)]
    found = EmbeddingCache(folder, "toy").read(keys)
    return [found[key].tobytes() for key in keys if key in found] or None


def _save_lexical(folder: Path, state: int, size: int) -> None:
    index = LexicalIndex()
    index.insert(_ids(size), [f"cats number{row % 50} state{state}" for row in range(size)])
    index.save(folder)


def _lexical_content(folder: Path) -> Any:
    index = LexicalIndex.load(folder)
    return len(index), index.scores(["cats number1", "state0", "state1", "state2"]).tobytes()


def _plan(state: int, size: int) -> RolloutPlan:
    info = StoreInfo("toy", "here", size, WIDTH, "cosine")
    base = _vectors(9, size)
    return RolloutPlan(
        *(info, f"nudge {state}", _ids(size), base, base, _vectors(state, size), (), 1.0, 0.1, (0.0, 0.2)),
        *(None, None, ()),
    )


def _save_journal(folder: Path, state: int, size: int) -> None:
    RolloutJournal.create(latest_journal(folder)[1], _plan(state, size), max(1, size // 3))


def _journal_content(folder: Path) -> Any:
    journal, _ = latest_journal(folder)
    if journal is None:
        return None
    batches = [(batch.ids, batch.base.tobytes(), batch.target.tobytes()) for batch in journal.batches()]
    return journal.plan["nudge"], journal.state, journal.counts(), batches


def _go_on(folder: Path, state: int, size: int) -> None:
    """Go on with a rollout: begin it, take a batch, and another one."""
    if latest_journal(folder)[0] is None:
        _save_journal(folder, OLD, size)
    journal, _ = latest_journal(folder)
    assert journal is not None
    journal.note(state="applying", turn=state)
    journal.move(journal.names("todo")[0], "done")


def _progress(folder: Path) -> Any:
    """Return what happened, as a list that grows."""
    journal, _ = latest_journal(folder)
    if journal is None:
        return None
    assert len(list(journal.batches())) == sum(journal.counts().values())
    notes = [f"note {event['turn']}" for event in journal.events()]
    moves = [f"move {number}" for number in range(journal.counts()["done"])]
    together = [step for number in range(3) for step in (*notes[number : number + 1], *moves[number : number + 1])]
    return together or None


def _save_checkpoint(folder: Path, state: int, size: int) -> None:
    with replacing(folder / "map.safetensors") as beside:
        save_file({"map": _vectors(state, size)}, beside)


def _checkpoint_content(folder: Path) -> Any:
    path = folder / "map.safetensors"
    return load_file(path)["map"].tobytes() if path.exists() else None


def _save_record(folder: Path, state: int, size: int) -> None:
    pairs = tuple(TrainingPair(f"q{row}", f"d{row}", ()) for row in range(size))
    RunRecord({"seed": 0}, pairs, 0.1 * state).save(folder)


def _record_content(folder: Path) -> Any:
    record = RunRecord.load(folder, {"seed": 0})
    return None if record is None else (record.baseline, len(record.pairs))


def _save_dataset(folder: Path, state: int, size: int) -> None:
    texts = {name: f"{name} {state}" for name in _ids(size)}
    RetrievalDataset(texts, {"q": "query"}, {"q": {"d0": 1.0}}).to_json(folder / "dataset.json")


def _dataset_content(folder: Path) -> Any:
    return RetrievalDataset.from_json(folder / "dataset.json").hash


WRITERS = {
    writer.name: writer
    for writer in (
        Writer("nudge", _save_nudge, _or_nothing(_nudge_content, "nudge.json")),
        Writer("exact index", _save_index, _or_nothing(_index_content, "index.json")),
        Writer("nudged index", _save_nudged_index, _or_nothing(_nudged_index_content, "collection.json")),
        Writer("lexical index", _save_lexical, _or_nothing(_lexical_content, "lexical.json")),
        Writer("run folder", _save_run, _or_nothing(_run_content, "nudge.json")),
        Writer("log, appended", _append, _log_content, grows=True),
        Writer("log, compacted", _compact, _log_content),
        Writer("labels, added", labels.add_labels, labels.read_labels, grows=True),
        Writer("labels, bounded", labels.add_bounded, labels.read_labels, grows=True),
        Writer("labels, deleted by source", labels.delete_labels, labels.read_labels),
        Writer("cache", _save_cache, _cache_content, grows=True, power=False),
        Writer("rollout journal, created", _save_journal, _journal_content, tidy=False),
        Writer("rollout journal, gone on with", _go_on, _progress, grows=True, tidy=False),
        Writer("checkpoint", _save_checkpoint, _checkpoint_content),
        Writer("fine-tuning record", _save_record, _record_content),
        Writer("dataset", _save_dataset, _or_nothing(_dataset_content, "dataset.json")),
    )
}
