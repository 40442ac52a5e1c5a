"""A fit keeps for the next one its labels, the vectors of their queries, and the options that it was given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nudge_integrations.artifact import HasFingerprint, Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights, weights_of_labels
from nudge_integrations.feedback import LabelLog
from nudge_integrations.fusion import Bm25

__all__ = ["kept_labels", "kept_options", "note_fit"]

# How a fit runs says nothing about the next one.
_PASSING = ("progress", "device", "block_bytes", "max_seconds")
_DEFAULTS: tuple[tuple[str, object], ...] = (("signals", []), ("duplicates", "merge"))


def kept_labels(
    encoder: str | HasFingerprint,
    dataset: RetrievalDataset,
    queries: object,
    validation: RetrievalDataset | None,
    validation_queries: object,
    *,
    raw_texts: Mapping[str, str] | None = None,
    weights: LabelWeights | None = None,
) -> LabelLog:
    """Return a log of the labels of a fit and what they count, with the vectors of their queries."""
    log, model = LabelLog(), encoder if isinstance(encoder, str) else encoder.fingerprint
    counts = weights_of_labels(dataset, weights)
    log.add(dataset, query_vectors=queries, encoder=model, source="dataset", raw_texts=raw_texts, weight=counts)
    if validation is not None:
        given: dict[str, Any] = {"query_vectors": validation_queries, "encoder": model, "source": "validation"}
        log.add(validation, **given, raw_texts=raw_texts)
    return log


def kept_options(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a fit was asked for as far as JSON can hold it; BM25 as its settings."""
    found = {}
    for name, value in asked.items():
        if name == "signals":
            value = [_signal(one) for one in ((value,) if isinstance(value, str | Bm25) else value)]
        if value is not None and name not in _PASSING and _is_json(value) and (name, value) not in _DEFAULTS:
            found[name] = value
    return found


def note_fit(nudge: Nudge, documents: int, asked: Mapping[str, Any]) -> None:
    """Note in a nudge's labels that all of them went into it."""
    nudge.labels.note_fit(
        nudge.fingerprint, encoder=nudge.encoder, documents=documents, options=kept_options(asked), time=nudge.created
    )


def _signal(signal: object) -> Any:
    return signal.as_dict() if isinstance(signal, Bm25) else signal


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
