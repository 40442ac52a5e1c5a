"""BEIR folders, with their relevance labels (qrels) in the forms in which they are handed around."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nudge_integrations.dataset.files import (
    Judgements,
    Parts,
    Texts,
    add_judgement,
    plain_grade,
    read_jsonl,
    read_text,
    read_texts,
    warn_of_repeats,
)
from nudge_integrations.errors import DatasetError
from nudge_integrations.storage import write_atomically

__all__ = ["grade_of", "has_split", "read_beir", "read_corpus", "read_queries", "write_beir"]

_SUFFIXES = (".tsv", ".jsonl", ".qrels", ".txt")
_PART = re.compile(r"-[0-9]{5}-of-[0-9]{5}$")  # as in test-00000-of-00002
_COLUMNS = ("query-id", "corpus-id", "score")
# Other names of the columns in headers and records, with "_" written as "-".
_SAME = {
    **dict.fromkeys(("qid", "query", "queryid"), "query-id"),
    **dict.fromkeys(("doc-id", "docid", "did", "pid", "document-id", "passage-id", "corpusid"), "corpus-id"),
    **dict.fromkeys(("grade", "label", "rel", "relevance"), "score"),
}
# Python's float() also takes 1_0 for ten, and digits of other scripts.
# What is not finite is refused where grades are checked.
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*|\s*[+-]?(nan|inf)\s*")


def has_split(directory: Path, split: str) -> bool:
    """Say whether a folder has labels of a split, in any form that is read."""
    return bool(_qrels_files(directory, split))


def _qrels_files(directory: Path, split: str) -> list[Path]:
    """Find the labels of a split: ``qrels/<split>`` with .tsv, .jsonl, .qrels or .txt, or the parts of such a file."""
    found = _label_files(directory)
    whole = [path for suffix in _SUFFIXES for path in found if path.name == split + suffix]
    return whole[:1] or [path for path in found if _split_of(path) == split]


def _label_files(directory: Path) -> list[Path]:
    return sorted(path for path in (directory / "qrels").glob("*.*") if path.suffix in _SUFFIXES)


def _split_of(path: Path) -> str:
    return _PART.sub("", path.stem)


def _texts_files(directory: Path, name: str) -> list[Path]:
    """Find ``corpus.jsonl`` or, as the hub lays it out, the parts ``corpus/*.jsonl``; likewise for queries.

    Raises:
        DatasetError: If there are only files of another format.
    """
    whole, folder = directory / f"{name}.jsonl", directory / name
    if whole.exists() or not folder.is_dir():
        return [whole]
    parts = sorted(folder.glob("*.jsonl"))
    if not parts:
        others = sorted(path.name for path in folder.iterdir())
        raise DatasetError(
            f"{folder} holds no .jsonl file, only {', '.join(others[:5]) or 'nothing'}: write its table as JSON lines "
            "(in pandas: to_json(..., orient='records', lines=True))"
        )
    return parts


def read_corpus(directory: Path) -> Texts:
    """Read the documents of a folder: ``corpus.jsonl``, or ``corpus/*.jsonl``.

    Raises:
        DatasetError: A file is absent or malformed, or an id is given twice.
    """
    return read_texts(*_texts_files(directory, "corpus"))


def read_queries(directory: Path) -> Texts:
    """Read the queries of all splits of a folder, in their order: ``queries.jsonl``, or ``queries/*.jsonl``.

    Raises:
        DatasetError: A file is absent or malformed, or an id is given twice.
    """
    return read_texts(*_texts_files(directory, "queries"))


def grade_of(score: object, where: str) -> float:
    """Read a grade.

    Raises:
        DatasetError: It is no plain number.
    """
    if isinstance(score, bool) or not _NUMBER.fullmatch(str(score)):
        raise DatasetError(f"{where}: expected a number for score, found {str(score)[:80]!r}")
    return float(str(score))


def _read_qrels(paths: Sequence[Path]) -> Judgements:
    """Read judgements as lines (BEIR or TREC) or as JSON records."""
    qrels: Judgements = {}
    repeats = 0
    for path in paths:
        for where, query_id, document_id, score in (_records if path.suffix == ".jsonl" else _lines)(path):
            repeats += add_judgement(qrels, query_id, document_id, grade_of(score, where), where)
    warn_of_repeats(repeats, str(paths[0]))
    return qrels


def _lines(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Split ``query-id <tab> corpus-id <tab> score`` lines, with or without a header, and TREC's lines of four."""
    order = [0, 1, 2]
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split("\t")
        names = [_column(field) for field in fields]
        if number == 1 and sorted(names) == sorted(_COLUMNS):
            order = [names.index(column) for column in _COLUMNS]
            continue
        trec = line.split()
        if len(fields) == len(_COLUMNS):
            query_id, document_id, score = (fields[place] for place in order)
        elif len(trec) == len(_COLUMNS) + 1 and trec[1] in ("0", "Q0"):
            query_id, _, document_id, score = trec
        else:
            raise DatasetError(
                f"{path}:{number}: expected 'query-id<tab>corpus-id<tab>score', or TREC's 'query-id 0 corpus-id score',"
                f" found {line[:80]!r}"
            )
        yield f"{path}:{number}", query_id, document_id, score


def _records(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Take the three columns out of each JSON record."""
    for where, record in read_jsonl(path):
        fields: Mapping[str, Any] = {_column(name): value for name, value in record.items()}
        query_id, document_id, score = (fields.get(column) for column in _COLUMNS)
        ids = isinstance(query_id, str | int) and isinstance(document_id, str | int)
        if not ids or not isinstance(score, str | int | float):
            raise DatasetError(f"{where}: expected the keys {', '.join(_COLUMNS)}; found {str(record)[:80]}")
        yield where, str(query_id), str(document_id), str(score)


def _column(name: str) -> str:
    plain = name.strip().lower().replace("_", "-")
    return _SAME.get(plain, plain)


def read_beir(directory: Path, split: str) -> Parts:
    """Read one split of a BEIR folder; queries that the split does not judge belong to other splits and stay out."""
    paths = _qrels_files(directory, split)
    if not paths:
        splits = sorted({_split_of(path) for path in _label_files(directory)})
        raise DatasetError(
            f"{directory / 'qrels' / split}.tsv does not exist; splits in this folder: {', '.join(splits) or 'none'}"
        )
    qrels = _read_qrels(paths)
    queries = read_queries(directory)
    judged = {query_id: text for query_id, text in queries.items() if query_id in qrels}
    return read_corpus(directory), judged, qrels


def write_beir(directory: Path, split: str, parts: Parts) -> None:
    """Write one split into a BEIR folder beside the splits that are there, with the judgements last."""
    corpus, queries, qrels = parts
    for identifier in {*qrels, *(document_id for judged in qrels.values() for document_id in judged)}:
        if re.search("[\t\n\r\ud800-\udfff]", identifier):
            raise DatasetError(
                f"id {identifier!r} holds a tab, a line break or half a character; BEIR qrels cannot; rename it"
            )
    known = directory / "corpus.jsonl"
    if (known.exists() or (directory / "corpus").is_dir()) and read_corpus(directory) != corpus:
        raise DatasetError(f"{known} holds another corpus; write to an empty folder")
    asked = _texts_files(directory, "queries")
    kept = read_texts(*asked) if asked[0].exists() else {}
    for query_id in kept.keys() & queries.keys():
        if kept[query_id] != queries[query_id]:
            raise DatasetError(
                f"{directory / 'queries.jsonl'} holds another text for query {query_id!r}; write to an empty folder"
            )
    write_atomically(known, (json.dumps({"_id": i, "title": "", "text": t}) + "\n" for i, t in corpus.items()))
    merged = kept | queries
    write_atomically(directory / "queries.jsonl", (json.dumps({"_id": i, "text": t}) + "\n" for i, t in merged.items()))
    lines = (f"{q}\t{d}\t{plain_grade(grade)}\n" for q, judged in qrels.items() for d, grade in judged.items())
    write_atomically(directory / "qrels" / f"{split}.tsv", ["query-id\tcorpus-id\tscore\n", *lines])
