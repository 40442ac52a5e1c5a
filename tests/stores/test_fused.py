"""Words beside the vectors of a store that serves: by its own text search, else by BM25 beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from framework_stores import FRAMEWORK_STORES, Filling, FrameworkStore, added, postgres_of
from live_stores import named
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from numpy.typing import NDArray
from postgres_server import installed

from nudge_integrations import Nudge, RetrievalDataset
from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Bm25, LexicalIndex, Scorer
from nudge_integrations.langchain import NudgeRetriever
from nudge_integrations.llama_index import NudgeFinetuneEngine
from nudge_integrations.stores import FusedStore, open_store

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

ROWS, WIDTH = 120, 12
RANDOM = np.random.default_rng(7)
IDS = [named(row) for row in range(ROWS)]


def word(number: int) -> str:
    """A word that no stemmer changes."""
    return "".join("bdfghklmnprtvz"[digit] + "o" for digit in np.unravel_index(number, (14, 14, 14))) + "x"


def unit(rows: Any) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


# Vectors tell the half of the answers, a rare word the other half.
TEXTS = [f"{word(row)} {word(row % 7 + 400)} {word(row % 5 + 500)}" for row in range(ROWS)]
VECTORS = unit(RANDOM.standard_normal((ROWS, WIDTH)))
ASKED = [f"{word(row % 3 + 600)} {word(row)} {word((row + 1) % 7 + 400)}" for row in range(ROWS)]
QUERIES = unit(0.5 * VECTORS + unit(RANDOM.standard_normal((ROWS, WIDTH))))
DATASET = RetrievalDataset(
    dict(zip(IDS, TEXTS, strict=True)),
    {f"q{row}": text for row, text in enumerate(ASKED)},
    {f"q{row}": {IDS[row]: 1.0} for row in range(ROWS)},
)
TENANTS = [("a", "b")[row % 2] for row in range(ROWS)]
FILLING = Filling(IDS, TEXTS, VECTORS, TENANTS, dict(zip(ASKED, QUERIES.tolist(), strict=True)))
NEW = Filling([named(900)], [f"{word(900)} {ASKED[3]}"], VECTORS[60:61], ["a"])
FIT: dict[str, Any] = {"signals": ("bm25",), "method": "nudge-n", "step": 0.1, "metric": "mrr@10"}


class LookedUpModel(MockEmbedding):
    """Vectors that are there already, by text, as a model of LlamaIndex."""

    def __init__(self) -> None:
        super().__init__(embed_dim=WIDTH)

    def _get_query_embedding(self, query: str) -> list[float]:
        return FILLING.embeddings().embed_query(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return NEW.vectors[0].tolist() if text.endswith(NEW.texts[0]) else [1.0] * WIDTH


def best(nudge: Nudge, texts: list[str], k: int = 5, rows: list[int] | None = None) -> list[list[str]]:
    """The exact ranking of all documents, or some, by vectors and BM25 of their texts."""
    assert nudge.fusion is not None
    index = LexicalIndex()
    index.insert(IDS, texts)
    dense = nudge.transform_queries(QUERIES).astype(np.float64) @ nudge.apply(IDS, VECTORS).astype(np.float64).T
    scores = dense + nudge.fusion.weights["bm25"] * index.scores(ASKED)
    kept = list(range(ROWS)) if rows is None else rows
    return [[IDS[kept[place]] for place in np.argsort(-line[kept])[:k]] for line in scores]


def of(framework: str) -> pytest.MarkDecorator:
    kinds = [one for one in FRAMEWORK_STORES if one.name.startswith(framework)]
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.name)


def found(documents: list[Any]) -> list[str]:
    return [one.id or one.metadata["_id"] for one in documents]


def where_of(kind: FrameworkStore, tenant: str) -> Any:
    """A filter as the store of LangChain wants it."""
    if kind.kind == "memory":
        return lambda document: document.metadata["tenant"] == tenant
    if kind.kind == "qdrant":
        models = installed("qdrant_client").models
        match = models.MatchValue(value=tenant)
        return models.Filter(must=[models.FieldCondition(key="metadata.tenant", match=match)])
    return {"tenant": tenant}


@of("langchain")
def test_langchain_store_is_searched_by_vectors_and_words(kind: FrameworkStore, tmp_path: Path) -> None:
    store = kind.fill(tmp_path, FILLING)
    journal = tmp_path / "journal"
    retriever: Any = NudgeRetriever.from_vectorstore(store, dataset=DATASET, journal=journal, k=5, **FIT)
    nudge = retriever.nudge
    assert list(nudge.fusion.weights) == ["bm25"]
    assert "bm25s beside the store, 120 texts" in repr(retriever.vectorstore)
    asked = range(0, ROWS, 17)
    assert [found(retriever.invoke(ASKED[row])) for row in asked] == [best(nudge, TEXTS)[row] for row in asked]
    assert found(retriever.invoke(ASKED[1], k=2)) == best(nudge, TEXTS)[1][:2]
    tenant = [row for row in range(ROWS) if TENANTS[row] == "a"]
    assert found(retriever.invoke(ASKED[1], filter=where_of(kind, "a"))) == best(nudge, TEXTS, rows=tenant)[1]
    # Another process has the saved nudge.
    nudge.save(tmp_path / "nudged")
    again: Any = NudgeRetriever.from_vectorstore(store, Nudge.load(tmp_path / "nudged"), k=5)
    assert found(again.invoke(ASKED[4])) == best(nudge, TEXTS)[4]
    # Documents that come and go, here and by others.
    known = getattr(store, "embeddings", None) or store._embedding
    known.vectors.update(dict(zip(NEW.texts, NEW.vectors.tolist(), strict=True)))
    retriever.vectorstore.add_documents(NEW.documents(), ids=NEW.ids)
    assert NEW.ids[0] in found(retriever.invoke(ASKED[3]))
    again.vectorstore.fused.refresh()
    assert NEW.ids[0] in found(again.invoke(ASKED[3]))
    retriever.vectorstore.delete(NEW.ids)
    assert NEW.ids[0] not in found(retriever.invoke(ASKED[3]))
    assert NEW.ids[0] not in found(again.invoke(ASKED[3]))
    for one in (again, retriever):
        one.vectorstore.live.close()


async def test_langchain_store_is_searched_without_blocking_and_for_diversity(tmp_path: Path) -> None:
    store = FRAMEWORK_STORES[0].fill(tmp_path, FILLING)
    retriever: Any = NudgeRetriever.from_vectorstore(store, dataset=DATASET, journal=tmp_path / "j", k=5, **FIT)
    assert found(await retriever.ainvoke(ASKED[3])) == best(retriever.nudge, TEXTS)[3]
    nearest = retriever.vectorstore.max_marginal_relevance_search(ASKED[3], k=5, fetch_k=5, lambda_mult=0.5)
    assert sorted(found(nearest)) == sorted(best(retriever.nudge, TEXTS)[3])
    different = retriever.vectorstore.max_marginal_relevance_search(ASKED[3], k=5, fetch_k=60, lambda_mult=0.0)
    assert sorted(found(different)) != sorted(found(nearest))


def test_signals_that_cannot_be_served_are_refused_before_anything_moves(tmp_path: Path) -> None:
    store = FRAMEWORK_STORES[0].fill(tmp_path, FILLING)
    newest = Scorer("newest", lambda queries, rows: (rows == np.arange(len(queries))[:, None]) * 1.0)
    before = {name: record["vector"] for name, record in store.store.items()}
    with pytest.raises(InputError, match="'newest', which only its maker"):
        NudgeRetriever.from_vectorstore(store, dataset=DATASET, journal=tmp_path, **{**FIT, "signals": [newest]})
    assert {name: record["vector"] for name, record in store.store.items()} == before
    with pytest.raises(InputError, match="no text search"):
        NudgeRetriever.from_vectorstore(store, dataset=DATASET, **{**FIT, "signals": ["text-search"]})


@of("llama")
def test_index_is_searched_by_vectors_and_words(kind: FrameworkStore, tmp_path: Path) -> None:
    index = indexed(kind.fill(tmp_path, Filling([], [], VECTORS[:0])))
    engine = NudgeFinetuneEngine.from_index(index, DATASET, journal=tmp_path / "journal", **FIT)
    engine.finetune()
    nudge, served = engine.nudge, engine.as_index()
    assert nudge is not None
    assert nudge.fusion is not None
    # What is embedded of a node begins with its metadata.
    texts = [f"tenant: {tenant}\n\n{text}" for tenant, text in zip(TENANTS, TEXTS, strict=True)]
    assert "bm25s beside the store, 120 texts" in repr(served)
    retriever = served.as_retriever(similarity_top_k=5)
    asked = range(0, ROWS, 17)
    hits = [[one.node.node_id for one in retriever.retrieve(ASKED[row])] for row in asked]
    assert hits == [best(nudge, texts)[row] for row in asked]
    if kind.tenant is not None:
        filters = MetadataFilters(filters=[MetadataFilter(key="tenant", value="a")])
        some = served.as_retriever(similarity_top_k=5, filters=filters)
        tenant = [row for row in range(ROWS) if TENANTS[row] == "a"]
        assert [one.node.node_id for one in some.retrieve(ASKED[1])] == best(nudge, texts, rows=tenant)[1]
    nudge.save(tmp_path / "nudged")
    again = NudgeFinetuneEngine.from_index(index, nudge=tmp_path / "nudged", journal=tmp_path / "journal")
    assert again.plan().rows == 0
    other = again.as_index().as_retriever(similarity_top_k=5)
    assert [one.node.node_id for one in other.retrieve(ASKED[4])] == best(nudge, texts)[4]
    if kind.name != "llama-index-faiss-map":  # which numbers rows that are added later as others
        served.insert_nodes(NEW.nodes())
        assert NEW.ids[0] in [one.node.node_id for one in retriever.retrieve(ASKED[3])]
    if kind.changes and kind.name != "llama-index-lancedb":  # whose own deletion names columns where it means ids
        served.delete_nodes(list(NEW.ids))
        assert NEW.ids[0] not in [one.node.node_id for one in retriever.retrieve(ASKED[3])]
    for one in (engine, again):
        one.store.close()


def indexed(store: Any) -> VectorStoreIndex:
    context = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex(FILLING.nodes(), storage_context=context, embed_model=LookedUpModel())


class CountedWords:
    """A sparse encoder: one coordinate a word, for both frameworks."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def vector(self, text: str) -> tuple[list[int], list[float]]:
        words = sorted({self.places.setdefault(one, len(self.places)) for one in text.split()})
        return words, [1.0 + place % 5 for place in words]

    def batch(self, texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        found = [self.vector(text) for text in texts]
        return [one[0] for one in found], [one[1] for one in found]


def langchain_postgres(folder: Path) -> Any:
    stores, hybrid = installed("langchain_postgres"), installed("langchain_postgres.v2.hybrid_search_config")
    engine, table = stores.PGEngine.from_connection_string(postgres_of("psycopg")), f"t{uuid4().hex}"
    config = hybrid.HybridSearchConfig(tsv_column="words", tsv_lang="pg_catalog.english")
    columns = [stores.Column("tenant", "TEXT")]
    engine.init_vectorstore_table(table, WIDTH, metadata_columns=columns, hybrid_search_config=config)
    options = {"metadata_columns": ["tenant"], "hybrid_search_config": config}
    return added(stores.PGVectorStore.create_sync(engine, FILLING.embeddings(), table, **options), FILLING)


def langchain_qdrant(folder: Path) -> Any:
    stores, qdrant = installed("langchain_qdrant"), installed("qdrant_client")
    sparse: Any = installed("langchain_qdrant.sparse_embeddings")

    class Sparse(CountedWords, sparse.SparseEmbeddings):  # type: ignore[misc]
        def embed_documents(self, texts: list[str]) -> list[Any]:
            return [self.embed_query(text) for text in texts]

        def embed_query(self, text: str) -> Any:
            indices, values = self.vector(text)
            return sparse.SparseVector(indices=indices, values=values)

    client, models = qdrant.QdrantClient(path=str(folder / "qdrant")), qdrant.models
    size = models.VectorParams(size=WIDTH, distance="Cosine")
    by_text = {"langchain-sparse": models.SparseVectorParams()}
    client.create_collection("documents", vectors_config=size, sparse_vectors_config=by_text)
    given: Any = {"retrieval_mode": stores.RetrievalMode.HYBRID, "sparse_embedding": Sparse()}
    return added(stores.QdrantVectorStore(client, "documents", FILLING.embeddings(), **given), FILLING)


def llama_postgres(folder: Path) -> Any:
    stores = installed("llama_index.vector_stores.postgres")
    return stores.PGVectorStore.from_params(
        connection_string=postgres_of("psycopg2"),
        async_connection_string=postgres_of("asyncpg"),
        table_name=f"t{uuid4().hex}",
        embed_dim=WIDTH,
        hybrid_search=True,
        text_search_config="simple",
    )


def llama_qdrant(folder: Path) -> Any:
    stores, qdrant = installed("llama_index.vector_stores.qdrant"), installed("qdrant_client")
    client, sparse = qdrant.QdrantClient(path=str(folder / "qdrant")), CountedWords()
    functions: Any = {"sparse_doc_fn": sparse.batch, "sparse_query_fn": sparse.batch}
    return stores.QdrantVectorStore("documents", client=client, enable_hybrid=True, **functions)


def llama_lance(folder: Path) -> Any:
    installed("lancedb")
    stores = installed("llama_index.vector_stores.lancedb")
    return stores.LanceDBVectorStore(uri=str(folder / "lance"), query_type="hybrid")


def expected(nudge: Nudge, adapter: Any, row: int) -> list[str]:
    """Vectors and what the store's own text search finds, added up by hand."""
    assert nudge.fusion is not None
    dense = nudge.transform_queries(QUERIES[row : row + 1])[0].astype(np.float64) @ nudge.apply(IDS, VECTORS).T
    scores = dict(zip(IDS, dense.tolist(), strict=True))
    by_text = adapter.search_text(ASKED[row], 100)
    for name, score in by_text:
        scores[name] += nudge.fusion.weights["text-search"] * score / by_text[0][1]
    return sorted(scores, key=lambda name: -scores[name])[:5]


@pytest.mark.parametrize("make", [langchain_postgres, langchain_qdrant], ids=lambda make: make.__name__)
def test_own_text_search_of_a_langchain_store_is_weighed_by_its_scores(make: Any, tmp_path: Path) -> None:
    store, journal = make(tmp_path), tmp_path / "journal"
    retriever: Any = NudgeRetriever.from_vectorstore(store, dataset=DATASET, journal=journal, k=5, **FIT)
    assert list(retriever.nudge.fusion.weights) == ["text-search"]
    assert "text-search: the " in repr(retriever.vectorstore)
    adapter = retriever.vectorstore.live.adapter
    assert adapter.search_text(TEXTS[5], 3)[0][0] == IDS[5]
    for row in range(0, ROWS, 17):
        assert found(retriever.invoke(ASKED[row])) == expected(retriever.nudge, adapter, row)
    retriever.nudge.save(tmp_path / "nudged")
    again: Any = NudgeRetriever.from_vectorstore(store, Nudge.load(tmp_path / "nudged"), k=5)
    assert found(again.invoke(ASKED[3])) == expected(retriever.nudge, adapter, 3)
    for one in (again, retriever):
        one.vectorstore.live.close()
    # The weight was learned on the scores of that search, so no other takes its place.
    with pytest.raises(InputError, match="weighs the text search of the store that it was fitted to"):
        FusedStore.of(open_store({"a": [1.0] * WIDTH}), retriever.nudge, lambda ids: [""] * len(ids))


@pytest.mark.parametrize("make", [llama_postgres, llama_qdrant, llama_lance], ids=lambda make: make.__name__)
def test_own_text_search_of_an_index_is_weighed_by_its_scores(make: Any, tmp_path: Path) -> None:
    index = indexed(make(tmp_path))
    if make is llama_lance:
        store: Any = index.vector_store
        store.table.create_fts_index("text", replace=True)
    engine = NudgeFinetuneEngine.from_index(index, DATASET, journal=tmp_path / "journal", **FIT)
    engine.finetune()
    served, nudge, adapter = engine.as_index(), engine.nudge, engine.store.adapter
    assert nudge is not None
    assert nudge.fusion is not None
    assert list(nudge.fusion.weights) == ["text-search"]
    assert "text-search: the " in repr(served)
    retriever = served.as_retriever(similarity_top_k=5)
    for row in range(0, ROWS, 17):
        assert [one.node.node_id for one in retriever.retrieve(ASKED[row])] == expected(nudge, adapter, row)
    served.insert_nodes(NEW.nodes())
    assert NEW.ids[0] in [one.node.node_id for one in retriever.retrieve(ASKED[3])]
    # BM25 beside the store where that is asked for by its settings.
    beside = NudgeFinetuneEngine.from_index(index, DATASET, journal=tmp_path / "j", **{**FIT, "signals": [Bm25()]})
    beside.finetune()
    assert beside.nudge is not None
    assert beside.nudge.fusion is not None
    assert list(beside.nudge.fusion.weights) == ["bm25"]
    for one in (engine, beside):
        one.store.close()
