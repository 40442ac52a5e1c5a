"""Datasets in files of several forms, told apart by what a path is called.

beir        a folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv
qa          NAME.json: LlamaIndex's question-answer JSON
langsmith   NAME.jsonl: exported examples, {"inputs": {"question": ...}, "outputs": {"doc_ids": [...]}} a line, or a
            JSON list of such; they name documents by id, so their texts come from elsewhere
qrels       NAME.qrels: TREC's four columns, for trec_eval and ir_measures; labels alone, so it can only be written
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.files import read_jsonl, read_text, read_texts
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.evaluation.run_files import column
from nudge_integrations.storage import write_atomically

__all__ = ["FORMS", "ExampleKeys", "form_of", "read_corpus", "read_dataset", "read_json_list", "write_dataset"]

FORMS = ("beir", "qa", "langsmith", "qrels")


@dataclass(frozen=True)
class ExampleKeys:
    """Where the question and the document ids are in a LangSmith example."""

    question: str = "question"
    doc_ids: str = "doc_ids"


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
    if path.suffix == ".json":
        return "langsmith" if path.is_file() and read_text(path).lstrip().startswith("[") else "qa"
    return {".jsonl": "langsmith", ".qrels": "qrels"}.get(path.suffix, "qa" if path.is_file() else "beir")


def read_dataset(
    path: Path, form: str, *, split: str = "test", corpus: Path | None = None, keys: ExampleKeys | None = None
) -> RetrievalDataset:
    """Read a dataset.

    Args:
        path: The file or folder.
        form: One of `FORMS`.
        split: Which qrels of a BEIR folder.
        corpus: What holds the documents of LangSmith examples, as for `read_corpus`.
        keys: Where a LangSmith example holds what.

    Raises:
        DatasetError: If it cannot be read.
        InputError: If it is of a form that cannot be read, or the documents are missing.
    """
    if not path.exists():
        raise DatasetError(
            f"{path} does not exist; expected a BEIR folder, a question-answer JSON or LangSmith examples"
        )
    if form == "beir":
        return RetrievalDataset.from_beir(path, split)
    if form == "qa":
        return RetrievalDataset.from_json(path)
    if form == "qrels":
        raise InputError(f"{path} holds labels without texts, so it can only be written; read a BEIR folder or a JSON")
    if corpus is None:
        raise InputError(f"{path} names documents by id: say where their texts are with --corpus")
    keys = keys or ExampleKeys()
    return RetrievalDataset.from_langsmith(
        _examples(path), corpus=read_corpus(corpus), question_key=keys.question, doc_ids_key=keys.doc_ids
    )


def read_corpus(path: Path) -> dict[str, str]:
    """Read documents alone: of a BEIR folder, of its ``corpus.jsonl`` or another such file, or of a JSON.

    Raises:
        DatasetError: If they cannot be read.
    """
    if path.is_dir():
        return read_texts(path / "corpus.jsonl")
    if path.suffix == ".jsonl":
        return read_texts(path)
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
    else:
        write_atomically(path, [_qrels(dataset) if form == "qrels" else _example_lines(dataset, keys or ExampleKeys())])


def _examples(path: Path) -> list[Any]:
    if path.suffix == ".jsonl":
        return [record for _, record in read_jsonl(path)]
    return read_json_list(path, "examples")


def read_json_list(path: Path, things: str) -> list[Any]:
    """Read a JSON file that holds a list.

    Args:
        path: The file.
        things: What the list is of, for messages.

    Raises:
        DatasetError: If the file is absent, no JSON, or holds something else.
    """
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise DatasetError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, list):
        raise DatasetError(f"{path} holds a JSON {type(content).__name__}, expected a list of {things}")
    return content


def _example_lines(dataset: RetrievalDataset, keys: ExampleKeys) -> str:
    lines = []
    for query, text in dataset.queries.items():
        grades = dataset.qrels.get(query, {})
        binary = all(grade == 1 for grade in grades.values())
        example = {
            "id": query,
            "inputs": {keys.question: text},
            "outputs": {keys.doc_ids: list(grades) if binary else dict(grades)},
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
