"""fit: a dataset and an encoder in, a nudge out. Encode, solve and keep, on one page."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Unpack

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import IdentifiedCorpus
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.feedback import LabelLog, feedback_unwrapped
from nudge_integrations.fusion import Bm25, Signal
from nudge_integrations.pipeline.asked_signals import AskedSignals
from nudge_integrations.pipeline.base_vectors import document_vectors_of, query_vectors_of
from nudge_integrations.pipeline.fit_memory import FitMemory, remember, remembered_corpus
from nudge_integrations.pipeline.identical import identical_rows
from nudge_integrations.pipeline.inner_product import InnerProduct, similarity_of
from nudge_integrations.pipeline.label_keeping import kept_labels, note_fit
from nudge_integrations.pipeline.label_weights import weight_matrix
from nudge_integrations.selection import CANDIDATES, SINGLE_CANDIDATES, select
from nudge_integrations.selection.fusing import fuse
from nudge_integrations.solver import METHODS as SOLVER_METHODS
from nudge_integrations.solver import Options, OptionValues, Solution, solve
from nudge_integrations.solver.prepare import Beside, prepare_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from scipy import sparse

__all__ = ["METHODS", "QUERY_MAPS", "check_labels", "choose_solution", "fit", "tries_query_maps"]

logger = logging.getLogger(__name__)

# All methods of `fit`: "auto" and those with query maps are chosen by `select`, the others by `solve`.
QUERY_MAPS = (*(name for name in CANDIDATES if name != "nudge"), *SINGLE_CANDIDATES)
METHODS = ("auto", "nudge", *(name for name in SOLVER_METHODS if name != "auto"), *QUERY_MAPS)

# Options of nudges alone: they take precedence over the query maps of "auto".
_FOR_NUDGES = ("step", "temperature", "graded", "refit", "normalize_queries", "shift")


def fit(
    dataset: RetrievalDataset | Any,
    encoder: Encoder | str,
    *,
    validation: RetrievalDataset | None = None,
    method: str = "auto",
    groups: ArrayLike | Sequence[object] | None = None,
    duplicates: Literal["keep", "merge", "error"] = "merge",
    signals: Sequence[str | Bm25 | Signal] = (),
    document_vectors: Any = None,
    query_vectors: Any = None,
    validation_query_vectors: Any = None,
    similarity: Literal["cosine", "dot"] | None = None,
    labels: LabelLog | None = None,
    warm: Nudge | None = None,
    weights: LabelWeights | None = None,
    **options: Unpack[OptionValues],
) -> Nudge:
    """Find out which documents to move where, from queries and their relevant documents.

    Always starts from base vectors, so fitting twice is fitting once. The corpus is encoded once. The labels and the
    vectors of their queries are kept with the nudge (``nudge.labels``), for `refit`.

    Args:
        dataset: n documents, m queries and which document is relevant to which query, or what `Feedback.labels`
            returns, with its weights. Every query counts. A grade below 0 is a no: the document moves away from the
            query, by a weight that is chosen with the step.
        encoder: Makes the vectors. Its fingerprint alone will do when all vectors are given.
        validation: Other queries about the same documents, to choose the step by; None for exact leave-one-out.
        method: ``"auto"``: the best of nudging documents, mapping queries linearly, both, and nothing, see
            `nudge_integrations.selection`; without the maps where a validation set or an option of nudges alone (step,
            temperature, graded, refit, normalize_queries, shift) is given. A map changes queries: serve them through
            `Nudge.transform_queries`, as every retriever and embedding of this package does. ``"nudge"``,
            ``"query-map"`` and ``"query-map+nudge"`` are the best of their kind, and whatever ``nudge.method`` answers
            is a single one: ``"nudge-n"``, ``"nudge-m"``, ``"nudge-m+n"``, ``"nudge-s"``, ``"contrastive"``,
            ``"ridge"``, ``"iterated-ridge"``, ``"ridge+contrastive"``, ...
        groups: (m,) names; queries of one group are left out together. None: those with equal text are one group, as
            are copies of one question that would answer each other.
        duplicates: What to do about several documents with one text, where a query asks for one of them. ``"merge"``:
            what answers a query under one id answers it under all, so they move as one, and a text is enough to know
            them. ``"keep"``: each moves by its own labels; ids tell them apart, texts do not
            (``Nudge.ambiguous_texts``). ``"error"``: name them.
        signals: What may be added to the dense scores: ``"bm25"`` for English, ``"bm25:de"`` for another language, a
            `Bm25` with a tokenizer, or a `Scorer` of texts of queries and rows of ``dataset.document_ids``. Each gets
            the weight that is best, if it gains more than noise: ``nudge.fusion``. It must be added wherever the nudge
            is served. Without any, a line of ``nudge.candidates`` (print the nudge) says what BM25 would add, where the
            method is ``"auto"``, bm25s is installed and texts have up to 20 million characters.
        document_vectors: (n, d) base vectors in the order of ``dataset.document_ids``, if they are there already: an
            array, a tensor or a memory map; texts may then be empty. Or what `open_corpus` returns: no texts then, nor
            signals, inner product, ``duplicates="error"`` or ``warm``.
        query_vectors: (m, d) in the order of ``dataset.query_ids``, if they are there already.
        validation_query_vectors: The same for the queries of ``validation``.
        similarity: What the documents are ranked by before and after: ``"cosine"``, or ``"dot"``, the inner product, in
            which the lengths of documents count. None: what ``encoder.similarity`` says, where there is such a thing,
            else cosine. Documents of several lengths under ``"dot"`` keep them and are nudged without query maps.
        labels: The log that keeps the labels with the nudge; None for a new one with the labels of the dataset.
        warm: A nudge that was fitted to the same documents in this process: what was searched for it is not searched
            again. The result is the same.
        weights: How much labels count, 1 by default: query id -> a number, or -> {document id: a number}.
        **options: metric, step, unseen_weight, seed, max_seconds, progress, ...; `nudge_integrations.Options` says what
            each means and what it is by default.

    Returns:
        The nudge; where nothing gained beyond noise, its status is ``"no_gain"`` and nothing moves.

    Raises:
        DatasetError: If the dataset has problems (``dataset.repaired()`` leaves them out), the validation queries ask
            for documents that are not in the corpus, or are the training queries, or duplicates were to be refused.
        InputError: If vectors do not fit the dataset, an option is out of range, or a signal is unknown.
        MissingExtraError: If BM25 is asked for and bm25s is not installed.

    >>> dataset = RetrievalDataset({"d": "a text"}, {"q": "a question"}, {"q": {"d": 1}})
    >>> nudge = fit(dataset, "toy", method="nudge-n", step=0.1, document_vectors=[[1.0, 0]], query_vectors=[[0, 1.0]])
    >>> nudge
    Nudge(1 documents moved by 'nudge-n', step=0.1, similarity='cosine', ndcg@10 1.0000 -> 1.0000 over 1 queries, fixed)
    >>> nudge.vector("d").round(3).tolist()
    [0.9950000047683716, 0.10000000149011612]
    """
    dataset, weights = feedback_unwrapped(dataset, weights)
    if isinstance(document_vectors, IdentifiedCorpus):
        from nudge_integrations.pipeline.corpus_fit import fit_corpus

        given = document_vectors, (dataset, validation), encoder, (query_vectors, validation_query_vectors)
        needy = {"signals": signals, "similarity": similarity, "duplicates": duplicates, "warm": warm}
        return fit_corpus(*given, method, weights, groups, labels, needy, options)
    check_labels(dataset, validation, blank_texts_allowed=document_vectors is not None)
    twins, documents = _twins(dataset, duplicates), document_vectors_of(dataset, encoder, document_vectors)
    held_out, validation_queries, row_of = None, None, {document: row for row, document in enumerate(dataset.corpus)}
    if validation is not None:
        validation_queries = query_vectors_of(validation, encoder, validation_query_vectors, "validation_query_vectors")
        same = identical_rows(validation.queries, row_of, options)
        held_out = validation_queries, _relevance(validation, dataset, twins), same
    elif groups is None:
        groups = dataset.query_groups()
    queries = query_vectors_of(dataset, encoder, query_vectors, "query_vectors")
    lifted = InnerProduct.of(documents) if similarity_of(encoder, similarity) == "dot" else None
    beside = AskedSignals.of(signals, dataset, list((validation or dataset).queries.values()))
    if lifted is None and method == "auto" and tries_query_maps(method, options):
        beside = beside.or_told(dataset)
    corpus = remembered_corpus(documents, queries, options, warm) if lifted is None else documents
    data = corpus, queries, _relevance(dataset, dataset, twins)
    counts = weight_matrix(weights, dataset, data[2], dataset.document_ids, twins)
    extra: Beside = {"ignored": identical_rows(dataset.queries, row_of, options), "negatives": None, "weights": counts}
    solution = choose_solution(data, held_out, extra, lifted, method, groups, beside, options)
    kept = partial(kept_labels, encoder, dataset, queries, validation, validation_queries, weights=weights)
    nudge = Nudge.from_solution(
        _together(solution, dataset, twins),
        base_norm=None if lifted is None else lifted.norm,
        ids=dataset.document_ids,
        documents=documents,
        texts=list(dataset.corpus.values()),
        encoder=encoder,
        dataset_hash=dataset.hash,
        validation_hash=None if validation is None else validation.hash,
        labels=kept() if labels is None else labels,
    )
    note_fit(nudge, len(documents), {"method": method, "signals": signals, "duplicates": duplicates, **options})
    return _kept(nudge, FitMemory(tuple(dataset.queries), solution.per_query, getattr(corpus, "searches", None)))


def _kept(nudge: Nudge, memory: FitMemory) -> Nudge:
    """Keep what was searched for a nudge in this process, and say which of its texts tell nothing apart."""
    remember(nudge, memory)
    if nudge.ambiguous_texts:
        logger.info("%d texts are shared by documents that part; only ids tell them apart", len(nudge.ambiguous_texts))
    return nudge


def choose_solution(
    data: tuple[Any, Any, sparse.csr_array],
    held_out: tuple[Any, sparse.csr_array, NDArray[np.int64] | None] | None,
    extra: Beside,
    lifted: InnerProduct | None,
    method: str,
    groups: ArrayLike | Sequence[object] | None,
    beside: AskedSignals,
    options: OptionValues,
) -> Solution:
    """Solve, or select among query maps too, with signals beside; by inner product where documents are lifted."""
    maps = tries_query_maps(method, options, validation=held_out is not None)
    if lifted is not None:
        lifted.check(method, QUERY_MAPS, shift=bool(options.get("shift")), signals=bool(beside.signals))
        data, maps = (lifted.documents, lifted.queries(data[1]), data[2]), False
        held_out = None if held_out is None else (lifted.queries(held_out[0]), *held_out[1:])
    given: Any = {"groups": groups, **extra, **options}
    if maps:
        candidates = CANDIDATES if method == "auto" else (method,)
        given |= {"signals": beside.signals, "query_texts": beside.texts, "serve_signals": beside.serve}
        return select(*data, candidates=candidates, **given)
    single, given = "auto" if method == "nudge" else method, {"validation": held_out, **given}
    if beside.signals:
        apart: Any = held_out
        prepared = prepare_for(Options().changed(**options), *data, apart, groups, maps=False, **extra)
        solution = solve(prepared, method=single)
        return fuse(prepared, solution, beside.signals, beside.texts, serve=beside.serve)
    solution = solve(*data, method=single, **given)
    return solution if lifted is None else lifted.lowered(solution)


def tries_query_maps(method: str, options: OptionValues, *, validation: bool = False) -> bool:
    """Say whether `fit` tries query maps with this method and these options, which are checked.

    Args:
        method: As in `fit`.
        options: As in `fit`.
        validation: Whether there is a validation set.

    Raises:
        InputError: If query maps were asked for with an option of nudges alone, or the method or an option is unknown
            or out of range.

    >>> tries_query_maps("auto", {}), tries_query_maps("auto", {"step": 0.1})
    (True, False)
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
    changed = Options().changed(**options)
    given = [name for name in _FOR_NUDGES if getattr(changed, name) != getattr(Options(), name)]
    given += ["validation"] if validation else []
    if method in QUERY_MAPS and given:
        raise InputError(
            f"method={method!r} is evaluated by leave-one-out and takes no {', '.join(given)}=; leave it out"
        )
    return method in QUERY_MAPS or (method == "auto" and not given)


