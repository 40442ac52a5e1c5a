"""What users of the LangChain edge ran into: each case with the answer that they expect."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableLambda
from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery, Visitor
from langchain_core.vectorstores import InMemoryVectorStore

from nudge_integrations import Nudge, RetrievalDataset, fit
from nudge_integrations.encoding import Encoder, text_hash
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.langchain import NudgedEmbeddings, NudgeRetriever, NudgeVectorStore, as_embedding, as_encoder

TEXTS = {
    "cat": "cats purr and sleep all day",
    "dog": "dogs bark at the mail man",
    "cow": "cows give milk in the morning",
    "hen": "hens lay eggs in the morning",
    "fox": "foxes hunt hens at night",
}
YEARS = {"cat": 2019, "dog": 2020, "cow": 2021, "hen": 2022, "fox": 2023}
LABELS = RetrievalDataset(
    TEXTS,
    {"q": "what makes breakfast", "r": "who guards the house", "s": "breakfast please"},
    {"q": {"hen": 1}, "r": {"dog": 1}, "s": {"hen": 1}},
)
DOCUMENTS = [Document(id=i, page_content=text, metadata={"year": YEARS[i]}) for i, text in TEXTS.items()]


class Remote(Embeddings):
    """A model behind a network: queries one a call, several at once, and sometimes too many."""

    def __init__(self, base: Embeddings) -> None:
        self.base = base
        self.asked: list[str] = []
        self.refused: set[str] = set()
        self.at_once, self.most_at_once = 0, 0
        self.arrived: threading.Barrier | None = None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.base.embed_documents(texts)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.base.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        if self.arrived is not None:
            self.arrived.wait(timeout=10)
        return self._answer(text)

    async def aembed_query(self, text: str) -> list[float]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return self._answer(text)

    def _answer(self, text: str) -> list[float]:
        if text in self.refused:
            raise ConnectionError("429 Too Many Requests")
        self.asked.append(text)
        return self.base.embed_query(text)


class Other(Remote):
    """The same texts in other places."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector[::-1] for vector in self.base.embed_documents(texts)]


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


# ------------------------------------------------------------------------------------------------------- filters


class Translator(Visitor):
    """Writes filters as the framework's translator for Chroma does."""

    allowed_operators = (Operator.AND, Operator.OR, Operator.NOT)
    allowed_comparators = tuple(Comparator)

    def visit_operation(self, operation: Operation) -> Any:
        return {f"${operation.operator.value}": [argument.accept(self) for argument in operation.arguments]}

    def visit_comparison(self, comparison: Comparison) -> Any:
        return {comparison.attribute: {f"${comparison.comparator.value}": comparison.value}}

    def visit_structured_query(self, structured_query: StructuredQuery) -> Any:
        assert structured_query.filter is not None
        return structured_query.query, {"filter": structured_query.filter.accept(self)}


def test_a_self_query_retriever_finds_what_its_filter_says(store: NudgeVectorStore) -> None:
    retrievers = pytest.importorskip("langchain_classic.retrievers")
    asked = StructuredQuery(
        query="who hunts",
        filter=Operation(
            operator=Operator.AND,
            arguments=[
                Comparison(comparator=Comparator.GTE, attribute="year", value=2020),
                Comparison(comparator=Comparator.NIN, attribute="year", value=[2022]),
            ],
        ),
        limit=None,
    )
    retriever = retrievers.SelfQueryRetriever(
        query_constructor=RunnableLambda(lambda _: asked),
        vectorstore=store,
        structured_query_translator=Translator(),
        search_kwargs={"k": 9},
    )
    assert sorted(ids(retriever.invoke("who hunts since 2020, but not in 2022"))) == ["cow", "dog", "fox"]
    with pytest.raises(InputError, match=r"unknown operator '\$like'"):
        store.similarity_search("who", filter={"year": {"$like": "20%"}})


