"""Run files: the documents retrieved for each query. TREC's six columns, or JSON.

TREC: ``query-id Q0 document-id rank score tag``, one document a line, separated by blanks. JSON: an object of query id
to document ids, best first, or to {document id: score}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nudge_integrations.corpus.texts import whole
from nudge_integrations.errors import DatasetError
from nudge_integrations.storage import read_regular, write_atomically

__all__ = ["column", "read_run", "run_text", "write_run"]

# Run files are read whole; a thousand results of each of a million queries are below this.
_LARGEST = 4 << 30


def read_run(path: Path) -> dict[str, Any]:
    """Read a run file of either kind; the content says which it is.

    Documents of equal score keep the order of the file.

    Returns:
        Query id -> document ids, or {document id: score}, as `evaluate` takes it.

    Raises:
        DatasetError: If there is no such file, or it is of neither kind; with its line.
    """
    try:
        text = read_regular(path, most=_LARGEST).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path} does not exist; expected a run file (TREC or JSON) or a folder of nudge fit"
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is no run file: it is not UTF-8 text") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as a run file: {error}") from error
    return _read_json(path, text) if text.lstrip().startswith(("{", "[")) else _read_trec(path, text)


def run_text(run: Mapping[str, Sequence[str]], *, trec: bool) -> str:
    r"""Write a run as TREC or JSON.

    Ranks stand for scores in TREC form, counted from below, so that tools that order equal scores by document id keep
    the order.

    Args:
        run: Query id -> document ids, best first.
        trec: TREC's columns, or JSON.

    Raises:
        DatasetError: If an id holds a blank, which TREC's columns cannot.

    Example:
        >>> run_text({"q1": ["d2", "d1"]}, trec=True)
        'q1 Q0 d2 1 2 nudge\nq1 Q0 d1 2 1 nudge\n'
    """
    if not trec:
        return json.dumps({query: list(results) for query, results in run.items()}) + "\n"
    lines = []
    for query, results in run.items():
        for rank, document in enumerate(results, start=1):
            lines.append(f"{column(query)} Q0 {column(document)} {rank} {len(results) - rank + 1} nudge\n")
    return "".join(lines)


def write_run(run: Mapping[str, Sequence[str]], path: Path) -> None:
    """Write a run: JSON to a name that ends so, TREC's columns to any other; whole or not at all.

    Raises:
        DatasetError: If an id holds a blank, which TREC's columns cannot.
    """
    write_atomically(path, [run_text(run, trec=path.suffix != ".json")])


def column(identifier: str) -> str:
    """Return an id that can be one of TREC's columns.

    Raises:
        DatasetError: If it is empty, or holds a blank or half a character.
    """
    if identifier.split() != [identifier] or whole(identifier) != identifier:
        raise DatasetError(
            f"id {identifier!r} is empty, or holds a blank or half a character, which TREC's columns cannot: "
            "write JSON instead"
        )
    return identifier


def _read_json(path: Path, text: str) -> dict[str, Any]:
    try:
        run = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is no run file: it is not valid JSON: {error}") from error
    if not isinstance(run, dict) or not all(isinstance(results, list | dict) for results in run.values()):
        raise DatasetError(
            f"{path} is no run file: expected an object of query id to document ids or to {{document id: score}}"
        )
    return run


def _read_trec(path: Path, text: str) -> dict[str, Any]:
    run: dict[str, Any] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        columns = line.split()
        if not columns:
            continue
        try:
            query, _, document, _, score, _ = columns
            value = float(score)
        except ValueError as error:
            raise DatasetError(
                f"{path}:{number}: expected 'query-id Q0 document-id rank score tag', found {line[:80]!r}"
            ) from error
        results = run.setdefault(query, {})
        if document in results:
            raise DatasetError(f"{path}:{number}: query {query!r} lists document {document!r} twice; keep one")
        results[document] = value
    if not run:
        raise DatasetError(f"{path} is empty; expected a run file (TREC or JSON)")
    return run
