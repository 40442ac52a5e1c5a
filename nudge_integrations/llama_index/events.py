"""Events that the engine sends to LlamaIndex's instrumentation."""

from __future__ import annotations

from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events import BaseEvent

from nudge_integrations.artifact import Nudge

__all__ = ["NudgeFinetuneEndEvent", "NudgeFinetuneStartEvent", "send_end", "send_start"]

dispatcher = get_dispatcher(__name__)


class NudgeFinetuneStartEvent(BaseEvent):
    """A fit begins.

    Attributes:
        method: The method that was given.
        metric: The metric to maximise.
        documents: Number of documents.
        queries: Number of labelled queries.
    """

    method: str
    metric: str
    documents: int
    queries: int

    @classmethod
    def class_name(cls) -> str:
        """Name the class, as the framework wants it."""
        return "NudgeFinetuneStartEvent"


class NudgeFinetuneEndEvent(BaseEvent):
    """A fit has ended.

    Attributes:
        method: The method that was used; ``"none"`` where nothing moves.
        step: How far documents moved.
        moved_documents: How many moved.
        queries_mapped: Whether queries go through a query map from now on.
        metric: The metric that was maximised.
        before: The metric at step 0.
        after: The metric at ``step``.
        status: ``"improved"``, ``"no_gain"`` or ``"fixed"``.
    """

    method: str
    step: float
    moved_documents: int
    queries_mapped: bool
    metric: str
    before: float
    after: float
    status: str

    @classmethod
    def class_name(cls) -> str:
        """Name the class, as the framework wants it."""
        return "NudgeFinetuneEndEvent"


def send_start(method: str, metric: str, documents: int, queries: int) -> None:
    """Send a `NudgeFinetuneStartEvent`."""
    dispatcher.event(NudgeFinetuneStartEvent(method=method, metric=metric, documents=documents, queries=queries))


def send_end(nudge: Nudge) -> None:
    """Send a `NudgeFinetuneEndEvent`."""
    dispatcher.event(
        NudgeFinetuneEndEvent(
            method=nudge.method,
            step=nudge.step,
            moved_documents=len(nudge),
            queries_mapped=nudge.query_map is not None,
            metric=nudge.metric,
            before=nudge.baseline,
            after=nudge.score,
            status=nudge.status,
        )
    )
