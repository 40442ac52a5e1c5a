"""Evaluation of any LlamaIndex retriever: every query counts, and one without results counts zero."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from llama_index.core.async_utils import run_jobs
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.utils import get_tqdm_iterable

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.evaluation import DEFAULT_METRICS, Evaluation, evaluate
from nudge_integrations.llama_index.nodes import check_count

__all__ = ["aevaluate_retriever", "evaluate_retriever"]


def evaluate_retriever(
    retriever: BaseRetriever,
    dataset: RetrievalDataset,
    metrics: Sequence[str] = DEFAULT_METRICS,
    k: int = 10,
    *,
    ignore_identical_ids: bool = False,
    show_progress: bool = False,
) -> Evaluation:
    """Run every query of a dataset through a retriever and evaluate the order of its results.

    Args:
        retriever: Any LlamaIndex retriever. One with a ``similarity_top_k`` is searched as deep as the metrics look,
            whatever it was made with; it is not changed.
        dataset: Queries and the ids of what answers them: nodes, or the documents that nodes were cut from.
        metrics: Names such as ``"ndcg@10"``; ``"ndcg"`` is taken at ``k``.
        k: The cutoff of metrics without one.
        ignore_identical_ids: Leave out of each ranking the document that has the query's id; as in `evaluate`.
        show_progress: Whether to show a bar over the queries.

    Returns:
        Means and the value of every query.

    Raises:
        InputError: If a metric is unknown, or ``k`` is no whole number above 0.
        DatasetError: If a query has no relevant document, or no result is in the corpus.
        MissingExtraError: If ir_measures is not installed.

    >>> evaluate_retriever(retriever, dataset, ["ndcg", "hit@1"], k=10)  # doctest: +SKIP
    Evaluation(ndcg@10=0.7312, hit@1=0.6133, queries=300)
    """
    names = _with_cutoff(metrics, k)
    searched = _searched_deeper(retriever, names, int(ignore_identical_ids))
    bar = get_tqdm_iterable(list(dataset.queries.items()), show_progress, "Retrieving")
    found = {query: searched.retrieve(text) for query, text in bar}
    return evaluate(found, dataset, names, ignore_identical_ids=ignore_identical_ids)


async def aevaluate_retriever(
    retriever: BaseRetriever,
    dataset: RetrievalDataset,
    metrics: Sequence[str] = DEFAULT_METRICS,
    k: int = 10,
    *,
    workers: int = 4,
    ignore_identical_ids: bool = False,
    show_progress: bool = False,
) -> Evaluation:
    """Do the same as `evaluate_retriever` with ``workers`` queries at once."""
    names = _with_cutoff(metrics, k)
    searched = _searched_deeper(retriever, names, int(ignore_identical_ids))
    jobs = [searched.aretrieve(text) for text in dataset.queries.values()]
    results = await run_jobs(jobs, show_progress=show_progress, workers=workers, desc="Retrieving")
    found = dict(zip(dataset.queries, results, strict=True))
    return evaluate(found, dataset, names, ignore_identical_ids=ignore_identical_ids)


def _with_cutoff(metrics: Sequence[str], k: int) -> list[str]:
    check_count("k", k)
    names = [metrics] if isinstance(metrics, str) else metrics
    return [name if "@" in name else f"{name}@{k}" for name in names]


def _searched_deeper(retriever: BaseRetriever, metrics: Sequence[str], more: int) -> BaseRetriever:
    """Return a copy that returns at least as many nodes as the metrics look at, and some more to leave out.

    Where a retriever has no such number, it is returned itself.
    """
    cutoffs = [name.partition("@")[2] for name in metrics]
    depth = max((int(cutoff) for cutoff in cutoffs if cutoff.isdecimal()), default=0) + more
    own = getattr(retriever, "similarity_top_k", None)
    if not isinstance(own, int) or own >= depth:
        return retriever
    deeper = copy.copy(retriever)
    deeper.similarity_top_k = depth  # type: ignore[attr-defined]
    return deeper
