"""Problems of a dataset whose types are right, and a repair that leaves them out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nudge_integrations.corpus.texts import whole
from nudge_integrations.dataset.content import groups_of_equal_text
from nudge_integrations.errors import DatasetError

__all__ = ["ValidationReport", "checked_qrels", "checked_texts", "inspect", "repair"]

Pair = tuple[str, str]

# How many ids a report names before it only counts.
NAMED = 5


@dataclass(frozen=True)
class ValidationReport:
    """The problems of a dataset, each with the ids concerned.

    Args:
        queries: Number of queries looked at.
        documents: Number of documents looked at.
        queries_without_relevant: Queries for which no document of the corpus, with a text, has a grade above 0, nor one
            below 0, which says what does not answer them.
        unknown_documents: (query id, document id) of judgements of a document that the corpus does not hold.
        unknown_queries: Query ids that have judgements and no text.
        empty_queries: Queries whose text is empty or blank.
        empty_documents: Documents whose text is empty or blank.
        broken_queries: Queries whose text holds half a character (a lone surrogate), which no file or tokenizer takes.
        broken_documents: Documents whose text does. A repair puts U+FFFD in its place and leaves nothing out.
        negative_grades: (query id, document id) of judgements with a grade below 0. A note and no problem: these are
            noes, "this does not answer it".
        duplicate_texts: Ids of documents that share one text, group by group. A note and no problem: such documents
            have one vector between them, and what looks vectors up by text cannot tell them apart.
        repeated_queries: Ids of queries that share one text, group by group, after Unicode (NFKC) and white-space
            normalisation. A note and no problem: leave-one-out leaves them out together, see ``query_groups``.

    Example:
        >>> from nudge_integrations.dataset import RetrievalDataset
        >>> report = RetrievalDataset({"d": "text"}, {"q": "?"}, {"q": {"x": 1}}).validate()
        >>> report.ok, report.unknown_documents, report.queries_without_relevant
        (False, (('q', 'x'),), ('q',))
    """

    queries: int
    documents: int
    queries_without_relevant: tuple[str, ...] = ()
    unknown_documents: tuple[Pair, ...] = ()
    unknown_queries: tuple[str, ...] = ()
    empty_queries: tuple[str, ...] = ()
    empty_documents: tuple[str, ...] = ()
    broken_queries: tuple[str, ...] = ()
    broken_documents: tuple[str, ...] = ()
    negative_grades: tuple[Pair, ...] = ()
    duplicate_texts: tuple[tuple[str, ...], ...] = ()
    repeated_queries: tuple[tuple[str, ...], ...] = ()

    @property
    def problems(self) -> dict[str, tuple[str, ...] | tuple[Pair, ...]]:
        """The kinds of problem that were found, in words, each with the ids concerned."""
        found: dict[str, tuple[str, ...] | tuple[Pair, ...]] = {
            "queries with no relevant document": self.queries_without_relevant,
            "judgements of a document that the corpus does not hold": self.unknown_documents,
            "judged queries that have no text": self.unknown_queries,
            "queries with an empty text": self.empty_queries,
            "documents with an empty text": self.empty_documents,
            "queries whose text holds half a character": self.broken_queries,
            "documents whose text holds half a character": self.broken_documents,
        }
        return {words: ids for words, ids in found.items() if ids}

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    def raise_for_problems(self) -> None:
        """Do nothing if all is well.

        Raises:
            DatasetError: A problem was found; the message is the report, with the way to repair it.
        """
        if not self.ok:
            raise DatasetError(
                f"{self}\nCorrect the data, or leave these out with `dataset, report = dataset.repaired()`."
            )

    def __str__(self) -> str:
        size = f"{self.queries:,} queries, {self.documents:,} documents"
        lines = [f"{size}: {'no problem found' if self.ok else 'problems found'}"]
        lines += [f"  {words}: {_named(ids)}" for words, ids in self.problems.items()]
        if self.negative_grades:
            lines.append(f"  note, judgements that say no (a grade below 0): {_named(self.negative_grades)}")
        if self.duplicate_texts:
            lines.append(f"  note, texts that several documents share: {_named(self.duplicate_texts)}")
        if self.repeated_queries:
            lines.append(f"  note, texts that several queries share: {_named(self.repeated_queries)}")
        return "\n".join(lines)


def _named(ids: tuple[Any, ...]) -> str:
    """Count ids and name the first few."""
    named = ", ".join(
        repr(i) if isinstance(i, str) else "(" + ", ".join(map(repr, i[:NAMED])) + ")" for i in ids[:NAMED]
    )
    return f"{len(ids):,}: {named}{', ...' if len(ids) > NAMED else ''}"


def checked_texts(texts: Mapping[str, str], what: str) -> dict[str, str]:
    """Copy a mapping of ids to texts.

    Raises:
        DatasetError: Not a mapping, or an id or a text that is not a string.
    """
    if not isinstance(texts, Mapping):
        raise DatasetError(f"{what} is a {type(texts).__name__}, expected a mapping from id to text")
    for identifier, text in texts.items():
        if not isinstance(identifier, str):
            raise DatasetError(
                f"{what}: id {identifier!r} is a {type(identifier).__name__}, expected text; use str(id)"
            )
        if not isinstance(text, str):
            raise DatasetError(
                f"{what}: the text of {identifier!r} is a {type(text).__name__}, expected text: {text!r}"
            )
    return dict(texts)


def checked_qrels(qrels: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Copy judgements with their grades as floats.

    Raises:
        DatasetError: Not a mapping of mappings, an id that is not a string, or a grade that is not a finite number.
    """
    if not isinstance(qrels, Mapping):
        raise DatasetError(
            f"qrels is a {type(qrels).__name__}, expected a mapping from query id to {{document id: grade}}"
        )
    copied: dict[str, dict[str, float]] = {}
    for query_id, grades in qrels.items():
        if not isinstance(query_id, str) or not isinstance(grades, Mapping):
            raise DatasetError(
                f"qrels of query {query_id!r}: expected a text id and {{document id: grade}}, found {grades!r}; "
                "RetrievalDataset.from_records takes lists of ids"
            )
        copied[query_id] = {document_id: _grade(query_id, document_id, grade) for document_id, grade in grades.items()}
    return copied


