"""The two edges on the same documents, labels and vectors: the same documents in the same order with their scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.indices.query.query_transform.base import BaseQueryTransform
from llama_index.core.schema import QueryBundle
from llama_index_doubles import nudge_of
from query_maps import asked, map_alone, mapped

from nudge_integrations import Nudge, RetrievalDataset, fit, langchain, llama_index
from nudge_integrations.evaluation import evaluate
from nudge_integrations.fusion import Bm25, Fusion, LexicalIndex

METHODS = ("nudge-n", "nudge-m")
Answers = list[list[tuple[str, float]]]


class Plain(Embeddings):
    """A framework's own embeddings: no fingerprint, but the same vectors."""

    def __init__(self, encoder: Any) -> None:
        self.inner = langchain.as_embedding(encoder)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.inner.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self.inner.embed_query(text)


class Rewritten(BaseQueryTransform):
    """Embeds one text for every query."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def _get_prompts(self) -> Any:
        return {}

    def _update_prompts(self, prompts: Any) -> None:
        pass

    def _run(self, query_bundle: QueryBundle, metadata: Any) -> QueryBundle:
        return QueryBundle(query_bundle.query_str, custom_embedding_strs=[self.text])


def asked_of_llama_index(retriever: Any, dataset: RetrievalDataset) -> Answers:
    return [
        [(found.node.node_id, found.score) for found in retriever.retrieve(query)] for query in dataset.queries.values()
    ]


def asked_of_langchain(retriever: Any, dataset: RetrievalDataset) -> Answers:
    return [
        [(str(document.id), document.metadata["score"]) for document in retriever.invoke(query)]
        for query in dataset.queries.values()
    ]


def check_same(one: Answers, other: Answers) -> None:
    assert [[name for name, _ in found] for found in one] == [[name for name, _ in found] for found in other]
    scores = [np.array([[score for _, score in found] for found in answers]) for answers in (one, other)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)


def some(real: Callable[[str], Any], name: str) -> tuple[RetrievalDataset, RetrievalDataset, Any]:
    collection = real(name)
    train, test = collection.split("train"), collection.split("test")
    if name == "metatool":  # some of its many labels
        train, test = train.split((0.04, 0.96))[0], test.split((0.05, 0.95))[0]
    return train, test, collection.encoder


@pytest.mark.parametrize(
    ("name", "method"), [("scifact", "nudge-n"), ("metatool", "nudge-m"), ("metatool", "query-map")]
)
def test_each_fits_and_both_retrieve_the_same(real: Callable[[str], Any], name: str, method: str) -> None:
    train, test, encoder = some(real, name)
    engine = llama_index.NudgeFinetuneEngine(train, encoder, nodes=llama_index.to_nodes(train), method=method)
    engine.finetune()
    assert (nudge_of(engine).status, nudge_of(engine).query_map is not None) == ("improved", method == "query-map")
    retriever = langchain.NudgeRetriever.from_documents(
        langchain.to_documents(train), encoder, train, k=10, method=method
    )
    one = asked_of_llama_index(engine.as_retriever(similarity_top_k=10), test)
    other = asked_of_langchain(retriever, test)
    check_same(one, other)
    runs = [{q: dict(found) for q, found in zip(test.queries, answers, strict=True)} for answers in (one, other)]
    assert evaluate(runs[0], test).means == evaluate(runs[1], test).means


@pytest.mark.parametrize("method", METHODS)
def test_what_one_edge_saves_the_other_serves(real: Callable[[str], Any], method: str, tmp_path: Path) -> None:
    train, test, encoder = some(real, "metatool")
    nodes, documents = llama_index.to_nodes(train), langchain.to_documents(train)
    theirs, ours = llama_index.as_embedding(encoder), Plain(encoder)
    fitted = langchain.NudgeRetriever.from_documents(documents, ours, train, k=5, method=method, step=0.4)
    assert fitted.nudge is not None
    fitted.nudge.save(tmp_path / "nudged")
    engine = llama_index.NudgeFinetuneEngine.from_artifact(tmp_path / "nudged", theirs, nodes)
    expected = asked_of_langchain(fitted, test)
    check_same(asked_of_llama_index(engine.as_retriever(similarity_top_k=5), test), expected)
    engine.save(tmp_path / "saved by the other")
    again = langchain.NudgeRetriever.from_artifact(tmp_path / "saved by the other", ours, documents, k=5)
    check_same(asked_of_langchain(again, test), expected)


@pytest.mark.parametrize("method", METHODS)
def test_both_nudged_embeddings_give_the_same_vectors(real: Callable[[str], Any], method: str) -> None:
    train, test, encoder = some(real, "metatool")
    engine = llama_index.NudgeFinetuneEngine(train, encoder, nodes=llama_index.to_nodes(train), method=method, step=0.4)
    engine.finetune()
    nudge = langchain.NudgeRetriever.from_documents(
        langchain.to_documents(train), encoder, train, method=method, step=0.4
    ).nudge
    assert nudge is not None
    theirs, ours = engine.get_finetuned_model(), langchain.NudgedEmbeddings(encoder, nudge)
    texts, queries = list(train.corpus.values()), list(test.queries.values())[:20]
    np.testing.assert_allclose(theirs.get_text_embedding_batch(texts), ours.embed_documents(texts), atol=1e-6)
    asked = [theirs.get_query_embedding(query) for query in queries]
    np.testing.assert_allclose(asked, [ours.embed_query(query) for query in queries], atol=1e-6)


@pytest.mark.parametrize(("method", "change"), [("nudge-n", map_alone), ("nudge-m", mapped)], ids=METHODS)
def test_both_put_every_query_through_the_map(
    real: Callable[[str], Any], method: str, change: Callable[[Nudge], Nudge], tmp_path: Path
) -> None:
    train, test, encoder = some(real, "metatool")
    nodes, documents = llama_index.to_nodes(train), langchain.to_documents(train)
    base = encoder.encode_documents(list(train.corpus.values()))
    queries = encoder.encode_queries(list(test.queries.values()))
    given: Any = {"document_vectors": base, "query_vectors": encoder.encode_queries(list(train.queries.values()))}
    nudge = change(fit(train, encoder, method=method, step=0.4, **given))
    nudge.save(tmp_path)
    engine = llama_index.NudgeFinetuneEngine.from_artifact(tmp_path, encoder, nodes)
    retriever = langchain.NudgeRetriever.from_artifact(tmp_path, encoder, documents, k=5)
    exact = asked(nudge, queries) @ nudge.apply(train.document_ids, base).T.astype(np.float64)
    rows = np.argsort(-exact, axis=1, kind="stable")[:, :5]
    expected = [[(train.document_ids[row], line[row]) for row in best] for line, best in zip(exact, rows, strict=True)]
    theirs = engine.as_retriever(similarity_top_k=5)
    check_same(asked_of_llama_index(theirs, test), expected)
    check_same(asked_of_langchain(retriever, test), expected)
    # A query that comes as a vector is a base vector on both sides.
    vector = queries[0].tolist()
    bundle = QueryBundle("", embedding=vector)
    store: Any = retriever.vectorstore
    found = [(document.id, score) for document, score in store.similarity_search_with_score_by_vector(vector, k=5)]
    check_same([[(hit.node.node_id, hit.get_score()) for hit in theirs.retrieve(bundle)]], expected[:1])
    check_same([found], expected[:1])
    models = engine.get_finetuned_model(), langchain.NudgedEmbeddings(encoder, nudge)
    texts = list(test.queries.values())[:20]
    vectors = [[models[0].get_query_embedding(text) for text in texts], [models[1].embed_query(text) for text in texts]]
    np.testing.assert_allclose(np.array(vectors)[:, :, : base.shape[1]], [asked(nudge, queries[:20])] * 2, atol=1e-6)


async def test_words_count_alike_in_both_edges_also_async_and_after_a_save(
    real: Callable[[str], Any], tmp_path: Path
) -> None:
    train, test, encoder = some(real, "metatool")
    nodes, documents = llama_index.to_nodes(train), langchain.to_documents(train)
    base = encoder.encode_documents(list(train.corpus.values()))
    queries = encoder.encode_queries(list(test.queries.values()))
    given: Any = {"document_vectors": base, "query_vectors": encoder.encode_queries(list(train.queries.values()))}
    nudge = fit(train, encoder, method="nudge-n", step=0.4, **given)
    nudge = replace(nudge, fusion=Fusion({"bm25": 0.5}, Bm25().as_dict(), 100, 0.1, 0.01))
    nudge.save(tmp_path / "nudge")
    words = LexicalIndex(Bm25())
    words.insert(train.document_ids, list(train.corpus.values()))
    dense = queries @ nudge.apply(train.document_ids, base).T.astype(np.float64)
    exact = dense + 0.5 * words.scores(list(test.queries.values()))
    rows = np.argsort(-exact, axis=1, kind="stable")[:, :5]
    expected = [[(train.document_ids[row], line[row]) for row in best] for line, best in zip(exact, rows, strict=True)]
    engine = llama_index.NudgeFinetuneEngine.from_artifact(tmp_path / "nudge", encoder, nodes)
    theirs = engine.as_retriever(similarity_top_k=5)
    ours = langchain.NudgeRetriever.from_artifact(tmp_path / "nudge", encoder, documents, k=5)
    check_same(asked_of_llama_index(theirs, test), expected)
    check_same(asked_of_langchain(ours, test), expected)
    theirs.persist(tmp_path / "theirs")
    again = llama_index.NudgeRetriever.from_persist_dir(tmp_path / "theirs", encoder, similarity_top_k=5)
    check_same(asked_of_llama_index(again, test), expected)
    first = next(iter(test.queries.values()))
    check_same([[(hit.node.node_id, hit.get_score()) for hit in await theirs.aretrieve(first)]], expected[:1])
    check_same([[(str(hit.id), hit.metadata["score"]) for hit in await ours.ainvoke(first)]], expected[:1])
    store: Any = ours.vectorstore
    nearest = store.max_marginal_relevance_search(first, k=1, fetch_k=5, lambda_mult=0.5)
    assert nearest[0].id in dict(expected[0])


def test_a_store_that_ranks_by_vectors_alone_is_told_of_and_given_words_where_it_is_searched_by_us(
    real: Callable[[str], Any], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    train, test, encoder = some(real, "metatool")
    nudge = fit(train, encoder, method="nudge-n", step=0.4)
    replace(nudge, fusion=Fusion({"bm25": 0.5}, Bm25().as_dict(), 100, 0.1, 0.01)).save(tmp_path)
    llama_index.NudgeFinetuneEngine.from_artifact(tmp_path, encoder, llama_index.to_nodes(train)).as_index()
    weighed = Nudge.load(tmp_path)
    embedding = langchain.NudgedEmbeddings(langchain.as_embedding(encoder), weighed)
    store = InMemoryVectorStore.from_documents(langchain.to_documents(train), embedding)
    over_store = langchain.NudgeRetriever.from_vectorstore(store, weighed, k=5)
    said = [record.getMessage() for record in caplog.records if "ranks by vectors alone" in record.getMessage()]
    assert [line.split()[0] for line in said] == ["SimpleVectorStore"]
    assert all("dense + 0.5 bm25" in line for line in said)
    ours = langchain.NudgeRetriever.from_artifact(weighed, encoder, langchain.to_documents(train), k=5)
    found = (asked_of_langchain(one, test) for one in (over_store, ours))
    assert len({str([[name for name, _ in hits] for hits in answers]) for answers in found}) == 1


def test_words_are_those_that_were_asked_whatever_is_embedded_in_their_place(real: Callable[[str], Any]) -> None:
    train, test, encoder = some(real, "metatool")
    nudge = fit(train, encoder, method="nudge-n", step=0.4)
    nudge = replace(nudge, fusion=Fusion({"bm25": 0.5}, Bm25().as_dict(), 100, 0.1, 0.01))
    nodes, documents = llama_index.to_nodes(train), langchain.to_documents(train)
    text = next(iter(train.queries.values()))
    theirs = llama_index.NudgeRetriever(nodes, encoder, nudge, query_transform=Rewritten(text), similarity_top_k=5)
    ours = langchain.NudgeRetriever.from_artifact(nudge, encoder, documents, k=5, query_transform=lambda query: text)
    check_same(asked_of_llama_index(theirs, test), asked_of_langchain(ours, test))
    queries = list(test.queries.values())[:2]
    assert ours.invoke(queries[0]) != ours.invoke(queries[1])
