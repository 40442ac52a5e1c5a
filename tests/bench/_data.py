"""Seeded synthetic collections with the shape of real ones, on disk, in blocks, at any size.

Documents are clustered unit vectors. Labelled documents are drawn with Zipf-like popularity, so that a few of them are
asked for very often and most a few times. What users ask for lies off the document's own vector in two ways: along a
hidden direction that all the queries of one document share (this is what labels can teach) and along noise of each
query.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from _labelled import FloatArray, IntArray, Labels
from scipy import sparse

BLOCK = 65_536
CLUSTER_SPREAD = 0.5
HIDDEN = 1.0
NOISE = 3.0
SECOND_ANSWER = 0.2
POPULARITY = 0.8
PARTS = ("train", "chosen", "judged")


@dataclass(frozen=True)
class Shape:
    """Sizes of a synthetic collection; ``labelled`` documents are the pool that queries ask for."""

    documents: int
    dimension: int = 384
    train: int = 50_000
    evaluated: int = 1_000
    labelled: int = 20_000
    dtype: str = "float32"
    seed: int = 0

    def as_dict(self) -> dict[str, int | str]:
        """The sizes as JSON values."""
        return asdict(self)


def _unit(rows: FloatArray) -> FloatArray:
    lengths: FloatArray = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / lengths


def _gaussian(generator: np.random.Generator, rows: int, dimension: int) -> FloatArray:
    """Gaussian rows of expected length 1."""
    return generator.standard_normal((rows, dimension), dtype=np.float32) / np.float32(np.sqrt(dimension))


def document_blocks(shape: Shape) -> list[tuple[int, int]]:
    """The row ranges in which the documents are made; each has its own seed."""
    return [(first, min(first + BLOCK, shape.documents)) for first in range(0, shape.documents, BLOCK)]


def document_block(shape: Shape, first: int, last: int) -> FloatArray:
    """Documents ``first`` to ``last``, unit rows, whatever else is made."""
    clusters = max(16, min(shape.documents // 100, 20_000))
    centres = _unit(_gaussian(np.random.default_rng([shape.seed, 0]), clusters, shape.dimension))
    generator = np.random.default_rng([shape.seed, 1, first])
    rows = centres[generator.integers(clusters, size=last - first)]
    return _unit(rows + CLUSTER_SPREAD * _gaussian(generator, last - first, shape.dimension))


def write_documents(shape: Shape, path: Path) -> None:
    """Write the documents to a .npy file, block by block; memory stays at one block."""
    out = np.lib.format.open_memmap(path, mode="w+", dtype=shape.dtype, shape=(shape.documents, shape.dimension))
    for first, last in document_blocks(shape):
        out[first:last] = document_block(shape, first, last)
    out.flush()


def _answers(shape: Shape, queries: int, generator: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Pairs (query, place in the pool of labelled documents): one answer each, a fifth of them two."""
    weights = 1.0 / np.arange(1, shape.labelled + 1) ** POPULARITY
    weights /= weights.sum()
    first = generator.choice(shape.labelled, size=queries, p=weights)
    twice = np.flatnonzero(generator.random(queries) < SECOND_ANSWER)
    second = generator.choice(shape.labelled, size=len(twice), p=weights)
    rows = np.concatenate([np.arange(queries), twice])
    return rows.astype(np.int64), np.concatenate([first, second]).astype(np.int64)


def _draw_labels(shape: Shape, queries: int, targets: FloatArray, pooled: IntArray, stream: int) -> Labels:
    generator = np.random.default_rng([shape.seed, 2, stream])
    rows, places = _answers(shape, queries, generator)
    wanted = sparse.csr_array((np.ones(len(rows), np.float32), (rows, places)), shape=(queries, shape.labelled))
    wanted.data[:] = 1.0
    asked = _unit(wanted @ targets) * np.float32(np.sqrt(1.0 + HIDDEN**2))
    vectors = _unit(asked + NOISE * _gaussian(generator, queries, shape.dimension))
    cells = (wanted.data.astype(np.float64), pooled[wanted.indices], wanted.indptr)
    gains = sparse.csr_array(cells, shape=(queries, shape.documents))
    gains.sort_indices()
    return Labels(np.ascontiguousarray(vectors, dtype=np.float32), gains)


def pool(shape: Shape) -> IntArray:
    """Which documents queries may ask for, (labelled,) in order of popularity."""
    chosen = np.random.default_rng([shape.seed, 3]).choice(shape.documents, size=shape.labelled, replace=False)
    return chosen.astype(np.int64)


def labels(shape: Shape, pooled: FloatArray) -> tuple[Labels, Labels, Labels]:
    """Train labels, then two sets of ``shape.evaluated`` queries each: for choosing and for judging.

    ``pooled`` are the vectors of the documents in ``pool(shape)``, (labelled, d).
    """
    rows = pool(shape)
    generator = np.random.default_rng([shape.seed, 4])
    targets = _unit(pooled) + HIDDEN * _unit(_gaussian(generator, shape.labelled, shape.dimension))
    sizes = (shape.train, shape.evaluated, shape.evaluated)
    train, chosen, judged = (_draw_labels(shape, size, targets, rows, stream) for stream, size in enumerate(sizes))
    return train, chosen, judged


def write(shape: Shape, directory: Path) -> None:
    """Write documents and labels to a directory, for other processes to read."""
    path = directory / "documents.npy"
    write_documents(shape, path)
    pooled = np.asarray(np.load(path, mmap_mode="r")[pool(shape)], dtype=np.float32)
    for name, part in zip(PARTS, labels(shape, pooled), strict=True):
        save_labels(directory, name, part)


def save_labels(directory: Path, name: str, labels: Labels) -> None:
    """Write labels so that another process can read them."""
    np.save(directory / f"{name}.queries.npy", labels.queries)
    sparse.save_npz(directory / f"{name}.gains.npz", labels.gains)


def load_labels(directory: Path, name: str) -> Labels:
    """Read what ``save_labels`` wrote."""
    gains = sparse.csr_array(sparse.load_npz(directory / f"{name}.gains.npz"))
    return Labels(np.load(directory / f"{name}.queries.npy"), gains)
