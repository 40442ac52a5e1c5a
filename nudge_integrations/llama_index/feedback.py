"""What LlamaIndex retrieves goes to a log of feedback, by its instrumentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent

from nudge_integrations.artifact import Nudge
from nudge_integrations.feedback import FeedbackLog

__all__ = ["FeedbackEventHandler", "log_feedback"]


class FeedbackEventHandler(BaseEventHandler):
    """Writes down the query, the ids and the scores of every retrieval.

    Attributes:
        log: Where to.
        model: The name of the embedding model.
        nudge: The fingerprint of the nudge that serves.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    log: FeedbackLog
    model: str | None = None
    nudge: str | None = None

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
        self.log.shown(
            query,
            [one.node.node_id for one in event.nodes],
            scores=[one.score for one in event.nodes],
            model=self.model,
            nudge=self.nudge,
            source="llama_index",
        )


def log_feedback(path: str | Path, *, nudge: Nudge | None = None, model: str | None = None) -> FeedbackLog:
    """Log everything that LlamaIndex retrieves in this process from now on; one line of set-up.

    Args:
        path: The log, which many processes may share.
        nudge: The nudge that serves, to tell later what was shown by which.
        model: The name of the embedding model; that of the nudge by default.

    Returns:
        The log, for ``log.record(query, node_id, "yes")`` where the application hears from its users.

    Example:
        >>> import tempfile
        >>> log = log_feedback(Path(tempfile.mkdtemp()) / "feedback.jsonl", model="minilm")
        >>> log.record("who purrs?", "node-1", "yes")
    """
    log = FeedbackLog(path)
    served = None if nudge is None else nudge.fingerprint
    name = model or (None if nudge is None else nudge.encoder)
    get_dispatcher().add_event_handler(FeedbackEventHandler(log=log, model=name, nudge=served))
    return log
