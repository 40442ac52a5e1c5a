"""The trained map: it learns a planted one, stops where its validation queries do, and keeps the best on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from oracle import unit
from query_map_problems import evaluator_of, turned
from safetensors.numpy import load_file
from scipy import sparse

from nudge_integrations.errors import InputError
from nudge_integrations.query_map import QueryMap, fit_trained
from nudge_integrations.solver import prepare

PROBLEM = turned()


def trained(**options: object) -> QueryMap:
    chosen = {"evaluate": evaluator_of(PROBLEM), "epochs": 12, "learning_rate": 0.02, **options}
    return fit_trained(PROBLEM.documents, PROBLEM.queries, PROBLEM.relevance, **chosen)  # type: ignore[arg-type]


def test_a_planted_map_is_learnt_by_queries_that_were_held_out(tmp_path: Path) -> None:
    validation = np.arange(200, 240)
    query_map = trained(validation=validation, checkpoint=tmp_path / "best.safetensors")
    adapted = evaluator_of(PROBLEM)(torch.from_numpy(query_map.apply(PROBLEM.queries)))[validation].mean()
    assert query_map.score > query_map.baseline + 0.1
    assert float(adapted) == pytest.approx(query_map.score, abs=1e-6)
    np.testing.assert_array_equal(load_file(tmp_path / "best.safetensors")["map"], query_map.map)
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]


def test_the_same_seed_trains_the_same_map() -> None:
    np.testing.assert_array_equal(trained(epochs=2).map, trained(epochs=2).map)


def test_no_epoch_that_helps_is_no_map() -> None:
    calls = []

    def flat(adapted: torch.Tensor) -> torch.Tensor:
        calls.append(len(adapted))
        return torch.ones(len(adapted))

    query_map = trained(evaluate=flat, patience=3)
    assert (query_map.steps, len(calls)) == (0, 4)
    assert not query_map.map.any()


def test_what_was_prepared_trains_the_same_map_as_arrays() -> None:
    prepared = prepare(PROBLEM.documents, PROBLEM.queries, PROBLEM.relevance, seed=3)
    evaluate = evaluator_of(PROBLEM)
    found = fit_trained(prepared, evaluate=evaluate, epochs=2, learning_rate=0.02)
    expected = trained(epochs=2, seed=3)
    np.testing.assert_array_equal(found.map, expected.map)
    assert (found.baseline, found.score, found.steps) == (expected.baseline, expected.score, expected.steps)
    with pytest.raises(InputError, match="give it alone"):
        fit_trained(prepared, PROBLEM.queries, evaluate=evaluate)


def test_queries_without_a_relevant_document_are_adapted_and_change_nothing() -> None:
    seen = []

    def evaluate(adapted: torch.Tensor) -> torch.Tensor:
        seen.append(len(adapted))
        return torch.cat([evaluator_of(PROBLEM)(adapted[:240]), torch.full((5,), torch.nan)])

    queries = np.concatenate([PROBLEM.queries, unit(np.ones((5, 8)))])
    gains = sparse.vstack([PROBLEM.relevance, sparse.csr_array((5, 80))])
    names = np.arange(245)
    found = fit_trained(
        PROBLEM.documents, queries, gains, evaluate=evaluate, epochs=2, learning_rate=0.02, groups=names
    )
    assert set(seen) == {245}
    np.testing.assert_array_equal(found.map, trained(epochs=2, groups=names[:240]).map)


def test_a_group_is_held_out_as_a_whole() -> None:
    groups, served = np.arange(240) // 20, []

    def evaluate(adapted: torch.Tensor) -> torch.Tensor:
        served.append(adapted)
        # One group is worth 1, another 0: a mean over parts of groups would be no multiple of one in their number.
        return torch.from_numpy(groups % 2).float()

    found = trained(evaluate=evaluate, groups=groups, epochs=1)
    held_out = len(np.unique(groups)) // 8 + 1
    assert found.baseline * held_out == pytest.approx(round(found.baseline * held_out))


def test_a_map_is_for_one_width() -> None:
    query_map = trained(epochs=1)
    with pytest.raises(InputError, match="for queries of 8 dimensions; got 5"):
        query_map.apply(np.ones((2, 5)))
    with pytest.raises(InputError, match="queries row 1 is a zero vector"):
        query_map.apply(np.array([np.ones(8), np.zeros(8)]))


def test_adapted_queries_are_unit_vectors_of_the_same_kind() -> None:
    query_map = trained(epochs=3)
    expected = unit(PROBLEM.queries + PROBLEM.queries @ query_map.map)
    for queries in (3.0 * PROBLEM.queries, PROBLEM.queries.astype(np.float32)):
        np.testing.assert_allclose(query_map.apply(queries), expected, atol=1e-5)
    found = query_map.apply(torch.from_numpy(PROBLEM.queries))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": np.arange(240)}, "240 of 240 queries with a relevant document are held out"),
        ({"validation": []}, "0 of 240"),
        ({"batch_size": 0}, "at least 1"),
        ({"temperature": 0.0}, "above 0"),
        ({"groups": [1, 2]}, "one group for each of the 240 queries"),
        ({"groups": np.zeros(240)}, "240 of 240"),
    ],
)
def test_what_cannot_train_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        trained(**options)
