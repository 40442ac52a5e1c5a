"""The same figures from `evaluate`, from ir_measures' own command line and from the solver; from any retriever."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import VectorStoreIndex

from nudge_integrations import RetrievalDataset, langchain, llama_index
from nudge_integrations.evaluation import Evaluation, compare, drift, evaluate
from nudge_integrations.index import ExactIndex
from nudge_integrations.llama_index.nodes import with_embeddings
from nudge_integrations.pipeline import fit
from nudge_integrations.solver import solve

NAMES = {"ndcg@10": "nDCG@10", "recall@10": "R@10", "mrr@10": "RR@10", "hit@1": "Success@1"}


def by_command_line(dataset: RetrievalDataset, run: Mapping[str, Sequence[str]], folder: Path) -> dict[str, Any]:
    """Query id (or "all") -> measure -> value, as ir_measures prints it for TREC files."""
    judged = ((query, document, grade) for query, found in dataset.qrels.items() for document, grade in found.items())
    (folder / "qrels").write_text("".join(f"{q} 0 {d} {grade:g}\n" for q, d, grade in judged))
    ranked = ((query, d, rank) for query, found in run.items() for rank, d in enumerate(found, start=1))
    (folder / "run").write_text("".join(f"{q} Q0 {d} {rank} {1000 - rank} ours\n" for q, d, rank in ranked))
    command = [sys.executable, "-m", "ir_measures", "qrels", "run", *NAMES.values(), "-q", "-p", "6"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120)
    values: dict[str, dict[str, float]] = {}
    for query, measure, value in (line.split("\t") for line in done.stdout.splitlines()):
        values.setdefault(query, {})[measure] = float(value)
    return values


@pytest.mark.parametrize(("name", "method"), [("scifact", "nudge-n"), ("nfcorpus", "nudge-m")])
def test_evaluate_ir_measures_and_the_solver_give_the_same_figures(
    real: Callable[[str], Any], name: str, method: str, tmp_path: Path
) -> None:
    collection = real(name)
    train, test = collection.split("train"), collection.split("test")
    documents = collection.encoder.encode_documents(list(train.corpus.values()))
    learned, asked = (collection.encoder.encode_queries(list(part.queries.values())) for part in (train, test))
    held_out = (asked, test.relevance())
    solution = solve(documents, learned, train.relevance(), method=method, step=0.3, validation=held_out, refit=False)
    served = ExactIndex(test.document_ids, solution.apply(documents), similarity=solution.similarity)
    sides = evaluate((documents, asked), test), evaluate((served, asked), test)
    for side, solvers in zip(sides, (solution.baseline, solution.score), strict=True):
        assert side.means["ndcg@10"] == pytest.approx(solvers, abs=1e-6)
        # The last query without its ranking: unanswered, it counts as zero there too.
        *answered, unanswered = test.queries
        run = {query: side.rankings[query] for query in answered}
        printed, ours = by_command_line(test, run, tmp_path), evaluate(run, test)
        assert [ours.means[metric] for metric in NAMES] == pytest.approx(list(printed["all"].values()), abs=1e-6)
        for metric, measure in NAMES.items():
            theirs = {query: printed[query][measure] for query in answered}
            assert {**theirs, unanswered: 0.0} == pytest.approx(dict(ours.per_query[metric]), abs=1e-6)


def test_retrievers_of_both_frameworks_are_evaluated_alike(real: Callable[[str], Any]) -> None:
    collection = real("scifact")
    train, test, encoder = collection.split("train"), collection.split("test"), collection.encoder
    some = test.split((0.02, 0.98))[0]
    documents = encoder.encode_documents(list(train.corpus.values()))
    expected = evaluate((documents, encoder.encode_queries(list(some.queries.values()))), some, depth=10)

    nodes = with_embeddings(llama_index.to_nodes(train), documents)
    plain = VectorStoreIndex(nodes, embed_model=llama_index.as_embedding(encoder))
    store = InMemoryVectorStore(langchain.as_embedding(encoder))
    store.add_documents(langchain.to_documents(train))
    for retriever in (plain.as_retriever(similarity_top_k=10), store.as_retriever(search_kwargs={"k": 10})):
        check_alike(evaluate(retriever, some), expected)
    check_alike(evaluate(store, some, depth=10), expected)


def check_alike(found: Evaluation, expected: Evaluation) -> None:
    assert found.means == pytest.approx(expected.means)
    assert found.rankings == expected.rankings


def test_nudged_retrievers_of_both_edges_are_compared_with_what_they_stand_on(real: Callable[[str], Any]) -> None:
    collection = real("scifact")
    train, test, encoder = collection.split("train"), collection.split("test"), collection.encoder
    documents = encoder.encode_documents(list(train.corpus.values()))
    asked = encoder.encode_queries(list(test.queries.values()))
    nudge = fit(train, encoder, method="nudge-n", document_vectors=documents)
    before = evaluate((documents, asked), test)
    nodes = llama_index.to_nodes(train)
    retrievers = (
        llama_index.NudgeRetriever(nodes, encoder, nudge, similarity_top_k=100, vectors=documents),
        langchain.NudgeRetriever.from_artifact(nudge, encoder, langchain.to_documents(train), k=100),
    )
    one, other = (compare(before, retriever, train=train, query_vectors=asked) for retriever in retrievers)
    assert one.differences == other.differences
    assert one.moved == other.moved
    difference = one.differences["ndcg@10"]
    assert difference.difference > 0.02
    assert difference.low > 0
    assert difference.p_adjusted < 0.05
    assert {group.label for group in one.breakdown("documents").groups} == {"seen", "in part", "unseen"}
    assert one.breakdown("documents")["seen"].differences["ndcg@10"].difference > difference.difference

    found = drift(nudge, train.document_ids, documents, before=before, after=one.after)
    assert found.degrees == pytest.approx(np.full(len(nudge), np.degrees(nudge.step)), abs=0.01)
    assert 0.1 < found.kept.mean() < 1
    assert found.unmoved is not None
    assert 0 < found.unmoved.fell <= found.unmoved.retrieved
