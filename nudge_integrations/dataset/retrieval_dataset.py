"""RetrievalDataset: documents, queries and relevance labels, in one frozen object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

from nudge_integrations.dataset.content import content_hash, groups_of_equal_text, merged, relevance_matrix, size
from nudge_integrations.dataset.files import Parts
from nudge_integrations.dataset.forms import DatasetForms
from nudge_integrations.dataset.splits import split_queries
from nudge_integrations.dataset.validation import ValidationReport, checked_qrels, checked_texts, inspect, repair

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["RetrievalDataset"]


@dataclass(frozen=True, repr=False)
class RetrievalDataset(DatasetForms):
    """Documents, queries and graded judgements of which document is relevant to which query.

    The three mappings are copied and read-only afterwards. Types, and grades that are no finite number, are checked
    here; what may be wrong with well-typed data is found by ``validate`` and left out, on request, by ``repaired``.

    Args:
        corpus: Document id to text.
        queries: Query id to text.
        qrels: Query id to {document id: grade}; a document with a grade above 0 is relevant; one below 0 is a
            no, "this does not answer it": where labels are fitted the document moves away from the query.

    Raises:
        DatasetError: An id or a text that is not a string, or a grade that is not a finite number.

    Example:
        >>> dataset = RetrievalDataset({"d1": "cats purr", "d2": "dogs bark"}, {"q1": "who purrs?"}, {"q1": {"d1": 1}})
        >>> dataset
        RetrievalDataset(2 documents, 1 query, 1 judgement)
        >>> dataset.relevance().toarray()
        array([[1., 0.]])
    """

    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, float]]

    def __post_init__(self) -> None:
        judged = {query: MappingProxyType(grades) for query, grades in checked_qrels(self.qrels).items()}
        object.__setattr__(self, "corpus", MappingProxyType(checked_texts(self.corpus, "corpus")))
        object.__setattr__(self, "queries", MappingProxyType(checked_texts(self.queries, "queries")))
        object.__setattr__(self, "qrels", MappingProxyType(judged))

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        # A read-only mapping cannot be copied to another process, or deeply; the dictionaries in it can.
        return type(self), self._parts()

    def _parts(self) -> Parts:
        return dict(self.corpus), dict(self.queries), {query: dict(judged) for query, judged in self.qrels.items()}

    def __len__(self) -> int:
        return len(self.queries)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({size(self.corpus, self.queries, self.qrels)})"

    @property
    def document_ids(self) -> list[str]:
        """Document ids in corpus order, the order of rows wherever documents become vectors."""
        return list(self.corpus)

    @property
    def query_ids(self) -> list[str]:
        """Query ids in the order of ``queries``, the order of rows wherever queries become vectors."""
        return list(self.queries)

    def query_groups(self) -> tuple[int, ...]:
        """Return a group number for every query, in their order: one for all queries with the same text.

        Texts are compared after Unicode (NFKC) and white-space normalisation; a blank one is a group by itself.

        >>> RetrievalDataset({}, {"q": "who  purrs?", "r": "who barks?", "s": "who purrs? "}, {}).query_groups()
        (0, 1, 0)
        """
        return groups_of_equal_text(self.queries)

    @cached_property
    def hash(self) -> str:
        """The sha256, as hex, of all ids, texts and grades; the order in which they came does not matter."""
        return content_hash(self.corpus, self.queries, self.qrels)

    def validate(self) -> ValidationReport:
        """Look for what well-typed data can still have wrong; nothing is changed."""
        return inspect(self.corpus, self.queries, self.qrels)

    def repaired(self) -> tuple[RetrievalDataset, ValidationReport]:
        """Leave out what ``validate`` reports: empty texts, judgements that mean nothing, queries without an answer.

        Returns:
            A dataset in which ``validate`` finds no problem, and the report of what was left out.

        Example:
            >>> dataset = RetrievalDataset({"d": "text"}, {"q": "?", "r": "??"}, {"q": {"d": 1, "x": 1}})
            >>> better, report = dataset.repaired()
            >>> better.query_ids, report.unknown_documents, report.queries_without_relevant
            (['q'], (('q', 'x'),), ('r',))
        """
        report = self.validate()
        return RetrievalDataset(*repair(self.corpus, self.queries, self.qrels, report)), report

    def split(
        self,
        fractions: Sequence[float] = (0.7, 0.1, 0.2),
        *,
        by: Literal["query", "document", "cluster"] = "query",
        seed: int = 0,
        query_vectors: object = None,
        clusters: int = 2,
    ) -> tuple[RetrievalDataset, ...]:
        """Share the queries out among parts over the same corpus; the same on every machine for one seed.

        Args:
            fractions: The sizes, adding up to 1; by default those of the NUDGE paper (Zeighami et al., 2024).
            by: ``"query"`` shares queries out alone. ``"document"`` (label shift) sends each query where its relevant
                documents are, so that no document is relevant in two parts and the last part measures documents that
                nobody labelled in the first. A query whose documents are in several parts goes to none; a warning logs
                how many. ``"cluster"`` (query shift) holds out for the last part the k-means cluster of query vectors
                whose size is nearest to what was asked for; the other parts share the other clusters out.
            seed: Another seed, another split.
            query_vectors: (m, d) in the order of ``queries``, for ``"cluster"``.
            clusters: Number of clusters, 2 as in the paper.

        Returns:
            One dataset a fraction, with disjoint queries and with judgements of their own queries only. Queries that
            only say no (grades below 0) are in the first: they can be learned from, and no ranking judged by them.

        Raises:
            DatasetError: The fractions are no fractions, or a part that should have queries gets none.
            InputError: The vectors are not one a query, or one has no direction.

        Example:
            >>> texts = {f"d{i}": f"document {i}" for i in range(10)}
            >>> dataset = RetrievalDataset.from_records([(f"question {i}", [f"d{i}"]) for i in range(10)], texts)
            >>> [len(part) for part in dataset.split()]
            [7, 1, 2]
        """
        parts = split_queries(by, self.queries, self.qrels, fractions, seed, query_vectors, clusters)
        return tuple(self._only(chosen) for chosen in parts)

    def _only(self, query_ids: set[str]) -> RetrievalDataset:
        queries = {query: text for query, text in self.queries.items() if query in query_ids}
        return RetrievalDataset(self.corpus, queries, {q: judged for q, judged in self.qrels.items() if q in query_ids})

    def merge(self, other: RetrievalDataset, on_conflict: Literal["raise", "new"] = "raise") -> RetrievalDataset:
        """Put two datasets together: the union of documents, queries and judgements.

        Args:
            other: The dataset that comes later; with ``on_conflict="new"`` its grade of a pair replaces the grade here.
            on_conflict: What happens to a pair with two grades.

        Raises:
            DatasetError: One id has two texts, or one pair two grades with ``on_conflict="raise"``.

        Example:
            >>> one = RetrievalDataset({"d": "x"}, {"q": "?"}, {"q": {"d": 1}})
            >>> dict(one.merge(RetrievalDataset({}, {}, {"q": {"d": 2}}), on_conflict="new").qrels["q"])
            {'d': 2.0}
        """
        return RetrievalDataset(*merged(self._parts(), other._parts(), on_conflict))

    def relevance(
        self,
        query_ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        *,
        signed: bool = False,
    ) -> csr_array:
        """Lay the relevant judgements out as a matrix, the form in which the solver takes them.

        Args:
            query_ids: The rows, by default ``self.query_ids``.
            document_ids: The columns, by default ``self.document_ids``.
            signed: Also return the grades below 0: a document that does not answer a query.

        Returns:
            scipy.sparse csr array (m, n) float64: the grade where it is above 0; with ``signed`` where it is not 0.

        Raises:
            DatasetError: An id is given twice or is unknown, or a relevant document has no column.
        """
        return relevance_matrix(self.corpus, self.queries, self.qrels, query_ids, document_ids, signed=signed)
