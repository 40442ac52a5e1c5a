"""Labels as rows with named columns: CSV files, data frames, rows of Ragas and LangSmith, pairs to train on.

    query               documents
    question            reference_contexts (texts), reference_context_ids (ids)      Ragas: user_input
    inputs.question     outputs.doc_ids                                              LangSmith's CSV
    anchor              positive                                                     sentence-transformers

Columns are found by these names, or named by the caller. Nothing here imports what made the rows.
"""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nudge_integrations.dataset.beir import grade_of
from nudge_integrations.dataset.files import Parts, read_json_list, read_jsonl, read_text
from nudge_integrations.dataset.records import collected
from nudge_integrations.errors import DatasetError

__all__ = ["TABLES", "is_table", "parts_from_table"]

TABLES = (".csv", ".tsv", ".jsonl")

_QUERY = ("query", "question", "user_input", "anchor")
_IDS = ("doc_ids", "document_ids", "reference_context_ids")
_TEXTS = ("reference_contexts", "passage", "document", "documents", "positive")
_PARTS = ("inputs", "outputs")  # of a LangSmith example, also as the beginning of a column's name
_LONGEST_CELL = 1 << 28  # characters; Python's own limit of 131,072 is below that of many contexts

Row = tuple[str, Mapping[str, Any]]


def is_table(source: Any) -> bool:
    """Say whether something is a table: a data frame, or rows that are mappings.

    Example:
        >>> is_table([{"question": "who purrs?", "passage": "cats purr"}]), is_table([("who purrs?", "cats purr")])
        (True, False)
    """
    if any(callable(getattr(source, name, None)) for name in ("to_dicts", "to_pylist", "to_list")):
        return True
    if hasattr(source, "columns") and callable(getattr(source, "to_dict", None)):
        return True
    return isinstance(source, list | tuple) and bool(source) and isinstance(source[0], Mapping)


def parts_from_table(
    table: Any,
    query: str | None,
    documents: str | None,
    query_id: str | None,
    grade: str | None,
    corpus: Mapping[str, str] | None,
) -> Parts:
    """Collect the rows of a table; see ``RetrievalDataset.from_table``."""
    rows = [(where, _flat(row)) for where, row in _rows_of(table)]
    if not rows:
        raise DatasetError("the table has no rows; expected one a query and the documents that answer it")
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    asked = _column(names, query, _QUERY, "query")
    answers = _column(names, documents, _IDS if corpus is not None else _TEXTS, "documents")
    if corpus is None and _bare(answers) in _IDS:
        raise DatasetError(f"column {answers!r} names documents by id: give corpus=, document id to text")
    others = {name: _column(names, name, (), "") for name in (query_id, grade) if name is not None}

    def read() -> Iterator[tuple[str, str | None, Any, Any]]:
        for where, row in rows:
            found = _answers(_cell(row, answers, where))
            if grade is not None:
                if not isinstance(found, str):
                    raise DatasetError(f"{where}: a grade is of one document a row; found {found!r}")
                found = {found: grade_of(_cell(row, others[grade], where), where)}
            identifier = None if query_id is None else str(_cell(row, others[query_id], where))
            yield where, identifier, _cell(row, asked, where), found

    return collected(read(), corpus, several_rows=True)


def _rows_of(table: Any) -> Iterator[Row]:
    if isinstance(table, str | Path):
        yield from _rows_of_file(Path(table))
        return
    for read in ("to_dicts", "to_pylist", "to_list"):  # polars, pyarrow, Ragas
        if callable(getattr(table, read, None)):
            table = getattr(table, read)()
            break
    if hasattr(table, "columns") and callable(getattr(table, "to_dict", None)):  # pandas
        table = table.to_dict("records")
    if not isinstance(table, Iterable):
        raise DatasetError(f"a {type(table).__name__} is no table; expected rows, a data frame or the path of a file")
    for number, row in enumerate(table):
        if not isinstance(row, Mapping):
            raise DatasetError(f"row {number} is {str(row)[:80]!r}, expected a mapping from column to value")
        yield f"row {number}", row


def _rows_of_file(path: Path) -> Iterator[Row]:
    if path.suffix == ".jsonl":
        yield from read_jsonl(path)
    elif path.suffix == ".json":
        yield from _rows_of(read_json_list(path, "rows"))
    elif path.suffix in (".csv", ".tsv"):
        yield from _csv_rows(path)
    else:
        raise DatasetError(f"{path} is no table: its name must end in .csv, .tsv, .jsonl or .json")


def _csv_rows(path: Path) -> Iterator[Row]:
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        lines = csv.reader(
            io.StringIO(read_text(path), newline=""), delimiter="\t" if path.suffix == ".tsv" else ",", strict=True
        )
        header = [name.strip() for name in next(lines, [])]
        if len(set(header)) < len(header):
            raise DatasetError(f"{path}: two columns have one name: {', '.join(header)}")
        for cells in lines:
            where = f"{path}:{lines.line_num}"
            if cells and len(cells) != len(header):
                raise DatasetError(f"{where}: {len(cells)} cells, and the header names {len(header)} columns")
            if cells:
                yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DatasetError(f"{path} is no table of comma- or tab-separated values: {error}") from error
    finally:
        csv.field_size_limit(before)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the fields of ``inputs`` and ``outputs``, which LangSmith nests, as columns of their own."""
    flat = {str(name): value for name, value in row.items()}
    for part in _PARTS:
        fields = _parsed(flat.get(part))
        if isinstance(fields, Mapping):
            flat.pop(part)
            flat |= {f"{part}.{name}": value for name, value in fields.items()}
    return flat


def _bare(name: str) -> str:
    """Return a column's name without LangSmith's prefix, as in ``inputs.question`` or ``input_question``."""
    for part in (*_PARTS, "input", "output"):
        for mark in (".", "_"):
            if name.startswith(part + mark):
                return name[len(part) + 1 :]
    return name


def _column(names: list[str], asked: str | None, known: tuple[str, ...], what: str) -> str:
    wanted = known if asked is None else (asked,)
    found = [name for name in names if name in wanted] or [name for name in names if _bare(name) in wanted]
    if len(found) == 1:
        return found[0]
    if asked is not None:
        raise DatasetError(f"there is no column {asked!r}; the table has {', '.join(map(repr, names))}")
    several = f"columns {', '.join(map(repr, found))} may all hold" if found else "no column is known to hold"
    raise DatasetError(
        f"{several} the {what}; name it with {what}=, one of {', '.join(map(repr, names))} "
        f"(known are {', '.join(known)})"
    )


def _cell(row: Mapping[str, Any], name: str, where: str) -> Any:
    value = row.get(name)
    if value is None:
        raise DatasetError(f"{where}: column {name!r} is empty")
    return value


def _answers(cell: Any) -> Any:
    """Return what a cell names: a text, several, or grades; a list that was written out is read back."""
    parsed = _parsed(cell)
    if isinstance(parsed, list) and parsed and all(isinstance(one, str) for one in parsed):
        return parsed
    if isinstance(parsed, Mapping) and parsed and all(isinstance(one, int | float) for one in parsed.values()):
        return parsed
    return cell


def _parsed(cell: Any) -> Any:
    """Return a list or a mapping that was written into a cell, as JSON or as Python writes it; else the cell."""
    if not isinstance(cell, str) or cell[:1] not in ("[", "{"):
        return cell
    for read in (json.loads, ast.literal_eval):
        try:
            return read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return cell
