"""The curve's metrics are ir_measures' metrics, of the very vectors that a step gives; and the solver stands alone."""

from __future__ import annotations

import ast
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from numpy.typing import NDArray
from oracle import Problem, random_problem
from scipy import sparse

import nudge_integrations.solver
from nudge_integrations.corpus import METRICS, Metric, parse_metric
from nudge_integrations.errors import InputError
from nudge_integrations.solver import Curve, solve

NAMES = {"ndcg": "nDCG", "recall": "R", "precision": "P", "mrr": "RR", "map": "AP", "hit": "Success"}


def by_ir_measures(documents: NDArray[np.floating], problem: Problem, metric: str) -> float:
    """Return the mean over all labelled queries of ir_measures' own computation for a full run."""
    name, cutoff = metric.split("@")
    measure = ir_measures.parse_measure(f"{NAMES[name]}@{cutoff}")
    qrels = [
        ir_measures.Qrel(f"q{query}", f"d{document}", int(problem.gains[query, document]))
        for query, document in np.argwhere(problem.gains)
    ]
    scores = problem.queries @ documents.T.astype(np.float64)
    run = [
        ir_measures.ScoredDoc(f"q{query}", f"d{document}", float(scores[query, document]))
        for query in np.flatnonzero(problem.gains.any(axis=1))
        for document in range(len(documents))
    ]
    return float(ir_measures.calc_aggregate([measure], qrels, run)[measure])


def sampled(curve: Curve, count: int) -> list[float]:
    """Return steps inside plateaus that are wide enough to be told apart, spread over the curve."""
    edges = np.append(curve.steps, curve.steps[-1] + 0.5)
    wide = np.flatnonzero(np.diff(edges) > 1e-3)
    chosen = wide[np.linspace(0, len(wide) - 1, count).astype(int)]
    return [float(step) for step in (edges[chosen] + edges[chosen + 1]) / 2]


@pytest.mark.parametrize("metric", [f"{name}@{k}" for name in NAMES for k in (1, 4, 10)])
@pytest.mark.parametrize("method", ["nudge-n", "nudge-m"])
def test_curves_equal_ir_measures_at_sampled_steps(method: str, metric: str) -> None:
    train = random_problem(11, documents=40, queries=60, width=8, density=0.05)
    # Many relevant documents a query, more than the cutoff, graded 1 to 3.
    held = random_problem(12, documents=40, queries=25, width=8, density=0.2)
    solution = solve(
        train.documents,
        train.queries,
        train.relevance,
        method=method,
        metric=metric,
        validation=(held.queries, held.relevance),
        refit=False,
        standard_errors=0,
    )
    assert len(solution.curve) > 5
    for step in [0.0, *sampled(solution.curve, 4)]:
        moved = solve(train.documents, train.queries, train.relevance, method=method, step=step)
        value = by_ir_measures(moved.apply(train.documents), held, metric)
        assert solution.curve.at(step) == pytest.approx(value, abs=1e-6)
    if solution.status == "improved":
        assert solution.score == pytest.approx(by_ir_measures(solution.apply(train.documents), held, metric), abs=1e-6)


def test_every_metric_has_its_measure() -> None:
    assert set(NAMES) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_an_ideal_ranking_scores_1_or_what_precision_allows(name: str) -> None:
    documents = np.eye(8)
    gains = np.zeros((1, 8))
    gains[0, [2, 5, 6]] = [3, 1, 2]
    query = documents[[2]] * 0.9 + documents[[6]] * 0.7 + documents[[5]] * 0.5
    solution = solve(documents, query, sparse.csr_array(gains), metric=f"{name}@5", method="nudge-n")
    assert solution.baseline == pytest.approx(3 / 5 if name == "precision" else 1.0)


@pytest.mark.parametrize("text", ["ndcg@10", "hit@1", "recall@100", "precision@5", "mrr@10", "map@1000"])
def test_names_of_metrics_are_read_and_written(text: str) -> None:
    metric = parse_metric(text)
    assert metric == Metric(text.split("@")[0], int(text.split("@")[1]))
    assert str(metric) == text


@pytest.mark.parametrize(
    "text", ["ndcg", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@1.5", "NDCG@10", "mean@3", "@3", "", None, "ndcg@10 "]
)
def test_names_that_are_no_metrics_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"unknown metric .*; expected one of hit@k, recall@k.* such as 'ndcg@10'"):
        parse_metric(text)


def test_the_solver_imports_nothing_of_ours_but_the_corpus_fusion_and_errors() -> None:
    folder = Path(nudge_integrations.solver.__file__).parent
    modules = sorted(folder.glob("*.py"))
    assert len(modules) > 10
    for module in modules:
        text = module.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, module.name
        for node in ast.walk(ast.parse(text)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = [name for name in names if name.startswith("nudge_integrations")]
            allowed = tuple(f"nudge_integrations.{room}" for room in ("solver", "corpus", "fusion", "errors"))
            assert all(name.startswith(allowed) for name in ours), module
            assert not isinstance(node, ast.ImportFrom) or node.level == 0, module
