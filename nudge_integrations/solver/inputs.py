"""Inputs beside the corpus: queries, gains, noes, weights and groups, checked, and which vectors are equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from nudge_integrations.corpus import Corpus, as_matrix
from nudge_integrations.corpus.arrays import block_of, device_of, unit_block
from nudge_integrations.errors import InputError
from nudge_integrations.solver.labels import group_codes
from nudge_integrations.solver.options import Options

__all__ = ["GivenLabels", "apart_from", "as_bytes", "both_ignored", "checked_side", "groups_of", "parts_of"]


@dataclass(frozen=True, eq=False)
class GivenLabels:
    """Queries and what they say about all documents.

    Attributes:
        queries: (m, d) float32.
        gains: (m, n) gains > 0, each times the weight of its label.
        shares: (m, n) these weights, stored as the gains are; None where all are one.
        noes: (m, n) > 0 where a document does not answer a query; None where nobody said so.
        ignored: (m,) int64, the document that each query never finds, -1 for none; None where none has one.
        hidden: (m,) int64, where that is among labelled documents and then a sample, see `Labels`; None where unknown.
    """

    queries: torch.Tensor
    gains: sparse.csr_array
    shares: sparse.csr_array | None
    noes: sparse.csr_array | None
    ignored: NDArray[np.int64] | None = None
    hidden: NDArray[np.int64] | None = None

    def rows(self) -> NDArray[np.int64]:
        """Return the documents that are labelled, ascending."""
        noes = () if self.noes is None else self.noes.indices
        return np.union1d(self.gains.indices, noes).astype(np.int64)


def checked_side(
    corpus: Corpus,
    options: Options,
    given: tuple[object, object, object],
    name: str,
    negatives: object = None,
    weights: object = None,
) -> GivenLabels:
    """Check queries, their labels and the rows that they ignore against the corpus.

    Returns them on the device, the queries at unit length if that was asked for.
    """
    vectors, gains, ignored = given
    rows = as_matrix(vectors, f"{name}queries")
    if rows.shape[1] != corpus.dimension:
        raise InputError(
            f"{name}queries have {rows.shape[1]} dimensions and documents {corpus.dimension}; "
            "embed both with the same encoder"
        )
    documents = getattr(corpus, "vectors", None)
    device = device_of(np.zeros(0) if documents is None else documents, options.device)
    block = block_of(rows, slice(0, len(rows)), device)
    unit = unit_block(block if options.normalize_queries else block.clone(), f"{name}queries")
    shape = len(rows), len(corpus)
    yes, noes = _parted(_matrix(gains, shape, f"{name}relevance"))
    if negatives is not None:
        more = _matrix(negatives, shape, f"{name}negatives", least=0.0)
        noes = more if noes is None else (noes + more).tocsr()
    _refuse_contradictions(yes, noes, name)
    queries = unit if options.normalize_queries else block
    never = _ignored_rows(options, ignored, *shape, f"{name}ignored")
    if weights is None:
        return GivenLabels(queries, yes, None, noes, never)
    table = _weight_table(weights, shape)
    shares = _at(table, yes, f"{name}weights")
    pushes = None if noes is None else _weighed(noes, _at(table, noes, f"{name}weights"))
    kept = shares.copy()
    kept.eliminate_zeros()
    return GivenLabels(queries, _weighed(yes, shares), kept, pushes, never)


def _matrix(given: object, shape: tuple[int, int], name: str, least: float = -np.inf) -> sparse.csr_array:
    """Return a (queries, documents) float64 CSR array without duplicates, which are summed, or zeros."""
    try:
        found: sparse.csr_array[np.float64] = sparse.csr_array(cast("sparse.csr_array", given)).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a scipy sparse matrix of numbers; got {type(given).__name__}") from error
    if found.shape != shape:
        wanted = f"(queries, documents) = ({shape[0]}, {shape[1]})"
        raise InputError(f"{name} must be {wanted}; got {'x'.join(map(str, found.shape))}")
    bad = np.flatnonzero(~(np.isfinite(found.data) & (found.data >= least)))
    if len(bad):
        query = int(np.searchsorted(found.indptr, bad[0], side="right")) - 1
        raise InputError(
            f"{name} must hold finite numbers{'' if least < 0.0 else f' >= {least:g}'}; query row {query} has "
            f"{found.data[bad[0]]} for document row {found.indices[bad[0]]}"
        )
    found.sum_duplicates()
    found.eliminate_zeros()
    return found


def _parted(relevance: sparse.csr_array) -> tuple[sparse.csr_array, sparse.csr_array | None]:
    """Return gains > 0, and negative ones, which are noes, with their sign turned; None where there is none."""
    if not (relevance.data < 0.0).any():
        return relevance, None
    both = []
    for sign in (1.0, -1.0):
        part = relevance.copy()
        part.data = np.maximum(sign * part.data, 0.0)
        part.eliminate_zeros()
        both.append(part)
    return both[0], both[1]


def _refuse_contradictions(yes: sparse.csr_array, noes: sparse.csr_array | None, name: str) -> None:
    if noes is None:
        return
    both = yes.multiply(noes).tocoo()
    if both.nnz:
        raise InputError(
            f"{name}query row {both.coords[0][0]} says yes and no to document row {both.coords[1][0]} "
            f"(of {both.nnz} such pairs): keep one of the two, the later one say"
        )


def _weight_table(weights: object, shape: tuple[int, int]) -> NDArray[np.float64] | sparse.csr_array:
    """Return (m,) the weight of each query's labels, or (m, n) that of each label; stored zeros are kept."""
    table: NDArray[np.float64] | sparse.csr_array
    if sparse.issparse(weights):
        table = sparse.csr_array(cast("sparse.csr_array", weights)).astype(np.float64)
        table.sum_duplicates()
        values, fits = table.data, table.shape == shape
    else:
        values = table = np.asarray(weights, dtype=np.float64)
        fits = table.shape == shape[:1]
    if not fits or not (np.isfinite(values) & (values >= 0.0)).all():
        raise InputError(
            f"weights must be finite numbers >= 0, one a query {shape[:1]} or, sparse, one a label {shape}; "
            f"got shape {table.shape} with values {values.min(initial=0.0):g} .. {values.max(initial=0.0):g}"
        )
    return table


