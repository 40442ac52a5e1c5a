"""Inputs beside the corpus: queries, gains and groups, checked, and which vectors are equal."""

from __future__ import annotations

from collections.abc import Sequence
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

__all__ = ["apart_from", "both_ignored", "checked_side", "groups_of", "parts_of"]


def checked_side(
    corpus: Corpus, options: Options, given: tuple[object, object, object], name: str
) -> tuple[torch.Tensor, sparse.csr_array, NDArray[np.int64] | None]:
    """Check queries, their gains and the rows that they ignore against the corpus.

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
    relevance = _relevance(gains, len(rows), len(corpus), f"{name}relevance")
    never = _ignored_rows(options, ignored, len(rows), len(corpus), f"{name}ignored")
    return unit if options.normalize_queries else block, relevance, never


def _relevance(relevance: object, queries: int, documents: int, name: str) -> sparse.csr_array:
    """Return gains as a (queries, documents) float64 CSR array without duplicates, which are summed, or zeros."""
    try:
        gains: sparse.csr_array[np.float64] = sparse.csr_array(cast("sparse.csr_array", relevance)).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a scipy sparse matrix of gains; got {type(relevance).__name__}") from error
    if gains.shape != (queries, documents):
        raise InputError(
            f"{name} must be (queries, documents) = ({queries}, {documents}); got {'x'.join(map(str, gains.shape))}"
        )
    bad = np.flatnonzero(~(np.isfinite(gains.data) & (gains.data >= 0)))
    if len(bad):
        query = int(np.searchsorted(gains.indptr, bad[0], side="right")) - 1
        raise InputError(
            f"{name} must hold finite gains >= 0; query row {query} has gain {gains.data[bad[0]]} "
            f"for document row {gains.indices[bad[0]]}"
        )
    gains.sum_duplicates()
    gains.eliminate_zeros()
    return gains


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
        return group_codes(_as_bytes(queries)) if queries.numel() else np.arange(len(queries))
    names = np.asarray(groups)
    if names.shape != (len(queries),):
        raise InputError(f"groups must name one group for each of the {len(queries)} queries; got shape {names.shape}")
    return group_codes(names)


def apart_from(sample: torch.Tensor, labelled: torch.Tensor) -> torch.Tensor:
    """Return a sample without labelled documents: as many copies of each vector are left out as are labelled."""
    names = group_codes(np.concatenate([_as_bytes(labelled), _as_bytes(sample)]))
    order = np.argsort(names, kind="stable")
    earlier = np.empty(len(names), np.int64)
    earlier[order] = np.arange(len(names)) - np.searchsorted(names[order], names[order])
    copies = np.bincount(names[: len(labelled)], minlength=len(names))
    # The labelled ones come first, so that they are counted twice here.
    kept = earlier >= 2 * copies[names]
    return sample[torch.from_numpy(kept[len(labelled) :]).to(sample.device)]


def _as_bytes(rows: torch.Tensor) -> NDArray[np.void]:
    """Return (r,) one opaque value a row, to compare rows by; -0 counts as 0."""
    values = np.ascontiguousarray((rows + 0.0).cpu().numpy())
    return values.view(np.dtype((np.void, max(1, values.shape[1] * values.itemsize)))).ravel()
