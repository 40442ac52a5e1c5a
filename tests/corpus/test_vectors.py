"""The one door for vectors: everything that holds (n, d) numbers is accepted, everything else refused in one way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy import sparse

from nudge_integrations.corpus import as_matrix, as_rows, row_lengths, unit_rows
from nudge_integrations.errors import InputError

# Small whole numbers, which every type holds exactly.
ROWS = [[3, 4, 0], [1, 2, 2], [0, 5, 12], [2, 3, 6]]
EXPECTED = np.array(ROWS, np.float32)

Maker = Callable[[], Any]


def array_of(kind: str) -> Maker:
    return lambda: np.array(ROWS, kind)


def tensor_of(kind: torch.dtype) -> Maker:
    return lambda: torch.tensor(ROWS).to(kind)


MAKERS: dict[str, Maker] = {
    **{
        kind: array_of(kind)
        for kind in ("f2", "f4", "f8", ">f4", ">f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
    },
    "fortran order": lambda: np.asfortranarray(EXPECTED),
    "every second column": lambda: np.repeat(EXPECTED, 2, axis=1)[:, ::2],
    "read-only": lambda: np.frombuffer(EXPECTED.tobytes(), np.float32).reshape(4, 3),
    "lists": lambda: ROWS,
    "tuples": lambda: tuple(map(tuple, ROWS)),
    "list of arrays": lambda: [np.array(row, np.float16) for row in ROWS],
    "list of tensors": lambda: [torch.tensor(row, dtype=torch.bfloat16, requires_grad=True) for row in EXPECTED],
    "array of arrays": lambda: pd.Series([np.array(row) for row in ROWS]).to_numpy(),
    **{
        str(kind): tensor_of(kind)
        for kind in (*(torch.float16, torch.bfloat16, torch.float32, torch.float64), *(torch.uint8, torch.int64))
    },
    "tensor with gradients": lambda: torch.tensor(EXPECTED, requires_grad=True) * 1,
    "transposed tensor": lambda: torch.tensor(EXPECTED.T.copy()).T,
    "negated view": lambda: torch.complex(torch.zeros(4, 3), torch.tensor(-EXPECTED)).conj().imag,
    "DataFrame": lambda: pd.DataFrame(ROWS),
    "DataFrame of several types": lambda: pd.DataFrame({"x": EXPECTED[:, 0], "y": [4, 2, 5, 3], "z": [0.0, 2, 12, 6]}),
    "DataFrame of nullable types": lambda: pd.DataFrame(ROWS).astype("Float32"),
    "DataFrame of Arrow types": lambda: pd.DataFrame(ROWS).astype("float[pyarrow]"),
    "Series of lists": lambda: pd.Series(ROWS, index=list("abcd")),
    "Series of arrays": lambda: pd.Series(list(EXPECTED)),
    "Series of Arrow lists": lambda: pd.Series(ROWS, dtype=pd.ArrowDtype(pa.list_(pa.float32()))),
    "Arrow fixed-size list": lambda: pa.array(ROWS, pa.list_(pa.float16(), 3)),
    "Arrow list": lambda: pa.array(ROWS, pa.list_(pa.float64())),
    "Arrow large list": lambda: pa.array(ROWS, pa.large_list(pa.int32())),
    "sliced Arrow list": lambda: pa.array([[9], *ROWS, [9]], pa.list_(pa.float32())).slice(1, 4),
    "sliced fixed-size list": lambda: pa.array([[9, 9, 9], *ROWS], pa.list_(pa.float32(), 3)).slice(1),
    "Arrow tensor": lambda: pa.FixedShapeTensorArray.from_numpy_ndarray(EXPECTED),
    "column of a Table": lambda: pa.table({"id": list("abcd"), "v": ROWS})["v"],
    "column in chunks": lambda: pa.chunked_array([ROWS[:1], [], ROWS[1:]], pa.list_(pa.float32())),
}
if find_spec("polars") or os.environ.get("CI"):  # where CI is set, its absence is a failure
    import polars

    MAKERS["polars list"] = lambda: polars.Series(ROWS)
    MAKERS["polars array"] = lambda: polars.Series(ROWS, dtype=polars.Array(polars.Float32, 3))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_everything_that_holds_vectors_is_accepted(make: Maker) -> None:
    rows = as_rows(make(), "documents", dimension=3, ids=list("abcd"))
    assert type(rows) is np.ndarray
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    np.testing.assert_array_equal(rows, EXPECTED)
    np.testing.assert_allclose(np.linalg.norm(unit_rows(make(), "documents"), axis=1), 1.0, rtol=1e-6)
    matrix: Any = as_matrix(make(), "documents")
    assert matrix.shape == (4, 3)
    assert matrix.is_floating_point() if isinstance(matrix, torch.Tensor) else matrix.dtype.kind == "f"


def test_arrays_maps_and_tensors_are_passed_on_unread_and_uncopied(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.full((3, 2), np.nan, np.float16))
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    assert as_matrix(mapped, "documents") is mapped
    assert np.shares_memory(as_matrix(array := np.eye(3), "documents"), array)
    tensor = torch.eye(3, dtype=torch.bfloat16, requires_grad=True)
    passed: Any = as_matrix(tensor, "documents")
    assert (passed.data_ptr(), passed.dtype, passed.requires_grad) == (tensor.data_ptr(), tensor.dtype, False)
    assert as_matrix(torch.eye(3, device="cpu").to_sparse().to_dense(), "documents").shape == (3, 3)


def test_float32_rows_are_a_view_and_unit_rows_a_copy() -> None:
    array, tensor = np.eye(3, dtype=np.float32), torch.eye(3)
    assert np.shares_memory(as_rows(array, "documents"), array)
    assert as_rows(tensor, "documents").__array_interface__["data"][0] == tensor.data_ptr()
    assert not np.shares_memory(unit_rows(array, "documents"), array)


def test_arrow_columns_without_copies_of_single_rows() -> None:
    values = pa.array(np.arange(6, dtype=np.float32))
    rows = as_rows(pa.FixedSizeListArray.from_arrays(values, 3), "documents")
    assert rows.__array_interface__["data"][0] == values.buffers()[1].address


@pytest.mark.parametrize(
    "empty", [[], (), np.empty(0), np.empty((0, 0)), np.empty((0, 4)), pa.array([], pa.list_(pa.float32()))]
)
def test_no_vectors_are_vectors_of_the_expected_dimension(empty: Any) -> None:
    assert as_rows(empty, "queries", dimension=4).shape == (0, 4)
    assert unit_rows(empty, "queries", dimension=4).dtype == np.float32
    assert len(as_matrix(empty, "queries")) == 0


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e-12, 1e13])
def test_unit_length_at_any_scale(scale: float) -> None:
    rows = unit_rows(np.array(ROWS, np.float64) * scale, "documents")
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-4)
    np.testing.assert_allclose(rows, EXPECTED / np.linalg.norm(EXPECTED, axis=1, keepdims=True), rtol=1e-4)


RECORDS = np.zeros((2, 3), [("x", "f4")])
REFUSED: list[tuple[Maker, str]] = [
    (lambda: np.ones(3), r"one row of 3 numbers; .*\[vector\]"),
    (lambda: torch.ones(3), r"one row of 3 numbers; .*\[vector\]"),
    (lambda: [1.0, 2.0], r"one row of 2 numbers; .*\[vector\]"),
    (lambda: pd.Series([1.0, 2.0]), r"one row of 2 numbers; .*\[vector\]"),
    (lambda: np.ones((2, 3, 4)), r"shape \(2, 3, 4\)"),
    (lambda: torch.ones(2, 3, 4), r"shape \(2, 3, 4\)"),
    (lambda: np.float32(1), r"shape \(\)"),
    (lambda: np.ones((2, 3), bool), r"truth values \(2, 3\)"),
    (lambda: [[True, False]], "truth values"),
    (lambda: torch.ones(2, 3, dtype=torch.bool), r"tensor of bool \(2, 3\)"),
    (lambda: torch.ones(2, 3, dtype=torch.complex64), "tensor of complex64"),
    (lambda: torch.ones(2, 3).to(torch.float8_e4m3fn), "tensor of float8"),
    (lambda: torch.ones(2, 3).to_sparse(), "a sparse tensor"),
    (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "a nested tensor"),
    (lambda: torch.ones(2, 3, device="meta"), "a meta tensor"),
    (lambda: np.ones((2, 3), complex), "complex128 numbers"),
    (lambda: np.ones((2, 3), np.longdouble), "float128 numbers|longdouble numbers"),
    (lambda: np.array([["a", "b"]]), "text"),
    (lambda: [["1.0", "2.0"]], "text"),
    (lambda: ["word", "other"], "text"),
    (lambda: "word", "text"),
    (lambda: np.array([[b"a"]]), "bytes"),
    (lambda: RECORDS, "records"),
    (lambda: np.array([[1.0, 2.0]], object), "Python objects"),
    (lambda: np.array([["2020-01-01"]], "M8[D]"), "datetime64"),
    (lambda: np.ma.masked_array(np.eye(2), mask=[[True, False], [False, True]]), "a masked array"),
    (lambda: sparse.csr_array(np.eye(2)), "csr_array"),
    (lambda: {"a": [1.0]}, "dict"),
    (lambda: {1.0, 2.0}, "set"),
    (lambda: (row for row in ROWS), "generator"),
    (lambda: None, "NoneType"),
    (lambda: pd.DataFrame({"x": [1.0], "name": ["a"]}), "'name' holds no numbers"),
    (lambda: pd.DataFrame({"x": [1.0], "flag": [True]}), "'flag' holds no numbers"),
    (lambda: pd.DataFrame({"v": [[1.0, 2.0]]}), "'v' holds no numbers; .*the one column of vectors"),
    (lambda: pa.table({"v": ROWS, "w": ROWS}), r"a table of 2 columns; .*table\['vectors'\]"),
    (lambda: pa.array([1.0, 2.0]), "a column of double"),
    (lambda: pa.array([{"x": 1.0}]), "a column of struct"),
    (lambda: pa.array([["a"]]), "Python objects"),
]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype")
@pytest.mark.parametrize(("make", "came"), REFUSED, ids=[words for _, words in REFUSED])
@pytest.mark.parametrize("accept", [as_matrix, as_rows, unit_rows])
def test_everything_else_is_refused_in_one_wording(accept: Callable[..., Any], make: Maker, came: str) -> None:
    with pytest.raises(InputError, match=rf"^documents came as .*{came}") as caught:
        accept(make(), "documents")
    assert "; expected an (n, d) array of numbers, one vector a row: " in str(caught.value)


RAGGED: list[tuple[Maker, str]] = [
    (lambda: [[1.0, 2.0], [3.0]], "has 1 numbers, the first 2"),
    (lambda: [np.ones(2), np.ones(1)], "has 1 numbers, the first 2"),
    (lambda: [torch.ones(2), torch.ones(1, requires_grad=True)], "has 1 numbers, the first 2"),
    (lambda: pd.Series([[1.0, 2.0], [3.0]]), "has 1 numbers, the first 2"),
    (lambda: pa.array([[1.0, 2.0], [3.0]]), "has 1 numbers, the first 2"),
    (lambda: pa.chunked_array([[[1.0, 2.0]], [[3.0]]]), "has 1 numbers, the first 2"),
    (lambda: [[1.0, 2.0], None], "is None"),
    (lambda: pd.Series([[1.0, 2.0], None]), "is None"),
    (lambda: pa.array([[1.0, 2.0], None]), "is None"),
    (lambda: pa.chunked_array([[[1.0, 2.0]], [None]], pa.list_(pa.float64(), 2)), "is None"),
    (lambda: [[1.0, 2.0], []], "is empty"),
    (lambda: pa.array([[1.0, 2.0], []]), "is empty"),
    (lambda: [[1.0, 2.0], [3.0, None]], "is no list of numbers but list"),
    (lambda: [[1.0, 2.0], "word"], "is no list of numbers but str"),
    (lambda: [[1.0, 2.0], 3.0], "is no list of numbers but float"),
    (lambda: [[1.0, 2.0], {"x": 1}], "is no list of numbers but dict"),
]


@pytest.mark.parametrize(("make", "words"), RAGGED)
def test_a_row_that_is_no_vector_like_the_others_is_named(make: Maker, words: str) -> None:
    with pytest.raises(InputError, match=rf"^documents row 1 {words}"):
        as_matrix(make(), "documents")
    with pytest.raises(InputError, match=rf"^documents: the vector of 'b' {words}.*embed it again or leave it out"):
        as_rows(make(), "documents", ids=["a", "b"])


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "is not finite"), (np.inf, "is not finite"), (-np.inf, "is not finite"), (1e300, "is not finite")],
)
@pytest.mark.parametrize(
    "convert", [np.asarray, torch.tensor, np.ndarray.tolist, pd.DataFrame, lambda a: pa.array(a.tolist())]
)
def test_a_row_with_values_that_are_no_numbers_is_named(
    convert: Callable[[Any], Any], value: float, words: str
) -> None:
    array = np.ones((3, 2))
    array[1, 1] = value
    with pytest.raises(InputError, match=f"^queries row 1 {words}.*embed it again or leave it out"):
        as_rows(convert(array), "queries")
    with pytest.raises(InputError, match=f"^queries: the vector of 'b' {words}"):
        unit_rows(convert(array), "queries", ids=["a", "b", "c"])


def test_missing_values_of_a_table_are_not_finite() -> None:
    for frame in (pd.DataFrame({"x": [1.0, None]}), pd.DataFrame({"x": pd.array([1.0, None], "Float64")})):
        with pytest.raises(InputError, match=r"^documents row 1 is not finite"):
            as_rows(frame, "documents")
    with pytest.raises(InputError, match=r"^documents row 1 is not finite"):
        as_rows(pa.array([[1.0, 2.0], [1.0, None]]), "documents")


def test_the_zero_vector_has_a_length_and_no_direction() -> None:
    rows = as_rows([[3, 4], [0, 0]], "documents")
    assert row_lengths(rows, "documents").tolist() == [5.0, 0.0]
    with pytest.raises(
        InputError, match=r"^documents row 1 is the zero vector, which has no direction: embed it again"
    ):
        unit_rows(rows, "documents")
    with pytest.raises(InputError, match=r"^documents: the vector of 'b' is the zero vector"):
        unit_rows(rows, "documents", ids=["a", "b"])


def test_another_dimension_or_number_is_refused() -> None:
    with pytest.raises(InputError, match="documents have 3 dimensions, expected 4: do they come from the same encoder"):
        as_rows(torch.ones(2, 3), "documents", dimension=4)
    with pytest.raises(InputError, match="documents: 2 vectors came with 1 ids; there must be one id a vector"):
        as_rows(np.ones((2, 3)), "documents", ids=["a"])


def test_no_other_library_is_loaded() -> None:
    code = (
        "import sys, nudge_integrations.corpus as corpus; corpus.unit_rows([[1, 2]], 'documents');"
        "print(sorted(set(sys.modules) & {'torch', 'scipy', 'pandas', 'pyarrow', 'polars'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
