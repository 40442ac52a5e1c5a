"""NudgeRetriever: what its constructors make, what a call may say, how it behaves in chains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from nudge_integrations import Nudge, RetrievalDataset
from nudge_integrations.encoding import Encoder, text_hash
from nudge_integrations.errors import CorruptArtifactError, DatasetError, InputError, MismatchError
from nudge_integrations.langchain import (
    NudgedEmbeddings,
    NudgeRetriever,
    NudgeVectorStore,
    as_embedding,
    to_documents,
)

TEXTS = {
    "cat": "cats purr and sleep all day",
    "dog": "dogs bark at the mail man",
    "cow": "cows give milk in the morning",
    "hen": "hens lay eggs in the morning",
    "fox": "foxes hunt hens at night",
}
ASKED = {
    "q1": ("what makes breakfast", "hen"),
    "q2": ("breakfast ingredients please", "hen"),
    "q3": ("who guards the house", "dog"),
    "q4": ("guards for a house", "dog"),
}


@pytest.fixture
def dataset() -> RetrievalDataset:
    queries = {query: text for query, (text, _) in ASKED.items()}
    return RetrievalDataset(TEXTS, queries, {query: {document: 1} for query, (_, document) in ASKED.items()})


@pytest.fixture
def embedding(encoder: Encoder) -> Embeddings:
    return as_embedding(encoder)


@pytest.fixture
def retriever(dataset: RetrievalDataset, embedding: Embeddings) -> NudgeRetriever:
    return NudgeRetriever.from_documents(to_documents(dataset), embedding, dataset, k=3, method="nudge-n", step=0.6)


def test_from_documents_ranks_as_the_nudged_vectors_do(
    retriever: NudgeRetriever, dataset: RetrievalDataset, encoder: Encoder
) -> None:
    nudge = retriever.nudge
    assert nudge is not None
    assert sorted(nudge.ids) == ["dog", "hen"]
    vectors = nudge.apply(dataset.document_ids, encoder.encode_documents(list(TEXTS.values())))
    for query in ["what makes breakfast", "a house", "who hunts"]:
        scores = vectors @ encoder.encode_queries([query])[0]
        order = scores.argsort()[::-1][:3]
        found = retriever.invoke(query)
        assert [document.id for document in found] == [dataset.document_ids[row] for row in order]
        assert [document.metadata["score"] for document in found] == pytest.approx(scores[order], abs=1e-6)


def test_a_label_brings_its_document_up(retriever: NudgeRetriever, embedding: Embeddings) -> None:
    base = NudgeVectorStore(embedding)
    base.add_documents([Document(id=i, page_content=text) for i, text in TEXTS.items()])
    before = [score for document, score in base.similarity_search_with_score("breakfast", k=5) if document.id == "hen"]
    after = [document.metadata["score"] for document in retriever.invoke("breakfast", k=5) if document.id == "hen"]
    assert after[0] > before[0] + 0.1


def test_k_and_filter_may_come_with_the_call(retriever: NudgeRetriever) -> None:
    assert len(retriever.invoke("hens")) == 3
    assert len(retriever.invoke("hens", k=1)) == 1
    assert retriever.invoke("hens", filter={"kind": "none"}) == []
    assert len(retriever.invoke("hens", filter=lambda metadata: metadata == {})) == 3
    with pytest.raises(InputError, match="at least 1"):
        retriever.invoke("hens", k=0)


def test_a_filter_of_the_constructor_counts_until_a_call_says_another(
    dataset: RetrievalDataset, embedding: Embeddings
) -> None:
    documents = [Document(id=i, page_content=text, metadata={"bird": i == "hen"}) for i, text in TEXTS.items()]
    retriever = NudgeRetriever.from_documents(documents, embedding, dataset, filter={"bird": True})
    assert [document.id for document in retriever.invoke("dogs")] == ["hen"]
    assert len(retriever.invoke("dogs", filter={"bird": False})) == 4


async def test_async_gives_the_same(retriever: NudgeRetriever) -> None:
    assert await retriever.ainvoke("breakfast", k=2) == retriever.invoke("breakfast", k=2)
    assert await retriever.abatch(["a", "b"]) == retriever.batch(["a", "b"])


def test_from_artifact_gives_the_same_as_the_fit(
    retriever: NudgeRetriever, dataset: RetrievalDataset, embedding: Embeddings, tmp_path: Path
) -> None:
    assert retriever.nudge is not None
    retriever.nudge.save(tmp_path / "nudged")
    again = NudgeRetriever.from_artifact(tmp_path / "nudged", embedding, to_documents(dataset), k=3)
    assert again.invoke("breakfast") == retriever.invoke("breakfast")
    assert NudgeRetriever.from_artifact(retriever.nudge, embedding, to_documents(dataset)).k == 10
    (tmp_path / "nudged" / "ids.jsonl").write_text("{}")
    with pytest.raises(CorruptArtifactError):
        NudgeRetriever.from_artifact(tmp_path / "nudged", embedding, to_documents(dataset))


def test_documents_without_the_ids_of_the_fit_are_known_by_their_text(
    retriever: NudgeRetriever, embedding: Embeddings
) -> None:
    assert retriever.nudge is not None
    nameless = [Document(page_content=text) for text in TEXTS.values()]
    again = NudgeRetriever.from_artifact(retriever.nudge, embedding, nameless, k=3)
    found, expected = again.invoke("breakfast"), retriever.invoke("breakfast")
    assert [document.page_content for document in found] == [document.page_content for document in expected]
    assert [document.id for document in found] == [text_hash(document.page_content) for document in expected]


def test_labels_find_documents_by_text_where_ids_differ(dataset: RetrievalDataset, embedding: Embeddings) -> None:
    documents = [Document(id=f"chunk-{i}", page_content=text) for i, text in TEXTS.items()]
    retriever = NudgeRetriever.from_documents(documents, embedding, dataset, step=0.6)
    assert retriever.nudge is not None
    assert sorted(retriever.nudge.ids) == ["chunk-dog", "chunk-hen"]


def test_an_edited_document_is_new(retriever: NudgeRetriever, embedding: Embeddings) -> None:
    assert retriever.nudge is not None
    edited = {**TEXTS, "hen": "this page is empty"}
    documents = [Document(id=i, page_content=text) for i, text in edited.items()]
    again = NudgeRetriever.from_artifact(retriever.nudge, embedding, documents, k=5)
    score = {document.id: document.metadata["score"] for document in again.invoke("this page is empty")}
    assert score["hen"] == pytest.approx(1.0, abs=1e-6)
    assert score["dog"] < 0.99


def test_a_nudge_of_other_documents_or_of_another_model_is_refused(
    retriever: NudgeRetriever, dataset: RetrievalDataset
) -> None:
    class Other(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[float(len(text)), *[1.0] * 31] for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return [1.0] * 32

    assert retriever.nudge is not None
    with pytest.raises(MismatchError, match="another model"):
        NudgeRetriever.from_artifact(retriever.nudge, Other(), to_documents(dataset))
    with pytest.raises(MismatchError, match="none of the 2 documents"):
        NudgeRetriever.from_artifact(retriever.nudge, Other(), [Document(id="x", page_content="y")])


def test_a_label_for_a_document_that_is_not_there_is_left_out_and_named(
    dataset: RetrievalDataset, embedding: Embeddings, caplog: pytest.LogCaptureFixture
) -> None:
    documents = [document for document in to_documents(dataset) if document.id != "hen"]
    retriever = NudgeRetriever.from_documents(documents, embedding, dataset)
    assert retriever.nudge is not None
    assert "1 relevant documents are not among the 4 documents and are left out, with 2 queries" in caplog.text
    assert "'hen'" in caplog.text
    with pytest.raises(DatasetError, match="is not among the 1 documents"):
        NudgeRetriever.from_documents([Document(id="x", page_content="unknown")], embedding, dataset)


def test_documents_with_one_text_move_as_one_by_default(dataset: RetrievalDataset, embedding: Embeddings) -> None:
    documents = [*to_documents(dataset), Document(id="hen again", page_content=TEXTS["hen"])]
    with pytest.raises(DatasetError, match="'hen', 'hen again'"):
        NudgeRetriever.from_documents(documents, embedding, dataset, step=0.5, duplicates="error")
    merged = NudgeRetriever.from_documents(documents, embedding, dataset, step=0.5)
    assert merged.nudge is not None
    assert (merged.nudge.vector("hen") == merged.nudge.vector("hen again")).all()
    NudgedEmbeddings(embedding, merged.nudge)
    kept = NudgeRetriever.from_documents(documents, embedding, dataset, step=0.5, duplicates="keep")
    assert kept.nudge is not None
    assert "hen again" not in kept.nudge
    with pytest.raises(DatasetError, match="hen again"):
        NudgedEmbeddings(embedding, kept.nudge)


def test_labels_on_parents_spread_to_their_pieces(embedding: Embeddings) -> None:
    pieces = [
        Document(id="p1", page_content="hens lay eggs", metadata={"doc_id": "farm"}),
        Document(id="p2", page_content="cows give milk", metadata={"doc_id": "farm"}),
        Document(id="p3", page_content="trams are late", metadata={"doc_id": "city"}),
    ]
    dataset = RetrievalDataset({"farm": "...", "city": "..."}, {"q": "breakfast"}, {"q": {"farm": 1}})
    retriever = NudgeRetriever.from_documents(pieces, embedding, dataset, step=0.5)
    assert retriever.nudge is not None
    assert retriever.nudge.ids == ("p1", "p2")
    with pytest.raises(DatasetError, match="'farm'"):
        NudgeRetriever.from_documents(pieces, embedding, dataset, parent_key=None, step=0.5)


def test_query_transform_is_the_same_at_fit_and_at_query_time(dataset: RetrievalDataset, embedding: Embeddings) -> None:
    seen: list[str] = []

    def rewrite(query: str) -> str:
        seen.append(query)
        return f"farm {query}"

    retriever = NudgeRetriever.from_documents(
        to_documents(dataset), embedding, dataset, step=0.5, query_transform=RunnableLambda(rewrite)
    )
    assert sorted(seen) == sorted(dataset.queries.values())
    rewritten = RetrievalDataset(TEXTS, {q: f"farm {text}" for q, text in dataset.queries.items()}, dataset.qrels)
    expected = NudgeRetriever.from_documents(to_documents(dataset), embedding, rewritten, step=0.5)
    assert retriever.invoke("breakfast") == expected.invoke("farm breakfast")
    assert seen[-1] == "breakfast"
    plain = NudgeRetriever.from_documents(
        to_documents(dataset), embedding, dataset, step=0.5, query_transform=lambda query: f"farm {query}"
    )
    assert plain.invoke("breakfast") == retriever.invoke("breakfast")


async def test_query_transform_runs_async_too(dataset: RetrievalDataset, embedding: Embeddings) -> None:
    async def slow(query: str) -> str:
        return f"farm {query}"

    transform = RunnableLambda(lambda query: f"farm {query}", afunc=slow)
    retriever = NudgeRetriever.from_documents(
        to_documents(dataset), embedding, dataset, step=0.5, query_transform=transform
    )
    assert await retriever.ainvoke("eggs") == retriever.invoke("eggs")


def test_tags_and_metadata_reach_the_callbacks(dataset: RetrievalDataset, embedding: Embeddings) -> None:
    class Watcher(BaseCallbackHandler):
        seen: dict[str, Any]

        def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
            self.seen = {"query": query, **kwargs}

    watcher = Watcher()
    retriever = NudgeRetriever.from_documents(
        to_documents(dataset), embedding, dataset, tags=["farm"], metadata={"owner": "me"}
    )
    retriever.invoke("eggs", {"callbacks": [watcher], "tags": ["call"]})
    assert set(watcher.seen["tags"]) == {"farm", "call"}
    assert watcher.seen["metadata"]["owner"] == "me"
    assert watcher.seen["metadata"]["ls_vector_store_provider"] == "NudgeVectorStore"
    assert watcher.seen["name"] == "NudgeRetriever"


def test_in_a_chain(retriever: NudgeRetriever) -> None:
    def join(documents: list[Document]) -> str:
        return "; ".join(document.page_content for document in documents)

    prompt = ChatPromptTemplate.from_template("{context} | {question}")
    model = RunnableLambda(lambda value: value.to_string())
    chain = {"context": retriever | join, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()
    answer = chain.invoke("breakfast")
    assert TEXTS["hen"] in answer
    assert answer.endswith("| breakfast")


def test_repr_shows_the_nudge(retriever: NudgeRetriever) -> None:
    assert "2 documents moved by 'nudge-n'" in repr(retriever)


def test_without_langchain_the_pip_line_is_said() -> None:
    code = (
        "import sys; sys.modules['langchain_core'] = None\n"
        "try:\n    import nudge_integrations.langchain\n"
        "except ImportError as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("MissingExtraError langchain_core is not installed")
    assert "pip install 'nudge-integrations[langchain]'" in done.stdout


def test_the_nudge_is_a_nudge(retriever: NudgeRetriever) -> None:
    assert isinstance(retriever.nudge, Nudge)
    assert NudgeRetriever(vectorstore=NudgeVectorStore(retriever.vectorstore.embeddings)).nudge is None  # type: ignore[arg-type]
