"""Corpora in files: seconds, passes, memory, skew, threads and Ray; prints a table, or one JSON object with ``--json``.

    python tests/bench/scale.py --documents 1000000 --labels 50000

Vectors are made by a seeded script in a temporary folder, and removed afterwards. Each row has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _measure import Clock, in_own_process
from _tables import machine

Row = dict[str, Any]
PIECES, SEED = 20, 0


def make(folder: Path, documents: int, dimension: int, *, skewed: bool = False, lance: bool = False) -> str:
    """Write unit vectors of float16 in pieces, one of them ten times the others where they are skewed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sizes = np.full(PIECES, documents // PIECES)
    if skewed:
        sizes = np.full(PIECES, documents // (PIECES + 9))
        sizes[PIECES // 2] *= 10
    sizes[-1] += documents - sizes.sum()
    random = np.random.default_rng(SEED)
    centres = random.normal(size=(1000, dimension)).astype(np.float32)
    start = 0

    def tables() -> Any:
        nonlocal start
        for size in sizes:
            vectors = centres[random.integers(0, 1000, size)] + random.normal(size=(size, dimension)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            flat = pa.array(vectors.astype(np.float16).ravel())
            yield pa.table(
                {"id": np.arange(start, start + size), "vector": pa.FixedSizeListArray.from_arrays(flat, dimension)}
            )
            start += size

    if lance:
        import lance as lance_library

        for number, table in enumerate(tables()):
            lance_library.write_dataset(table, folder / "x.lance", mode="append" if number else "create")
        return str(folder / "x.lance")
    folder.mkdir(parents=True, exist_ok=True)
    for number, table in enumerate(tables()):
        pq.write_table(table, folder / f"{number:03}.parquet", use_dictionary=["id"], row_group_size=65_536)
    return str(folder)


def labels(location: str, count: int) -> tuple[Any, Any]:
    """Queries near documents that are turned away from them, and which they are."""
    from scipy import sparse

    from nudge_integrations.scale import open_corpus

    corpus = open_corpus(location, check_ids=False)
    random = np.random.default_rng(SEED + 1)
    relevant = random.integers(0, len(corpus), count // 2).repeat(2)
    base = corpus.take(relevant)
    away = random.normal(size=(count // 2, corpus.dimension)).repeat(2, axis=0)
    noise = random.normal(size=base.shape)
    length = np.sqrt(corpus.dimension)
    queries = base + 0.5 * away / length + 0.5 * noise / length
    gains = sparse.csr_array((np.ones(count), (np.arange(count), relevant)), shape=(count, len(corpus)))
    return queries.astype(np.float32), gains


def fitting(clock: Clock, *, location: str, count: int, method: str, cores: int) -> Row:
    """``solve`` or ``select`` over files."""
    from nudge_integrations.scale import open_corpus
    from nudge_integrations.selection import select
    from nudge_integrations.solver import solve

    queries, gains = labels(location, count)
    corpus: Any = None

    def run() -> Any:
        nonlocal corpus
        corpus = open_corpus(location, threads=cores)
        return select(corpus, queries, gains) if method == "auto" else solve(corpus, queries, gains, method=method)

    solution = clock.timed(run)
    return {"passes": corpus.rows_read / len(corpus), "method": solution.method, "moved": len(solution.rows)}


def floor(clock: Clock, *, location: str, count: int, cores: int) -> Row:
    """The least that any method must do: reading every vector, and one product with the evaluated queries."""
    import torch

    from nudge_integrations.scale import open_corpus

    torch.set_num_threads(cores)
    corpus = open_corpus(location, check_ids=False, threads=1)
    queries = torch.randn(min(count, 4096), corpus.dimension)

    def run() -> None:
        for _, block in corpus.blocks():
            queries @ block.T

    clock.timed(run)
    return {}


def reading(clock: Clock, *, location: str) -> Row:
    """Reading every vector into blocks of unit vectors, on one core."""
    from nudge_integrations.scale import open_corpus

    corpus = open_corpus(location, check_ids=False, threads=1)
    clock.timed(lambda: sum(len(block) for _, block in corpus.blocks()))
    return {}


def searching(clock: Clock, *, location: str, queries: int, cores: int, engine: str = "threads") -> Row:
    """One search for the best 200 documents."""
    from nudge_integrations.scale import open_corpus, over_ray

    files = open_corpus(location, check_ids=False, threads=cores)
    asked = np.random.default_rng(SEED).normal(size=(queries, files.dimension)).astype(np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    files.sample(8192, 0)
    started = time.perf_counter()
    corpus = over_ray(files, workers=cores) if engine == "ray" else files
    start_seconds = time.perf_counter() - started
    found = clock.timed(lambda: corpus.search(asked, 200))
    return {"start_seconds": start_seconds, "checksum": int(found.rows.sum())}


def resuming(clock: Clock, *, location: str, queries: int, cores: int) -> Row:
    """A search killed at nine tenths and called again: how many rows are read twice."""
    from nudge_integrations.scale import open_corpus

    first = 0
    with tempfile.TemporaryDirectory() as partial:
        corpus = open_corpus(location, check_ids=False, threads=cores, checkpoints=partial)
        asked = np.random.default_rng(SEED).normal(size=(queries, corpus.dimension)).astype(np.float32)
        asked /= np.linalg.norm(asked, axis=1, keepdims=True)

        class Stopped(Exception):
            pass

        class Ending(type(corpus)):  # type: ignore[misc]
            def __setattr__(self, name: str, value: Any) -> None:
                super().__setattr__(name, value)
                if name == "rows_read" and value >= 0.9 * len(self):
                    raise Stopped

        corpus.__class__ = Ending
        try:
            corpus.search(asked, 200)
        except Stopped:
            first = corpus.rows_read
        again = open_corpus(location, check_ids=False, threads=cores, checkpoints=partial)
        clock.timed(lambda: again.search(asked, 200))
    return {"rows_read_twice": first + again.rows_read - len(again)}


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Row]:
    """Run every case that the machine has libraries and room for."""
    count, threads = arguments.labels, arguments.threads
    rows: dict[str, Row] = {}
    for kind in arguments.formats:
        where = make(folder / kind, arguments.documents, arguments.dimension, lance=kind == "lance")
        size = sum(path.stat().st_size for path in (folder / kind).rglob("*") if path.is_file())
        rows[f"{kind}: reading"] = {"gigabytes": size / 1e9, **in_own_process(reading, 1, location=where)}
        asked: Row = {"location": where, "count": count, "cores": threads}
        rows[f"{kind}: reading and multiplying"] = in_own_process(floor, threads, **asked)
        for method in arguments.methods:
            rows[f"{kind}: {method}"] = in_own_process(fitting, threads, method=method, **asked)
        if kind == "parquet":
            search: Row = {"location": where, "queries": min(count, 4096)}
            for number in (1, threads):
                rows[f"one search, {number} threads"] = in_own_process(searching, number, cores=number, **search)
            rows["stopped at 90 % and resumed"] = in_own_process(resuming, threads, cores=threads, **search)
            if arguments.ray:
                rows[f"one search, Ray, {threads} workers"] = in_own_process(
                    searching, 1, cores=threads, engine="ray", **search
                )
            skewed = make(folder / "skewed", arguments.documents, arguments.dimension, skewed=True)
            search["location"] = skewed
            rows["one search, a piece ten times the others"] = in_own_process(
                searching, threads, cores=threads, **search
            )
            shutil.rmtree(folder / "skewed")
        shutil.rmtree(folder / kind)
    return rows


def table(rows: dict[str, Row]) -> str:
    """Draw the rows, one a line."""
    lines = [f"{'':44}{'seconds':>9}{'cpu':>9}{'MiB':>8}  more"]
    for name, row in rows.items():
        more = {key: row[key] for key in ("passes", "rows_read_twice", "start_seconds", "gigabytes") if key in row}
        said = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in more.items())
        lines.append(
            f"{name:44}{row['seconds']:9.1f}{sum(row['all_cpu_seconds']):9.1f}{row['memory_mib']:8.0f}  {said}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what the arguments ask for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--labels", type=int, default=50_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--formats", nargs="+", default=["parquet", "lance"], choices=["parquet", "lance"])
    parser.add_argument("--methods", nargs="+", default=["nudge-n", "auto"])
    parser.add_argument("--ray", action="store_true", help="search over Ray as well")
    parser.add_argument("--directory", type=Path, help="where files are made and removed")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        rows = measure(arguments, Path(folder))
    given = {name: getattr(arguments, name) for name in ("documents", "dimension", "labels", "threads")}
    result = {"machine": machine(arguments.threads), **given, "seed": SEED, "rows": rows}
    sys.stdout.write(json.dumps(result, indent=1) + "\n" if arguments.json else table(rows) + "\n")


if __name__ == "__main__":
    main()
