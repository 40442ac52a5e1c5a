"""LlamaIndex's instrumentation writes retrieved documents to a log of feedback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent

from nudge_integrations.feedback import FeedbackLog, served_by

__all__ = ["FeedbackEventHandler", "log_feedback"]


class FeedbackEventHandler(BaseEventHandler):
    """Writes down the query, the ids and the scores of every retrieval.

    Attributes:
        log: Where to.
        model: The name of the embedding model.
        nudge: The nudge that serves, or what has it: an engine or a retriever.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    log: FeedbackLog
    model: str | None = None
    nudge: Any = None

    @classmethod
    def class_name(cls) -> str:
        """Name the class, as the framework wants it."""
        return "FeedbackEventHandler"

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        """Write down a retrieval that has ended; pass over all other events."""
        if not isinstance(event, RetrievalEndEvent):
            return
        asked = event.str_or_query_bundle
        query = asked if isinstance(asked, str) else asked.query_str
        ids, scores = [one.node.node_id for one in event.nodes], [one.score for one in event.nodes]
        served = served_by(self.nudge, self.model)
        self.log.shown(query, ids, scores=scores, source="llama_index", **served)


def log_feedback(path: str | Path, *, nudge: Any = None, model: str | None = None) -> FeedbackLog:
    """Log everything that LlamaIndex retrieves in this process from now on; one line of set-up.

    Called again for the same file, it takes the place of what was said before; nothing is logged twice.

    Args:
        path: The log, which many processes may share.
        nudge: The nudge that serves, to tell later what was shown by which; or an engine or a retriever of ours, whose
            nudge may change by a refit.
        model: The name of the embedding model; that of the nudge by default.

    Returns:
        The log, for ``log.record(query, node_id, "yes")`` where the application hears from its users.

    Example:
        >>> import tempfile
        >>> log = log_feedback(Path(tempfile.mkdtemp()) / "feedback.jsonl", model="minilm")
        >>> log.record("who purrs?", "node-1", "yes")
    """
    log, root = FeedbackLog(path), get_dispatcher()
    mine = Path(path).absolute()
    root.event_handlers = [
        one
        for one in root.event_handlers
        if not isinstance(one, FeedbackEventHandler) or Path(one.log.path).absolute() != mine
    ]
    root.add_event_handler(FeedbackEventHandler(log=log, model=model, nudge=nudge))
    return log
