"""The exact curve of every method against an oracle that moves every vector, fits again and sorts.

Small problems with ties of every kind: copies of documents and of queries, documents that equal a query or are its
opposite, queries that cancel each other, graded gains, several relevant documents.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import Problem, held_out, leave_one_out, random_problem, unit
from scipy import sparse

from nudge_integrations.solver import Curve, Solution, pruning, solve
from nudge_integrations.solver.normalised_line import NormalisedLine
from nudge_integrations.solver.path import Arc, Path

METHODS = ("nudge-n", "nudge-m", "nudge-m+n", "nudge-s", "contrastive")

# Which coordinate is largest is a coin toss on a lattice, and so is what a softmax leaves beyond rounding.
ON_A_LATTICE = ("nudge-n", "nudge-m", "nudge-m+n")
METRICS = ("ndcg@3", "hit@1", "recall@2", "mrr@5", "map@4", "precision@2", "ndcg@10")

# float32 vectors cannot tell narrower plateaus from their neighbours, nor scores that are closer.
NARROW, CLOSE = 1e-5, 2e-6


class Oracle(Protocol):
    """The metric at a step; scores closer than ``ties`` ranked as well (< 0: as badly) as they can be."""

    def __call__(self, step: float, *, ties: float = 0.0, unseen: bool = False) -> float: ...


def plateaus(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle, the width and the value of every plateau; an endless path is measured as t / (1 + t)."""
    endless = np.isinf(curve.end)
    edges = np.append(curve.steps / (1 + curve.steps) if endless else curve.steps, 1.0 if endless else curve.end)
    middles = (edges[1:] + edges[:-1]) / 2
    return middles / (1 - np.minimum(middles, 1 - 1e-9)) if endless else middles, np.diff(edges), curve.values


def agrees(oracle: Oracle, step: float, value: float, *, endless: bool, unseen: bool = False) -> bool:
    """Return whether a value is what the oracle says, whichever way it ranks scores that float32 cannot tell apart."""
    close = CLOSE * (1 + step) if endless else CLOSE
    worst, best = (oracle(step, ties=ties, unseen=unseen) for ties in (-close, close))
    return worst - 1e-6 <= value <= best + 1e-6


def check(solution: Solution, oracle: Oracle, seed: int = 0) -> None:
    """Check a curve at the middle of its plateaus, at 0, at the chosen step, and against a grid."""
    middles, widths, values = plateaus(solution.curve)
    wide = np.flatnonzero(widths > NARROW)
    random = np.random.default_rng(seed)
    endless = bool(np.isinf(solution.curve.end))
    for index in random.choice(wide, min(6, len(wide)), replace=False):
        assert agrees(oracle, middles[index], values[index], endless=endless), f"at step {middles[index]}"
    assert agrees(oracle, 0.0, solution.baseline, endless=endless)
    assert solution.curve.values[0] == pytest.approx(solution.baseline, abs=1e-9)
    grid = random.uniform(0, 1, 12) * np.tile([0.3, 1.0, 3.0], 4)
    highest = max(oracle(step, ties=-CLOSE * (1 + step)) for step in grid)
    assert highest <= values.max() + 1e-9
    assert 0 <= solution.step < np.inf
    if solution.status == "improved":
        assert solution.score == pytest.approx(values[wide].max(), abs=1e-9)
        assert agrees(oracle, solution.step, solution.score, endless=endless)
        assert highest <= solution.score + 1e-9
    assert agrees(oracle, solution.step, solution.unseen_score, endless=endless, unseen=True)
    assert solution.unseen_baseline == solution.baseline


