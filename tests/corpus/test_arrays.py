"""Arrays as a corpus: an exact search in blocks against dense numpy, with ties, any type and any memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nudge_integrations.corpus import ArrayCorpus, Corpus, Neighbours, arrays, as_corpus
from nudge_integrations.corpus.topk import BestSoFar, likely_floor, row_blocks
from nudge_integrations.errors import InputError

Floats = NDArray[np.float32]

# Room for 12 documents of 8 numbers and their scores: the least that is accepted as options, and less than a sample.
SMALL_BLOCKS = 1 << 16


def unit(rows: NDArray[Any]) -> Floats:
    scaled: Floats = (rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)).astype(np.float32)
    return scaled


def scattered(count: int, width: int = 8, seed: int = 0) -> Floats:
    return unit(np.random.default_rng(seed).normal(size=(count, width)))


def dense(documents: NDArray[Any], queries: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return the best k by sorting every score; beyond the last document -inf and the number of documents."""
    scores = queries.astype(np.float64) @ unit(documents).T.astype(np.float64)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    missing = ((0, 0), (0, k - best.shape[1]))
    found = np.pad(np.take_along_axis(scores, best, axis=1), missing, constant_values=-np.inf)
    return found.astype(np.float32), np.pad(best, missing, constant_values=len(documents))


def check(corpus: Corpus, documents: NDArray[Any], queries: Floats, k: int, *, close: float = 2e-6) -> None:
    """Check scores, and rows by the scores that they really have: documents may be closer than float32 tells."""
    found = corpus.search(queries, k)
    scores, _ = dense(documents, queries, k)
    assert (found.scores.shape, found.rows.shape) == ((len(queries), k), (len(queries), k))
    assert found.scores.dtype == np.float32
    assert found.rows.dtype == np.int64
    assert found.exact
    np.testing.assert_allclose(found.scores, scores, atol=close)
    for rows in found.rows:
        real = rows[rows < len(documents)]
        assert len(real) == min(k, len(documents)) == len(set(real.tolist()))
        assert (rows[len(real) :] == len(documents)).all()
    rows = np.minimum(found.rows, len(documents) - 1)
    real_scores = np.einsum("qd,qkd->qk", queries.astype(np.float64), unit(documents)[rows])
    np.testing.assert_allclose(np.where(found.rows < len(documents), real_scores, -np.inf), scores, atol=close)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    count=st.integers(1, 60),
    asked=st.integers(1, 12),
    k=st.integers(1, 70),
    width=st.integers(1, 6),
    rows=st.integers(1, 70),
    seed=st.integers(0, 10**6),
)
def test_the_best_of_any_blocks_are_the_best_of_all(
    count: int, asked: int, k: int, width: int, rows: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    # On a lattice most scores tie; products of small whole numbers are exact, so that rows can be compared.
    documents, queries = (random.integers(-2, 3, (size, width)).astype(np.float32) for size in (count, asked))
    best = BestSoFar(torch.from_numpy(queries), k, count)
    for part in row_blocks(count, rows):
        best.see(torch.from_numpy(documents[part]), part.start)
    scores = queries @ documents.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    missing = ((0, 0), (0, k - order.shape[1]))
    found = [part.numpy() for part in best.result()]
    np.testing.assert_array_equal(found[1], np.pad(order, missing, constant_values=count))
    kept = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_array_equal(found[0], np.pad(kept, missing, constant_values=-np.inf))


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    count=st.integers(1, 200),
    asked=st.integers(1, 10),
    k=st.integers(1, 210),
    width=st.integers(1, 12),
    seed=st.integers(0, 10**6),
)
def test_a_search_finds_what_dense_numpy_finds(count: int, asked: int, k: int, width: int, seed: int) -> None:
    documents, queries = scattered(count, width, seed), scattered(asked, width, seed + 1)
    check(ArrayCorpus(documents, block_bytes=SMALL_BLOCKS), documents, queries, k)


@pytest.mark.parametrize("k", [1, 10, 200, 4999, 5000, 5001])
@pytest.mark.parametrize("block_bytes", [SMALL_BLOCKS, 1 << 22, 1 << 28])
def test_a_corpus_of_many_blocks_is_searched_exactly(k: int, block_bytes: int) -> None:
    documents, queries = scattered(5000), scattered(17, seed=1)
    check(ArrayCorpus(documents, block_bytes=block_bytes), documents, queries, k)