def test_every_search_takes_the_same_filters(store: NudgeVectorStore) -> None:
    where = {"$or": [{"year": {"$lt": 2020}}, {"year": 2023}]}
    vector = store.embeddings.embed_query("who hunts")
    for found in (
        store.similarity_search("who hunts", k=9, filter=where),
        store.similarity_search_by_vector(vector, k=9, filter=where),
        store.max_marginal_relevance_search("who hunts", k=9, filter=where),
        NudgeRetriever(vectorstore=store, filter=where).invoke("who hunts"),
        store.as_retriever(search_kwargs={"k": 9, "filter": where}).invoke("who hunts"),
    ):
        assert sorted(ids(found)) == ["cat", "fox"]


# ------------------------------------------------------------------------------------------------- the same model


@pytest.mark.parametrize("nudged", [False, True])
def test_a_store_is_loaded_with_the_model_that_filled_it_alone(
    embedding: Embeddings, tmp_path: Path, nudged: bool
) -> None:
    store = NudgeVectorStore(Remote(embedding))
    store.add_documents(DOCUMENTS)
    if nudged:
        store.fit(LABELS, step=0.5)
    store.save_local(tmp_path)
    again = NudgeVectorStore.load_local(tmp_path, Remote(embedding))
    assert again.similarity_search_with_score("eggs") == store.similarity_search_with_score("eggs")
    with pytest.raises(MismatchError, match=r"Remote.*Other"):
        NudgeVectorStore.load_local(tmp_path, Other(embedding), verify=False)

    class Disguised(Other):
        __qualname__ = Remote.__qualname__

    NudgeVectorStore.load_local(tmp_path, Disguised(embedding), verify=False)
    with pytest.raises(MismatchError, match="stored vector of"):
        NudgeVectorStore.load_local(tmp_path, Disguised(embedding))
    # An encoder's fingerprint cannot be compared with that of a framework's class: vectors decide.
    NudgeVectorStore.load_local(tmp_path, embedding)


def test_vectors_that_were_given_are_not_embedded_again_on_loading(embedding: Embeddings, tmp_path: Path) -> None:
    store = NudgeVectorStore(embedding)
    store.add_embeddings(["a picture of a cat"], [np.ones(32)], ids=["picture"])
    store.save_local(tmp_path)
    assert len(NudgeVectorStore.load_local(tmp_path, embedding)) == 1
    store.add_documents([Document(id="picture", page_content="now a text")])
    store.save_local(tmp_path)
    with pytest.raises(MismatchError, match="'picture'"):
        NudgeVectorStore.load_local(tmp_path, type("Remote", (Other,), {})(embedding))


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m"])
def test_a_store_that_holds_base_vectors_or_those_of_an_older_nudge_is_refused(
    encoder: Encoder, embedding: Embeddings, method: str
) -> None:
    nudge, older = (fit(LABELS, encoder, method=method, step=step) for step in (0.5, 0.2))

    def filled(by: Embeddings) -> InMemoryVectorStore:
        store = InMemoryVectorStore(by)
        store.add_documents(DOCUMENTS)
        store.embedding = NudgedEmbeddings(embedding, nudge)
        return store

    right = NudgeRetriever.from_vectorstore(filled(NudgedEmbeddings(embedding, nudge)), nudge, k=1)
    assert ids(right.invoke("what makes breakfast")) == ["hen"]
    for wrong in (embedding, NudgedEmbeddings(embedding, older)):
        with pytest.raises(MismatchError, match="InMemoryVectorStore"):
            NudgeRetriever.from_vectorstore(filled(wrong), nudge)
    NudgeRetriever.from_vectorstore(InMemoryVectorStore(NudgedEmbeddings(embedding, nudge)), nudge)


# ------------------------------------------------------------------------------------------- what goes in comes out


async def test_texts_without_an_id_each_are_refused(embedding: Embeddings) -> None:
    store = NudgeVectorStore(embedding)
    with pytest.raises(InputError, match="3 documents came with 1 ids"):
        store.add_texts(["a", "b", "c"], ids=["x"])
    with pytest.raises(InputError, match="3 documents came with 'xyz'"):
        store.add_texts(["a", "b", "c"], ids="xyz")
    with pytest.raises(InputError, match="3 texts came with 1 metadatas"):
        await store.aadd_texts(["a", "b", "c"], [{}])
    with pytest.raises(InputError, match="one string"):
        store.add_texts("abc")
    with pytest.raises(InputError, match="came with 1 ids"):
        await NudgeVectorStore.afrom_texts(["a", "b"], embedding, ids=["x"])
    assert len(store) == 0
    assert store.add_texts(["a", "b"], [{"n": 1}, {}], ids=["x", "y"]) == ["x", "y"]


