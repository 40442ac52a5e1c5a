"""Files of a dataset: LlamaIndex question-answer JSON, and what all formats share; ``beir`` reads BEIR folders.

Files become plain ``(corpus, queries, qrels)`` dictionaries and back; ``RetrievalDataset`` checks what they mean.
Every write goes to a name beside the target and is then renamed, so that a reader sees the old file or the new one.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from itertools import chain
from pathlib import Path
from typing import Any

from nudge_integrations.errors import DatasetError
from nudge_integrations.storage import read_regular, write_atomically

__all__ = [
    "Judgements",
    "Parts",
    "Texts",
    "add_judgement",
    "holds_list",
    "parse_question_answer",
    "plain_grade",
    "question_answer_json",
    "read_json",
    "read_json_list",
    "read_jsonl",
    "read_question_answer_json",
    "read_text",
    "read_texts",
    "warn_of_repeats",
    "write_question_answer_json",
]

logger = logging.getLogger(__name__)

# Files are read whole; the largest public corpora of passages are below this.
_LARGEST = 4 << 30

Texts = dict[str, str]
Judgements = dict[str, dict[str, float]]
Parts = tuple[Texts, Texts, Judgements]


def add_judgement(qrels: Judgements, query_id: str, document_id: str, grade: float, where: str) -> bool:
    """Record one judgement; a contradiction is an error.

    Returns:
        Whether the same judgement had been made before: it is then kept once.

    Raises:
        DatasetError: The pair was judged before with another grade.
    """
    judged = qrels.setdefault(query_id, {})
    if document_id not in judged:
        judged[document_id] = grade
        return False
    if judged[document_id] != grade:
        raise DatasetError(
            f"{where}: query {query_id!r} judges document {document_id!r} twice, with grades {judged[document_id]} and "
            f"{grade}; keep one of the two"
        )
    return True


def warn_of_repeats(count: int, where: str) -> None:
    """Log how many judgements were made more than once, if any."""
    if count:
        logger.warning("%s: %d judgements are repeated with the same grade; each is counted once", where, count)


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Raises:
        DatasetError: The file is absent, unreadable or not UTF-8.
    """
    try:
        return read_regular(path, most=_LARGEST).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DatasetError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as UTF-8 text: {error}") from error


def _unique_keys(where: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """Build the JSON hook that refuses an id given twice, where the standard reader keeps the last one in silence."""

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) != len(pairs):
            [(repeated, _)] = Counter(key for key, _ in pairs).most_common(1)
            raise DatasetError(f"{where}: id {repeated!r} appears twice in one JSON object; every id must be unique")
        return built

    return build


def _parse_json(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique_keys(where))
    except DatasetError:
        raise
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where}: not valid JSON: {error}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file in which no object has a key twice.

    Raises:
        DatasetError: The file is absent, or no such JSON.
    """
    return _parse_json(read_text(path), str(path))


def read_json_list(path: Path, things: str) -> list[Any]:
    """Read a JSON file that holds a list.

    Args:
        path: The file.
        things: What the list is of, for messages.

    Raises:
        DatasetError: The file is absent, no such JSON, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise DatasetError(f"{path} holds a JSON {type(content).__name__}, expected a list of {things}")
    return content


def holds_list(path: Path) -> bool:
    """Say whether a JSON file holds a list, as far as its first character tells."""
    return path.exists() and read_text(path).lstrip().startswith("[")


def read_question_answer_json(path: Path) -> Parts:
    """Read the JSON that LlamaIndex's ``EmbeddingQAFinetuneDataset.save_json`` writes."""
    data = read_json(path)
    if not isinstance(data, Mapping):
        raise DatasetError(
            f"{path} holds a JSON {type(data).__name__}, expected an object with queries, corpus, relevant_docs"
        )
    return parse_question_answer(data, str(path))


