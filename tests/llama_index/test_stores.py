"""Every vector store that users reach through LlamaIndex, the real one: base vectors, a nudge, the exact ranking."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid4, uuid5

import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index_doubles import WIDTH, WordEmbedding, found, halves, labelled, nudge_of, unit
from numpy.typing import NDArray
from postgres_server import installed, postgres_address
from query_maps import asked, map_alone, mapped

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import InputError, SimilarityError
from nudge_integrations.llama_index import NudgeFinetuneEngine, to_nodes
from nudge_integrations.stores import ranks_by

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")


def named(text: str) -> str:
    """An id that every store takes: Qdrant wants UUIDs."""
    return str(uuid5(NAMESPACE_OID, text))


def with_uuids(dataset: RetrievalDataset) -> RetrievalDataset:
    qrels = {query: {named(i): grade for i, grade in judged.items()} for query, judged in dataset.qrels.items()}
    return RetrievalDataset({named(i): text for i, text in dataset.corpus.items()}, dataset.queries, qrels)


SEEN, ASKED = halves(with_uuids(labelled(documents=50)))
QUERIES = list(ASKED.queries.values())


def simple(width: int, folder: Path) -> Any:
    return SimpleVectorStore()


def faiss_flat(metric: str) -> Callable[[int, Path], Any]:
    def make(width: int, folder: Path) -> Any:
        faiss = installed("faiss")
        stores = installed("llama_index.vector_stores.faiss")
        return stores.FaissVectorStore(getattr(faiss, f"IndexFlat{metric}")(width))

    return make


def faiss_map(width: int, folder: Path) -> Any:
    faiss = installed("faiss")
    stores = installed("llama_index.vector_stores.faiss")
    return stores.FaissMapVectorStore(faiss.IndexIDMap2(faiss.IndexFlatIP(width)))


def chroma(space: str | None) -> Callable[[int, Path], Any]:
    def make(width: int, folder: Path) -> Any:
        chromadb = installed("chromadb")
        stores = installed("llama_index.vector_stores.chroma")
        client = chromadb.EphemeralClient(settings=chromadb.Settings(anonymized_telemetry=False))
        configuration = None if space is None else {"hnsw": {"space": space}}
        collection = client.create_collection(f"nodes-{uuid4()}", configuration=configuration)
        return stores.ChromaVectorStore(chroma_collection=collection)

    return make


def qdrant(distance: str | None) -> Callable[[int, Path], Any]:
    def make(width: int, folder: Path) -> Any:
        client = installed("qdrant_client")
        stores = installed("llama_index.vector_stores.qdrant")
        config = {} if distance is None else {"dense_config": client.models.VectorParams(size=width, distance=distance)}
        return stores.QdrantVectorStore("nodes", client=client.QdrantClient(":memory:"), **config)

    return make


def lancedb(width: int, folder: Path) -> Any:
    installed("lancedb")
    stores = installed("llama_index.vector_stores.lancedb")
    return stores.LanceDBVectorStore(uri=str(folder / f"lance-{uuid4()}"))


def postgres(width: int, folder: Path) -> Any:
    stores, address = installed("llama_index.vector_stores.postgres"), postgres_address()
    return stores.PGVectorStore.from_params(
        connection_string=address.replace("postgresql:", "postgresql+psycopg2:"),
        async_connection_string=address.replace("postgresql:", "postgresql+asyncpg:"),
        table_name=f"t{uuid4().hex}",
        embed_dim=width,
    )


def faiss_rows(store: Any, ids: list[str]) -> Any:
    places = getattr(store, "_node_id_to_faiss_id_map", None)
    return [store.client.reconstruct(row if places is None else int(places[i])) for row, i in enumerate(ids)]


def chroma_rows(store: Any, ids: list[str]) -> Any:
    got = store._collection.get(ids=ids, include=["embeddings"])
    by_id = dict(zip(got["ids"], got["embeddings"], strict=True))
    return [by_id[i] for i in ids]


def qdrant_rows(store: Any, ids: list[str]) -> Any:
    by_id = {point.id: point.vector for point in store.client.retrieve("nodes", ids=ids, with_vectors=True)}
    return [next(iter(by_id[i].values())) if isinstance(by_id[i], dict) else by_id[i] for i in ids]


def lancedb_rows(store: Any, ids: list[str]) -> Any:
    rows = store.table.to_arrow().to_pylist()
    assert len(rows) == len(ids)
    by_id = {row["id"]: row["vector"] for row in rows}
    return [by_id[i] for i in ids]


def postgres_rows(store: Any, ids: list[str]) -> Any:
    psycopg2 = installed("psycopg2")
    with psycopg2.connect(store.connection_string.replace("+psycopg2", "")) as connection:
        cursor = connection.cursor()
        cursor.execute(f"select node_id, embedding::text from data_{store.table_name}")  # noqa: S608  a name of our own
        rows = cursor.fetchall()
    connection.close()
    assert len(rows) == len(ids)
    by_id = {node_id: json.loads(vector) for node_id, vector in rows}
    return [by_id[i] for i in ids]


@dataclass(frozen=True)
class Kind:
    """A store, what it ranks by, how to read its rows, and what it can do."""

    name: str
    make: Callable[[int, Path], Any]
    ranking: str
    rows: Callable[[Any, list[str]], Any]
    deletes: bool = True
    keeps_lengths: bool = True


KINDS = (
    Kind("simple", simple, "cosine", lambda store, ids: [store.get(i) for i in ids]),
    Kind("faiss inner product", faiss_flat("IP"), "dot", faiss_rows, deletes=False),
    Kind("faiss l2", faiss_flat("L2"), "l2", faiss_rows, deletes=False),
    Kind("faiss map", faiss_map, "dot", faiss_rows),
    Kind("chroma", chroma(None), "l2", chroma_rows),
    Kind("chroma cosine", chroma("cosine"), "cosine", chroma_rows),
    Kind("chroma inner product", chroma("ip"), "dot", chroma_rows),
    Kind("qdrant", qdrant(None), "cosine", qdrant_rows, keeps_lengths=False),
    Kind("qdrant inner product", qdrant("Dot"), "dot", qdrant_rows),
    Kind("lancedb", lancedb, "l2", lancedb_rows),
    Kind("postgres", postgres, "cosine", postgres_rows),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def engines() -> dict[str, NudgeFinetuneEngine]:
    made = {method: NudgeFinetuneEngine(SEEN, WordEmbedding(), method=method) for method in ("nudge-n", "nudge-m")}
    for engine in made.values():
        engine.finetune()
        assert nudge_of(engine).status == "improved"
    nudges = {"nudge-m, mapped": mapped(nudge_of(made["nudge-m"])), "map alone": map_alone(nudge_of(made["nudge-n"]))}
    for name, nudge in nudges.items():
        made[name] = NudgeFinetuneEngine.from_artifact(nudge, WordEmbedding(), to_nodes(SEEN))
    return made


def write_base_vectors(store: Any) -> None:
    context = StorageContext.from_defaults(vector_store=store)
    VectorStoreIndex(to_nodes(SEEN), storage_context=context, embed_model=WordEmbedding())


def check(kind: Kind, store: Any, engine: NudgeFinetuneEngine, expected: NDArray[np.float32]) -> None:
    """Write nudged vectors; read them back; every ranking is the exact one by inner product."""
    index = engine.as_index(store)
    rows = np.asarray(kind.rows(store, SEEN.document_ids), dtype=np.float32)
    wanted = expected if kind.keeps_lengths else unit(expected)
    np.testing.assert_allclose(rows, wanted, rtol=1e-5, atol=1e-5 * float(np.abs(wanted).max()))
    exact = engine.as_retriever(similarity_top_k=10)
    served = index.as_retriever(similarity_top_k=10)
    queries = asked(nudge_of(engine), [WordEmbedding().get_query_embedding(text) for text in QUERIES])
    order = np.argsort(-queries @ engine.get_finetuned_corpus_embeddings().T.astype(np.float64), axis=1)[:, :10]
    for text, rows in zip(QUERIES, order, strict=True):
        assert found(exact, text) == [SEEN.document_ids[row] for row in rows]
        assert found(served, text) == found(exact, text)


@pytest.mark.parametrize("method", ["nudge-n", "map alone"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_unit_vectors_replace_base_vectors_and_rank_exactly(
    kind: Kind, method: str, folder: Path, engines: dict[str, NudgeFinetuneEngine]
) -> None:
    engine = engines[method]
    store = kind.make(WIDTH, folder)
    assert ranks_by(store) == kind.ranking
    write_base_vectors(store)
    if not kind.deletes:
        with pytest.raises(InputError, match="cannot delete"):
            engine.as_index(store)
        store = kind.make(WIDTH, folder)
    check(kind, store, engine, engine.get_finetuned_corpus_embeddings())


@pytest.mark.parametrize("method", ["nudge-m", "nudge-m, mapped"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_magnitudes_rank_exactly_or_are_refused(
    kind: Kind, method: str, folder: Path, engines: dict[str, NudgeFinetuneEngine]
) -> None:
    engine = engines[method]
    store = kind.make(WIDTH, folder)
    if kind.ranking == "dot":
        if kind.deletes:
            write_base_vectors(store)
        check(kind, store, engine, engine.get_finetuned_corpus_embeddings())
        return
    if kind.name != "simple":  # the framework's own store takes vectors of any width, one by one
        write_base_vectors(store)
        base = np.asarray(kind.rows(store, SEEN.document_ids))
        with pytest.raises(SimilarityError, match=f"ranks by {kind.ranking} and is for vectors of {WIDTH} numbers"):
            engine.as_index(store)
        np.testing.assert_array_equal(kind.rows(store, SEEN.document_ids), base)
    nodes = engine.get_finetuned_nodes(extra_coordinate=True)
    check(kind, kind.make(WIDTH + 1, folder), engine, np.asarray([node.embedding for node in nodes], dtype=np.float32))


def test_without_the_extra_coordinate_cosine_would_rank_magnitudes_wrongly(
    engines: dict[str, NudgeFinetuneEngine],
) -> None:
    engine = engines["nudge-m"]
    exact = engine.as_retriever(similarity_top_k=10)
    wrong = engine.as_index(SimpleVectorStore(), extra_coordinate=False).as_retriever(similarity_top_k=10)
    assert any(found(wrong, text) != found(exact, text) for text in QUERIES)


def test_qdrant_names_the_id_that_it_cannot_take() -> None:
    installed("llama_index.vector_stores.qdrant")
    engine = NudgeFinetuneEngine(labelled(), WordEmbedding(), method="nudge-n", step=0.3)
    engine.finetune()
    with pytest.raises(InputError, match="Qdrant takes UUIDs as node ids; 'd0' is none"):
        engine.as_index(qdrant(None)(WIDTH, Path()))


@pytest.mark.parametrize("method", ["nudge-m", "nudge-m, mapped"])
async def test_stores_are_asked_asynchronously_too(method: str, engines: dict[str, NudgeFinetuneEngine]) -> None:
    engine = engines[method]
    served = engine.as_index(chroma(None)(WIDTH, Path())).as_retriever(similarity_top_k=5)
    exact = engine.as_retriever(similarity_top_k=5)
    for retriever in (served, exact):
        assert [hit.node.node_id for hit in await retriever.aretrieve(QUERIES[0])] == found(exact, QUERIES[0])
