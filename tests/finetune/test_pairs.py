"""Training pairs and their batches: no document ever stands as a negative of a query that it answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError
from nudge_integrations.finetune.batches import ConflictFreeBatches
from nudge_integrations.finetune.pairs import Texts, TrainingPair, mine_pairs
from nudge_integrations.index import ExactIndex

# Few texts, so that queries and documents of one text under several ids are common.
QUERIES = st.lists(st.sampled_from(["who?", "what?", "when?", "where?", "why?"]), min_size=1, max_size=8)
DOCUMENTS = st.lists(st.sampled_from(["one", "two", "three", "four", "five", "six"]), min_size=1, max_size=9)


@st.composite
def datasets(draw: st.DrawFn) -> RetrievalDataset:
    corpus = {f"d{i}": text for i, text in enumerate(draw(DOCUMENTS))}
    queries = {f"q{i}": text for i, text in enumerate(draw(QUERIES))}
    relevant = st.dictionaries(st.sampled_from(sorted(corpus)), st.sampled_from([1, 2]), min_size=1, max_size=4)
    return RetrievalDataset(corpus, queries, {query: draw(relevant) for query in queries})


def mined(dataset: RetrievalDataset, negatives: int, seed: int = 0) -> list[TrainingPair]:
    vectors = np.random.default_rng(seed).standard_normal((len(dataset.corpus) + len(dataset), 6))
    index = ExactIndex(dataset.document_ids, vectors[: len(dataset.corpus)])
    return mine_pairs(dataset, index, vectors[len(dataset.corpus) :], negatives)


def answers(dataset: RetrievalDataset, text: str) -> set[str]:
    return {
        dataset.corpus[document]
        for query, judged in dataset.qrels.items()
        if dataset.queries[query] == text
        for document, grade in judged.items()
        if grade > 0
    }


@given(dataset=datasets(), negatives=st.integers(0, 3))
def test_hard_negatives_are_never_relevant_to_the_query_under_any_id(dataset: RetrievalDataset, negatives: int) -> None:
    pairs = mined(dataset, negatives)
    assert len({len(pair.negatives) for pair in pairs}) == 1
    for pair in pairs:
        right = answers(dataset, dataset.queries[pair.query])
        assert dataset.corpus[pair.document] in right
        assert right.isdisjoint(dataset.corpus[document] for document in pair.negatives)
        assert len({dataset.corpus[document] for document in pair.negatives}) == len(pair.negatives) <= negatives
    texts = [(dataset.queries[pair.query], dataset.corpus[pair.document]) for pair in pairs]
    assert len(set(texts)) == len(texts)
    assert set(texts) == {(text, answer) for text in dataset.queries.values() for answer in answers(dataset, text)}


@given(dataset=datasets(), negatives=st.integers(0, 2), size=st.integers(2, 5), epoch=st.integers(0, 3))
def test_no_batch_has_a_duplicate_or_a_wrong_negative(
    dataset: RetrievalDataset, negatives: int, size: int, epoch: int
) -> None:
    pairs = mined(dataset, negatives)
    batches = ConflictFreeBatches(pairs, Texts(dataset), size, seed=5)
    batches.set_epoch(epoch)
    rows = list(batches)
    assert len(rows) == len(batches)
    used = [row for batch in rows for row in batch]
    assert len(set(used)) == len(used)
    if epoch == 0:
        assert sorted(used) == list(range(len(pairs)))
    for batch in rows:
        assert 1 <= len(batch) <= size
        queries = [dataset.queries[pairs[row].query] for row in batch]
        shown = [{dataset.corpus[i] for i in (pairs[row].document, *pairs[row].negatives)} for row in batch]
        assert len(set(queries)) == len(queries)
        assert sum(map(len, shown)) == len(set().union(*shown))
        for position, query in enumerate(queries):
            others = set().union(*(texts for other, texts in enumerate(shown) if other != position))
            assert answers(dataset, query).isdisjoint(others)


def test_an_epoch_shuffles_anew_and_a_seed_repeats_it() -> None:
    corpus = {f"d{i}": f"text {i}" for i in range(40)}
    queries = {f"q{i}": f"query {i}" for i in range(40)}
    dataset = RetrievalDataset(corpus, queries, {f"q{i}": {f"d{i}": 1} for i in range(40)})

    def epochs(seed: int) -> list[list[list[int]]]:
        batches = ConflictFreeBatches(mined(dataset, 0), Texts(dataset), 8, seed)
        found = []
        for epoch in range(2):
            batches.set_epoch(epoch)
            found.append(list(batches))
        return found

    assert epochs(1) == epochs(1)
    assert epochs(1)[0] != epochs(1)[1]
    assert epochs(1)[0] != epochs(2)[0]
    assert [len(batch) for batch in epochs(1)[1]] == [8] * 5


def test_an_answer_that_came_with_another_query_keeps_two_queries_apart() -> None:
    # Both documents answer "a"; a batch of (a, one) and (b, two) would teach that "two" does not.
    dataset = RetrievalDataset({"1": "one", "2": "two"}, {"a": "a?", "b": "b?"}, {"a": {"1": 1, "2": 1}, "b": {"2": 1}})
    pairs = mined(dataset, 0)
    assert [len(batch) for batch in ConflictFreeBatches(pairs, Texts(dataset), 4, seed=0)] == [1, 1, 1]


def test_negatives_are_the_nearest_that_are_clearly_below_the_positive() -> None:
    angles = {"positive": 0.3, "too near": 0.1, "nearly as near": 0.35, "hard": 0.8, "far": 2.0}
    dataset = RetrievalDataset({name: name for name in angles}, {"q": "q?"}, {"q": {"positive": 1}})
    index = ExactIndex(list(angles), [[np.cos(angle), np.sin(angle)] for angle in angles.values()])
    assert mine_pairs(dataset, index, [[1.0, 0.0]], 2) == [TrainingPair("q", "positive", ("hard", "far"))]
    # What may be an unlabelled answer comes last, the least likely first.
    (pair,) = mine_pairs(dataset, index, [[1.0, 0.0]], 4)
    assert pair.negatives == ("hard", "far", "nearly as near", "too near")


def test_a_corpus_without_enough_negatives_says_so(caplog: pytest.LogCaptureFixture) -> None:
    dataset = RetrievalDataset({"1": "one", "2": "two"}, {"q": "q?"}, {"q": {"1": 1}})
    index = ExactIndex(["1", "2"], [[1.0, 0.0], [0.0, 1.0]])
    assert mine_pairs(dataset, index, [[1.0, 0.0]], 3) == [TrainingPair("q", "1", ("2",))]
    assert "only 1 of 3 hard negatives" in caplog.text


def test_labels_without_a_relevant_document_are_refused() -> None:
    with pytest.raises(DatasetError, match="nothing to train on"):
        mine_pairs(RetrievalDataset({"1": "one"}, {"q": "q?"}, {"q": {"1": 0}}), None, None, 0)
