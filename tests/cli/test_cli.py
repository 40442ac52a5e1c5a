"""The parts of the command line: what is read, measured and drawn. No model is loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from cli_doubles import ANIMALS, animal_dataset, animal_folder
from rich.console import Console, RenderableType

from nudge_integrations.cli.edge_check import EdgeCheck
from nudge_integrations.cli.measure import RANKS, measure
from nudge_integrations.cli.tables import differences_table, edge_check_lines, moved_table, splits_line, summary
from nudge_integrations.data import METATOOL
from nudge_integrations.dataset import RetrievalDataset, Splits
from nudge_integrations.encoding import Encoder
from nudge_integrations.evaluation import Difference, MovedQuery, compare


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    return animal_folder(tmp_path / "animals")


def drawn(renderable: RenderableType, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


# --- measuring


def test_figures_are_those_of_the_vectors(beir: Path, encoder: Encoder) -> None:
    splits = Splits.read(beir)
    measured = measure(splits, encoder, method="nudge-n")
    documents = encoder.encode_documents(list(splits.test.corpus.values()))
    queries = encoder.encode_queries(list(splits.test.queries.values()))
    positives = [ANIMALS.index(next(iter(grades))) for grades in splits.test.qrels.values()]
    found = measured.comparison
    for vectors, side in (
        (documents, found.before),
        (measured.nudge.apply(list(ANIMALS), documents), found.after),
    ):
        hits = (queries @ vectors.T).argmax(axis=1) == np.array(positives)
        assert side.means["hit@1"] == pytest.approx(hits.mean())
    assert found.differences["ndcg@10"].low > 0.2
    assert found.queries == 24
    assert set(measured.seconds) == {"embedding", "fitting", "retrieving"}


def test_query_maps_are_evaluated_by_leave_one_out_over_all_labels(beir: Path, encoder: Encoder) -> None:
    splits = Splits.read(beir)
    train, validation = splits.train.split((0.5, 0.5))
    measured = measure(replace(splits, train=train, validation=validation), encoder, method="query-map")
    assert (measured.nudge.protocol, measured.nudge.validation_hash) == ("leave-one-out", None)
    assert measured.nudge.dataset_hash == train.merge(validation).hash


def test_another_metric_is_reported_beside_the_usual_ones(beir: Path, encoder: Encoder) -> None:
    measured = measure(Splits.read(beir), encoder, method="nudge-n", metric="mrr@3")
    assert list(measured.comparison.before.means) == ["ndcg@10", "recall@10", "mrr@10", "hit@1", "mrr@3"]


# --- drawing


def test_metrics_are_drawn_in_percent() -> None:
    rows = {
        "nDCG@10": Difference("ndcg@10", 0.7125, 0.857, 0.1445, 0.1, 0.2, 0.0002, 0.0004, 30, 2, 8),
        "hit@1": Difference("hit@1", 0.5, 0.49996, -0.00004, -0.01, 0.01, 1.0, 1.0, 0, 1, 39),
    }
    lines = drawn(differences_table("metric", rows), width=80).splitlines()
    assert any(
        line.split() == ["nDCG@10", "71.2", "85.7", "+14.4", "+10.0", "to", "+20.0", "0.0004", "30/2"] for line in lines
    )
    assert any(line.split()[:4] == ["hit@1", "50.0", "50.0", "0.0"] for line in lines)


def moved(text: str, document: str, old: int | None, new: int | None) -> MovedQuery:
    return MovedQuery("q", text, 0.0, 0.0, document, old, new)


def test_three_that_rose_and_one_that_fell_are_drawn() -> None:
    ordered = [
        moved("first", "a", None, 1),
        moved("second", "a", 9, 1),  # the same document again: left out
        moved("third [bold]", "b", 5, 1),
        moved("fourth", "c", 4, 1),
        moved("fifth", "d", 3, 1),
        moved("sixth", "e", 1, 2),
        moved("seventh", "f", 1, 7),
    ]
    text = drawn(moved_table(ordered))
    assert [name for name in ("first", "second", "third [bold]", "fourth", "fifth", "sixth") if name in text] == [
        "first",
        "third [bold]",
        "fourth",
    ]
    assert f">{RANKS} -> 1" in text
    assert "seventh" in text
    assert "1 -> 7" in text


def test_nothing_moved_draws_no_ranks(beir: Path, encoder: Encoder) -> None:
    measured = measure(Splits.read(beir), encoder, method="nudge-n")
    assert "Ranks" in drawn(summary(measured))
    same = compare(measured.comparison.before, measured.comparison.before)
    text = drawn(summary(replace(measured, comparison=same, seconds={"embedding": 12.34, "fitting": 0.5})))
    assert "Ranks" not in text
    assert measured.nudge.reason in text
    assert "embedding 12.3 s, fitting 0.5 s" in text


def test_edge_check_lines_say_whether_the_retrievers_agree() -> None:
    same = EdgeCheck(agree=True, queries=600, example="which tool?", llama_index=("a",), langchain=("a",))
    other = EdgeCheck(agree=False, queries=600, example="which tool?", llama_index=("a",), langchain=("b",))
    assert "the same documents for 600 queries" in drawn(edge_check_lines(same))
    assert "different documents" in drawn(edge_check_lines(other))


def test_splits_are_described_in_a_line() -> None:
    dataset = animal_dataset()
    assert splits_line(Splits(dataset, None, dataset, "given")) == (
        "8 documents; 120 queries to train on, 120 to test on: given."
    )


# --- the data of the demo


def test_shipped_requests_are_labelled_and_disjoint_as_text() -> None:
    train, test = (RetrievalDataset.from_beir(METATOOL, split) for split in ("train", "test"))
    assert (len(train.corpus), len(train), len(test)) == (199, 2400, 600)
    assert train.corpus == test.corpus

    def words_of(dataset: RetrievalDataset) -> list[str]:
        return ["".join(c if c.isalnum() else " " for c in text.lower()) for text in dataset.queries.values()]

    texts = [" ".join(text.split()) for text in words_of(train) + words_of(test)]
    assert len(set(texts)) == 3000
    assert train.validate().ok
    assert test.validate().ok


def test_shipped_requests_can_be_drawn_again(collection: Callable[[str], Path], tmp_path: Path) -> None:
    script = METATOOL.parent / "draw_metatool.py"
    subprocess.run([sys.executable, script, collection("metatool"), "--output", tmp_path], check=True, timeout=120)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "qrels/test.tsv"):
        assert (tmp_path / name).read_bytes() == (METATOOL / name).read_bytes()
