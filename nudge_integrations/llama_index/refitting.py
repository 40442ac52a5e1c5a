"""An engine over time: new labels beside those that its nudge keeps, over the nodes as they are now."""

from __future__ import annotations

import asyncio
from typing import Any

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights
from nudge_integrations.errors import InputError
from nudge_integrations.llama_index.training import Training
from nudge_integrations.pipeline.document_changes import KEEP_DEGREES, OnEdit

__all__ = ["RefittingEngine"]


class RefittingEngine:
    """The part of an engine that fits again."""

    _training: Training
    _nudge: Nudge | None

    def refit(
        self,
        labels: RetrievalDataset | Any | None = None,
        *,
        source: str = "feedback",
        on_edit: OnEdit = "wait",
        keep_degrees: float = KEEP_DEGREES,
        require_gain: bool = False,
        weights: LabelWeights | None = None,
        **options: Any,
    ) -> Nudge:
        """Fit again to all labels, those that the nudge keeps and new ones, and serve the result from now on.

        Also on an engine of `from_artifact` without its ``train_dataset``: the saved nudge has its labels with it. Only
        queries whose vectors are not kept are embedded. Nodes are known by id, and else by text, with or without
        metadata; labels of nodes that are gone or were edited wait.

        Args:
            labels: New labels, a `FeedbackLog` too; None for those that ``nudge.labels`` has got since.
            source: Where they come from, to delete them by.
            on_edit: ``"keep"`` keeps labels of edited nodes whose base vector moved by less than ``keep_degrees``.
            keep_degrees: See ``on_edit``.
            require_gain: Keep the present nudge unless the new one is better by more than noise on new queries.
            weights: How much the new labels count; None for what comes with them, else 1.
            **options: Options of ``nudge_integrations.fit`` to change; all others are those of the last fit.

        Raises:
            InputError: If there is no nudge yet, or it keeps no labels.
        """
        if self._nudge is None:
            raise InputError("nothing was fitted yet: call finetune() first")
        given: dict[str, Any] = {"source": source, "on_edit": on_edit, "keep_degrees": keep_degrees}
        given["weights"] = weights
        details = self._training.refit(self._nudge, labels, require_gain=require_gain, **given, **options)
        self._nudge = details.nudge
        return details.nudge

    async def arefit(self, labels: RetrievalDataset | Any | None = None, **options: Any) -> Nudge:
        """Do the same as `refit` without blocking."""
        return await asyncio.to_thread(self.refit, labels, **options)
