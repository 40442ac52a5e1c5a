"""One query before and after: which documents came first, with their texts, and where the relevant ones went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nudge_integrations.errors import InputError
from nudge_integrations.evaluation.report.elements import Element, element
from nudge_integrations.evaluation.report.notebook import fragment
from nudge_integrations.evaluation.report.wording import rank, shortened

if TYPE_CHECKING:
    from nudge_integrations.evaluation.comparison import Comparison

__all__ = ["QueryChange", "RankedDocument", "explain_query"]

_LONGEST = 160


@dataclass(frozen=True)
class RankedDocument:
    """A document of a ranking.

    Attributes:
        document_id: Its id.
        text: Its text.
        old_rank: Its rank before, from 1; None where it was not retrieved.
        new_rank: Its rank after.
        grade: How relevant it is; 0 where it is not, or nobody said so.
    """

    document_id: str
    text: str
    old_rank: int | None
    new_rank: int | None
    grade: float


@dataclass(frozen=True)
class QueryChange:
    """One query before and after.

    Attributes:
        query_id: Its id.
        text: Its text.
        relevant: Its relevant documents, those that rank first now first.
        before: The best documents before, best first.
        after: The best documents after, best first.
    """

    query_id: str
    text: str
    relevant: tuple[RankedDocument, ...]
    before: tuple[RankedDocument, ...]
    after: tuple[RankedDocument, ...]

    def __str__(self) -> str:
        """Show both rankings, one document a line, relevant ones with a star."""
        lines = [self.text]
        for title, ranked in (("before", self.before), ("after", self.after)):
            lines.append(f"{title}:")
            lines += [
                f"  {place} {'*' if one.grade > 0 else ' '} {one.document_id}  {shortened(one.text, 80)}"
                for place, one in enumerate(ranked, start=1)
            ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        moves = ", ".join(f"{one.document_id}: {rank(one.old_rank)} → {rank(one.new_rank)}" for one in self.relevant)
        lists = [_list("Before", self.before), _list("After", self.after)]
        head = element("p", element("strong", shortened(self.text or self.query_id, _LONGEST)))
        return fragment(
            head, element("p", f"Relevant: {moves or 'none known'}"), element("div", *lists, class_="sides")
        )


def explain_query(comparison: Comparison, query_id: str, top: int = 5) -> QueryChange:
    """Show what came first for a query before and after, with texts.

    Args:
        comparison: What `compare` returned, of evaluations that know their dataset.
        query_id: The query.
        top: How many documents of each ranking.

    Returns:
        Both rankings and the ranks of the relevant documents.

    Raises:
        InputError: If the query is not among the evaluated ones, or the texts are not known.

    >>> from nudge_integrations.dataset import RetrievalDataset
    >>> from nudge_integrations.evaluation import compare
    >>> dataset = RetrievalDataset({"a": "cats", "b": "dogs"}, {"q": "barks?"}, {"q": {"b": 1}})
    >>> print(explain_query(compare({"q": ["a", "b"]}, {"q": ["b", "a"]}, dataset), "q"))
    barks?
    before:
      1   a  cats
      2 * b  dogs
    after:
      1 * b  dogs
      2   a  cats
    """
    dataset = comparison.before.dataset or comparison.after.dataset
    if dataset is None:
        raise InputError("explain_query needs the texts: compare evaluations of a dataset")
    if query_id not in dataset.queries:
        raise InputError(f"{query_id!r} is none of the {len(dataset.queries)} evaluated queries")
    old, new = (side.rankings.get(query_id, ()) for side in (comparison.before, comparison.after))
    places = [{document: place for place, document in enumerate(side, start=1)} for side in (old, new)]
    grades = dataset.qrels.get(query_id, {})

    def ranked(documents: Sequence[str]) -> tuple[RankedDocument, ...]:
        return tuple(_ranked(one, dataset.corpus, places, grades) for one in documents)

    wanted = sorted((i for i, grade in grades.items() if grade > 0), key=lambda i: places[1].get(i, 1 << 62))
    return QueryChange(query_id, dataset.queries[query_id], ranked(wanted), ranked(old[:top]), ranked(new[:top]))


def _ranked(
    document: str, corpus: Mapping[str, str], places: Sequence[Mapping[str, int]], grades: Mapping[str, float]
) -> RankedDocument:
    old, new = (side.get(document) for side in places)
    return RankedDocument(document, corpus.get(document, ""), old, new, float(grades.get(document, 0.0)))


def _list(title: str, ranked: Sequence[RankedDocument]) -> Element:
    items = [
        element(
            "li",
            element("strong" if one.grade > 0 else "span", one.document_id),
            " relevant" if one.grade > 0 else None,
            element("br"),
            element("small", shortened(one.text, _LONGEST)),
        )
        for one in ranked
    ]
    return element("div", element("p", title), element("ol", *items))
