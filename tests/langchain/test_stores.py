"""Every store that LangChain users run, filled through NudgedEmbeddings: base vectors, nudge, read back, exact order.

LanceDB has no kept LangChain adapter (the only one is in langchain-community, which is sunset), so it is not here.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from numpy.typing import NDArray
from postgres_server import installed, postgres_address
from query_maps import asked, map_alone, mapped

from nudge_integrations import Nudge, RetrievalDataset, fit
from nudge_integrations.errors import InputError, MismatchError, SimilarityError
from nudge_integrations.langchain import (
    NudgedEmbeddings,
    NudgeRetriever,
    NudgeVectorStore,
    as_embedding,
    check_store,
    document_id,
    ranks_by,
    to_documents,
)

for package in ("langchain_chroma", "langchain_postgres", "langchain_qdrant"):
    installed(package)
chromadb = installed("chromadb")

from langchain_chroma import Chroma  # noqa: E402
from langchain_postgres import Column, PGEngine, PGVector, PGVectorStore  # noqa: E402
from langchain_postgres.v2.indexes import DistanceStrategy  # noqa: E402
from langchain_qdrant import QdrantVectorStore  # noqa: E402
from qdrant_client import QdrantClient  # noqa: E402
from qdrant_client.models import Distance, VectorParams  # noqa: E402
from sqlalchemy import Engine, create_engine, text  # noqa: E402

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Postgres:
    """Connections to one real server, which are closed in the end."""

    engine: Engine
    pool: PGEngine


@dataclass(frozen=True)
class Kind:
    """One store: how to make it for vectors of a dimension, what it ranks by, how to read a vector back."""

    name: str
    ranks_by: str
    make: Callable[[Embeddings, int, Postgres | None], VectorStore]
    read: Callable[[Any, Sequence[str]], Vectors]
    normalises: bool = False
    id_of: Callable[[str], str] = str


def uuid_of(document_id: str) -> str:
    """Qdrant takes no other ids."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, document_id))


def in_memory(embedding: Embeddings, dimension: int, postgres: Postgres | None) -> VectorStore:
    return InMemoryVectorStore(embedding)


def read_in_memory(store: Any, ids: Sequence[str]) -> Vectors:
    return np.array([store.store[document_id]["vector"] for document_id in ids], dtype=np.float32)


def chroma(space: str | None) -> Callable[[Embeddings, int, Postgres | None], VectorStore]:
    def make(embedding: Embeddings, dimension: int, postgres: Postgres | None) -> VectorStore:
        # A wide search of the graph is exact on a collection of this size.
        configuration: Any = {"hnsw": {"space": space, "ef_search": 1000}} if space else {"hnsw": {"ef_search": 1000}}
        client = chromadb.EphemeralClient(settings=chromadb.Settings(anonymized_telemetry=False))
        name = f"c{uuid.uuid4().hex}"
        return Chroma(name, embedding, client=client, collection_configuration=configuration)

    return make


def read_chroma(store: Any, ids: Sequence[str]) -> Vectors:
    got = store._collection.get(ids=list(ids), include=["embeddings"])
    vector_of = dict(zip(got["ids"], got["embeddings"], strict=True))
    return np.array([vector_of[document_id] for document_id in ids], dtype=np.float32)


def qdrant(distance: Distance) -> Callable[[Embeddings, int, Postgres | None], VectorStore]:
    def make(embedding: Embeddings, dimension: int, postgres: Postgres | None) -> VectorStore:
        client = QdrantClient(":memory:")
        client.create_collection("c", vectors_config=VectorParams(size=dimension, distance=distance))
        return QdrantVectorStore(client, "c", embedding, distance=distance)

    return make


def read_qdrant(store: Any, ids: Sequence[str]) -> Vectors:
    vector_of = {point.id: point.vector for point in store.client.retrieve("c", list(ids), with_vectors=True)}
    return np.array([vector_of[document_id] for document_id in ids], dtype=np.float32)