def test_more_queries_than_are_looked_at_together() -> None:
    documents, queries = scattered(3000), scattered(2100, seed=1)
    check(ArrayCorpus(documents), documents, queries, 3)


@pytest.mark.parametrize("block_bytes", [SMALL_BLOCKS, 1 << 26])
@pytest.mark.parametrize("k", [1, 5, 40, 3000])
def test_ties_go_to_the_lower_row_across_blocks(k: int, block_bytes: int) -> None:
    # 3000 documents of three kinds: every one of a kind ties with a thousand others.
    kind = np.random.default_rng(0).integers(0, 3, 3000)
    documents, queries = np.eye(8, dtype=np.float32)[kind], unit(np.tile([[3.0, 2, 1, 0, 0, 0, 0, 0]], (4, 1)))
    found = ArrayCorpus(documents, block_bytes=block_bytes).search(queries, k)
    expected = np.argsort(kind, kind="stable")[:k]
    np.testing.assert_array_equal(found.rows, np.tile(expected, (4, 1)))


@pytest.mark.parametrize("k", [1, 7, 100])
@pytest.mark.parametrize("count", [50, 6000])
def test_where_all_scores_are_equal_the_first_documents_are_found(count: int, k: int) -> None:
    documents = np.ones((count, 4), np.float32)
    found = ArrayCorpus(documents, block_bytes=SMALL_BLOCKS).search(unit(np.ones((3, 4))), k)
    expected = np.where(np.arange(k) < count, np.arange(k), count)
    np.testing.assert_array_equal(found.rows, np.tile(expected, (3, 1)))


@pytest.mark.parametrize("order", ["ascending", "descending", "best last", "best in one block"])
@pytest.mark.parametrize("k", [1, 10, 100, 1000])
def test_no_order_of_the_documents_loses_one(order: str, k: int) -> None:
    documents, queries = scattered(9000, 6), np.repeat(scattered(1, 6, seed=1), 3, axis=0)
    by_score = np.argsort(documents @ queries[0], kind="stable")
    rows = {
        "ascending": by_score,
        "descending": by_score[::-1],
        "best last": np.roll(by_score[::-1], -k),
        "best in one block": np.roll(by_score, 4000),
    }[order]
    check(ArrayCorpus(documents[rows], block_bytes=SMALL_BLOCKS * 4), documents[rows], queries, k)


@pytest.mark.parametrize("k", [1, 10, 100])
def test_a_sample_that_holds_the_best_documents_does_not_hide_the_others(k: int) -> None:
    # The worst that can be drawn: scores that fewer than k documents reach. The search must notice and look again.
    documents, queries = scattered(9000, 6), scattered(5, 6, seed=1)
    best = np.unique(np.argsort(-(queries @ documents.T), axis=1)[:, :400])

    class Unlucky(ArrayCorpus):
        def _rows_of_sample(self, count: int, seed: int) -> NDArray[np.int64]:
            return best

    check(Unlucky(documents), documents, queries, k)


def test_few_reach_the_floor_and_hardly_ever_too_few() -> None:
    documents, queries = scattered(20_000, 12), scattered(400, 12, seed=1)
    scores = queries @ documents.T
    for k in (1, 10, 100):
        sample = np.sort(np.random.default_rng(k).choice(20_000, 2048, replace=False))
        floor = likely_floor(torch.from_numpy(queries), torch.from_numpy(documents[sample]), k, 20_000).numpy()
        reached = (scores >= floor[:, None]).sum(axis=1)
        assert (reached >= k).all()
        assert reached.mean() < 10 * k + 200


def test_there_is_no_floor_where_the_sample_is_too_small_to_tell() -> None:
    floor = likely_floor(torch.ones(2, 3), torch.ones(4, 3), 3, 100)
    assert floor.tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize("kind", [">f4", "f2", "f4", "f8", "i1", "i4", "i8", "u1"])
def test_arrays_of_any_type(kind: str) -> None:
    integral = np.dtype(kind).kind in "iu"
    values = np.random.default_rng(0).integers(1, 100, (300, 8)) if integral else scattered(300) * 3
    documents, queries = values.astype(kind), scattered(6, seed=1)
    check(ArrayCorpus(documents, block_bytes=SMALL_BLOCKS), documents.astype(np.float64), queries, 9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int16])
