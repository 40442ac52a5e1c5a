"""The forms in which a dataset is read and written, as methods of `RetrievalDataset`; other modules do the work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nudge_integrations.dataset import beir, files
from nudge_integrations.dataset import records as records_of
from nudge_integrations.dataset.tables import TABLES, is_table, parts_from_table

__all__ = ["DatasetForms"]


class DatasetForms:
    """Readers that make a dataset of three mappings, and writers of the same."""

    if TYPE_CHECKING:

        def __init__(
            self, corpus: Mapping[str, str], queries: Mapping[str, str], qrels: Mapping[str, Mapping[str, float]]
        ) -> None: ...

        def _parts(self) -> files.Parts: ...

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
        files.write_question_answer_json(Path(path), *self._parts())

    @classmethod
    def from_beir(cls, directory: str | Path, split: str = "test") -> Self:
        """Read one split of a BEIR folder: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv``.

        Documents and queries may also be in parts, ``corpus/*.jsonl`` and ``queries/*.jsonl``, as the hub lays them
        out. Labels may be a table with or without a header (``.tsv``), JSON lines (``.jsonl``, also in parts such as
        ``test-00000-of-00002.jsonl``), or TREC's four columns (``.qrels``, ``.txt``, ``.tsv``). A document's text is
        its title, a space and its text, or whichever of the two there is. Queries that the split does not judge belong
        to other splits and are not part of the result.

        Args:
            directory: The folder.
            split: Which labels to read.

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
            >>> from nudge_integrations.dataset import RetrievalDataset
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
            >>> from nudge_integrations.dataset import RetrievalDataset
            >>> example = {"inputs": {"question": "who purrs?"}, "outputs": {"doc_ids": ["d1"]}}
            >>> len(RetrievalDataset.from_langsmith([example], corpus={"d1": "cats purr"}))
            1
        """
        return cls(*records_of.parts_from_examples(examples, corpus, question_key, doc_ids_key))

    @classmethod
    def from_table(
        cls,
        table: Any,
        *,
        query: str | None = None,
        documents: str | None = None,
        query_id: str | None = None,
        grade: str | None = None,
        corpus: Mapping[str, str] | None = None,
    ) -> Self:
        """Collect the rows of a table with named columns: two columns of texts, Ragas' rows, LangSmith's CSV.

        Args:
            table: The path of a ``.csv``, ``.tsv``, ``.jsonl`` or ``.json`` file; a DataFrame of pandas or polars, a
                table of pyarrow, a Ragas ``EvaluationDataset``; or rows that are mappings, as of ``csv.DictReader``.
            query: The column of the query's text; by default the one that is called query, question, user_input or
                anchor, also after ``inputs.``.
            documents: The column of the document that answers it, of a list of several, or of a mapping to grades;
                lists may be written out in a text. By default the one that is called passage, document, documents,
                positive or reference_contexts; with ``corpus`` doc_ids, document_ids or reference_context_ids.
            query_id: The column of the query's id; by default ids are made from the texts.
            grade: The column of the grade of the row's one document; by default 1.
            corpus: Document id to text; documents are then named by id, or by their exact text. Without it documents
                are texts, and are the corpus.

        Raises:
            DatasetError: A column is absent, or several may be meant; a cell is empty or holds something else, or a
                document is not in the corpus; with the row.

        Example:
            >>> from nudge_integrations.dataset import RetrievalDataset
            >>> rows = [{"user_input": "who purrs?", "reference_contexts": ["cats purr"], "reference": "Cats."}]
            >>> RetrievalDataset.from_table(rows)
            RetrievalDataset(1 document, 1 query, 1 judgement)
        """
        return cls(*parts_from_table(table, query, documents, query_id, grade, corpus))

    @classmethod
    def from_object(cls, source: Any, split: str = "test") -> Self:
        """Accept whatever holds a dataset.

        Args:
            source: A dataset (returned as it is); the path of a BEIR folder, a question-answer JSON or a table; an
                object or mapping with ``queries``, ``corpus`` and ``relevant_docs`` such as an
                ``EmbeddingQAFinetuneDataset``; an ``InformationRetrievalEvaluator`` of sentence-transformers, or the
                dictionaries that it takes; or a table as in ``from_table``.
            split: The split to read if it is a BEIR folder.

        Raises:
            DatasetError: It is none of these, or cannot be read.
        """
        if isinstance(source, cls):
            return source
        if is_table(source):
            return cls.from_table(source)
        if not isinstance(source, str | Path):
            return cls(*files.parse_question_answer(source, type(source).__name__))
        path = Path(source)
        if path.is_dir():
            return cls.from_beir(path, split)
        rows = path.suffix in TABLES or (path.suffix == ".json" and files.holds_list(path))
        return cls.from_table(path) if rows else cls.from_json(path)
