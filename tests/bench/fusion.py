"""Words beside vectors on real collections: the weight that labels choose, beside what is done without labels.

Prints a markdown table of nDCG@10 on the test queries of one split a seed; never fails on a figure.
"""

from __future__ import annotations

import argparse
import json
import logging
import time

import _labelled as labelled
import numpy as np
import numpy.typing as npt
from _labelled import DATA, Collection, IntArray, Labels, source
from _ranking import judge, top
from _rows import oats
from _splits import TABLES
from _tables import markdown, note

from nudge_integrations.fusion import LexicalIndex, LexicalSignal
from nudge_integrations.selection import select
from nudge_integrations.solver import Solution

Scores = npt.NDArray[np.float32]
RRF_K = 60
GRID = np.linspace(0.0, 1.0, 11)


def texts_of(name: str) -> tuple[list[str], dict[str, str]]:
    """Texts of the documents in their order, and query id -> text."""
    directory = DATA / source(name)
    with (directory / "corpus.jsonl").open(encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines]
    documents = [f"{entry.get('title', '')} {entry['text']}".strip() for entry in entries]
    with (directory / "queries.jsonl").open(encoding="utf-8") as lines:
        return documents, {entry["_id"]: entry["text"] for entry in map(json.loads, lines)}


def served(solution: Solution, collection: Collection, labels: Labels) -> Scores:
    """Inner products of queries and documents, as a solution serves both."""
    queries = labels.queries
    if solution.query_map is not None:
        queries = queries + queries @ solution.query_map
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return np.asarray(queries @ solution.apply(collection.documents).T, dtype=np.float32)


def _min_max(scores: Scores) -> Scores:
    low, high = scores.min(axis=1, keepdims=True), scores.max(axis=1, keepdims=True)
    return np.asarray((scores - low) / np.maximum(high - low, 1e-9), dtype=np.float32)


def _reciprocal_ranks(scores: Scores) -> Scores:
    ranks = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    return np.asarray(1.0 / (RRF_K + 1.0 + ranks), dtype=np.float32)


def reciprocal_rank_fusion(dense: Scores, lexical: Scores) -> Scores:
    """Sum of 1 / (60 + rank)."""
    return _reciprocal_ranks(dense) + _reciprocal_ranks(lexical)


def half_and_half(dense: Scores, lexical: Scores) -> Scores:
    """Mean of both, each from 0 to 1 over the documents."""
    return (_min_max(dense) + _min_max(lexical)) / 2.0


def convex(weight: float, dense: Scores, lexical: Scores) -> Scores:
    """(1 - weight) and weight of both, each from 0 to 1 over the documents."""
    return np.asarray((1.0 - weight) * _min_max(dense) + weight * _min_max(lexical), dtype=np.float32)


def ndcg(scores: Scores, labels: Labels) -> float:
    """Mean nDCG@10 in percent."""
    return float(judge(top(scores), labels)["ndcg@10"].mean())


def measure(name: str, table: str, seed: int) -> list[dict[str, float]]:
    """Every way on each split of one collection."""
    collection = labelled.read(name)
    documents, text_of = texts_of(name)
    texts = [text_of[query] for query in collection.query_ids]
    index = LexicalIndex()
    index.insert([str(row) for row in range(len(documents))], documents)
    index.scores([""])
    rows = []
    for parts in TABLES[table][0](collection.labels, seed):
        split = labelled.Split(*(collection.labels.take(part) for part in parts))
        known, test = np.concatenate([parts.train, parts.validation]), split.test
        start = time.perf_counter()
        found = _selected(collection, index, texts, known)
        seconds = time.perf_counter() - start
        note(f"{table} {name} seed {seed}: {seconds:.1f} s, {found}")
        lexical = index.scores([texts[row] for row in parts.test])
        validation = split.validation
        by_words = index.scores([texts[row] for row in parts.validation])
        plain, tuned = test.queries @ collection.documents.T, validation.queries @ collection.documents.T
        best = max(GRID, key=lambda weight: ndcg(convex(weight, tuned, by_words), validation))
        auto = served(found, collection, test)
        fused = auto if found.fusion is None else found.fusion.fused(auto, {"bm25": lexical})
        rows.append(
            {
                "none": ndcg(plain, test),
                "BM25": ndcg(lexical, test),
                "RRF": ndcg(reciprocal_rank_fusion(plain, lexical), test),
                ".5/.5": ndcg(half_and_half(plain, lexical), test),
                "grid": ndcg(convex(float(best), plain, lexical), test),
                "OATS": oats(collection, split, seed)["figures"]["ndcg@10"],
                "auto": ndcg(auto, test),
                "auto, RRF": ndcg(reciprocal_rank_fusion(auto, lexical), test),
                "auto, .5/.5": ndcg(half_and_half(auto, lexical), test),
                "auto + BM25": ndcg(fused, test),
                "weight": 0.0 if found.fusion is None else found.fusion.weights["bm25"],
                "estimate": 100.0 * found.score,
            }
        )
    return rows


def _selected(collection: Collection, index: LexicalIndex, texts: list[str], known: IntArray) -> Solution:
    labels = collection.labels.take(known)
    asked = [texts[row] for row in known]
    data = (collection.documents, labels.queries, labels.gains)
    return select(*data, signals=[LexicalSignal(index)], query_texts=asked)


def report(results: dict[str, list[dict[str, float]]]) -> str:
    """Means over splits, one collection a line."""
    names = list(next(iter(results.values()))[0])

    def shown(name: str, value: float) -> str:
        return f"{value:.2f}" if name == "weight" else f"{value:.1f}"

    lines = [
        [collection, *(shown(name, float(np.mean([row[name] for row in rows]))) for name in names)]
        for collection, rows in results.items()
    ]
    return markdown(["collection", *names], lines)


def main() -> None:
    """Measure what the arguments ask for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", choices=list(TABLES), default="test")
    parser.add_argument("--collections", nargs="+", choices=labelled.NAMES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    logging.getLogger("nudge_integrations").setLevel(logging.ERROR)
    results: dict[str, list[dict[str, float]]] = {}
    for name in arguments.collections or TABLES[arguments.table][1]:
        if labelled.available(name):
            results[name] = [row for seed in arguments.seeds for row in measure(name, arguments.table, seed)]
    print(report(results))


if __name__ == "__main__":
    main()