def pgvector(strategy: str) -> Callable[[Embeddings, int, Postgres | None], VectorStore]:
    def make(embedding: Embeddings, dimension: int, postgres: Postgres | None) -> VectorStore:
        assert postgres is not None
        # All collections share one table in which an id is unique, so each test begins with an empty one.
        options: Any = {"connection": postgres.engine, "distance_strategy": strategy}
        PGVector(embedding, **options).drop_tables()
        return PGVector(embedding, **options)

    return make


def read_pgvector(store: Any, ids: Sequence[str]) -> Vectors:
    with store._make_sync_session() as session:
        kind = store.EmbeddingStore
        rows = session.query(kind.id, kind.embedding).filter(
            kind.collection_id == store.get_collection(session).uuid, kind.id.in_(list(ids))
        )
        vector_of = {row[0]: row[1] for row in rows}
    return np.array([vector_of[document_id] for document_id in ids], dtype=np.float32)


def pgvectorstore(strategy: DistanceStrategy) -> Callable[[Embeddings, int, Postgres | None], VectorStore]:
    def make(embedding: Embeddings, dimension: int, postgres: Postgres | None) -> VectorStore:
        assert postgres is not None
        table = f"t{uuid.uuid4().hex}"
        postgres.pool.init_vectorstore_table(table, dimension, id_column=Column("id", "TEXT"))
        return PGVectorStore.create_sync(postgres.pool, embedding, table, id_column="id", distance_strategy=strategy)

    return make


def read_pgvectorstore(store: Any, ids: Sequence[str]) -> Vectors:
    inside = store._PGVectorStore__vs
    query = text(f'SELECT id, embedding::text FROM "{inside.table_name}"')  # noqa: S608  a name of our own

    async def rows() -> list[Any]:
        async with inside.engine.connect() as connection:
            return list(await connection.execute(query))

    vector_of = {row[0]: json.loads(row[1]) for row in store._engine._run_as_sync(rows())}
    return np.array([vector_of[document_id] for document_id in ids], dtype=np.float32)


STORES = (
    Kind("InMemory", "cosine", in_memory, read_in_memory),
    Kind("Chroma", "l2", chroma(None), read_chroma),
    Kind("Chroma cosine", "cosine", chroma("cosine"), read_chroma),
    Kind("Chroma ip", "dot", chroma("ip"), read_chroma),
    Kind("Qdrant cosine", "cosine", qdrant(Distance.COSINE), read_qdrant, normalises=True, id_of=uuid_of),
    Kind("Qdrant dot", "dot", qdrant(Distance.DOT), read_qdrant, id_of=uuid_of),
    Kind("Qdrant euclid", "l2", qdrant(Distance.EUCLID), read_qdrant, id_of=uuid_of),
    Kind("PGVector cosine", "cosine", pgvector("cosine"), read_pgvector),
    Kind("PGVector l2", "l2", pgvector("l2"), read_pgvector),
    Kind("PGVector inner", "dot", pgvector("inner"), read_pgvector),
    Kind("PGVectorStore cosine", "cosine", pgvectorstore(DistanceStrategy.COSINE_DISTANCE), read_pgvectorstore),
    Kind("PGVectorStore l2", "l2", pgvectorstore(DistanceStrategy.EUCLIDEAN), read_pgvectorstore),
    Kind("PGVectorStore inner", "dot", pgvectorstore(DistanceStrategy.INNER_PRODUCT), read_pgvectorstore),
)
K = 10


class Switch(Embeddings):
    """Embeddings that can be changed under a store that is filled, as by a new release of a program."""

    def __init__(self, current: Embeddings) -> None:
        self.current = current

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.current.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self.current.embed_query(text)


