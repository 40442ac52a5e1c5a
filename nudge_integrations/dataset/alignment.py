"""Labels of one corpus read over another: the documents that are really served, and the pieces they were cut into."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from nudge_integrations.dataset.label_weights import LabelWeights, check_queries, weights_of_queries
from nudge_integrations.dataset.retrieval_dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError

__all__ = ["labels_over", "weighted_labels_over"]

logger = logging.getLogger(__name__)


def labels_over(
    dataset: RetrievalDataset, texts: Mapping[str, str], parents: Mapping[str, str] | None = None
) -> RetrievalDataset:
    """Say the same about other documents: those that a framework serves, named by its own ids.

    A judged document is, in this order, the served document with its id, the pieces whose parent has its id, or the
    served documents with its text. Where several judgements meet in one document the highest grade counts. A relevant
    document that is not served, deleted since it was labelled say, is left out, and so is a query that has no other;
    a warning counts both.

    Args:
        dataset: Queries and judgements. Its texts only serve to recognise documents that have another id.
        texts: Id -> text of the documents that are served: the corpus of the result.
        parents: Id of a piece -> id of the document that it was cut from.

    Raises:
        DatasetError: If no relevant document is served, nor any piece of one: these are other documents.

    >>> dataset = RetrievalDataset({"book": "Cats purr. Dogs bark."}, {"q": "who purrs?"}, {"q": {"book": 1}})
    >>> pieces = {"p1": "Cats purr.", "p2": "Dogs bark."}
    >>> dict(labels_over(dataset, pieces, {"p1": "book", "p2": "book"}).qrels["q"])
    {'p1': 1.0, 'p2': 1.0}
    """
    served_as = _ServedIds(texts, parents or {})
    qrels: dict[str, dict[str, float]] = {}
    unknown: list[str] = []
    for query, judged in dataset.qrels.items():
        grades = qrels.setdefault(query, {})
        for document, grade in judged.items():
            found = tuple(served_as(document, dataset.corpus.get(document)))
            if not found and grade > 0:
                unknown.append(document)
            for served in found:
                grades[served] = max(grade, grades.get(served, grade))
    orphaned = {query for query, grades in qrels.items() if not _relevant(grades) and _relevant(dataset.qrels[query])}
    if unknown and not any(_relevant(grades) for grades in qrels.values()):
        raise DatasetError(
            f"document {unknown[0]!r} (of {len(set(unknown))}) answers a query but is not among the "
            f"{len(texts)} documents, by id or by text, and no other that does is: give documents the ids of the "
            "dataset, or name where their parents' ids are"
        )
    if unknown:
        logger.warning(
            "%d relevant documents are not among the %d documents and are left out, with %d queries that have no other "
            "(the first document is %r)",
            *(len(set(unknown)), len(texts), len(orphaned), unknown[0]),
        )
    queries = {query: text for query, text in dataset.queries.items() if query not in orphaned}
    return RetrievalDataset(texts, queries, {query: qrels[query] for query in qrels if query not in orphaned})


def weighted_labels_over(
    dataset: RetrievalDataset,
    weights: LabelWeights | None,
    texts: Mapping[str, str],
    parents: Mapping[str, str] | None = None,
) -> tuple[RetrievalDataset, LabelWeights | None]:
    """Do what `labels_over` does, and say how much the labels count under the names that they have then.

    Raises:
        DatasetError: As `labels_over`.

    >>> dataset = RetrievalDataset({"a": "Cats purr."}, {"q": "who purrs?"}, {"q": {"a": 1}})
    >>> weighted_labels_over(dataset, {"q": {"a": 0.5}}, {"x": "Cats purr."})[1]
    {'q': {'x': 0.5}}
    """
    served = labels_over(dataset, texts, parents)
    if not weights:
        return served, None
    check_queries(weights, dataset)
    served_as, found = _ServedIds(texts, parents or {}), dict[str, float | dict[str, float]]()
    for query, given in weights.items():
        if isinstance(given, Mapping):
            rows: dict[str, float] = {}
            for document, weight in given.items():
                for name in served_as(document, dataset.corpus.get(document)):
                    rows[name] = max(weight, rows.get(name, 0.0))
            found[query] = rows
        else:
            found[query] = given
    return served, weights_of_queries(found, served.queries)


def _relevant(grades: Mapping[str, float]) -> bool:
    return any(grade > 0 for grade in grades.values())


class _ServedIds:
    """Finds what a judged document is called among the served ones."""

    def __init__(self, texts: Mapping[str, str], parents: Mapping[str, str]) -> None:
        self.texts = texts
        self.by_text: dict[str, list[str]] = {}
        self.pieces: dict[str, list[str]] = {}
        for document, text in texts.items():
            self.by_text.setdefault(text, []).append(document)
        for piece, parent in parents.items():
            self.pieces.setdefault(parent, []).append(piece)

    def __call__(self, document: str, text: str | None) -> Iterator[str]:
        if document in self.texts:
            yield document
        elif document in self.pieces:
            yield from self.pieces[document]
        elif text is not None:
            yield from self.by_text.get(text, ())
