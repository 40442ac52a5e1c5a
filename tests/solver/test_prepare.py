"""What may come in: any float type, any memory, any size down to nothing; and what is refused, with the row's index."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from oracle import random_problem, unit
from scipy import sparse

from nudge_integrations.errors import InputError
from nudge_integrations.solver import Solution, solve
from nudge_integrations.solver.topk import read_corpus

METHODS = ("auto", "nudge-n", "nudge-m", "nudge-m+n", "nudge-s", "contrastive")
PROBLEM = random_problem(0, documents=60, queries=50, width=12)
DOCUMENTS, QUERIES = PROBLEM.documents.astype(np.float32), PROBLEM.queries.astype(np.float32)


def solved(documents: object = DOCUMENTS, queries: object = QUERIES, **options: Any) -> Solution:
    return solve(documents, queries, PROBLEM.relevance, **{"method": "nudge-n", "step": 0.5, **options})


EXPECTED = solved()


def like(solution: Solution, *, atol: float = 1e-6) -> bool:
    """Return whether a solution is the expected one."""
    same = solution.score == pytest.approx(EXPECTED.score, abs=1e-9) and np.array_equal(solution.rows, EXPECTED.rows)
    return bool(same and np.allclose(solution.vectors, EXPECTED.vectors, atol=atol))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.dtype(">f4"), np.dtype(">f8")])
def test_numpy_arrays_of_any_float_type(dtype: Any) -> None:
    solution = solved(DOCUMENTS.astype(dtype), QUERIES.astype(dtype))
    assert like(solution)
    assert solution.vectors.dtype == np.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_any_float_type(dtype: torch.dtype) -> None:
    documents, queries = torch.from_numpy(DOCUMENTS).to(dtype), torch.from_numpy(QUERIES).to(dtype)
    expected = solved(documents.float().numpy(), queries.float().numpy())
    solution = solved(documents, queries)
    np.testing.assert_array_equal(solution.vectors, expected.vectors)
    assert solution.score == expected.score


def test_half_precision_is_computed_in_float32() -> None:
    half = DOCUMENTS.astype(np.float16)
    np.testing.assert_array_equal(solved(half).vectors, solved(half.astype(np.float32)).vectors)
    np.testing.assert_allclose(np.linalg.norm(solved(half).vectors, axis=1), 1.0, atol=1e-6)


def test_kinds_may_be_mixed_and_lists_do() -> None:
    assert like(solved(torch.from_numpy(DOCUMENTS), QUERIES.tolist()))
    assert like(solved(DOCUMENTS.tolist(), torch.from_numpy(QUERIES).requires_grad_()))
    assert like(solved(device="cpu"))
    assert like(solved(device=torch.device("cpu")))


def test_memory_that_is_not_contiguous_or_read_only(tmp_path: Path) -> None:
    assert like(solved(np.asfortranarray(DOCUMENTS), np.repeat(QUERIES, 2, axis=0)[::2]))
    assert like(solved(DOCUMENTS[::-1][::-1], np.repeat(QUERIES, 2, axis=1)[:, ::2]))
    assert like(solved(torch.from_numpy(DOCUMENTS.T.copy()).T))
    frozen = DOCUMENTS.copy(), QUERIES.copy()
    for array in frozen:
        array.flags.writeable = False
    assert like(solved(*frozen))
    np.save(tmp_path / "documents.npy", DOCUMENTS)
    assert like(solved(np.load(tmp_path / "documents.npy", mmap_mode="r")))
    raw = np.memmap(tmp_path / "raw", dtype=np.float16, mode="w+", shape=DOCUMENTS.shape)
    raw[:] = DOCUMENTS
    assert like(solved(raw), atol=2e-3)


def test_inputs_are_never_changed() -> None:
    documents, queries = DOCUMENTS * 3, QUERIES * 2
    gains = sparse.coo_array(PROBLEM.gains)
    gains = sparse.coo_array(
        (np.tile(gains.data / 2, 2), tuple(np.tile(axis, 2) for axis in gains.coords)), gains.shape
    )
    tensors = torch.from_numpy(documents.copy()), torch.from_numpy(queries.copy())
    before = documents.copy(), queries.copy(), gains.data.copy()
    for method in ("nudge-n", "nudge-m+n", "contrastive"):
        solve(documents, queries, gains, method=method, shift=True)
        solve(*tensors, gains, method=method, validation=(queries, gains))
    solve(documents, queries, gains, step=0.4).apply(documents)
    for old, new in zip(before, (documents, queries, gains.data), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(tensors[0].numpy(), documents)
    np.testing.assert_array_equal(tensors[1].numpy(), queries)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 50.0, 1e12, 1e18, 1e-18])
def test_lengths_of_documents_and_queries_do_not_matter(scale: float) -> None:
    lengths = np.random.default_rng(0).uniform(0.5, 2.0, (60, 1)).astype(np.float32)
    assert like(solved(DOCUMENTS * lengths * np.float32(scale), QUERIES * np.float32(scale)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("documents", "queries"), [(0, 0), (0, 3), (3, 0), (1, 0), (1, 1), (5, 1), (1, 5)])
def test_sizes_of_nothing_and_one(method: str, documents: int, queries: int) -> None:
    random = np.random.default_rng(0)
    corpus, asked = (random.normal(size=(count, 4)) for count in (documents, queries))
    for gains in (sparse.csr_array((queries, documents)), sparse.csr_array(np.ones((queries, documents)))):
        solution = solve(corpus, asked, gains, method=method, shift=documents == 1)
        assert solution.queries == (queries if gains.nnz else 0)
        assert solution.apply(corpus).shape == (documents, 4)
        held = solve(corpus, asked, gains, method=method, validation=(asked, gains))
        assert held.queries == (queries if gains.nnz else 0)
        fixed = solve(corpus, asked, gains, method=method, step=0.2)
        assert len(fixed.rows) == (documents if gains.nnz else 0)


def test_no_labels_at_all_give_a_reason() -> None:
    solution = solve(DOCUMENTS, QUERIES, sparse.csr_array((50, 60)))
    assert (solution.status, solution.method, len(solution.rows)) == ("no_gain", "none", 0)
    assert "no query has a relevant document" in solution.reason
    assert solution.baseline == solution.score == solution.unseen_score == 0.0
    np.testing.assert_allclose(solution.apply(DOCUMENTS), DOCUMENTS, atol=1e-6)


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m+n"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_documents_that_equal_their_direction_or_are_its_opposite_stay(method: str, sign: float) -> None:
    random = np.random.default_rng(1)
    documents = unit(random.normal(size=(300, 16))).astype(np.float32)
    solution = solve(documents, sign * documents, sparse.eye_array(300, format="csr"), method=method, step=0.7)
    assert len(solution.rows) == 0
    assert np.isfinite(solution.score)


def test_documents_whose_queries_cancel_stay_and_leave_one_out_still_moves_them() -> None:
    random = np.random.default_rng(2)
    documents, asked = unit(random.normal(size=(10, 8))), unit(random.normal(size=(10, 8)))
    eye = sparse.eye_array(10, format="csr")
    twice = sparse.vstack([eye, eye], format="csr")
    solution = solve(documents, np.concatenate([asked, -asked]), twice, method="nudge-n", metric="mrr@10", step=0.6)
    assert len(solution.rows) == 0
    # Without its own label each query's relevant document has moved towards the query's opposite.
    assert solution.score < solution.baseline


@pytest.mark.parametrize(
    ("value", "word"), [(0.0, "zero"), (np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]
)
@pytest.mark.parametrize("row", [0, 37, 59])
def test_documents_without_a_direction_are_refused_by_row(value: float, word: str, row: int) -> None:
    documents = DOCUMENTS.copy()
    documents[row, 3 if value else slice(None)] = value
    for bad in (documents, torch.from_numpy(documents)):
        with pytest.raises(InputError, match=rf"^documents row {row} is .*{word}"):
            solved(bad)
    with pytest.raises(InputError, match=f"documents row {row} "):
        solved(documents, block_bytes=1 << 16)


@pytest.mark.parametrize(("value", "word"), [(0.0, "zero"), (np.nan, "NaN"), (np.inf, "infinity")])
def test_queries_without_a_direction_are_refused_by_row(value: float, word: str) -> None:
    queries = QUERIES.copy()
    queries[13, 3 if value else slice(None)] = value
    for normalize in (True, False):
        with pytest.raises(InputError, match=rf"^queries row 13 is .*{word}"):
            solved(queries=queries, normalize_queries=normalize)
    with pytest.raises(InputError, match=r"^validation queries row 13 "):
        solved(validation=(queries, PROBLEM.relevance))


@pytest.mark.parametrize("gain", [-1.0, np.nan, np.inf])
def test_gains_that_are_no_gains_are_refused(gain: float) -> None:
    gains = PROBLEM.gains.copy()
    gains[7, 21] = gain
    with pytest.raises(InputError, match=r"query row 7 has gain .* for document row 21"):
        solve(DOCUMENTS, QUERIES, sparse.csr_array(gains))
    with pytest.raises(InputError, match=r"validation relevance .*query row 7"):
        solved(validation=(QUERIES, sparse.csc_array(gains)))


def test_duplicate_labels_are_summed_and_stored_zeros_are_no_labels() -> None:
    rows, columns = PROBLEM.gains.nonzero()
    data = PROBLEM.gains[rows, columns]
    extra = np.argwhere(PROBLEM.gains == 0)[:40]
    split = sparse.coo_array(
        (
            np.concatenate([data / 4, data * 3 / 4, np.zeros(40)]),
            (np.concatenate([rows, rows, extra[:, 0]]), np.concatenate([columns, columns, extra[:, 1]])),
        ),
        PROBLEM.gains.shape,
    )
    variants: tuple[dict[str, Any], ...] = ({}, {"graded": True}, {"method": "contrastive", "temperature": 0.1})
    for options in variants:
        expected = solve(DOCUMENTS, QUERIES, PROBLEM.relevance, step=0.5, **{"method": "nudge-n", **options})
        solution = solve(DOCUMENTS, QUERIES, split, step=0.5, **{"method": "nudge-n", **options})
        np.testing.assert_allclose(solution.vectors, expected.vectors, atol=1e-6)
        assert solution.score == pytest.approx(expected.score, abs=1e-12)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_array, sparse.coo_array, sparse.lil_array, np.asarray])
def test_gains_in_any_form(form: Any) -> None:
    assert like(solve(DOCUMENTS, QUERIES, form(PROBLEM.gains), method="nudge-n", step=0.5))
    whole = form(PROBLEM.gains.astype(np.int64))
    assert like(solve(DOCUMENTS, QUERIES, whole, method="nudge-n", step=0.5))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((DOCUMENTS[0], QUERIES, PROBLEM.relevance), {}, "documents must be a matrix"),
        ((DOCUMENTS, QUERIES[None], PROBLEM.relevance), {}, "queries must be a matrix"),
        ((DOCUMENTS.astype(int), QUERIES, PROBLEM.relevance), {}, "documents must hold .*int64"),
        (
            (DOCUMENTS.astype(np.longdouble), QUERIES, PROBLEM.relevance),
            {},
            "documents must hold .*longdouble|float128",
        ),
        ((DOCUMENTS, torch.ones(50, 12, dtype=torch.int8), PROBLEM.relevance), {}, "queries must hold .*int8"),
        ((DOCUMENTS, QUERIES[:, :7], PROBLEM.relevance), {}, "queries have 7 dimensions and documents 12"),
        ((DOCUMENTS[:59], QUERIES, PROBLEM.relevance), {}, r"\(50, 59\); got 50x60"),
        ((DOCUMENTS, QUERIES[:49], PROBLEM.relevance), {}, r"\(49, 60\); got 50x60"),
        ((DOCUMENTS, QUERIES, PROBLEM.relevance.T), {}, r"\(50, 60\); got 60x50"),
        ((DOCUMENTS, QUERIES, None), {}, "relevance must be"),
        ((DOCUMENTS, QUERIES, "labels"), {}, "relevance must be a scipy sparse matrix"),
        ((DOCUMENTS, QUERIES, PROBLEM.relevance), {"groups": [1, 2]}, "groups must name one group for each of the 50"),
        ((DOCUMENTS, QUERIES, PROBLEM.relevance), {"validation": 3}, "validation must be a pair"),
        (
            (DOCUMENTS, QUERIES, PROBLEM.relevance),
            {"validation": (QUERIES[:4], PROBLEM.relevance)},
            r"validation relevance must be .* \(4, 60\)",
        ),
        (
            (DOCUMENTS, QUERIES, PROBLEM.relevance),
            {"validation": (QUERIES, PROBLEM.relevance), "groups": np.arange(50)},
            "goes without validation",
        ),
    ],
)
def test_shapes_and_types_that_do_not_fit_are_refused(
    arguments: tuple[object, object, object], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        solve(*arguments, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "nudge-x"}, "unknown method 'nudge-x'; expected one of auto, nudge-n"),
        ({"metric": "ndcg"}, "unknown metric 'ndcg'"),
        ({"metric": "ndcg@0"}, "cutoff k >= 1"),
        ({"metric": 10}, "unknown metric 10"),
        ({"step": -0.1}, "step must be a number between 0"),
        ({"step": np.nan}, "step must be"),
        ({"step": np.inf}, "step must be"),
        ({"unseen_weight": 1.1}, "unseen_weight must be a number between 0 and 1"),
        ({"unseen_weight": -0.1}, "unseen_weight must be a number between 0 and 1"),
        ({"standard_errors": -1}, "standard_errors must be"),
        ({"max_queries": 0}, "max_queries must be"),
        ({"block_bytes": 10}, "block_bytes must be"),
        ({"temperature": 0.0}, "temperature must be"),
        ({"temperature": 0.1, "method": "nudge-m"}, "temperature= belongs to method='contrastive' or 'auto'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        solve(DOCUMENTS, QUERIES, PROBLEM.relevance, **options)


@pytest.mark.parametrize("method", METHODS[1:])
def test_any_block_size_gives_the_same_answer(method: str) -> None:
    big = random_problem(1, documents=300, queries=120, width=16, density=0.01)
    temperature = 0.1 if method == "contrastive" else None
    solutions = [
        solve(
            big.documents,
            big.queries,
            big.relevance,
            method=method,
            temperature=temperature,
            metric="ndcg@10",
            standard_errors=0,
            shift=method == "nudge-n",
            block_bytes=block_bytes,
        )
        for block_bytes in (1 << 16, 1 << 19, 1 << 28)
    ]
    for solution in solutions[1:]:
        assert solution.score == pytest.approx(solutions[0].score, abs=1e-6)
        assert solution.unseen_score == pytest.approx(solutions[0].unseen_score, abs=1e-6)
        assert solution.step == pytest.approx(solutions[0].step, abs=1e-4)
        np.testing.assert_array_equal(solution.rows, solutions[0].rows)
        np.testing.assert_allclose(solution.vectors, solutions[0].vectors, atol=1e-4)


def test_the_same_seed_gives_the_same_answer_to_the_bit() -> None:
    one, two = (
        solve(DOCUMENTS, QUERIES, PROBLEM.relevance, max_queries=20, seed=5, standard_errors=0, shift=True)
        for _ in range(2)
    )
    assert (one.score, one.step, one.candidates) == (two.score, two.step, two.candidates)
    np.testing.assert_array_equal(one.vectors, two.vectors)
    np.testing.assert_array_equal(one.curve.values, two.curve.values)
    other = solve(DOCUMENTS, QUERIES, PROBLEM.relevance, max_queries=20, seed=6, standard_errors=0)
    assert other.baseline != one.baseline


class Counted(np.ndarray[Any, Any]):
    """An array that counts how often each of its rows is read."""

    reads: NDArray[np.int64]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            self.reads[key] += 1
        return np.asarray(super().__getitem__(key))


def counted(array: NDArray[np.float32]) -> Counted:
    view = array.view(Counted)
    view.reads = np.zeros(len(array), np.int64)
    return view


@pytest.mark.parametrize("method", METHODS)
def test_each_document_is_read_once(method: str) -> None:
    documents = counted(DOCUMENTS.copy())
    solution = solve(documents, QUERIES, PROBLEM.relevance, method=method, standard_errors=0, block_bytes=1 << 16)
    assert solution.queries == 50
    np.testing.assert_array_equal(documents.reads, 1)


def test_a_memory_map_is_never_held_whole(tmp_path: Path) -> None:
    count, width = 60_000, 64
    documents = np.lib.format.open_memmap(tmp_path / "d.npy", mode="w+", dtype=np.float16, shape=(count, width))
    random = np.random.default_rng(0)
    for start in range(0, count, 10_000):
        documents[start : start + 10_000] = random.standard_normal((10_000, width), np.float32)
    documents.flush()
    corpus = np.load(tmp_path / "d.npy", mmap_mode="r")
    queries = random.standard_normal((100, width), np.float32)
    gains = sparse.csr_array((np.ones(100), (np.arange(100), np.arange(100) % 50)), shape=(100, count))
    largest = 0
    allocate = torch.empty

    def watched(*size: Any, **options: Any) -> torch.Tensor:
        nonlocal largest
        tensor = allocate(*size, **options)
        largest = max(largest, tensor.nbytes)
        return tensor

    tracemalloc.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "empty", watched)
        solution = solve(corpus, queries, gains, method="nudge-n", block_bytes=1 << 20, step=0.4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # numpy's share by tracemalloc, torch's by what it is asked for; the corpus in float32 would be 15 MB.
    assert peak < 4 << 20
    assert largest < 2 << 20
    assert solution.documents == count
    assert len(solution.rows) == 50


def test_unlabelled_documents_enter_only_by_their_best_scores() -> None:
    random = np.random.default_rng(3)
    documents, queries = (unit(random.normal(size=(count, 8))).astype(np.float32) for count in (500, 30))
    labelled, sampled = np.array([3, 4, 100, 499]), np.array([0, 7, 250])
    scores = queries @ documents.T
    scores[:, labelled] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :7]
    for block_bytes in (1 << 16, 1 << 24):
        corpus = read_corpus(documents, labelled, sampled, torch.from_numpy(queries), 7, block_bytes=block_bytes)
        np.testing.assert_array_equal(corpus.rows.numpy(), best)
        np.testing.assert_allclose(corpus.scores.numpy(), np.take_along_axis(scores, best, axis=1), atol=1e-6)
        np.testing.assert_allclose(corpus.labelled.numpy(), documents[labelled], atol=1e-6)
        np.testing.assert_allclose(corpus.sample.numpy(), documents[sampled], atol=1e-6)
