"""Labels of a dataset as the records that a label log adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import DatasetError
from nudge_integrations.feedback.label_records import LoggedLabel, LogState, checked_weight, query_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["labels_of", "query_records"]


def labels_of(
    dataset: RetrievalDataset,
    weight: float | Mapping[tuple[str, str], float],
    raw_texts: Mapping[str, str],
    source: str,
    time: str,
) -> list[LoggedLabel]:
    """Return all judgements of a dataset as labels; arguments as in `LabelLog.add`.

    Raises:
        InputError: If a weight is negative or not finite.
    """
    digests = {i: text_hash(text) for i, text in dataset.corpus.items() if text.strip()}
    return [
        LoggedLabel(
            *(query, document, float(grade), digests.get(document)),
            text_hash(raw_texts[document]) if document in raw_texts else None,
            checked_weight(weight if not isinstance(weight, Mapping) else weight.get((query, document), 1.0)),
            *(source, time),
        )
        for query, grades in dataset.qrels.items()
        for document, grade in grades.items()
    ]


def query_records(
    dataset: RetrievalDataset, rows: NDArray[np.float32] | None, encoder: str, state: LogState
) -> list[dict[str, Any]]:
    """Return records of the judged queries that the log has not, or not with a vector of this model.

    Raises:
        DatasetError: If a query has another text than before under the same id.
    """
    records: list[dict[str, Any]] = []
    for row, (identifier, text) in enumerate(dataset.queries.items()):
        known = state.queries.get(identifier)
        if known is not None and known.text != text:
            raise DatasetError(
                f"query {identifier!r} has two texts, {known.text[:80]!r} in the log and {text[:80]!r}; give one of "
                "the two another id"
            )
        better = rows is not None and (known is None or known.vector is None or known.encoder != encoder)
        if dataset.qrels.get(identifier) and (known is None or better):
            records.append(query_record(identifier, text, None if rows is None else rows[row], encoder))
    return records
