"""Why a fit does what it does, against slow and obvious computations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from reports import made

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import InputError
from nudge_integrations.evaluation.explain import (
    LearningCurve,
    explain_document,
    explain_query,
    label_next,
    learning_curve,
)
from nudge_integrations.pipeline import fit


def labelled(queries: int, seed: int = 0) -> tuple[RetrievalDataset, NDArray[np.float32], NDArray[np.float32]]:
    """Thirty documents, each asked for from one side of it."""
    rng = np.random.default_rng(seed)
    documents = np.random.default_rng(7).standard_normal((30, 12)).astype(np.float32)
    side = 1.5 * np.random.default_rng(8).standard_normal((30, 12))
    relevant = np.arange(queries) % 30
    asked = (documents[relevant] + side[relevant] + 1.5 * rng.standard_normal((queries, 12))).astype(np.float32)
    qrels = {f"q{seed}-{row}": {f"d{relevant[row]}": 1.0} for row in range(queries)}
    texts = {query: f"words {query}" for query in qrels}
    return RetrievalDataset({f"d{row}": f"text {row}" for row in range(30)}, texts, qrels), documents, asked


def test_a_query_shows_its_documents_before_and_after() -> None:
    comparison, *_ = made()
    one = comparison.risen()[0]
    shown = explain_query(comparison, one.query_id, top=3)
    assert [d.document_id for d in shown.before] == list(comparison.before.rankings[one.query_id][:3])
    assert [d.document_id for d in shown.after] == list(comparison.after.rankings[one.query_id][:3])
    assert (shown.relevant[0].old_rank, shown.relevant[0].new_rank) == (one.old_rank, one.new_rank)
    assert all(d.text == f"text {d.document_id[1:]}" for d in shown.after)
    assert "<ol>" in shown._repr_html_()
    with pytest.raises(InputError, match="none of the 60"):
        explain_query(comparison, "nobody")


def test_pulls_are_the_components_along_the_way() -> None:
    dataset, documents, asked = labelled(120)
    nudge = fit(dataset, "toy", method="nudge-n", step=0.3, document_vectors=documents, query_vectors=asked)
    shown = explain_document(nudge, dataset, "d3", asked)
    row = list(nudge.ids).index("d3")
    way = nudge.vectors[row] - (nudge.vectors[row] @ nudge.base[row]) * nudge.base[row]
    units = asked / np.linalg.norm(asked, axis=1, keepdims=True)
    parts = {query: float(units[at] @ way) for at, query in enumerate(dataset.query_ids) if at % 30 == 3}
    assert {pull.query_id for pull in shown.pulls} == set(parts)
    assert sum(pull.share for pull in shown.pulls) == pytest.approx(1.0)
    for pull in shown.pulls:
        assert pull.share == pytest.approx(parts[pull.query_id] / sum(parts.values()), abs=1e-4)
    assert shown.degrees == pytest.approx(np.degrees(0.3), abs=0.05)
    assert "d3 turned by 17.2" in str(shown)
    assert "<table" in shown._repr_html_()
    with pytest.raises(InputError, match="did not move"):
        explain_document(nudge, dataset, "nowhere", asked)
    with pytest.raises(InputError, match="120 queries"):
        explain_document(nudge, dataset, "d3", asked[:5])


def test_more_labels_are_worth_what_the_curve_shows() -> None:
    train, documents, asked = labelled(480, seed=1)
    test, _, test_asked = labelled(240, seed=2)
    vectors: dict[str, Any] = {"document_vectors": documents, "query_vectors": asked, "test_query_vectors": test_asked}
    curve = learning_curve(train, test, **vectors, method="nudge", sizes=(60, 120, 240))
    assert curve.sizes == (0, 60, 120, 240)
    assert curve.means[-1] > curve.means[0] + 0.1
    forecast = curve.forecast(240)
    whole = learning_curve(train, test, **vectors, method="nudge", sizes=(240, 480))
    assert forecast.low - 0.02 <= whole.means[-1] - curve.means[-1] <= forecast.high + 0.02
    assert forecast.low <= forecast.gain <= forecast.high
    assert "240 more labelled queries" in str(forecast)
    assert "learning-title" in curve._repr_html_()
    with pytest.raises(InputError, match="two sizes"):
        learning_curve(train, test, **vectors, sizes=(600,))
    for wrong in ({"repeats": 0}, {"method": "nugde"}):
        with pytest.raises(InputError, match="repeats 1 or more"):
            learning_curve(train, test, **vectors, **wrong)


def test_a_flat_curve_forecasts_next_to_nothing_and_a_steep_one_more() -> None:
    flat = LearningCurve("hit@1", (0, 50, 100, 200), np.full((4, 80), 0.5), 0)
    assert flat.forecast(200).high == pytest.approx(0.0, abs=1e-12)
    values = np.repeat(0.9 - np.array([0.5, 0.4, 0.3, 0.2])[:, None], 80, axis=1)
    steep = LearningCurve("hit@1", (0, 50, 100, 200), values, 0)
    assert steep.forecast(200).gain > 0.03
    assert steep.forecast(400).gain > steep.forecast(200).gain
    with pytest.raises(InputError, match="confidence"):
        flat.forecast(10, confidence=1.5)


def test_the_next_labels_are_of_what_is_shown_most_and_has_none() -> None:
    dataset, documents, asked = labelled(120)
    some = {query: grades for query, grades in dataset.qrels.items() if next(iter(grades)) in {"d0", "d1", "d2"}}
    part = RetrievalDataset(dataset.corpus, {query: dataset.queries[query] for query in some}, some)
    chosen = label_next(part, documents, asked, count=5)
    shown = dict.fromkeys(dataset.document_ids, 0.0)
    units = documents / np.linalg.norm(documents, axis=1, keepdims=True)
    for query in asked:
        for rank, row in enumerate(np.argsort(-(units @ query))[:10], start=1):
            shown[f"d{row}"] += 1 / np.log2(rank + 1)
    best = sorted((d for d in shown if d not in {"d0", "d1", "d2"}), key=lambda d: -shown[d])[:5]
    assert [document for document, _ in chosen] == best
    assert [much for _, much in chosen] == pytest.approx([shown[d] for d in best])
    copies = np.repeat(documents[:1], 30, axis=0)
    assert len(label_next(RetrievalDataset(part.corpus, {}, {}), copies, asked)) == 1
