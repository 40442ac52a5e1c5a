"""Signals and their weights: what they check, and how they leave for stores that compute the sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Fusion, LexicalIndex, LexicalSignal, Scorer

FUSION = Fusion({"bm25": 0.4, "recency": 0.1}, None, 100, 0.02, 0.01)


def test_fused_scores_are_a_weighted_sum() -> None:
    dense, lexical, recency = np.array([0.5, 0.1]), np.array([0.0, 1.0]), np.array([1.0, 0.5])
    fused = FUSION.fused(dense, {"bm25": lexical, "recency": recency, "other": dense})
    np.testing.assert_allclose(fused, dense + 0.4 * lexical + 0.1 * recency)
    with pytest.raises(InputError, match="'recency' is missing"):
        FUSION.fused(dense, {"bm25": lexical})


def evaluated(expression: Any, scores: Sequence[float]) -> float:
    """Compute a Qdrant formula over the scores of its prefetches."""
    if isinstance(expression, str):
        return scores[int(expression.removeprefix("$score[").removesuffix("]"))]
    if isinstance(expression, float):
        return expression
    (operation, parts), *_ = expression.items()
    values = [evaluated(part, scores) for part in parts]
    return sum(values) if operation == "sum" else float(np.prod(values))


def test_a_qdrant_formula_computes_the_fused_score() -> None:
    formula = FUSION.as_rank_expression("qdrant", largest={"bm25": 20.0})
    assert evaluated(formula, [0.5, 10.0, 1.0]) == pytest.approx(FUSION.fused(0.5, {"bm25": 0.5, "recency": 1.0}))


def test_elasticsearch_boosts_rank_as_the_fused_score() -> None:
    boosts = FUSION.as_rank_expression("elasticsearch", largest={"bm25": 20.0})
    cosine, raw, recency = 0.5, 10.0, 1.0
    total = boosts["knn"]["boost"] * (1.0 + cosine) / 2.0 + boosts["bm25"]["boost"] * raw
    total += boosts["recency"]["boost"] * recency
    assert total - 1.0 == pytest.approx(FUSION.fused(cosine, {"bm25": raw / 20.0, "recency": recency}))


@pytest.mark.parametrize(("kind", "largest"), [("solr", {}), ("qdrant", {"bm25": 0.0})])
def test_an_unknown_store_or_an_empty_scale_is_refused(kind: Literal["qdrant"], largest: dict[str, float]) -> None:
    with pytest.raises(InputError):
        FUSION.as_rank_expression(kind, largest=largest)


@pytest.mark.parametrize("weights", [{}, {"bm25": 0.0}, {"bm25": -1.0}, {"bm25": float("nan")}])
def test_a_fusion_without_a_weight_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InputError, match="above 0"):
        Fusion(weights, None, 100, 0.0, 0.0)


def test_bm25_finds_and_scores_documents_by_row() -> None:
    index = LexicalIndex()
    index.insert(["a", "b", "c"], ["red engine", "blue engine", "green boat"])
    scores = LexicalSignal(index).of(["blue engine", "boat"])
    best = scores.best(1)
    assert best.tolist() == [[1], [2]]
    assert scores.at(best).tolist() == [[1.0], [1.0]]
    assert scores.best(5).tolist() == [[0, 1, 2], [0, 1, 2]]


def wrong_shape(queries: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.zeros(3)


def not_finite(queries: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.full(rows.shape, np.nan)


@pytest.mark.parametrize("score", [wrong_shape, not_finite])
def test_what_a_callable_returns_is_checked(score: Any) -> None:
    with pytest.raises(InputError, match="signal 'mine'"):
        Scorer("mine", score).of(["q"]).at(np.array([[0, 1]]))
    with pytest.raises(InputError, match="best_rows"):
        Scorer("mine", score, lambda queries, k: np.zeros(k, np.int64)).of(["q"]).best(2)
