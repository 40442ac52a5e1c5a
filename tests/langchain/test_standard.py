"""LangChain's own suites, as they come."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from nudge_integrations import Nudge, RetrievalDataset, fit
from nudge_integrations.langchain import NudgedEmbeddings, NudgeRetriever, NudgeVectorStore, as_encoder

BASE = DeterministicFakeEmbedding(size=6)
TEXTS = {f"d{row}": f"document number {row}" for row in range(8)}
DATASET = RetrievalDataset(TEXTS, {"q": "first", "r": "second"}, {"q": {"d1": 1}, "r": {"d2": 1, "d3": 1}})


def fitted(method: str) -> Nudge:
    return fit(DATASET, as_encoder(BASE), method=method, step=0.4)


class TestNudgeRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return NudgeRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        store = NudgeVectorStore(BASE)
        store.add_documents([Document(id=i, page_content=text) for i, text in TEXTS.items()])
        store.apply(fitted("nudge-n"))
        return {"vectorstore": store}

    @property
    def retriever_query_example(self) -> str:
        return "first"


class TestNudgeRetrieverFromDocuments(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> Any:
        return NudgeRetriever.from_documents

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        documents = [Document(id=i, page_content=text) for i, text in TEXTS.items()]
        return {"documents": documents, "embedding": BASE, "dataset": DATASET}

    @property
    def retriever_query_example(self) -> str:
        return "first"


class TestNudgedEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return NudgedEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"base": BASE, "nudge": fitted("nudge-n")}


class TestNudgedEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return NudgedEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"base": BASE, "nudge": fitted("nudge-n")}


class TestNudgedEmbeddingsWithTheExtraCoordinate(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return NudgedEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"base": BASE, "nudge": fitted("nudge-m")}


class TestNudgeVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return NudgeVectorStore(self.get_embeddings())


class TestNudgeVectorStoreWhileNudged(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        store = NudgeVectorStore(self.get_embeddings())
        store.apply(fitted("nudge-m"))
        return store


class TestAnyStoreOverNudgedEmbeddings(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return InMemoryVectorStore(NudgedEmbeddings(self.get_embeddings(), fitted("nudge-n")))
