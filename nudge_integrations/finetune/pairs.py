"""Training pairs: each query with a relevant document and some similar ones that are not relevant."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError
from nudge_integrations.index import ExactIndex

__all__ = ["Texts", "TrainingPair", "mine_pairs"]

logger = logging.getLogger(__name__)

# How far down the ranking hard negatives are looked for.
DEPTH = 100

# What scores above this share of the positive's score may well be an answer that nobody labelled.
SHARE = 0.95


@dataclass(frozen=True)
class TrainingPair:
    """Ids of a query, of a relevant document, and of documents that are near it and not relevant.

    Attributes:
        query: A query's id.
        document: The id of a relevant document.
        negatives: Ids of documents whose texts are not relevant to the query.
    """

    query: str
    document: str
    negatives: tuple[str, ...] = ()


class Texts:
    """A dataset by its texts: the relevant documents of a query text, whichever ids query and documents have.

    Args:
        dataset: The labelled queries.
    """

    def __init__(self, dataset: RetrievalDataset) -> None:
        self.corpus = dataset.corpus
        self.queries = dataset.queries
        self._answers: dict[str, set[str]] = {}
        for query, document in relevant_ids(dataset):
            self._answers.setdefault(self.queries[query], set()).add(self.corpus[document])

    def positives(self, query: str) -> set[str]:
        """Return the texts that are relevant to the text of this query, under any id."""
        return self._answers[self.queries[query]]


def relevant_ids(dataset: RetrievalDataset) -> Iterator[tuple[str, str]]:
    """Yield the ids of each query and each document with a grade above 0, in the order of queries and judgements."""
    for query in dataset.queries:
        for document, grade in dataset.qrels.get(query, {}).items():
            if grade > 0:
                yield query, document


def mine_pairs(
    dataset: RetrievalDataset, index: ExactIndex | None, queries: object, negatives: int
) -> list[TrainingPair]:
    """Make a pair of every relevant judgement, each text pair once, with hard negatives.

    Hard negatives of a pair are the documents nearest to its query that score at most 95 % of what its positive does,
    as in NV-Retriever (Moreira et al., 2024, arXiv 2407.15831): what scores higher is often an answer without a label.
    They are never relevant to the query, nor do they have the text of one that is.

    Args:
        dataset: The labelled queries.
        index: The whole corpus, embedded before training; None where no negatives are asked for.
        queries: (m, d) vectors in the order of ``dataset.query_ids``.
        negatives: How many to find for each pair.

    Returns:
        Pairs with the same number of negatives each: fewer than asked for where the corpus has no more.

    Raises:
        DatasetError: If no query has a relevant document.
    """
    texts = Texts(dataset)
    distinct: dict[tuple[str, str], TrainingPair] = {}
    for query, document in relevant_ids(dataset):
        distinct.setdefault((dataset.queries[query], dataset.corpus[document]), TrainingPair(query, document))
    pairs = list(distinct.values())
    if not pairs:
        raise DatasetError("no query has a relevant document, so there is nothing to train on")
    if index is None or not negatives:
        return pairs
    most = max(len(texts.positives(pair.query)) for pair in pairs)
    found, scores = index.search(queries, DEPTH + most + negatives)
    ranked = {
        query: dict(zip(ids, row.tolist(), strict=True))
        for query, ids, row in zip(dataset.query_ids, found, scores, strict=True)
    }
    mined = [(pair, _negatives(pair, texts, ranked[pair.query])) for pair in pairs]
    count = min(negatives, *(len(ids) for _, ids in mined))
    if count < negatives:
        logger.warning("only %d of %d hard negatives are there for every query", count, negatives)
    return [TrainingPair(pair.query, pair.document, tuple(ids[:count])) for pair, ids in mined]


def _negatives(pair: TrainingPair, texts: Texts, scores: Mapping[str, float]) -> Sequence[str]:
    """Return candidates, best first: those clearly below the positive from the top down, then the others upwards."""
    positives = texts.positives(pair.query)
    first_of: dict[str, str] = {}
    for document in scores:
        first_of.setdefault(texts.corpus[document], document)
    others = [document for text, document in first_of.items() if text not in positives]
    # A positive that was not found scores less than whatever was.
    positive = scores.get(pair.document, min(scores.values()))
    highest = positive - (1 - SHARE) * abs(positive)
    below = [document for document in others if scores[document] <= highest]
    return [*below, *(document for document in reversed(others) if scores[document] > highest)]