def check_labels(dataset: RetrievalDataset, validation: RetrievalDataset | None, *, blank_texts_allowed: bool) -> None:
    """Refuse labels with problems, and validation labels that do not go with them."""
    for part in (dataset,) if validation is None else (dataset, validation):
        if not isinstance(part, RetrievalDataset):
            raise InputError(f"expected a RetrievalDataset, got a {type(part).__name__}: RetrievalDataset.from_object")
        # A document whose vector is given, an image say, needs no text; its id stands in for it here.
        corpus = {i: text.strip() or i for i, text in part.corpus.items()} if blank_texts_allowed else part.corpus
        RetrievalDataset(corpus, part.queries, part.qrels).validate().raise_for_problems()
    if validation is None:
        return
    unknown = [i for grades in validation.qrels.values() for i in grades if i not in dataset.corpus]
    other = [i for i, text in validation.corpus.items() if dataset.corpus.get(i, text) != text]
    for ids, problem in (
        (unknown, "is not in the corpus of the dataset: give both the union of their documents"),
        (other, "has another text there than in the dataset: give them different ids"),
    ):
        if ids:
            raise DatasetError(f"validation: document {ids[0]!r} (of {len(set(ids))}) {problem}")
    known = [i for i, text in validation.queries.items() if dataset.queries.get(i) == text]
    if known:
        raise DatasetError(
            f"validation: query {known[0]!r} (of {len(known)}) is a training query too, so the step would be chosen by "
            "what it learned from: hold queries out with dataset.split(), or give no validation for leave-one-out"
        )


