"""Vectors written to Parquet files or Lance datasets, cut into pieces in any way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations import RetrievalDataset

KINDS = {"float16": pa.float16(), "float32": pa.float32(), "float64": pa.float64()}


def list_array(vectors: NDArray[Any], kind: str = "fixed") -> pa.Array:
    """Vectors as a column of fixed or variable lists."""
    flat = pa.array(np.ascontiguousarray(vectors).ravel())
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    offsets = np.arange(0, vectors.size + 1, vectors.shape[1])
    if kind == "large":
        return pa.LargeListArray.from_arrays(pa.array(offsets), flat)
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), flat)


def names(count: int) -> list[str]:
    return [f"doc-{row:06}" for row in range(count)]


def write_parquet(
    folder: Path,
    vectors: NDArray[Any],
    cuts: Sequence[int] = (),
    *,
    kind: str = "fixed",
    group: int = 1000,
    **columns: Any,
) -> Path:
    """One file for each part between cuts; ``id`` and ``vector`` beside the given columns."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {"id": names(len(vectors)), **columns}
    bounds = [0, *sorted(cuts), len(vectors)]
    for number, (start, stop) in enumerate(pairwise(bounds)):
        part = {name: pa.array(values).slice(start, stop - start) for name, values in given.items()}
        table = pa.table({**part, "vector": list_array(vectors[start:stop], kind)})
        pq.write_table(table, folder / f"part-{number:04}.parquet", row_group_size=group)
    return folder


def unit_queries(random: np.random.Generator, count: int, dimension: int) -> NDArray[np.float32]:
    queries = random.normal(size=(count, dimension)).astype(np.float32)
    unit: NDArray[np.float32] = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    return unit


def labelled(
    seed: int, documents: int, queries: int, dimension: int = 16, kind: str = "float32"
) -> tuple[NDArray[Any], NDArray[np.float32], RetrievalDataset, sparse.csr_array]:
    """Documents, queries that are turned away from the document that answers them, and these labels twice."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(documents, dimension)).astype(kind)
    away = random.normal(size=(documents, dimension))
    relevant = random.choice(documents // 40, queries)
    asked = vectors[relevant] + away[relevant] + 0.3 * random.normal(size=(queries, dimension))
    asked = (asked / np.linalg.norm(asked, axis=1, keepdims=True)).astype(np.float32)
    gains = sparse.csr_array((np.ones(queries), (np.arange(queries), relevant)), shape=(queries, documents))
    ids = names(documents)
    qrels = {f"q{query}": {ids[row]: 1.0} for query, row in enumerate(relevant)}
    texts = {f"q{query}": f"question {query}" for query in range(queries)}
    return vectors, asked, RetrievalDataset({}, texts, qrels), gains
