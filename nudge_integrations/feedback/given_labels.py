"""Whatever holds labels -> a dataset and how much its labels count, so that no weight of a click is lost on the way."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights, read_weights
from nudge_integrations.errors import InputError
from nudge_integrations.feedback.feedback import Feedback, FeedbackLabels
from nudge_integrations.feedback.feedback_log import FeedbackLog

__all__ = ["feedback_unwrapped", "labels_and_weights"]

logger = logging.getLogger(__name__)


def labels_and_weights(
    given: Any, weights: LabelWeights | None = None, corpus: Mapping[str, str] | None = None
) -> tuple[RetrievalDataset, LabelWeights | None]:
    """Return a dataset and how much its labels count.

    Args:
        given: A dataset; whatever `RetrievalDataset.from_object` accepts, a path with the weights that
            ``nudge feedback convert`` writes beside it; or a `FeedbackLabels`, `Feedback` or `FeedbackLog`.
        weights: What counts instead of the weights that come with it.
        corpus: Document id -> text, which feedback needs as it names documents by id.

    Raises:
        DatasetError: If it holds no labels, or weights cannot be read.
        InputError: If feedback comes without the texts of its documents.

    >>> dataset = RetrievalDataset({"d": "tea"}, {"q": "?"}, {"q": {"d": 1}})
    >>> labels_and_weights(FeedbackLabels(dataset, {"q": {"d": 0.5}}, None, {}))
    (RetrievalDataset(1 document, 1 query, 1 judgement), {'q': {'d': 0.5}})
    """
    if weights is None and isinstance(given, str | Path):
        weights = read_weights(Path(given))
    given, weights = feedback_unwrapped(given, weights, corpus)
    return RetrievalDataset.from_object(given), weights


def feedback_unwrapped(
    given: Any, weights: LabelWeights | None = None, corpus: Mapping[str, str] | None = None
) -> tuple[Any, LabelWeights | None]:
    """Do what `labels_and_weights` does where feedback is given; anything else is returned as it is.

    Raises:
        InputError: If feedback comes without the texts of its documents.
    """
    if isinstance(given, FeedbackLog):
        given = given.read()
    if isinstance(given, Feedback):
        if corpus is None:
            raise InputError("feedback names documents by id: give feedback.labels(corpus), corpus being {id: text}")
        given = given.labels(corpus)
        for why, count in given.left_out.items():
            logger.warning("feedback left out: %s: %d", why, count)
    if isinstance(given, FeedbackLabels):
        return given.dataset, given.weights if weights is None else weights
    return given, weights
