"""The in-memory stores of both frameworks: fitted, nudged in place and taken back through their own objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from numpy.typing import NDArray

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import Encoder
from nudge_integrations.solver import solve
from nudge_integrations.stores import fit_store, open_store

DOCUMENTS = {f"d{row}": f"word{row} about topic{row} and more{row}" for row in range(40)}


class OfEncoder(Embeddings):
    """An encoder as LangChain's embeddings."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [list(map(float, row)) for row in self.encoder.encode_documents(texts)]

    def embed_query(self, text: str) -> list[float]:
        return list(map(float, self.encoder.encode_queries([text])[0]))


def langchain_store(encoder: Encoder) -> tuple[Any, Callable[[], NDArray[np.float64]]]:
    store = InMemoryVectorStore(OfEncoder(encoder))
    store.add_documents([Document(page_content=text, id=name) for name, text in DOCUMENTS.items()])
    return store, lambda: np.array([store.store[name]["vector"] for name in DOCUMENTS])


def llama_index_store(encoder: Encoder) -> tuple[Any, Callable[[], NDArray[np.float64]]]:
    store, vectors = SimpleVectorStore(), encoder.encode_documents([*DOCUMENTS.values()])
    pairs = zip(DOCUMENTS.items(), vectors, strict=True)
    store.add([TextNode(id_=name, text=text, embedding=list(map(float, row))) for (name, text), row in pairs])
    return store, lambda: np.array([store.get(name) for name in DOCUMENTS])


@pytest.mark.parametrize("filled", [langchain_store, llama_index_store])
def test_a_frameworks_store_is_fitted_nudged_and_taken_back(
    filled: Callable[[Encoder], tuple[Any, Callable[[], NDArray[np.float64]]]],
    encoder: Encoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    wanted = random.integers(0, 40, 200)
    queries = {f"q{number}": f"word{(row + 1) % 40} slang{row} noise{number}" for number, row in enumerate(wanted)}
    dataset = RetrievalDataset(DOCUMENTS, queries, {f"q{number}": {f"d{row}": 1} for number, row in enumerate(wanted)})
    framework_store, stored = filled(encoder)
    base = stored()
    store = open_store(framework_store)
    nudge = fit_store(store, dataset, encoder, method="nudge-n")
    plan = store.plan(nudge)
    np.testing.assert_array_equal(stored(), base)
    assert f"{len(nudge)} change" in str(plan)
    run = store.apply(plan)
    vectors = encoder.encode_documents([*DOCUMENTS.values()]), encoder.encode_queries([*queries.values()])
    expected = solve(*vectors, dataset.relevance(), method="nudge-n").apply(vectors[0])
    np.testing.assert_allclose(stored(), expected, atol=1e-6)
    checked = run.verify()
    assert (checked.at_target, checked.at_base, checked.changed, checked.missing) == (len(nudge), 0, (), ())
    run.rollback()
    np.testing.assert_array_equal(stored(), base)
