"""Logs of labels and feedback, vectors in files, and what long runs leave: how whole ones are written and read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from nudge_integrations.cli.vector_files import read_ids, read_vectors
from nudge_integrations.corpus import Neighbours
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import NudgeError
from nudge_integrations.feedback import FeedbackLog, LabelLog, read_feedback
from nudge_integrations.finetune.pairs import TrainingPair
from nudge_integrations.finetune.record import RunRecord
from nudge_integrations.scale import open_corpus
from nudge_integrations.scale.checkpoints import Checkpoints

__all__ = [
    "checkpoint",
    "checkpoint_content",
    "exports",
    "exports_content",
    "feedback_log",
    "feedback_log_content",
    "label_log",
    "label_log_content",
    "parquet",
    "parquet_content",
    "run_record",
    "run_record_content",
    "vector_files",
    "vector_files_content",
]

CORPUS = {f"d{row}": f"text {row}" for row in range(4)}
_LABELS = (
    *((("q team", "d1", 1.0), "team"), (("q team", "d2", -1.0), "team"), (("q", "d3", 2.0), "team")),
    *((("q thumbs", "d1", 1.0), "thumbs"), (("q thumbs", "d2", -1.0), "thumbs")),
)
VECTORS = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)


def each(work: Callable[[Any], Any], names: tuple[Any, ...]) -> list[Any]:
    """Do something with every file, whatever is wrong with the others; then raise the first error of ours."""
    found, errors = [], []
    for name in names:
        try:
            found.append(work(name))
        except NudgeError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return found


def label_log(folder: Path) -> None:
    log = LabelLog(folder / "labels.jsonl")
    for source in ("team", "thumbs"):
        qrels: dict[str, dict[str, float]] = {f"q {source}": {"d1": 1.0, "d2": -1.0}, "q": {"d3": 2.0}}
        dataset = RetrievalDataset(CORPUS, {query: f"text of {query}" for query in qrels}, qrels)
        time = "2026-01-02T03:04:05+00:00"
        log.add(dataset, query_vectors=VECTORS[:2], encoder="toy", source=source, time=time)
    log.confirm({"d1": "another text"}, time=time)
    log.note_fit("a nudge", encoder="toy", documents=4, options={"step": 0.1}, time=time)


def label_log_content(folder: Path) -> Any:
    log = LabelLog(folder / "labels.jsonl")
    labels = [(one.query, one.document, one.grade, one.source, one.text_hash) for one in log.labels]
    log.dataset(CORPUS)
    log.weights(half_life=30.0, now="2026-01-02T03:04:05+00:00")
    vectors = {query: vector.tolist() for query, vector in log.query_vectors("toy").items()}
    log.since("a nudge")
    again = log.copy()
    again.delete(query="text of q")
    again.add(RetrievalDataset(CORPUS, {"new": "new"}, {"new": {"d1": 1.0}}))
    again.save(folder / "copy.jsonl")
    (folder / "copy.jsonl").unlink(missing_ok=True)
    # Lines that are gone are no damage that could be seen: any part of the whole is right.
    known = [(*pair, source, text_hash(CORPUS[pair[1]])) for pair, source in _LABELS]
    strange = [label for label in labels if label not in known]
    return strange or [query for query, vector in vectors.items() if vector not in VECTORS[:2].tolist()]


def feedback_log(folder: Path) -> None:
    log = FeedbackLog(folder / "feedback.jsonl", largest=500)
    for turn in range(4):
        log.shown(f"question {turn}", ["d1", "d2"], scores=[0.5, 0.25], shuffled=turn % 2 == 0)
        log.record(f"question {turn}", "d1", "yes", position=0)
        log.record(f"question {turn}", None, "no", cited=["d2"])
        log.record(f"question {turn}", "d2", "click", shown=["d1", "d2"])
        log.record(f"question {turn}", "d2", "correction", instead="d3")


def feedback_log_content(folder: Path) -> Any:
    log = FeedbackLog(folder / "feedback.jsonl", largest=500)
    feedback = log.read()
    feedback.labels(CORPUS)
    repr(feedback)


def exports(folder: Path) -> None:
    ubi = [
        {"query_id": "1", "user_query": "tea", "query_response_hit_ids": ["d1", "d2"], "timestamp": "2026-01-02"},
        {
            "query_id": "1",
            "action_name": "click",
            "event_attributes": {"object": {"object_id": "d2"}, "position": {"ordinal": 2}},
        },
    ]
    phoenix = [
        {"context.span_id": "s", "name": "retrieve", "attributes": {"input": {"value": "tea"}}},
        {"span_id": "s", "annotator_kind": "HUMAN", "document_position": 0, "result": {"label": "yes", "score": 1}},
    ]
    langsmith = [
        {"id": "r", "run_type": "retriever", "inputs": {"query": "tea"}, "outputs": {"documents": [{"id": "d1"}]}},
        {"run_id": "r", "key": "user", "score": 1},
    ]
    langfuse = [
        {"id": "o", "traceId": "t", "input": "tea", "output": [{"id": "d1"}]},
        {"traceId": "t", "observationId": "o", "name": "thumb", "value": 1},
    ]
    judgements = [{"query": "tea", "docid": "d1", "rating": 3}, {"query": "tea", "docid": "d2", "rating": 0}]
    for name, records in (("ubi", ubi), ("phoenix", phoenix), ("langsmith", langsmith), ("langfuse", langfuse)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "judgements.json").write_text(json.dumps(judgements))
    with (folder / "judgements.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(judgements[0]))
        writer.writeheader()
        writer.writerows(judgements)


def exports_content(folder: Path) -> Any:
    kinds = ("ubi", "phoenix", "langsmith", "langfuse", "judgements")
    names = (*((f"{name}.jsonl", name) for name in kinds[:-1]), ("judgements.json", None), ("judgements.csv", None))
    each(lambda name: repr(read_feedback(folder / name[0], form=name[1]).labels(CORPUS)), names)


def vector_files(folder: Path) -> None:
    np.save(folder / "vectors.npy", VECTORS)
    np.savez_compressed(folder / "vectors.npz", vectors=VECTORS)
    save_file({"vectors": VECTORS}, folder / "vectors.safetensors")
    (folder / "ids.txt").write_text("".join(f"{name}\n" for name in CORPUS))
    (folder / "ids.json").write_text(json.dumps(list(CORPUS)))
    (folder / "ids.jsonl").write_text("".join(json.dumps({"_id": name}) + "\n" for name in CORPUS))


def vector_files_content(folder: Path) -> Any:
    each(lambda kind: float(np.asarray(read_vectors(folder / f"vectors.{kind}")).sum()), ("npy", "npz", "safetensors"))
    each(lambda kind: len(read_ids(folder / f"ids.{kind}")), ("txt", "json", "jsonl"))


def run_record(folder: Path) -> None:
    RunRecord({"seed": 0}, (TrainingPair("q", "d", ("n",)),), 0.5).save(folder)


def run_record_content(folder: Path) -> Any:
    record = RunRecord.load(folder, {"seed": 0})
    return None if record is None else (record.baseline, [(one.query, one.negatives) for one in record.pairs])


def checkpoint(folder: Path) -> None:
    rows = np.arange(6, dtype=np.int64).reshape(2, 3)
    Checkpoints(folder).save("search", 7, Neighbours(VECTORS[:2], rows))


def checkpoint_content(folder: Path) -> Any:
    row, found = Checkpoints(folder).load("search")
    # What cannot be gone on from is searched anew: either is right.
    return found is None or (row, found.scores.tolist(), found.rows.tolist()) == (
        7,
        VECTORS[:2].tolist(),
        [[0, 1, 2], [3, 4, 5]],
    )


def parquet(folder: Path) -> None:
    for part, (start, stop) in enumerate(((0, 2), (2, 4))):
        columns = {"id": list(CORPUS)[start:stop], "vector": VECTORS[start:stop].tolist()}
        pq.write_table(pa.table(columns), folder / f"part-{part}.parquet")


def parquet_content(folder: Path) -> Any:
    corpus = open_corpus(f"{folder}/*.parquet", threads=1)
    corpus.search(VECTORS[:1], 2)
    corpus.take(np.array([0]))
