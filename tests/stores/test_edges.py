"""Both frameworks over a store that serves: fitted to what it holds, moved in place, searched as the nudge wants it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from framework_stores import FRAMEWORK_STORES, Filling, FrameworkStore
from live_stores import named
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from numpy.typing import NDArray

from nudge_integrations import Nudge, RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.langchain import NudgeRetriever, NudgeVectorStore
from nudge_integrations.llama_index import NudgeFinetuneEngine
from nudge_integrations.solver import solve

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

ROWS, WIDTH, LABELLED = 90, 12, 60
IDS, TEXTS = [named(row) for row in range(ROWS)], [f"document {row}" for row in range(ROWS)]
RANDOM = np.random.default_rng(5)


def unit(rows: Any) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


VECTORS = unit(RANDOM.standard_normal((ROWS, WIDTH)))
QUERIES = unit(VECTORS[1 : LABELLED + 1] + 0.6 * VECTORS[:LABELLED])
ASKED = [f"question {row}" for row in range(LABELLED)]
DATASET = RetrievalDataset(
    dict(zip(IDS, TEXTS, strict=True)),
    {f"q{row}": text for row, text in enumerate(ASKED)},
    {f"q{row}": {IDS[row]: 1.0} for row in range(LABELLED)},
)
FILLING = Filling(IDS, TEXTS, VECTORS, queries=dict(zip(ASKED, QUERIES.tolist(), strict=True)))


class LookedUpModel(MockEmbedding):
    """Vectors that are there already, by text, as a model of LlamaIndex."""

    def __init__(self) -> None:
        super().__init__(embed_dim=WIDTH)

    def _get_query_embedding(self, query: str) -> list[float]:
        return FILLING.embeddings().embed_query(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        raise AssertionError("nothing but queries is embedded")


def best(nudge: Nudge, k: int = 5) -> list[list[str]]:
    """The exact ranking of all documents where the nudge puts them, by queries as it maps them."""
    scores = nudge.transform_queries(QUERIES) @ nudge.apply(IDS, VECTORS).T
    return [[IDS[row] for row in rows] for rows in np.argsort(-scores, axis=1)[:, :k]]


langchain = pytest.mark.parametrize(
    "kind", [one for one in FRAMEWORK_STORES if one.name.startswith("langchain")], ids=lambda kind: kind.name
)
llama_index = pytest.mark.parametrize(
    "kind", [one for one in FRAMEWORK_STORES if one.name.startswith("llama")], ids=lambda kind: kind.name
)


@langchain
@pytest.mark.parametrize("method", ["nudge-n", "ridge+nudge-n", "query-map"])
def test_langchain_store_is_fitted_and_served(kind: FrameworkStore, method: str, tmp_path: Path) -> None:
    store = kind.fill(tmp_path, FILLING)
    options: dict[str, Any] = {"method": method, "journal": tmp_path / "journal", "k": 5}
    retriever = NudgeRetriever.from_vectorstore(store, dataset=DATASET, **options)
    nudge = retriever.nudge
    assert nudge is not None
    assert [[d.id or d.metadata["_id"] for d in retriever.invoke(text)] for text in ASKED] == best(nudge)
    assert retriever.invoke(ASKED[0])[0].metadata["score"] is not None
    live: Any = retriever.vectorstore
    if not len(nudge):
        with pytest.raises(InputError, match="nothing was applied"):
            live.live.rollout()
    # What was moved is served again by another process, which has the saved nudge.
    nudge.save(tmp_path / "nudged")
    again = NudgeRetriever.from_vectorstore(store, Nudge.load(tmp_path / "nudged"), k=5)
    assert [d.id or d.metadata["_id"] for d in again.invoke(ASKED[1])] == best(nudge)[1]
    if len(nudge):
        live.live.rollback()
        with pytest.raises(InputError, match="not nudged"):
            NudgeRetriever.from_vectorstore(store, nudge)
    again.vectorstore.live.close()  # type: ignore[attr-defined]
    live.live.close()


async def test_langchain_store_is_searched_without_blocking(tmp_path: Path) -> None:
    store = FRAMEWORK_STORES[0].fill(tmp_path, FILLING)
    options: dict[str, Any] = {"method": "query-map", "journal": tmp_path / "journal", "k": 5}
    retriever = NudgeRetriever.from_vectorstore(store, dataset=DATASET, **options)
    assert retriever.nudge is not None
    assert [d.id for d in await retriever.ainvoke(ASKED[3])] == best(retriever.nudge)[3]


def test_queries_are_rewritten_for_the_fit_as_for_the_search(tmp_path: Path) -> None:
    short = RetrievalDataset(
        DATASET.corpus,
        {query: text.removeprefix("question ") for query, text in DATASET.queries.items()},
        DATASET.qrels,
    )
    plain: dict[str, Any] = {"method": "nudge-n", "step": 0.1, "k": 5}
    asked: dict[str, Any] = {**plain, "query_transform": lambda text: f"question {text}"}
    nudges = []
    for name, dataset, options in (("plain", DATASET, plain), ("short", short, asked)):
        store = FRAMEWORK_STORES[0].fill(tmp_path / name, FILLING)
        one = NudgeRetriever.from_vectorstore(store, dataset=dataset, journal=tmp_path / f"of {name}", **options)
        own = NudgeVectorStore(FILLING.embeddings())
        own.add_embeddings(TEXTS, VECTORS.tolist(), ids=IDS)
        other = NudgeRetriever.from_vectorstore(own, dataset=dataset, **options)
        nudges += [found.nudge for found in (one, other) if found.nudge is not None]
    assert len(nudges) == 4
    assert all(np.array_equal(nudge.vectors, nudges[0].vectors) for nudge in nudges)


def test_from_vectorstore_wants_a_nudge_or_labels(tmp_path: Path) -> None:
    store = FRAMEWORK_STORES[0].fill(tmp_path, FILLING)
    with pytest.raises(InputError, match="dataset="):
        NudgeRetriever.from_vectorstore(store)
    nudge = NudgeRetriever.from_vectorstore(store, dataset=DATASET, method="query-map", journal=tmp_path).nudge
    with pytest.raises(InputError, match="method, step say how to fit"):
        NudgeRetriever.from_vectorstore(store, nudge, method="nudge-n", step=0.1)
    foreign = RetrievalDataset({"x": "y"}, {"q": "question 1"}, {"q": {"x": 1}})
    with pytest.raises(DatasetError, match="'x'"):
        NudgeRetriever.from_vectorstore(store, dataset=foreign)


@llama_index
@pytest.mark.parametrize("method", ["nudge-n", "query-map"])
def test_llama_index_is_fitted_and_moved_in_place(kind: FrameworkStore, method: str, tmp_path: Path) -> None:
    index = indexed(kind, tmp_path)
    options: dict[str, Any] = {"method": method, "journal": tmp_path / "journal"}
    engine = NudgeFinetuneEngine.from_index(index, DATASET, **options)
    with pytest.raises(InputError, match="nothing was fitted yet"):
        engine.as_index()
    engine.finetune()
    nudge = engine.nudge
    assert nudge is not None
    if method == "nudge-n":
        expected = solve(VECTORS, QUERIES, DATASET.relevance(), method="nudge-n")
        assert sorted(nudge.ids) == sorted(IDS[row] for row in expected.rows)
    assert engine.plan().rows == len(nudge)
    retriever = engine.as_index().as_retriever(similarity_top_k=5)
    assert [[found.node.node_id for found in retriever.retrieve(text)] for text in ASKED] == best(nudge)
    assert engine.plan().rows == 0
    if len(nudge):
        engine.store.rollback()
        base = index.as_retriever(similarity_top_k=5)
        plain = np.argsort(-(QUERIES[0] @ VECTORS.T))[:5]
        assert [found.node.node_id for found in base.retrieve(ASKED[0])] == [IDS[row] for row in plain]
    engine.store.close()


def test_labels_of_texts_find_their_nodes(tmp_path: Path) -> None:
    by_text = RetrievalDataset(
        {f"d{row}": text for row, text in enumerate(TEXTS)},
        DATASET.queries,
        {f"q{row}": {f"d{row}": 1.0} for row in range(LABELLED)},
    )
    index = indexed(next(one for one in FRAMEWORK_STORES if one.name == "llama-index-simple"), tmp_path)
    engine = NudgeFinetuneEngine.from_index(index, by_text, method="nudge-n", journal=tmp_path / "journal")
    engine.finetune()
    assert engine.nudge is not None
    assert set(engine.nudge.ids) <= set(IDS[:LABELLED])


def indexed(kind: FrameworkStore, folder: Path) -> VectorStoreIndex:
    """An index over an empty store of the kind, filled by the framework."""
    store = kind.fill(folder, Filling([], [], VECTORS[:0]))
    context = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex(FILLING.nodes(), storage_context=context, embed_model=LookedUpModel())