def test_a_batch_of_queries_is_no_query(store: NudgeVectorStore) -> None:
    vectors: Any = store.embeddings.embed_documents(["eggs", "milk"])
    for search in (store.similarity_search_by_vector, store.max_marginal_relevance_search_by_vector):
        with pytest.raises(InputError, match="several queries one by one"):
            search(vectors)


@pytest.mark.parametrize("metadata", [{1: "one"}, {"pair": (1, 2)}, {"deep": [{"pair": (1, 2)}]}])
def test_metadata_that_would_come_back_as_another_kind_is_not_saved(
    store: NudgeVectorStore, tmp_path: Path, metadata: dict[Any, Any]
) -> None:
    store.save_local(tmp_path)
    store.add_documents([Document(id="odd", page_content="odd", metadata=metadata)])
    with pytest.raises(InputError, match=r"'odd'.*would come back as another type"):
        store.save_local(tmp_path)
    assert len(NudgeVectorStore.load_local(tmp_path, store.embeddings)) == len(DOCUMENTS)


def test_repeated_chunks_without_ids_are_treated_alike_in_one_call_and_in_several(embedding: Embeddings) -> None:
    footer = [Document(page_content="all rights reserved", metadata={"source": name}) for name in ("a.pdf", "b.pdf")]
    again = [copy.deepcopy(footer[0]), Document(page_content="all rights reserved")]
    at_once, one_by_one, given = (NudgeVectorStore(embedding) for _ in range(3))
    names = at_once.add_documents([*footer, *again])
    assert names == [one_by_one.add_documents([document])[0] for document in [*footer, *again]]
    assert names[3] == text_hash("all rights reserved")
    texts, entries = ["all rights reserved"] * 4, [document.metadata for document in [*footer, *again]]
    assert given.add_embeddings(texts, embedding.embed_documents(texts), entries) == names
    for store in (at_once, one_by_one, given):
        found = store.similarity_search("rights", k=9)
        assert [document.metadata for document in found] == [{"source": "a.pdf"}, {"source": "b.pdf"}, {}]


def test_a_score_of_the_users_own_is_kept(embedding: Embeddings) -> None:
    documents = [Document(id="rated", page_content="hens lay eggs", metadata={"score": 5}), *DOCUMENTS]
    retriever = NudgeRetriever.from_documents(documents, embedding, LABELS, step=0.5)
    scores = {document.id: document.metadata["score"] for document in retriever.invoke("eggs")}
    assert scores["rated"] == 5
    assert 0 < scores["hen"] < 1
    store = retriever.vectorstore
    other = NudgeRetriever(vectorstore=store, score_key="relevance").invoke("hens lay eggs", k=1)[0]
    assert (other.metadata["score"], other.metadata["relevance"]) == (5, pytest.approx(1.0, abs=1e-6))
    assert NudgeRetriever(vectorstore=store, score_key=None).invoke("hens lay eggs", k=1)[0].metadata == {"score": 5}


# ---------------------------------------------------------------------------------------------- copies and processes


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])  # noqa: S301  our own
@pytest.mark.parametrize("nudged", [False, True])
def test_stores_and_retrievers_are_copied_and_sent_to_other_processes(
    store: NudgeVectorStore, copied: Callable[[Any], Any], nudged: bool
) -> None:
    if nudged:
        store.fit(LABELS, method="nudge-m", step=0.5)
        store.add_documents([Document(id="bee", page_content="bees hum")])
        store.delete(["cow"])
    retriever = NudgeRetriever(vectorstore=store, k=3)
    expected = retriever.invoke("breakfast")
    again = copied(retriever)
    assert again.invoke("breakfast") == expected
    other = copied(store)
    other.delete(["hen", "bee"])
    other.add_documents([Document(id="owl", page_content="owls hoot")])
    other.fit(RetrievalDataset(TEXTS, {"q": "x"}, {"q": {"cat": 1}}), step=0.3)
    other.revert()
    assert retriever.invoke("breakfast") == expected


# -------------------------------------------------------------------------------------------- what models give back


