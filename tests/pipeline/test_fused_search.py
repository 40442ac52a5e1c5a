"""Documents served by vectors and words at once: the sum over the whole corpus, through changes, filters and saves."""

from __future__ import annotations

import dataclasses
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import CorruptArtifactError, InputError
from nudge_integrations.fusion import Bm25, Fusion, LexicalIndex
from nudge_integrations.pipeline import fit
from nudge_integrations.pipeline.nudged_index import NudgedIndex

QUERIES = ("is xk007 there", "series three part", "nothing of that kind", "")
WEIGHT = 0.6
SERIES = ("one", "two", "three")


def corpus(count: int = 300) -> dict[str, str]:
    return {f"d{row}": f"part xk{row:03d} of series {SERIES[row % 3]}" for row in range(count)}


def vectors_of(count: int, seed: int = 0) -> NDArray[np.float64]:
    rows = np.random.default_rng(seed).normal(size=(count, 8))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float64)


@pytest.fixture(scope="module")
def nudge() -> Nudge:
    texts = corpus()
    dataset = RetrievalDataset(texts, {"q": "xk001", "r": "xk002"}, {"q": {"d1": 1.0}, "r": {"d2": 1.0}})
    given: dict[str, Any] = {"document_vectors": vectors_of(300), "query_vectors": vectors_of(2, 1)}
    moved = fit(dataset, "toy", method="nudge-n", step=0.4, **given)
    return dataclasses.replace(moved, fusion=Fusion({"bm25": WEIGHT}, Bm25().as_dict(), 20, 0.1, 0.01))


def index_of(nudge: Nudge, texts: dict[str, str], vectors: NDArray[np.float64]) -> NudgedIndex:
    index = NudgedIndex()
    index.insert([*texts], vectors, [*texts.values()], [{"row": row} for row in range(len(texts))])
    index.apply(nudge)
    return index


def check(index: NudgedIndex, k: int = 10, keep: Callable[[int], bool] | None = None) -> None:
    """Compare with the sum over every document."""
    texts = index.snapshot().texts
    lexical = LexicalIndex(Bm25())
    lexical.insert([*texts], [*texts.values()])
    kept = [hit.id for hit in index.get([*texts]) if keep is None or keep(hit.metadata["row"])]
    where = None if keep is None else (lambda metadata: keep(metadata["row"]))
    for number, text in enumerate(QUERIES):
        query = vectors_of(1, 50 + number)[0]
        words = dict(zip(texts, lexical.scores([text])[0].tolist(), strict=True))
        dense = dict(zip(kept, (index.served.get(kept) @ query).tolist(), strict=True))
        scores = {document_id: dense[document_id] + WEIGHT * words[document_id] for document_id in kept}
        expected = sorted(kept, key=lambda document_id: -scores[document_id])[:k]
        hits = index.search(query, k, text=text, where=where)
        assert [hit.id for hit in hits] == expected
        np.testing.assert_allclose([hit.score for hit in hits], [scores[i] for i in expected], atol=1e-6)


@pytest.mark.parametrize(("count", "k"), [(300, 1), (300, 10), (300, 400), (9000, 3), (9000, 1500)])
def test_the_best_are_those_of_the_whole_corpus(nudge: Nudge, count: int, k: int) -> None:
    vectors = np.concatenate([vectors_of(300), vectors_of(count - 300, 2)]) if count > 300 else vectors_of(count)
    check(index_of(nudge, corpus(count), vectors), k)


def test_filters_hold_for_what_words_find(nudge: Nudge) -> None:
    index = index_of(nudge, corpus(), vectors_of(300))
    check(index, keep=lambda row: row % 2 == 0)
    check(index, keep=lambda row: row > 295)
    assert index.search(vectors_of(1)[0], 5, text="xk007", where={"row": -1}) == []


def test_inserting_and_deleting_keep_words_right(nudge: Nudge) -> None:
    index = index_of(nudge, corpus(), vectors_of(300))
    index.delete([f"d{row}" for row in range(100, 160)])
    check(index)
    index.insert(["new", "d5"], vectors_of(2, 9), ["xk007 xk007 again", "another text"], [{"row": 1}, {"row": 2}])
    check(index)
    query = index.served.get(["new"])[0]
    assert index.search(query, 1, text="again")[0].score == pytest.approx(1.0 + WEIGHT)
    index.delete(["new"])
    check(index)


def test_without_the_words_of_a_query_vectors_alone_count(nudge: Nudge) -> None:
    index = index_of(nudge, corpus(), vectors_of(300))
    query = vectors_of(1, 4)[0]
    alone = index_of(dataclasses.replace(nudge, fusion=None), corpus(), vectors_of(300))
    assert index.search(query, 10) == alone.search(query, 10) == alone.search(query, 10, text="xk007")


def test_saved_and_loaded_it_finds_the_same_and_goes_on(nudge: Nudge, tmp_path: Path) -> None:
    index = index_of(nudge, corpus(), vectors_of(300))
    index.save(tmp_path)
    loaded = NudgedIndex.load(tmp_path)
    query = vectors_of(1, 4)[0]
    assert loaded.search(query, 10, text="xk007") == index.search(query, 10, text="xk007")
    loaded.delete(["d7"])
    check(loaded)
    index.revert()
    index.save(tmp_path)
    assert NudgedIndex.load(tmp_path).search(query, 3, text="xk007") == index.search(query, 3)