def _twins(dataset: RetrievalDataset, duplicates: str) -> dict[str, tuple[str, ...]]:
    """Return id -> the ids of all documents with the same text, for those that must move as one."""
    if duplicates not in ("keep", "merge", "error"):
        raise InputError(f"duplicates must be 'keep', 'merge' or 'error'; got {duplicates!r}")
    if duplicates == "keep":
        return {}
    relevant = {i for grades in dataset.qrels.values() for i, grade in grades.items() if grade != 0}
    groups = [ids for ids in dataset.validate().duplicate_texts if not relevant.isdisjoint(ids)]
    if duplicates == "error" and groups:
        named = "; ".join(", ".join(map(repr, ids)) for ids in groups[:5])
        raise DatasetError(
            f"{len(groups)} texts belong to several documents, and queries ask for some of them: {named}. "
            "Give each text one id, or say duplicates='merge' to move them as one"
        )
    return {document_id: ids for ids in groups for document_id in ids}


def _relevance(
    part: RetrievalDataset, dataset: RetrievalDataset, twins: Mapping[str, tuple[str, ...]]
) -> sparse.csr_array:
    """Return (queries, n) gains; documents that move as one all have the largest gain among them."""
    qrels = {query: dict(grades) for query, grades in part.qrels.items()}
    for query, grades in part.qrels.items():
        for document_id, grade in grades.items():
            for twin in twins.get(document_id, ()):
                qrels[query][twin] = max(grade, qrels[query].get(twin, grade))
    return RetrievalDataset(part.corpus, part.queries, qrels).relevance(document_ids=dataset.document_ids, signed=True)


def _together(solution: Solution, dataset: RetrievalDataset, twins: Mapping[str, tuple[str, ...]]) -> Solution:
    """Give documents that move as one exactly one vector; encoders differ in the last bits between batches."""
    if not twins:
        return solution
    ids = dataset.document_ids
    first_row: dict[tuple[str, ...], int] = {}
    source = [
        first_row.setdefault(twins.get(ids[row], (ids[row],)), position) for position, row in enumerate(solution.rows)
    ]
    return replace(solution, vectors=solution.vectors[source])
