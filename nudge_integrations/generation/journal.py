"""Questions on disk as they come, so that a killed run goes on where it was and nothing is paid for twice."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from nudge_integrations.errors import DatasetError

logger = logging.getLogger(__name__)

HEADER = json.dumps({"format": "nudge-integrations generated questions", "version": 1}) + "\n"


class Journal:
    """A JSONL file of documents and their questions, each line keyed by document id and by the prompt's hash.

    Args:
        path: The file, or None to keep nothing.

    Raises:
        DatasetError: The file is there and is something else; it is not touched.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known: dict[tuple[str, str], list[str]] = {}
        self._tail = HEADER
        if path is not None and path.exists():
            self._read(path)

    def get(self, identifier: str, prompt_hash: str) -> list[str] | None:
        """Look up the questions of a document for this very prompt, which holds its text and all settings."""
        return self._known.get((identifier, prompt_hash))

    def add(self, identifier: str, prompt_hash: str, questions: list[str]) -> None:
        """Append the questions of a document; they are on disk when this returns."""
        if self.path is None:
            return
        line = json.dumps({"id": identifier, "prompt": prompt_hash, "questions": questions}) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(self._tail + line)
        self._tail = ""

    def _read(self, path: Path) -> None:
        content = path.read_text(encoding="utf-8", errors="replace")
        if HEADER.startswith(content):  # empty, or killed while the header was written
            self._tail = HEADER[len(content) :]
            return
        if not content.startswith(HEADER):
            raise DatasetError(f"{path} is not a file of generated questions; give output_path another name")
        lines = content[len(HEADER) :].split("\n")
        # What follows the last line break was cut off: end it, so that the next line stands alone.
        self._tail = "\n" if lines[-1] else ""
        entries = [_entry(line) for line in lines if line]
        damaged = entries.count(None)
        if damaged:
            logger.warning("%s: %d lines are cut off or damaged; their documents are asked for again", path, damaged)
        self._known = {(entry["id"], entry["prompt"]): entry["questions"] for entry in entries if entry is not None}


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        whole = isinstance(entry["id"], str) and isinstance(entry["prompt"], str)
        whole = whole and all(isinstance(question, str) for question in entry["questions"])
    except (ValueError, TypeError, KeyError):
        return None
    return entry if whole else None
