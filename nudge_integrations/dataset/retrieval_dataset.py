"""RetrievalDataset: documents, queries and relevance labels, in one frozen object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

from nudge_integrations.dataset import beir, files
from nudge_integrations.dataset import records as records_of
from nudge_integrations.dataset.content import content_hash, groups_of_equal_text, merged, relevance_matrix, size
from nudge_integrations.dataset.splits import split_queries
from nudge_integrations.dataset.validation import ValidationReport, checked_qrels, checked_texts, inspect, repair

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["RetrievalDataset"]


@dataclass(frozen=True, repr=False)
class RetrievalDataset:
    """Documents, queries and graded judgements of which document is relevant to which query.

    The three mappings are copied and read-only afterwards. Types, and grades that are no finite number, are checked
    here; what may be wrong with well-typed data is found by ``validate`` and left out, on request, by ``repaired``.

    Args:
        corpus: Document id to text.
        queries: Query id to text.
        qrels: Query id to {document id: grade}; a document with a grade above 0 is relevant.

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

    def _parts(self) -> files.Parts:
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

    @classmethod
    def from_json(cls, path: str | Path) -> Self:
        """Read the JSON of LlamaIndex's former ``EmbeddingQAFinetuneDataset``, or our own ``to_json``.

        Args:
            path: A file with ``queries``, ``corpus`` and ``relevant_docs``; grades in ``relevance`` where they differ.

        Raises:
            DatasetError: The file is absent, not such JSON, or gives an id twice.
        """
        return cls(*files.read_question_answer_json(Path(path)))

    def to_json(self, path: str | Path) -> None:
        """Write what ``EmbeddingQAFinetuneDataset.save_json`` would, byte for byte, when all grades are 1.

        Other grades go to an extra key ``relevance``, which the former reader ignores. The file appears whole or not.

        Args:
            path: The file to write; its folder is created where it is absent.
        """
        files.write_question_answer_json(Path(path), self.corpus, self.queries, self.qrels)

    @classmethod
    def from_beir(cls, directory: str | Path, split: str = "test") -> Self:
        """Read one split of a BEIR folder: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv`` (or ``.jsonl``).

        A document's text is its title, a space and its text, or whichever of the two there is. Queries that the split
        does not judge belong to other splits and are not part of the result. Labels may have TREC's four columns.

        Raises:
            DatasetError: A file is absent or malformed, or an id is given twice; with file and line.
        """
        return cls(*beir.read_beir(Path(directory), split))

    def to_beir(self, directory: str | Path, split: str = "test") -> None:
        """Write one split of a BEIR folder, beside the splits of the same corpus that are there already.

        Raises:
            DatasetError: The folder holds another corpus, another text for one of the queries, or an id holds a tab or
                line break, which this format has no way to write.
        """
        beir.write_beir(Path(directory), split, self._parts())

    @classmethod
    def from_records(
        cls,
        records: Iterable[tuple[str, str | Iterable[str] | Mapping[str, float]]],
        corpus: Mapping[str, str] | None = None,
    ) -> Self:
        """Collect (query, documents) records, as they come out of a log or a feedback form.

        Args:
            records: Query text with the documents that answer it: one, several, or {document: grade}.
            corpus: Document id to text; documents are then named by id, or by their exact text. Without it documents
                are texts, and are the corpus. Ids that are not given are made from the content, so the same query in
                two records is one query, and batches merge.

        Raises:
            DatasetError: A document is not in the corpus, or a pair has two grades; with the record's number.

        Example:
            >>> RetrievalDataset.from_records([("who purrs?", "cats purr"), ("who barks?", ["dogs bark"])])
            RetrievalDataset(2 documents, 2 queries, 2 judgements)
        """
        return cls(*records_of.parts_from_records(records, corpus))

    @classmethod
    def from_langsmith(
        cls,
        examples: Iterable[Any],
        *,
        corpus: Mapping[str, str],
        question_key: str = "question",
        doc_ids_key: str = "doc_ids",
    ) -> Self:
        """Collect LangSmith examples: objects or dictionaries with ``inputs``, ``outputs`` and perhaps ``id``.

        Args:
            examples: ``inputs[question_key]`` is the query, ``outputs[doc_ids_key]`` its document ids or {id: grade}.
            corpus: Document id to text.
            question_key: Where the query is in ``inputs``.
            doc_ids_key: Where the documents are in ``outputs``.

        Raises:
            DatasetError: A key is absent, an id is given twice, or a document is not in the corpus; with the example.

        Example:
            >>> example = {"inputs": {"question": "who purrs?"}, "outputs": {"doc_ids": ["d1"]}}
            >>> len(RetrievalDataset.from_langsmith([example], corpus={"d1": "cats purr"}))
            1
        """
        return cls(*records_of.parts_from_examples(examples, corpus, question_key, doc_ids_key))

    @classmethod
    def from_object(cls, source: Any, split: str = "test") -> RetrievalDataset:
        """Accept whatever holds a dataset.

        Args:
            source: A ``RetrievalDataset`` (returned as it is), a path to a JSON file or BEIR folder, or an object or
                mapping with ``queries``, ``corpus`` and ``relevant_docs`` such as an ``EmbeddingQAFinetuneDataset``, or
                the sets of document ids that sentence-transformers' ``InformationRetrievalEvaluator`` takes.
            split: The split to read if it is a BEIR folder.

        Raises:
            DatasetError: It is none of these, or cannot be read.
        """
        if isinstance(source, RetrievalDataset):
            return source
        if isinstance(source, str | Path):
            return cls.from_beir(source, split) if Path(source).is_dir() else cls.from_json(source)
        return cls(*files.parse_question_answer(source, type(source).__name__))

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
            One dataset a fraction, with disjoint queries and with judgements of their own queries only.

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

    def relevance(self, query_ids: Sequence[str] | None = None, document_ids: Sequence[str] | None = None) -> csr_array:
        """Lay the relevant judgements out as a matrix, the form in which the solver takes them.

        Args:
            query_ids: The rows, by default ``self.query_ids``.
            document_ids: The columns, by default ``self.document_ids``.

        Returns:
            scipy.sparse csr array (m, n) float64: the grade where it is above 0.

        Raises:
            DatasetError: An id is given twice or is unknown, a relevant document has no column, or a grade is negative.
        """
        return relevance_matrix(self.corpus, self.queries, self.qrels, query_ids, document_ids)