@st.composite
def problems(draw: st.DrawFn, queries: int = 8, *, lattice: bool = True) -> Problem:
    """Small problems on a lattice, where scores tie all the time, or in general position with copies."""
    count, asked, width = draw(st.integers(1, 9)), draw(st.integers(1, queries)), draw(st.integers(3, 5))
    size = (count + asked) * width
    vectors = np.array(draw(st.lists(st.integers(-1, 1), min_size=size, max_size=size)), np.float64)
    vectors = vectors.reshape(count + asked, width)
    vectors[~vectors.any(axis=1), 0] = 1.0
    if not lattice or draw(st.booleans()):
        vectors += np.random.default_rng(draw(st.integers(0, 99))).normal(size=vectors.shape)
        for first, last in ((0, count - 1), (count, count + asked - 1)):
            row = st.integers(first, last)
            for _ in range(draw(st.integers(0, 3))):
                vectors[draw(row)] = vectors[draw(row)]
    gain = st.sampled_from([0, 0, 0, 1, 1, 3])
    gains = np.array(draw(st.lists(gain, min_size=asked * count, max_size=asked * count)), np.float64)
    groups = np.array(draw(st.lists(st.integers(0, 3), min_size=asked, max_size=asked)), np.int64)
    vectors = unit(vectors)
    return Problem(vectors[:count], vectors[count:], gains.reshape(asked, count), groups)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=30, derandomize=True, deadline=None)
@given(data=st.data())
def test_curve_is_the_leave_one_out_metric_of_refitted_vectors(method: str, data: st.DataObject) -> None:
    problem = data.draw(problems(lattice=method in ON_A_LATTICE))
    metric, grouped = data.draw(st.sampled_from(METRICS)), data.draw(st.booleans())
    temperature = data.draw(st.sampled_from([0.3, 0.1])) if method == "contrastive" else None

    def oracle(step: float, *, ties: float = 0.0, unseen: bool = False) -> float:
        return leave_one_out(
            problem, method, step, metric, temperature=temperature, grouped=grouped, unseen=unseen, ties=ties
        )

    solution = solve(
        problem.documents,
        problem.queries,
        problem.relevance,
        method=method,
        metric=metric,
        temperature=temperature,
        groups=problem.groups if grouped else None,
        standard_errors=0,
    )
    assert solution.protocol == "leave-one-out"
    check(solution, oracle, data.draw(st.integers(0, 9)))


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15, derandomize=True, deadline=None)
@given(data=st.data())
def test_curve_on_a_validation_set_is_the_metric_of_moved_vectors(method: str, data: st.DataObject) -> None:
    problem = data.draw(problems(queries=12, lattice=method in ON_A_LATTICE))
    metric = data.draw(st.sampled_from(METRICS))
    temperature = 0.3 if method == "contrastive" else None
    half = (len(problem.queries) + 1) // 2
    train, held = problem.part(np.arange(half)), problem.part(np.arange(half, len(problem.queries)))

    def oracle(step: float, *, ties: float = 0.0, unseen: bool = False) -> float:
        return held_out(train, held, method, step, metric, temperature=temperature, unseen=unseen, ties=ties)

    solution = solve(
        train.documents,
        train.queries,
        train.relevance,
        method=method,
        metric=metric,
        temperature=temperature,
        validation=(held.queries, held.relevance),
        standard_errors=0,
    )
    assert solution.protocol == "validation"
    check(solution, oracle, data.draw(st.integers(0, 9)))


@pytest.mark.parametrize("temperature", [None, 1.0, 0.2, 0.03])
@pytest.mark.parametrize("grouped", [False, True])
def test_leave_one_out_of_each_kind_of_temperature_is_a_real_refit(temperature: float | None, grouped: bool) -> None:
    problem = random_problem(3, documents=25, queries=14, width=6)
    options: dict[str, Any] = {"temperature": temperature, "grouped": grouped}
    method = "nudge-n" if temperature is None else "contrastive"
    for step in (0.1, 0.4, 0.9, 2.0):
        solution = solve(
            problem.documents,
            problem.queries,
            problem.relevance,
            method=method,
            temperature=temperature,
            groups=problem.groups if grouped else None,
            metric="ndcg@5",
            step=step,
        )
        assert solution.status == "fixed"
        assert solution.score == pytest.approx(leave_one_out(problem, method, step, "ndcg@5", **options), abs=1e-9)
        unseen = leave_one_out(problem, method, step, "ndcg@5", unseen=True, **options)
        assert solution.unseen_score == pytest.approx(unseen, abs=1e-9)
        assert solution.curve.at(step) == pytest.approx(solution.score, abs=1e-12)


