"""A solution: vectors for a whole corpus, the curve, and the text it prints."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from oracle import random_problem

from nudge_integrations.errors import InputError
from nudge_integrations.solver import Curve, Solution, solve

PROBLEM = random_problem(0, documents=30, queries=20, width=8, density=0.02)


def fixed(method: str = "nudge-n", *, shift: bool = False) -> Solution:
    return solve(PROBLEM.documents, PROBLEM.queries, PROBLEM.relevance, method=method, step=0.5, shift=shift)


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("method", ["nudge-n", "nudge-m"])
def test_apply_moves_what_moved_and_makes_the_rest_unit_length(method: str, shift: bool) -> None:
    solution = fixed(method, shift=shift)
    applied = solution.apply(PROBLEM.documents * 7.0)
    assert applied.dtype == np.float32
    np.testing.assert_array_equal(applied[solution.rows], solution.vectors)
    rest = np.setdiff1d(np.arange(30), solution.rows)
    assert len(rest)
    np.testing.assert_allclose(np.linalg.norm(applied[rest], axis=1), 1.0, atol=1e-6)
    assert np.allclose(applied[rest], PROBLEM.documents[rest], atol=1e-6) != shift
    lengths = np.linalg.norm(solution.vectors, axis=1)
    assert np.allclose(lengths, 1.0, atol=1e-6) == (method == "nudge-n")


@pytest.mark.parametrize("shift", [False, True])
def test_apply_gives_back_the_kind_that_came(shift: bool) -> None:
    solution = fixed(shift=shift)
    expected = solution.apply(PROBLEM.documents)
    tensor = torch.from_numpy(PROBLEM.documents).requires_grad_()
    applied = solution.apply(tensor)
    assert isinstance(applied, torch.Tensor)
    assert applied.dtype == torch.float32
    assert not applied.requires_grad
    np.testing.assert_array_equal(applied.numpy(), expected)
    for dtype in (torch.float16, torch.bfloat16):
        np.testing.assert_allclose(solution.apply(tensor.detach().to(dtype)).numpy(), expected, atol=1e-2)
    half = PROBLEM.documents.astype(np.float16)
    half.flags.writeable = False
    np.testing.assert_allclose(solution.apply(half), expected, atol=2e-3)
    np.testing.assert_array_equal(solution.apply(np.asfortranarray(PROBLEM.documents)), expected)


def test_apply_changes_nothing_that_came_and_shares_no_memory() -> None:
    solution, documents = fixed(), PROBLEM.documents.astype(np.float32) * 2
    before = documents.copy()
    applied = solution.apply(documents)
    assert not np.shares_memory(applied, documents)
    assert not np.shares_memory(applied, solution.vectors)
    tensor = torch.from_numpy(documents)
    assert solution.apply(tensor).data_ptr() != tensor.data_ptr()
    np.testing.assert_array_equal(documents, before)


@pytest.mark.parametrize("shape", [(29, 8), (31, 8), (30, 7), (30,), (0, 8)])
def test_apply_refuses_documents_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"documents of shape \(30, 8\); got .*base vectors"):
        fixed().apply(np.ones(shape, np.float32))


def test_apply_refuses_documents_without_a_direction() -> None:
    documents = PROBLEM.documents.copy()
    documents[4] = 0
    with pytest.raises(InputError, match="documents row 4 is a zero vector"):
        fixed().apply(documents)


def test_a_curve_holds_its_value_from_each_step_to_the_next() -> None:
    curve = Curve(np.array([0.0, 0.25, 1.0]), np.array([0.5, 0.75, 0.25]), math.pi)
    assert [curve.at(step) for step in (0.0, 0.2, 0.25, 0.9, 1.0, 3.0)] == [0.5, 0.5, 0.75, 0.75, 0.25, 0.25]
    assert len(curve) == 3
    assert repr(curve) == "Curve(3 pieces over [0, 3.142], from 0.5000 to 0.7500)"


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m", "nudge-m+n", "nudge-s", "contrastive"])
def test_curves_begin_at_0_rise_in_steps_and_never_repeat_a_value(method: str) -> None:
    curve = fixed(method).curve
    assert curve.steps[0] == 0
    assert (np.diff(curve.steps) > 0).all()
    assert (np.diff(curve.values) != 0).all()
    assert ((curve.values >= 0) & (curve.values <= 1 + 1e-12)).all()
    assert curve.end == (math.pi if method in ("nudge-n", "contrastive") else np.inf)
    assert curve.at(1e6) == pytest.approx(curve.values[curve.steps <= 1e6][-1])


def test_a_solution_reads_well_and_cannot_be_changed() -> None:
    solution = fixed()
    text = repr(solution)
    assert text.startswith(f"Solution(nudge-n, step=0.5, {len(solution.rows)} of 30 documents moved, ndcg@10 ")
    assert text.endswith("over 20 queries (leave-one-out), fixed)")
    assert len(text) < 200
    with pytest.raises(dataclasses.FrozenInstanceError):
        solution.step = 1.0  # type: ignore[misc]
    assert solution.rows.dtype == np.int64
    assert solution.vectors.dtype == np.float32
    assert (np.diff(solution.rows) > 0).all()