def test_signals_that_are_not_saved_are_not_served(nudge: Nudge) -> None:
    mine = dataclasses.replace(nudge, fusion=Fusion({"mine": 1.0}, None, 10, 0.1, 0.01))
    with pytest.raises(InputError, match="'mine', which is not saved"):
        index_of(mine, corpus(), vectors_of(300))


# All but d1, since a nudge none of whose documents is there is refused.
ANY_IDS = st.lists(st.sampled_from([f"d{row}" for row in range(12) if row != 1]), min_size=1, max_size=4, unique=True)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "discard", "save", "pickle", "search"]), ANY_IDS, st.integers(0, 99)
    ),
    max_size=12,
)


def changed(index: NudgedIndex, change: str, ids: list[str], seed: int) -> NudgedIndex:
    """Do one thing to an index; what is deleted must be there, what is discarded need not be."""
    random = np.random.default_rng(seed)
    if change == "insert":
        moved = {document_id for document_id in ids if document_id == "d2"}
        vectors = [vectors_of(300)[int(i[1:])] if i in moved else vectors_of(1, seed)[0] for i in ids]
        texts = [corpus()[i] if i in moved else " ".join(random.choice(["xk007", "series", "part"], 3)) for i in ids]
        index.insert(ids, vectors, texts, [{"row": int(random.integers(9))} for _ in ids])
    elif change == "delete":
        index.delete([document_id for document_id in ids if document_id in index])
    elif change == "discard":
        index.discard(ids)
    elif change == "save":
        with TemporaryDirectory() as folder:
            index.save(folder)
            loaded = NudgedIndex.load(folder)
            index = pickle.loads(pickle.dumps(loaded))  # noqa: S301  # out of a folder that goes; our own bytes
    elif change == "pickle":
        index = pickle.loads(pickle.dumps(index))  # noqa: S301  # our own bytes
    else:
        index.search(vectors_of(1, seed)[0], 3, text="xk007 series")
    return index


@settings(max_examples=60, deadline=None)
@given(changes=CHANGES, k=st.integers(1, 15), most=st.none() | st.integers(0, 9))
def test_after_any_changes_the_best_are_those_of_an_index_built_at_once(
    nudge: Nudge, changes: list[tuple[str, list[str], int]], k: int, most: int | None
) -> None:
    index = index_of(nudge, corpus(10), vectors_of(300)[:10])
    for change in changes:
        index = changed(index, *change)
    found = index.snapshot()
    again = NudgedIndex()
    again.insert([*found.texts], found.vectors, [*found.texts.values()], found.metadata)
    again.apply(nudge)
    where = None if most is None else {"row": {"$lte": most}}
    for number, text in enumerate((*QUERIES, "xk007 series")):
        query = vectors_of(1, 50 + number)[0]
        one, other = (each.search(query, k, text=text, where=where) for each in (index, again))
        assert [(hit.id, hit.text, hit.metadata) for hit in one] == [(h.id, h.text, h.metadata) for h in other]
        np.testing.assert_allclose([hit.score for hit in one], [hit.score for hit in other], atol=1e-6)


def test_searches_while_documents_come_and_go_find_documents_of_one_moment(nudge: Nudge) -> None:
    index, stop, wrong = index_of(nudge, corpus(), vectors_of(300)), threading.Event(), list[BaseException]()

    def search() -> None:
        try:
            while not stop.is_set():
                hits = index.search(vectors_of(1, 4)[0], 10, text="xk007 of series three")
                assert len({hit.id for hit in hits}) == 10
                assert all(np.diff([hit.score for hit in hits]) <= 1e-9)
        except BaseException as error:
            wrong.append(error)

    reader = threading.Thread(target=search)
    reader.start()
    for turn in range(30):
        index.insert([f"n{turn}"], vectors_of(1, turn), [f"xk007 again {turn}"], [{"row": turn}])
        if turn >= 5:
            index.delete([f"n{turn - 5}"])
    stop.set()
    reader.join()
    assert not wrong
    check(index)


@pytest.mark.parametrize("other", ["other documents", "other settings"])
def test_words_of_another_index_are_refused(nudge: Nudge, tmp_path: Path, other: str) -> None:
    index = index_of(nudge, corpus(), vectors_of(300))
    index.save(tmp_path / "index")
    (folder,) = (tmp_path / "index").glob("index-*")
    words = LexicalIndex.load(folder / "lexical")
    if other == "other documents":
        words.delete([words.ids[0]])
    else:
        changed = LexicalIndex(dataclasses.replace(words.settings, k1=words.settings.k1 + 0.5))
        changed.insert(words.ids, ["a text"] * len(words.ids))
        words = changed
    words.save(folder / "lexical")
    with pytest.raises(CorruptArtifactError, match="words of other documents"):
        NudgedIndex.load(tmp_path / "index")
