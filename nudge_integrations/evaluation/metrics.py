"""Ranking metrics of a run or a retriever on a dataset, computed by ir_measures; every query of the dataset counts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from nudge_integrations.corpus import Metric, parse_metric
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError, MissingExtraError
from nudge_integrations.evaluation.rankings import Similarity, Source, rankings_of

__all__ = ["DEFAULT_METRICS", "Evaluation", "evaluate"]

DEFAULT_METRICS = ("ndcg@10", "recall@10", "mrr@10", "hit@1")

# Our names of what ir_measures calls otherwise; each with a cutoff, as in nDCG@10.
_MEASURES = {"hit": "Success", "recall": "R", "precision": "P", "mrr": "RR", "map": "AP", "ndcg": "nDCG"}

# trec_eval keeps a table as long as the largest grade.
_LARGEST_GRADE = 100_000


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The metrics of a run.

    Attributes:
        means: Metric -> mean over all evaluated queries, in [0, 1].
        per_query: Metric -> query id -> value, for paired tests.
        queries: Number of evaluated queries.
        rankings: Query id -> ids of the retrieved documents, best first; empty for a query without results.
        dataset: The queries and labels; None where they are not known.
    """

    means: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]
    queries: int
    rankings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    dataset: RetrievalDataset | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        """Show the means."""
        figures = ", ".join(f"{name}={value:.4f}" for name, value in self.means.items())
        return f"Evaluation({figures}, queries={self.queries})"

    def _repr_html_(self) -> str:
        from nudge_integrations.evaluation.report.elements import element
        from nudge_integrations.evaluation.report.notebook import fragment
        from nudge_integrations.evaluation.report.wording import metric_name, percent

        head = element("tr", *(element("th", metric_name(name)) for name in self.means))
        cells = element("tr", *(element("td", percent(value)) for value in self.means.values()))
        return fragment(
            element("table", element("caption", f"{self.queries:,} queries, in percent"), head, cells),
        )


def evaluate(
    retriever_or_run: Source,
    dataset: RetrievalDataset,
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    depth: int = 100,
    similarity: Similarity = "cosine",
    ignore_identical_ids: bool = False,
) -> Evaluation:
    """Evaluate rankings on a dataset.

    Every query of the dataset counts; one without results scores 0. Definitions are trec_eval's: hit@k (Success),
    recall@k, precision@k, mrr@k (RR), map@k (AP) and ndcg@k with linear gains,
    nDCG@k = sum_r gain_r / log2(r + 1) over the first k ranks r, divided by the same of the ideal order
    (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002).

    Args:
        retriever_or_run: A run, or what returns one; a document that is listed twice counts at its best rank.

            - A run, query id -> {document id: score} or query id -> document ids, best first. Equal scores keep their
              order in the mapping.
            - A function from a query's text to either of these.
            - A LlamaIndex retriever or a LangChain one, called as it is: if it returns 2 documents, those 2 count. A
              node goes by its id, that of the document it was cut from, or its text; a document by its id, or its text.
              Or a LangChain vector store.
            - An object whose ``search(texts, k)`` returns the ids, best first, for every text, and something more.
            - A pair (document vectors (n, d), query vectors (m, d)), rows in the dataset's order, searched exactly; or
              (an `ExactIndex`, query vectors).
        dataset: Queries and their relevant documents.
        metrics: Names with a cutoff, such as ``"ndcg@10"``.
        depth: How many ranks to retrieve and to keep, so that one can see where a document went; at least as many as
            the metrics look at.
        similarity: ``"cosine"`` or ``"dot"``, for a pair of vectors.
        ignore_identical_ids: Leave out of each ranking the document that has the query's id, as BEIR's evaluation does:
            where queries are documents themselves (arguments, duplicate questions, tickets) each would find itself
            first. Labels stay as they are.

    Returns:
        Means, the value of every query, and the rankings.

    Raises:
        InputError: If a metric is unknown, or a ranking has another form.
        DatasetError: If a query has no relevant document, a judgement does not fit the corpus, the run is of other
            queries or other documents, or grades for nDCG are no whole numbers and cannot be scaled to such.
        MissingExtraError: If ir_measures is not installed.

    >>> dataset = RetrievalDataset({"a": "one", "b": "two"}, {"q": "one?", "r": "two?"}, {"q": {"a": 1}, "r": {"b": 1}})
    >>> evaluate({"q": {"b": 0.9, "a": 0.8}}, dataset, ["mrr@10", "hit@1"])
    Evaluation(mrr@10=0.2500, hit@1=0.0000, queries=2)
    >>> evaluate(([[1, 0], [0, 1]], [[3, 1], [1, 2]]), dataset, ["hit@1"])
    Evaluation(hit@1=1.0000, queries=2)
    """
    requested = [parse_metric(name) for name in dict.fromkeys([metrics] if isinstance(metrics, str) else metrics)]
    if not requested:
        raise InputError("no metrics were given; expected names such as 'ndcg@10'")
    relevant = _relevant(dataset)
    largest = max(metric.k for metric in requested)
    rankings = rankings_of(
        retriever_or_run,
        dataset,
        max(depth, largest),
        similarity=similarity,
        ignore_identical_ids=ignore_identical_ids,
    )
    graded = any(metric.name == "ndcg" for metric in requested)
    qrels = _whole_grades(relevant) if graded else {q: dict.fromkeys(grades, 1) for q, grades in relevant.items()}
    per_query = _calculate(requested, qrels, {query: ranking[:largest] for query, ranking in rankings.items()})
    means = {name: math.fsum(values.values()) / len(relevant) for name, values in per_query.items()}
    return Evaluation(means, per_query, len(relevant), rankings, dataset)


def _relevant(dataset: RetrievalDataset) -> dict[str, dict[str, float]]:
    """Return query id -> the grades above 0, for every query."""
    dataset.relevance()  # refuses relevant documents that are not in the corpus
    relevant = {
        query: {document: grade for document, grade in dataset.qrels.get(query, {}).items() if grade > 0}
        for query in dataset.queries
    }
    without_relevant = [query for query, grades in relevant.items() if not grades]
    if without_relevant or not relevant:
        named = (
            f"query {without_relevant[0]!r} (of {len(without_relevant)}) has"
            if without_relevant
            else "the dataset has no queries:"
        )
        raise DatasetError(f"{named} no relevant document to find; dataset.repaired() leaves such queries out")
    return relevant


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
    requested: Sequence[Metric], qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    try:
        import ir_measures
    except ImportError as error:
        raise MissingExtraError("ir_measures", "evaluation") from error
    measures = {getattr(ir_measures, _MEASURES[metric.name]) @ metric.k: str(metric) for metric in requested}
    # Numbers for ids: half a character, or a zero byte, in an id ends the process in trec_eval's code.
    number_of: defaultdict[str, str] = defaultdict(lambda: str(len(number_of)))
    judged = {number_of[q]: {number_of[d]: grade for d, grade in grades.items()} for q, grades in qrels.items()}
    # Ranks as scores: the order of the run decides, where trec_eval would order equal scores by document id.
    scored = {number_of[q]: {number_of[d]: -float(rank) for rank, d in enumerate(found)} for q, found in run.items()}
    query_of = {number_of[query]: query for query in qrels}
    per_query = {str(metric): dict.fromkeys(qrels, 0.0) for metric in requested}
    for result in ir_measures.iter_calc(list(measures), judged, scored):
        per_query[measures[result.measure]][query_of[result.query_id]] = float(result.value)
    return per_query
