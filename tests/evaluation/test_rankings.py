"""Rankings from whatever finds documents: vectors, indexes, and objects that look like the frameworks' own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.evaluation import Evaluation, compare, evaluate
from nudge_integrations.index import ExactIndex

CORPUS = {f"d{row}": f"document {row}" for row in range(12)}
QRELS = {"a": {"d1": 2, "d2": 1, "d9": 1}, "b": {"d3": 1}, "c": {"d0": 1}}
DATASET = RetrievalDataset(CORPUS, {query: f"text of {query}" for query in QRELS}, QRELS)
FOUND = {"a": ["d0", "d1", "d5", "d2"], "b": ["d3", "d1"], "c": []}


def expected() -> Evaluation:
    return evaluate(FOUND, DATASET)


def results(text: str) -> list[str]:
    return FOUND[text.split()[-1]]


@dataclass
class Node:
    node_id: str
    ref_doc_id: str | None = None


@dataclass
class Hit:
    node: Node
    score: float | None = None


@dataclass
class Document:
    page_content: str
    id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


class NodeRetriever:
    def retrieve(self, query: str) -> list[Hit]:
        return [Hit(Node(document)) for document in results(query)]


class ChunkRetriever:
    """Pieces of documents: each document is found twice, by ids that the dataset does not know."""

    def retrieve(self, query: str) -> list[Hit]:
        return [Hit(Node(f"{document} piece {n}", document)) for document in results(query) for n in range(2)]


class DocumentRetriever:
    def invoke(self, query: str) -> list[Document]:
        return [Document("-", document) for document in results(query)]


class StoreThatPutsIdsInMetadata:
    def similarity_search(self, query: str, k: int) -> list[Document]:
        return [Document("-", "an inner id", {"_id": document}) for document in results(query)][:k]

    def search(self, query: str, search_type: str) -> list[Document]:
        raise AssertionError("the framework's search() is another thing")


class RetrieverWithoutIds:
    def invoke(self, query: str) -> list[Document]:
        return [Document(CORPUS[document]) for document in results(query)]


@pytest.mark.parametrize(
    "retriever",
    [
        *(NodeRetriever(), ChunkRetriever(), DocumentRetriever(), StoreThatPutsIdsInMetadata(), RetrieverWithoutIds()),
        *(NodeRetriever().retrieve, DocumentRetriever().invoke),
    ],
    ids=lambda retriever: getattr(retriever, "__qualname__", type(retriever).__name__),
)
def test_results_of_frameworks_are_evaluated_by_document_id(retriever: Any) -> None:
    assert evaluate(retriever, DATASET) == expected()


def test_llama_index_nodes_with_unknown_ids_are_known_by_their_text() -> None:
    schema = pytest.importorskip("llama_index.core.schema")

    def retrieve(text: str) -> list[Any]:
        return [schema.NodeWithScore(node=schema.TextNode(text=CORPUS[document])) for document in results(text)]

    assert evaluate(retrieve, DATASET) == expected()


def test_a_run_is_kept_as_deep_as_it_is() -> None:
    corpus = {f"d{row}": f"document {row}" for row in range(200)}
    dataset = RetrievalDataset(corpus, {"q": "?"}, {"q": {"d161": 1}})
    comparison = compare({"q": list(corpus)}, {"q": ["d161"]}, dataset, resamples=10)
    assert (comparison.moved[0].old_rank, comparison.moved[0].new_rank) == (162, 1)


def test_of_documents_with_one_text_the_first_is_found() -> None:
    dataset = RetrievalDataset({"x": "same", "y": "same"}, {"q": "?"}, {"q": {"x": 1}})
    assert evaluate(lambda _: [Document("same")], dataset).rankings == {"q": ("x",)}


def test_documents_of_another_corpus_are_refused_by_their_ids() -> None:
    with pytest.raises(DatasetError, match=r"none of the documents found .* 'elsewhere'"):
        evaluate(lambda _: [Document("-", "elsewhere")], DATASET)
    with pytest.raises(InputError, match="document ids must be strings; got Document"):
        evaluate(lambda _: [Document("unknown")], DATASET)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_vectors_are_searched_by_the_requested_similarity(similarity: Any) -> None:
    random = np.random.default_rng(1)
    documents, queries = random.standard_normal((12, 5)) * random.uniform(0.2, 5, (12, 1)), random.random((3, 5))
    scores = queries @ (documents / np.linalg.norm(documents, axis=1, keepdims=True) ** (similarity == "cosine")).T
    run = {q: {f"d{row}": value for row, value in enumerate(scores[i])} for i, q in enumerate(QRELS)}
    found = evaluate((documents, queries), DATASET, similarity=similarity)
    assert found == evaluate(run, DATASET)
    index = ExactIndex(list(CORPUS), documents, similarity=similarity)
    assert evaluate((index, queries), DATASET) == found


def test_rankings_have_the_requested_depth_and_at_least_the_metrics_cutoff() -> None:
    everything = {query: list(CORPUS) for query in QRELS}
    assert {len(found) for found in evaluate(everything, DATASET).rankings.values()} == {12}
    shallow = evaluate(everything, DATASET, ["hit@1", "recall@5"], depth=3)
    assert {len(found) for found in shallow.rankings.values()} == {5}
    assert evaluate({"b": ["d3"]}, DATASET).rankings == {"a": (), "b": ("d3",), "c": ()}
    assert shallow.dataset is DATASET


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ((np.ones((12, 2)), np.ones((2, 2))), InputError, "2 rankings for 3 queries"),
        ((np.ones((11, 2)), np.ones((3, 2))), InputError, "11 vectors came with 12 ids"),
        ((np.ones((12, 2)), np.ones((3, 5))), InputError, "queries have 5 dimensions, expected 2"),
        (object(), InputError, "cannot evaluate a object"),
        ((1, 2, 3), InputError, "cannot evaluate a tuple"),
    ],
)
def test_what_finds_nothing_is_refused(source: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        evaluate(source, DATASET)


def test_a_result_that_is_none_is_refused() -> None:
    dataset = RetrievalDataset({"a": "x"}, {"q": "?"}, {"q": {"a": 1}})
    for results in ([None], [None, "a"], ["a", None], [5]):
        with pytest.raises(InputError, match="must be strings"):
            evaluate({"q": results}, dataset, ["hit@1"])
