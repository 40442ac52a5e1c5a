"""Every format that is read: how a whole one is written, and what is done with what can be read of a damaged one."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fuzz_logs as logs
import numpy as np
from numpy.typing import NDArray
from typer.testing import CliRunner

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.app import app
from nudge_integrations.dataset import RetrievalDataset, Splits
from nudge_integrations.encoding import CachedEncoder
from nudge_integrations.errors import ArtifactError, DatasetError, InputError
from nudge_integrations.evaluation import RunFolder, evaluate, read_run, write_run
from nudge_integrations.fusion import LexicalIndex
from nudge_integrations.generation.journal import Journal
from nudge_integrations.index import ExactIndex
from nudge_integrations.pipeline import fit
from nudge_integrations.pipeline.nudged_index import NudgedIndex
from nudge_integrations.storage import Log
from nudge_integrations.stores.canary import Canary, Prediction
from nudge_integrations.stores.journal import RolloutJournal, latest_journal
from nudge_integrations.stores.plan import RolloutPlan
from nudge_integrations.stores.store import StoreInfo

__all__ = ["FORMATS", "Format"]

IDS = [f"d{row}" for row in range(5)]
TEXTS = [f"text {row}" for row in range(5)]
RNG = np.random.default_rng(0)
BASE = RNG.standard_normal((5, 3)).astype(np.float32)
QUERIES = RNG.standard_normal((6, 3)).astype(np.float32)
DATASET = RetrievalDataset(
    dict(zip(IDS, TEXTS, strict=True)),
    {f"q{row}": f"query {row}" for row in range(6)},
    {f"q{row}": {f"d{row % 3}": 1 + row % 2, "d4": 0} for row in range(6)},
)


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: What it is called.
        write: Writes a whole one into a folder.
        content: Reads and uses what is in a folder; what it returns can be compared.
        checked: Whether checksums guard it: then bytes that changed give an error, or the same content.
        replaced: Whether writing it again replaces what is there, whole, or refuses.
    """

    name: str
    write: Callable[[Path], None]
    content: Callable[[Path], Any]
    checked: bool = True
    replaced: bool = False


@cache
def _nudge() -> Nudge:
    options: dict[str, Any] = {"document_vectors": BASE, "query_vectors": QUERIES}
    return fit(DATASET, "toy", method="nudge-n", step=0.4, **options)


def _nudge_content(folder: Path) -> Any:
    nudge = Nudge.load(folder)
    # Sealed again it may be of another dimension, or know documents elsewhere.
    vectors = np.resize(BASE, (5, nudge.dimension)) if nudge.dimension else np.empty((5, 0))
    said = str(nudge), nudge.fingerprint, nudge.base_hashes, nudge.max_norm, repr(nudge.diff(nudge))
    nudge.transform_queries(vectors)
    placed = nudge.apply(list(IDS), vectors)
    nudge.revert(list(IDS), placed)
    return said, placed.tolist()


def _exact_index(folder: Path) -> None:
    ExactIndex(IDS, BASE, metadata=[{"row": row} for row in range(5)]).save(folder)


def _exact_index_content(folder: Path) -> Any:
    index = ExactIndex.load(folder)
    vectors = np.ones((1, index.dimension or 1), np.float32)
    found, scores = index.search(vectors, 3)
    filtered, _ = index.search(vectors, 3, where={"row": 1})
    index.insert(["new"], vectors, [{}])
    return index.ids, index.get_metadata(index.ids), found, scores.tolist(), filtered


def _nudged_index(folder: Path) -> None:
    index = NudgedIndex()
    index.insert(IDS, BASE, TEXTS, [{"row": row} for row in range(5)])
    index.apply(_nudge())
    index.save(folder)


def _nudged_index_content(folder: Path) -> Any:
    index = NudgedIndex.load(folder)
    query = np.ones(index.base.dimension or 1, np.float32)
    hits = [(hit.id, hit.text, dict(hit.metadata), hit.score) for hit in index.search(query, 3)]
    index.search(query, 3, where={"row": 1})
    index.revert()
    return hits, dict(index.snapshot().texts), [hit.id for hit in index.search(query, 3)]


