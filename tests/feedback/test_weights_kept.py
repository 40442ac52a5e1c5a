"""What labels count is kept on every way from a log of feedback to a nudge, and a refit is a fit on everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from llama_index.core.embeddings import MockEmbedding

from nudge_integrations import InputError, Nudge, RetrievalDataset, fit
from nudge_integrations.dataset import Splits
from nudge_integrations.dataset.label_weights import read_weights, write_weights
from nudge_integrations.feedback import Feedback, FeedbackLog, Shown, Verdict
from nudge_integrations.langchain import NudgeRetriever
from nudge_integrations.llama_index import NudgeFinetuneEngine
from nudge_integrations.pipeline import labels_over_documents
from nudge_integrations.stores import fit_store, open_store

COUNT, DIMENSION = 40, 12
CORPUS = {f"d{row}": f"document {row}" for row in range(COUNT)}


class Vectors:
    """Vectors by what a text ends with: queries near the document of their number, under a shared shift."""

    fingerprint = "toy"

    def encode_documents(self, texts: Any) -> Any:
        base = np.random.default_rng(0).standard_normal((COUNT, DIMENSION)).astype(np.float32)
        return base[[int(text.split()[-1]) for text in texts]]

    def encode_queries(self, texts: Any) -> Any:
        shift = 1.5 * np.random.default_rng(1).standard_normal(DIMENSION)
        rows = [np.random.default_rng(int(text.split()[1])).standard_normal(DIMENSION) for text in texts]
        return np.asarray(self.encode_documents(texts) + shift + np.array(rows), np.float32)


class Embedder(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return list(Vectors().encode_documents(texts).tolist())

    def embed_query(self, text: str) -> list[float]:
        return list(Vectors().encode_queries([text])[0].tolist())


class Model(MockEmbedding):
    def _get_text_embedding(self, text: str) -> list[float]:
        return list(Vectors().encode_documents([text])[0].tolist())

    def _get_query_embedding(self, query: str) -> list[float]:
        return list(Vectors().encode_queries([query])[0].tolist())


def said(first: int, last: int) -> Feedback:
    """Return clicks of two weights for each query, and noes alone for every fifth."""
    shown = tuple(
        Shown(f"query {number} about {number % COUNT}", f"d{(number + place) % COUNT}", place, place in (0, 1))
        for number in range(first, last)
        for place in range(3)
        if number % 5
    )
    noes = tuple(
        Verdict(f"query {number} about {number % COUNT}", f"d{(number + 7) % COUNT}", -1.0)
        for number in range(first, last)
        if not number % 5
    )
    return Feedback(noes, shown)


OPTIONS: dict[str, Any] = {"method": "nudge-n", "step": 0.3}


def everything(first: int = 0, last: int = 60) -> Nudge:
    return fit(said(first, last).labels(CORPUS), Vectors(), **OPTIONS)


def same(one: Nudge | None, other: Nudge) -> None:
    assert one is not None
    rows = {document: row for row, document in enumerate(one.ids)}
    assert rows.keys() == set(other.ids)
    assert np.allclose(one.vectors[[rows[i] for i in other.ids]], other.vectors, atol=1e-6)


def test_weights_and_noes_alone_matter_here() -> None:
    labels = said(0, 60).labels(CORPUS)
    assert {weight for one in labels.weights.values() for weight in one.values()} != {1.0}
    bare = fit(labels.dataset, Vectors(), **OPTIONS)
    with pytest.raises(AssertionError):
        same(bare, everything())
    positive = {q: g for q, g in labels.dataset.qrels.items() if max(g.values()) > 0}
    queries = {query: labels.dataset.queries[query] for query in positive}
    without_noes = fit(
        RetrievalDataset(CORPUS, queries, positive),
        Vectors(),
        weights={q: labels.weights[q] for q in queries},
        **OPTIONS,
    )
    with pytest.raises(AssertionError):
        same(without_noes, everything())


def test_a_refit_of_a_log_is_a_weighted_fit_on_everything(tmp_path: Path) -> None:
    first = everything(0, 40)
    first.save(tmp_path)
    loaded = Nudge.load(tmp_path)
    newer = loaded.refit(said(40, 60), encoder=Vectors(), documents=CORPUS)
    same(newer, everything())
    dataset, weights, _ = labels_over_documents(newer.labels, CORPUS)
    assert dataset == said(0, 60).labels(CORPUS).dataset
    assert weights is not None
    same(fit(dataset, Vectors(), weights=weights, **OPTIONS), everything())


def test_both_edges_take_feedback_with_its_weights() -> None:
    documents = [Document(text, id=i) for i, text in CORPUS.items()]
    retriever = NudgeRetriever.from_documents(documents, Embedder(), said(0, 60), **OPTIONS)
    same(retriever.nudge, everything())
    begun = NudgeRetriever.from_documents(documents, Embedder(), said(0, 40).labels(CORPUS), **OPTIONS)
    same(begun.refit(said(40, 60)), everything())
    model = Model(embed_dim=DIMENSION)
    engine = NudgeFinetuneEngine(said(0, 40).labels(CORPUS), model, **OPTIONS)
    engine.finetune()
    same(engine.refit(said(40, 60)), everything())
    engine.finetune()  # of what it has by now
    same(engine.nudge, everything())
    bare = said(0, 60).labels(CORPUS)
    explicit = NudgeFinetuneEngine(bare.dataset, model, weights=bare.weights, **OPTIONS)
    explicit.finetune()
    same(explicit.nudge, everything())


def test_a_live_store_takes_feedback_with_its_weights() -> None:
    rows = dict(zip(CORPUS, Vectors().encode_documents(list(CORPUS.values())), strict=True))
    store = open_store(rows)
    same(fit_store(store, said(0, 60).labels(CORPUS), Vectors(), **OPTIONS), everything())
    nudge = fit_store(store, said(0, 40).labels(CORPUS), Vectors(), **OPTIONS)
    same(store.refit(nudge, said(40, 60), Vectors(), documents=CORPUS), everything())


def test_weights_of_a_file_lie_beside_it_and_are_shared_out_with_its_queries(tmp_path: Path) -> None:
    labels = said(0, 60).labels(CORPUS)
    path = tmp_path / "labels.json"
    labels.dataset.to_json(path)
    assert read_weights(path) is None
    write_weights(labels.weights, path)
    assert read_weights(path) == labels.weights
    engine = NudgeFinetuneEngine(str(path), Model(embed_dim=DIMENSION), **OPTIONS)
    engine.finetune()
    same(engine.nudge, everything())
    splits = Splits.read(path)
    assert splits.train_weights == {query: labels.weights[query] for query in splits.train.queries}
    # Who only says no can be learned from, and no ranking judged by it.
    assert all(max(grades.values()) > 0 for grades in splits.test.qrels.values())
    assert sum(min(grades.values()) < 0 for grades in splits.train.qrels.values()) == 12


def test_feedback_without_its_documents_is_refused() -> None:
    with pytest.raises(InputError, match="names documents by id"):
        fit(FeedbackLog("nowhere.jsonl"), Vectors())
