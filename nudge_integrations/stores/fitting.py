"""fit_store: labelled queries and a store that is live in, a nudge out; no document is embedded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import CorpusVectors, as_rows
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import DatasetError
from nudge_integrations.feedback import LabelLog, feedback_unwrapped
from nudge_integrations.fusion import Bm25, Signal
from nudge_integrations.pipeline.asked_signals import AskedSignals
from nudge_integrations.pipeline.base_vectors import query_vectors_of
from nudge_integrations.pipeline.corpus_fit import known_by_texts, relevance_over
from nudge_integrations.pipeline.fitting import check_labels, choose_solution
from nudge_integrations.pipeline.identical import identical_rows
from nudge_integrations.pipeline.label_keeping import kept_labels, note_fit
from nudge_integrations.pipeline.label_weights import weight_matrix
from nudge_integrations.solver import OptionValues
from nudge_integrations.solver.prepare import Beside
from nudge_integrations.stores.canary import Canary
from nudge_integrations.stores.live_store import LiveStore
from nudge_integrations.stores.store_corpus import StoreCorpus
from nudge_integrations.stores.text_search import Texts, signals_over

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from scipy import sparse

__all__ = ["fit_store"]


def fit_store(
    store: LiveStore,
    dataset: RetrievalDataset | Any,
    encoder: Encoder | str,
    *,
    method: str = "auto",
    groups: ArrayLike | Sequence[object] | None = None,
    query_vectors: object = None,
    by_index: bool | None = None,
    labels: LabelLog | None = None,
    weights: LabelWeights | None = None,
    signals: Sequence[str | Bm25 | Signal] = (),
    texts: Texts | None = None,
    **options: Unpack[OptionValues],
) -> Nudge:
    """Find out which documents of a live store to move where; see `nudge_integrations.fit`, which does it for texts.

    Base vectors are read from the store: of labelled documents, of a sample, and what a search finds. Where a nudge was
    applied to it already, its base vectors come from the journal, so that a refit starts from base vectors again.

    Args:
        store: The store. It remembers the queries, for the canary of a plan of this nudge.
        dataset: Queries and ids of the documents that answer them, as the store has them. Its corpus need only hold
            the documents that are labelled.
        encoder: Makes the queries' vectors, with the model that filled the store. Its fingerprint will do where
            ``query_vectors`` are given.
        method: As in `nudge_integrations.fit`.
        groups: (m,) names; queries of one group are left out together. None: those with equal text are one group.
        query_vectors: (m, d) in the order of ``dataset.query_ids``, if they are there already.
        by_index: Search by the store's own index, which may be approximate; False to pass over all vectors; None
            passes over up to a million.
        labels: The log that keeps the labels with the nudge; None for a new one with the labels of the dataset.
        weights: As in `nudge_integrations.fit`.
        signals: As in `nudge_integrations.fit`; ``"bm25"`` is the store's own text search where it has one (a
            full-text index of LanceDB, a tsvector column of Postgres, sparse vectors of Qdrant), whose own scores are
            weighed then, and else BM25 in this process, as a `Bm25` always is. The log says which.
        texts: Takes ids of rows, returns their texts, for BM25 in this process; None for those of the dataset, which
            must then have them all.
        **options: As in `nudge_integrations.fit`.

    Raises:
        DatasetError: If a labelled document is not in the store, or the dataset has problems.
        InputError: If the queries' vectors have another dimension than the store's, or a signal lacks its texts.
        StoreError: If the store cannot be read.

    Example:
        >>> from nudge_integrations.stores import open_store
        >>> store = open_store({"d": [1.0, 0.0], "e": [0.0, 1.0]})
        >>> dataset = RetrievalDataset({"d": "a text"}, {"q": "a question"}, {"q": {"d": 1}})
        >>> nudge = fit_store(store, dataset, "toy", method="nudge-n", step=0.1, query_vectors=[[0.6, 0.8]])
        >>> nudge.vector("d").round(3).tolist()
        [0.9950000047683716, 0.10000000149011612]
    """
    dataset, weights = feedback_unwrapped(dataset, weights)
    check_labels(dataset, None, blank_texts_allowed=False)
    corpus = store.corpus(by_index=by_index)
    given = query_vectors_of(dataset, encoder, query_vectors, "query_vectors")
    queries = as_rows(given, "query vectors", dimension=corpus.dimension, ids=dataset.query_ids)
    groups = dataset.query_groups() if groups is None else groups
    data = corpus, queries, _gains(dataset, corpus, store)
    counts = weight_matrix(weights, dataset, data[2], corpus.ids, {})
    identical = identical_rows(dataset.queries, corpus.row_of, options)
    extra: Beside = {"ignored": identical, "negatives": None, "weights": counts}
    weighed = signals_over(store.adapter, corpus.ids, signals, texts or _texts_in(dataset, corpus.ids))
    beside = AskedSignals(weighed, list(dataset.queries.values()))
    nudge = Nudge.from_solution(
        choose_solution(data, None, extra, None, method, groups, beside, options),
        ids=corpus.ids,
        documents=CorpusVectors(corpus),
        texts=None,
        encoder=encoder,
        dataset_hash=dataset.hash,
        labels=kept_labels(encoder, dataset, queries, None, None, weights=weights) if labels is None else labels,
    )
    nudge = known_by_texts(nudge, dataset.corpus)
    note_fit(nudge, len(corpus), {"method": method, "signals": signals, **options})
    store.remember(nudge, Canary.of(dataset, queries, nudge))
    return nudge


def _texts_in(dataset: RetrievalDataset, ids: Sequence[str]) -> Texts | None:
    corpus = dataset.corpus
    return (lambda part: [corpus[one] for one in part]) if all(one in corpus for one in ids) else None


def _gains(dataset: RetrievalDataset, corpus: StoreCorpus, store: LiveStore) -> sparse.csr_array:
    wanted = {i for grades in dataset.qrels.values() for i, grade in grades.items() if grade > 0}
    gone = sorted(wanted - corpus.row_of.keys())
    if gone:
        raise DatasetError(
            f"document {gone[0]!r} (of {len(gone)} among {len(wanted)} labelled ones) is not in "
            f"{store.info.location}, whose first id is {corpus.ids[0]!r}: wrong collection, or other ids?"
        )
    return relevance_over(dataset, corpus.row_of, len(corpus))