def parse_question_answer(source: Any, where: str) -> Parts:
    """Take ``queries``, ``corpus``, ``relevant_docs`` and, where given, ``relevance`` of a mapping or object apart."""
    keys = ("queries", "corpus", "relevant_docs", "relevance")
    data: Mapping[str, Any] = (
        source if isinstance(source, Mapping) else {key: getattr(source, key, None) for key in keys}
    )
    if hasattr(source, "queries_ids") and hasattr(source, "corpus_ids"):
        # sentence-transformers' InformationRetrievalEvaluator: texts in the order of their ids.
        queries = dict(zip(source.queries_ids, source.queries, strict=True))
        labels = {query: source.relevant_docs[query] for query in queries}
        corpus = dict(zip(source.corpus_ids, source.corpus, strict=True))
        data = {"queries": queries, "corpus": corpus, "relevant_docs": labels}
    missing = [key for key in ("queries", "corpus", "relevant_docs") if not isinstance(data.get(key), Mapping)]
    if missing:
        found = f"{', '.join(map(repr, sorted(data)[:5]))}{', ...' if len(data) > 5 else ''}"
        raise DatasetError(f"{where}: no object {' and no object '.join(map(repr, missing))}; found the keys {found}")
    qrels: Judgements = {}
    repeats = 0
    for query_id, document_ids in data["relevant_docs"].items():
        if not isinstance(document_ids, list | tuple | Set) or not all(
            isinstance(identifier, str) for identifier in document_ids
        ):
            raise DatasetError(
                f"{where}: relevant_docs of query {query_id!r} is {document_ids!r}, expected a list or a set of "
                "document ids"
            )
        qrels[query_id] = {}
        repeats += sum(
            add_judgement(qrels, query_id, document_id, 1.0, where) for document_id in _ordered(document_ids)
        )
    warn_of_repeats(repeats, where)
    return dict(data["corpus"]), dict(data["queries"]), _with_grades(qrels, data.get("relevance"), where)


def _ordered(document_ids: Collection[str]) -> Collection[str]:
    # A set of texts has another order in every process.
    return sorted(document_ids) if isinstance(document_ids, Set) else document_ids


def _with_grades(qrels: Judgements, graded: Any, where: str) -> Judgements:
    """Replace binary judgements by the graded ones of the extra key, which must name the same relevant documents."""
    if graded is None:
        return qrels
    if not isinstance(graded, Mapping) or not all(isinstance(grades, Mapping) for grades in graded.values()):
        raise DatasetError(f"{where}: 'relevance' must map each query id to an object of document ids and grades")
    for query_id, grades in graded.items():
        relevant = {document_id for document_id, grade in grades.items() if not _is_at_most_0(grade)}
        if relevant != set(qrels.get(query_id, ())):
            raise DatasetError(
                f"{where}: 'relevance' and 'relevant_docs' of query {query_id!r} name different relevant documents; "
                "correct one, or delete 'relevance' to read every listed document as equally relevant"
            )
    return {query_id: dict(graded.get(query_id, judged)) for query_id, judged in (qrels | dict(graded)).items()}


def _is_at_most_0(grade: Any) -> bool:
    return isinstance(grade, int | float) and grade <= 0


def question_answer_json(
    corpus: Mapping[str, str], queries: Mapping[str, str], qrels: Mapping[str, Mapping[str, float]]
) -> str:
    """Serialise as ``EmbeddingQAFinetuneDataset.save_json`` does; grades that are not all 1 go to an extra key."""
    data: dict[str, Any] = {
        "queries": dict(queries),
        "corpus": dict(corpus),
        "relevant_docs": {q: [d for d, grade in judged.items() if grade > 0] for q, judged in qrels.items()},
        "mode": "text",
    }
    if any(grade != 1 for judged in qrels.values() for grade in judged.values()):
        data["relevance"] = {q: {d: plain_grade(grade) for d, grade in judged.items()} for q, judged in qrels.items()}
    return json.dumps(data, indent=4)


def write_question_answer_json(
    path: Path, corpus: Mapping[str, str], queries: Mapping[str, str], qrels: Mapping[str, Mapping[str, float]]
) -> None:
    """Write the same to a file, which appears whole or not at all."""
    write_atomically(path, [question_answer_json(corpus, queries, qrels)])


def plain_grade(grade: float) -> float | int:
    """Write 2.0 as 2, the form in which qrels are exchanged."""
    return int(grade) if grade.is_integer() else grade


def read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``(where, record)`` for each line that is not blank."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            where = f"{path}:{number}"
            record = _parse_json(line, where)
            if not isinstance(record, dict):
                raise DatasetError(f"{where}: expected a JSON object, found {line[:60]!r}")
            yield where, record


def read_texts(*paths: Path) -> Texts:
    """Read ``_id`` (or ``id``), ``text`` and, where given, ``title`` of each line; the title goes before the text."""
    texts: Texts = {}
    for where, record in chain.from_iterable(map(read_jsonl, paths)):
        identifier = record.get("_id", record.get("id"))
        title, text = record.get("title") or "", record.get("text")
        if not isinstance(identifier, str | int) or not isinstance(text, str) or not isinstance(title, str):
            raise DatasetError(f"{where}: expected '_id' and 'text', both text; found the keys {sorted(record)}")
        identifier = str(identifier)
        if identifier in texts:
            raise DatasetError(f"{where}: id {identifier!r} appears twice; every id must be unique")
        texts[identifier] = f"{title} {text}" if title and text else title or text
    return texts
