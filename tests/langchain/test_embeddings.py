"""NudgedEmbeddings: what they give, and that stores, the indexing API, caches and other retrievers get it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.stores import InMemoryByteStore, InMemoryStore
from langchain_core.vectorstores import InMemoryVectorStore
from query_maps import asked, map_alone, mapped

from nudge_integrations import Nudge, RetrievalDataset, fit
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError, MismatchError, SimilarityError
from nudge_integrations.langchain import (
    NudgedEmbeddings,
    NudgeRetriever,
    NudgeVectorStore,
    as_embedding,
    as_encoder,
    check_store,
    ranks_by,
    to_documents,
)

TEXTS = {"cat": "cats purr all day", "dog": "dogs bark at night", "hen": "hens lay eggs", "cow": "cows give milk"}
DATASET = RetrievalDataset(
    TEXTS, {"q": "a breakfast", "r": "who guards the house"}, {"q": {"hen": 1, "cow": 1}, "r": {"dog": 1}}
)
LIST = list(TEXTS.values())


class Watched(Embeddings):
    """Base embeddings that note by which path they were asked."""

    def __init__(self, base: Embeddings) -> None:
        self.base = base
        self.calls: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append("documents")
        return self.base.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        self.calls.append("query")
        return self.base.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append("async documents")
        return self.base.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        self.calls.append("async query")
        return self.base.embed_query(text)


@pytest.fixture
def base(encoder: Encoder) -> Embeddings:
    return as_embedding(encoder)


def fitted(base: Embeddings, method: str = "nudge-n", step: float = 0.5) -> Nudge:
    return fit(DATASET, as_encoder(base), method=method, step=step)


def test_known_texts_get_nudged_vectors_and_others_base_vectors(base: Embeddings) -> None:
    nudge = fitted(base)
    embedding = NudgedEmbeddings(base, nudge)
    vectors = embedding.embed_documents([*LIST, "dummy_text"])
    expected = nudge.apply([*TEXTS, "unknown"], base.embed_documents([*LIST, "dummy_text"]))
    np.testing.assert_array_equal(np.array(vectors, dtype=np.float32), expected)
    assert embedding.embed_query("a breakfast") == pytest.approx(base.embed_query("a breakfast"))
    assert embedding.embed_documents([]) == []


@pytest.mark.parametrize("change", [lambda nudge: nudge, mapped, map_alone], ids=["moved", "mapped", "map alone"])
@pytest.mark.parametrize("method", ["nudge-n", "nudge-m"])
async def test_async_goes_through_the_base_models_async_path(base: Embeddings, method: str, change: Any) -> None:
    watched = Watched(base)
    embedding = NudgedEmbeddings(watched, change(fitted(base, method)))
    assert await embedding.aembed_documents(LIST) == embedding.embed_documents(LIST)
    assert await embedding.aembed_query("eggs") == embedding.embed_query("eggs")
    assert watched.calls == ["async documents", "documents", "async query", "query"]


def test_magnitudes_get_the_extra_coordinate_so_that_cosine_and_l2_rank_as_the_inner_product(base: Embeddings) -> None:
    nudge = fitted(base, "nudge-m", 2.0)
    embedding = NudgedEmbeddings(base, nudge)
    vectors = np.array(embedding.embed_documents([*LIST, "another text"]))
    query = np.array(embedding.embed_query("a breakfast"))
    assert vectors.shape[1] == len(query) == 33
    assert query[-1] == 0
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), nudge.max_norm, rtol=1e-6)
    bare = NudgedEmbeddings(base, nudge, extra_coordinate=False)
    np.testing.assert_allclose(vectors @ query, np.array(bare.embed_documents([*LIST, "another text"])) @ query[:-1])


def test_the_query_map_is_applied_to_queries_alone(base: Embeddings) -> None:
    turned = np.roll(np.eye(32, dtype=np.float32), 1, axis=1)
    nudge = dataclasses.replace(fitted(base), query_map=turned)
    embedding = NudgedEmbeddings(base, nudge)
    asked = np.array(base.embed_query("eggs"))
    expected = asked + asked @ turned
    assert embedding.embed_query("eggs") == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
    assert embedding.embed_documents(LIST) == NudgedEmbeddings(base, fitted(base)).embed_documents(LIST)
    retriever = NudgeRetriever.from_artifact(nudge, base, to_documents(DATASET), k=4)
    scores = np.array(embedding.embed_documents(LIST)) @ np.array(embedding.embed_query("eggs"))
    assert [d.metadata["score"] for d in retriever.invoke("eggs")] == pytest.approx(np.sort(scores)[::-1], abs=1e-6)


def test_the_query_map_comes_before_the_extra_coordinate(base: Embeddings) -> None:
    nudge = mapped(fitted(base, "nudge-m", 2.0))
    query = NudgedEmbeddings(base, nudge).embed_query("eggs")
    assert query == pytest.approx([*asked(nudge, [base.embed_query("eggs")])[0], 0.0], abs=1e-6)


def test_a_cache_of_queries_never_serves_those_of_another_map(base: Embeddings) -> None:
    cached = pytest.importorskip("langchain_classic.embeddings").CacheBackedEmbeddings
    nudge, files = fitted(base), InMemoryByteStore()
    for change in (nudge, mapped(nudge), map_alone(nudge), nudge):
        embedding = NudgedEmbeddings(base, change)
        over = cached.from_bytes_store(
            embedding, files, namespace=embedding.fingerprint, query_embedding_cache=True, key_encoder="sha256"
        )
        assert over.embed_query("eggs") == pytest.approx(embedding.embed_query("eggs"))


def test_a_query_is_rewritten_embedded_and_mapped(base: Embeddings) -> None:
    nudge = map_alone(fitted(base))
    retriever = NudgeRetriever.from_artifact(nudge, base, to_documents(DATASET), k=4, query_transform=lambda _: "eggs")
    scores = np.array(base.embed_documents(LIST)) @ asked(nudge, [base.embed_query("eggs")])[0]
    found = retriever.invoke("another question")
    assert [document.metadata["score"] for document in found] == pytest.approx(np.sort(scores)[::-1], abs=1e-6)


def test_what_cannot_be_right_is_refused(base: Embeddings) -> None:
    nudge = fitted(base)
    embedding = NudgedEmbeddings(base, nudge)
    with pytest.raises(InputError, match="nudged already"):
        NudgedEmbeddings(embedding, nudge)
    with pytest.raises(InputError, match="base vectors"):
        as_encoder(embedding)
    with pytest.raises(InputError, match="by id only"):
        NudgedEmbeddings(base, dataclasses.replace(nudge, text_hashes=()))
    with pytest.raises(MismatchError, match="another model"):
        NudgedEmbeddings(Watched(_Turned(base)), nudge).embed_documents(LIST)
    named = fit(DATASET, as_encoder(base), step=0.5)
    of_other_framework = dataclasses.replace(named, encoder="llama_index:HuggingFaceEmbedding:fake")
    assert NudgedEmbeddings(base, of_other_framework).embed_documents(LIST)
    with pytest.raises(MismatchError, match="fake-encoder"):
        NudgedEmbeddings(as_embedding(dataclasses.replace(as_encoder(base), fingerprint="other")), named)  # type: ignore[type-var]


class _Turned(Embeddings):
    def __init__(self, base: Embeddings) -> None:
        self.base = base

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector[::-1] for vector in self.base.embed_documents(texts)]

    def embed_query(self, text: str) -> list[float]:
        return self.base.embed_query(text)[::-1]


def test_the_indexing_api_skips_unchanged_texts_unless_the_update_is_forced(base: Embeddings) -> None:
    first, second = fitted(base, step=0.3), fitted(base, step=0.8)
    store = InMemoryVectorStore(NudgedEmbeddings(base, first))
    records = InMemoryRecordManager("animals")
    records.create_schema()
    documents = to_documents(DATASET)

    def write(**options: Any) -> Any:
        return index(documents, records, store, key_encoder="sha256", **options)

    def vectors() -> set[tuple[float, ...]]:
        return {tuple(entry["vector"]) for entry in store.store.values()}

    assert write()["num_added"] == 4
    store.embedding = NudgedEmbeddings(base, second)
    assert write()["num_skipped"] == 4
    assert vectors() == set(map(tuple, NudgedEmbeddings(base, first).embed_documents(LIST)))
    assert write(force_update=True)["num_updated"] == 4
    assert vectors() == set(map(tuple, NudgedEmbeddings(base, second).embed_documents(LIST)))


def test_the_indexing_api_writes_to_our_store(base: Embeddings) -> None:
    records = InMemoryRecordManager("animals")
    records.create_schema()
    store = NudgeVectorStore(base)
    index(to_documents(DATASET), records, store, key_encoder="sha256")
    # It gives documents ids of its own, so labels find them by text.
    assert len(store.fit(DATASET, step=0.5)) == 3
    kept = index(to_documents(DATASET)[:3], records, store, cleanup="full", key_encoder="sha256")
    assert (kept["num_skipped"], kept["num_deleted"], len(store)) == (3, 1, 3)


def test_a_cache_under_or_over_them_serves_the_right_vectors(base: Embeddings) -> None:
    cached = pytest.importorskip("langchain_classic.embeddings").CacheBackedEmbeddings
    watched = Watched(base)
    under = cached.from_bytes_store(watched, InMemoryByteStore(), namespace="base", key_encoder="sha256")
    first, second = (NudgedEmbeddings(under, fitted(base, step=step)) for step in (0.3, 0.8))
    assert first.embed_documents(LIST) != second.embed_documents(LIST)
    assert watched.calls == ["documents"]
    files = InMemoryByteStore()
    for embedding in (first, second, first):
        over = cached.from_bytes_store(embedding, files, namespace=embedding.fingerprint, key_encoder="sha256")
        np.testing.assert_allclose(over.embed_documents(LIST), embedding.embed_documents(LIST))
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == NudgedEmbeddings(base, fitted(base, step=0.3)).fingerprint


def test_a_store_is_checked_before_it_ranks(base: Embeddings) -> None:
    bare = NudgedEmbeddings(base, fitted(base, "nudge-m"), extra_coordinate=False)
    with pytest.raises(SimilarityError, match="ranks by cosine"):
        check_store(InMemoryVectorStore(bare))
    assert check_store(InMemoryVectorStore(NudgedEmbeddings(base, fitted(base)))).nudge.similarity == "cosine"
    assert ranks_by(NudgeVectorStore(base)) == "dot"


def test_from_vectorstore_gives_what_from_artifact_gives(base: Embeddings) -> None:
    for method in ("nudge-n", "nudge-m"):
        nudge = fitted(base, method, 1.0)
        store = InMemoryVectorStore(NudgedEmbeddings(base, nudge))
        store.add_documents(to_documents(DATASET))
        one = NudgeRetriever.from_vectorstore(store, nudge, k=3)
        other = NudgeRetriever.from_artifact(nudge, base, to_documents(DATASET), k=3)
        assert one.nudge is nudge
        for query in ("a breakfast", "who barks", "eggs"):
            assert [d.id for d in one.invoke(query)] == [d.id for d in other.invoke(query)]
            assert [d.id for d in one.invoke(query, k=1)] == [d.id for d in other.invoke(query, k=1)]


def test_in_an_ensemble(base: Embeddings) -> None:
    ensemble_of = pytest.importorskip("langchain_classic.retrievers").EnsembleRetriever
    nudged = NudgeRetriever.from_documents(to_documents(DATASET), base, DATASET, step=0.9, k=2)
    plain = NudgeVectorStore(base)
    plain.add_documents(to_documents(DATASET))
    ensemble = ensemble_of(retrievers=[nudged, plain.as_retriever(search_kwargs={"k": 2})], weights=[0.9, 0.1])
    assert ensemble.invoke("a breakfast")[0].id == nudged.invoke("a breakfast")[0].id


def test_parents_are_found_by_their_nudged_pieces(base: Embeddings) -> None:
    classic = pytest.importorskip("langchain_classic.retrievers")
    splitters = pytest.importorskip("langchain_text_splitters")
    parents = {"farm": "hens lay eggs\n\ncows give milk", "yard": "dogs bark\n\ncats purr", "city": "trams\n\nbuses"}
    labels = RetrievalDataset(parents, {"q": "a breakfast"}, {"q": {"farm": 1}})
    store = NudgeVectorStore(base)
    splitter = splitters.CharacterTextSplitter(separator="\n\n", chunk_size=14, chunk_overlap=0)
    retriever = classic.ParentDocumentRetriever(vectorstore=store, docstore=InMemoryStore(), child_splitter=splitter)
    retriever.add_documents([Document(page_content=text) for text in parents.values()], ids=list(parents))
    assert len(store) == 5
    nudge = store.fit(labels, step=0.9)
    assert len(nudge) == 2
    assert retriever.invoke("a breakfast")[0].page_content == parents["farm"]
    several = classic.MultiVectorRetriever(vectorstore=store, docstore=retriever.docstore, id_key="doc_id")
    assert several.invoke("a breakfast")[0].page_content == parents["farm"]


def test_fingerprints_of_embeddings(base: Embeddings, encoder: Encoder) -> None:
    class Named(Watched):
        model = "model-1"

    assert "Named:model-1:" in as_encoder(Named(base)).fingerprint
    named = Named(base)
    named.fingerprint = "its own"  # type: ignore[attr-defined]
    assert as_encoder(named).fingerprint == "its own"
    retriever = NudgeRetriever.from_documents(to_documents(DATASET), base, DATASET, step=0.5)
    assert retriever.nudge is not None
    assert retriever.nudge.encoder == encoder.fingerprint
