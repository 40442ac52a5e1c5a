"""The trained map: it learns a planted one, stops where its validation queries do, and keeps the best on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from query_map_problems import evaluator_of, turned
from safetensors.numpy import load_file

from nudge_integrations.errors import InputError
from nudge_integrations.query_map import QueryMap, fit_trained

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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": np.arange(240)}, "240 of 240 queries with a relevant document are held out"),
        ({"validation": []}, "0 of 240"),
        ({"batch_size": 0}, "at least 1"),
        ({"temperature": 0.0}, "above 0"),
    ],
)
def test_what_cannot_train_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        trained(**options)