def _at(table: NDArray[np.float64] | sparse.csr_array, labels: sparse.csr_array, name: str) -> sparse.csr_array:
    """Return the weight of each label, stored as the labels are."""
    rows = np.repeat(np.arange(labels.shape[0]), np.diff(labels.indptr))
    if isinstance(table, np.ndarray):
        return sparse.csr_array((table[rows], labels.indices, labels.indptr), shape=labels.shape)
    width = labels.shape[1]
    known = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr)) * width + table.indices
    wanted = rows * width + labels.indices
    place = np.minimum(np.searchsorted(known, wanted), max(0, len(known) - 1))
    missing = np.flatnonzero(known[place] != wanted) if len(known) else np.arange(len(wanted))
    if len(missing):
        raise InputError(
            f"{name} has no entry for query row {rows[missing[0]]} and document row {labels.indices[missing[0]]} "
            f"(of {len(missing)} labels): give each label a weight, 0 to leave it out"
        )
    return sparse.csr_array((table.data[place], labels.indices, labels.indptr), shape=labels.shape)


def _weighed(labels: sparse.csr_array, shares: sparse.csr_array) -> sparse.csr_array:
    """Return labels times their weights; those of weight 0 are gone."""
    product = labels.copy()
    product.data *= shares.data
    product.eliminate_zeros()
    return product


def parts_of(validation: object) -> tuple[object, object, object]:
    """Return the queries and the relevance of a validation set, and the rows that its queries ignore, or None."""
    if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
        raise InputError("validation must be a pair (queries, relevance) of held-out queries and their gains")
    return validation[0], validation[1], validation[2] if len(validation) > 2 else None


def _ignored_rows(options: Options, rows: object, queries: int, documents: int, name: str) -> NDArray[np.int64] | None:
    """Return (m,) the document that each query never finds, -1 for none; None where none has one."""
    if rows is None:
        if options.ignore_identical_ids:
            raise InputError(f"ignore_identical_ids=True needs ids, which arrays have not: give rows: {name}=")
        return None
    found = np.asarray(rows)
    if found.shape != (queries,) or found.dtype.kind not in "iu":
        raise InputError(
            f"{name} must be one whole number for each of the {queries} queries, the row of a document or -1; "
            f"got {found.dtype} {found.shape}"
        )
    odd = np.flatnonzero((found < -1) | (found >= documents))
    if len(odd):
        raise InputError(f"{name} row {odd[0]} is {found[odd[0]]}; expected a document row below {documents}, or -1")
    return found.astype(np.int64) if (found >= 0).any() else None


def both_ignored(
    evaluated: NDArray[np.int64] | None, labelled: NDArray[np.int64] | None, queries: int, labels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return what evaluated and labelled queries ignore, -1 for nothing; None where neither ignores anything."""
    if evaluated is None and labelled is None:
        return None
    return (
        np.full(queries, -1) if evaluated is None else evaluated,
        np.full(labels, -1) if labelled is None else labelled,
    )


def groups_of(groups: ArrayLike | Sequence[object] | None, queries: torch.Tensor) -> NDArray[np.int64]:
    """Return the group of each query; where none are given, queries with equal vectors are one group.

    A question that was asked twice would answer itself in leave-one-out.
    """
    if groups is None:
        return group_codes(as_bytes(queries)) if queries.numel() else np.arange(len(queries))
    names = np.asarray(groups)
    if names.shape != (len(queries),):
        raise InputError(f"groups must name one group for each of the {len(queries)} queries; got shape {names.shape}")
    return group_codes(names)


def apart_from(sample: torch.Tensor, labelled: torch.Tensor) -> torch.Tensor:
    """Return a sample without labelled documents: as many copies of each vector are left out as are labelled."""
    names = group_codes(np.concatenate([as_bytes(labelled), as_bytes(sample)]))
    order = np.argsort(names, kind="stable")
    earlier = np.empty(len(names), np.int64)
    earlier[order] = np.arange(len(names)) - np.searchsorted(names[order], names[order])
    copies = np.bincount(names[: len(labelled)], minlength=len(names))
    # The labelled ones come first, so that they are counted twice here.
    kept = earlier >= 2 * copies[names]
    return sample[torch.from_numpy(kept[len(labelled) :]).to(sample.device)]


def as_bytes(rows: torch.Tensor) -> NDArray[np.void]:
    """Return (r,) one opaque value a row, to compare rows by; -0 counts as 0."""
    values = np.ascontiguousarray((rows + 0.0).cpu().numpy())
    return values.view(np.dtype((np.void, max(1, values.shape[1] * values.itemsize)))).ravel()
