"""The inputs of `solve`: checked once, and prepared in one pass over the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from nudge_integrations.errors import InputError
from nudge_integrations.solver.arrays import Matrix, block_of, check_matrix, check_relevance, device_of, unit_rows
from nudge_integrations.solver.problem import EvaluationQueries, Labels
from nudge_integrations.solver.topk import read_corpus

__all__ = ["Inputs", "Prepared", "prepare", "read_inputs"]

# Documents without a label that stand for all of them in a softmax: exact for corpora up to this size.
SAMPLE = 16_384


@dataclass(frozen=True, eq=False)
class Inputs:
    """Checked inputs.

    Attributes:
        documents: (n, d), as given.
        queries: (m, d) float32 on the device.
        gains: (m, n) gains of the labels.
        groups: (m,) int64, or None where every query is its own.
        held_out: Queries (v, d) and gains (v, n) to evaluate by, or None for leave-one-out.
    """

    documents: Matrix
    queries: torch.Tensor
    gains: sparse.csr_array
    groups: NDArray[np.int64] | None
    held_out: tuple[torch.Tensor, sparse.csr_array] | None


@dataclass(frozen=True, eq=False)
class Prepared:
    """What one pass over the corpus leaves to work on.

    Attributes:
        labels: The labels that set the directions while steps are evaluated.
        held_out: Queries (v, d) and gains (v, u) of the validation labels, or None.
        evaluation: The queries that a step is evaluated by.
        evaluation_rows: (e,) int64, which of the given queries these are.
        evaluable: How many queries could have been evaluated by.
        sample: (s, d) float32 documents that nobody labelled, for a softmax over the corpus.
        others: How many documents nobody labelled.
    """

    labels: Labels
    held_out: tuple[torch.Tensor, sparse.csr_array] | None
    evaluation: EvaluationQueries
    evaluation_rows: NDArray[np.int64]
    evaluable: int
    sample: torch.Tensor
    others: int

    def everything(self) -> Labels:
        """Return the labels with the validation ones, for the final directions; made when they are needed."""
        labels = self.labels
        if self.held_out is None:
            return labels
        queries, gains = self.held_out
        every = torch.cat([labels.queries, queries])
        together = sparse.vstack([labels.gains, gains], format="csr")
        return Labels(every, together, np.arange(len(every)), labels.rows, labels.documents)


def read_inputs(
    documents: object,
    queries: object,
    relevance: object,
    validation: tuple[object, object] | None,
    groups: ArrayLike | Sequence[object] | None,
    device: str | torch.device | None,
    *,
    normalize_queries: bool,
) -> Inputs:
    """Check the inputs of `solve` against each other.

    Raises:
        InputError: If a shape, type or value cannot be used; says which.
    """
    corpus = check_matrix(documents, "documents")
    on = device_of(corpus, device)

    def side(vectors: object, gains: object, name: str) -> tuple[torch.Tensor, sparse.csr_array]:
        rows = check_matrix(vectors, f"{name}queries")
        if rows.shape[1] != corpus.shape[1]:
            raise InputError(
                f"{name}queries have {rows.shape[1]} dimensions and documents {corpus.shape[1]}; "
                "embed both with the same encoder"
            )
        block = block_of(rows, slice(0, len(rows)), on)
        unit = unit_rows(block if normalize_queries else block.clone(), f"{name}queries")
        return unit if normalize_queries else block, check_relevance(gains, len(rows), len(corpus), f"{name}relevance")

    train = side(queries, relevance, "")
    held_out = None if validation is None else side(*_two(validation), "validation ")
    if groups is not None and held_out is not None:
        raise InputError("groups= leaves groups out together, so it goes without validation=; give one of the two")
    return Inputs(corpus, *train, None if groups is None else _group_codes(groups, len(train[0])), held_out)


def _two(validation: object) -> tuple[object, object]:
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise InputError("validation must be a pair (queries, relevance) of held-out queries and their gains")
    return validation[0], validation[1]


def _group_codes(groups: ArrayLike | Sequence[object], queries: int) -> NDArray[np.int64]:
    names = np.asarray(groups)
    if names.shape != (queries,):
        raise InputError(f"groups must name one group for each of the {queries} queries; got shape {names.shape}")
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def prepare(
    inputs: Inputs,
    k: int,
    *,
    max_queries: int,
    sample: bool,
    seed: int,
    block_bytes: int,
    progress: bool,
    evaluation_rows: NDArray[np.int64] | None = None,
) -> Prepared:
    """Choose the evaluation queries and read the corpus once.

    Args:
        inputs: Checked inputs.
        k: The metric's cutoff.
        max_queries: Evaluate by a seeded sample of at most this many queries.
        sample: Whether a softmax over the corpus will be taken.
        seed: For both samples.
        block_bytes: Bound on the temporary memory.
        progress: Show a progress bar.
        evaluation_rows: Evaluate by these queries, ascending, and no sample of them.
    """
    random = np.random.default_rng(seed)
    queries, gains = (inputs.queries, inputs.gains) if inputs.held_out is None else inputs.held_out
    able = np.flatnonzero(np.diff(gains.indptr))
    drawn = able if len(able) <= max_queries else np.sort(random.choice(able, max_queries, replace=False))
    own = drawn.astype(np.int64) if evaluation_rows is None else evaluation_rows
    rows = np.union1d(inputs.gains.indices, gains.indices).astype(np.int64)
    others = len(inputs.documents) - len(rows)
    sampled = _sample(rows, others, min(SAMPLE, others) if sample else 0, random)
    evaluation = queries[torch.from_numpy(own).to(queries.device)]
    corpus = read_corpus(inputs.documents, rows, sampled, evaluation, k, block_bytes=block_bytes, progress=progress)
    groups = np.arange(len(inputs.queries)) if inputs.groups is None else inputs.groups
    labels = Labels(inputs.queries, _columns(inputs.gains, rows), groups, rows, corpus.labelled)
    return Prepared(
        labels,
        None if inputs.held_out is None else (queries, _columns(gains, rows)),
        EvaluationQueries(
            evaluation,
            _columns(gains[own], rows),
            own if inputs.held_out is None else None,
            groups[own] if inputs.held_out is None else np.arange(len(own)),
            corpus.scores.double().cpu().numpy(),
            corpus.rows.cpu().numpy(),
        ),
        own,
        len(able),
        corpus.sample,
        others,
    )


def _columns(gains: sparse.csr_array, rows: NDArray[np.int64]) -> sparse.csr_array:
    """Return gains with only the columns in ``rows``, renumbered."""
    columns = np.searchsorted(rows, gains.indices)
    return sparse.csr_array((gains.data, columns, gains.indptr), shape=(gains.shape[0], len(rows)))


def _sample(labelled: NDArray[np.int64], others: int, size: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return a uniform sample of the rows that are not labelled, ascending."""
    position = np.sort(random.choice(others, size, replace=False)) if size else np.zeros(0, np.int64)
    return (position + np.searchsorted(labelled - np.arange(len(labelled)), position, side="right")).astype(np.int64)
