"""fit over a corpus that has ids of its own, such as files larger than memory: labels and vectors in, a nudge out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from nudge_integrations.artifact import Nudge
from nudge_integrations.artifact.matching import ambiguous_texts
from nudge_integrations.corpus import CorpusVectors, IdentifiedCorpus
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights
from nudge_integrations.encoding import Encoder, text_hash
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.feedback import LabelLog
from nudge_integrations.pipeline.asked_signals import AskedSignals
from nudge_integrations.pipeline.base_vectors import query_vectors_of
from nudge_integrations.pipeline.fitting import check_labels, choose_solution
from nudge_integrations.pipeline.identical import identical_rows
from nudge_integrations.pipeline.inner_product import similarity_of
from nudge_integrations.pipeline.label_keeping import kept_labels, note_fit
from nudge_integrations.pipeline.label_weights import weight_matrix
from nudge_integrations.solver.prepare import Beside

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from nudge_integrations.solver import OptionValues

__all__ = ["fit_corpus", "known_by_texts", "relevance_over"]

# Values of arguments of fit that need neither texts nor all vectors of the documents.
_WITHOUT_TEXTS: Mapping[str, tuple[object, ...]] = {
    "signals": ((), []),
    "similarity": ("cosine",),
    "duplicates": ("keep", "merge"),
    "warm": (None,),
}


def fit_corpus(
    corpus: IdentifiedCorpus,
    parts: tuple[RetrievalDataset, RetrievalDataset | None],
    encoder: Encoder | str,
    query_vectors: tuple[Any, Any],
    method: str,
    weights: LabelWeights | None,
    groups: ArrayLike | Sequence[object] | None,
    labels: LabelLog | None,
    asked: Mapping[str, Any],
    options: OptionValues,
) -> Nudge:
    """Do what `fit` does where documents are a corpus of their own; the labels need not come with their texts.

    Args:
        corpus: n documents.
        parts: The labels, and those that the step is chosen by.
        encoder: As in `fit`.
        query_vectors: Those of the queries of both parts.
        method: As in `fit`.
        weights: As in `fit`.
        groups: As in `fit`.
        labels: As in `fit`.
        asked: Arguments of `fit` that may need texts or all vectors of the documents, and are refused then.
        options: As in `fit`.

    Raises:
        DatasetError: If a labelled document is not in the corpus, or the labels have problems.
        InputError: If vectors do not fit the labels, or an option is out of range or needs texts or all vectors.
    """
    _refuse_what_needs_texts({**asked, "similarity": similarity_of(encoder, asked["similarity"])})
    dataset, validation = parts
    row_of = _rows(corpus, [part for part in parts if part is not None], bool(options.get("ignore_identical_ids")))
    every = dict.fromkeys(row_of, "-")  # a document whose text is not given stands for itself
    named = [None if part is None else RetrievalDataset(every, part.queries, part.qrels) for part in parts]
    check_labels(named[0] or dataset, named[1], blank_texts_allowed=True)
    held_out, held_queries = None, None
    if validation is not None:
        held_queries = query_vectors_of(validation, encoder, query_vectors[1], "validation_query_vectors")
        gains = relevance_over(validation, row_of, len(corpus))
        held_out = (held_queries, gains, identical_rows(validation.queries, row_of, options))
    elif groups is None:
        groups = dataset.query_groups()
    queries = query_vectors_of(dataset, encoder, query_vectors[0], "query_vectors")
    data = corpus, queries, relevance_over(dataset, row_of, len(corpus))
    ids = _Ids({row: document_id for document_id, row in row_of.items()}, len(corpus))
    counts = weight_matrix(weights, dataset, data[2], ids, {})
    identical = identical_rows(dataset.queries, row_of, options)
    extra: Beside = {"ignored": identical, "negatives": None, "weights": counts}
    solution = choose_solution(data, held_out, extra, None, method, groups, AskedSignals([], []), options)
    nudge = Nudge.from_solution(
        solution,
        ids=ids,
        documents=CorpusVectors(corpus),
        texts=None,
        encoder=encoder,
        dataset_hash=dataset.hash,
        validation_hash=None if validation is None else validation.hash,
        labels=kept_labels(encoder, dataset, queries, validation, held_queries, weights=weights)
        if labels is None
        else labels,
    )
    nudge = known_by_texts(nudge, dataset.corpus)
    note_fit(nudge, len(corpus), {"method": method, **options})
    return nudge


def known_by_texts(nudge: Nudge, texts: Mapping[str, str]) -> Nudge:
    """Return a nudge whose documents are known by their texts as well, if all of them have one here."""
    given = {document_id: text for document_id, text in texts.items() if text.strip()}
    if not all(document_id in given for document_id in nudge.ids):
        return nudge
    row_of = {document_id: row for row, document_id in enumerate(given)}
    moved = [row_of[document_id] for document_id in nudge.ids]
    return replace(
        nudge,
        text_hashes=tuple(text_hash(given[document_id]) for document_id in nudge.ids),
        ambiguous_texts=ambiguous_texts(moved, nudge.vectors, list(given), list(given.values())),
    )


def relevance_over(dataset: RetrievalDataset, row_of: dict[str, int], documents: int) -> sparse.csr_array:
    """Return (m, n) grades but 0 over documents that are known by their rows; a no to one that is gone is left out."""
    found = [
        (query, row_of[document_id], grade)
        for query, query_id in enumerate(dataset.query_ids)
        for document_id, grade in dataset.qrels.get(query_id, {}).items()
        if grade > 0 or (grade < 0 and document_id in row_of)
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


def _refuse_what_needs_texts(asked: Mapping[str, object]) -> None:
    named = [f"{name}=" for name, value in asked.items() if value not in _WITHOUT_TEXTS[name]]
    if named:
        raise InputError(
            f"{', '.join(named)} needs the texts or all the vectors of the documents, and a corpus in files has "
            "neither at hand: leave it out, or give document_vectors as an array"
        )
