"""Datasets from what a program holds in memory: records, logged examples, another framework's dataset object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from nudge_integrations.dataset.content import content_id
from nudge_integrations.dataset.files import Judgements, Parts, Texts, add_judgement, warn_of_repeats
from nudge_integrations.errors import DatasetError

__all__ = ["collected", "parts_from_examples", "parts_from_records"]

Answers = str | Iterable[str] | Mapping[str, float]


def parts_from_records(records: Iterable[tuple[str, Answers]], corpus: Mapping[str, str] | None) -> Parts:
    """Collect (query, documents) records; see ``RetrievalDataset.from_records``."""
    return collected(((f"record {row}", None, *_pair(record, row)) for row, record in enumerate(records)), corpus)


def _pair(record: Any, row: int) -> tuple[str, Any]:
    # A mapping would be read as its keys, and a text of two characters as a pair of them.
    if isinstance(record, Mapping | str | bytes | Set):
        raise DatasetError(
            f"record {row} is {record!r}, expected a pair (query, documents); of a table's row give "
            "(row['question'], row['passage']), with the names of its own columns"
        )
    try:
        query, answers = record
    except (TypeError, ValueError) as error:
        raise DatasetError(f"record {row} is {record!r}, expected a pair (query, documents)") from error
    return query, answers


def parts_from_examples(
    examples: Iterable[Any], corpus: Mapping[str, str], question_key: str, doc_ids_key: str
) -> Parts:
    """Collect examples with ``inputs`` and ``outputs``; see ``RetrievalDataset.from_langsmith``."""

    def read() -> Iterable[tuple[str, str | None, Any, Any]]:
        for row, example in enumerate(examples):
            identifier = _field(example, "id")
            where = f"example {row}" if identifier is None else f"example {identifier}"
            question = _value(_field(example, "inputs"), question_key, f"{where}, inputs")
            answers = _value(_field(example, "outputs"), doc_ids_key, f"{where}, outputs")
            yield where, None if identifier is None else str(identifier), question, answers

    return collected(read(), corpus)


def _field(example: Any, name: str) -> Any:
    return example.get(name) if isinstance(example, Mapping) else getattr(example, name, None)


def _value(fields: Any, key: str, where: str) -> Any:
    if not isinstance(fields, Mapping) or key not in fields:
        found = sorted(fields) if isinstance(fields, Mapping) else repr(fields)
        raise DatasetError(f"{where}: no key {key!r}; found {found}; name the key with question_key= or doc_ids_key=")
    return fields[key]


def collected(
    rows: Iterable[tuple[str, str | None, Any, Any]], corpus: Mapping[str, str] | None, *, several_rows: bool = False
) -> Parts:
    """Collect (where, query id or None, query text, answers) rows; a query without an id is named by its text.

    Args:
        rows: The rows.
        corpus: Document id to text; None where documents are texts.
        several_rows: Whether a query with an id may have several rows.

    Raises:
        DatasetError: If a row holds something else, an id has two texts, or a document is not in the corpus.
    """
    documents: Texts = dict(corpus or {})
    by_text = {text: identifier for identifier, text in documents.items()}
    queries: Texts = {}
    qrels: Judgements = {}
    repeats = 0
    for where, identifier, query, answers in rows:
        if not isinstance(query, str):
            raise DatasetError(f"{where}: the query is {query!r}, expected text")
        if identifier is not None and identifier in queries and several_rows and queries[identifier] != query:
            raise DatasetError(f"{where}: id {identifier!r} has two texts; every id must be unique")
        if identifier is not None and identifier in queries and not several_rows:
            raise DatasetError(f"{where}: id {identifier!r} appears twice; every id must be unique")
        query_id = content_id(query) if identifier is None else identifier
        queries[query_id] = query
        qrels.setdefault(query_id, {})
        for named, grade in _graded(answers, where):
            document_id = named if named in documents else by_text.get(named)
            if document_id is None and corpus is not None:
                raise DatasetError(
                    f"{where}: {named[:80]!r} is neither the id nor the text of a document in the corpus"
                )
            if document_id is None:
                document_id = by_text[named] = content_id(named)
                documents[document_id] = named
            repeats += add_judgement(qrels, query_id, document_id, grade, where)
    warn_of_repeats(repeats, "records")
    return documents, queries, qrels


def _graded(answers: Any, where: str) -> list[tuple[str, float]]:
    """Read one id, several ids, or ids with grades."""
    if isinstance(answers, str):
        return [(answers, 1.0)]
    if isinstance(answers, Mapping):
        graded = list(answers.items())
    elif isinstance(answers, Iterable):
        graded = [(named, 1.0) for named in answers]
    else:
        raise DatasetError(f"{where}: the documents are {answers!r}, expected ids, texts or a mapping to grades")
    if not all(isinstance(named, str) for named, _ in graded):
        raise DatasetError(f"{where}: the documents are {answers!r}, expected text for each")
    return graded
