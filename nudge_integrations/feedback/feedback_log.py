"""A log of what was retrieved and what users said: many processes append to it, and it rotates."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nudge_integrations.errors import InputError
from nudge_integrations.feedback.feedback import Feedback
from nudge_integrations.feedback.reading import bytes_of, feedback_of
from nudge_integrations.storage import make_folder

if sys.platform != "win32":
    import fcntl

__all__ = ["FeedbackLog", "served_by"]

# Files that are full end in one.
_NUMBER = re.compile("[1-9][0-9]{0,8}").fullmatch


@dataclass(frozen=True)
class FeedbackLog:
    """Appends lines in the form of `nudge_integrations.feedback.lines`; any number of processes may share it.

    Attributes:
        path: The file; those that are full stand beside it with a number, as ``feedback.jsonl.1``, the newest last.
        largest: Bytes from which a new file is begun.

    Example:
        >>> import tempfile
        >>> log = FeedbackLog(Path(tempfile.mkdtemp()) / "feedback.jsonl")
        >>> log.shown("who purrs?", ["d2", "d1"])
        >>> log.record("who purrs?", "d1", "yes")
        >>> log.read()
        Feedback(1 verdict, 2 impressions, 0 clicked, 0 left out)
    """

    path: str | Path
    largest: int = 64 << 20

    def record(self, query: str, document: str | None, verdict: str | float | bool, **more: Any) -> None:
        """Write down what somebody said: ``"yes"``, ``"no"``, a grade, ``"click"`` or ``"correction"``.

        Args:
            query: The text of the query.
            document: The id of the document; None for a verdict on the whole answer.
            verdict: What was said.
            more: ``position``, ``shown``, ``cited``, ``instead``, ``source`` or anything that JSON can hold.

        Raises:
            InputError: If something is no text, or JSON cannot hold it.
        """
        if not isinstance(query, str) or not query.strip() or not isinstance(document, str | None):
            raise InputError(f"a verdict is on a text and a document's id; got {query!r} and {document!r}")
        self._append({"query": query, "document": document, "verdict": verdict, **more})

    def shown(self, query: str, documents: Sequence[str], **more: Any) -> None:
        """Write down which documents were retrieved for a query, best first.

        Args:
            query: The text of the query.
            documents: Their ids.
            more: ``model``, ``nudge``, ``scores``, ``shuffled``, ``source`` or anything that JSON can hold.

        Raises:
            InputError: If the documents are no list of ids.
        """
        if isinstance(documents, str) or not all(isinstance(document, str | int) for document in documents):
            raise InputError(f"what was shown is a list of ids, best first; got {documents!r:.80}")
        self._append({"query": query, "shown": [str(document) for document in documents], **more})

    def read(self) -> Feedback:
        """Return all that was written, older files first, as it is at one moment.

        Raises:
            DatasetError: If a file cannot be read, or a line of it is damaged.
        """
        with self._locked(shared=True):
            contents = {path: bytes_of(path) for path in (*self._older(), Path(self.path)) if path.exists()}
        # A file that has no whole line is one that somebody died over.
        return feedback_of({path: data for path, data in contents.items() if b"\n" in data}, "lines")

    def _older(self) -> list[Path]:
        path = Path(self.path)
        parts = path.parent.iterdir() if path.parent.is_dir() else ()
        numbers = (part.name.removeprefix(f"{path.name}.") for part in parts)
        return [path.with_name(f"{path.name}.{number}") for number in sorted(map(int, filter(_NUMBER, numbers)))]

    def _append(self, record: dict[str, Any]) -> None:
        stamped = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **record}
        try:
            line = (json.dumps({k: v for k, v in stamped.items() if v is not None}, allow_nan=False) + "\n").encode()
        except (TypeError, ValueError) as error:
            raise InputError(f"a line of feedback must be what JSON can hold: {error}") from error
        make_folder(Path(self.path).parent)
        with self._locked():
            self._write(Path(self.path), line)

    @contextmanager
    def _locked(self, *, shared: bool = False) -> Iterator[None]:
        """Keep writers out, and readers too unless it is shared."""
        path = Path(self.path)
        if sys.platform == "win32" or (shared and not os.access(path.parent, os.W_OK)):
            yield
            return
        # The lock is a file of its own: the log itself is renamed when it is full.
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, path: Path, line: bytes) -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            end = os.fstat(handle).st_size
            if end and os.pread(handle, 1, end - 1) != b"\n":
                # Somebody died in the middle of a line: it is no line, and the next must not be joined to it.
                end = self._last_line_end(handle, end)
                os.ftruncate(handle, end)
            if end and end + len(line) > self.largest:
                older = self._older()
                number = int(older[-1].suffix[1:]) + 1 if older else 1
                path.rename(path.with_name(f"{path.name}.{number}"))
                os.close(handle)
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            while line:
                line = line[os.write(handle, line) :]
        finally:
            os.close(handle)

    @staticmethod
    def _last_line_end(handle: int, end: int) -> int:
        at = end
        while at > 0:
            start = max(0, at - 65536)
            found = os.pread(handle, at - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            at = start
        return 0


def served_by(nudge: Any, model: str | None) -> dict[str, str | None]:
    """Return what a line says of what served: the names of the embedding model and of the nudge.

    Args:
        nudge: A nudge, or whatever has one as ``nudge``, now; None for none.
        model: The name of the model; that of the nudge by default.
    """
    present = getattr(nudge, "nudge", nudge)
    if present is None:
        return {"model": model, "nudge": None}
    return {"model": model or present.encoder, "nudge": present.fingerprint}