@pytest.mark.parametrize("method", METHODS[:4])
def test_graded_directions_are_left_out_exactly_too(method: str) -> None:
    problem = random_problem(4, documents=25, queries=14, width=6)
    solution = solve(
        problem.documents, problem.queries, problem.relevance, method=method, graded=True, metric="ndcg@5", step=0.5
    )
    expected = leave_one_out(problem, method, 0.5, "ndcg@5", graded=True)
    assert solution.score == pytest.approx(expected, abs=1e-9)
    assert solution.score != leave_one_out(problem, method, 0.5, "ndcg@5")


@pytest.mark.parametrize("method", METHODS)
def test_queries_keep_their_lengths_without_normalisation(method: str) -> None:
    problem = random_problem(5, documents=25, queries=14, width=6)
    temperature = 0.3 if method == "contrastive" else None
    lengths = np.random.default_rng(0).uniform(0.3, 3.0, (14, 1))
    long = Problem(problem.documents, problem.queries * lengths, problem.gains, problem.groups)
    kept = solve(
        long.documents,
        long.queries,
        long.relevance,
        method=method,
        step=0.5,
        metric="map@5",
        temperature=temperature,
        normalize_queries=False,
    )
    assert kept.score == pytest.approx(leave_one_out(long, method, 0.5, "map@5", temperature=temperature), abs=1e-9)
    made_unit = solve(
        long.documents, long.queries, long.relevance, method=method, step=0.5, metric="map@5", temperature=temperature
    )
    expected = leave_one_out(problem, method, 0.5, "map@5", temperature=temperature)
    assert made_unit.score == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_equal_documents_are_ranked_by_row(seed: int, k: int) -> None:
    random = np.random.default_rng(seed)
    kinds = unit(random.normal(size=(4, 6)))
    documents = kinds[random.integers(0, 4, 40)]
    queries = unit(random.normal(size=(30, 6)))
    gains = np.zeros((30, 40))
    gains[np.arange(30), random.integers(0, 12, 30)] = 1
    problem = Problem(documents, queries, gains, np.arange(30))
    for metric in (f"ndcg@{k}", f"mrr@{k}"):
        solution = solve(documents, queries, problem.relevance, method="nudge-n", metric=metric, step=0.3)
        assert solution.baseline == pytest.approx(leave_one_out(problem, "nudge-n", 0.0, metric), abs=1e-9)
        assert solution.score == pytest.approx(leave_one_out(problem, "nudge-n", 0.3, metric), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_one_grid_after_another_never_beats_the_exact_maximum(method: str) -> None:
    problem = random_problem(6, documents=20, queries=24, width=6, density=0.1)
    temperature = 0.3 if method == "contrastive" else None
    solution = solve(
        problem.documents,
        problem.queries,
        problem.relevance,
        method=method,
        metric="ndcg@10",
        temperature=temperature,
        standard_errors=0,
    )
    assert solution.status == "improved"
    for count in (10, 25):
        grid = [
            leave_one_out(problem, method, step, "ndcg@10", temperature=temperature)
            for step in np.linspace(0.0, 1.5, count)
        ]
        assert max(grid) <= solution.score + 1e-9


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=10, derandomize=True, deadline=None)
@given(data=st.data())
def test_a_path_cut_into_segments_gives_the_same_curve(method: str, data: st.DataObject) -> None:
    problem = data.draw(problems(lattice=method in ON_A_LATTICE))
    metric = data.draw(st.sampled_from(METRICS))
    temperature = 0.2 if method == "contrastive" else None

    def oracle(step: float, *, ties: float = 0.0, unseen: bool = False) -> float:
        return leave_one_out(problem, method, step, metric, temperature=temperature, unseen=unseen, ties=ties)

    with pytest.MonkeyPatch.context() as patch:
        # As if even one document were too many to compare along the whole path.
        patch.setattr(pruning, "_MANY", 0)
        solution = solve(
            problem.documents,
            problem.queries,
            problem.relevance,
            method=method,
            metric=metric,
            temperature=temperature,
            standard_errors=0,
        )
    check(solution, oracle, data.draw(st.integers(0, 9)))


