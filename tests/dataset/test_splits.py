"""Splits that are out of distribution: whole clusters of queries, and documents that nobody labelled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.clusters import cluster
from nudge_integrations.errors import DatasetError, InputError


def blobs(*sizes: int, spread: float = 0.05) -> NDArray[np.float64]:
    """Vectors around as many axes as there are sizes, in a mixed order."""
    random = np.random.default_rng(0)
    centres = np.repeat(np.eye(len(sizes)), sizes, axis=0)
    return random.permutation(centres + random.normal(0, spread, centres.shape))


def dataset_of(count: int) -> RetrievalDataset:
    corpus = {f"d{row}": f"text {row}" for row in range(count)}
    return RetrievalDataset(
        corpus, {f"q{row}": "?" for row in range(count)}, {f"q{r}": {f"d{r}": 1} for r in range(count)}
    )


# -------------------------------------------------------------------------------------------------------- clusters


def test_clusters_that_are_far_apart_are_found_largest_first() -> None:
    vectors = blobs(30, 50, 20)
    found = cluster(vectors * np.random.default_rng(1).uniform(0.1, 9, (100, 1)), 3, seed=4)
    assert np.bincount(found).tolist() == [50, 30, 20]
    assert all(len(set(vectors[found == number].argmax(axis=1))) == 1 for number in range(3))


@pytest.mark.parametrize("name", ["scifact", "nfcorpus"])
def test_clusters_of_real_queries_are_as_tight_as_scipys(collection: Callable[[str], Path], name: str) -> None:
    queries = np.load(collection(name) / "minilm" / "queries.f16.npy")[:800].astype(np.float64)

    def spread(groups: NDArray[Any]) -> float:
        return sum(
            float(((rows - rows.mean(axis=0)) ** 2).sum()) for rows in (queries[groups == g] for g in set(groups))
        )

    ours = spread(cluster(queries, 2))
    theirs = min(spread(kmeans2(queries, 2, minit="++", seed=seed)[1]) for seed in range(5))
    assert ours <= 1.005 * theirs


@given(
    arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.sampled_from([-1.0, 0.5, 1.0])),
    st.integers(1, 5),
)
def test_every_vector_is_in_one_group_and_equal_vectors_in_the_same(vectors: NDArray[np.float32], k: int) -> None:
    found = cluster(vectors, k)
    sizes = np.bincount(found, minlength=min(k, len(vectors)))
    assert sizes.sum() == len(vectors)
    assert (np.diff(sizes) <= 0).all()
    for row, vector in enumerate(vectors):
        assert len(set(found[(vectors == vector).all(axis=1)].tolist())) == 1, row


# ----------------------------------------------------------------------------------------------------- by cluster


def test_the_last_part_is_a_cluster_that_the_others_never_saw() -> None:
    dataset, vectors = dataset_of(100), blobs(70, 30)
    train, validation, test = dataset.split(by="cluster", query_vectors=vectors)
    axis = {query: int(vector.argmax()) for query, vector in zip(dataset.queries, vectors, strict=True)}
    assert [len(train), len(validation), len(test)] == [61, 9, 30]
    assert {axis[query] for query in test.queries} == {1}
    assert {axis[query] for part in (train, validation) for query in part.queries} == {0}
    assert train.merge(validation).merge(test).hash == dataset.hash
    again = dataset.split(by="cluster", query_vectors=vectors)
    assert [part.hash for part in again] == [part.hash for part in (train, validation, test)]
    assert dataset.split(by="cluster", query_vectors=vectors, seed=1)[0].hash != train.hash


def test_of_several_clusters_the_one_nearest_to_the_share_asked_for_is_held_out() -> None:
    train, test = dataset_of(100).split((0.8, 0.2), by="cluster", query_vectors=blobs(50, 30, 20), clusters=3)
    assert (len(train), len(test)) == (80, 20)
    train, test = dataset_of(100).split((0.5, 0.5), by="cluster", query_vectors=blobs(50, 30, 20), clusters=3)
    assert (len(train), len(test)) == (50, 50)


@pytest.mark.parametrize(
    ("fractions", "options", "error", "words"),
    [
        ((0.8, 0.2), {}, DatasetError, "needs query_vectors="),
        ((0.8, 0.2), {"query_vectors": np.ones((9, 2))}, InputError, "9 vectors came with 10 ids"),
        ((0.8, 0.2), {"query_vectors": np.zeros((10, 2))}, InputError, "'q0' is the zero vector"),
        ((0.8, 0.2), {"query_vectors": np.eye(10), "clusters": 1}, DatasetError, "at least 2 clusters.*clusters=1"),
        ((1.0, 0.0), {"query_vectors": np.eye(10)}, DatasetError, "last fraction of 0"),
        ((1.0,), {"query_vectors": np.eye(10)}, DatasetError, "last fraction of 1"),
        ((0.8, 0.2), {"query_vectors": np.ones((10, 2))}, DatasetError, "has no query"),
    ],
)
def test_what_cannot_be_split_by_cluster_is_refused(
    fractions: tuple[float, ...], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        dataset_of(10).split(fractions, by="cluster", **options)
