"""Read the collections beside the checkout as arrays: pooled labels, seeded splits, stripped documents."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SAMPLED = {"metatool": ("metatool", 3000)}
WHOLE = {"metatool-all": "metatool"}
NAMES = ("scifact", "nfcorpus", "stackfaq", "squad2", "sealtools", "metatool", "chitchat", "tfhub", "cosqa")


@dataclass(frozen=True)
class Labels:
    """Queries with their gains: vectors (m, d) float32 and a sparse (m, n) matrix of gains."""

    queries: FloatArray
    gains: sparse.csr_array

    def take(self, rows: IntArray) -> Labels:
        """The labels of the given queries, in the given order."""
        return Labels(self.queries[rows], self.gains[rows])

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True)
class Collection:
    """Unit document vectors (n, d) float32, every judged query of the collection, and their ids."""

    name: str
    documents: FloatArray
    labels: Labels
    query_ids: list[str]


@dataclass(frozen=True)
class Split:
    """Queries to learn from, to choose by and to judge by."""

    train: Labels
    validation: Labels
    test: Labels


def _unit(vectors: npt.NDArray[np.float16]) -> FloatArray:
    rows: FloatArray = np.asarray(vectors, dtype=np.float32)
    lengths: FloatArray = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def _ids(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["_id"] for line in lines]


def _read_gains(directory: Path, query_ids: list[str]) -> sparse.csr_array:
    documents = {name: row for row, name in enumerate(_ids(directory / "corpus.jsonl"))}
    queries = {name: row for row, name in enumerate(query_ids)}
    cells: dict[tuple[int, int], float] = {}
    for path in sorted((directory / "qrels").glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as lines:
            for query, document, grade in list(csv.reader(lines, delimiter="\t"))[1:]:
                if float(grade) > 0:
                    cells[queries[query], documents[document]] = float(grade)
    pairs = np.array(list(cells), dtype=np.int64).reshape(-1, 2)
    values = np.array(list(cells.values()), dtype=np.float64)
    return sparse.csr_array((values, (pairs[:, 0], pairs[:, 1])), shape=(len(queries), len(documents)))


def available(name: str) -> bool:
    """Whether the collection lies beside the checkout."""
    return (DATA / source(name) / "corpus.jsonl").is_file()


def source(name: str) -> str:
    """The folder that a collection is read from."""
    return SAMPLED[name][0] if name in SAMPLED else WHOLE.get(name, name)


def read(name: str) -> Collection:
    """Read one collection with all of its labels pooled, in the order of the query ids.

    ``metatool`` is one seeded sample of 3,000 queries, ``metatool-all`` every query.
    """
    directory = DATA / source(name)
    query_ids = _ids(directory / "queries.jsonl")
    documents = _unit(np.load(directory / "minilm" / "corpus.f16.npy"))
    queries = _unit(np.load(directory / "minilm" / "queries.f16.npy"))
    labels = Labels(queries, _read_gains(directory, query_ids))
    by_id = np.array(sorted(range(len(query_ids)), key=query_ids.__getitem__), dtype=np.int64)
    judged = by_id[np.diff(labels.gains.indptr)[by_id] > 0]
    if name in SAMPLED:
        judged = judged[np.sort(np.random.default_rng(0).permutation(len(judged))[: SAMPLED[name][1]])]
    return Collection(name, documents, labels.take(judged), [query_ids[row] for row in judged])


def concatenate(first: Labels, second: Labels) -> Labels:
    """The labels of both, first before second."""
    gains = sparse.csr_array(sparse.vstack([first.gains, second.gains], format="csr"))
    return Labels(np.concatenate([first.queries, second.queries]), gains)