@dataclass(frozen=True)
class Fitted:
    """Real documents, labels and vectors; a nudge of each kind."""

    corpus: RetrievalDataset
    embedding: Embeddings
    base: Vectors
    nudges: dict[str, Nudge]
    queries: list[str]

    def documents(self, kind: Kind) -> list[Document]:
        """The documents with ids that the store takes; ``key`` is the id of the dataset."""
        pairs = self.corpus.corpus.items()
        return [Document(id=kind.id_of(i), page_content=t, metadata={"key": i}) for i, t in pairs]

    def ids(self, kind: Kind) -> list[str]:
        return [kind.id_of(document_id) for document_id in self.corpus.document_ids]


@pytest.fixture(scope="module")
def fitted(real: Callable[[str], Any]) -> Fitted:
    metatool = real("metatool")
    train, _ = metatool.split("train").split((0.1, 0.9))
    test = metatool.split("test")
    encoder = metatool.encoder
    base = encoder.encode_documents(list(train.corpus.values()))
    nudges = {"nudge-n": fit(train, encoder, method="nudge-n"), "nudge-m": fit(train, encoder, method="nudge-m")}
    nudges |= {"nudge-m, mapped": mapped(nudges["nudge-m"]), "map alone": map_alone(nudges["nudge-n"])}
    return Fitted(train, as_embedding(encoder), base, nudges, list(test.queries.values())[:25])


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A real server with pgvector, on a unix socket."""
    url = postgres_address().replace("postgresql://", "postgresql+psycopg://")
    postgres = Postgres(create_engine(url), PGEngine.from_connection_string(url))
    yield postgres
    postgres.engine.dispose()
    postgres.pool._run_as_sync(postgres.pool._pool.dispose())


def check_ranking(fitted: Fitted, nudge: Nudge, ask: Callable[[str], list[str]]) -> None:
    """Every query's best documents are those with the largest inner products; only equal ones may change places."""
    vectors = nudge.apply(fitted.corpus.document_ids, fitted.base).astype(np.float64)
    row_of = {document_id: row for row, document_id in enumerate(fitted.corpus.document_ids)}
    for query in fitted.queries:
        scores = vectors @ asked(nudge, [fitted.embedding.embed_query(query)])[0]
        found = [row_of[document_id] for document_id in ask(query)]
        assert len(set(found)) == K
        np.testing.assert_allclose(scores[found], np.sort(scores)[::-1][:K], atol=2e-6)


def keys(documents: Sequence[Document]) -> list[str]:
    return [document.metadata["key"] for document in documents]


kinds = pytest.mark.parametrize("kind", STORES, ids=lambda kind: kind.name)


def test_lengths_and_maps_rank_apart_so_that_a_wrong_order_shows(fitted: Fitted) -> None:
    nudge = fitted.nudges["nudge-m"]
    assert nudge.similarity == "dot"
    vectors = nudge.apply(fitted.corpus.document_ids, fitted.base)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = np.array([fitted.embedding.embed_query(query) for query in fitted.queries])
    turned = asked(fitted.nudges["nudge-m, mapped"], queries)
    order, *others = (
        np.argsort(-q @ rows.T, axis=1)[:, :K] for q, rows in ((queries, vectors), (queries, unit), (turned, vectors))
    )
    for other in others:
        assert (order != other).any(axis=1).mean() > 0.5


@kinds
def test_adding_again_replaces_base_vectors_by_nudged_ones(kind: Kind, fitted: Fitted, postgres: Postgres) -> None:
    nudge = fitted.nudges["nudge-n"]
    embedding = Switch(fitted.embedding)
    store = kind.make(embedding, 384, postgres)
    assert ranks_by(store) == kind.ranks_by
    store.add_documents(fitted.documents(kind))
    np.testing.assert_allclose(kind.read(store, fitted.ids(kind)), fitted.base, atol=2e-3)
    embedding.current = NudgedEmbeddings(fitted.embedding, nudge)
    store.add_documents(fitted.documents(kind))
    expected = nudge.apply(fitted.corpus.document_ids, fitted.base)
    np.testing.assert_allclose(kind.read(store, fitted.ids(kind)), expected, atol=1e-6)
    check_ranking(fitted, nudge, lambda query: keys(store.similarity_search(query, k=K)))


