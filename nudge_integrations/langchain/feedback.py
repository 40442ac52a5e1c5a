"""A LangChain callback handler that writes retrieved documents to a log of feedback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document

from nudge_integrations.feedback import FeedbackLog, served_by
from nudge_integrations.langchain.documents import document_id

__all__ = ["FeedbackCallbackHandler"]


class FeedbackCallbackHandler(BaseCallbackHandler):
    """Writes down the query and the ids of every retrieval; one line of set-up.

    ``retriever.with_config(callbacks=[FeedbackCallbackHandler("feedback.jsonl")])``, or in the config of any chain.
    ``handler.log.record(query, document_id, "yes")`` is for where the application hears from its users.

    Args:
        path: The log, which many processes may share.
        nudge: The nudge that serves, to tell later what was shown by which; or the retriever or store of ours, whose
            nudge may change by a refit.
        model: The name of the embedding model; that of the nudge by default.

    Example:
        >>> import tempfile
        >>> from langchain_core.documents import Document
        >>> handler = FeedbackCallbackHandler(Path(tempfile.mkdtemp()) / "feedback.jsonl")
        >>> handler.on_retriever_start({}, "who purrs?", run_id=UUID(int=1))
        >>> handler.on_retriever_end([Document("cats", id="d1")], run_id=UUID(int=1))
        >>> handler.log.read()
        Feedback(0 verdicts, 1 impression, 0 clicked, 0 left out)
    """

    def __init__(self, path: str | Path, *, nudge: Any = None, model: str | None = None) -> None:
        self.log = FeedbackLog(path)
        self._nudge, self._model = nudge, model
        self._asked: dict[UUID, str] = {}

    def on_retriever_start(self, serialized: dict[str, Any] | None, query: str, *, run_id: UUID, **kwargs: Any) -> None:
        """Keep the query until its documents are there."""
        self._asked[run_id] = query

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        """Write down what was retrieved."""
        query = self._asked.pop(run_id, None)
        if query is not None:
            ids = [document_id(document) for document in documents]
            self.log.shown(query, ids, source="langchain", **served_by(self._nudge, self._model))

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Forget the query of a retrieval that failed."""
        self._asked.pop(run_id, None)