def test_tensors_of_any_type(dtype: torch.dtype) -> None:
    values = torch.from_numpy(scattered(300) * 50).to(dtype) + (0 if dtype.is_floating_point else 1)
    values[(values == 0).all(dim=1)] = 1
    check(ArrayCorpus(values), values.double().numpy(), scattered(6, seed=1), 9)
    assert len(ArrayCorpus(values)) == 300
    assert ArrayCorpus(values).dimension == 8


def test_any_memory_layout_and_nothing_is_changed(tmp_path: Path) -> None:
    documents, queries = scattered(300) * np.float32(4), scattered(6, seed=1)
    np.save(tmp_path / "documents.npy", documents)
    frozen = documents.copy()
    frozen.flags.writeable = False
    before = documents.copy()
    for same in (
        np.load(tmp_path / "documents.npy", mmap_mode="r"),
        np.asfortranarray(documents),
        np.repeat(documents, 2, axis=0)[::2],
        documents[::-1][::-1],
        frozen,
        torch.from_numpy(documents),
        torch.from_numpy(np.repeat(documents, 2, axis=1))[:, ::2],
        documents.tolist(),
    ):
        check(as_corpus(same, block_bytes=SMALL_BLOCKS), documents, queries, 9)
    np.testing.assert_array_equal(documents, before)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_documents_are_compared_at_unit_length(scale: float) -> None:
    documents, queries = scattered(300), scattered(6, seed=1)
    lengths = np.random.default_rng(2).uniform(0.1, 10.0, (300, 1)) * scale
    check(ArrayCorpus((documents * lengths).astype(np.float32)), documents, queries, 20)


@pytest.mark.parametrize(("value", "what"), [(0.0, "a zero vector"), (np.nan, "not finite"), (np.inf, "not finite")])
@pytest.mark.parametrize("row", [0, 700, 2999])
def test_a_document_without_a_direction_is_named_by_its_row(value: float, what: str, row: int) -> None:
    documents = scattered(3000)
    documents[row, slice(None) if value == 0 else 3] = value
    for corpus in (ArrayCorpus(documents, block_bytes=SMALL_BLOCKS), ArrayCorpus(torch.from_numpy(documents))):
        with pytest.raises(InputError, match=f"^documents row {row} is {what}.*embed it again"):
            corpus.search(scattered(2), 3)


class Counted(np.memmap[Any, np.dtype[np.float32]]):
    """A memory map that counts how often each of its rows is read in a block."""

    reads: NDArray[np.int64]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            self.reads[key] += 1
        return np.asarray(super().__getitem__(key))


def test_a_search_reads_each_document_once_in_blocks(tmp_path: Path) -> None:
    documents = Counted(tmp_path / "raw", np.float32, "w+", shape=(3000, 8))
    np.asarray(documents)[:] = scattered(3000)
    documents.reads = np.zeros(3000, np.int64)
    corpus = ArrayCorpus(documents, block_bytes=SMALL_BLOCKS)
    corpus.search(scattered(20, seed=1), 10)
    np.testing.assert_array_equal(documents.reads, 1)


def test_rows_are_taken_as_they_are() -> None:
    documents = scattered(300) * np.float32(5)
    rows = np.array([7, 3, 299, 3, 0])
    for same in (documents, torch.from_numpy(documents), documents.astype(np.float64)):
        taken = ArrayCorpus(same).take(rows)
        np.testing.assert_array_equal(taken, documents[rows])
        assert taken.dtype == np.float32
    assert ArrayCorpus(documents).take(np.zeros(0, np.int64)).shape == (0, 8)
    taken = ArrayCorpus(documents).take(np.arange(300))
    taken[:] = 0
    assert documents.all()


