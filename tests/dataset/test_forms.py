"""Labels as they lie around: tables with named columns, Ragas, LangSmith's CSV, the hub's folders, an evaluator."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError

CORPUS = {"c": "cats purr", "d": "dogs bark", "o": "owls hoot"}
# Question -> the documents that answer it.
ANSWERS = {"who purrs?": ["c"], "who is loud?": ["d", "o"]}


def said(dataset: RetrievalDataset) -> dict[str, list[str]]:
    """Return query text -> texts of its relevant documents."""
    return {
        dataset.queries[query]: sorted(dataset.corpus[i] for i, grade in grades.items() if grade > 0)
        for query, grades in dataset.qrels.items()
    }


SAID = {question: sorted(CORPUS[i] for i in ids) for question, ids in ANSWERS.items()}


def ragas_rows() -> list[dict[str, Any]]:
    return [
        {
            "user_input": question,
            "retrieved_contexts": ["something else"],
            "reference_contexts": [CORPUS[i] for i in ids],
            "response": "an answer",
            "reference": "a better answer",
            "synthesizer_name": "single_hop",
        }
        for question, ids in ANSWERS.items()
    ]


def test_ragas_rows_name_their_reference_contexts_and_nothing_that_was_retrieved(tmp_path: Path) -> None:
    frame = pd.DataFrame(ragas_rows())
    frame.to_csv(tmp_path / "testset.csv", index=False)  # writes lists out as Python does
    frame.to_json(tmp_path / "testset.jsonl", orient="records", lines=True)
    (tmp_path / "testset.json").write_text(json.dumps(ragas_rows()))
    arrays = frame.assign(reference_contexts=[np.array(cell) for cell in frame["reference_contexts"]])
    files = [tmp_path / name for name in ("testset.csv", "testset.jsonl", "testset.json")]
    evaluation_set = SimpleNamespace(to_list=ragas_rows)
    for table in (ragas_rows(), frame, arrays, evaluation_set, *files):
        assert said(RetrievalDataset.from_table(table)) == SAID
        assert said(RetrievalDataset.from_object(table)) == SAID
    by_id = [{"user_input": question, "reference_context_ids": ids} for question, ids in ANSWERS.items()]
    assert said(RetrievalDataset.from_table(by_id, corpus=CORPUS)) == SAID


@pytest.mark.parametrize(
    "header", [("inputs.question", "outputs.doc_ids"), ("input_question", "output_doc_ids"), ("question", "doc_ids")]
)
def test_csv_of_langsmith_is_read_by_the_names_of_its_inputs_and_outputs(
    tmp_path: Path, header: tuple[str, str]
) -> None:
    path = tmp_path / "examples.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *header])
        writer.writerows([f"e{row}", question, json.dumps(ids)] for row, (question, ids) in enumerate(ANSWERS.items()))
    dataset = RetrievalDataset.from_table(path, query_id="id", corpus=CORPUS)
    assert said(dataset) == SAID
    assert dataset.query_ids == ["e0", "e1"]
    with pytest.raises(DatasetError, match=r"by id: give corpus="):
        RetrievalDataset.from_table(path, documents=header[1])


def test_inputs_and_outputs_that_are_json_in_a_cell_are_opened(tmp_path: Path) -> None:
    rows = [{"inputs": {"question": q}, "outputs": {"doc_ids": dict.fromkeys(ids, 2)}} for q, ids in ANSWERS.items()]
    with (tmp_path / "examples.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["inputs", "outputs"])
        writer.writeheader()
        writer.writerows({name: json.dumps(cell) for name, cell in row.items()} for row in rows)
    for table in (rows, tmp_path / "examples.csv"):
        dataset = RetrievalDataset.from_table(table, corpus=CORPUS)
        assert said(dataset) == SAID
        assert {grade for grades in dataset.qrels.values() for grade in grades.values()} == {2.0}


def test_two_columns_are_read_by_the_names_that_are_given_or_known(tmp_path: Path) -> None:
    pairs = [(question, CORPUS[i]) for question, ids in ANSWERS.items() for i in ids]
    (tmp_path / "pairs.tsv").write_text("title\tbody\n" + "".join(f"{q}\t{d}\n" for q, d in pairs))
    named = RetrievalDataset.from_table(tmp_path / "pairs.tsv", query="title", documents="body")
    assert said(named) == SAID == said(RetrievalDataset.from_table(pd.DataFrame(pairs, columns=["anchor", "positive"])))
    graded = [
        {"query": "who purrs?", "document": text, "label": grade} for text, grade in (("cats purr", "2"), ("x", 0))
    ]
    dataset = RetrievalDataset.from_table(graded, grade="label")
    assert sorted(next(iter(dataset.qrels.values())).values()) == [0.0, 2.0]


def test_a_text_that_only_looks_like_a_list_stays_a_text() -> None:
    for text in ("[1] See the manual.", "[1]", "{x}", "[" * 5000, '{"a": "b"}'):
        dataset = RetrievalDataset.from_table([{"question": "where?", "passage": text}])
        assert list(dataset.corpus.values()) == [text]


@pytest.mark.parametrize(
    ("rows", "options", "named"),
    [
        ([], {}, "no rows"),
        ([{"a": "x", "b": "y"}], {}, "no column is known to hold the query.*'a', 'b'"),
        ([{"question": "x", "query": "y", "passage": "z"}], {}, "'question', 'query' may all hold the query"),
        ([{"question": "x", "passage": "y"}], {"documents": "text"}, "no column 'text'"),
        ([{"question": "x", "passage": None}], {}, "row 0: column 'passage' is empty"),
        ([{"question": "x", "passage": float("nan")}], {}, "row 0.*expected ids"),
        ([{"question": "x", "answer": "an opinion"}], {}, "known to hold the documents"),
        ([{"question": "x", "contexts": ["what was retrieved"]}], {}, "known to hold the documents"),
        ([{"question": "x", "passage": "y", "n": "1o"}], {"grade": "n"}, "expected a number for score"),
        ([{"question": "x", "doc_ids": ["q"]}], {"corpus": CORPUS}, "row 0: 'q' is neither"),
        ([{"question": "x", "passage": "y"}, ["x", "y"]], {}, "row 1"),
    ],
)
def test_a_table_that_cannot_be_read_names_its_columns_or_its_row(rows: Any, options: Any, named: str) -> None:
    with pytest.raises(DatasetError, match=named):
        RetrievalDataset.from_table(rows, **options)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("question,passage\nx\n", r"labels.csv:2: 1 cells"),
        ("question,question\nx,y\n", "one name"),
        ('question,passage\n"x,y\n', "comma- or tab-separated"),
        ("", "no rows"),
        ("question,passage\n", "no rows"),
    ],
)
def test_a_csv_that_is_none_is_refused_with_its_line(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DatasetError, match=named):
        RetrievalDataset.from_table(tmp_path / "labels.csv")


def test_a_long_context_fits_into_a_cell(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    (tmp_path / "labels.csv").write_text(f"question,passage\nx,{'long ' * 100_000}\n")
    assert len(RetrievalDataset.from_table(tmp_path / "labels.csv")) == 1
    assert csv.field_size_limit() == limit


def test_an_information_retrieval_evaluator_is_a_dataset() -> None:
    queries: dict[str, Any] = {f"q{row}": question for row, question in enumerate(ANSWERS)}
    documents: dict[str, Any] = dict(CORPUS)
    relevant = {f"q{row}": set(ids) for row, ids in enumerate(ANSWERS.values())}
    evaluator = InformationRetrievalEvaluator({**queries, "unlabelled": "?"}, documents, relevant)
    dataset = RetrievalDataset.from_object(evaluator)
    assert said(dataset) == SAID
    assert (dict(dataset.corpus), dict(dataset.queries)) == (CORPUS, queries)


def hub_folder(folder: Path, *, parts: bool) -> Path:
    """Write a folder as the hub lays it out: a folder of JSON lines each for documents, queries and labels."""
    lines: dict[str, list[dict[str, Any]]] = {
        "corpus": [{"id": i, "title": "", "text": text} for i, text in CORPUS.items()],
        "queries": [{"_id": f"q{row}", "text": question} for row, question in enumerate(ANSWERS)],
        "qrels": [
            {"query-id": f"q{row}", "corpus-id": i, "score": 1} for row, ids in enumerate(ANSWERS.values()) for i in ids
        ],
    }
    for name, records in lines.items():
        (folder / name).mkdir(parents=True)
        names = ["test-00000-of-00002", "test-00001-of-00002"] if parts else ["test"]
        for number, part in enumerate(names):
            chosen = records[number :: len(names)]
            (folder / name / f"{part}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in chosen))
    return folder


@pytest.mark.parametrize("parts", [False, True])
def test_folders_of_the_hub_are_read_whole_or_in_parts(tmp_path: Path, parts: bool) -> None:
    folder = hub_folder(tmp_path / "hub", parts=parts)
    dataset = RetrievalDataset.from_object(folder)
    assert (said(dataset), dataset.corpus["c"]) == (SAID, "cats purr")
    with pytest.raises(DatasetError, match="splits in this folder: test"):
        RetrievalDataset.from_beir(folder, "train")
    with pytest.raises(DatasetError, match="another corpus"):
        RetrievalDataset({"x": "y"}, {"q": "?"}, {"q": {"x": 1}}).to_beir(folder)


def test_a_folder_of_other_files_says_what_to_do(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", parts=False)
    (folder / "corpus" / "test.jsonl").rename(folder / "corpus" / "test.parquet")
    with pytest.raises(DatasetError, match=r"test\.parquet: write its table as JSON lines"):
        RetrievalDataset.from_beir(folder)
