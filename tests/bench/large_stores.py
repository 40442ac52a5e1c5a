"""50,000 rows moved in a store of 1,000,000 vectors of 128 numbers: seconds, memory above the start, journal.

    PYTHONPATH=. python tests/bench/large_stores.py                          # LanceDB and pgvector
    PYTHONPATH=. python tests/bench/large_stores.py --rows 100000 --moved 5000

A process fills a store, another plans, applies, verifies and rolls back. Memory is the most that the second one ever
held, less what it held after its imports and with the nudge. Prints a markdown table.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

from postgres_server import installed, postgres_address

from nudge_integrations import Nudge
from nudge_integrations.stores import Canary, open_store

WIDTH, BLOCK, STEP, QUERIES = 128, 50_000, 0.3, 100
STEPS = ("plan", "apply", "verify", "rollback")
Rows = NDArray[np.float32]


def vectors(block: int) -> Rows:
    """One block of unit vectors."""
    rows = np.random.default_rng(block).standard_normal((BLOCK, WIDTH)).astype(np.float32)
    unit: Rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def names(start: int, count: int) -> list[str]:
    """Ids of equal length."""
    return [f"{row:08d}" for row in range(start, start + count)]


def blocks(count: int) -> Iterator[tuple[list[str], Rows]]:
    """Ids and vectors of all rows."""
    for block in range(count // BLOCK):
        yield names(block * BLOCK, BLOCK), vectors(block)


def fill_lancedb(place: str, count: int) -> None:
    """Make a table of all rows."""
    arrow, database = installed("pyarrow"), installed("lancedb").connect(place)
    schema = arrow.schema([("id", arrow.string()), ("vector", arrow.list_(arrow.float32(), WIDTH))])
    table = database.create_table("items", schema=schema)
    for ids, rows in blocks(count):
        column = arrow.FixedSizeListArray.from_arrays(arrow.array(rows.ravel()), WIDTH)
        table.add(arrow.table({"id": ids, "vector": column}))


def fill_pgvector(place: str, count: int) -> None:
    """Make a table of all rows, through the binary form of COPY."""
    kind = np.dtype(
        [("fields", ">i2"), ("a", ">i4"), ("id", "S8"), ("b", ">i4"), ("d", ">i2"), ("c", ">i2"), ("v", ">f4", WIDTH)]
    )
    with installed("psycopg").connect(place, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE items (id text PRIMARY KEY, embedding vector({WIDTH}))")
        with cursor.copy("COPY items FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
            for ids, rows in blocks(count):
                data = np.zeros(len(ids), kind)
                data["fields"], data["a"], data["b"], data["d"] = 2, 8, 4 + 4 * WIDTH, WIDTH
                data["id"], data["v"] = ids, rows
                copy.write(data.tobytes())
            copy.write(b"\xff\xff")


def nudge_of(moved: int) -> Nudge:
    """A nudge that turns the first rows a little, each in a direction of its own."""
    base = np.concatenate([vectors(block) for block in range(math.ceil(moved / BLOCK))])[:moved]
    turned = base + STEP * np.roll(base, 1, axis=1)
    values: dict[str, Any] = {
        **{"ids": tuple(names(0, moved)), "vectors": turned / np.linalg.norm(turned, axis=1, keepdims=True)},
        **{"base": base, "text_hashes": (), "similarity": "cosine", "method": "nudge-n", "step": STEP},
        **{"temperature": None, "metric": "ndcg@10", "baseline": 0.1, "score": 0.2, "unseen_baseline": math.nan},
        **{"unseen_score": math.nan, "status": "improved", "reason": "", "warnings": (), "protocol": "validation"},
        **{"queries": QUERIES, "encoder": "random", "dataset_hash": "", "validation_hash": None},
        **{"ambiguous_texts": {}, "versions": {}, "created": "2026-01-01T00:00:00+00:00"},
    }
    return Nudge(**values)


def memory(name: str) -> float:
    """What this process holds (``VmRSS``), or the most that it ever held (``VmHWM``), in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1e3


def run(place: str, moved: int, journal: str) -> None:
    """Plan, apply, verify and roll back; print what that took, as JSON."""
    nudge = nudge_of(moved)
    asked = [{name: 1.0} for name in names(0, QUERIES)]
    canary = Canary(np.ascontiguousarray(nudge.vectors[:QUERIES]), asked, "ndcg@10")
    store = open_store(place, "items", journal=journal)
    taken: dict[str, float] = {}
    held, started = memory("VmRSS"), time.perf_counter()
    for step in STEPS:
        if step == "plan":
            plan = store.plan(nudge, canary=canary)
        elif step == "apply":
            rollout = store.apply(plan)
        elif step == "verify":
            assert rollout.verify().at_target == plan.rows == moved
        else:
            assert rollout.rollback().verify().at_base == moved
        taken[step], started = time.perf_counter() - started, time.perf_counter()
    written = sum(path.stat().st_size for path in Path(journal).rglob("*") if path.is_file())
    store.close()
    taken |= {"rows": plan.rows, "memory": memory("VmHWM") - held, "planned": plan.journal_bytes, "journal": written}
    print(json.dumps(taken))


def measured(kind: str, rows: int, moved: int) -> dict[str, float]:
    """Fill a store and nudge it, in a process each."""
    with tempfile.TemporaryDirectory() as folder:
        place = postgres_address() if kind == "pgvector" else f"{folder}/lance"
        command = [sys.executable, __file__, "--rows", str(rows), "--moved", str(moved), "--place", place]
        subprocess.run([*command, "--fill", kind], check=True)
        done = subprocess.run([*command, "--journal", f"{folder}/journal"], check=True, capture_output=True)
        taken: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return taken


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help=f"how many rows, in blocks of {BLOCK}")
    parser.add_argument("--moved", type=int, default=50_000, help="how many of them move")
    parser.add_argument("--only", default="", help="one store")
    for name in ("--place", "--fill", "--journal"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.fill:
        {"lancedb": fill_lancedb, "pgvector": fill_pgvector}[asked.fill](asked.place, asked.rows)
        return
    if asked.journal:
        run(asked.place, asked.moved, asked.journal)
        return
    head = ["store", *(f"{step}, s" for step in STEPS), "rows/s", "memory, MB", "journal, MB", "planned, MB"]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head), flush=True)
    for kind in ("lancedb", "pgvector"):
        if asked.only in kind:
            taken = measured(kind, asked.rows, asked.moved)
            cells = [kind, *(f"{taken[step]:.1f}" for step in STEPS), f"{taken['rows'] / taken['apply']:,.0f}"]
            cells += [f"{taken['memory']:.0f}", f"{taken['journal'] / 1e6:.1f}", f"{taken['planned'] / 1e6:.1f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
