"""The whole life of a nudge in every store: filled by a framework, fitted, nudged in place, changed, refitted, undone.

    PYTHONPATH=. python tests/bench/stores.py                    # scifact, 5,183 vectors of 384
    PYTHONPATH=. python tests/bench/stores.py --only lancedb     # stores whose name has a word

Prints a markdown table: seconds of each step, rows a second, and whether rankings and vectors are right.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

from framework_stores import FRAMEWORK_STORES, Filling, FrameworkStore
from live_stores import named
from store_weeks import Labelled, Week, Weeks

from nudge_integrations import RetrievalDataset

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CHANGES = 200, 100, 50
STEPS = ("fill", "fit", "plan", "apply", "verify")


def scifact() -> Labelled:
    """All abstracts, and the claims of its train split, with all-MiniLM-L6-v2's vectors."""
    folder = DATA / "scifact"
    dataset = RetrievalDataset.from_beir(folder, "train")
    rows = np.load(folder / "minilm" / "corpus.f16.npy").astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    asked = np.load(folder / "minilm" / "queries.f16.npy").astype(np.float32)
    place = {
        line.split('"_id": "')[1].split('"')[0]: row for row, line in enumerate(lines_of(folder / "queries.jsonl"))
    }
    ids = [named(name) for name in dataset.corpus]
    qrels = {query: {named(name): grade for name, grade in judged.items()} for query, judged in dataset.qrels.items()}
    renamed = RetrievalDataset(dict(zip(ids, dataset.corpus.values(), strict=True)), dataset.queries, qrels)
    return Labelled(
        Filling(ids, list(dataset.corpus.values()), rows), asked[[place[i] for i in dataset.query_ids]], renamed
    )


def lines_of(path: Path) -> list[str]:
    """Lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


def row(kind: FrameworkStore, labelled: Labelled) -> str:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "store"
        folder.mkdir()
        weeks = Weeks(kind, folder, labelled, CHANGES)
        half = len(labelled.dataset) // 2
        first, run = weeks.nudged(slice(half))
        second: Week | None = None
        if kind.changes:
            weeks.change()
            second, run = weeks.nudged(slice(None))
        weeks.timed("rollback", run.rollback)
        cells = [kind.name, *(f"{first.seconds[step]:.1f}" for step in STEPS)]
        cells += [f"{first.rows}", f"{first.rows / first.seconds['apply']:,.0f}", f"{first.right:.0%}"]
        cells += (
            ["-"] * 3 if second is None else [f"{second.seconds['apply']:.1f}", f"{second.rows}", f"{second.right:.0%}"]
        )
        return " | ".join([*cells, f"{weeks.seconds['rollback']:.1f}", "yes" if weeks.as_before() else "NO"])


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a word in the names of the stores to run")
    only = parser.parse_args().only
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    labelled = scifact()
    head = ["store", *STEPS, "rows", "rows/s", "exact", "refit: apply", "rows", "exact", "rollback", "as before"]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head), flush=True)
    for kind in FRAMEWORK_STORES:
        if only in kind.name:
            print(f"| {row(kind, labelled)} |", flush=True)


if __name__ == "__main__":
    main()
