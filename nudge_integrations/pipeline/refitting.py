"""refit: new labels beside those that a nudge keeps, documents as they are now, and a nudge of all of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import as_rows, parse_metric, unit_rows
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights, weights_of_labels
from nudge_integrations.encoding import Encoder, text_hash
from nudge_integrations.errors import InputError
from nudge_integrations.feedback import LabelLog, labels_and_weights
from nudge_integrations.fusion import Bm25
from nudge_integrations.pipeline.base_vectors import document_vectors_of, query_vectors_of
from nudge_integrations.pipeline.document_changes import KEEP_DEGREES, DocumentChanges, OnEdit, labels_over_documents
from nudge_integrations.pipeline.fit_memory import memory_of, remember
from nudge_integrations.pipeline.fitting import fit
from nudge_integrations.pipeline.refit_outcome import NewQueryGain, RefitDetails, nothing_gained, without
from nudge_integrations.pipeline.served_figures import served_figures
from nudge_integrations.solver.decision import gain_and_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["last_options", "refit", "refit_details"]

logger = logging.getLogger(__name__)


def refit(nudge: Nudge, labels: RetrievalDataset | Any | None = None, vectors: Any = None, **options: Any) -> Nudge:
    """Fit again to all labels, those that a nudge keeps and new ones, over the documents as they are now.

    It starts from base vectors, so that nothing drifts, and gives what `fit` gives on all labels at once. Only queries
    whose vectors are not kept are embedded, and in the process of the last fit only they are searched for.

    Where the fit finds no gain beyond noise, or gives what is served already, the nudge that comes back serves as the
    one before did, and keeps the new labels.

    Args:
        nudge: The nudge that is served.
        labels: New labels; None for those that its log has got since. A dataset, or whatever holds one, a log of
            feedback too; of a pair that was labelled before, the new grade counts.
        vectors: (n, d) base vectors of the documents; None to embed them.
        **options: As in `refit_details`.

    Returns:
        The nudge to serve from now on; ``nudge.diff`` of it says what to write.

    Raises:
        InputError: If no labels are kept, or vectors do not fit.
        MismatchError: If the vectors are another model's, or nudged already.

    >>> documents = {"a": "cats purr", "b": "dogs bark"}
    >>> dataset = RetrievalDataset(documents, {"q": "who purrs?"}, {"q": {"a": 1}})
    >>> base, asked = [[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8]]
    >>> nudge = fit(dataset, "toy", method="nudge-n", step=0.1, document_vectors=base, query_vectors=asked)
    >>> more = RetrievalDataset(documents, {"r": "who barks?"}, {"r": {"b": 1}})
    >>> refit(nudge, more, base, query_vectors=[[0.8, 0.6]]).ids
    ('a', 'b')
    """
    return refit_details(nudge, labels, vectors, **options).nudge


def refit_details(
    nudge: Nudge,
    labels: RetrievalDataset | Any | None = None,
    vectors: Any = None,
    *,
    documents: Mapping[str, str] | None = None,
    encoder: Encoder | None = None,
    query_vectors: Any = None,
    raw_texts: Mapping[str, str] | None = None,
    source: str = "feedback",
    time: datetime | str | None = None,
    on_edit: OnEdit = "wait",
    keep_degrees: float = KEEP_DEGREES,
    half_life: float | None = None,
    require_gain: bool = False,
    weights: LabelWeights | None = None,
    **options: Any,
) -> RefitDetails:
    """Do what `refit` does, and say what changed, why, and what became of the documents.

    Args:
        nudge: The nudge that is served.
        labels: New labels; None for those that its log has got since.
        vectors: (n, d) base vectors of the documents, in their order; None to embed them.
        documents: Document id -> text, of all documents now; None for the documents of ``labels``.
        encoder: The model; it embeds what has no vector.
        query_vectors: (m, d) in the order of the queries of ``labels``, if they are there already.
        raw_texts: Document id -> text without the metadata that a framework embeds with it: documents are found by it
            too, whatever their metadata is now.
        source: Where the labels come from, to delete them by.
        time: When they were given; now for None.
        on_edit: ``"wait"``: labels of a document with another text wait until they are given again or confirmed
            (``nudge.labels.confirm``). ``"keep"``: they are kept where its base vector moved by less than
            ``keep_degrees``.
        keep_degrees: See ``on_edit``.
        half_life: Days after which a label counts half; None counts old ones like new ones.
        require_gain: Keep the present nudge unless the new one is better by more than noise, 2 standard errors, on
            queries that came since the last fit.
        weights: How much the new labels count, as in `fit`; None for what comes with them, else 1.
        **options: Options of `fit` to change; all others are those of the last fit.

    Raises:
        InputError: If no labels are kept, documents are missing, or vectors do not fit.
        MismatchError: If the encoder or the vectors are another model's, or the vectors are nudged already.
    """
    new = None if labels is None else labels_and_weights(labels, weights, documents)
    work = _Refit.of(nudge, new, vectors, documents, encoder, query_vectors, source=source, time=time, raw=raw_texts)
    dataset, counts, changes = labels_over_documents(
        work.log,
        work.texts,
        raw_texts=raw_texts,
        degrees=work.degrees,
        on_edit=on_edit,
        keep_degrees=keep_degrees,
        half_life=half_life,
    )
    logger.log(logging.WARNING if changes.waiting else logging.INFO, "%s", changes)
    if not dataset.queries:
        raise InputError(f"no label is about a document that is here: {changes}")
    queries = work.query_vectors(dataset)
    asked = {**last_options(nudge), **options}
    given: dict[str, Any] = {"query_vectors": queries, "warm": nudge, "labels": work.log, "weights": counts}
    fitted = fit(dataset, nudge.encoder, document_vectors=work.vectors, **given, **asked)
    gain = _gain_on_new(nudge, fitted, dataset, work, queries, bool(asked.get("ignore_identical_ids")))
    return work.details(fitted, changes, gain, asked, require_gain=require_gain)


@dataclass(eq=False)
class _Refit:
    """The parts of one refit.

    Attributes:
        nudge: The nudge that is served.
        log: Its labels and the new ones, in memory.
        texts: Document id -> text.
        vectors: (n, d) base vectors.
        encoder: The model, or its fingerprint.
        new: Ids of queries that came since the last fit.
        new_labels: How many labels came since.
    """

    nudge: Nudge
    log: LabelLog
    texts: Mapping[str, str]
    vectors: NDArray[np.float32]
    encoder: Encoder | str
    new: frozenset[str]
    new_labels: int

    @classmethod
    def of(
        cls,
        nudge: Nudge,
        labels: tuple[RetrievalDataset, LabelWeights | None] | None,
        vectors: Any,
        documents: Mapping[str, str] | None,
        encoder: Encoder | None,
        query_vectors: Any,
        *,
        source: str,
        time: datetime | str | None,
        raw: Mapping[str, str] | None,
    ) -> _Refit:
        if encoder is not None:
            nudge.check_encoder(encoder)
        if not len(nudge.labels):
            raise InputError("this nudge keeps no labels, so new ones alone would undo it: fit all labels with fit()")
        log = nudge.labels.copy()
        if labels is not None:
            given: dict[str, Any] = {"query_vectors": query_vectors, "encoder": nudge.encoder, "raw_texts": raw}
            log.add(labels[0], weight=weights_of_labels(*labels), source=source, time=time, **given)
        texts = documents if documents is not None else None if labels is None else labels[0].corpus
        if texts is None:
            raise InputError("give the documents as they are now: documents={id: text}")
        model = nudge.encoder if encoder is None else encoder
        base = document_vectors_of(RetrievalDataset(texts, {}, {}), model, vectors)
        since = log.since(nudge.fingerprint)
        before = {label.query for label in log.labels[: len(log) - len(since)]}
        new = frozenset(label.query for label in since if label.query not in before)
        found = cls(nudge, log, texts, as_rows(base, "document vectors", ids=list(texts)), model, new, len(since))
        found._check_vectors()
        return found

    def _check_vectors(self) -> None:
        """Refuse nudged vectors and those of another model: documents with a known text have a known vector."""
        nudge, row_of = self.nudge, self._row_of
        hashes = nudge.text_hashes or (None,) * len(nudge)
        same = [
            document
            for document, digest in zip(nudge.ids, hashes, strict=True)
            if document in row_of and (digest is None or digest == text_hash(self.texts[document]))
        ]
        if same:
            nudge.edited(same, self.vectors[[row_of[document] for document in same]])

    def degrees(self, document: str) -> float | None:
        """Return how far a base vector moved since the last fit, in degrees; None for documents that did not move."""
        row = self.nudge.by_id.get(document)
        if row is None:
            return None
        now = self.vectors[[self._row_of[document]]]
        one, other = (unit_rows(rows, "vectors")[0].astype(np.float64) for rows in (self.nudge.base[[row]], now))
        return float(np.degrees(2 * np.arctan2(np.linalg.norm(one - other), np.linalg.norm(one + other))))

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {document: row for row, document in enumerate(self.texts)}

    def query_vectors(self, dataset: RetrievalDataset) -> NDArray[np.float32]:
        """Return (m, d) vectors of the queries; those that are not kept are embedded, and kept."""
        known = self.log.query_vectors(self.nudge.encoder)
        missing = {query: text for query, text in dataset.queries.items() if query not in known}
        if missing:
            part = RetrievalDataset(dataset.corpus, missing, {query: dataset.qrels[query] for query in missing})
            rows = query_vectors_of(part, self.encoder, None, "query_vectors")
            self.log.keep_vectors(dict(zip(missing, rows, strict=True)), self.nudge.encoder)
            known |= dict(zip(missing, rows, strict=True))
        every: NDArray[np.float32]
        every = as_rows([known[query] for query in dataset.queries], "query vectors", ids=dataset.query_ids)
        return every

    def details(
        self,
        fitted: Nudge,
        changes: DocumentChanges,
        gain: NewQueryGain | None,
        asked: Mapping[str, Any],
        *,
        require_gain: bool,
    ) -> RefitDetails:
        """Decide which nudge serves from now on."""
        every = self.nudge.diff(fitted)
        differs = bool(every.ids) or every.query_map or every.shift or every.fusion
        diff = without(every, {*changes.edited, *(set(every.ids) - self.texts.keys())})
        served, reason = fitted, fitted.reason
        if not differs:
            served, reason = self.nudge.with_labels(fitted.labels), "the fit gives what is served already"
            served.labels.note_fit(
                served.fingerprint, encoder=served.encoder, documents=len(self.texts), options=last_options(fitted)
            )
        elif (why := nothing_gained(fitted, gain, require_gain=require_gain)) is not None:
            served, differs, reason = self.nudge.with_labels(self.log), False, why
        memory = memory_of(fitted)
        if served is not fitted and memory is not None:
            remember(served, memory)
        logger.info("refit: %s", reason)
        return RefitDetails(served, fitted, differs, reason, changes, self.new_labels, gain, diff)


def _gain_on_new(
    nudge: Nudge,
    fitted: Nudge,
    dataset: RetrievalDataset,
    work: _Refit,
    queries: NDArray[np.float32],
    ignore_identical_ids: bool,
) -> NewQueryGain | None:
    memory = memory_of(fitted)
    if memory is None:
        return None
    judged = [(place, row) for place, row in enumerate(memory.per_query.rows) if memory.query_ids[row] in work.new]
    if not judged:
        return None
    places, rows = (list(part) for part in zip(*judged, strict=True))
    ids = [memory.query_ids[row] for row in rows]
    part = RetrievalDataset(dataset.corpus, {i: dataset.queries[i] for i in ids}, {i: dataset.qrels[i] for i in ids})
    metric, alone = parse_metric(fitted.metric), ignore_identical_ids
    before = served_figures(nudge, part, work.vectors, queries[rows], metric, ignore_identical_ids=alone)
    after = memory.per_query.score[places]
    _, error = gain_and_error(after - before, np.unique(part.query_groups(), return_inverse=True)[1])
    return NewQueryGain(len(ids), fitted.metric, float(before.mean()), float(after.mean()), error)


def last_options(nudge: Nudge) -> dict[str, Any]:
    """Return what the nudge's fit was asked for."""
    noted = nudge.labels.fit_of(nudge.fingerprint) or (nudge.labels.fits[-1] if nudge.labels.fits else None)
    options = {} if noted is None else dict(noted.options)
    if "signals" in options:
        tokenizer = None if nudge.fusion is None else nudge.fusion.tokenizer
        options["signals"] = [
            Bm25.from_dict(one, tokenizer if one["own_tokenizer"] else None) if isinstance(one, dict) else one
            for one in options["signals"]
        ]
    if nudge.base_norm is not None:
        options["similarity"] = "dot"
    return options
