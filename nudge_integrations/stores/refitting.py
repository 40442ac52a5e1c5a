"""refit_store: new labels beside those that a nudge keeps, and a live store as it is now; no document is embedded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import as_rows
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights, weights_of_labels
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError
from nudge_integrations.feedback import labels_and_weights
from nudge_integrations.pipeline import labels_over_documents
from nudge_integrations.pipeline.base_vectors import query_vectors_of
from nudge_integrations.pipeline.refitting import last_options
from nudge_integrations.stores.fitting import fit_store

if TYPE_CHECKING:
    from nudge_integrations.stores.live_store import LiveStore

__all__ = ["refit_store"]


def refit_store(
    store: LiveStore,
    nudge: Nudge,
    labels: RetrievalDataset | Any | None = None,
    encoder: Encoder | None = None,
    *,
    documents: Mapping[str, str] | None = None,
    query_vectors: Any = None,
    source: str = "feedback",
    time: datetime | str | None = None,
    by_index: bool | None = None,
    weights: LabelWeights | None = None,
    **options: Any,
) -> Nudge:
    """Fit again to all labels, over the rows that a store holds now; see `nudge_integrations.refit`.

    ``store.plan`` of the result says what changes from the nudge that is applied, and ``store.apply`` writes it.

    Args:
        store: The store.
        nudge: The nudge that is served, with its labels.
        labels: New labels; None for those that its log has got since.
        encoder: Embeds queries whose vectors are not kept.
        documents: Id -> text of labelled documents now, which tells those that were edited. A row whose text is unknown
            is the document that was labelled under its id.
        query_vectors: (m, d) in the order of the queries of ``labels``, if they are there already.
        source: Where the labels come from, to delete them by.
        time: When they were given; now for None.
        by_index: As in `fit_store`.
        weights: How much the new labels count; None for what comes with them, else 1.
        **options: Options of the fit to change; all others are those of the last fit.

    Returns:
        The new nudge; the present one with the new labels where the fit finds no gain.

    Raises:
        InputError: If no labels are kept, or none is about a row of the store.
        StoreError: If the store cannot be read.
    """
    if encoder is not None:
        nudge.check_encoder(encoder)
    if not len(nudge.labels):
        raise InputError("this nudge keeps no labels, so new ones alone would undo it: fit all labels with fit_store()")
    log, texts = nudge.labels.copy(), documents or {}
    if labels is not None:
        new, given = labels_and_weights(labels, weights, documents)
        counts, texts = weights_of_labels(new, given), {**new.corpus, **texts}
        log.add(new, query_vectors=query_vectors, encoder=nudge.encoder, source=source, time=time, weight=counts)
    ids = store.corpus(by_index=by_index).ids
    dataset, shares, changes = labels_over_documents(log, {i: texts.get(i, "") for i in ids}, unknown_as_same=True)
    if not dataset.queries:
        raise InputError(f"no label is about a row of {store.info.location}: {changes}")
    known = log.query_vectors(nudge.encoder)
    missing = {query: text for query, text in dataset.queries.items() if query not in known}
    if missing and encoder is None:
        raise InputError(f"{len(missing)} queries have no vector: give encoder= or query_vectors=")
    if missing and encoder is not None:
        asked_for = RetrievalDataset(dataset.corpus, missing, {query: dataset.qrels[query] for query in missing})
        rows = as_rows(query_vectors_of(asked_for, encoder, None, "query_vectors"), "query vectors")
        known |= dict(zip(missing, rows, strict=True))
        log.keep_vectors({query: known[query] for query in missing}, nudge.encoder)
    judged = {i for grades in dataset.qrels.values() for i in grades}
    asked = {name: value for name, value in last_options(nudge).items() if name not in ("duplicates", "similarity")}
    fitted = fit_store(
        store,
        RetrievalDataset({i: texts.get(i, i) for i in judged}, dataset.queries, dataset.qrels),
        nudge.encoder,
        query_vectors=[known[query] for query in dataset.queries],
        by_index=by_index,
        labels=log,
        weights=shares,
        **{**asked, **options},
    )
    return nudge.with_labels(log) if fitted.status == "no_gain" else fitted
