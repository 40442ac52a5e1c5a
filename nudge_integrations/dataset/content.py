"""A dataset as content: ids made from texts, one hash of everything, two put together, judgements as a matrix."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nudge_integrations.dataset.files import Parts, Texts, add_judgement
from nudge_integrations.errors import DatasetError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["content_hash", "content_id", "counted", "groups_of_equal_text", "merged", "relevance_matrix", "size"]


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Say how many there are: "1 query", "2,000 documents"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(corpus: Mapping[str, str], queries: Mapping[str, str], qrels: Mapping[str, Mapping[str, float]]) -> str:
    """Say how many documents, queries and judgements there are."""
    judgements = sum(map(len, qrels.values()))
    parts = (
        counted(len(corpus), "document"),
        counted(len(queries), "query", "queries"),
        counted(judgements, "judgement"),
    )
    return ", ".join(parts)


def groups_of_equal_text(texts: Mapping[str, str]) -> tuple[int, ...]:
    """Number the groups of texts that are equal after Unicode (NFKC) and white-space normalisation, in order.

    >>> groups_of_equal_text({"a": "who  purrs?", "b": "", "c": "who purrs? ", "d": " "})
    (0, 1, 0, 2)
    """
    groups: dict[str | int, int] = {}
    found = []
    for row, text in enumerate(texts.values()):
        # Nothing is known about blank texts, such as those of images, so each is a group by itself.
        key = " ".join(unicodedata.normalize("NFKC", text).split()) or row
        found.append(groups.setdefault(key, len(groups)))
    return tuple(found)


def content_id(text: str) -> str:
    """Name a text by its content, so that the same text has the same id in every batch."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def content_hash(
    corpus: Mapping[str, str], queries: Mapping[str, str], qrels: Mapping[str, Mapping[str, float]]
) -> str:
    """Hash all ids, texts and grades, whatever their order."""
    judged = [(f"{len(q)}:{q}{d}", repr(grade)) for q, grades in qrels.items() for d, grade in grades.items()]
    digest = hashlib.sha256()
    for name, pairs in (("corpus", corpus.items()), ("queries", queries.items()), ("qrels", judged)):
        digest.update(f"{name}:{len(pairs)};".encode())
        for key, value in sorted(pairs):
            # Lengths go first, so that no two contents can run together into the same bytes.
            digest.update(f"{len(key)}:{len(value)}:{key}{value}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def merged(mine: Parts, theirs: Parts, on_conflict: str) -> Parts:
    """Unite two datasets; see ``RetrievalDataset.merge``."""
    if on_conflict not in ("raise", "new"):
        raise DatasetError(f"on_conflict is {on_conflict!r}, expected 'raise' or 'new'")
    qrels = {query: dict(judged) for query, judged in mine[2].items()}
    for query, judged in theirs[2].items():
        qrels.setdefault(query, {})
        for document, grade in judged.items():
            if on_conflict == "new":
                qrels[query].pop(document, None)
            add_judgement(qrels, query, document, grade, "merge, without on_conflict='new'")
    return _united(mine[0], theirs[0], "document"), _united(mine[1], theirs[1], "query"), qrels


def _united(mine: Texts, theirs: Texts, what: str) -> Texts:
    clash = next((key for key in theirs if key in mine and mine[key] != theirs[key]), None)
    if clash is not None:
        texts = f"{mine[clash][:80]!r} and {theirs[clash][:80]!r}"
        raise DatasetError(f"merge: {what} {clash!r} has two texts, {texts}; give one of the two another id")
    return mine | theirs


def relevance_matrix(
    corpus: Mapping[str, str],
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, float]],
    query_ids: Sequence[str] | None,
    document_ids: Sequence[str] | None,
    *,
    signed: bool = False,
) -> csr_array:
    """Lay relevant judgements out as (queries, documents) float64; see ``RetrievalDataset.relevance``."""
    from scipy.sparse import csr_array  # a quarter of a second that reading and writing need not pay

    rows = list(queries if query_ids is None else query_ids)
    columns = list(corpus if document_ids is None else document_ids)
    unknown = next((query for query in rows if query not in queries), None)
    if unknown is not None:
        raise DatasetError(f"query {unknown!r} is not in this dataset of {counted(len(queries), 'query', 'queries')}")
    column_of = {document: column for column, document in enumerate(columns)}
    if len(column_of) != len(columns) or len(set(rows)) != len(rows):
        raise DatasetError("query_ids or document_ids name an id twice; each id is one row or column")
    indices: list[int] = []
    grades: list[float] = []
    starts = [0]
    for query in rows:
        for document, grade in qrels.get(query, {}).items():
            if not (grade > 0 or (signed and grade < 0)):
                continue
            if document not in column_of:
                raise DatasetError(
                    f"query {query!r} judges document {document!r}, which is not among the documents; "
                    "see validate(), repaired()"
                )
            indices.append(column_of[document])
            grades.append(grade)
        starts.append(len(indices))
    arrays = np.asarray(grades, np.float64), np.asarray(indices, np.int64), np.asarray(starts, np.int64)
    matrix = csr_array(arrays, shape=(len(rows), len(columns)))
    matrix.sort_indices()
    return matrix
