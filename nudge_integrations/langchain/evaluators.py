"""Evaluators for LangSmith: any metric of a retriever's results for an example."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from langchain_core.documents import Document

from nudge_integrations.corpus import parse_metric
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.evaluation import DEFAULT_METRICS, evaluate
from nudge_integrations.langchain.documents import document_id

__all__ = ["Evaluator", "langsmith_evaluators"]

Evaluator: TypeAlias = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]


def langsmith_evaluators(
    dataset: RetrievalDataset,
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    question_key: str = "question",
    documents_key: str | None = None,
    id_key: str | None = None,
    ignore_identical_ids: bool = False,
) -> list[Evaluator]:
    """Make evaluators for LangSmith's ``evaluate(target, data=..., evaluators=...)``; nothing is sent anywhere.

    Each takes an example's ``inputs`` and the target's ``outputs`` and gives ``{"key": metric, "score": value}``. The
    relevant documents are the dataset's for the question in the inputs; their mean is that of
    ``nudge_integrations.evaluation.evaluate``.

    Args:
        dataset: Questions and the documents that answer them.
        metrics: hit@k, recall@k, precision@k, mrr@k, map@k or ndcg@k; those of ``evaluate`` by default.
        question_key: Where the question is in the inputs.
        documents_key: Where the documents are in the outputs: LangChain documents, or ids, best first. Not needed where
            there is one output.
        id_key: The metadata key that holds the id of documents without ``id``.
        ignore_identical_ids: Leave out the documents that have the id of a query with this question; as in `evaluate`.

    Raises:
        InputError: If a metric is unknown; on evaluating, if inputs or outputs have no such key.
        DatasetError: On evaluating, if the dataset does not know the question.
        MissingExtraError: On evaluating, if ir_measures is not installed.

    >>> dataset = RetrievalDataset({"a": "x", "b": "y"}, {"q": "which?"}, {"q": {"a": 1}})
    >>> recall, ndcg = langsmith_evaluators(dataset, ["recall@1", "ndcg@10"])
    >>> ndcg({"question": "which?"}, {"documents": ["b", "a"]})
    {'key': 'ndcg@10', 'score': 0.6309...}
    """
    relevant: dict[str, dict[str, float]] = {}
    own: dict[str, set[str]] = {}
    for query, text in dataset.queries.items():
        relevant.setdefault(text, {}).update(dataset.qrels.get(query, {}))
        own.setdefault(text, set()).update({query} if ignore_identical_ids else ())

    def evaluator_of(metric: str) -> Evaluator:
        def evaluator(inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
            question = _value(inputs, question_key, "inputs", "question_key")
            if question not in relevant:
                raise DatasetError(f"the dataset has no labels for {question!r}; evaluate on the questions that it has")
            named = (_named(item, id_key) for item in _documents(outputs, documents_key))
            results = [document for document in named if document not in own[question]]
            return {"key": metric, "score": _score(relevant[question], results, metric)}

        evaluator.__name__ = metric
        return evaluator

    return [evaluator_of(str(parse_metric(metric))) for metric in metrics]


def _score(grades: Mapping[str, float], results: Sequence[str], metric: str) -> float:
    # Every result counts as known, so that a retriever over a larger collection can be evaluated too.
    corpus = dict.fromkeys([*grades, *results], "-")
    single = RetrievalDataset(corpus, {"q": "q"}, {"q": grades})
    return evaluate({"q": results}, single, [metric]).means[metric]


def _documents(outputs: Mapping[str, Any], key: str | None) -> Iterable[Any]:
    if key is None and len(outputs) == 1:
        key = next(iter(outputs))
    results = _value(outputs, key, "outputs", "documents_key")
    if isinstance(results, str) or not isinstance(results, Iterable):
        raise InputError(f"outputs[{key!r}] is {results!r}; expected documents or ids, best first")
    return results


def _value(fields: Mapping[str, Any], key: str | None, name: str, option: str) -> Any:
    if key is None or key not in fields:
        raise InputError(f"the {name} have no key {key!r}, only {sorted(fields)}; name it with {option}=")
    return fields[key]


def _named(item: Any, id_key: str | None) -> str:
    return document_id(item, id_key) if isinstance(item, Document) else str(item)
