"""Datasets in files of several forms, told apart by what a path is called.

beir        a folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv, or the same in parts: corpus/*.jsonl, ...
qa          NAME.json: LlamaIndex's question-answer JSON
langsmith   NAME.jsonl: exported examples, {"inputs": {"question": ...}, "outputs": {"doc_ids": [...]}} a line, or a
            JSON list of such; they name documents by id, so their texts come from elsewhere
table       NAME.csv, NAME.tsv, or rows in NAME.jsonl or a JSON list: named columns, as of Ragas; can only be read
feedback    a log of feedback in any form that `read_feedback` knows: it can only be read, by `nudge feedback`
qrels       NAME.qrels: TREC's four columns, for trec_eval and ir_measures; labels alone, so it can only be written
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.beir import read_corpus as read_beir_corpus
from nudge_integrations.dataset.files import holds_list, read_json, read_json_list, read_jsonl, read_texts
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.evaluation.run_files import column
from nudge_integrations.feedback import is_feedback
from nudge_integrations.storage import write_atomically

__all__ = ["FORMS", "ExampleKeys", "form_of", "read_corpus", "read_dataset", "refuse_feedback", "write_dataset"]

FORMS = ("beir", "qa", "langsmith", "table", "feedback", "qrels")


@dataclass(frozen=True)
class ExampleKeys:
    """Where a LangSmith example, or a row of a table, has the question and the documents; None for the usual names."""

    question: str | None = None
    doc_ids: str | None = None


def form_of(path: Path, form: str | None = None) -> str:
    """Name the form of a file or folder, which may be absent.

    Args:
        path: Whose name, or whose content where there is some, says which form it is.
        form: One of `FORMS`, which then stands; None to look.

    Raises:
        InputError: If there is no such form.

    Example:
        >>> form_of(Path("labels.jsonl")), form_of(Path("scifact"))
        ('langsmith', 'beir')
    """
    if form is not None and form not in FORMS:
        raise InputError(f"there is no form {form!r}; expected one of {', '.join(FORMS)}")
    if form is not None:
        return form
    if path.suffix == ".json" and not (path.is_file() and holds_list(path)):
        return "qa"
    if path.suffix in (".json", ".jsonl"):
        first = next(iter(_examples(path)), None) if path.is_file() else None
        if isinstance(first, dict) and is_feedback(first):
            return "feedback"
        return "langsmith" if first is None or (isinstance(first, dict) and "inputs" in first) else "table"
    named = {".qrels": "qrels", ".csv": "table", ".tsv": "table"}
    return named.get(path.suffix, "qa" if path.is_file() else "beir")


def read_dataset(
    path: Path, form: str, *, split: str = "test", corpus: Path | None = None, keys: ExampleKeys | None = None
) -> RetrievalDataset:
    """Read a dataset.

    Args:
        path: The file or folder.
        form: One of `FORMS`.
        split: Which qrels of a BEIR folder.
        corpus: What holds the documents that LangSmith examples or rows of a table name by id, as for `read_corpus`.
        keys: Where an example or a row holds what.

    Raises:
        DatasetError: If it cannot be read.
        InputError: If it is of a form that cannot be read, or the documents are missing.
    """
    if not path.exists():
        raise DatasetError(
            f"{path} does not exist; expected a BEIR folder, a question-answer JSON, LangSmith examples or a table"
        )
    if form == "beir":
        return RetrievalDataset.from_beir(path, split)
    if form == "qa":
        return RetrievalDataset.from_json(path)
    if form == "qrels":
        raise InputError(f"{path} holds labels without texts, so it can only be written; read a BEIR folder or a JSON")
    refuse_feedback(path, form)
    keys, documents = keys or ExampleKeys(), None if corpus is None else read_corpus(corpus)
    if form == "table":
        return RetrievalDataset.from_table(path, query=keys.question, documents=keys.doc_ids, corpus=documents)
    if documents is None:
        raise InputError(f"{path} names documents by id: say where their texts are with nudge convert --corpus")
    question, doc_ids = keys.question or "question", keys.doc_ids or "doc_ids"
    return RetrievalDataset.from_langsmith(
        _examples(path), corpus=documents, question_key=question, doc_ids_key=doc_ids
    )


def refuse_feedback(path: Path, form: str) -> None:
    """Refuse a log of feedback where labels are expected.

    Raises:
        InputError: If the form is that of one.
    """
    if form == "feedback":
        raise InputError(
            f"{path} is a log of feedback: make labels of it with nudge feedback convert {path} --corpus DOCUMENTS "
            "--output LABELS, which keeps what each of them counts"
        )


def read_corpus(path: Path) -> dict[str, str]:
    """Read documents alone: of a BEIR folder, of its ``corpus.jsonl`` or another such file, or of a JSON.

    A JSON is question-answer pairs, or ``{id: text}``.

    Raises:
        DatasetError: If they cannot be read.
    """
    if path.is_dir():
        return read_beir_corpus(path)
    if path.suffix == ".jsonl":
        return read_texts(path)
    data = read_json(path)
    if isinstance(data, dict) and all(isinstance(text, str) for text in data.values()):
        return data
    return dict(RetrievalDataset.from_json(path).corpus)


def write_dataset(
    dataset: RetrievalDataset, path: Path, form: str, *, split: str = "test", keys: ExampleKeys | None = None
) -> None:
    """Write a dataset; the file appears whole or not at all.

    Raises:
        DatasetError: If the form has no way to write it.
    """
    if form == "beir":
        dataset.to_beir(path, split)
    elif form == "qa":
        dataset.to_json(path)
    elif form in ("table", "feedback"):
        raise InputError(f"{path}: such files can only be read; write a BEIR folder, a .json, a .jsonl or a .qrels")
    else:
        write_atomically(path, [_qrels(dataset) if form == "qrels" else _example_lines(dataset, keys or ExampleKeys())])


def _examples(path: Path) -> list[Any]:
    if path.suffix == ".jsonl":
        return [record for _, record in read_jsonl(path)]
    return read_json_list(path, "examples")


def _example_lines(dataset: RetrievalDataset, keys: ExampleKeys) -> str:
    lines = []
    for query, text in dataset.queries.items():
        grades = dataset.qrels.get(query, {})
        binary = all(grade == 1 for grade in grades.values())
        example = {
            "id": query,
            "inputs": {keys.question or "question": text},
            "outputs": {keys.doc_ids or "doc_ids": list(grades) if binary else dict(grades)},
        }
        lines.append(json.dumps(example) + "\n")
    return "".join(lines)


def _qrels(dataset: RetrievalDataset) -> str:
    lines = []
    for query, grades in dataset.qrels.items():
        for document, grade in grades.items():
            if not grade.is_integer():
                raise DatasetError(f"query {query!r}: TREC's grades are whole numbers, and {grade} is none")
            lines.append(f"{column(query)} 0 {column(document)} {int(grade)}\n")
    return "".join(lines)
