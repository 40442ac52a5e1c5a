"""Draws the piece of MetaTool that ships with the package, with a seed, so that anyone can draw it again.

    python -m nudge_integrations.data.draw_metatool COLLECTION

``COLLECTION`` is a BEIR folder of the whole collection: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/*.tsv``.
Requests that differ only in case, punctuation or spacing are one request: the first is kept, so that no test request
is a train request in other clothes. All documents are kept; of the requests 3,000 are drawn, 2,400 of them to train on
and 600 to test on, and each keeps all its labels.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterable
from pathlib import Path

TRAIN, TEST, SEED = 2400, 600, 0
"""Number of train requests, number of test requests, seed of the draw."""

Labels = dict[str, list[tuple[str, str]]]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a JSONL file of objects with an ``_id``.

    Args:
        path: The file.

    Returns:
        Its rows, in the file's order.
    """
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def read_labels(paths: Iterable[Path]) -> Labels:
    """Pool the labels of several qrels files.

    Args:
        paths: TSV files of query id, document id, grade, each with a header.

    Returns:
        For each query id its (document id, grade) pairs, in the files' order.
    """
    labels: Labels = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            query, document, grade = line.split("\t")
            labels.setdefault(query, []).append((document, grade))
    return labels


def normalise(text: str) -> str:
    """Reduce a text to its lower-case words.

    Args:
        text: Any text.

    Returns:
        The words, joined by single spaces.

    Example:
        >>> normalise("What's  the WEATHER?")
        'what s the weather'
    """
    return " ".join(re.findall(r"\w+", text.lower()))


def distinct(queries: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Keep the first of the queries that say the same words.

    Args:
        queries: Rows with an ``_id`` and a ``text``.

    Returns:
        The rows kept, in their order.
    """
    kept: dict[str, dict[str, str]] = {}
    for query in queries:
        kept.setdefault(normalise(query["text"]), query)
    return list(kept.values())


def draw(collection: Path, output: Path) -> None:
    """Draw the piece and write it as a BEIR folder.

    Args:
        collection: BEIR folder of the whole collection.
        output: Folder to write ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/{train,test}.tsv`` to.
    """
    labels = read_labels(sorted((collection / "qrels").glob("*.tsv")))
    queries = distinct(query for query in read_rows(collection / "queries.jsonl") if query["_id"] in labels)
    drawn = random.Random(SEED).sample(queries, TRAIN + TEST)  # noqa: S311 - a reproducible draw, no secret
    (output / "qrels").mkdir(parents=True, exist_ok=True)
    _write_rows(output / "corpus.jsonl", read_rows(collection / "corpus.jsonl"))
    _write_rows(output / "queries.jsonl", drawn)
    _write_labels(output / "qrels" / "train.tsv", drawn[:TRAIN], labels)
    _write_labels(output / "qrels" / "test.tsv", drawn[TRAIN:], labels)


def _write_rows(path: Path, rows: Iterable[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _write_labels(path: Path, queries: Iterable[dict[str, str]], labels: Labels) -> None:
    lines = [f"{query['_id']}\t{document}\t{grade}\n" for query in queries for document, grade in labels[query["_id"]]]
    path.write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the piece of MetaTool that ships with the package.")
    parser.add_argument("collection", type=Path, help="BEIR folder of the whole collection")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "metatool", help="folder to write")
    arguments = parser.parse_args()
    draw(arguments.collection, arguments.output)