@pytest.mark.parametrize("method", METHODS)
def test_dozens_of_relevant_documents_and_hundreds_of_moving_ones(method: str) -> None:
    problem = random_problem(9, documents=250, queries=16, width=12, density=0.15)
    temperature = 0.2 if method == "contrastive" else None
    solution = solve(
        problem.documents,
        problem.queries,
        problem.relevance,
        method=method,
        metric="ndcg@10",
        temperature=temperature,
        standard_errors=0,
    )
    assert len(solution.rows) > 200
    middles, widths, values = plateaus(solution.curve)
    wide = np.flatnonzero(widths > 1e-3)
    for index in wide[np.linspace(0, len(wide) - 1, 4).astype(int)]:
        expected = leave_one_out(problem, method, middles[index], "ndcg@10", temperature=temperature)
        assert values[index] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("path", [Arc(), NormalisedLine()])
@pytest.mark.parametrize("slack", [-1e-8, 0.0, 1e-8])
def test_scores_that_only_touch_part_where_they_do(path: Path, slack: float) -> None:
    # One document passes exactly over the query, the other rests there: rounding decides whether there is a root.
    rests = path.coefficients(np.array([1.0 + slack]), np.array([1.0 + slack]), np.array([1.0]))
    passes = path.coefficients(np.array([0.5]), np.array([0.5]), np.array([-0.5]))
    roots = path.crossings(passes, rests)[0]
    middle = np.pi / 3 if isinstance(path, Arc) else 0.5
    assert np.nanmin(np.abs(roots - middle)) < 1e-3
    assert path.score(passes, np.array(middle))[0] == pytest.approx(1.0, abs=1e-12)


def test_copies_part_at_once_and_rounding_makes_no_step_of_it() -> None:
    for seed in range(40):
        problem = random_problem(seed, documents=4, queries=6, width=4, density=0.3)
        problem.documents[3] = problem.documents[1]
        solution = solve(
            problem.documents, problem.queries, problem.relevance, method="nudge-m", metric="ndcg@3", standard_errors=0
        )
        assert solution.curve.steps[1:].min(initial=1.0) < 1e-300 or solution.curve.steps[1:].min(initial=1.0) > 1e-4
        assert solution.step == 0 or solution.step > 1e-4
        expected = leave_one_out(problem, "nudge-m", solution.step, "ndcg@3")
        assert solution.score == pytest.approx(expected, abs=1e-9)


def test_refit_directs_by_train_and_validation_with_the_temperature_that_was_chosen() -> None:
    train, held = random_problem(7, documents=30, queries=60), random_problem(8, documents=30, queries=30)
    solution = solve(
        train.documents,
        train.queries,
        train.relevance,
        validation=(held.queries, held.relevance),
        method="contrastive",
        temperature=0.2,
        step=0.4,
    )
    both = np.concatenate([train.queries, held.queries]), sparse.vstack([train.relevance, held.relevance])
    again = solve(train.documents, *both, method="contrastive", temperature=0.2, step=0.4)
    np.testing.assert_array_equal(solution.rows, again.rows)
    np.testing.assert_allclose(solution.vectors, again.vectors, atol=1e-6)


def test_refit_directs_by_train_and_validation_with_the_step_that_was_chosen() -> None:
    train, held = random_problem(7, documents=30, queries=60), random_problem(8, documents=30, queries=30)
    held = Problem(train.documents, held.queries, held.gains, held.groups)
    fitted = {
        refit: solve(
            train.documents,
            train.queries,
            train.relevance,
            validation=(held.queries, held.relevance),
            method="nudge-n",
            metric="ndcg@10",
            standard_errors=0,
            refit=refit,
        )
        for refit in (True, False)
    }
    assert fitted[True].status == "improved"
    assert fitted[True].step == fitted[False].step
    assert fitted[True].score == fitted[False].score
    both = np.concatenate([train.queries, held.queries]), sparse.vstack([train.relevance, held.relevance])
    again = solve(train.documents, *both, method="nudge-n", step=fitted[True].step)
    np.testing.assert_array_equal(fitted[True].rows, again.rows)
    np.testing.assert_allclose(fitted[True].vectors, again.vectors, atol=1e-6)
    alone = solve(train.documents, train.queries, train.relevance, method="nudge-n", step=fitted[True].step)
    np.testing.assert_array_equal(fitted[False].vectors, alone.vectors)
    assert not np.array_equal(fitted[True].vectors, fitted[False].vectors)
