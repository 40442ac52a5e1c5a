"""`prepare`: everything that is read of a corpus for some labels, in one pass; `solve` and `select` work on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from nudge_integrations.corpus import Corpus, as_corpus
from nudge_integrations.corpus.arrays import unit_block
from nudge_integrations.errors import InputError
from nudge_integrations.solver.inputs import GivenLabels, apart_from, both_ignored, checked_side, groups_of, parts_of
from nudge_integrations.solver.label_columns import among, hidden_places, importance, stacked
from nudge_integrations.solver.labels import EvaluationQueries, Labels, able_to_push
from nudge_integrations.solver.noes_alone import say_no_alone, with_next_best
from nudge_integrations.solver.options import Options, OptionValues
from nudge_integrations.solver.pools import Pools, searched

__all__ = ["Beside", "Prepared", "prepare", "prepare_for"]

# Documents that stand for the whole corpus where a mean over it is wanted: exact for corpora up to this size.
_SAMPLE = 8192

# Documents in a query's pool. A query map that is evaluated on pools instead of the corpus is off by up to .07 points
# of nDCG@10 with 200 and .22 with 100 on five collections.
_POOL = 200

# Queries that teach a query map: as many as their search costs no more than that of the evaluation queries, in scores.
_MOST_TEACHING, _SCORES = 8_192, 800_000_000


class Beside(TypedDict):
    """Optional inputs beside queries and their gains; `prepare` explains each."""

    ignored: ArrayLike | None
    negatives: object
    weights: object


@dataclass(frozen=True, eq=False)
class Prepared:
    """All that is read of a corpus for some labels, in one pass.

    Attributes:
        corpus: The documents.
        options: The options that it was prepared with.
        labels: The labels that set the directions while steps are evaluated.
        held_out: The validation labels, with columns (u,) as those of the labels; or None.
        evaluation: The queries that a step is evaluated by.
        evaluation_rows: (e,) int64, which of the given queries these are.
        evaluable: How many queries could have been evaluated.
        pools: The best documents of labelled queries.
        sample: (s, d) float32 unit vectors, a uniform sample of the documents that nobody labelled.
        covariance: (d, d) float64, of the documents, as a sample has it.
        exact: False where the corpus says that its search may miss documents.
    """

    corpus: Corpus
    options: Options
    labels: Labels
    held_out: GivenLabels | None
    evaluation: EvaluationQueries
    evaluation_rows: NDArray[np.int64]
    evaluable: int
    pools: Pools
    sample: torch.Tensor
    covariance: NDArray[np.float64]
    exact: bool

    def everything(self) -> Labels:
        """Return the labels with the validation ones, for the final directions; made when they are wanted."""
        labels = self.labels
        if self.held_out is None:
            return labels
        held_out, count = self.held_out, len(labels.queries)
        every = torch.cat([labels.queries, held_out.queries])
        hidden = both_ignored(labels.hidden, held_out.hidden, count, len(held_out.queries))
        together = replace(
            labels,
            queries=every,
            gains=sparse.vstack([labels.gains, held_out.gains], format="csr"),
            groups=np.arange(len(every)),
            shares=stacked(labels, held_out, "shares"),
            noes=stacked(labels, held_out, "noes"),
            hidden=None if hidden is None else np.concatenate(hidden),
        )
        pushing = together.able_to_push()
        pushing = pushing[pushing >= count]
        if len(labels.negatives) < len(labels.able_to_push()):  # as large a part of these as of the others
            able = np.flatnonzero(np.diff(held_out.gains.indptr))
            pushing = count + _drawn(
                able, round(len(held_out.queries) * len(labels.negatives) / count), self.options.seed
            )
        return replace(together, negatives=np.concatenate([labels.negatives, pushing]))

    @property
    def noes_alone(self) -> bool:
        """Whether queries only say no, so that what comes next in their rankings stands for the answer."""
        return self.labels.stand_ins is not None

    def evaluated(self) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
        """Return which queries evaluate, and how much each counts."""
        weighted = self.evaluation.importance is not None
        return self.evaluation_rows, self.evaluation.shares if weighted else None

    def with_negative_weight(self, weight: float) -> Prepared:
        """Return the same with so much of the noes in the directions."""
        return replace(self, labels=replace(self.labels, negative_weight=weight))

    def with_options(self, options: Options) -> Prepared:
        """Return the same with other options; a smaller cutoff needs fewer documents that never move."""
        k = options.measured.k
        evaluation = self.evaluation
        static = replace(evaluation, scores=evaluation.scores[:, :k], rows=evaluation.rows[:, :k])
        if options.average != self.options.average:
            static = static.averaged(options.average)
        return replace(self, options=options, evaluation=static)

    def with_documents(self, rows: NDArray[np.int64]) -> Prepared:
        """Return the same with more documents (e, k) in the pools of the evaluation queries."""
        at = self.pools.at(self.evaluation_rows)
        documents, place = np.unique(rows, return_inverse=True)
        real = documents[documents < len(self.corpus)]
        taken = unit_block(torch.from_numpy(self.corpus.take(real)), "documents", real)
        taken = torch.cat([taken, taken.new_zeros(len(documents) - len(real), taken.shape[1])])
        queries = self.evaluation.queries.cpu()
        scores = torch.stack(
            [torch.linalg.vecdot(queries, taken[column]) for column in torch.from_numpy(place.reshape(rows.shape)).T]
        )
        return replace(self, pools=self.pools.with_documents(at, scores.T.numpy(), rows, len(self.corpus)))

    @property
    def unlabelled(self) -> int:
        """How many documents nobody labelled."""
        return len(self.corpus) - int((self.labels.support() > 0).sum())

    def __repr__(self) -> str:
        return (
            f"Prepared({len(self.corpus)} documents of {self.corpus.dimension} dimensions, {len(self.labels.rows)} "
            f"labelled by {len(self.labels.groups)} queries, {len(self.evaluation)} of which evaluate)"
        )


def prepare(
    documents: object,
    queries: object,
    relevance: object,
    *,
    validation: tuple[object, object] | tuple[object, object, object] | None = None,
    groups: ArrayLike | Sequence[object] | None = None,
    ignored: ArrayLike | None = None,
    negatives: object = None,
    weights: object = None,
    **options: Unpack[OptionValues],
) -> Prepared:
    """Read of a corpus what labels need of it: one search, the labelled documents, and a sample.

    `solve` and `select` take the result in place of documents, queries and relevance, so that another method, metric
    or weight costs no further pass.

    Args:
        documents: A `Corpus`, or an (n, d) numpy array, torch tensor or memory map of any float type.
        queries: (m, d), the labelled queries.
        relevance: (m, n) scipy sparse gains, > 0 where a document answers a query. Duplicate entries are summed.
        validation: ``(queries, relevance)`` held out to choose the step by, or with their ``ignored`` as a third; None
            for exact leave-one-out.
        groups: (m,) names; queries of one group are left out together. None: those with equal vectors are one group.
        ignored: (m,) whole numbers, the row of a document that each query never finds, such as itself; -1 for none.
        negatives: (m, n) scipy sparse, > 0 where a document does not answer a query, see `solve`.
        weights: (m,) or (m, n) scipy sparse, how much labels count, see `solve`.
        **options: See `Options`; the metric's cutoff, max_queries, normalize_queries, ignore_identical_ids and seed
            are fixed here.

    Raises:
        InputError: If shapes do not fit, a vector is zero, NaN or infinite (names the row), a label or its weight is
            not finite, a query says yes and no to one document, or an option is out of range.

    Example:
        >>> prepare(np.eye(3), np.eye(3)[:2], sparse.csr_array(np.eye(3)[:2]))
        Prepared(3 documents of 3 dimensions, 2 labelled by 2 queries, 2 of which evaluate)
    """
    changed = Options().changed(**options)
    beside: Beside = {"ignored": ignored, "negatives": negatives, "weights": weights}
    return prepare_for(changed, documents, queries, relevance, validation, groups, **beside)


def prepare_for(
    options: Options,
    documents: object,
    queries: object,
    relevance: object,
    validation: tuple[object, object] | tuple[object, object, object] | None,
    groups: ArrayLike | Sequence[object] | None,
    *,
    ignored: ArrayLike | None = None,
    negatives: object = None,
    weights: object = None,
    softmax: bool = True,
    maps: bool = True,
) -> Prepared:
    """Do what `prepare` does; without a softmax or query maps less is searched."""
    corpus = as_corpus(documents, device=options.device, block_bytes=options.block_bytes, progress=options.progress)
    train = checked_side(corpus, options, (queries, relevance, ignored), "", negatives, weights)
    held_out = None if validation is None else checked_side(corpus, options, parts_of(validation), "validation ")
    if groups is not None and held_out is not None:
        raise InputError("groups= leaves groups out together, so it goes without validation=; give one of the two")
    codes = groups_of(groups, train.queries)
    judge = train if held_out is None else held_out
    alone = say_no_alone(train) and held_out is None
    if alone:
        judge = with_next_best(corpus, train)
    rows = np.union1d(train.rows(), judge.rows())
    able = np.flatnonzero(np.diff(judge.gains.indptr))
    own = _drawn(able, options.max_queries, options.seed)
    hidden = None if judge.ignored is None else judge.ignored[own]
    left_out = own if held_out is None else None
    pushing, teaching = _searched_for(options, corpus, train, left_out, maps)
    device, k = train.queries.device, min(options.measured.k, max(1, len(corpus)))
    documents_of = unit_block(torch.from_numpy(corpus.take(rows)).to(device), "documents", rows)
    evaluated = judge.queries[torch.from_numpy(own).to(device)]
    drawn_with = np.arange(len(own)) if left_out is None else codes[own]
    pooled, pool = (teaching, _POOL) if maps else (own[:0], 4 * k)
    both = both_ignored(hidden, train.ignored, len(own), len(train.queries))
    static, pools, exact = searched(
        corpus, evaluated, left_out, train.queries, pooled, rows, k=k, pool=pool, ignored=both
    )
    sample = torch.from_numpy(corpus.sample(_SAMPLE if softmax or maps else 0, options.seed)).to(device)
    sample = unit_block(sample, "sampled documents")
    train, judge = among(train, rows), among(judge, rows)
    stand, beside = judge.gains if alone else None, apart_from(sample, documents_of)
    unseen, also_unseen = (hidden_places(corpus, side.ignored, rows, beside) for side in (train, judge))
    columns = train.queries, train.gains, codes, rows, documents_of, pushing
    labels = Labels(*columns, train.shares, train.noes, stand_ins=stand, hidden=unseen)
    gains, counts = judge.gains[own], importance(judge, own)
    evaluation = EvaluationQueries(evaluated, gains, left_out, drawn_with, *static, hidden, counts)
    given = None if held_out is None else replace(judge, hidden=also_unseen)
    evaluation = evaluation.averaged(options.average)
    return Prepared(
        corpus, options, labels, given, evaluation, own, len(able), pools, beside, _covariance(sample), exact
    )


def _searched_for(
    options: Options,
    corpus: Corpus,
    labels: GivenLabels,
    evaluated: NDArray[np.int64] | None,
    maps: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the queries whose softmax pushes documents away, and those that teach query maps."""
    able = np.flatnonzero(np.diff(labels.gains.indptr))
    if labels.gains.shape[0] <= options.max_queries:
        return able_to_push(labels.gains, labels.noes), able
    negatives = evaluated if evaluated is not None else _drawn(able, options.max_queries, options.seed)
    most = min(_MOST_TEACHING, _SCORES // max(1, len(corpus))) if maps else 0
    others = np.setdiff1d(able, negatives)
    more = _drawn(others, max(0, most - len(negatives)), options.seed)
    return negatives, np.union1d(negatives, more)


def _drawn(rows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Return all of some ascending rows, or a sample of so many, ascending.

    More rows behind them change few of those that are drawn, so that new labels need few new searches.
    """
    if len(rows) <= count:
        return rows
    priority = np.random.default_rng(seed).random(rows[-1] + 1)[rows]
    return np.sort(rows[np.argsort(priority, kind="stable")[:count]])


def _covariance(sample: torch.Tensor) -> NDArray[np.float64]:
    """Return (d, d), about the mean; zeros where nothing was sampled."""
    if not len(sample):
        return np.zeros((sample.shape[1], sample.shape[1]))
    total = sample.sum(dim=0).double().cpu().numpy() / len(sample)
    products = (sample.T @ sample).double().cpu().numpy() / len(sample)
    return products - np.outer(total, total)
