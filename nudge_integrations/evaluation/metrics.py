"""Ranking metrics of a run or a retriever on a dataset, computed by ir_measures; every judged query counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any, Protocol, TypeAlias

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError, MissingExtraError
from nudge_integrations.solver.metrics import Metric, parse_metric

__all__ = ["DEFAULT_METRICS", "Evaluation", "Run", "Searcher", "evaluate"]

DEFAULT_METRICS = ("ndcg@10", "recall@10", "mrr@10", "hit@1")

# Our names of what ir_measures calls otherwise; each with a cutoff, as in nDCG@10.
_MEASURES = {"hit": "Success", "recall": "R", "precision": "P", "mrr": "RR", "map": "AP", "ndcg": "nDCG"}

# trec_eval keeps a table as long as the largest grade.
_LARGEST_GRADE = 100_000

Ranking: TypeAlias = Mapping[str, float] | Sequence[str]
Run: TypeAlias = Mapping[str, Ranking]


class Searcher(Protocol):
    """Finds documents for texts, many at once."""

    def search(self, queries: Sequence[str], k: int) -> tuple[Sequence[Sequence[str]], Any]:
        """Return the ids of at most k documents for each query, best first, and something more, such as scores."""


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What a run is worth.

    Attributes:
        means: Metric -> mean over all judged queries, in [0, 1].
        per_query: Metric -> query id -> value, for paired tests.
        queries: Number of judged queries.
    """

    means: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]
    queries: int

    def __repr__(self) -> str:
        """Show the means."""
        figures = ", ".join(f"{name}={value:.4f}" for name, value in self.means.items())
        return f"Evaluation({figures}, queries={self.queries})"