@kinds
@pytest.mark.parametrize("method", ["nudge-m", "nudge-m, mapped", "map alone"])
def test_ranks_exactly(kind: Kind, method: str, fitted: Fitted, postgres: Postgres) -> None:
    nudge = fitted.nudges[method]
    embedding = NudgedEmbeddings(fitted.embedding, nudge)
    dimension = 385 if nudge.similarity == "dot" else 384
    store = kind.make(embedding, dimension, postgres)
    store.add_documents(fitted.documents(kind))
    stored = kind.read(store, fitted.ids(kind))
    scale = nudge.max_norm if kind.normalises else 1.0
    expected = nudge.apply(fitted.corpus.document_ids, fitted.base)
    np.testing.assert_allclose(stored[:, :384] * scale, expected, atol=2e-6)
    retriever = NudgeRetriever.from_vectorstore(store, nudge, k=K)
    check_ranking(fitted, nudge, lambda query: keys(retriever.invoke(query)))


@pytest.mark.parametrize("kind", STORES[:2], ids=lambda kind: kind.name)
@pytest.mark.parametrize("method", ["nudge-m, mapped", "map alone"])
async def test_other_ways_to_ask_map_queries_too(kind: Kind, method: str, fitted: Fitted) -> None:
    nudge = fitted.nudges[method]
    embedding = NudgedEmbeddings(fitted.embedding, nudge)
    store = kind.make(embedding, 384, None)
    store.add_documents(fitted.documents(kind))
    ours = NudgeVectorStore(fitted.embedding)
    ours.add_documents(fitted.documents(kind))
    ours.apply(nudge)
    options: Any = {"k": K, "fetch_k": K, "lambda_mult": 1.0}
    for served, embed in ((store, embedding.embed_query), (ours, fitted.embedding.embed_query)):
        retriever = NudgeRetriever.from_vectorstore(served, nudge, k=K)
        answers = {query: keys(await retriever.ainvoke(query)) for query in fitted.queries}
        for ask in (
            answers.__getitem__,
            lambda query, s=served: keys(s.max_marginal_relevance_search(query, **options)),
            # Our store maps by itself and takes base vectors; another one takes what the embeddings give.
            lambda query, s=served, e=embed: keys(s.similarity_search_by_vector(e(query), k=K)),
            lambda query, s=served, e=embed: keys(s.max_marginal_relevance_search_by_vector(e(query), **options)),
        ):
            check_ranking(fitted, nudge, ask)
    ours.revert()
    plain = NudgeVectorStore(fitted.embedding)
    plain.add_documents(fitted.documents(kind))
    query = fitted.queries[0]
    assert ours.similarity_search_with_score(query) == plain.similarity_search_with_score(query)


@kinds
def test_bare_magnitudes_rank_exactly_by_inner_product_and_are_refused_elsewhere(
    kind: Kind, fitted: Fitted, postgres: Postgres
) -> None:
    nudge = fitted.nudges["nudge-m"]
    embedding = NudgedEmbeddings(fitted.embedding, nudge, extra_coordinate=False)
    store = kind.make(embedding, 384, postgres)
    if kind.ranks_by != "dot":
        with pytest.raises(SimilarityError, match="inner product"):
            NudgeRetriever.from_vectorstore(store, nudge)
        return
    store.add_documents(fitted.documents(kind))
    retriever = NudgeRetriever.from_vectorstore(store, nudge, k=K)
    check_ranking(fitted, nudge, lambda query: keys(retriever.invoke(query)))


def test_a_store_with_add_embeddings_takes_nudged_vectors_as_they_are(fitted: Fitted, postgres: Postgres) -> None:
    nudge = fitted.nudges["nudge-m"]
    embedding = NudgedEmbeddings(fitted.embedding, nudge)
    texts, ids = list(fitted.corpus.corpus.values()), fitted.corpus.document_ids
    vectors = embedding.embed_documents(texts)
    store: Any = pgvector("inner")(embedding, 385, postgres)
    store.add_embeddings(texts, vectors, [{"key": i} for i in ids], ids)
    check_ranking(fitted, nudge, lambda query: keys(store.similarity_search(query, k=K)))


