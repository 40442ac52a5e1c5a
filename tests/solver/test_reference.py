"""The solver beside its source: nudge-ft at equal gamma, the paper's iterations, and Algorithm 1."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nudge import NUDGEM, NUDGEN
from numpy.typing import NDArray
from oracle import Problem, direction, mean_metric, moved, random_problem, unit
from scipy import sparse

from nudge_integrations.solver import solve

METHODS = ("nudge-n", "nudge-m", "nudge-m+n", "nudge-s", "contrastive")


def as_set(problem: Problem) -> dict[str, object]:
    """Return queries and relevant documents in the form of nudge-ft."""
    answers = [np.flatnonzero(row).tolist() for row in problem.gains]
    return {"q_embs": problem.queries.astype(np.float32), "q_ans_indx": answers}


def reference(
    kind: type[NUDGEM] | type[NUDGEN], train: Problem, validation: Problem, gamma: float | None = None
) -> NDArray[np.float64]:
    """Return nudge-ft's vectors; it prints its progress, which is not ours to show."""
    with contextlib.redirect_stdout(io.StringIO()):
        vectors = kind().finetune_embeddings(
            train.documents.astype(np.float32), as_set(train), as_set(validation), gamma=gamma
        )
    return np.asarray(vectors, np.float64)


def ours(problem: Problem, method: str, step: float) -> NDArray[np.float64]:
    solution = solve(problem.documents, problem.queries, problem.relevance, method=method, step=step)
    return solution.apply(problem.documents).astype(np.float64)


def away(problem: Problem) -> NDArray[np.bool_]:
    """Return which documents point away from their queries: nudge-ft leaves them where they are."""
    return np.asarray((direction(problem) * problem.documents).sum(axis=1) < 0)