def evaluate(
    retriever_or_run: Run | Searcher | Callable[[str], Ranking],
    dataset: RetrievalDataset,
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> Evaluation:
    """Judge rankings against a dataset.

    Every query of the dataset counts; one that was not answered counts 0. Definitions are trec_eval's: hit@k (Success),
    recall@k, precision@k, mrr@k (RR), map@k (AP) and ndcg@k with linear gains,
    nDCG@k = sum_r gain_r / log2(r + 1) over the first k ranks r, divided by the same of the ideal order
    (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002).

    Args:
        retriever_or_run: What was found: a run, query id -> {document id: score} or query id -> document ids, best
            first. Or what finds it: a function from a query's text to either of these, or an object whose
            ``search(texts, k)`` returns the ids, best first, for every text. Equal scores keep their order in the
            mapping; a document that is listed twice counts at its best rank.
        dataset: Queries and who answers them.
        metrics: Names with a cutoff, such as ``"ndcg@10"``.

    Returns:
        Means and the value of every query.

    Raises:
        InputError: If a metric is unknown, or a ranking is none.
        DatasetError: If a query has no relevant document, a judgement does not fit the corpus, the run is of other
            queries or other documents, or grades for nDCG are no whole numbers and cannot be scaled to such.
        MissingExtraError: If ir_measures is not installed.

    >>> dataset = RetrievalDataset({"a": "one", "b": "two"}, {"q": "one?", "r": "two?"}, {"q": {"a": 1}, "r": {"b": 1}})
    >>> evaluate({"q": {"b": 0.9, "a": 0.8}}, dataset, ["mrr@10", "hit@1"])
    Evaluation(mrr@10=0.2500, hit@1=0.0000, queries=2)
    """
    asked = [parse_metric(name) for name in dict.fromkeys([metrics] if isinstance(metrics, str) else metrics)]
    if not asked:
        raise InputError("no metrics were asked for; give names such as 'ndcg@10'")
    relevant = _relevant(dataset)
    depth = max(metric.k for metric in asked)
    run = {query: _ranked(query, found, depth) for query, found in _found(retriever_or_run, dataset, depth)}
    _check_ids(run, dataset)
    graded = any(metric.name == "ndcg" for metric in asked)
    judged = _whole_grades(relevant) if graded else {q: dict.fromkeys(grades, 1) for q, grades in relevant.items()}
    per_query = _calculate(asked, judged, run)
    means = {name: math.fsum(values.values()) / len(relevant) for name, values in per_query.items()}
    return Evaluation(means=means, per_query=per_query, queries=len(relevant))


def _relevant(dataset: RetrievalDataset) -> dict[str, dict[str, float]]:
    """Return query id -> the grades above 0, for every query."""
    dataset.relevance()  # refuses negative grades and relevant documents that are not in the corpus
    relevant = {
        query: {document: grade for document, grade in dataset.qrels.get(query, {}).items() if grade > 0}
        for query in dataset.queries
    }
    unanswerable = [query for query, grades in relevant.items() if not grades]
    if unanswerable or not relevant:
        named = (
            f"query {unanswerable[0]!r} (of {len(unanswerable)}) has" if unanswerable else "the dataset has no queries:"
        )
        raise DatasetError(f"{named} no relevant document to find; dataset.repaired() leaves such queries out")
    return relevant


def _found(source: Any, dataset: RetrievalDataset, depth: int) -> Iterable[tuple[str, Any]]:
    if isinstance(source, Mapping):
        if source and dataset.queries.keys().isdisjoint(source):
            raise DatasetError(
                f"the run answers none of the dataset's {len(dataset)} queries; its first query id is "
                f"{next(iter(source))!r}, the dataset's is {dataset.query_ids[0]!r}"
            )
        return [(query, found) for query, found in source.items() if query in dataset.queries]
    if hasattr(source, "search"):
        found, _ = source.search(list(dataset.queries.values()), depth)
        if len(found) != len(dataset):
            raise InputError(f"search returned {len(found)} rankings for {len(dataset)} queries")
        return zip(dataset.queries, found, strict=True)
    if callable(source):
        return ((query, source(text)) for query, text in dataset.queries.items())
    raise InputError(
        f"cannot evaluate a {type(source).__name__}: give a run {{query id: {{document id: score}}}}, a function from "
        "a query's text to document ids, or an object with search(texts, k)"
    )


def _ranked(query: str, found: Any, depth: int) -> list[str]:
    """Return at most ``depth`` distinct document ids, best first."""
    if isinstance(found, str | bytes) or not isinstance(found, Mapping | Iterable):
        raise InputError(f"query {query!r}: expected document ids or {{document id: score}}; got {found!r}")
    ids = list(found)
    if isinstance(found, Mapping):
        scores = {document: float(score) for document, score in found.items()}
        if any(math.isnan(score) for score in scores.values()):
            raise InputError(f"query {query!r}: a score is NaN, which has no place in a ranking")
        ids.sort(key=lambda document: -scores[document])
    odd = next((document for document in ids if not isinstance(document, str)), None)
    if odd is not None:
        raise InputError(f"query {query!r}: document ids must be strings; got {odd!r} ({type(odd).__name__})")
    return list(islice(dict.fromkeys(ids), depth))


def _check_ids(run: Mapping[str, Sequence[str]], dataset: RetrievalDataset) -> None:
    found = [document for ranking in run.values() for document in ranking]
    if found and dataset.corpus.keys().isdisjoint(found):
        raise DatasetError(
            f"none of the documents found is in the dataset's corpus; the first one found is {found[0]!r}, "
            f"the first of the corpus is {next(iter(dataset.corpus))!r}: which id does the retriever return?"
        )


def _whole_grades(relevant: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, int]]:
    """Return grades as the whole numbers that trec_eval wants, all scaled by one factor, which nDCG does not see."""
    distinct = {grade for grades in relevant.values() for grade in grades.values()}
    exact = {grade: Fraction(repr(float(grade))) for grade in distinct}
    scale = Fraction(
        math.lcm(*(f.denominator for f in exact.values())), math.gcd(*(f.numerator for f in exact.values()))
    )
    whole = {grade: int(fraction * scale) for grade, fraction in exact.items()}
    if max(whole.values()) > _LARGEST_GRADE:
        few = ", ".join(f"{grade:g}" for grade in sorted(distinct)[:3])
        raise DatasetError(
            f"nDCG needs whole grades, and grades such as {few} are whole only when scaled up to "
            f"{max(whole.values()):g}: round them, so that the largest is at most {_LARGEST_GRADE:,} smallest units"
        )
    return {query: {document: whole[grade] for document, grade in grades.items()} for query, grades in relevant.items()}


def _calculate(
    asked: Sequence[Metric], judged: Mapping[str, Mapping[str, int]], run: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    try:
        import ir_measures
    except ImportError as error:
        raise MissingExtraError("ir_measures", "evaluation") from error
    measures = {getattr(ir_measures, _MEASURES[metric.name]) @ metric.k: str(metric) for metric in asked}
    # Ranks as scores: the order of the run decides, where trec_eval would order equal scores by document id.
    scored = {
        query: {document: -float(rank) for rank, document in enumerate(ranking)} for query, ranking in run.items()
    }
    per_query = {str(metric): dict.fromkeys(judged, 0.0) for metric in asked}
    for result in ir_measures.iter_calc(list(measures), judged, scored):
        per_query[measures[result.measure]][result.query_id] = float(result.value)
    return per_query