def _run_folder(folder: Path) -> None:
    before = {query: IDS for query in DATASET.queries}
    after = {query: IDS[::-1] for query in DATASET.queries}
    result = {"before": {"ndcg@10": 0.5}, "dataset": "toy"}
    RunFolder(_nudge(), result, DATASET, DATASET, DATASET, before, after, BASE, QUERIES).save(folder)


def _run_folder_content(folder: Path) -> Any:
    run = RunFolder.load(folder)
    compared = run.compare(run.metrics, resamples=5)
    return str(compared.before.means), str(compared.after.means), run.test.hash, run.train.hash, run.documents.tolist()


class _Encoder:
    """Gives every text a vector that only depends on it."""

    fingerprint = "toy"

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return BASE[[IDS.index(text) for text in texts]]

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode_documents(texts)


def _cache(folder: Path) -> None:
    CachedEncoder(_Encoder(), folder).encode_documents(IDS[:4])


def _cache_content(folder: Path) -> Any:
    vectors = CachedEncoder(_Encoder(), folder).encode_documents(IDS)
    assert np.isfinite(vectors).all()
    assert vectors.any(axis=1).all()
    assert vectors.shape == (5, 3)
    return vectors.tolist()


def _journal(folder: Path) -> None:
    journal = Journal(folder / "journal.jsonl")
    for name in IDS:
        journal.add(name, "prompt", [f"what is {name}?", "why?"])


def _journal_content(folder: Path) -> Any:
    journal = Journal(folder / "journal.jsonl")
    kept = [questions for name in IDS if (questions := journal.get(name, "prompt")) is not None]
    assert all(isinstance(question, str) for questions in kept for question in questions)
    Log(folder / "journal.jsonl", "nudge-integrations generated questions").append([])
    # Damaged lines are left out and asked for again, so that any part of the whole is right.
    return all(questions in [[f"what is {name}?", "why?"] for name in IDS] for questions in kept)


def _use(dataset: RetrievalDataset) -> None:
    report = dataset.validate()
    repaired, _ = dataset.repaired()
    assert repaired.validate().ok
    str(report), repr(dataset)
    repaired.relevance()
    repaired.query_groups()
    assert len(dataset.hash) == 64


def _beir(folder: Path) -> None:
    DATASET.to_beir(folder, "train")
    DATASET.to_beir(folder, "test")


def _beir_content(folder: Path) -> Any:
    splits = Splits.read(folder)
    for part in (splits.train, splits.test):
        _use(part)


def _question_answer(folder: Path) -> None:
    DATASET.to_json(folder / "dataset.json")


def _question_answer_content(folder: Path) -> Any:
    _use(RetrievalDataset.from_json(folder / "dataset.json"))


def _tables(folder: Path) -> None:
    rows = [
        {"user_input": text, "reference_contexts": [DATASET.corpus[i] for i in DATASET.qrels[query]]}
        for query, text in DATASET.queries.items()
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "rows.json").write_text(json.dumps(rows))
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _tables_content(folder: Path) -> Any:
    errors = []
    for name in ("rows.jsonl", "rows.json", "rows.csv"):
        try:
            _use(RetrievalDataset.from_object(folder / name))
        except DatasetError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _hub(folder: Path) -> None:
    DATASET.to_beir(folder, "test")
    for name in ("corpus", "queries"):
        (folder / name).mkdir()
        (folder / f"{name}.jsonl").rename(folder / name / "test-00000-of-00001.jsonl")


def _hub_content(folder: Path) -> Any:
    _use(RetrievalDataset.from_beir(folder))


def _run_files(folder: Path) -> None:
    run = {query: IDS for query in DATASET.queries}
    write_run(run, folder / "run.json")
    write_run(run, folder / "run.trec")


