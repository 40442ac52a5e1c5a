"""The text search of a store as a signal: its weight is learned on what it finds, and served from what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from postgres_server import installed

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Fusion, SearchSignal
from nudge_integrations.pipeline import fit

COUNT, DEPTH = 60, 100


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def coded() -> tuple[RetrievalDataset, NDArray[np.float32], NDArray[np.float32]]:
    """Vectors tell the twenties of documents apart, and words the documents; two queries a document."""
    random = np.random.default_rng(0)
    corpus = {f"d{row}": f"valve xk{row:03d} of steel" for row in range(COUNT)}
    queries = {f"q{row}": f"price of xk{row % COUNT:03d}" for row in range(2 * COUNT)}
    qrels = {f"q{row}": {f"d{row % COUNT}": 1.0} for row in range(2 * COUNT)}
    topics = random.normal(size=(3, 16))
    documents = topics[np.arange(COUNT) % 3] + 0.4 * random.normal(size=(COUNT, 16))
    asked = topics[np.arange(2 * COUNT) % COUNT % 3] + 0.4 * random.normal(size=(2 * COUNT, 16))
    return RetrievalDataset(corpus, queries, qrels), unit(documents), unit(asked)


def test_lancedb_full_text_search_is_weighed_and_served_as_it_was_judged(tmp_path: Path) -> None:
    lancedb = installed("lancedb")
    installed("lancedb.index")
    dataset, documents, queries = coded()
    ids, texts = dataset.document_ids, list(dataset.corpus.values())
    rows = [{"id": i, "text": t, "vector": v.tolist()} for i, t, v in zip(ids, texts, documents, strict=True)]
    table = lancedb.connect(tmp_path).create_table("documents", rows)
    table.create_index("text", config=lancedb.index.FTS())

    def search(query: str, k: int) -> list[tuple[str, float]]:
        found = table.search(query, query_type="fts").limit(k).to_list()
        return [(row["id"], row["_score"]) for row in found]

    signal = SearchSignal("fts", search, ids)
    nudge = fit(dataset, "toy", method="nudge-n", signals=[signal], document_vectors=documents, query_vectors=queries)
    assert nudge.fusion is not None
    assert nudge.score > 0.9 > nudge.score - nudge.fusion.gain
    moved = nudge.apply(ids, documents)
    table.delete("true")
    table.add([{"id": i, "text": t, "vector": v.tolist()} for i, t, v in zip(ids, texts, moved, strict=True)])
    table.create_index("text", config=lancedb.index.FTS(), replace=True)
    asked = list(dataset.queries.values())
    exact = nudge.fusion.fused(
        queries @ moved.T, {"fts": signal.of(asked).at(np.tile(np.arange(COUNT), (len(asked), 1)))}
    )
    for number, text in list(enumerate(asked))[::17]:
        near = table.search(queries[number]).distance_type("dot").limit(DEPTH).to_list()
        dense = [(row["id"], 1.0 - row["_distance"]) for row in near]
        best = nudge.fusion.ranked(dense, {"fts": search(text, DEPTH)}, k=5)
        assert [document_id for document_id, _ in best] == [ids[row] for row in np.argsort(-exact[number])[:5]]
        np.testing.assert_allclose([score for _, score in best], np.sort(exact[number])[::-1][:5], atol=1e-5)


def test_qdrant_computes_the_formula(tmp_path: Path) -> None:
    qdrant_client = installed("qdrant_client")
    models: Any = qdrant_client.models
    _, documents, queries = coded()
    client = qdrant_client.QdrantClient(":memory:")
    client.create_collection(
        "documents",
        vectors_config={"dense": models.VectorParams(size=16, distance=models.Distance.DOT)},
        sparse_vectors_config={"words": models.SparseVectorParams()},
    )
    words = np.random.default_rng(1).random((COUNT, 4))
    points = [
        models.PointStruct(
            id=row,
            vector={
                "dense": documents[row].tolist(),
                "words": models.SparseVector(indices=[0, 1, 2, 3], values=words[row].tolist()),
            },
        )
        for row in range(COUNT)
    ]
    client.upsert("documents", points)
    asked = models.SparseVector(indices=[1, 3], values=[1.0, 2.0])
    sparse = words[:, 1] + 2.0 * words[:, 3]
    fusion = Fusion({"words": 0.4}, None, 100, 0.1, 0.01)
    first = client.query_points("documents", query=asked, using="words", limit=1).points[0].score
    formula = fusion.as_rank_expression("qdrant", largest={"words": first})
    found = client.query_points(
        "documents",
        prefetch=[
            models.Prefetch(query=queries[0].tolist(), using="dense", limit=DEPTH),
            models.Prefetch(query=asked, using="words", limit=DEPTH),
        ],
        query=models.FormulaQuery.model_validate({"formula": formula}),
        limit=10,
    ).points
    exact = documents @ queries[0] + 0.4 * sparse / sparse.max()
    assert [point.id for point in found] == np.argsort(-exact)[:10].tolist()
    np.testing.assert_allclose([point.score for point in found], np.sort(exact)[::-1][:10], atol=1e-5)


def found_by(scores: Sequence[tuple[str, float]]) -> SearchSignal:
    return SearchSignal("fts", lambda query, k: scores[:k], ["a", "b", "c"])


def test_what_a_search_does_not_find_scores_nothing() -> None:
    rows = np.array([[0, 1, 2]])
    assert found_by([]).of(["q"]).at(rows).tolist() == [[0.0, 0.0, 0.0]]
    assert found_by([("b", 8.0), ("c", 2.0), ("a", -1.0)]).of(["q"]).at(rows).tolist() == [[0.0, 1.0, 0.25]]


@pytest.mark.parametrize(
    ("scores", "words"), [([("z", 1.0)], "'z', which is not among the 3"), ([("a", float("nan"))], "no finite number")]
)
def test_searches_that_cannot_be_used_are_refused(scores: list[tuple[str, float]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        found_by(scores).of(["q"])


def test_documents_that_text_alone_found_take_the_last_dense_score_or_their_own() -> None:
    fusion = Fusion({"fts": 0.5}, None, 100, 0.1, 0.01)
    dense, found = [("a", 0.9), ("b", 0.2)], {"fts": [("c", 2.0), ("b", 1.0)]}
    best = fusion.ranked(dense, found, 3)
    assert [document_id for document_id, _ in best] == ["a", "c", "b"]
    assert [score for _, score in best] == pytest.approx([0.9, 0.7, 0.45])
    ((first, score),) = fusion.ranked(dense, found, 1, dense_of=lambda ids: [0.8 for _ in ids])
    assert first == "c"
    assert score == pytest.approx(1.3)
    with pytest.raises(InputError, match="'fts' is missing"):
        fusion.ranked(dense, {}, 3)
    with pytest.raises(InputError, match="no document was found by its vector"):
        fusion.ranked([], found, 3)
    with pytest.raises(InputError, match="search by vectors scores document 'a' with nan"):
        fusion.ranked([("a", float("nan")), *dense[1:]], found, 3)
    with pytest.raises(InputError, match="one score for each of the 1 ids; got 2"):
        fusion.ranked(dense, found, 3, dense_of=lambda ids: [0.8, 0.7])
