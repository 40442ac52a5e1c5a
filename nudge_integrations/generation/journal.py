"""Questions on disk as they come, so that a killed run goes on where it was and nothing is paid for twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nudge_integrations.errors import ArtifactError, DatasetError
from nudge_integrations.storage import Log

FORMAT = "nudge-integrations generated questions"


class Journal:
    """A log of documents and their questions, each keyed by document id and by the prompt's hash.

    Args:
        path: The file, or None to keep nothing.

    Raises:
        DatasetError: The file is there and is something else; it is not touched.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._log = None if path is None else Log(path, FORMAT)
        self._known: dict[tuple[str, str], list[str]] = {}
        if self._log is None:
            return
        try:
            # The documents of damaged lines are asked for again.
            records = self._log.read(skip_damaged=True).records
        except ArtifactError as error:
            raise DatasetError(
                f"{path} is not a file of generated questions; give output_path another name ({error})"
            ) from error
        self._known = {(entry["id"], entry["prompt"]): entry["questions"] for entry in records if _is_whole(entry)}

    def get(self, identifier: str, prompt_hash: str) -> list[str] | None:
        """Look up the questions of a document for this very prompt, which holds its text and all settings."""
        return self._known.get((identifier, prompt_hash))

    def add(self, identifier: str, prompt_hash: str, questions: list[str]) -> None:
        """Append the questions of a document; they are on disk when this returns."""
        if self._log is not None:
            self._log.append([{"id": identifier, "prompt": prompt_hash, "questions": questions}])


def _is_whole(entry: Mapping[str, Any]) -> bool:
    questions = entry.get("questions")
    texts = [entry.get("id"), entry.get("prompt"), *(questions if isinstance(questions, list) else [None])]
    return all(isinstance(text, str) for text in texts)
