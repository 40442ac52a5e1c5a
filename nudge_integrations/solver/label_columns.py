"""Labels among some documents only, and labels and those of a validation set below each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations.corpus import Corpus
from nudge_integrations.corpus.arrays import unit_block
from nudge_integrations.solver.inputs import GivenLabels, as_bytes
from nudge_integrations.solver.labels import Labels, mean_share

__all__ = ["among", "hidden_places", "importance", "stacked"]


def stacked(labels: Labels, held_out: GivenLabels, name: str) -> sparse.csr_array | None:
    """Return what labels and validation labels say, below each other; None where neither says anything."""
    said: list[sparse.csr_array | None] = [getattr(labels, name), getattr(held_out, name)]
    if all(part is None for part in said):
        return None
    gains = (labels.gains, held_out.gains)
    parts = [_unsaid(of, name) if part is None else part for part, of in zip(said, gains, strict=True)]
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def _unsaid(gains: sparse.csr_array, name: str) -> sparse.csr_array:
    """Return weights of one, or no noes."""
    if name == "noes":
        return sparse.csr_array(gains.shape)
    return sparse.csr_array((np.ones(gains.nnz), gains.indices, gains.indptr), shape=gains.shape)


def importance(labels: GivenLabels, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return how much each of some queries counts, 1 on average; None where labels have no weights."""
    if labels.shares is None:
        return None
    weights = mean_share(labels.gains, labels.shares)[rows]
    return weights / weights.mean() if len(rows) else weights


def among(labels: GivenLabels, rows: NDArray[np.int64]) -> GivenLabels:
    """Return labels with only the documents in ``rows`` as columns."""
    noes, shares = (None if part is None else _columns(part, rows) for part in (labels.noes, labels.shares))
    return replace(labels, gains=_columns(labels.gains, rows), shares=shares, noes=noes)


def hidden_places(
    corpus: Corpus, ignored: NDArray[np.int64] | None, rows: NDArray[np.int64], sample: torch.Tensor
) -> NDArray[np.int64] | None:
    """Return (m,) where the document that each query never finds is among some documents and then a sample of others.

    Args:
        corpus: The documents.
        ignored: (m,) their corpus rows, -1 for none; None where none has one.
        rows: (u,) the labelled documents, ascending.
        sample: (s, d) unit vectors of others, whose rows nobody knows: they are known by their vectors.

    Returns:
        A column below u, or u and the place in the sample; -1 for neither. None where ``ignored`` is.
    """
    if ignored is None:
        return None
    column = np.searchsorted(rows, ignored)
    places = np.where((column < len(rows)) & (np.append(rows, -1)[column] == ignored), column, -1)
    others = np.unique(ignored[(ignored >= 0) & (places < 0)])
    if len(others) and len(sample):
        vectors = unit_block(torch.from_numpy(corpus.take(others)).to(sample.device), "documents", others)
        place_of = {vector: len(rows) + place for place, vector in enumerate(as_bytes(sample).tolist())}
        found = np.array([place_of.get(vector, -1) for vector in as_bytes(vectors).tolist()])
        unlabelled = np.flatnonzero((ignored >= 0) & (places < 0))
        places[unlabelled] = found[np.searchsorted(others, ignored[unlabelled])]
    return places


def _columns(gains: sparse.csr_array, rows: NDArray[np.int64]) -> sparse.csr_array:
    """Return gains with only the columns in ``rows``, renumbered."""
    columns = np.searchsorted(rows, gains.indices)
    return sparse.csr_array((gains.data, columns, gains.indptr), shape=(gains.shape[0], len(rows)))