@pytest.mark.parametrize("vector", [None, [], [float("nan")] * 32])
def test_a_document_or_query_without_a_usable_vector_is_named(embedding: Embeddings, vector: Any) -> None:
    class Partial(Remote):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            vectors = self.base.embed_documents(texts)
            return [vector if "bark" in text else kept for text, kept in zip(texts, vectors, strict=True)]

        async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
            return self.embed_documents(texts)

        def _answer(self, text: str) -> list[float]:
            return vector  # type: ignore[no-any-return]

    store = NudgeVectorStore(Partial(embedding))
    with pytest.raises(InputError, match="'dog'"):
        store.add_documents(DOCUMENTS)
    assert len(store) == 0
    store.add_documents([document for document in DOCUMENTS if document.id != "dog"])
    with pytest.raises(InputError, match="'who hunts'"):
        store.similarity_search("who hunts")
    with pytest.raises(InputError, match="'who hunts'"):
        store.max_marginal_relevance_search("who hunts")
    with pytest.raises(InputError, match="'what makes breakfast'"):
        store.fit(RetrievalDataset(TEXTS, {"q": "what makes breakfast"}, {"q": {"hen": 1}}))
    nudged = NudgedEmbeddings(Partial(embedding), fit(LABELS, as_encoder(embedding), step=0.5))
    with pytest.raises(InputError, match="'dogs bark"):
        nudged.embed_documents(list(TEXTS.values()))
    with pytest.raises(InputError, match="'who hunts'"):
        nudged.embed_query("who hunts")


# ---------------------------------------------------------------------------------------------------------- options


def test_query_vectors_that_are_there_are_taken(embedding: Embeddings) -> None:
    remote = Remote(embedding)
    store = NudgeVectorStore(remote)
    store.add_documents(DOCUMENTS)
    vectors = [embedding.embed_query(text) for text in LABELS.queries.values()]
    nudge = store.fit(LABELS, step=0.5, query_vectors=vectors)
    assert remote.asked == []
    np.testing.assert_array_equal(nudge.vectors, NudgeVectorStore.fit(store, LABELS, step=0.5).vectors)
    with pytest.raises(InputError, match="query_vectors has 1 vectors, the dataset 3 queries"):
        store.fit(LABELS, query_vectors=vectors[:1])


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"device": "zz"}, "device 'zz' cannot be used"),
        ({"document_vectors": [[1.0]]}, "unknown option 'document_vectors'"),
        ({"metrics": "mrr@3"}, "unknown option 'metrics' of a fit.*metric"),
    ],
)
def test_options_of_a_fit_are_checked_before_anything_is_embedded(
    embedding: Embeddings, option: dict[str, Any], named: str
) -> None:
    remote = Remote(embedding)
    store = NudgeVectorStore(remote)
    store.add_documents(DOCUMENTS)
    with pytest.raises(InputError, match=named):
        store.fit(LABELS, **option)
    assert remote.asked == [] or "seed" in option


