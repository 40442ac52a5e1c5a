"""Which queries moved a document: how much of its way each of them accounts for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.corpus import unit_rows
from nudge_integrations.errors import InputError
from nudge_integrations.evaluation.drift import angles_between
from nudge_integrations.evaluation.report.elements import element
from nudge_integrations.evaluation.report.notebook import fragment
from nudge_integrations.evaluation.report.wording import shortened

if TYPE_CHECKING:
    from nudge_integrations.artifact import Nudge
    from nudge_integrations.dataset import RetrievalDataset

__all__ = ["DocumentPulls", "Pull", "explain_document"]

_SHOWN, _LONGEST = 10, 120


@dataclass(frozen=True)
class Pull:
    """The pull of one query on a document.

    Attributes:
        query_id: The query.
        text: Its text.
        old_similarity: Cosine with the document before.
        new_similarity: Cosine with the document after.
        share: Its part of the pull of all labelled queries along the way that the document took; the parts sum to 1,
            and one below zero pulled the other way.
    """

    query_id: str
    text: str
    old_similarity: float
    new_similarity: float
    share: float


@dataclass(frozen=True)
class DocumentPulls:
    """Why a document is where it is.

    Attributes:
        document_id: The document.
        text: Its text.
        degrees: By how much it turned.
        pulls: The queries that it answers, the strongest pull first.
    """

    document_id: str
    text: str
    degrees: float
    pulls: tuple[Pull, ...]

    def __str__(self) -> str:
        """Show the queries with their parts, strongest first."""
        lines = [f"{self.document_id} turned by {self.degrees:.1f} degrees: {shortened(self.text, 80)}"]
        lines += [
            f"  {one.share:>6.1%}  {one.old_similarity:.3f} -> {one.new_similarity:.3f}  {shortened(one.text, 80)}"
            for one in self.pulls
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = element("tr", *(element("th", name) for name in ("Query", "Part of the pull", "Similarity")))
        rows = [
            element(
                "tr",
                element("td", shortened(one.text, _LONGEST)),
                element("td", f"{one.share:.1%}"),
                element("td", f"{one.old_similarity:.3f} → {one.new_similarity:.3f}"),
            )
            for one in self.pulls[:_SHOWN]
        ]
        title = f"{self.document_id} turned by {self.degrees:.1f}°: {shortened(self.text, _LONGEST)}"
        more = len(self.pulls) - _SHOWN
        return fragment(
            element("p", element("strong", title)),
            element("table", element("thead", head), element("tbody", *rows)),
            element("p", f"and {more:,} more queries") if more > 0 else None,
        )


def explain_document(nudge: Nudge, train: RetrievalDataset, document_id: str, query_vectors: Any) -> DocumentPulls:
    """Say which labelled queries pulled a document, and how far.

    A document moves along a weighted sum of its queries; a query's part of the pull is its component along the way that
    the document took. Where the nudge maps queries, give the vectors that were mapped: ``nudge.transform_queries``.

    Args:
        nudge: The nudge.
        train: What it was fitted to.
        document_id: The document.
        query_vectors: (m, d), one row a query in the order of ``train.query_ids``.

    Returns:
        The queries that the document answers, with their parts.

    Raises:
        InputError: If the document did not move, or the vectors do not fit.

    >>> from nudge_integrations.dataset import RetrievalDataset
    >>> from nudge_integrations.pipeline import fit
    >>> dataset = RetrievalDataset({"d": "dogs"}, {"q": "barks?"}, {"q": {"d": 1}})
    >>> nudge = fit(dataset, "toy", method="nudge-n", step=0.1, document_vectors=[[1.0, 0]], query_vectors=[[0, 1.0]])
    >>> print(explain_document(nudge, dataset, "d", [[0.0, 1.0]]))
    d turned by 5.7 degrees: dogs
      100.0%  0.000 -> 0.100  barks?
    """
    row = nudge.by_id.get(document_id)
    if row is None:
        raise InputError(f"{document_id!r} did not move: no label named it, or nothing was gained by moving it")
    vectors = unit_rows(np.asarray(query_vectors, np.float32), "query_vectors", dimension=nudge.dimension)
    if len(vectors) != len(train.queries):
        raise InputError(f"query_vectors has {len(vectors)} rows, train {len(train.queries)} queries; give one each")
    pair = unit_rows(np.stack([nudge.base[row], nudge.vectors[row]]), "vectors")
    base, moved = pair.astype(np.float64)
    way = moved - (moved @ base) * base
    ids = [query for query in train.query_ids if train.qrels[query].get(document_id, 0.0) > 0]
    place_of = {query: place for place, query in enumerate(train.query_ids)}
    found = vectors[[place_of[query] for query in ids]].astype(np.float64)
    along = found @ way
    total = float(along.sum()) or 1.0
    pulls = [
        Pull(query, train.queries[query], float(one @ base), float(one @ moved), float(part) / total)
        for query, one, part in zip(ids, found, along, strict=True)
    ]
    degrees = float(np.degrees(angles_between(pair[:1], pair[1:])[0]))
    ordered = tuple(sorted(pulls, key=lambda one: -one.share))
    return DocumentPulls(document_id, train.corpus.get(document_id, ""), degrees, ordered)