def _grade(query_id: str, document_id: str, grade: Any) -> float:
    if not isinstance(document_id, str):
        raise DatasetError(f"qrels of query {query_id!r}: document id {document_id!r} is not text; use str(id)")
    try:
        number = float(grade)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"query {query_id!r}, document {document_id!r}: grade {grade!r} is not a number") from error
    if isinstance(grade, str) or not math.isfinite(number):
        raise DatasetError(
            f"query {query_id!r}, document {document_id!r}: grade {grade!r}, expected a finite number >= 0"
        )
    return number


def inspect(
    corpus: Mapping[str, str], queries: Mapping[str, str], qrels: Mapping[str, Mapping[str, float]]
) -> ValidationReport:
    """Find every problem; see ``ValidationReport`` for what counts as one."""
    empty_documents = tuple(identifier for identifier, text in corpus.items() if not text.strip())
    answering = corpus.keys() - set(empty_documents)
    judgements = [(q, d, grade) for q, grades in qrels.items() for d, grade in grades.items()]
    with_relevant = {q for q, d, grade in judgements if grade != 0 and d in answering}
    same_text: dict[str, list[str]] = {}
    for identifier, text in corpus.items():
        same_text.setdefault(text, []).append(identifier)
    repeated: dict[int, list[str]] = {}
    for identifier, group in zip(queries, groups_of_equal_text(queries), strict=True):
        repeated.setdefault(group, []).append(identifier)
    return ValidationReport(
        queries=len(queries),
        documents=len(corpus),
        queries_without_relevant=tuple(q for q in queries if q not in with_relevant),
        unknown_documents=tuple((q, d) for q, d, _ in judgements if d not in corpus),
        unknown_queries=tuple(q for q in qrels if q not in queries),
        empty_queries=tuple(q for q, text in queries.items() if not text.strip()),
        empty_documents=empty_documents,
        broken_queries=tuple(q for q, text in queries.items() if whole(text) != text),
        broken_documents=tuple(d for d, text in corpus.items() if whole(text) != text),
        negative_grades=tuple((q, d) for q, d, grade in judgements if grade < 0),
        duplicate_texts=tuple(tuple(ids) for text, ids in same_text.items() if len(ids) > 1 and text.strip()),
        repeated_queries=tuple(tuple(ids) for ids in repeated.values() if len(ids) > 1),
    )


def repair(
    corpus: Mapping[str, str],
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, float]],
    report: ValidationReport,
) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, float]]]:
    """Leave out what the report names, each with all that hangs on it; half a character becomes U+FFFD."""
    documents = {d: whole(text) for d, text in corpus.items() if text.strip()}
    left_out = {*report.queries_without_relevant, *report.empty_queries}
    kept = {q: whole(text) for q, text in queries.items() if q not in left_out}
    judgements = {
        q: {d: grade for d, grade in grades.items() if d in documents} for q, grades in qrels.items() if q in kept
    }
    return documents, kept, judgements