def test_a_store_that_ranks_by_something_else_is_refused(fitted: Fitted) -> None:
    nudge = fitted.nudges["nudge-n"]
    store = qdrant(Distance.MANHATTAN)(NudgedEmbeddings(fitted.embedding, nudge), 384, None)
    with pytest.raises(SimilarityError, match="manhattan"):
        NudgeRetriever.from_vectorstore(store, nudge)


def test_a_store_with_base_vectors_or_of_another_nudge_is_refused(fitted: Fitted) -> None:
    store = InMemoryVectorStore(fitted.embedding)
    with pytest.raises(InputError, match="EncoderEmbeddings"):
        NudgeRetriever.from_vectorstore(store, fitted.nudges["nudge-n"])
    nudged = InMemoryVectorStore(NudgedEmbeddings(fitted.embedding, fitted.nudges["nudge-n"]))
    assert check_store(nudged) is nudged.embeddings
    with pytest.raises(MismatchError, match="nudge-m"):
        NudgeRetriever.from_vectorstore(nudged, fitted.nudges["nudge-m"])


class Filled(NudgedEmbeddings):
    """Nudged embeddings of a store that was filled by others before."""

    by: Embeddings | None = None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return super().embed_documents(texts) if self.by is None else self.by.embed_documents(texts)


@kinds
@pytest.mark.parametrize("method", ["nudge-n", "nudge-m"])
def test_vectors_of_a_store_are_read_back_and_those_of_an_older_nudge_refused(
    kind: Kind, method: str, fitted: Fitted, postgres: Postgres
) -> None:
    nudge = fitted.nudges[method]
    older = dataclasses.replace(nudge, vectors=np.roll(nudge.vectors, 1, axis=1))
    embedding = Filled(fitted.embedding, nudge)
    store = kind.make(embedding, 385 if method == "nudge-m" else 384, postgres)
    NudgeRetriever.from_vectorstore(store, nudge)
    store.add_documents(fitted.documents(kind))
    NudgeRetriever.from_vectorstore(store, nudge)
    wrong = [NudgedEmbeddings(fitted.embedding, older), *([fitted.embedding] if method == "nudge-n" else [])]
    for filler in wrong:
        embedding.by = filler
        store.add_documents(fitted.documents(kind))
        if kind.name.startswith("PGVectorStore"):  # its vectors cannot be read back
            continue
        with pytest.raises(MismatchError, match="is not where this nudge puts it"):
            NudgeRetriever.from_vectorstore(store, nudge)


def test_our_own_store_is_copied_and_nudged(fitted: Fitted) -> None:
    store = NudgeVectorStore(fitted.embedding)
    documents = to_documents(fitted.corpus)
    store.add_documents(documents)
    for nudge in fitted.nudges.values():
        retriever = NudgeRetriever.from_vectorstore(store, nudge, k=K)
        check_ranking(fitted, nudge, lambda query, r=retriever: [str(d.id) for d in r.invoke(query)])  # type: ignore[misc]
    assert store.nudge is None


def test_qdrant_results_have_their_id_in_metadata(fitted: Fitted) -> None:
    kind = STORES[4]
    store = kind.make(NudgedEmbeddings(fitted.embedding, fitted.nudges["nudge-n"]), 384, None)
    store.add_documents(fitted.documents(kind)[:5])
    found = NudgeRetriever.from_vectorstore(store, fitted.nudges["nudge-n"], k=5).invoke(fitted.queries[0])
    assert {document_id(document) for document in found} == set(fitted.ids(kind)[:5])
    nameless = [document.model_copy(update={"id": None}) for document in found]
    assert {document_id(document, id_key="key") for document in nameless} == set(fitted.corpus.document_ids[:5])
