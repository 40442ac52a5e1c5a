"""refit: the same as a fit on everything; documents that come, go and change; and when nothing changes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nudge_integrations import Nudge, RetrievalDataset, fit, refit
from nudge_integrations.corpus import ArrayCorpus, Neighbours
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.pipeline import refit_details

DIMENSION, DOCUMENTS = 16, 120
TOLERANCE = 1e-6


class Model:
    """Texts to fixed random vectors: documents are what they are, questions near where their answer should be."""

    fingerprint = "model"

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.base = random.standard_normal((DOCUMENTS, DIMENSION)).astype(np.float32)
        self.hidden = random.standard_normal((DOCUMENTS, DIMENSION)).astype(np.float32)
        self.asked: list[str] = []

    def encode_documents(self, texts: Any) -> NDArray[np.float32]:
        return np.stack([self._document(text) for text in texts])

    def encode_queries(self, texts: Any) -> NDArray[np.float32]:
        self.asked += texts
        return np.stack([self._query(text) for text in texts])

    def _document(self, text: str) -> NDArray[np.float32]:
        number, _, edit = text.removeprefix("document ").partition(" ")
        noise = np.random.default_rng(len(edit)).standard_normal(DIMENSION) * (1.0 if "rewritten" in edit else 0.1)
        return np.asarray(self.base[int(number)] + (noise if edit else 0.0), np.float32)

    def _query(self, text: str) -> NDArray[np.float32]:
        number, _, which = text.removeprefix("question ").partition(" ")
        noise = np.random.default_rng(int(which)).standard_normal(DIMENSION)
        return np.asarray(self.base[int(number)] + 1.2 * self.hidden[int(number)] + 0.4 * noise, np.float32)


CORPUS = {f"d{number}": f"document {number}" for number in range(DOCUMENTS)}


def labels(start: int, stop: int, corpus: dict[str, str] | None = None) -> RetrievalDataset:
    """Questions number start to stop: each about one of the first 40 documents."""
    queries = {f"q{number}": f"question {number % 40} {number}" for number in range(start, stop)}
    qrels = {f"q{number}": {f"d{number % 40}": 1.0} for number in range(start, stop)}
    return RetrievalDataset(corpus or CORPUS, queries, qrels)


def about(*, first: bool, count: int = 160) -> RetrievalDataset:
    """Questions about the first 20 documents, or about the next 20."""
    data = labels(0, count)
    kept = [query for query in data.queries if (int(query[1:]) % 40 < 20) == first]
    queries = {query: data.queries[query] for query in kept}
    return RetrievalDataset(CORPUS, queries, {query: data.qrels[query] for query in kept})


def same_vectors(one: Nudge, other: Nudge) -> bool:
    return one.ids == other.ids and bool(np.abs(one.vectors - other.vectors).max(initial=0.0) <= TOLERANCE)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.mark.parametrize("method", ["nudge", "auto", "contrastive"])
def test_refit_is_a_fit_on_everything(model: Model, method: str) -> None:
    nudge = fit(labels(0, 60), model, method=method, unseen_weight=0.2)
    for start in (60, 100, 140):
        nudge = refit(nudge, labels(start, start + 40), encoder=model)
        together = fit(labels(0, start + 40), model, method=method, unseen_weight=0.2)
        assert same_vectors(nudge, together)
        assert (nudge.score, nudge.step, nudge.method) == pytest.approx(
            (together.score, together.step, together.method)
        )
        assert nudge.dataset_hash == together.dataset_hash


def test_only_new_queries_are_embedded_and_searched_for(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    nudge = fit(labels(0, 80), model, method="nudge")
    vectors, searched = model.encode_documents(list(CORPUS.values())), list[int]()
    model.asked = []
    original = ArrayCorpus.search

    def search(self: ArrayCorpus, queries: NDArray[np.float32], k: int) -> Neighbours:
        searched.append(len(queries))
        return original(self, queries, k)

    monkeypatch.setattr(ArrayCorpus, "search", search)
    refit(nudge, labels(80, 90), vectors, encoder=model)
    assert sorted(model.asked) == sorted(labels(80, 90).queries.values())
    assert searched == [10]
    changed = vectors.copy()
    changed[50] += 0.01
    searched.clear()
    refit(nudge, labels(80, 90), changed, encoder=model)
    assert sum(searched) >= 90


def test_a_saved_nudge_is_refitted_in_another_process_with_nothing_but_new_labels(tmp_path: Path, model: Model) -> None:
    fit(labels(0, 80), model, method="nudge").save(tmp_path)
    loaded = Nudge.load(tmp_path)
    loaded.labels.add(labels(80, 100), source="thumbs")
    newer = loaded.refit(documents=CORPUS, encoder=model)
    assert same_vectors(newer, fit(labels(0, 100), model, method="nudge"))
    newer.save(tmp_path)
    again = Nudge.load(tmp_path)
    assert len(again.labels) == 100
    assert again.labels.since(again.fingerprint) == ()
    assert len(again.labels.query_vectors("model")) == 100


def test_nothing_new_changes_nothing(model: Model) -> None:
    nudge = fit(labels(0, 80), model, method="nudge")
    details = refit_details(nudge, labels(0, 80), encoder=model)
    assert not details.changed
    assert details.diff.ids == ()
    assert details.nudge.fingerprint == nudge.fingerprint
    assert len(details.nudge.labels) == 80


def test_a_fit_that_finds_no_gain_leaves_the_nudge_as_it_is_and_keeps_the_labels(model: Model) -> None:
    nudge = fit(labels(0, 80), model, method="nudge")
    random = np.random.default_rng(0)
    wrong = {f"w{n}": {f"d{random.integers(0, 120)}": 1.0} for n in range(400)}
    noise = RetrievalDataset(CORPUS, {f"w{n}": f"question {n % 40} {1000 + n}" for n in range(400)}, wrong)
    details = refit_details(nudge, noise, encoder=model, standard_errors=1000.0)
    assert not details.changed
    assert "no gain" in details.reason
    assert same_vectors(details.nudge, nudge)
    assert len(details.nudge.labels) == 480
    assert len(details.nudge.labels.since(nudge.fingerprint)) == 400


def test_a_required_gain_is_measured_on_new_queries_that_neither_nudge_has_learned_from(model: Model) -> None:
    nudge = fit(about(first=True), model, method="nudge")
    better = refit_details(nudge, about(first=False), encoder=model, require_gain=True)
    assert better.changed
    assert better.gain is not None
    assert better.gain.queries == 80
    assert better.gain.gain > 2 * better.gain.standard_error
    copies = RetrievalDataset(CORPUS, {"x1": "question 3 1", "x2": "question 4 2"}, {"x1": {"d3": 1}, "x2": {"d4": 1}})
    held = refit_details(better.nudge, copies, encoder=model, require_gain=True)
    assert not held.changed
    assert "gain beyond noise is required" in held.reason
    none = refit_details(better.nudge, None, documents=CORPUS, encoder=model, require_gain=True, step=0.01)
    assert "no new query can show one" in none.reason


def test_the_figure_before_is_what_the_present_nudge_serves(model: Model) -> None:
    nudge = fit(labels(0, 60), model, method="nudge")
    details = refit_details(nudge, labels(60, 75), encoder=model, metric="mrr@5")
    served = nudge.apply(list(CORPUS), model.encode_documents(list(CORPUS.values())))
    asked = model.encode_queries(list(labels(60, 75).queries.values()))
    expected = []
    for number, query in enumerate(asked, start=60):
        order = np.argsort(-(served @ query), kind="stable")[:5].tolist()
        expected.append(1 / (order.index(number % 40) + 1) if number % 40 in order else 0.0)
    assert details.gain is not None
    assert details.gain.before == pytest.approx(np.mean(expected))


# -- documents that come, go and change


def test_labels_of_documents_that_are_gone_wait_and_count_again_when_they_are_back(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    nudge = fit(labels(0, 120), model, method="nudge")
    left = {i: text for i, text in CORPUS.items() if i not in ("d3", "d60")}
    with caplog.at_level(logging.WARNING):
        without = refit_details(nudge, documents=left, encoder=model)
    assert without.documents.gone == ("d3",)
    assert (without.documents.waiting, without.documents.labels, without.documents.added) == (3, 117, -2)
    assert "'d3'" in caplog.text
    assert "d3" not in without.nudge
    assert "d3" not in without.diff.ids
    assert same_vectors(refit(without.nudge, documents=CORPUS, encoder=model), nudge)


def test_labels_of_an_edited_document_wait_until_it_is_confirmed_or_labelled_anew(model: Model) -> None:
    nudge = fit(labels(0, 120), model, method="nudge")
    edited = {**CORPUS, "d5": "document 5 rewritten", "d6": "document 6 rewritten"}
    details = refit_details(nudge, documents=edited, encoder=model)
    assert sorted(details.documents.edited) == ["d5", "d6"]
    assert details.documents.waiting == 6
    assert {"d5", "d6"}.isdisjoint({*details.nudge.ids, *details.diff.ids})
    anew = RetrievalDataset(edited, {"q5": "question 5 5"}, {"q5": {"d5": 1}})
    confirmed = details.nudge
    confirmed.labels.confirm({"d6": edited["d6"]})
    again = refit_details(confirmed, anew, documents=edited, encoder=model)
    assert again.documents.waiting == 2
    assert {"d5", "d6"} <= {*again.nudge.ids}


@pytest.mark.parametrize(("degrees", "kept"), [(30.0, True), (1.0, False)])
def test_labels_of_an_edited_document_are_kept_where_its_vector_hardly_moved(
    model: Model, degrees: float, kept: bool
) -> None:
    nudge = fit(labels(0, 120), model, method="nudge")
    edited = {**CORPUS, "d5": "document 5 typo", "d6": "document 6 rewritten entirely"}
    options: dict[str, Any] = {"documents": edited, "encoder": model, "on_edit": "keep", "keep_degrees": degrees}
    changes = refit_details(nudge, **options).documents
    assert (set(changes.kept), set(changes.edited)) == (({"d5"}, {"d6"}) if kept else (set(), {"d5", "d6"}))
    now, then = model.encode_documents([edited["d5"], CORPUS["d5"]])
    angle = np.degrees(np.arccos(now @ then / np.linalg.norm(now) / np.linalg.norm(then)))
    assert not kept or changes.kept["d5"] == pytest.approx(angle, abs=1e-3)


def test_documents_that_come_with_new_ids_are_known_by_text(model: Model) -> None:
    nudge = fit(labels(0, 120), model, method="nudge")
    renamed = {f"new-{i}": text for i, text in CORPUS.items()}
    details = refit_details(nudge, documents=renamed, encoder=model)
    assert (details.documents.waiting, len(details.documents.renamed)) == (0, 40)
    assert [i.removeprefix("new-") for i in details.nudge.ids] == list(nudge.ids)


def test_documents_that_come_with_other_metadata_are_known_by_their_raw_text(model: Model) -> None:
    with_metadata = {i: f"{text} file: a/{i}" for i, text in CORPUS.items()}
    vectors = model.encode_documents(list(CORPUS.values()))
    nudge = fit(labels(0, 120, with_metadata), "model", method="nudge", document_vectors=vectors,
                query_vectors=model.encode_queries(list(labels(0, 120).queries.values())))  # fmt: skip
    first = nudge.refit(labels(0, 120, with_metadata), vectors, raw_texts=CORPUS)
    moved = {f"x{i}": f"{text} file: b/{i}" for i, text in CORPUS.items()}
    raw = {f"x{i}": text for i, text in CORPUS.items()}
    changes = refit_details(first, None, vectors, documents=moved, raw_texts=raw).documents
    assert (changes.waiting, len(changes.renamed)) == (0, 40)


def test_new_documents_are_counted_and_what_that_means_is_said(model: Model) -> None:
    nudge = fit(labels(0, 120), model, method="nudge")
    grown = {**CORPUS, "n1": "document 7 new", "n2": "document 8 new"}
    changes = refit_details(nudge, documents=grown, encoder=model).documents
    assert (changes.added, changes.unlabelled) == (2, 82)
    assert "82 documents have no label, 2 more documents than at the last fit" in str(changes)


# -- what is refused


def test_vectors_that_are_nudged_already_are_refused(model: Model) -> None:
    nudge = fit(labels(0, 120), model, method="nudge")
    base = model.encode_documents(list(CORPUS.values()))
    with pytest.raises(MismatchError, match="nudged"):
        refit(nudge, labels(120, 130), nudge.apply(list(CORPUS), base), encoder=model)
    other = Model(seed=1)
    with pytest.raises(MismatchError):
        refit(nudge, labels(120, 130), other.encode_documents(list(CORPUS.values())), encoder=model)
    other.fingerprint = "another"
    with pytest.raises(MismatchError, match="another"):
        refit(nudge, labels(120, 130), base, encoder=other)


def test_a_refit_that_cannot_be_says_what_is_missing(model: Model, tmp_path: Path) -> None:
    nudge = fit(labels(0, 60), model, method="nudge")
    with pytest.raises(InputError, match="documents="):
        refit(nudge, None, encoder=model)
    with pytest.raises(InputError, match="on_edit must be"):
        refit(nudge, documents=CORPUS, encoder=model, on_edit="guess")
    with pytest.raises(InputError, match="no label is about a document that is here"):
        refit(nudge, documents={"z": "document 99 other"}, encoder=model)
    nudge.save(tmp_path, labels=False)
    with pytest.raises(InputError, match="keeps no labels"):
        refit(Nudge.load(tmp_path), labels(60, 70), encoder=model)
    with pytest.raises(InputError, match="cannot encode"):
        refit(nudge, labels(60, 70), model.encode_documents(list(CORPUS.values())))


def test_the_log_is_read_by_the_hash_of_the_text_that_was_judged(model: Model) -> None:
    nudge = fit(labels(0, 1), model, method="nudge-n", step=0.1)
    assert nudge.labels.labels[0].text_hash == text_hash("document 0")
