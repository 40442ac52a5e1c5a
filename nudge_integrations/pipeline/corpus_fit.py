"""fit over a corpus that has ids of its own, such as files larger than memory: labels and vectors in, a nudge out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import CorpusVectors, IdentifiedCorpus
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import Encoder, text_hash
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.pipeline.asked_signals import AskedSignals
from nudge_integrations.pipeline.base_vectors import query_vectors_of
from nudge_integrations.pipeline.fitting import check_labels, choose_solution
from nudge_integrations.pipeline.identical import identical_rows
from nudge_integrations.pipeline.inner_product import similarity_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nudge_integrations.solver import OptionValues

__all__ = ["fit_corpus", "relevance_over"]


def fit_corpus(
    corpus: IdentifiedCorpus,
    labels: tuple[RetrievalDataset, RetrievalDataset | None],
    encoder: Encoder | str,
    query_vectors: tuple[Any, Any],
    method: str,
    groups: ArrayLike | Sequence[object] | None,
    signals: Sequence[object],
    similarity: Literal["cosine", "dot"] | None,
    options: OptionValues,
) -> Nudge:
    """Do what `fit` does where documents are a corpus of their own; the labels need not come with their texts.

    Raises:
        DatasetError: If a labelled document is not in the corpus, or the labels have problems.
        InputError: If vectors do not fit the labels, or an option is out of range or needs texts or all vectors.
    """
    _refuse_what_needs_texts(signals=signals, similarity=similarity_of(encoder, similarity) == "dot")
    dataset, validation = labels
    row_of = _rows(corpus, [part for part in labels if part is not None], bool(options.get("ignore_identical_ids")))
    every = dict.fromkeys(row_of, "-")  # a document whose text is not given stands for itself
    named = [None if part is None else RetrievalDataset(every, part.queries, part.qrels) for part in labels]
    check_labels(named[0] or dataset, named[1], blank_texts_allowed=True)
    held_out = None
    if validation is not None:
        held_queries = query_vectors_of(validation, encoder, query_vectors[1], "validation_query_vectors")
        gains = relevance_over(validation, row_of, len(corpus))
        held_out = (held_queries, gains, identical_rows(validation.queries, row_of, options))
    elif groups is None:
        groups = dataset.query_groups()
    queries = query_vectors_of(dataset, encoder, query_vectors[0], "query_vectors")
    data = corpus, queries, relevance_over(dataset, row_of, len(corpus))
    identical = identical_rows(dataset.queries, row_of, options)
    solution = choose_solution(data, held_out, identical, None, method, groups, AskedSignals([], []), options)
    nudge = Nudge.from_solution(
        solution,
        ids=_Ids({row: document_id for document_id, row in row_of.items()}, len(corpus)),
        documents=CorpusVectors(corpus),
        texts=None,
        encoder=encoder,
        dataset_hash=dataset.hash,
        validation_hash=None if validation is None else validation.hash,
    )
    texts = [dataset.corpus.get(document_id, "") for document_id in nudge.ids]
    # Known by their texts as well, where the labels came with all of them and no two are the same.
    known = all(texts) and len(set(texts)) == len(texts)
    return replace(nudge, text_hashes=tuple(map(text_hash, texts))) if known else nudge


def relevance_over(dataset: RetrievalDataset, row_of: dict[str, int], documents: int) -> sparse.csr_array:
    """Return (m, n) gains over documents that are known by their rows."""
    found = [
        (query, row_of[document_id], grade)
        for query, query_id in enumerate(dataset.query_ids)
        for document_id, grade in dataset.qrels.get(query_id, {}).items()
        if grade > 0
    ]
    query, row, grade = (np.array(side) for side in zip(*found, strict=True))
    return sparse.csr_array((grade.astype(np.float64), (query, row)), shape=(len(dataset), documents))


def _rows(corpus: IdentifiedCorpus, parts: Sequence[RetrievalDataset], queries: bool) -> dict[str, int]:
    """Return the rows of all labelled documents, and of those that are named like queries."""
    wanted = {i for part in parts for grades in part.qrels.values() for i in grades}
    row_of = corpus.rows_of(wanted.union(*(part.queries for part in parts)) if queries else wanted)
    gone = sorted(wanted - row_of.keys())
    if gone:
        raise DatasetError(
            f"document {gone[0]!r} (of {len(gone):,} among {len(wanted):,} labelled ones) is not among the "
            f"{len(corpus):,} documents of the corpus: other ids, or left out by a filter or as a faulty row?"
        )
    return row_of


@dataclass(frozen=True)
class _Ids(Sequence[str]):
    """The ids of all documents, of which only those of labelled ones are known."""

    id_of: dict[int, str]
    documents: int

    def __len__(self) -> int:
        return self.documents

    def __getitem__(self, row: Any) -> Any:
        return self.id_of[row]


def _refuse_what_needs_texts(**given: object) -> None:
    named = [name for name, value in given.items() if value]
    if named:
        raise InputError(
            f"{', '.join(named)}= needs the texts or all the vectors of the documents, and a corpus in files has "
            "neither at hand: leave it out, or give document_vectors as an array"
        )
