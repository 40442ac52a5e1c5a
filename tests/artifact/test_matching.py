"""Documents with ids and texts meet a nudge, and labels of one corpus meet the documents of another."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nudge_integrations import Nudge, RetrievalDataset, fit
from nudge_integrations.artifact.matching import apply_documents
from nudge_integrations.dataset.alignment import labels_over
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import DatasetError, MismatchError

TEXTS = {"a": "text a", "b": "text b", "c": "text c"}
BASE = np.eye(3, dtype=np.float32)


@pytest.fixture
def nudge() -> Nudge:
    """Moves a and b, not c."""
    dataset = RetrievalDataset(TEXTS, {"q": "query q", "r": "query r"}, {"q": {"a": 1}, "r": {"b": 1}})
    queries = np.array([[0.6, 0, 0.8], [0, 0.6, 0.8]], dtype=np.float32)
    return fit(dataset, "toy", method="nudge-n", step=0.3, document_vectors=BASE, query_vectors=queries)


def test_a_document_is_known_by_its_id_else_by_its_text(nudge: Nudge) -> None:
    placed = apply_documents(nudge, ["a", "renamed", "c"], ["text a", "text b", "text c"], BASE)
    np.testing.assert_array_equal(placed, [nudge.vector("a"), nudge.vector("b"), BASE[2]])


def test_an_edited_document_is_new_but_one_with_the_same_vector_is_not(nudge: Nudge) -> None:
    placed = apply_documents(nudge, ["a", "b"], ["edited", "title\ntext b"], BASE[[2, 1]])
    np.testing.assert_array_equal(placed, [BASE[2], nudge.vector("b")])


def test_a_known_text_with_another_vector_is_refused(nudge: Nudge) -> None:
    with pytest.raises(MismatchError, match="'a'"):
        apply_documents(nudge, ["a"], ["text a"], BASE[[1]])
    with pytest.raises(MismatchError, match="nudged already"):
        apply_documents(nudge, ["renamed"], ["text a"], [nudge.vector("a")])


def test_where_a_text_does_not_tell_only_the_id_counts(nudge: Nudge) -> None:
    shared = dataclasses.replace(nudge, ambiguous_texts={text_hash("text a"): ("a", "twin")})
    placed = apply_documents(shared, ["a", "twin"], ["text a", "text a"], BASE[[0, 0]])
    np.testing.assert_array_equal(placed, [nudge.vector("a"), BASE[0]])


def test_a_nudge_without_texts_knows_ids(nudge: Nudge) -> None:
    nameless = dataclasses.replace(nudge, text_hashes=())
    placed = apply_documents(nameless, ["a", "z"], ["whatever", "text b"], BASE[:2])
    np.testing.assert_array_equal(placed, [nudge.vector("a"), BASE[1]])


def test_labels_go_to_the_id_else_to_the_pieces_else_to_the_text() -> None:
    dataset = RetrievalDataset(
        {"a": "text a", "book": "long", "old name": "text c"},
        {"q": "?"},
        {"q": {"a": 2, "book": 1, "old name": 3, "nowhere": 0}},
    )
    served = {**TEXTS, "page 1": "lo", "page 2": "ng"}
    labels = labels_over(dataset, served, {"page 1": "book", "page 2": "book"})
    assert dict(labels.qrels["q"]) == {"a": 2, "page 1": 1, "page 2": 1, "c": 3}
    assert dict(labels.corpus) == served


def test_the_highest_grade_counts_where_two_labels_meet() -> None:
    dataset = RetrievalDataset({"x": "text a", "y": "text a"}, {"q": "?"}, {"q": {"x": 1, "y": 3}})
    assert dict(labels_over(dataset, TEXTS).qrels["q"]) == {"a": 3}


def test_a_relevant_document_that_is_not_served_is_named() -> None:
    dataset = RetrievalDataset({"x": "text x"}, {"q": "?"}, {"q": {"x": 1}})
    with pytest.raises(DatasetError, match=r"'x' \(of 1\)"):
        labels_over(dataset, TEXTS)


def test_a_deleted_document_is_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    dataset = RetrievalDataset(
        {"a": "text a", "x": "text x"}, {"q": "?", "r": "!"}, {"q": {"a": 1, "x": 2}, "r": {"x": 1, "a": 0}}
    )
    labels = labels_over(dataset, TEXTS)
    assert {query: dict(grades) for query, grades in labels.qrels.items()} == {"q": {"a": 1}}
    assert dict(labels.queries) == {"q": "?"}
    assert "1 relevant documents are not among the 3 documents and are left out, with 1 queries" in caplog.text
