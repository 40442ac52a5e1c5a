"""NudgeVectorStore: what goes in, what is found, nudged and taken back, saved and loaded."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from query_maps import asked, map_alone, mapped

from nudge_integrations import Nudge, RetrievalDataset, fit
from nudge_integrations.encoding import Encoder, text_hash
from nudge_integrations.errors import ArtifactError, CorruptArtifactError, DatasetError, InputError, MismatchError
from nudge_integrations.langchain import NudgedEmbeddings, NudgeVectorStore, as_embedding, as_encoder

ANIMALS = ["cats purr", "dogs bark", "cows moo", "hens cluck", "owls hoot", "frogs croak"]
DOCUMENTS = [
    Document(id=f"d{row}", page_content=text, metadata={"row": row, "legs": 2 if row in (3, 4) else 4})
    for row, text in enumerate(ANIMALS)
]
FEEDBACK = RetrievalDataset(
    {f"d{row}": text for row, text in enumerate(ANIMALS)},
    {"q": "breakfast", "r": "who is awake at night"},
    {"q": {"d3": 1}, "r": {"d4": 1, "d5": 1}},
)


class Counting(Embeddings):
    """Counts what it is asked for."""

    def __init__(self, base: Embeddings) -> None:
        self.base = base
        self.documents: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.documents += texts
        return self.base.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self.base.embed_query(text)


@pytest.fixture
def embedding(encoder: Encoder) -> Embeddings:
    return as_embedding(encoder)


@pytest.fixture
def store(embedding: Embeddings) -> NudgeVectorStore:
    store = NudgeVectorStore(embedding)
    store.add_documents(DOCUMENTS)
    return store


def ids(found: list[Document]) -> list[str]:
    return [str(document.id) for document in found]


def test_search_is_exact_inner_product_whatever_the_lengths(embedding: Embeddings) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((200, 32)) * rng.uniform(0.1, 10, (200, 1))
    store = NudgeVectorStore(embedding)
    store.add_embeddings([f"text {row}" for row in range(200)], vectors, ids=[str(row) for row in range(200)])
    query = rng.standard_normal(32)
    found = store.similarity_search_with_score_by_vector(query.tolist(), k=20)
    scores = vectors @ query
    assert [int(str(document.id)) for document, _ in found] == np.argsort(-scores)[:20].tolist()
    assert [score for _, score in found] == pytest.approx(np.sort(scores)[::-1][:20], rel=1e-5)


def test_documents_come_back_as_they_went_in(store: NudgeVectorStore) -> None:
    assert store.get_by_ids(["d4", "absent", "d0"]) == [DOCUMENTS[4], DOCUMENTS[0]]
    found = store.similarity_search("dogs bark", k=1)
    assert found == [DOCUMENTS[1]]
    found[0].metadata["row"] = "changed"
    assert store.get_by_ids(["d1"])[0].metadata["row"] == 1


def test_an_id_that_is_there_is_replaced_and_keeps_its_place(store: NudgeVectorStore) -> None:
    assert store.add_documents([Document(id="d1", page_content="wolves howl")]) == ["d1"]
    assert len(store) == 6
    assert store.get_by_ids(["d1"])[0].page_content == "wolves howl"
    assert ids(store.similarity_search("wolves howl", k=1)) == ["d1"]


def test_ids_come_from_the_call_the_document_the_metadata_or_the_text(embedding: Embeddings) -> None:
    store = NudgeVectorStore(embedding, id_key="key")
    documents = [
        Document(id="own", page_content="a"),
        Document(page_content="b", metadata={"key": 7}),
        Document(page_content="c", metadata={"_id": "qdrant's"}),
        Document(page_content="d"),
    ]
    assert store.add_documents(documents) == ["own", "7", "qdrant's", text_hash("d")]
    assert store.add_documents(documents[:2], ids=["given", None]) == ["given", "7"]
    assert store.add_texts(["e"], [{"key": "k"}]) == ["k"]
    assert len(NudgeVectorStore.from_texts(["f", "g"], embedding, ids=["1", "2"])) == 2


def test_the_same_document_twice_is_one_and_a_clash_is_named(embedding: Embeddings) -> None:
    store = NudgeVectorStore(embedding)
    twice = [Document(page_content="same"), Document(page_content="same")]
    assert store.add_documents(twice) == [text_hash("same")] * 2
    assert len(store) == 1
    with pytest.raises(InputError, match="'x'"):
        store.add_documents([Document(id="x", page_content="one"), Document(id="x", page_content="two")])
    with pytest.raises(InputError, match="differ"):
        store.add_documents([Document(id="s", page_content="s", metadata={"a": 1}), Document(id="s", page_content="s")])
    with pytest.raises(InputError, match="1 documents came with 2 ids"):
        store.add_documents([Document(page_content="s")], ids=["1", "2"])
    assert len(store) == 1


def test_precomputed_vectors_are_not_embedded(embedding: Embeddings) -> None:
    counting = Counting(embedding)
    store = NudgeVectorStore(counting)
    vectors = embedding.embed_documents(ANIMALS)
    assert store.add_embeddings(ANIMALS, vectors, [{"n": 1}] * 6, [f"d{row}" for row in range(6)])[0] == "d0"
    assert counting.documents == []
    assert store.similarity_search("dogs bark", k=1)[0].metadata == {"n": 1}
    with pytest.raises(InputError, match="2 texts came with 1 embeddings"):
        store.add_embeddings(["a", "b"], [[1.0] * 32])
    with pytest.raises(InputError, match="dimensions"):
        store.add_embeddings(["a"], [[1.0] * 3])
    store.fit(FEEDBACK, step=0.5)
    assert counting.documents == []


def test_filters_are_values_or_functions(store: NudgeVectorStore) -> None:
    assert sorted(ids(store.similarity_search("x", k=9, filter={"legs": 2}))) == ["d3", "d4"]
    assert sorted(ids(store.similarity_search("x", k=9, filter=lambda metadata: metadata["row"] > 3))) == ["d4", "d5"]
    assert store.similarity_search("x", filter={"absent": None}) == []
    with pytest.raises(InputError, match="a mapping or a function"):
        store.similarity_search("x", filter="legs = 2")


def test_delete(store: NudgeVectorStore) -> None:
    assert store.delete(["d0", "absent", "d0"])
    assert len(store) == 5
    assert "d0" not in ids(store.similarity_search("cats purr", k=6))
    with pytest.raises(InputError, match="needs ids"):
        store.delete()


def test_an_empty_store_finds_nothing(embedding: Embeddings) -> None:
    store = NudgeVectorStore(embedding)
    assert store.similarity_search("x") == []
    assert store.max_marginal_relevance_search("x") == []
    assert store.add_documents([]) == []


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m"])
def test_marginal_relevance_begins_at_the_search_and_ends_at_the_most_different(
    store: NudgeVectorStore, method: str
) -> None:
    store.fit(FEEDBACK, method=method, step=1.0)
    nearest = ids(store.similarity_search("breakfast at night", k=6))
    assert ids(store.max_marginal_relevance_search("breakfast at night", k=6, lambda_mult=1.0)) == nearest
    diverse = ids(store.max_marginal_relevance_search("breakfast at night", k=3, lambda_mult=0.0))
    assert diverse[0] == nearest[0]
    assert len(set(diverse)) == 3
    filtered = store.max_marginal_relevance_search("x", k=6, filter={"legs": 2})
    assert sorted(ids(filtered)) == ["d3", "d4"]


async def test_async_gives_the_same(store: NudgeVectorStore, embedding: Embeddings) -> None:
    other = NudgeVectorStore(embedding)
    assert await other.aadd_documents(DOCUMENTS) == [f"d{row}" for row in range(6)]
    for kwargs in ({"k": 3}, {"k": 3, "filter": {"legs": 4}}):
        assert await other.asimilarity_search("hens", **kwargs) == store.similarity_search("hens", **kwargs)
        expected = store.similarity_search_with_score("hens", **kwargs)
        assert await other.asimilarity_search_with_score("hens", **kwargs) == expected
        marginal = store.max_marginal_relevance_search("hens", **kwargs)
        assert await other.amax_marginal_relevance_search("hens", **kwargs) == marginal
    vector = embedding.embed_query("hens")
    assert await other.asimilarity_search_by_vector(vector) == store.similarity_search_by_vector(vector)
    assert await other.aget_by_ids(["d1"]) == store.get_by_ids(["d1"])
    assert await other.adelete(["d1"])


def test_as_a_retriever_of_every_kind(store: NudgeVectorStore) -> None:
    assert ids(store.as_retriever(search_kwargs={"k": 2}).invoke("cows moo"))[0] == "d2"
    assert ids(store.as_retriever(search_type="mmr", search_kwargs={"k": 2}).invoke("cows moo"))[0] == "d2"
    strict = store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.99})
    assert ids(strict.invoke("cows moo")) == ["d2"]


def test_relevance_scores_lie_in_0_to_1_in_the_order_of_the_search(store: NudgeVectorStore) -> None:
    store.fit(FEEDBACK, method="nudge-m", step=2.0)
    found = store.similarity_search_with_relevance_scores("breakfast", k=6)
    assert ids([document for document, _ in found]) == ids(store.similarity_search("breakfast", k=6))
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def scores_of(store: NudgeVectorStore) -> list[tuple[str, float]]:
    queries = ["breakfast", "who is awake at night", "dogs"]
    found = [pair for query in queries for pair in store.similarity_search_with_score(query, k=9)]
    return [(str(document.id), score) for document, score in found]


def test_nudge_serves_what_fit_gives_and_revert_takes_it_back_exactly(
    store: NudgeVectorStore, encoder: Encoder
) -> None:
    before = scores_of(store)
    nudge = store.fit(FEEDBACK, method="nudge-n", step=0.5)
    expected = fit(FEEDBACK, encoder, method="nudge-n", step=0.5)
    assert store.nudge is nudge
    np.testing.assert_allclose(nudge.vectors, expected.vectors, atol=1e-6)
    after = scores_of(store)
    assert after != before
    assert store.similarity_search("breakfast", k=1)[0].id == "d3"
    store.fit(FEEDBACK, method="nudge-n", step=0.5)
    assert scores_of(store) == after
    store.revert()
    assert store.nudge is None
    assert scores_of(store) == before


def test_feedback_may_be_any_form_of_dataset_and_comes_with_options(store: NudgeVectorStore) -> None:
    old = {"queries": FEEDBACK.queries, "corpus": FEEDBACK.corpus, "relevant_docs": {"q": ["d3"], "r": ["d4", "d5"]}}
    nudge = store.fit(old, metric="mrr@3", method="contrastive", seed=3)
    assert nudge.metric == "mrr@3"
    held_out = RetrievalDataset(FEEDBACK.corpus, {"v": "an early breakfast"}, {"v": {"d3": 1}})
    assert store.fit(FEEDBACK, validation=held_out).protocol == "validation"
    with pytest.raises(DatasetError, match="'nobody'"):
        store.fit(RetrievalDataset({"nobody": "x"}, {"q": "y"}, {"q": {"nobody": 1}}))


def test_what_comes_after_the_nudge_is_placed_too(store: NudgeVectorStore) -> None:
    nudge = store.fit(FEEDBACK, method="nudge-m", step=1.0)
    before = scores_of(store)
    store.delete(["d3", "d4"])
    store.add_documents([DOCUMENTS[4], DOCUMENTS[3]])
    assert sorted(scores_of(store)) == sorted(before)
    store.add_documents([Document(id="other name", page_content=ANIMALS[3])])
    np.testing.assert_array_equal(store._index.served.get(["other name"])[0], nudge.vector("d3"))
    store.add_documents([Document(id="d3", page_content="edited")])
    assert np.linalg.norm(store._index.served.get(["d3"])[0]) == pytest.approx(1.0)
    with pytest.raises(MismatchError, match="nudged already"):
        store.add_embeddings([ANIMALS[4]], [nudge.vector("d4")], ids=["d4"])


@pytest.mark.parametrize("change", [mapped, map_alone], ids=["mapped", "map alone"])
def test_queries_are_mapped_also_after_a_change_and_loading_and_no_more_after_revert(
    store: NudgeVectorStore, embedding: Embeddings, tmp_path: Path, change: Callable[[Nudge], Nudge]
) -> None:
    before = scores_of(store)
    nudge = change(fit(FEEDBACK, as_encoder(embedding), method="nudge-m", step=1.0))
    store.apply(nudge)
    store.add_documents([Document(id="new", page_content="eggs in a basket")])
    store.delete(["d0"])
    store.save_local(tmp_path)
    loaded = NudgeVectorStore.load_local(tmp_path, embedding)
    names = ["d1", "d2", "d3", "d4", "d5", "new"]
    texts = [*ANIMALS[1:], "eggs in a basket"]
    vectors = nudge.apply(names, np.asarray(embedding.embed_documents(texts)))
    scores = vectors @ asked(nudge, [embedding.embed_query("breakfast")])[0]
    expected = sorted(zip(scores.tolist(), names, strict=True), reverse=True)
    copied = loaded.base_copy()
    copied.apply(nudge)
    for served in (store, loaded, copied):
        found = served.similarity_search_with_score("breakfast", k=6)
        assert [document.id for document, _ in found] == [name for _, name in expected]
        assert [score for _, score in found] == pytest.approx([score for score, _ in expected], abs=1e-6)
        relevance = [score for _, score in served.similarity_search_with_relevance_scores("breakfast", k=6)]
        assert relevance == sorted(relevance, reverse=True)
        assert all(0 <= score <= 1 for score in relevance)
    loaded.delete(["new"])
    loaded.add_documents(DOCUMENTS[:1])
    loaded.revert()
    assert dict(scores_of(loaded)) == dict(before)


def test_pieces_of_a_labelled_parent_all_move(embedding: Embeddings) -> None:
    store = NudgeVectorStore(embedding)
    store.add_documents(
        [Document(id=f"p{row}", page_content=text, metadata={"book": row // 2}) for row, text in enumerate(ANIMALS)]
    )
    labels = RetrievalDataset({"0": "-", "1": "-", "2": "-"}, {"q": "breakfast"}, {"q": {"1": 1}})
    assert store.fit(labels, parent_key="book", step=0.5).ids == ("p2", "p3")


def test_nudged_embeddings_are_refused_as_a_base(store: NudgeVectorStore, embedding: Embeddings) -> None:
    nudged = NudgedEmbeddings(embedding, store.fit(FEEDBACK, step=0.5))
    with pytest.raises(InputError, match="base embeddings"):
        NudgeVectorStore(nudged)


def test_saved_and_loaded(store: NudgeVectorStore, embedding: Embeddings, tmp_path: Path) -> None:
    for method in (None, "nudge-n", "nudge-m"):
        if method is not None:
            store.fit(FEEDBACK, method=method, step=0.7)
        store.save_local(tmp_path / "store")
        again = NudgeVectorStore.load_local(tmp_path / "store", embedding)
        assert scores_of(again) == scores_of(store)
        assert again.get_by_ids(["d2"]) == [DOCUMENTS[2]]
        assert (again.nudge is None) == (store.nudge is None)
        again.revert()
        again.add_documents([Document(id="new", page_content="bees hum")])
        assert len(again) == 7
    assert len(list((tmp_path / "store").iterdir())) == 2


def test_a_loaded_store_can_be_nudged_from_its_base(
    store: NudgeVectorStore, embedding: Embeddings, tmp_path: Path
) -> None:
    store.fit(FEEDBACK, method="nudge-n", step=0.9)
    store.save_local(tmp_path)
    again = NudgeVectorStore.load_local(tmp_path, embedding)
    for one in (store, again):
        one.fit(FEEDBACK, method="nudge-n", step=0.3)
    assert scores_of(again) == scores_of(store)


def test_nothing_saved_can_run_and_every_byte_counts(
    store: NudgeVectorStore, embedding: Embeddings, tmp_path: Path
) -> None:
    store.fit(FEEDBACK, method="nudge-n", step=0.5)
    store.save_local(tmp_path)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".json", ".jsonl", ".npy", ".safetensors"}
    for file in files:
        data = file.read_bytes()
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(ArtifactError):
            NudgeVectorStore.load_local(tmp_path, embedding)
        file.write_bytes(data)
    NudgeVectorStore.load_local(tmp_path, embedding)


def test_a_save_that_fails_leaves_the_old_one(store: NudgeVectorStore, embedding: Embeddings, tmp_path: Path) -> None:
    store.save_local(tmp_path)
    before = scores_of(store)
    day = datetime.date(2026, 1, 1)
    store.add_documents([Document(id="dated", page_content="today", metadata={"day": day})])
    assert store.get_by_ids(["dated"])[0].metadata["day"] == day
    with pytest.raises(InputError, match="'dated'"):
        store.save_local(tmp_path)
    assert scores_of(NudgeVectorStore.load_local(tmp_path, embedding)) == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_without_a_store_is_named(embedding: Embeddings, tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifactError, match=str(tmp_path)):
        NudgeVectorStore.load_local(tmp_path, embedding)


def test_searches_go_on_while_others_write_and_nudge(store: NudgeVectorStore) -> None:
    nudge = store.fit(FEEDBACK, method="nudge-m", step=1.0)
    errors: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                assert len(store.similarity_search("breakfast", k=3)) == 3
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for row in range(30):
        store.add_documents([Document(id=f"new {row}", page_content=f"breakfast {row}")])
        store.revert() if row % 2 else store.apply(nudge)
        store.delete([f"new {row}"])
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_nudge_made_elsewhere_is_applied(store: NudgeVectorStore, embedding: Embeddings) -> None:
    nudge = fit(FEEDBACK, as_encoder(embedding), method="nudge-n", step=0.5)
    assert isinstance(nudge, Nudge)
    before = dict(scores_of(store))
    store.fit(FEEDBACK, method="nudge-n", step=0.2)
    other = store.base_copy()
    assert (other.nudge, dict(scores_of(other))) == (None, before)
    other.apply(nudge)
    assert store.nudge is not nudge
    assert other.nudge is nudge
    other.delete(["d0"])
    assert len(store) == 6


def test_one_text_in_place_of_a_list_and_what_is_no_document_are_refused(store: NudgeVectorStore) -> None:
    before = len(store)
    for refused in (
        lambda: store.delete("1"),  # type: ignore[arg-type]
        lambda: store.get_by_ids("1"),
        lambda: store.add_documents(["a text"]),  # type: ignore[list-item]
        lambda: store.add_texts(["a text"], [None]),  # type: ignore[list-item]
        lambda: store.add_texts(["a text"], ["x"]),  # type: ignore[list-item]
        lambda: store.similarity_search(None),  # type: ignore[arg-type]
        lambda: store.similarity_search(5),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError):
            refused()
    assert len(store) == before
