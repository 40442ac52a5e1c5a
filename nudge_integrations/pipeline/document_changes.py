"""Labels read over the documents as they are now: the same, renamed, edited or gone; and which labels wait."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Literal

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import InputError
from nudge_integrations.feedback import LabelLog, LoggedLabel

__all__ = ["KEEP_DEGREES", "DocumentChanges", "OnEdit", "labels_over_documents"]

OnEdit = Literal["wait", "keep"]
_Numbers = dict[str, dict[str, float]]

KEEP_DEGREES = 20.0
"""How far a base vector may have moved for labels of an edited document to be kept."""

_MOST_DEGREES = 180.0
_NAMED = 3


@dataclass(frozen=True)
class DocumentChanges:
    """The changes of the documents that labels are about.

    Labels that wait stay in the log and count again as soon as their document is back, confirmed or labelled anew.

    Attributes:
        same: How many labelled documents are as they were.
        renamed: Former id -> the ids under which the same text is now.
        edited: Ids of documents with another text: to their labels they are new documents.
        kept: Id of an edited document whose labels are kept -> how far its base vector moved, in degrees.
        gone: Ids of documents that are not there any more.
        labels: How many labels count.
        waiting: How many wait.
        unlabelled: How many documents no label that counts is about.
        added: How many more documents there are than at the last fit; None where that is unknown.
    """

    same: int = 0
    renamed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    edited: tuple[str, ...] = ()
    kept: Mapping[str, float] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    labels: int = 0
    waiting: int = 0
    unlabelled: int = 0
    added: int | None = None

    def __str__(self) -> str:
        """Say what happened, and what it means."""
        parts = [f"{self.labels} labels count, {self.same} labelled documents are as they were"]
        if self.renamed:
            parts.append(f"{len(self.renamed)} have other ids ({_named(self.renamed)})")
        if self.kept:
            farthest = max(self.kept.values())
            parts.append(f"{len(self.kept)} were edited and keep their labels (by {farthest:.1f} degrees at most)")
        if self.edited:
            parts.append(f"{len(self.edited)} were edited ({_named(self.edited)})")
        if self.gone:
            parts.append(f"{len(self.gone)} are gone ({_named(self.gone)})")
        if self.waiting:
            parts.append(f"{self.waiting} labels wait for these")
        grown = f", {self.added} more documents than at the last fit" if (self.added or 0) > 0 else ""
        parts.append(
            f"{self.unlabelled} documents have no label{grown}: they stay at their base vectors, and documents that "
            "move may pass them (unseen_weight protects them)"
        )
        return "; ".join(parts)


def labels_over_documents(
    log: LabelLog,
    texts: Mapping[str, str],
    *,
    raw_texts: Mapping[str, str] | None = None,
    degrees: Callable[[str], float | None] | None = None,
    on_edit: OnEdit = "wait",
    keep_degrees: float = KEEP_DEGREES,
    half_life: float | None = None,
    unknown_as_same: bool = False,
) -> tuple[RetrievalDataset, LabelWeights | None, DocumentChanges]:
    """Read the labels of a log over the documents as they are now.

    A document is the one that was judged if id and text are; else the documents with its text are, whatever their ids,
    with or without metadata around it. One with the id and another text was edited.

    Args:
        log: The labels.
        texts: Document id -> text, of all documents now.
        raw_texts: Document id -> text without metadata, where a framework embeds metadata with it.
        degrees: Says how far the base vector of a document moved since the last fit; None for unknown.
        on_edit: ``"wait"``: labels of an edited document wait. ``"keep"``: they are kept where its base vector moved by
            less than ``keep_degrees``.
        keep_degrees: See ``on_edit``.
        half_life: Days after which a label counts half.
        unknown_as_same: Take a document with an empty text, which is one that is not known, for the one of its id.

    Returns:
        The labels that count, queries in the order in which they came; how much each of them counts, None where all
        count the same; and what became of the documents.

    Raises:
        InputError: If ``on_edit`` is unknown, or ``keep_degrees`` or ``half_life`` is out of range.

    >>> log = LabelLog()
    >>> log.add(RetrievalDataset({"a": "cats purr", "b": "dogs bark"}, {"q": "?"}, {"q": {"a": 1, "b": 1}}))
    2
    >>> dataset, weights, changes = labels_over_documents(log, {"a": "cats meow", "x": "dogs bark"})
    >>> dict(dataset.qrels["q"]), changes.renamed, changes.edited, changes.waiting
    ({'x': 1.0}, {'b': ('x',)}, ('a',), 1)
    """
    if on_edit not in ("wait", "keep"):
        raise InputError(f"on_edit must be 'wait' or 'keep'; got {on_edit!r}")
    if not isinstance(keep_degrees, Real) or not 0.0 <= keep_degrees <= _MOST_DEGREES:
        raise InputError(f"keep_degrees must be a number between 0 and 180; got {keep_degrees!r}")
    near = (lambda _: None) if degrees is None or on_edit == "wait" else degrees
    finder = _Finder(texts, raw_texts or {}, log.confirmed, near, keep_degrees)
    finder.unknown_as_same = unknown_as_same
    shares, qrels, weights = log.weights(half_life=half_life), _Numbers(), _Numbers()
    used = waiting = 0
    position = {(label.query, label.document): place for place, label in enumerate(log.labels)}
    for label in log.current:
        found = finder(label, position[label.query, label.document])
        used, waiting = used + bool(found), waiting + (not found)
        for document in found:
            grades = qrels.setdefault(label.query, {})
            if label.grade > grades.get(document, -math.inf):
                grades[document] = label.grade
                weights.setdefault(label.query, {})[document] = shares[label.query][label.document]
    # A query that only says no teaches as well; one that only has zeros says nothing.
    queries = {query: text for query, text in log.queries.items() if any(qrels.get(query, {}).values())}
    dataset = RetrievalDataset(texts, queries, {query: qrels[query] for query in queries})
    labelled = {i for grades in dataset.qrels.values() for i in grades}
    before = log.fits[-1].documents if log.fits else None
    changes = DocumentChanges(
        same=len(finder.same),
        renamed=finder.renamed,
        edited=tuple(finder.edited - finder.same - finder.kept.keys()),
        kept=finder.kept,
        gone=tuple(finder.gone),
        labels=used,
        waiting=waiting,
        unlabelled=len(texts) - len(labelled),
        added=None if before is None else len(texts) - before,
    )
    counts = {query: weights[query] for query in dataset.queries}
    alike = all(share == 1.0 for shares in counts.values() for share in shares.values())
    return dataset, None if alike else counts, changes


class _Finder:
    """Finds judged documents among those that are there, and notes what became of them."""

    def __init__(
        self,
        texts: Mapping[str, str],
        raw_texts: Mapping[str, str],
        confirmed: Mapping[tuple[str, str], int],
        degrees: Callable[[str], float | None],
        keep_degrees: float,
    ) -> None:
        self.texts, self.raw_texts, self.confirmed = texts, raw_texts, confirmed
        self.degrees, self.keep_degrees = degrees, keep_degrees
        self.unknown_as_same = False
        self.renamed: dict[str, tuple[str, ...]] = {}
        self.kept: dict[str, float] = {}
        self.same, self.edited, self.gone = set[str](), set[str](), set[str]()
        self._hashes: dict[str, tuple[str, ...]] = {}

    def __call__(self, label: LoggedLabel, position: int) -> tuple[str, ...]:
        document = label.document
        known = {digest for digest in (label.text_hash, label.raw_hash) if digest is not None}
        there = document in self.texts
        if there and self.unknown_as_same and not self.texts[document]:
            known = set()
        if there and (not known or known & {*self._hashes_of(document)} or self._confirmed(document, position)):
            self.same.add(document)
            return (document,)
        if known and (found := self._elsewhere(label)):
            self.renamed[document] = found
            return found
        if not there:
            self.gone.add(document)
            return ()
        angle = self.degrees(document)
        if angle is not None and angle < self.keep_degrees:
            self.kept[document] = angle
            return (document,)
        self.edited.add(document)
        return ()

    def _hashes_of(self, document: str) -> tuple[str, ...]:
        if document not in self._hashes:
            texts = (self.texts[document], self.raw_texts.get(document))
            self._hashes[document] = tuple(text_hash(text) for text in texts if text is not None)
        return self._hashes[document]

    def _confirmed(self, document: str, position: int) -> bool:
        return any(self.confirmed.get((document, digest), -1) > position for digest in self._hashes_of(document))

    def _elsewhere(self, label: LoggedLabel) -> tuple[str, ...]:
        for digest in (label.text_hash, label.raw_hash):
            if digest is not None and digest in self._ids_by_hash:
                return self._ids_by_hash[digest]
        return ()

    @cached_property
    def _ids_by_hash(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for document in self.texts:
            for digest in dict.fromkeys(self._hashes_of(document)):
                found.setdefault(digest, []).append(document)
        return {digest: tuple(ids) for digest, ids in found.items()}


def _named(ids: Mapping[str, object] | tuple[str, ...]) -> str:
    first = ", ".join(map(repr, list(ids)[:_NAMED]))
    return first if len(ids) <= _NAMED else f"{first}, ..."