def test_options_of_marginal_relevance_may_stay_when_the_search_type_changes(store: NudgeVectorStore) -> None:
    options = {"k": 2, "fetch_k": 4, "lambda_mult": 1.0}
    expected = ids(store.similarity_search("breakfast", k=2))
    for search_type in ("similarity", "mmr", "similarity_score_threshold"):
        extra = {"score_threshold": 0.0} if search_type == "similarity_score_threshold" else {}
        retriever = store.as_retriever(search_type=search_type, search_kwargs={**options, **extra})
        assert ids(retriever.invoke("breakfast")) == expected
    with pytest.raises(InputError, match="unknown option 'filters'"):
        store.similarity_search("breakfast", filters={"year": 2020})
    with pytest.raises(InputError, match="unknown option 'filters'"):
        store.max_marginal_relevance_search("breakfast", filters={"year": 2020})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"k": None}, "k must be a whole number; got None"),
        ({"k": 1.5}, "k must be a whole number; got 1.5"),
        ({"k": "3"}, "k must be a whole number"),
        ({"k": 0}, "k must be at least 1"),
    ],
)
def test_numbers_of_results_are_whole_and_positive(
    store: NudgeVectorStore, options: dict[str, Any], named: str
) -> None:
    for search in (store.similarity_search, store.max_marginal_relevance_search):
        with pytest.raises(InputError, match=named):
            search("breakfast", **options)
    retriever = NudgeRetriever(vectorstore=store, k=2)
    if options["k"] is None:
        assert len(retriever.invoke("breakfast", k=None)) == 2
    else:
        with pytest.raises(InputError, match=named):
            retriever.invoke("breakfast", **options)
    assert len(store.similarity_search("breakfast", k=np.int64(2))) == 2  # type: ignore[arg-type]  # as good as an int


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"fetch_k": None}, "fetch_k must be a whole number"),
        ({"lambda_mult": float("nan")}, "lambda_mult must be"),
        ({"lambda_mult": "much"}, "lambda_mult must be"),
        ({"lambda_mult": 2}, "between 0"),
    ],
)
def test_options_of_marginal_relevance_are_checked(store: NudgeVectorStore, options: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        store.max_marginal_relevance_search("breakfast", **options)


# ------------------------------------------------------------------------------------------------ several at once


def repeated(calls: list[Callable[[], object]], times: int) -> None:
    """Make calls from threads of their own, each many times; raises what any of them raises."""
    start = threading.Barrier(len(calls))

    def repeat(call: Callable[[], object]) -> None:
        start.wait(timeout=10)
        for _ in range(times):
            call()

    with ThreadPoolExecutor(len(calls)) as pool:
        for done in [pool.submit(repeat, call) for call in calls]:
            done.result()


def test_deleting_the_same_documents_from_several_threads_is_no_error(store: NudgeVectorStore) -> None:
    store.fit(LABELS, method="nudge-m", step=0.5)

    def change() -> None:
        store.add_documents(DOCUMENTS[:3])
        store.delete(["cat", "dog", "cow"])

    repeated([change] * 4, 30)
    assert sorted(ids(store.get_by_ids(list(TEXTS)))) == ["fox", "hen"]


@pytest.mark.parametrize("nudged", [False, True])
def test_reading_goes_on_beside_deletes(store: NudgeVectorStore, nudged: bool) -> None:
    if nudged:
        store.fit(LABELS, method="nudge-m", step=0.5)

    def change() -> None:
        store.delete(["cat", "dog", "cow"])
        store.add_documents(DOCUMENTS[:3])

    def read() -> None:
        assert {"hen", "fox"} <= set(ids(store.get_by_ids(list(TEXTS))))
        assert len(store.max_marginal_relevance_search("breakfast", k=2, fetch_k=5)) == 2
        assert len(store.similarity_search("breakfast", k=2)) == 2

    repeated([change, read, read], 40)


def test_what_is_deleted_while_it_is_found_is_no_error(store: NudgeVectorStore) -> None:
    class Deleting(list[str]):
        """Ids of which one is deleted as soon as all have been looked at."""

        def __iter__(self) -> Iterator[str]:
            yield from super().__iter__()
            store.delete(["cat"])

    def deleting(metadata: dict[str, Any]) -> bool:
        store.delete(["dog"])
        return True

    assert set(ids(store.get_by_ids(Deleting(TEXTS)))) >= {"dog", "cow", "hen", "fox"}
    assert "cat" not in ids(store.get_by_ids(list(TEXTS)))
    assert len(store.max_marginal_relevance_search("breakfast", k=4, filter=deleting)) == 4
    assert len(store.similarity_search("breakfast", k=9, filter=deleting)) == 3


def test_a_fit_sees_the_documents_of_one_moment(store: NudgeVectorStore, encoder: Encoder) -> None:
    def meanwhile(query: str) -> str:
        store.delete(["cat"])
        store.add_documents([Document(id="ant", page_content="ants carry crumbs")])
        return query

    held_out = RetrievalDataset(TEXTS, {"v": "an early breakfast"}, {"v": {"hen": 1}})
    nudge = store.fit(LABELS, validation=held_out, method="nudge-n", step=0.5, query_transform=meanwhile)
    expected = fit(LABELS, encoder, validation=held_out, method="nudge-n", step=0.5)
    assert nudge.ids == expected.ids
    np.testing.assert_allclose(nudge.vectors, expected.vectors, atol=1e-6)
    assert sorted(ids(store.similarity_search("x", k=9))) == ["ant", "cow", "dog", "fox", "hen"]


def test_fits_beside_deletes_do_not_raise(store: NudgeVectorStore) -> None:
    def change() -> None:
        store.delete(["cat", "cow"])
        store.add_documents([DOCUMENTS[0], DOCUMENTS[2]])

    repeated([change, lambda: store.fit(LABELS, method="nudge-n", step=0.5)], 15)
    assert store.nudge is not None
    assert sorted(store.nudge.ids) == ["dog", "hen"]


# --------------------------------------------------------------------------------------------------- remote models


def test_a_remote_model_is_asked_for_several_queries_at_once(embedding: Embeddings) -> None:
    remote = Remote(embedding)
    remote.arrived = threading.Barrier(3)  # no query is answered before three have arrived
    store = NudgeVectorStore(remote)
    store.add_documents(DOCUMENTS)
    store.fit(LABELS, step=0.5)
    assert sorted(remote.asked) == sorted(LABELS.queries.values())
    remote.asked.clear()
    vectors = as_encoder(remote).encode_queries(list(LABELS.queries.values()))
    np.testing.assert_allclose(vectors, [embedding.embed_query(text) for text in LABELS.queries.values()])


def test_queries_are_embedded_once_for_all_fits(embedding: Embeddings) -> None:
    remote = Remote(embedding)
    store = NudgeVectorStore(remote)
    store.add_documents(DOCUMENTS)
    first = store.fit(LABELS, step=0.5)
    more = RetrievalDataset(TEXTS, {"t": "who is up at night"}, {"t": {"fox": 1}})
    store.fit(LABELS.merge(more), step=0.5)
    assert len(remote.asked) == 4
    assert remote.asked[3] == "who is up at night"
    np.testing.assert_array_equal(store.fit(LABELS, step=0.5).vectors, first.vectors)
    assert len(remote.asked) == 4


@contextmanager
def refused(remote: Remote, text: str) -> Iterator[None]:
    """A model that answers all queries but one, whose error is passed on."""
    remote.refused = {text}
    with pytest.raises(ConnectionError, match="429"):
        yield
    remote.refused = set()


async def test_what_was_embedded_before_a_refused_call_is_kept(embedding: Embeddings) -> None:
    for asynchronous in (False, True):
        remote = Remote(embedding)
        store = NudgeVectorStore(remote)
        store.add_documents(DOCUMENTS)
        with refused(remote, "breakfast please"):
            await store.afit(LABELS, step=0.5) if asynchronous else store.fit(LABELS, step=0.5)
        assert store.nudge is None
        nudge = await store.afit(LABELS, step=0.5) if asynchronous else store.fit(LABELS, step=0.5)
        assert len(nudge) == 2
        assert sorted(remote.asked) == sorted(LABELS.queries.values())
    remote = Remote(embedding)
    encoder = as_encoder(remote)
    with refused(remote, "breakfast please"):
        encoder.encode_queries(list(LABELS.queries.values()))
    encoder.encode_queries(list(LABELS.queries.values()))
    assert sorted(remote.asked) == sorted(LABELS.queries.values())


async def test_everything_is_there_without_blocking(embedding: Embeddings) -> None:
    remote = Remote(embedding)
    remote.embed_query = remote.embed_documents = None  # type: ignore[assignment,method-assign]  # async calls alone
    held_out = RetrievalDataset(TEXTS, {"v": "an early breakfast"}, {"v": {"hen": 1}})
    expected = NudgeRetriever.from_documents(DOCUMENTS, embedding, LABELS, validation=held_out, k=2)
    retriever = await NudgeRetriever.afrom_documents(DOCUMENTS, remote, LABELS, validation=held_out, k=2)
    assert await retriever.ainvoke("breakfast") == expected.invoke("breakfast")
    assert remote.most_at_once > 1
    store = await NudgeVectorStore.afrom_documents(DOCUMENTS, remote)
    nudge = await store.afit(LABELS, step=0.5, query_transform=RunnableLambda(lambda text: f"farm {text}"))
    assert isinstance(nudge, Nudge)
    assert store.nudge is nudge
    assert "farm breakfast please" in remote.asked
