"""Maps in several steps as candidates, against numpy refits without each fold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse
from selection_problems import Arrays, ndcg, planted, two_topics, unit

from nudge_integrations.query_map.iterated import iterated_ridge
from nudge_integrations.query_map.training import fold_codes
from nudge_integrations.selection import select
from nudge_integrations.selection.evaluator import Evaluator
from nudge_integrations.selection.iterated import StepMaps, step_maps
from nudge_integrations.selection.maps import folds_of
from nudge_integrations.selection.selecting import evaluate_candidates
from nudge_integrations.selection.settings import Evaluators, Folds
from nudge_integrations.solver.metrics import parse_metric
from nudge_integrations.solver.options import Options

TEMPERATURE, WHITENING, STRENGTH, PENALTY = 0.1, 0.1, 0.25, 0.1
Rows = NDArray[np.float64]


def walked(documents: Rows, queries: Rows, gains: Rows, steps: int) -> Rows:
    """Return the map after some steps, written out with a dense softmax."""
    covariance, width = np.cov(documents.T, bias=True), documents.shape[1]
    floor = WHITENING * np.trace(covariance) / width * np.eye(width)
    projection = floor @ np.linalg.inv(covariance + floor)
    energy = queries.T @ queries
    kernel = np.linalg.inv(energy + PENALTY * np.trace(energy) / width * np.eye(width))

    def deviation(vectors: Rows) -> float:
        return float(np.sqrt(np.einsum("qi,ij,qj->q", vectors, covariance, vectors).clip(0)).sum())

    total, scale = np.zeros((width, width)), 0.0
    for step in range(steps):
        scores = np.exp((queries + queries @ total) @ documents.T / TEMPERATURE)
        residual = (gains / gains.sum(axis=1, keepdims=True) - scores / scores.sum(axis=1, keepdims=True)) @ documents
        change = kernel @ queries.T @ residual @ projection
        scale = deviation(queries) / deviation(queries @ change) if step == 0 else scale
        total += STRENGTH * scale * change
    return total


def held_out(problem: Arrays, codes: NDArray[np.int64], steps: int) -> Rows:
    """Return the queries, each adapted by the map that the other folds teach."""
    documents, queries, gains = problem
    adapted = queries.copy()
    for code in np.unique(codes):
        others = codes != code
        fitted = walked(documents, queries[others], gains[others].toarray(), steps)
        adapted[~others] = unit(queries[~others] + queries[~others] @ fitted)
    return adapted


def without_fold(problem: Arrays, codes: NDArray[np.int64], fold: int, steps: int) -> Rows:
    """Return the queries, those of the fold adapted by what the others teach, the rest by that without their own."""
    documents, queries, gains = problem
    adapted = held_out(problem, codes, steps)
    for code in np.unique(codes[codes != fold]):
        others = (codes != code) & (codes != fold)
        fitted = walked(documents, queries[others], gains[others].toarray(), steps)
        adapted[codes == code] = unit(queries[codes == code] + queries[codes == code] @ fitted)
    return adapted


def served(problem: Arrays, adapted: Rows) -> Rows:
    documents, _, gains = problem
    dense = gains.toarray()
    return np.array([ndcg(documents, query, own) for query, own in zip(adapted, dense, strict=True)])


def taken(problem: Arrays, unseen_weight: float = 0.0) -> tuple[StepMaps | None, Folds]:
    documents, queries, gains = problem
    steps = iterated_ridge(documents, queries, gains, TEMPERATURE, WHITENING)
    folds = folds_of(steps.training, gains, 0)
    rows = np.arange(len(queries))
    evaluator = Evaluator(documents, gains, rows, parse_metric("ndcg@10"), 1 << 24)
    evaluators = Evaluators(rows, evaluator.of, evaluator.of, evaluator.of)
    return step_maps(steps, folds, evaluators, evaluators, unseen_weight, 0), folds


PROBLEM = planted(6, documents=60, queries=200, turned=1.0, hidden=0.6)


@pytest.mark.parametrize("unseen_weight", [0.0, 0.3])
def test_steps_are_taken_while_queries_that_did_not_teach_them_gain(unseen_weight: float) -> None:
    maps, folds = taken(PROBLEM, unseen_weight)
    assert maps is not None
    groups, documents = (fold_codes(codes, 5, 0) for codes in (folds.groups, folds.documents))
    plain = served(PROBLEM, PROBLEM[1])

    def gains_of(steps: int) -> Rows:
        seen, unseen = (served(PROBLEM, held_out(PROBLEM, codes, steps)) - plain for codes in (groups, documents))
        both: Rows = (1 - unseen_weight) * seen + unseen_weight * unseen
        return both

    values = {steps: float(gains_of(steps).mean()) for steps in (1, 2, 3, 4, 6, 8)}
    ahead = list(maps.adapted)
    assert ahead == [1, 2, 3, 4, 6, 8][: len(ahead)]
    assert np.all(np.diff([0.0, *(values[steps] for steps in ahead)]) > 0)
    assert maps.steps == ahead[-1]
    assert maps.gain == pytest.approx(values[maps.steps], abs=2e-3)
    if len(ahead) < 6:
        after = [1, 2, 3, 4, 6, 8][len(ahead)]
        loss_to_others = (served(PROBLEM, held_out(PROBLEM, folds.clusters, after)) - plain).mean() < -0.001
        assert loss_to_others or values[after] <= values[maps.steps] + 1e-3
    np.testing.assert_allclose(maps.seen(2).numpy(), held_out(PROBLEM, groups, 2), atol=2e-4)
    np.testing.assert_allclose(maps.unseen(2).numpy(), held_out(PROBLEM, documents, 2), atol=2e-4)
    for fold, adapted in maps.held_out_folds(2):
        (code,) = np.unique(groups[fold])
        np.testing.assert_array_equal(fold, groups == code)
        np.testing.assert_allclose(adapted.numpy(), without_fold(PROBLEM, groups, code, 2), atol=2e-4)
    np.testing.assert_allclose(maps.of(2).numpy(), walked(PROBLEM[0], PROBLEM[1], PROBLEM[2].toarray(), 2), atol=2e-3)


def test_steps_that_cost_another_topic_are_not_taken() -> None:
    problem = two_topics(400)[2]
    maps, folds = taken(problem)
    plain = served(problem, problem[1])
    away = [float((served(problem, held_out(problem, folds.clusters, steps)) - plain).mean()) for steps in (1, 2)]
    assert min(away) < -0.001
    assert maps is None or all(away[steps - 1] >= -0.001 for steps in maps.adapted)
    seen = served(problem, held_out(problem, fold_codes(folds.groups, 5, 0), 1)) - plain
    assert seen.mean() > 0.1


def test_each_cross_selection_fold_takes_the_steps_chosen_on_the_other() -> None:
    maps, folds = taken(PROBLEM)
    assert maps is not None
    scores = {steps: served(PROBLEM, adapted.numpy().astype(np.float64)) for steps, adapted in maps.adapted.items()}
    suits = {
        side: max(scores, key=lambda steps: scores[steps][folds.cross_selection == side].mean())
        for side in (False, True)
    }
    expected = np.where(folds.cross_selection, scores[suits[False]], scores[suits[True]])
    np.testing.assert_allclose(maps.scores.seen, expected, atol=1e-6)


def test_steps_are_a_candidate_where_they_are_better_than_one() -> None:
    documents, queries, gains = PROBLEM
    fitted = {
        candidate.method: candidate
        for candidate in evaluate_candidates(
            Options(), documents, queries, gains, ["query-map", "query-map+nudge"]
        ).fitted
    }
    alone, pair = fitted["softmax"], fitted["softmax+nudge-n"]
    assert alone.scores.seen.mean() > fitted["query-map"].scores.seen.mean()
    assert pair.nudge is not None
    assert pair.scores.seen.mean() > alone.scores.seen.mean()
    assert alone.query_map is not None
    assert pair.query_map is not None
    # As many steps as alone, or fewer: a nudge does a part of the work.
    assert torch.linalg.norm(pair.query_map) <= torch.linalg.norm(alone.query_map) + 1e-6
    solution = select(documents, queries, gains, candidates=("query-map",))
    assert solution.method == "softmax"
    np.testing.assert_array_equal(solution.query_map, alone.query_map.numpy())


def test_labels_that_a_map_cannot_learn_from_take_no_step() -> None:
    documents, queries, _ = planted(2)
    positives = (np.ones(320), (np.arange(320), np.random.default_rng(0).integers(0, 80, 320)))
    assert taken((documents, queries, sparse.csr_array(positives, shape=(320, 80))))[0] is None
