"""LabelLog: the labels that a nudge was fitted to, and those that came since, in one append-only file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.corpus import as_rows
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import InputError
from nudge_integrations.feedback.added_labels import labels_of, query_records
from nudge_integrations.feedback.label_compaction import merged, with_queries_in_use
from nudge_integrations.feedback.label_file import LabelFile
from nudge_integrations.feedback.label_records import (
    LoggedFit,
    LoggedLabel,
    LogState,
    as_time,
    checked_half_life,
    normalised,
    query_record,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LabelLog"]

Record = Mapping[str, Any]


class LabelLog(LabelFile):
    """Labels with their queries' texts and vectors, and each document's text as a hash; only `delete` removes any.

    In memory, or in a file of JSON lines that each have a checksum. The last label of a query and a document counts.
    Whatever is added to a log with a path is on disk when the call returns, also while other processes add to it.

    Args:
        path: The file, created by the first label; None keeps everything in memory.
        most_bytes: About how large the log may become. Beyond that, vectors of the oldest queries are left out, which
            are embedded again when they are needed, and then the oldest labels, which a warning counts.

    >>> log = LabelLog()
    >>> log.add(RetrievalDataset({"d": "cats purr"}, {"q": "who purrs?"}, {"q": {"d": 1}}), source="search team")
    1
    >>> log
    LabelLog(1 label of 1 query, in memory)
    >>> log.delete(source="search team"), len(log)
    (1, 0)
    """

    def __len__(self) -> int:
        """Return the number of labels, later ones of the same query and document counted as well."""
        return len(self._state().labels)

    def __repr__(self) -> str:
        """Say how much there is, and where."""
        labels, queries = len(self), len({label.query for label in self.labels})
        where = "in memory" if self.path is None else str(self.path)
        counted = f"{labels} label{'' if labels == 1 else 's'} of {queries} quer{'y' if queries == 1 else 'ies'}"
        return f"LabelLog({counted}, {where})"

    @property
    def labels(self) -> tuple[LoggedLabel, ...]:
        """All labels, in the order in which they came."""
        return tuple(self._state().labels)

    @property
    def current(self) -> tuple[LoggedLabel, ...]:
        """The labels that count: the last one of each query and document, in the order of the first."""
        return tuple(self._state().current())

    @property
    def queries(self) -> dict[str, str]:
        """Query id -> text."""
        return {identifier: query.text for identifier, query in self._state().queries.items()}

    @property
    def confirmed(self) -> dict[tuple[str, str], int]:
        """(document id, text hash) that was confirmed -> how many labels had come by then."""
        return dict(self._state().confirmed)

    @property
    def fits(self) -> tuple[LoggedFit, ...]:
        """The fits that labels went into, in order."""
        return tuple(self._state().fits)

    def fit_of(self, nudge: str) -> LoggedFit | None:
        """Return the last fit that gave the nudge with this fingerprint."""
        return next((fit for fit in reversed(self._state().fits) if fit.nudge == nudge), None)

    def since(self, nudge: str) -> tuple[LoggedLabel, ...]:
        """Return the labels that came after the fit of the nudge with this fingerprint; all where that is unknown."""
        fit = self.fit_of(nudge)
        return self.labels[0 if fit is None else fit.labels :]

    def add(
        self,
        dataset: RetrievalDataset,
        *,
        query_vectors: object = None,
        encoder: str = "",
        source: str = "dataset",
        time: datetime | str | None = None,
        weight: float | Mapping[tuple[str, str], float] = 1.0,
        raw_texts: Mapping[str, str] | None = None,
    ) -> int:
        """Add labels; those that say what the log says already are none.

        Args:
            dataset: Queries and judgements. Of its documents only hashes of the texts are kept.
            query_vectors: (m, d) in the order of ``dataset.query_ids``, so that they need not be embedded again.
            encoder: The fingerprint of the model that made them.
            source: Where the labels come from, to delete them by.
            time: When; now for None.
            weight: How much they count, or (query id, document id) -> weight, 1 where there is none.
            raw_texts: Document id -> text without metadata, by which documents are found that come with other metadata.

        Returns:
            How many labels were added.

        Raises:
            DatasetError: If a query has another text than before under the same id.
            InputError: If the vectors do not fit, or a weight is negative or not finite.
            OSError: If the disk refuses; nothing was added then.
        """
        labels = labels_of(dataset, weight, raw_texts or {}, source, as_time(time))
        rows = None if query_vectors is None else as_rows(query_vectors, "query vectors", ids=dataset.query_ids)

        def made(state: LogState) -> list[Record]:
            last = {(label.query, label.document): label.judgement for label in state.labels}
            new = [label for label in labels if last.get((label.query, label.document)) != label.judgement]
            return [*query_records(dataset, rows, encoder, state), *(label.record() for label in new)]

        return sum(record["kind"] == "label" for record in self._append(made, bound=True))

    def keep_vectors(self, vectors: Mapping[str, NDArray[np.float32]], encoder: str) -> None:
        """Keep the (d,) vectors of some queries of the log, by their ids."""

        def made(state: LogState) -> list[Record]:
            known = {i: vector for i, vector in vectors.items() if i in state.queries}
            return [query_record(i, state.queries[i].text, vector, encoder) for i, vector in known.items()]

        self._append(made, bound=True)

    def confirm(self, texts: Mapping[str, str], *, time: datetime | str | None = None) -> None:
        """Say of documents that were edited that their labels hold for the new text as well.

        Args:
            texts: Document id -> its text now.
            time: When; now for None.
        """
        moment = as_time(time)
        said = [{"document": i, "text_sha256": text_hash(text), "time": moment} for i, text in texts.items()]
        self._append(lambda _: [{"kind": "confirmed", **one} for one in said])

    def note_fit(
        self,
        nudge: str,
        *,
        encoder: str,
        documents: int,
        options: Mapping[str, Any],
        time: datetime | str | None = None,
    ) -> None:
        """Note that all labels up to here went into a nudge.

        Raises:
            InputError: If an option is no JSON value.
        """
        of_fit = {"nudge": nudge, "encoder": encoder, "documents": documents, "options": dict(options)}
        fit = {"kind": "fit", **of_fit, "time": as_time(time)}
        self._append(lambda _: [fit])

    def delete(
        self,
        *,
        source: str | None = None,
        query: str | None = None,
        before: datetime | str | None = None,
        after: datetime | str | None = None,
    ) -> int:
        """Remove labels for good, with the text and vector of queries that have no other; the file is replaced at once.

        A nudge that was fitted to them stays as it is until it is fitted again.

        Args:
            source: Labels from there; None for any.
            query: Labels of this query: its id, or its text but for white space and Unicode form.
            before: Labels older than this.
            after: Labels newer than this.

        Returns:
            How many labels were removed.

        Raises:
            InputError: If nothing says which, or a time cannot be read.
            OSError: If the disk refuses; everything is then as it was.
        """
        if (source, query, before, after) == (None, None, None, None):
            raise InputError("say which labels to delete: by source=, query=, before= or after=")
        start, end = "" if after is None else as_time(after), None if before is None else as_time(before)
        wanted = None if query is None else normalised(query)
        counts: list[int] = []

        def goes(record: Record, asked: set[str]) -> bool:
            return (
                record["kind"] == "label"
                and (source is None or record["source"] == source)
                and (wanted is None or record["query"] in asked)
                and (end is None or record["time"] < end)
                and (after is None or record["time"] > start)
            )

        def kept(records: Sequence[Record]) -> list[Record]:
            texts = ((one["id"], one["text"]) for one in records if one["kind"] == "query")
            asked = {i for i, text in texts if query == i or normalised(text) == wanted}
            left = [one for one in records if not goes(one, asked)]
            counts.append(len(records) - len(left))
            return with_queries_in_use(left)

        self._state()  # what is there must be labels
        self._replace(kept)
        return counts[0]

    def dataset(self, corpus: Mapping[str, str] | None = None) -> RetrievalDataset:
        """Return the labels that count as a dataset, queries in the order in which they came; `weights` go with it.

        Args:
            corpus: Document id -> text. None for the documents that are judged, with empty texts: the log has hashes.
        """
        state = self._state()
        qrels: dict[str, dict[str, float]] = {}
        for label in state.current():
            qrels.setdefault(label.query, {})[label.document] = label.grade
        documents = dict.fromkeys((label.document for label in state.labels), "") if corpus is None else corpus
        queries = {identifier: query.text for identifier, query in state.queries.items() if identifier in qrels}
        return RetrievalDataset(documents, queries, {query: qrels[query] for query in queries})

    def weights(
        self, *, half_life: float | None = None, now: datetime | str | None = None
    ) -> dict[str, dict[str, float]]:
        """Return query id -> {document id: how much the label counts}, as `fit` takes it beside `dataset`.

        Args:
            half_life: Days after which a label counts half; None counts old ones like new ones.
            now: When that is reckoned from; None is now.

        >>> log = LabelLog()
        >>> data = RetrievalDataset({"d": "cats purr"}, {"q": "who purrs?"}, {"q": {"d": 1}})
        >>> log.add(data, weight=0.5, time="2026-01-01")
        1
        >>> log.weights(half_life=10, now="2026-01-21")
        {'q': {'d': 0.125}}
        """
        half_life, today = checked_half_life(half_life), datetime.fromisoformat(as_time(now))
        found: dict[str, dict[str, float]] = {}
        for label in self.current:
            age = 0.0 if half_life is None else (today - datetime.fromisoformat(label.time)).total_seconds() / 86_400.0
            counts = label.weight * (1.0 if half_life is None else 0.5 ** (max(0.0, age) / half_life))
            found.setdefault(label.query, {})[label.document] = counts
        return found

    def query_vectors(self, encoder: str) -> dict[str, NDArray[np.float32]]:
        """Return query id -> (d,) float32 vector, of the queries whose vectors this model made and the log has."""
        found = {identifier: query.array(encoder) for identifier, query in self._state().queries.items()}
        return {identifier: vector for identifier, vector in found.items() if vector is not None}

    def copy(self) -> LabelLog:
        """Return the same in memory; `save` then adds to the file what was added to the copy."""
        other = LabelLog(most_bytes=self.most_bytes)
        other._records = list(self._read())
        other._copied = other._records
        return other

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the log to a file, in place of what is there, all at once.

        Labels that came to the file since this log was copied from it stay, behind those of this one. If the file is
        another nudge's log, only its labels that no fit has used yet stay.

        Raises:
            ArtifactError: If the file is no such log.
            OSError: If the disk refuses; the file is then as it was.
        """
        mine = self._read()
        if not mine or (self.path is not None and Path(path).absolute() == self.path.absolute()):
            return
        target = LabelLog(path, most_bytes=self.most_bytes)
        target._state()  # what is there must be labels
        target._replace(lambda there: merged(there, mine, self._copied))
        self._copied = mine