def _run_files_content(folder: Path) -> Any:
    errors = []
    for name in ("run.json", "run.trec"):
        try:
            evaluate(read_run(folder / name), DATASET, ["ndcg@10"])
        except (DatasetError, InputError) as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _config(folder: Path) -> None:
    (folder / "nudge.toml").write_text('[fit]\nencoder = "cli_doubles:ENCODER"\nseed = 7\nunseen-weight = 0.5\n')


def _config_content(folder: Path) -> Any:
    arguments = ["fit", str(folder / "absent"), "-o", str(folder / "out"), "--config", str(folder / "nudge.toml")]
    result = CliRunner().invoke(app, arguments)
    if "nudge: unexpected " in result.output or not isinstance(result.exception, SystemExit):
        raise AssertionError(result.output) from result.exception


def _lexical(folder: Path) -> None:
    index = LexicalIndex()
    index.insert(IDS, ["cats purr", "dogs bark", "birds", "", "cats and dogs"])
    index.save(folder)


def _lexical_content(folder: Path) -> Any:
    index = LexicalIndex.load(folder)
    scores = index.scores(["cats", "a dog barks"]).tolist()
    best = index.score("cats").best(2)
    index.insert(["new"], ["fish"])
    index.scores(["fish"])
    return index.ids, scores, best


def _rollout(folder: Path) -> None:
    base, info = BASE.astype(np.float64), StoreInfo("toy", "here", 5, 3, "cosine", dtype="float64")
    canary = Canary(QUERIES, [{"d1": 1.0}] * 6, "ndcg@10", np.full(6, 0.5))
    predicted = Prediction("ndcg@10", 6, 0.4, 0.5, 0.002, 1.0)
    plan = RolloutPlan(*(info, "nudge", tuple(IDS), base, base, -base, (), 1.0, 0.1, (0.0, 0.2), predicted, canary, ()))
    journal = RolloutJournal.create(folder / "rollout-0001", plan, 2)
    journal.note(state="applying")
    journal.move("000000.safetensors", "done")
    journal.note(during="applying", skipped={"d0": "somebody changed it"})


def _rollout_content(folder: Path) -> Any:
    journal, _ = latest_journal(folder)
    if journal is None:
        raise ArtifactError("there is no journal")
    rows = [(b.ids, b.base.tolist(), b.target.tolist()) for b in journal.batches()]
    canary = None if journal.canary is None else journal.canary.queries.tolist()
    return rows, canary, journal.prediction, journal.plan["nudge"], journal.rows


FORMATS = (
    Format("nudge", lambda folder: _nudge().save(folder), _nudge_content, replaced=True),
    Format("exact index", _exact_index, _exact_index_content, replaced=True),
    Format("nudged index", _nudged_index, _nudged_index_content, replaced=True),
    Format("run folder", _run_folder, _run_folder_content, replaced=True),
    Format("lexical index", _lexical, _lexical_content, replaced=True),
    Format("rollout journal", _rollout, _rollout_content),
    Format("cache", _cache, _cache_content),
    Format("journal", _journal, _journal_content),
    Format("BEIR folder", _beir, _beir_content, checked=False),
    Format("question-answer JSON", _question_answer, _question_answer_content, checked=False),
    Format("tables", _tables, _tables_content, checked=False),
    Format("folder of the hub", _hub, _hub_content, checked=False),
    Format("run files", _run_files, _run_files_content, checked=False),
    Format("configuration", _config, _config_content, checked=False),
    Format("label log", logs.label_log, logs.label_log_content),
    Format("feedback log", logs.feedback_log, logs.feedback_log_content, checked=False),
    Format("exported feedback", logs.exports, logs.exports_content, checked=False),
    Format("vectors and ids", logs.vector_files, logs.vector_files_content, checked=False),
    Format("fine-tuning record", logs.run_record, logs.run_record_content),
    Format("search checkpoint", logs.checkpoint, logs.checkpoint_content),
    Format("Parquet files", logs.parquet, logs.parquet_content, checked=False),
)
