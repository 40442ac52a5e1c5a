"""Feedback on results in one form: verdicts, clicks and impressions; and labels made of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.content import content_id, counted
from nudge_integrations.errors import InputError
from nudge_integrations.feedback.clicks import PositionWeights, Shown

__all__ = ["Feedback", "FeedbackLabels", "Verdict"]


# Clicked less than this part of what the best document of the query is, with positions allowed for: by chance.
_STRAY = 0.5


@dataclass(frozen=True)
class Verdict:
    """A verdict on one document as an answer to one query.

    Attributes:
        query: The text of the query.
        document: The id of the document.
        grade: Above 0 for a yes, the more the better; below 0 for a no.
        weight: How much it counts.
        time: When, as ISO 8601 text; empty where nobody knows.
        source: Who says so.
    """

    query: str
    document: str
    grade: float
    weight: float = 1.0
    time: str = ""
    source: str = ""


@dataclass(frozen=True)
class FeedbackLabels:
    """Labels for `fit`, `refit` and everything that takes a dataset: ``fit(labels, encoder)``.

    Attributes:
        dataset: The documents with the queries that something was said about; a no is a grade below 0.
        weights: Query id -> {document id: how much the label counts}, 1 on average among clicks.
        positions: How clicks were weighted; None where there was none.
        left_out: What could not be used, in words -> how often.
    """

    dataset: RetrievalDataset
    weights: Mapping[str, Mapping[str, float]]
    positions: PositionWeights | None
    left_out: Mapping[str, int]

    def __repr__(self) -> str:
        grades = [grade for judged in self.dataset.qrels.values() for grade in judged.values()]
        noes, left_out = sum(grade < 0 for grade in grades), sum(self.left_out.values())
        said = f"{counted(len(grades) - noes, 'yes', 'yeses')}, {counted(noes, 'no', 'noes')}"
        return f"FeedbackLabels({self.dataset!r}, {said}, {left_out:,} left out)"


@dataclass(frozen=True)
class Feedback:
    """Verdicts, clicks and impressions, from whatever log.

    Attributes:
        verdicts: What was said.
        shown: What was shown where, and whether it was clicked.
        left_out: What a reader could not use, in words -> how often.
        records: What was read, by kind -> how many; several clicks on one result are one that was clicked in ``shown``.

    Example:
        >>> feedback = Feedback((Verdict("who purrs?", "d1", 1.0), Verdict("who purrs?", "d2", -1.0)))
        >>> labels = feedback.labels({"d1": "cats", "d2": "dogs"})
        >>> [dict(grades) for grades in labels.dataset.qrels.values()]
        [{'d1': 1.0, 'd2': -1.0}]
    """

    verdicts: tuple[Verdict, ...] = ()
    shown: tuple[Shown, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    records: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Feedback) -> Feedback:
        """Put two logs together."""
        left_out = Counter(self.left_out) + Counter(other.left_out)
        records = Counter(self.records) + Counter(other.records)
        return Feedback(self.verdicts + other.verdicts, self.shown + other.shown, dict(left_out), dict(records))

    def labels(
        self,
        corpus: Mapping[str, str],
        *,
        clicks: str = "weighted",
        clip: float = 0.1,
    ) -> FeedbackLabels:
        """Make labels of it.

        The last verdict on a pair counts, and any verdict more than clicks. A document that was shown and not clicked
        is no no.

        Args:
            corpus: Document id -> text; what is said about other documents is left out and counted.
            clicks: ``"weighted"`` by inverse propensity, see `PositionWeights`, without the documents that are clicked
                less than half as often, so weighted, as the best of their query; ``"raw"``: each counts one;
                ``"none"``.
            clip: Propensities below this count as this much, so that no click weighs more than 1 / clip.

        Raises:
            InputError: If ``clicks`` is none of these, or ``clip`` is not above 0 and at most 1.
        """
        if clicks not in ("weighted", "raw", "none"):
            raise InputError(f"clicks must be 'weighted', 'raw' or 'none'; got {clicks!r}")
        if not isinstance(clip, int | float) or not 0.0 < clip <= 1.0:
            raise InputError(f"clip must be a number above 0 and at most 1; got {clip!r}")
        left_out = Counter(self.left_out)
        positions = PositionWeights.of(self.shown, clip=clip) if clicks == "weighted" and self._clicked() else None
        grades: dict[str, dict[str, Verdict]] = defaultdict(dict)
        for verdict in self._from_clicks(positions, left_out) if clicks != "none" else ():
            grades[verdict.query][verdict.document] = verdict
        for verdict in sorted(self.verdicts, key=lambda one: one.time):
            grades[verdict.query][verdict.document] = verdict
        queries, qrels, weights = {}, {}, {}
        for text, said in grades.items():
            known = {i: one for i, one in said.items() if i in corpus and one.grade != 0.0}
            left_out["labels of a document that the corpus does not hold"] += sum(i not in corpus for i in said)
            if known and text.strip():
                query = content_id(text)
                queries[query] = text
                qrels[query] = {i: one.grade for i, one in known.items()}
                weights[query] = {i: one.weight for i, one in known.items()}
        dataset = RetrievalDataset(dict(corpus), queries, qrels)
        return FeedbackLabels(dataset, weights, positions, {why: count for why, count in left_out.items() if count})

    def _clicked(self) -> list[Shown]:
        return [one for one in self.shown if one.clicked]

    def _from_clicks(self, positions: PositionWeights | None, left_out: Counter[str]) -> list[Verdict]:
        """Return one yes for each pair that was clicked: its clicks, each by its weight, over its impressions.

        With position weights that is how often it would be clicked if everybody looked at it: how relevant it is, here
        beside the best of its query, whose grade is 1. What is less than half as relevant was clicked by chance, and is
        left out. The labels of a query weigh 1 on average.
        """
        shown = Counter((one.query, one.document) for one in self.shown)
        totals: dict[tuple[str, str], Verdict] = {}
        for one in self._clicked():
            key = one.query, one.document
            before = totals.get(key, Verdict(*key, 0.0, 1.0, one.time, one.source))
            grade = (1.0 if positions is None else positions.weight(one.position)) / shown[key]
            totals[key] = replace(before, grade=before.grade + grade, time=max(before.time, one.time))
        by_query: dict[str, list[Verdict]] = defaultdict(list)
        for verdict in totals.values():
            by_query[verdict.query].append(verdict)
        found = []
        for verdicts in by_query.values():
            best = max(one.grade for one in verdicts)
            kept = [one for one in verdicts if positions is None or one.grade >= _STRAY * best]
            left_out["clicked less than half as often as the best of their query, for their position"] += len(
                verdicts
            ) - len(kept)
            mean = sum(one.grade for one in kept) / len(kept)
            found += [replace(one, grade=one.grade / best, weight=one.grade / mean) for one in kept]
        return found

    def statistics(self) -> dict[str, object]:
        """Count what is there: queries, impressions, clicks, verdicts, sources, and what was left out."""
        every: tuple[Verdict | Shown, ...] = (*self.verdicts, *self.shown)
        texts = {one.query for one in every}
        clicked = self._clicked()
        positions = PositionWeights.of(self.shown) if clicked else None
        return {
            "records": dict(self.records),
            "queries": len(texts),
            "impressions": len(self.shown),
            "clicks": len(clicked),
            "yes": sum(one.grade > 0 for one in self.verdicts),
            "no": sum(one.grade < 0 for one in self.verdicts),
            "sources": dict(Counter(one.source for one in every)),
            "position weights": None if positions is None else positions.reason,
            "effective clicks": None if positions is None else round(positions.effective_sample_size, 1),
            "left out": dict(self.left_out),
        }

    def __repr__(self) -> str:
        clicked = len(self._clicked())
        parts = (counted(len(self.verdicts), "verdict"), counted(len(self.shown), "impression"), f"{clicked:,} clicked")
        return f"Feedback({', '.join(parts)}, {sum(self.left_out.values()):,} left out)"
