"""Real collections through the public classes alone, and a store of a size that counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from nudge_integrations import RetrievalDataset
from nudge_integrations.evaluation import evaluate
from nudge_integrations.langchain import (
    NudgeRetriever,
    NudgeVectorStore,
    as_embedding,
    to_documents,
)
from nudge_integrations.solver import solve


def run_of(ask: Callable[[str], list[Document]], dataset: RetrievalDataset) -> dict[str, dict[str, float]]:
    """Ask every query: query id -> {document id: score}."""
    return {
        query: {str(document.id): document.metadata["score"] for document in ask(text)}
        for query, text in dataset.queries.items()
    }


@pytest.mark.parametrize(("name", "method"), [("scifact", "nudge-n"), ("metatool", "nudge-m")])
def test_the_figures_are_those_of_solve(real: Callable[[str], Any], name: str, method: str) -> None:
    collection = real(name)
    train, test = collection.split("train"), collection.split("test")
    if name == "metatool":  # a tenth of its many labels
        train, _ = train.split((0.1, 0.9))
        test, _ = test.split((0.1, 0.9))
    encoder = collection.encoder
    documents = encoder.encode_documents(list(train.corpus.values()))
    solution = solve(documents, encoder.encode_queries(list(train.queries.values())), train.relevance(), method=method)
    retriever = NudgeRetriever.from_documents(to_documents(train), as_embedding(encoder), train, k=10, method=method)
    nudge = retriever.nudge
    assert nudge is not None
    assert (nudge.step, nudge.method, nudge.baseline, nudge.score) == pytest.approx(
        (solution.step, solution.method, solution.baseline, solution.score)
    )
    queries = encoder.encode_queries(list(test.queries.values())).astype(np.float64)
    scores = (queries @ solution.apply(documents).T.astype(np.float64)).astype(np.float32)
    ids = test.document_ids
    expected = {
        query: {ids[row]: float(scores[position, row]) for row in np.argsort(-scores[position], kind="stable")[:10]}
        for position, query in enumerate(test.query_ids)
    }
    found = run_of(retriever.invoke, test)
    assert [list(found[query]) for query in test.queries] == [list(expected[query]) for query in test.queries]
    after = evaluate(found, test).means
    assert after == evaluate(expected, test).means
    plain = NudgeVectorStore(as_embedding(encoder))
    plain.add_documents(to_documents(train))
    before = evaluate(run_of(NudgeRetriever(vectorstore=plain, k=10).invoke, test), test).means
    assert after["ndcg@10"] > before["ndcg@10"] + 0.02


def test_many_vectors_load_in_a_new_process_with_the_same_results(tmp_path: Path) -> None:
    count, dimension = 100_000, 64
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((count, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = NudgeVectorStore(DeterministicFakeEmbedding(size=dimension))
    texts = [f"text {row}" for row in range(count)]
    store.add_embeddings(texts, vectors, [{"row": row} for row in range(count)], [str(row) for row in range(count)])
    labels = {f"q{row}": {str(row * 100): 1} for row in range(50)}
    dataset = RetrievalDataset({}, {query: query for query in labels}, labels)
    store.fit(dataset, method="nudge-m", step=0.8)
    store.save_local(tmp_path / "store")
    queries = [f"q{row}" for row in range(5)]
    here = [
        [(d.id, d.metadata["row"], score) for d, score in store.similarity_search_with_score(q, k=10)] for q in queries
    ]
    code = f"""
import json, time
from langchain_core.embeddings import DeterministicFakeEmbedding
from nudge_integrations.langchain import NudgeVectorStore
start = time.perf_counter()
store = NudgeVectorStore.load_local({str(tmp_path / "store")!r}, DeterministicFakeEmbedding(size={dimension}))
seconds = time.perf_counter() - start
found = [[(d.id, d.metadata["row"], s) for d, s in store.similarity_search_with_score(q, k=10)] for q in {queries!r}]
print(json.dumps({{"seconds": seconds, "count": len(store), "found": found}}))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    there: dict[str, Any] = json.loads(run.stdout)
    assert there["count"] == count
    assert [[tuple(hit) for hit in found] for found in there["found"]] == here
