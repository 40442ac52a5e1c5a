"""Lexical scores: tokens by language, BM25 of documents that come and go, and what is saved."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudge_integrations.errors import ArtifactError, CorruptArtifactError, InputError
from nudge_integrations.fusion import Bm25, LexicalIndex
from nudge_integrations.fusion.matrix import score_matrix
from nudge_integrations.fusion.tokens import tokenizer_of

TEXTS = {
    "a": "The engine XR-2041 needs oil",
    "b": "Oil prices are rising",
    "c": "An engine and another engine",
    "d": "",
}


def index_of(texts: dict[str, str], settings: Bm25 | None = None) -> LexicalIndex:
    index = LexicalIndex(settings)
    index.insert([*texts], [*texts.values()])
    return index


def split(text: str) -> list[str]:
    return text.split()


def slow_bm25(texts: dict[str, str], query: str, k1: float = 1.5, b: float = 0.75) -> list[float]:
    documents = [text.split() for text in texts.values()]
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for words in documents:
        score = 0.0
        for word in query.split():
            containing = sum(word in other for other in documents)
            weight = math.log(1.0 + (len(documents) - containing + 0.5) / (containing + 0.5))
            count = words.count(word)
            score += weight * count / (count + k1 * (1.0 - b + b * len(words) / mean)) if count else 0.0
        scores.append(score)
    return scores


def test_scores_are_bm25_over_the_largest_of_the_query() -> None:
    texts = {"a": "x y z", "b": "x x w", "c": "w w w w y", "d": "v"}
    scores = index_of(texts, Bm25(tokenizer=split)).scores(["x y", "w", "nothing here"])
    for row, query in enumerate(["x y", "w"]):
        expected = np.array(slow_bm25(texts, query))
        np.testing.assert_allclose(scores[row], expected / expected.max(), atol=1e-6)
    assert scores[2].tolist() == [0.0] * 4


def test_words_are_stemmed_and_stop_words_left_out_by_language() -> None:
    assert list(tokenizer_of(Bm25())("The engines are running")) == ["engin", "run"]
    assert list(tokenizer_of(Bm25(language="de"))("Die Häuser und der Garten")) == ["haus", "gart"]


@pytest.mark.parametrize("language", ["", "xx", "ja"])
def test_words_of_an_unknown_language_are_taken_as_they_are(language: str) -> None:
    assert list(tokenizer_of(Bm25(language=language))("The engines ARE running")) == [
        "the",
        "engines",
        "are",
        "running",
    ]


def test_any_tokenizer_will_do() -> None:
    trigrams = Bm25(tokenizer=lambda text: [text[i : i + 3] for i in range(len(text) - 2)])
    assert index_of({"a": "xylophone", "b": "telephone"}, trigrams).scores(["phone", "tele"]).argmax(
        axis=1
    ).tolist() != [0, 0]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.lists(st.sampled_from(["oil", "gas", "rod", "cog"]), max_size=5)),
        max_size=12,
    ),
    st.sets(st.sampled_from("abcdef")),
)
def test_after_changes_scores_are_those_of_an_index_built_at_once(
    changes: list[tuple[str, list[str]]], gone: set[str]
) -> None:
    index, texts = LexicalIndex(Bm25(language="")), dict[str, str]()
    for document_id, words in changes:
        texts[document_id] = " ".join(words)
        index.insert([document_id], [texts[document_id]])
        index.scores(["oil"])
    index.delete(gone & texts.keys())
    left = {document_id: text for document_id, text in texts.items() if document_id not in gone}
    assert index.ids == tuple(left)
    queries = ["oil rod", "gas gas cog", "nothing"]
    np.testing.assert_allclose(index.scores(queries), index_of(left, Bm25(language="")).scores(queries), atol=1e-6)


def test_what_is_not_there_cannot_be_deleted_and_nothing_changes() -> None:
    index = index_of(TEXTS)
    with pytest.raises(InputError, match="'z' is not in the lexical index"):
        index.delete(["a", "z"])
    assert index.ids == tuple(TEXTS)
    with pytest.raises(InputError, match="1 ids came with 2 texts"):
        index.insert(["x"], ["y", "z"])


def test_saved_and_loaded_it_scores_the_same_and_goes_on(tmp_path: Path) -> None:
    index, queries = index_of(TEXTS, Bm25(language="en", k1=0.9, b=0.4)), ["engine oil", "XR 2041", ""]
    index.save(tmp_path)
    loaded = LexicalIndex.load(tmp_path)
    assert loaded.settings == index.settings
    assert loaded.ids == index.ids
    np.testing.assert_array_equal(loaded.scores(queries), index.scores(queries))
    for each in (index, loaded):
        each.delete(["a"])
        each.insert(["e"], ["new oil engines"])
    np.testing.assert_array_equal(loaded.scores(queries), index.scores(queries))


@pytest.mark.parametrize("texts", [{}, {"a": ""}, {"a": "", "b": "the"}])
def test_documents_without_a_word_are_scored_and_saved(tmp_path: Path, texts: dict[str, str]) -> None:
    index_of(texts).save(tmp_path)
    loaded = LexicalIndex.load(tmp_path)
    assert loaded.scores(["any word"]).tolist() == [[0.0] * len(texts)]


def test_a_tokenizer_must_be_given_again(tmp_path: Path) -> None:
    index = index_of(TEXTS, Bm25(tokenizer=split))
    index.save(tmp_path / "own")
    with pytest.raises(InputError, match="give tokenizer="):
        LexicalIndex.load(tmp_path / "own")
    loaded = LexicalIndex.load(tmp_path / "own", tokenizer=split)
    np.testing.assert_array_equal(loaded.scores(["engine oil"]), index.scores(["engine oil"]))


@pytest.mark.parametrize("name", ["lexical.json", "tokens.safetensors", "vocabulary.json"])
def test_any_changed_byte_of_a_saved_index_is_refused(tmp_path: Path, name: str) -> None:
    index_of(TEXTS).save(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptArtifactError):
        LexicalIndex.load(tmp_path)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lexical.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(ArtifactError):
        LexicalIndex.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"k1": -1.0}, "k1"), ({"b": 1.5}, "b must be"), ({"language": 3}, "language"), ({"tokenizer": "x"}, "tokenizer")],
)
def test_settings_out_of_range_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Bm25(**options)  # type: ignore[arg-type]


def test_an_index_is_copied_whole() -> None:
    index = LexicalIndex(Bm25(language="en"))
    index.insert(["a", "b"], ["Cats purr.", "A dog barks at dogs."])
    for other in (pickle.loads(pickle.dumps(index)), copy.deepcopy(index)):  # noqa: S301  # our own bytes
        assert other.ids == index.ids
        np.testing.assert_array_equal(other.scores(["barking dog", "purr"]), index.scores(["barking dog", "purr"]))
        other.discard(["a", "nowhere"])
        assert (other.ids, index.ids) == (("b",), ("a", "b"))


def test_scores_are_those_of_bm25s() -> None:
    random = np.random.default_rng(0)
    documents = [random.integers(0, 30, size=size).astype(np.int32) for size in (0, 1, 5, 40, 7, 0, 3)]
    model = bm25s.BM25(k1=1.2, b=0.4)
    expected = model.build_index_from_ids(range(32), [one.tolist() for one in documents], show_progress=False)
    found = score_matrix(documents, 32, 1.2, 0.4)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
