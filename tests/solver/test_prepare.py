"""Inputs of any float type, any memory, any size down to nothing; and refusals, with the row's index."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from oracle import random_problem, unit
from scipy import sparse
from torch.overrides import TorchFunctionMode

from nudge_integrations.corpus import ArrayCorpus, Neighbours
from nudge_integrations.errors import InputError
from nudge_integrations.solver import Prepared, Solution, prepare, solve

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


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, torch.int8, torch.int64])
def test_whole_numbers(dtype: Any) -> None:
    documents, queries = np.rint(DOCUMENTS * 100), np.rint(QUERIES * 100)
    expected = solved(documents, queries)
    if isinstance(dtype, torch.dtype):
        solution = solved(*(torch.from_numpy(part).to(dtype) for part in (documents, queries)))
    else:
        solution = solved(documents.astype(dtype), queries.astype(dtype))
    np.testing.assert_allclose(solution.vectors, expected.vectors, atol=1e-6)
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


@pytest.mark.parametrize("gain", [-np.inf, np.nan, np.inf])
def test_gains_that_are_no_gains_are_refused(gain: float) -> None:
    gains = PROBLEM.gains.copy()
    gains[7, 21] = gain
    with pytest.raises(InputError, match=r"query row 7 has .* for document row 21"):
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
        ((DOCUMENTS[0], QUERIES, PROBLEM.relevance), {}, "documents came as one row of 12 numbers; .*as .vector."),
        (
            (DOCUMENTS, QUERIES[None], PROBLEM.relevance),
            {},
            r"queries came as an array of shape \(1, 50, 12\); expected",
        ),
        ((DOCUMENTS.astype(str), QUERIES, PROBLEM.relevance), {}, "documents came as text .*float32"),
        (
            (DOCUMENTS.astype(np.longdouble), QUERIES, PROBLEM.relevance),
            {},
            "documents came as (longdouble|float128) numbers",
        ),
        ((DOCUMENTS, torch.ones(50, 12, dtype=torch.bool), PROBLEM.relevance), {}, "queries came as a tensor of bool"),
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
        ({"metric": "ndcg@0"}, "cutoff k from 1"),
        ({"metric": "ndcg@99999999999999999999"}, "cutoff k from 1"),
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


class Counting:
    """A corpus that is no array, and counts what it is asked for."""

    def __init__(self, documents: object) -> None:
        self._inner = ArrayCorpus(documents)  # type: ignore[arg-type]  # checked there
        self.dimension = self._inner.dimension
        self.searches: list[tuple[int, int]] = []
        self.taken: list[int] = []
        self.samples = 0

    def __len__(self) -> int:
        return len(self._inner)

    def search(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        self.searches.append((len(queries), k))
        return self._inner.search(queries, k)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        self.taken += rows.tolist()
        return self._inner.take(rows)

    def sample(self, count: int, seed: int) -> NDArray[np.float32]:
        self.samples += 1
        return self._inner.sample(count, seed)


def large() -> tuple[NDArray[np.float32], NDArray[np.float32], sparse.csr_array]:
    """Return 3000 documents, 20 of which are labelled by 50 queries."""
    random = np.random.default_rng(4)
    documents = unit(random.normal(size=(3000, 12))).astype(np.float32)
    relevant = np.arange(50) % 20 * 7
    queries = (documents[relevant] + 0.8 * unit(random.normal(size=(50, 12)))).astype(np.float32)
    return documents, queries, sparse.csr_array((np.ones(50), (np.arange(50), relevant)), shape=(50, 3000))


@pytest.mark.parametrize("method", METHODS)
def test_a_corpus_is_searched_once_and_each_labelled_document_is_taken_once(method: str) -> None:
    documents, queries, relevance = large()
    corpus = Counting(documents)
    solution = solve(corpus, queries, relevance, method=method, standard_errors=0)
    assert solution.queries == 50
    assert [asked for asked, _ in corpus.searches] == [50]
    assert corpus.taken == sorted(set(relevance.indices.tolist()))
    assert corpus.samples <= 1
    expected = solve(documents, queries, relevance, method=method, standard_errors=0)
    assert (solution.score, solution.step, solution.candidates) == (expected.score, expected.step, expected.candidates)
    np.testing.assert_array_equal(solution.vectors, expected.vectors)


def test_a_prepared_corpus_is_not_searched_again() -> None:
    documents, queries, relevance = large()
    corpus = Counting(documents)
    prepared = prepare(corpus, queries, relevance)
    searches, taken = len(corpus.searches), len(corpus.taken)
    for method in METHODS:
        solve(prepared, method=method, metric="mrr@5", unseen_weight=0.3)
    assert (len(corpus.searches), len(corpus.taken)) == (searches, taken) == (1, 20)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("held", [False, True])
def test_solving_from_what_was_prepared_equals_solving_from_arrays(method: str, held: bool) -> None:
    validation = (QUERIES[::-1].copy(), PROBLEM.relevance[::-1]) if held else None
    prepared = prepare(DOCUMENTS, QUERIES, PROBLEM.relevance, validation=validation)
    before = repr(prepared)
    variants: Sequence[dict[str, Any]] = (
        {},
        {"metric": "mrr@10"},
        {"metric": "recall@3", "unseen_weight": 0.6},
        {"step": 0.4, "graded": True, "metric": "map@4"},
        {"standard_errors": 0, "shift": True},
    )
    for options in variants:
        again = solve(prepared, method=method, **options)
        fresh = solve(DOCUMENTS, QUERIES, PROBLEM.relevance, method=method, validation=validation, **options)
        assert (again.status, again.method, again.reason) == (fresh.status, fresh.method, fresh.reason)
        assert (again.step, again.score, again.unseen_score, again.candidates) == (
            (fresh.step, fresh.score, fresh.unseen_score, fresh.candidates)
        )
        assert (again.metric, again.normaliser) == (fresh.metric, fresh.normaliser)
        np.testing.assert_array_equal(again.vectors, fresh.vectors)
        np.testing.assert_array_equal(again.curve.values, fresh.curve.values)
    assert repr(prepared) == before
    assert before == "Prepared(60 documents of 12 dimensions, 60 labelled by 50 queries, 50 of which evaluate)"


def test_options_of_what_was_prepared_hold_until_they_are_changed() -> None:
    prepared = prepare(DOCUMENTS, QUERIES, PROBLEM.relevance, metric="mrr@5", groups=PROBLEM.groups, standard_errors=0)
    solution = solve(prepared, method="nudge-n")
    fresh = solve(
        DOCUMENTS,
        QUERIES,
        PROBLEM.relevance,
        method="nudge-n",
        metric="mrr@5",
        groups=PROBLEM.groups,
        standard_errors=0,
    )
    assert (solution.metric, solution.score, solution.step) == ("mrr@5", fresh.score, fresh.step)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_queries": 20}, "max_queries"),
        ({"normalize_queries": False}, "normalize_queries"),
        ({"seed": 1}, "seed"),
        ({"metric": "ndcg@11"}, "metric"),
        ({"seed": 1, "metric": "hit@100"}, "seed, metric"),
    ],
)
def test_options_that_were_fixed_when_preparing_are_refused(options: dict[str, Any], named: str) -> None:
    prepared = prepare(DOCUMENTS, QUERIES, PROBLEM.relevance)
    with pytest.raises(InputError, match=f"^{named} cannot change any more .* above 10.: prepare again"):
        solve(prepared, **options)


def test_data_beside_what_was_prepared_is_refused() -> None:
    prepared: Prepared = prepare(DOCUMENTS, QUERIES, PROBLEM.relevance)
    extra: Sequence[dict[str, Any]] = (
        {"queries": QUERIES},
        {"relevance": PROBLEM.relevance},
        {"groups": PROBLEM.groups},
        {"validation": (QUERIES, PROBLEM.relevance)},
    )
    for data in extra:
        with pytest.raises(InputError, match="holds queries, labels, their weights, validation, groups and ignored"):
            solve(prepared, **data)


def test_a_shift_needs_an_array() -> None:
    with pytest.raises(InputError, match="shift=True moves every document and needs them as an array; got Counting"):
        solve(Counting(DOCUMENTS), QUERIES, PROBLEM.relevance, method="nudge-n", step=0.3, shift=True)


class LargestTensor(TorchFunctionMode):
    """Remembers the largest tensor that is made."""

    largest = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = out if isinstance(out, tuple | list) else [out]
        sizes = [part.nbytes for part in made if isinstance(part, torch.Tensor)]
        self.largest = max(self.largest, *sizes, 0)
        return out


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
    tracemalloc.start()
    with LargestTensor() as made:
        solution = solve(corpus, queries, gains, method="nudge-n", block_bytes=1 << 20, step=0.4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # numpy's share by tracemalloc, torch's by what it makes; the corpus in float32 would be 15 MB.
    assert peak < 4 << 20
    assert 0 < made.largest < 2 << 20
    assert solution.documents == count
    assert len(solution.rows) == 50


@pytest.mark.parametrize("labelled", [[3, 4, 100, 499], list(range(0, 500, 2)), list(range(490))])
@pytest.mark.parametrize("block_bytes", [1 << 16, 1 << 24])
def test_the_best_documents_that_nobody_labelled_are_found_however_many_are_labelled(
    labelled: list[int], block_bytes: int
) -> None:
    random = np.random.default_rng(3)
    documents, queries = (unit(random.normal(size=(count, 8))).astype(np.float32) for count in (500, 30))
    gains = np.zeros((30, 500))
    gains[np.arange(len(labelled)) % 30, labelled] = 1
    gains[:, labelled[0]] = 1
    prepared = prepare(documents, queries, sparse.csr_array(gains), metric="ndcg@7", block_bytes=block_bytes)
    scores = (queries @ documents.T).astype(np.float64)
    scores[:, labelled] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(prepared.evaluation.rows, best)
    np.testing.assert_allclose(prepared.evaluation.scores, np.take_along_axis(scores, best, axis=1), atol=1e-6)
    np.testing.assert_array_equal(prepared.labels.rows, labelled)
    np.testing.assert_allclose(prepared.labels.documents.numpy(), documents[labelled], atol=1e-6)
    rest = np.setdiff1d(np.arange(500), labelled)
    np.testing.assert_allclose(prepared.sample.numpy(), documents[rest], atol=1e-6)
    np.testing.assert_allclose(prepared.covariance, np.cov(documents.T, bias=True), atol=1e-6)


@pytest.mark.parametrize("step", [None, 0.0, 0.3])
@pytest.mark.parametrize("method", ["auto", "nudge-n", "nudge-m", "contrastive"])
def test_without_a_label_nothing_is_fixed_and_the_reason_says_why(method: str, step: float | None) -> None:
    for queries in (0, 2):
        relevance = sparse.csr_array((queries, len(DOCUMENTS)))
        solution = solve(DOCUMENTS, QUERIES[:queries], relevance, method=method, step=step)
        assert (solution.status, solution.method, len(solution.rows)) == ("no_gain", "none", 0)
        assert "no query has a relevant document" in solution.reason


@pytest.mark.parametrize(
    "option",
    [
        *({"max_seconds": value} for value in (-1, float("nan"), True, "1")),
        *({"max_queries": value} for value in (0, 1.5, "9", None)),
        *({"block_bytes": value} for value in (1, 1e7)),
        *({name: "no"} for name in ("graded", "refit", "shift", "progress", "ignore_identical_ids")),
    ],
)
def test_options_of_another_kind_are_refused_by_name(option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        solved(**option)
