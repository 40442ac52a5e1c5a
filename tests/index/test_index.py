"""The exact index: rankings against numpy, insert, delete, filters, files."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nudge_integrations.errors import ArtifactError, CorruptArtifactError, InputError, SimilarityError
from nudge_integrations.index import (
    ExactIndex,
    with_extra_coordinate,
    with_zero_coordinate,
    without_extra_coordinate,
)


def names(count: int, prefix: str = "d") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def random_vectors(count: int, dimension: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def expected(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    scores = (queries.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("k", [1, 10, 500, 900])
def test_ranks_as_numpy_does(similarity: Literal["cosine", "dot"], k: int) -> None:
    vectors, queries = random_vectors(500, 24), random_vectors(33, 24, seed=1)
    index = ExactIndex(names(500), vectors, similarity=similarity)
    ids, scores = index.search(queries, k)
    if similarity == "cosine":
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    order, best = expected(vectors, queries, k)
    assert scores.shape == (33, min(k, 500))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, best, rtol=1e-5, atol=1e-6)
    agreement = np.mean([ids[row][0] == f"d{order[row, 0]}" for row in range(33)])
    assert agreement == 1.0


@given(
    values=st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=40),
    queries=st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=4),
    k=st.integers(1, 50),
)
def test_ties_are_ordered_by_row(values: list[list[int]], queries: list[list[int]], k: int) -> None:
    vectors, asked = np.array(values, dtype=np.float32), np.array(queries, dtype=np.float32)
    ids, scores = ExactIndex(names(len(values)), vectors, similarity="dot").search(asked, k)
    order, best = expected(vectors, asked, k)
    assert ids == [[f"d{row}" for row in some] for some in order.tolist()]
    np.testing.assert_array_equal(scores, best)


def test_equal_vectors_tie_wherever_they_stand() -> None:
    vectors = random_vectors(1003, 37)
    twins = [5, 64, 500, 1001, 1002]
    vectors[twins] = vectors[5]
    index = ExactIndex(names(1003), vectors)
    ids, scores = index.search(vectors[5:6], 5)
    assert ids == [[f"d{row}" for row in twins]]
    assert len(set(scores[0].tolist())) == 1


def test_one_query_scores_as_in_a_batch_and_as_under_a_filter() -> None:
    vectors, queries = random_vectors(700, 96), random_vectors(40, 96, seed=3)
    index = ExactIndex(names(700), vectors, metadata=[{"even": row % 2 == 0} for row in range(700)])
    ids, scores = index.search(queries, 700)
    for row in range(40):
        alone_ids, alone = index.search(queries[row : row + 1], 20)
        assert alone_ids[0] == ids[row][:20]
        np.testing.assert_array_equal(alone[0], scores[row, :20])
    some_ids, some = index.search(queries, 350, where={"even": True})
    by_id = [dict(zip(ids[row], scores[row].tolist(), strict=True)) for row in range(40)]
    assert [[by_id[row][i] for i in some_ids[row]] for row in range(40)] == some.tolist()


def test_blocks_of_queries_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    index = ExactIndex(names(300), random_vectors(300, 16))
    queries = random_vectors(50, 16, seed=1)
    whole_ids, whole = index.search(queries, 7)
    monkeypatch.setattr("nudge_integrations.index.search._BLOCK_BYTES", 4 * 300 * 3)
    blocked_ids, blocked = index.search(queries, 7)
    assert blocked_ids == whole_ids
    np.testing.assert_array_equal(blocked, whole)


def test_filters() -> None:
    metadata: list[dict[str, Any]] = [{"lang": "en", "year": 1}, {"lang": "de", "year": 2}, {"lang": "en"}, {}]
    index = ExactIndex(names(4), random_vectors(4, 5), metadata=metadata)
    query = random_vectors(1, 5, seed=9)
    assert set(index.search(query, 9, where={"lang": "en"})[0][0]) == {"d0", "d2"}
    assert index.search(query, 9, where={"lang": "en", "year": 1})[0] == [["d0"]]
    assert index.search(query, 9, where={"year": None})[0] == [[]]
    assert set(index.search(query, 9, where=lambda entry: entry.get("year", 0) > 0)[0][0]) == {"d0", "d1"}
    assert len(index.search(query, 9, where={})[0][0]) == 4


def test_insert_replaces_in_place_and_adds_at_the_end() -> None:
    vectors = np.eye(4, dtype=np.float32)
    index = ExactIndex(["a", "b", "c"], vectors[:3], metadata=[{"n": 0}, {"n": 1}, {"n": 2}], similarity="dot")
    index.insert(["d", "b"], [[0, 0, 0, 1], [0, 0, 5, 0]])
    assert index.ids == ["a", "b", "c", "d"]
    assert index.get_metadata(["b", "d"]) == [{"n": 1}, {}]
    np.testing.assert_array_equal(index.vectors, [[1, 0, 0, 0], [0, 0, 5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    # b, replaced, still comes before c where their scores are equal
    index.insert(["b"], [[0, 0, 1, 0]], [{"n": 7}])
    assert index.search([[0, 0, 1, 0]], 2)[0] == [["b", "c"]]
    assert index.get_metadata(["b"]) == [{"n": 7}]
    assert len(index) == 4


def test_delete_and_insert_again() -> None:
    index = ExactIndex(names(6), np.eye(6, dtype=np.float32))
    index.delete(["d1", "d4"])
    assert index.ids == ["d0", "d2", "d3", "d5"]
    assert "d1" not in index
    assert "d1" not in index.search(np.eye(6)[1:2], 6)[0][0]
    index.insert(["d1"], np.eye(6)[1:2])
    assert index.ids == ["d0", "d2", "d3", "d5", "d1"]
    index.delete(index.ids)
    assert len(index) == 0
    assert index.search(np.eye(6)[:1], 3)[0] == [[]]
    index.insert(["z"], np.eye(6)[:1])
    assert index.search(np.eye(6)[:1], 3)[0] == [["z"]]


@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 12), min_size=1, max_size=6)), max_size=30))
def test_any_history_ends_as_a_dictionary_would(history: list[tuple[bool, set[int]]]) -> None:
    index, model = ExactIndex(similarity="dot"), dict[str, list[float]]()
    for moment, (inserting, numbers) in enumerate(history):
        ids = [f"d{number}" for number in sorted(numbers)]
        if inserting:
            vectors = [[float(moment + 1), float(number)] for number in sorted(numbers)]
            index.insert(ids, vectors)
            model.update(zip(ids, vectors, strict=True))
        else:
            present = [i for i in ids if i in index]
            index.delete(present)
            for document_id in present:
                del model[document_id]
    assert index.ids == list(model)
    assert index.vectors.tolist() == list(model.values())
    assert index.get(list(model)).tolist() == list(model.values())
    if model:
        found, _ = index.search([[1.0, 0.5]], 3)
        order, _ = expected(np.array(list(model.values()), np.float32), np.array([[1.0, 0.5]], np.float32), 3)
        assert found == [[list(model)[row] for row in order[0]]]


def test_many_small_inserts_and_deletes_stay_cheap() -> None:
    index = ExactIndex(names(50_000), random_vectors(50_000, 32))
    fresh = random_vectors(1, 32, seed=2)
    buffers = [index._rows.vectors]
    for number in range(300):
        index.insert([f"new{number}"], fresh)
        index.insert([f"d{number}"], fresh)
        index.delete([f"d{40_000 + number}"])
        buffers.append(index._rows.vectors)
    # the vectors were copied once, to make room, and not for each of the 900 changes
    assert len({id(buffer) for buffer in buffers}) == 2
    assert len(index) == 50_000


def test_searches_see_one_moment_while_others_write() -> None:
    ids, wrong, done = names(400), list[object](), threading.Event()
    zeros, ones = np.tile([1.0, 0.0], (400, 1)), np.tile([0.0, 1.0], (400, 1))
    index = ExactIndex(ids, zeros)

    def read() -> None:
        while not done.is_set():
            found, scores = index.search([[1.0, 0.0]], 400)
            if (
                len(set(scores[0].tolist())) > 1
                or len(set(found[0])) != len(found[0])
                or len(found[0]) not in (399, 400)
            ):
                wrong.append((len(found[0]), set(scores[0].tolist())))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(120):
        index.insert(ids, ones if turn % 2 else zeros)
        index.delete(["d7"])
        index.insert(["d7"], index.get(["d8"]))
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("ids", "vectors", "words"),
    [
        (["a", "a"], [[1, 0], [0, 1]], "'a' comes twice"),
        (["a", 7], [[1, 0], [0, 1]], "must be strings; got 7"),
        (["a"], [[1, 0], [0, 1]], "2 vectors came with 1 ids"),
        (["a", "b"], [[1, 0], [float("nan"), 1]], "'b' is not finite"),
        (["a", "b"], [[1, 0], [float("inf"), 1]], "'b' is not finite"),
        (["a", "b"], [[1, 0], [0, 0]], "'b' is the zero vector"),
        (["a"], [[1, 0, 0]], "3 dimensions, expected 2"),
        (["a"], [1.0, 0.0], r"expected an \(n, d\) array"),
        (["a"], [["x", "y"]], "array of numbers"),
    ],
)
def test_bad_vectors_are_named_and_leave_the_index_as_it_was(ids: list[Any], vectors: object, words: str) -> None:
    index = ExactIndex(["first"], [[0.6, 0.8]])
    with pytest.raises(InputError, match=words):
        index.insert(ids, vectors)
    assert index.ids == ["first"]


def test_bad_questions_are_refused() -> None:
    index = ExactIndex(["a"], [[1.0, 0.0]])
    for queries, k, words in [
        ([[1.0, 0.0]], 0, "k must be at least 1; got 0"),
        ([[1.0, 0.0]], None, "k must be a whole number; got None"),
        ([[1.0, 0.0]], 1.5, r"k must be a whole number; got 1\.5"),
        ([[1.0]], 1, "1 dimensions, expected 2"),
        ([[0.0, 0.0]], 1, "zero vector"),
        ([[np.nan, 0.0]], 1, "not finite"),
    ]:
        with pytest.raises(InputError, match=words):
            index.search(queries, k)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'b' and 1 more is not in the index"):
        index.delete(["a", "b", "c"])
    assert index.ids == ["a"]
    with pytest.raises(InputError, match="not in the index"):
        index.get(["b"])
    with pytest.raises(InputError, match="similarity must be"):
        ExactIndex(["a"], [[1.0]], similarity="l2")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1 ids came with 2 metadata"):
        index.insert(["b"], [[1.0, 0.0]], [{}, {}])
    with pytest.raises(InputError, match="metadata of 'b' must be a mapping"):
        index.insert(["b"], [[1.0, 0.0]], [None])  # type: ignore[list-item]


def test_an_empty_index_answers() -> None:
    index = ExactIndex()
    assert (len(index), index.dimension, index.ids) == (0, None, [])
    ids, scores = index.search([[1.0, 2.0], [1.0, 3.0]], 4)
    assert ids == [[], []]
    assert scores.shape == (2, 0)


def test_its_vectors_are_its_own() -> None:
    vectors = np.eye(3, dtype=np.float32)
    index = ExactIndex(names(3), vectors, similarity="dot")
    vectors[:] = 9
    np.testing.assert_array_equal(index.vectors, np.eye(3))
    with pytest.raises(ValueError, match="read-only"):
        index.vectors[0, 0] = 5


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_saved_and_loaded_it_answers_the_same(tmp_path: Path, similarity: Literal["cosine", "dot"]) -> None:
    metadata = [{"number": row, "umlaut": "ü"} for row in range(50)]
    index = ExactIndex(names(50, "é"), random_vectors(50, 8), similarity=similarity, metadata=metadata)
    index.delete(["é3"])
    index.insert(["é5"], random_vectors(1, 8, seed=5))
    index.save(tmp_path / "index")
    loaded = ExactIndex.load(tmp_path / "index")
    assert (loaded.ids, loaded.similarity, loaded.dimension) == (index.ids, similarity, 8)
    queries = random_vectors(9, 8, seed=4)
    assert loaded.search(queries, 49, where={"umlaut": "ü"})[0] == index.search(queries, 49)[0]
    np.testing.assert_array_equal(loaded.search(queries, 5)[1], index.search(queries, 5)[1])
    loaded.insert(["more"], random_vectors(1, 8))
    loaded.delete(["é5"])
    loaded.save(tmp_path / "index")
    assert ExactIndex.load(tmp_path / "index", verify=False).ids == loaded.ids


def test_an_empty_index_is_saved_too(tmp_path: Path) -> None:
    ExactIndex([], np.empty((0, 4))).save(tmp_path / "index")
    assert ExactIndex.load(tmp_path / "index").dimension == 4


@pytest.mark.parametrize("name", ["index.json", "vectors.npy", "ids.json", "metadata.json"])
def test_any_changed_byte_of_a_saved_index_is_refused(tmp_path: Path, name: str) -> None:
    ExactIndex(names(2), np.eye(2), metadata=[{"a": 1}, {}]).save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        (tmp_path / name).write_bytes(changed)
        with pytest.raises(ArtifactError):
            ExactIndex.load(tmp_path)
    (tmp_path / name).write_bytes(whole[:-1])
    with pytest.raises(CorruptArtifactError):
        ExactIndex.load(tmp_path, verify=False)


def test_a_hundred_thousand_vectors_load_as_fast_as_the_disk(tmp_path: Path) -> None:
    index = ExactIndex(names(100_000), random_vectors(100_000, 384), similarity="dot")
    index.save(tmp_path)
    began = time.process_time()
    loaded = ExactIndex.load(tmp_path)
    # a quarter of a second on two cores at rest; parsing numbers as text would take minutes
    assert time.process_time() - began < 5.0
    assert not loaded.vectors.flags.owndata
    query = random_vectors(1, 384, seed=1)
    assert loaded.search(query, 10)[0] == index.search(query, 10)[0]


@pytest.mark.parametrize("entry", [{1: "a"}, {"a": (1, 2)}, {"a": [{"b": (1,)}]}, {"a": {True: 1}}])
def test_metadata_that_would_come_back_as_another_type_are_named_when_saved(tmp_path: Path, entry: Any) -> None:
    index = ExactIndex(["a"], [[1.0, 0.0]], metadata=[entry])
    with pytest.raises(InputError, match="metadata of 'a' would come back as another type"):
        index.save(tmp_path / "index")


def test_metadata_that_is_no_json_is_named_when_saved(tmp_path: Path) -> None:
    index = ExactIndex(["a"], [[1.0]], metadata=[{"when": object()}])
    with pytest.raises(InputError, match="metadata of 'a' cannot be saved"):
        index.save(tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_the_extra_coordinate_makes_cosine_and_l2_rank_as_the_inner_product() -> None:
    vectors = random_vectors(300, 12) * np.random.default_rng(1).uniform(0.2, 3, (300, 1)).astype(np.float32)
    queries = random_vectors(20, 12, seed=2)
    order, _ = expected(vectors, queries, 300)
    wide, asked = with_extra_coordinate(vectors), with_zero_coordinate(queries)
    assert wide.dtype == asked.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(wide, axis=1), np.linalg.norm(vectors, axis=1).max(), rtol=1e-5)
    cosine = ExactIndex(names(300), wide).search(asked, 10)[0]
    assert cosine == [[f"d{row}" for row in some[:10]] for some in order.tolist()]
    distances = np.linalg.norm(wide[None].astype(np.float64) - asked[:, None], axis=2)
    assert (np.argsort(distances, axis=1)[:, :10] == order[:, :10]).all()
    np.testing.assert_array_equal(without_extra_coordinate(wide), vectors)
    with pytest.raises(SimilarityError, match="do not fit under norm=1"):
        with_extra_coordinate(vectors, norm=1.0)
    np.testing.assert_allclose(with_extra_coordinate(np.eye(2), norm=3.0)[:, 2], np.sqrt(8.0), rtol=1e-6)