def test_a_sample_is_uniform_without_replacement_and_seeded() -> None:
    # Each document is its own row number.
    documents = np.arange(1, 51, dtype=np.float32)[:, None]
    corpus = ArrayCorpus(documents)
    drawn = np.zeros(50)
    for seed in range(2000):
        sample = corpus.sample(10, seed)
        assert len(np.unique(sample)) == len(sample) == 10
        drawn[sample[:, 0].astype(int) - 1] += 1
    # 2000 draws of each with a chance of 1/5: 400 and a standard deviation of 18.
    assert np.abs(drawn - 400).max() < 5 * 18
    np.testing.assert_array_equal(corpus.sample(10, 3), corpus.sample(10, 3))
    assert not np.array_equal(corpus.sample(10, 3), corpus.sample(10, 4))


@pytest.mark.parametrize("count", [50, 51, 10_000])
def test_a_sample_of_as_many_as_there_are_is_all_in_order(count: int) -> None:
    documents = scattered(50) * np.float32(2)
    np.testing.assert_array_equal(ArrayCorpus(documents).sample(count, 1), documents)
    assert ArrayCorpus(documents).sample(0, 1).shape == (0, 8)


@pytest.mark.parametrize(("count", "asked"), [(0, 3), (5, 0), (0, 0), (1, 1)])
def test_sizes_of_nothing_and_one(count: int, asked: int) -> None:
    found = ArrayCorpus(scattered(count)).search(scattered(asked), 3)
    expected = np.where(np.arange(3) < count, np.arange(3), count)
    np.testing.assert_array_equal(found.rows, np.tile(expected, (asked, 1)))
    assert np.isfinite(found.scores).sum() == min(count, 3) * asked


def test_a_shift_moves_every_document_before_it_is_compared() -> None:
    documents, queries = scattered(300), scattered(6, seed=1)
    shift = np.float32(0.4) * scattered(1, seed=2)[0]
    corpus = ArrayCorpus(documents * np.float32(3), block_bytes=SMALL_BLOCKS, shift=shift)
    check(corpus, documents + shift, queries, 20)
    np.testing.assert_array_equal(corpus.take(np.array([4])), documents[[4]] * np.float32(3))


class Reversed:
    """A corpus of one's own: the documents of an array, numbered from the last."""

    def __init__(self, documents: Floats) -> None:
        self._documents = documents[::-1]
        self.dimension = documents.shape[1]

    def __len__(self) -> int:
        return len(self._documents)

    def search(self, queries: Floats, k: int) -> Neighbours:
        return Neighbours(*dense(self._documents, queries, k))

    def take(self, rows: NDArray[np.int64]) -> Floats:
        return self._documents[rows]

    def sample(self, count: int, seed: int) -> Floats:
        return self._documents[: min(count, len(self))]


def test_whatever_answers_the_three_questions_is_a_corpus() -> None:
    own = Reversed(scattered(30))
    assert isinstance(own, Corpus)
    assert as_corpus(own) is own
    assert isinstance(ArrayCorpus(scattered(3)), Corpus)
    assert not isinstance(scattered(3), Corpus)
    found, expected = own.search(scattered(4), 5), ArrayCorpus(scattered(30)).search(scattered(4), 5)
    np.testing.assert_array_equal(29 - found.rows, expected.rows)


def test_arrays_become_a_corpus_with_the_options_given() -> None:
    corpus = as_corpus(scattered(30), device="cpu", block_bytes=1 << 20, progress=True)
    assert isinstance(corpus, ArrayCorpus)
    assert (corpus.device, corpus.block_bytes, corpus.progress) == ("cpu", 1 << 20, True)


@pytest.mark.parametrize("documents", ["text", None, 3, np.ones(4), np.ones((2, 3), bool), {"a": 1}])
def test_what_is_no_matrix_is_refused(documents: Any) -> None:
    for make in (as_corpus, ArrayCorpus):
        with pytest.raises(InputError, match=r"^documents "):
            make(documents)


def test_progress_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    ArrayCorpus(scattered(30), progress=True).search(scattered(2), 3)
    ArrayCorpus(scattered(30)).search(scattered(2), 3)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("reading the corpus: 100%") == 1


def test_the_floor_comes_from_a_sample_of_the_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a sample of 40 most queries have a floor that few documents reach; the search is exact all the same.
    monkeypatch.setattr(arrays, "_FLOOR_SAMPLE", 40)
    for seed in range(20):
        documents, queries = scattered(2000, 4, seed), scattered(50, 4, seed + 100)
        check(ArrayCorpus(documents, block_bytes=SMALL_BLOCKS), documents, queries, 5)