@pytest.mark.parametrize("gamma", [0.0, 0.02, 0.14, 0.48, 1.0, 1.9])
@pytest.mark.parametrize("seed", [0, 1])
def test_nudge_n_equals_nudge_ft_at_equal_gamma(gamma: float, seed: int) -> None:
    problem = random_problem(seed, documents=80, queries=60, width=16)
    toward = ~away(problem)
    assert toward.sum() > 30
    theirs = reference(NUDGEN, problem, problem, gamma)
    np.testing.assert_allclose(ours(problem, "nudge-n", math.acos(1 - gamma / 2))[toward], theirs[toward], atol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.7, 3.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_nudge_m_equals_nudge_ft_at_equal_gamma(gamma: float, seed: int) -> None:
    problem = random_problem(seed, documents=80, queries=60, width=16)
    theirs = reference(NUDGEM, problem, problem, gamma)
    np.testing.assert_allclose(ours(problem, "nudge-m", gamma), theirs, atol=1e-5)


def scifact(folder: Path) -> tuple[Problem, Problem]:
    """Return the train and the test queries of scifact with their real vectors."""
    documents = unit(np.load(folder / "minilm" / "corpus.f16.npy").astype(np.float64))
    queries = unit(np.load(folder / "minilm" / "queries.f16.npy").astype(np.float64))
    rows = {
        name: {identifier: row for row, identifier in enumerate(ids(folder / f"{name}.jsonl"))}
        for name in ("corpus", "queries")
    }
    parts = []
    for split in ("train", "test"):
        lines = (folder / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]
        labels = [line.split("\t") for line in lines]
        asked = sorted({rows["queries"][query] for query, _, _ in labels})
        gains = np.zeros((len(asked), len(documents)))
        for query, document, gain in labels:
            gains[asked.index(rows["queries"][query]), rows["corpus"][document]] = float(gain)
        parts.append(Problem(documents, queries[asked], gains, np.arange(len(asked))))
    return parts[0], parts[1]


def ids(path: Path) -> list[str]:
    return [json.loads(line)["_id"] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("gamma", [0.1, 0.4])
def test_real_vectors_are_moved_as_by_nudge_ft(collection: Callable[[str], Path], gamma: float) -> None:
    train, _ = scifact(collection("scifact"))
    few = train.part(np.arange(40))
    toward = ~away(train)
    theirs = reference(NUDGEN, train, few, gamma)
    mine = ours(train, "nudge-n", math.acos(1 - gamma / 2))
    np.testing.assert_allclose(mine[toward], theirs[toward], atol=1e-5)
    np.testing.assert_allclose(ours(train, "nudge-m", gamma), reference(NUDGEM, train, few, gamma), atol=1e-5)
    assert np.abs(mine - train.documents).max() > 0.05


def test_a_document_that_points_away_from_its_queries_is_turned_and_not_left() -> None:
    problem = random_problem(3, documents=60, queries=60, width=8, noise=3.0)
    back = away(problem) & (problem.gains.sum(axis=0) > 0)
    assert back.sum() > 5
    theirs, mine = reference(NUDGEN, problem, problem, 0.3), ours(problem, "nudge-n", math.acos(0.85))
    np.testing.assert_allclose(theirs[back], problem.documents[back], atol=1e-5)
    relevant = direction(problem)
    assert ((mine * relevant).sum(axis=1)[back] > (theirs * relevant).sum(axis=1)[back] + 1e-3).all()
    np.testing.assert_allclose(mine, moved(problem, "nudge-n", math.acos(0.85)), atol=1e-6)


def test_a_validation_query_without_relevant_documents_does_not_stop_the_search() -> None:
    train = random_problem(4, documents=40, queries=80, width=8, density=0.02)
    asked = random_problem(5, documents=40, queries=40, width=8, density=0.02)
    held = Problem(train.documents, train.queries[::2], train.gains[::2], asked.groups)
    empty = held.gains.copy()
    empty[3] = 0
    poisoned = Problem(held.documents, held.queries, empty, held.groups)
    assert np.abs(reference(NUDGEN, train, held) - train.documents).max() > 0.1
    np.testing.assert_allclose(reference(NUDGEN, train, poisoned), train.documents, atol=1e-6)
    solution = solve(
        train.documents,
        train.queries,
        train.relevance,
        method="nudge-n",
        metric="hit@1",
        validation=(poisoned.queries, poisoned.relevance),
    )
    assert solution.status == "improved"
    assert solution.queries == 39
    assert solution.score > solution.baseline


def test_nudge_ft_fed_its_own_output_forgets_magnitudes_and_ours_starts_from_base_vectors() -> None:
    problem = random_problem(6, documents=40, queries=60, width=8)
    once = reference(NUDGEM, problem, problem, 0.8)
    again = reference(NUDGEM, Problem(once, problem.queries, problem.gains, problem.groups), problem, 0.0)
    assert np.ptp(np.linalg.norm(once, axis=1)) > 0.5
    np.testing.assert_allclose(np.linalg.norm(again, axis=1), 1.0, atol=1e-5)
    # Both normalise what they are given; here the solution is applied to the base, however often.
    solution = solve(problem.documents, problem.queries, problem.relevance, method="nudge-m", step=0.8)
    np.testing.assert_allclose(solution.apply(problem.documents), once, atol=1e-5)
    np.testing.assert_array_equal(solution.apply(problem.documents), solution.apply(problem.documents * 3.0))
    assert solution.similarity == "dot"


def test_steps_beyond_the_references_grid_and_for_the_users_metric_are_found() -> None:
    random = np.random.default_rng(7)
    documents, relevant = unit(random.normal(size=(40, 24))), np.arange(240) % 40
    # Queries far from their relevant documents and near one another: the more a document turns, the better.
    topics = unit(random.normal(size=(40, 24)))
    queries = unit(topics[relevant] + 0.1 * random.normal(size=(240, 24)))
    gains = np.zeros((240, 40))
    gains[np.arange(240), relevant] = 1
    solution = solve(documents, queries, sparse.csr_array(gains), method="nudge-n", metric="ndcg@10")
    assert solution.step > math.acos(1 - 0.48 / 2)
    assert solution.score > solution.curve.at(math.acos(1 - 0.48 / 2)) + 0.01


def iterate_in_a_ball(start: NDArray[np.float64], pull: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """NUDGE-IM: gradient steps on the sum of similarities, brought back into the ball around the start."""
    at = start.copy()
    for _ in range(400):
        delta = at + 0.05 * pull - start
        length = np.linalg.norm(delta)
        at = start + delta * min(1.0, float(bound / length))
    return at


def iterate_on_a_cap(start: NDArray[np.float64], pull: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """NUDGE-IN: the same on the unit sphere, brought back into the cap of an angle around the start."""
    at = start.copy()
    for _ in range(4000):
        at = unit(at + 0.05 * pull)
        if at @ start < math.cos(angle):
            sideways = unit(at - (at @ start) * start)
            at = math.cos(angle) * start + math.sin(angle) * sideways
    return at


@pytest.mark.parametrize("bound", [0.2, 0.9])
def test_projected_gradient_steps_converge_to_the_line(bound: float) -> None:
    problem = random_problem(8, documents=15, queries=25, width=6)
    sums = direction(problem)
    placed = ours(problem, "nudge-m", bound)
    for row in np.flatnonzero(problem.gains.sum(axis=0)):
        expected = iterate_in_a_ball(problem.documents[row], sums[row], bound)
        np.testing.assert_allclose(placed[row], expected, atol=1e-5)


@pytest.mark.parametrize("angle", [0.2, 0.9, 2.5])
def test_projected_gradient_steps_on_the_sphere_converge_to_the_arc(angle: float) -> None:
    problem = random_problem(8, documents=15, queries=25, width=6)
    sums = direction(problem)
    placed = ours(problem, "nudge-n", angle)
    for row in np.flatnonzero(problem.gains.sum(axis=0)):
        expected = iterate_on_a_cap(problem.documents[row], sums[row], angle)
        np.testing.assert_allclose(placed[row], expected, atol=1e-5)


def most_intervals(train: Problem, held: Problem) -> float:
    """Return Algorithm 1's optimum: the largest share of held-out queries whose answer is first at one gamma."""
    sums = direction(train)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    unit_sums = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    intervals = []
    for query, gains in zip(held.queries, held.gains, strict=True):
        scores, slopes = held.documents @ query, unit_sums @ query
        answer = int(np.argmax(gains))
        low, high = 0.0, np.inf
        for other in np.delete(np.arange(len(scores)), answer):
            gap, gain = scores[other] - scores[answer], slopes[answer] - slopes[other]
            if gain > 0:
                low = max(low, gap / gain)
            elif gain < 0:
                high = min(high, gap / gain)
            elif gap > 0:
                high = -1.0
        if low < high:
            intervals.append((low, high))
    starts = sorted({low for low, _ in intervals} | {0.0})
    return max(sum(low <= start < high for low, high in intervals) for start in starts) / len(held.queries)


@pytest.mark.parametrize("seed", range(8))
def test_nudge_m_reaches_the_optimum_of_algorithm_1_for_hit_at_1(seed: int) -> None:
    train = random_problem(seed, documents=40, queries=120, width=10, density=0.01)
    asked = random_problem(seed + 100, documents=40, queries=60, width=10, density=0.0)
    topics = unit(np.random.default_rng(seed).normal(size=(60, 10)))
    queries = unit(asked.gains @ unit(direction(train) + 1e-9) + 0.7 * topics)
    held = Problem(train.documents, queries, asked.gains, asked.groups)
    solution = solve(
        train.documents,
        train.queries,
        train.relevance,
        method="nudge-m",
        metric="hit@1",
        validation=(held.queries, held.relevance),
        refit=False,
        standard_errors=0,
    )
    assert solution.status == "improved"
    assert solution.score == pytest.approx(most_intervals(train, held), abs=1e-9)
    placed = solution.apply(train.documents).astype(np.float64)
    assert mean_metric(placed, held.queries, held.gains, "hit@1") == pytest.approx(solution.score)
    theirs = mean_metric(reference(NUDGEM, train, held), held.queries, held.gains, "hit@1")
    assert theirs <= solution.score + 1e-9


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m+n", "contrastive"])
@pytest.mark.parametrize("step", [1e-4, 0.3, 1.0, 3.0, 1e3])
def test_turned_documents_keep_unit_length(method: str, step: float) -> None:
    problem = random_problem(9, documents=60, queries=90, width=32)
    temperature = 0.05 if method == "contrastive" else None
    solution = solve(
        problem.documents, problem.queries, problem.relevance, method=method, step=step, temperature=temperature
    )
    assert solution.similarity == "cosine"
    assert len(solution.rows) > 30
    np.testing.assert_allclose(np.linalg.norm(solution.vectors.astype(np.float64), axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("step", [0.05, 0.6, 2.2])
def test_documents_are_placed_where_the_oracle_puts_them(method: str, step: float) -> None:
    problem = random_problem(10, documents=40, queries=40, width=12)
    for temperature in (0.03, 0.2, 1.0) if method == "contrastive" else (None,):
        solution = solve(
            problem.documents, problem.queries, problem.relevance, method=method, step=step, temperature=temperature
        )
        expected = moved(problem, method, step, temperature)
        np.testing.assert_allclose(solution.apply(problem.documents), expected, atol=3e-6)
        np.testing.assert_array_equal(solution.rows, np.flatnonzero(problem.gains.sum(axis=0)))
