"""Question generation: what is asked, read, kept, retried, filtered and reported; alike in threads and async."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.generation import GenerationReport, agenerate_qa_pairs, generate_qa_pairs
from nudge_integrations.generation.prompt import filled_prompt, questions_in
from nudge_integrations.generation.selection import covering_sample, found_again

TEXTS = {"d1": "cats purr", "d2": "dogs bark", "d3": "cows moo"}
PROMPT = "{count} about: {text}"


class Generate(Protocol):
    def __call__(self, texts: Mapping[str, str], ask: Callable[[str], Any], **options: Any) -> RetrievalDataset: ...


def _in_threads(texts: Mapping[str, str], ask: Callable[[str], Any], **options: Any) -> RetrievalDataset:
    return generate_qa_pairs(texts, ask, **options)


def _async(texts: Mapping[str, str], ask: Callable[[str], Any], **options: Any) -> RetrievalDataset:
    async def waiting(prompt: str) -> Any:
        await asyncio.sleep(0)
        return ask(prompt)

    return asyncio.run(agenerate_qa_pairs(texts, waiting, **options))


@pytest.fixture(params=[_in_threads, _async], ids=["threads", "async"])
def generate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Generate:
    monkeypatch.setattr("nudge_integrations.generation.asking.PAUSE", 0.0)
    chosen: Generate = request.param
    return chosen


class Scripted:
    """A language model that makes questions of the words of the document, and remembers what it was asked."""

    def __init__(self, failing: str | None = None, failures: int = 10**9) -> None:
        self.prompts: list[str] = []
        self.failing = failing
        self.failures = failures

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        text = prompt.split("about: ")[-1]
        if self.failing is not None and self.failing in text and self.failures > 0:
            self.failures -= 1
            raise TimeoutError("the model is busy")
        return f"Here they are:\n1. Who knows {text}?\n2. What of {text}?"


def pairs(dataset: RetrievalDataset) -> dict[str, list[str]]:
    return {dataset.queries[query]: list(judged) for query, judged in dataset.qrels.items()}


# --------------------------------------------------------------------------------------------- prompts and answers


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Who purrs?\nWho barks?", ["Who purrs?", "Who barks?"]),
        ("1. Who purrs?\n2. Who barks?", ["Who purrs?", "Who barks?"]),
        ("1)Who purrs?\n\n(2) Who barks?", ["Who purrs?", "Who barks?"]),
        ("- Who purrs?\n* Who barks?", ["Who purrs?", "Who barks?"]),
        ("Q1: Who purrs?\nQuestion 2: Who barks?", ["Who purrs?", "Who barks?"]),
        ("Sure! Two questions:\n\n1. **Who purrs?**\n2. “Who barks?”\n\nGood luck!", ["Who purrs?", "Who barks?"]),
        ("Here are two questions:\nWho purrs?\nWho barks?", ["Who purrs?", "Who barks?"]),
        ("\"Who purrs?\"\n'Who barks?'", ["Who purrs?", "Who barks?"]),
        ('"A" or "B"?', ['"A" or "B"?']),
        ('["Who purrs?", "Who barks?"]', ["Who purrs?", "Who barks?"]),
        ('```json\n{"questions": ["Who purrs?", "Who barks?"]}\n```', ["Who purrs?", "Who barks?"]),
        ("Who purrs?\nwho PURRS?\nWho barks?", ["Who purrs?", "Who barks?"]),
        ("Who  purrs?\r\nWho barks?\r\nWho moos?", ["Who purrs?", "Who barks?"]),
        ("3.5 GHz is the clock of what?", ["3.5 GHz is the clock of what?"]),
        ("2024 budget deficit\nqueen of spain", ["2024 budget deficit", "queen of spain"]),
        (["  Who purrs? ", "", "Who barks?"], ["Who purrs?", "Who barks?"]),
    ],
)
def test_questions_are_read_out_of_what_models_write(answer: Any, expected: list[str]) -> None:
    assert questions_in(answer, 2) == expected


@pytest.mark.parametrize("answer", ["", " \n\n", "Here are the questions:", "[]", [], None, 3, ["a", 3], {"a": 1}])
def test_an_answer_without_a_question_is_an_error(answer: Any) -> None:
    with pytest.raises(InputError, match="question"):
        questions_in(answer, 2)


@given(st.lists(st.from_regex(r"[A-Za-z][a-z ]{2,20}[a-z]\?", fullmatch=True), min_size=1, unique_by=str.casefold))
def test_numbering_any_questions_changes_none(questions: list[str]) -> None:
    expected = [" ".join(question.split()) for question in questions]
    numbered = "\n".join(f"{number}. {question}" for number, question in enumerate(questions, start=1))
    if len({question.casefold() for question in expected}) == len(expected):
        assert questions_in(numbered, len(questions)) == expected


def test_prompts_are_filled_once_and_leave_other_braces_alone() -> None:
    filled = filled_prompt('{text} {count} {"a": 1} {examples}', "{count} {examples}", 3, [("doc", ["q1", "q2"])])
    assert filled.startswith('{count} {examples} 3 {"a": 1} ')
    assert "doc" in filled
    assert "q1\nq2" in filled


# ------------------------------------------------------------------------------------------------------ generation


def test_questions_become_a_dataset_over_all_documents(generate: Generate) -> None:
    model = Scripted()
    reports: list[GenerationReport] = []
    dataset = generate(TEXTS, model, prompt=PROMPT, on_report=reports.append)
    assert dataset.corpus == TEXTS
    assert dataset.validate().ok
    assert pairs(dataset) == {
        "Who knows cats purr?": ["d1"],
        "What of cats purr?": ["d1"],
        "Who knows dogs bark?": ["d2"],
        "What of dogs bark?": ["d2"],
        "Who knows cows moo?": ["d3"],
        "What of cows moo?": ["d3"],
    }
    assert sorted(model.prompts) == sorted(f"2 about: {text}" for text in TEXTS.values())
    assert reports == [GenerationReport(documents=3, resumed=0, failed=(), short=(), questions=6, kept=6)]


def test_the_result_does_not_depend_on_who_answers_first(generate: Generate) -> None:
    texts = {f"d{i}": f"text {i}" for i in range(12)}

    def uneven(prompt: str) -> str:
        time.sleep(0.002 * (len(texts) - int(prompt.split()[-1])))
        return f"Who wrote {prompt}?"

    many = generate(texts, uneven, workers=6, prompt="{text}")
    assert many.query_ids == generate(texts, uneven, workers=1, prompt="{text}").query_ids


def test_few_shot_examples_and_a_list_of_questions(generate: Generate) -> None:
    prompts: list[str] = []

    def structured(prompt: str) -> list[str]:
        prompts.append(prompt)
        return ["Who?", "What?", "Where?"]

    dataset = generate({"d1": "x"}, structured, questions_per_document=3, examples=[("birds sing", "Who sings?")])
    assert list(dataset.queries.values()) == ["Who?", "What?", "Where?"]
    assert "birds sing" in prompts[0]
    assert "Who sings?" in prompts[0]


def test_one_question_for_two_documents_is_one_query(generate: Generate) -> None:
    dataset = generate({"d1": "x", "d2": "y"}, lambda prompt: "Who?")
    assert pairs(dataset) == {"Who?": ["d1", "d2"]}


def test_documents_with_fewer_questions_than_wanted_are_reported(generate: Generate) -> None:
    reports: list[GenerationReport] = []
    generate({"d1": "x"}, lambda prompt: "Who?", on_report=reports.append)
    assert reports[0].short == ("d1",)


# --------------------------------------------------------------------------------------------------------- failures


def test_a_call_that_fails_is_made_again(generate: Generate) -> None:
    model = Scripted("dogs", failures=2)
    assert len(generate(TEXTS, model, prompt=PROMPT, retries=2)) == 6
    assert len(model.prompts) == 5


def test_a_document_that_still_fails_ends_the_run_by_name(generate: Generate, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    with pytest.raises(DatasetError, match=r"document 'd2': TimeoutError: the model is busy.*continue") as caught:
        generate(TEXTS, Scripted("dogs"), prompt=PROMPT, retries=1, workers=1, output_path=path)
    assert isinstance(caught.value.__cause__, TimeoutError)
    resumed = Scripted()
    assert len(generate(TEXTS, resumed, prompt=PROMPT, output_path=path)) == 6
    assert "2 about: cats purr" not in resumed.prompts


def test_answers_under_way_when_another_fails_are_kept(generate: Generate, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    texts = {f"d{i}": f"text {i}" for i in range(40)}
    asked: list[str] = []

    def one_fails(prompt: str) -> str:
        asked.append(prompt)
        if prompt.endswith("text 0"):
            raise TimeoutError("busy")
        time.sleep(0.02)
        return f"Who wrote {prompt}?"

    with pytest.raises(DatasetError, match="'d0'"):
        generate(texts, one_fails, prompt="{text}", workers=3, retries=0, output_path=path)
    assert 1 <= len(asked) < 10
    answered = path.read_text().count('"id"') if path.exists() else 0
    assert answered == len(asked) - 1


def test_a_run_that_continues_reports_whom_it_left_out(generate: Generate, caplog: pytest.LogCaptureFixture) -> None:
    reports: list[GenerationReport] = []
    options = {"prompt": PROMPT, "retries": 0, "on_failure": "continue", "on_report": reports.append}
    dataset = generate({**TEXTS, "d4": " "}, Scripted("dogs"), **options)
    assert len(dataset) == 4
    assert set(dataset.corpus) == {"d1", "d2", "d3", "d4"}
    assert reports[0].failed == (("d2", "TimeoutError: the model is busy"), ("d4", "its text is empty"))
    assert "2 documents failed" in str(reports[0])
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_run_in_which_every_call_fails_is_an_error_either_way(generate: Generate) -> None:
    with pytest.raises(DatasetError, match="no document has a question"):
        generate(TEXTS, Scripted(""), prompt=PROMPT, retries=0, on_failure="continue")


def test_an_empty_document_is_an_error_before_anything_is_asked(generate: Generate) -> None:
    model = Scripted()
    with pytest.raises(DatasetError, match="'d4': its text is empty"):
        generate({**TEXTS, "d4": " "}, model, prompt=PROMPT)
    assert model.prompts == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"questions_per_document": 0}, "questions_per_document"),
        ({"workers": 0}, "workers"),
        ({"retries": -1}, "retries"),
        ({"round_trip": 0}, "round_trip"),
        ({"coverage": 1.5}, "coverage"),
        ({"round_trip": 1}, "encoder"),
        ({"coverage": 1}, "encoder"),
        ({"on_failure": "ignore"}, "on_failure"),
        ({"prompt": "Write questions."}, r"\{text\}"),
        ({"prompt": "{text}", "examples": [("a", "b")]}, r"\{examples\}"),
    ],
)
def test_options_that_cannot_be_used_are_refused(generate: Generate, options: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        generate(TEXTS, Scripted(), **options)


def test_texts_that_are_no_texts_are_refused(generate: Generate) -> None:
    with pytest.raises(DatasetError, match="'d1'"):
        generate({"d1": None}, Scripted())  # type: ignore[dict-item]


# --------------------------------------------------------------------------------------------------------- resuming


def test_only_what_is_new_or_changed_is_asked_again(generate: Generate, tmp_path: Path) -> None:
    options: dict[str, Any] = {"prompt": PROMPT, "output_path": tmp_path / "new folder" / "questions.jsonl"}
    first = generate(TEXTS, Scripted(), **options)

    same = Scripted()
    reports: list[GenerationReport] = []
    assert generate(TEXTS, same, on_report=reports.append, **options) == first
    assert same.prompts == []
    assert reports[0].resumed == 3

    changed = Scripted()
    # As many documents as before, in another order, one with another text: a count would call this done.
    dataset = generate({"d3": "cows moo", "d1": "cats meow", "d9": "birds sing"}, changed, **options)
    assert sorted(changed.prompts) == ["2 about: birds sing", "2 about: cats meow"]
    assert "Who knows cats meow?" in dataset.queries.values()
    assert "Who knows cats purr?" not in dataset.queries.values()

    more = Scripted()
    generate(TEXTS, more, questions_per_document=1, **options)
    generate(TEXTS, more, **{**options, "prompt": "Other: " + PROMPT})
    assert len(more.prompts) == 6


def test_validation_questions_are_never_taken_from_the_training_file(generate: Generate, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    train = generate({"d1": "cats purr", "d2": "dogs bark"}, Scripted(), prompt=PROMPT, output_path=path)
    validation = generate({"v1": "cows moo", "v2": "birds sing"}, Scripted(), prompt=PROMPT, output_path=path)
    assert not set(train.queries) & set(validation.queries)
    assert list(validation.corpus) == ["v1", "v2"]


def test_a_file_cut_off_anywhere_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    expected = generate_qa_pairs(TEXTS, Scripted(), prompt=PROMPT, output_path=path, workers=1)
    whole = path.read_bytes()
    ends = [position + 1 for position, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        model = Scripted()
        assert generate_qa_pairs(TEXTS, model, prompt=PROMPT, output_path=path) == expected
        # A line of which only its end is missing is whole.
        assert len(model.prompts) in {3 - max(sum(end <= cut + extra for end in ends) - 1, 0) for extra in (0, 1)}
        again = Scripted()
        generate_qa_pairs(TEXTS, again, prompt=PROMPT, output_path=path)
        assert again.prompts == []


def test_damaged_lines_are_reported_and_asked_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "questions.jsonl"
    generate_qa_pairs(TEXTS, Scripted(), prompt=PROMPT, output_path=path, workers=1)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1], '{"id": "d2"}', "\x00", lines[3]]) + "\n")
    model = Scripted()
    generate_qa_pairs(TEXTS, model, prompt=PROMPT, output_path=path)
    assert model.prompts == ["2 about: dogs bark"]
    assert "2 lines are cut off or damaged" in caplog.text


def test_a_file_of_another_kind_is_refused_and_not_touched(generate: Generate, tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"queries": {}}))
    with pytest.raises(DatasetError, match="another name"):
        generate(TEXTS, Scripted(), output_path=path)
    assert json.loads(path.read_text()) == {"queries": {}}


KILLED = """
import sys, time
from nudge_integrations.generation import generate_qa_pairs

def slow(prompt):
    time.sleep(0.01)
    return f"Who wrote {prompt}?"

generate_qa_pairs({f"d{i}": f"text {i}" for i in range(2000)}, slow, prompt="{text}", output_path=sys.argv[1])
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)])
    deadline = time.monotonic() + 60
    while (not path.exists() or path.read_bytes().count(b"\n") < 20) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    answered = path.read_bytes().count(b"\n") - 1
    asked: list[str] = []

    def quick(prompt: str) -> str:
        asked.append(prompt)
        return f"Who wrote {prompt}?"

    texts = {f"d{i}": f"text {i}" for i in range(2000)}
    assert len(generate_qa_pairs(texts, quick, prompt="{text}", output_path=path)) == 2000
    assert 19 <= answered < 2000
    assert len(asked) == 2000 - answered


# ------------------------------------------------------------------------------------------------------ concurrency


def test_threads_ask_at_once_with_the_callers_context() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    meeting = threading.Barrier(4, timeout=20)

    def ask(prompt: str) -> str:
        meeting.wait()  # four calls must be under way for any to return
        return f"Who is {variable.get()} for {prompt}?"

    dataset = generate_qa_pairs({f"d{i}": f"{i}" for i in range(8)}, ask, prompt="{text}", workers=4, retries=0)
    assert all("is set for" in question for question in dataset.queries.values())
    assert len(dataset) == 8


async def test_coroutines_ask_at_once_and_no_more_than_allowed() -> None:
    under_way = most = 0

    async def ask(prompt: str) -> str:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= 1
        return f"Who wrote {prompt}?"

    dataset = await agenerate_qa_pairs({f"d{i}": f"{i}" for i in range(20)}, ask, prompt="{text}", workers=5)
    assert len(dataset) == 20
    assert most == 5


async def test_a_cancelled_run_leaves_no_call_behind() -> None:
    started = asyncio.Event()
    ended: list[str] = []

    async def endless(prompt: str) -> str:
        started.set()
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(prompt)
        return "never"

    task = asyncio.create_task(agenerate_qa_pairs(TEXTS, endless, workers=2))
    await asyncio.wait_for(started.wait(), 20)
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(ended) == 2


def test_progress_is_shown_on_request(generate: Generate, capsys: pytest.CaptureFixture[str]) -> None:
    generate(TEXTS, Scripted(), prompt=PROMPT)
    assert capsys.readouterr().err == ""
    generate(TEXTS, Scripted(), prompt=PROMPT, progress=True)
    assert "3/3" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------- round trip and coverage


def test_questions_that_find_another_document_are_dropped_and_counted(generate: Generate, encoder: Any) -> None:
    def ask(prompt: str) -> list[str]:
        return ["dogs bark"] if "cats" in prompt else [prompt]

    reports: list[GenerationReport] = []
    options = {"prompt": "{text}", "encoder": encoder, "on_report": reports.append}
    dataset = generate(TEXTS, ask, round_trip=1, **options)
    assert pairs(dataset) == {"dogs bark": ["d2"], "cows moo": ["d3"]}
    assert (reports[0].questions, reports[0].kept, reports[0].dropped) == (3, 2, 1)
    assert pairs(generate(TEXTS, ask, round_trip=3, **options)) == {"dogs bark": ["d1", "d2"], "cows moo": ["d3"]}


@given(st.integers(0, 1000), st.integers(1, 6))
def test_a_question_is_found_again_if_a_stable_sort_has_its_document_in_the_first_k(seed: int, k: int) -> None:
    random = np.random.default_rng(seed)
    # Small whole numbers, so that there are ties and zero vectors.
    documents = random.integers(-1, 2, (9, 3)).astype(np.float32)
    queries = random.integers(-1, 2, (5, 3)).astype(np.float32)
    own = random.integers(0, 9, 5)
    norms = np.linalg.norm(documents, axis=1, keepdims=True)
    unit = documents / np.where(norms > 0, norms, 1).astype(np.float32)
    query_norms = np.linalg.norm(queries, axis=1, keepdims=True)
    scores = (queries / np.where(query_norms > 0, query_norms, 1).astype(np.float32)) @ unit.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    expected = [bool(row in first) for row, first in zip(own, order, strict=True)]
    assert found_again(queries, documents, own, k).tolist() == expected


def test_coverage_draws_from_every_cluster(encoder: Any) -> None:
    random = np.random.default_rng(0)
    centres = np.eye(8, dtype=np.float32)
    sizes = [200, 3, 3, 3, 3, 3, 3, 3]
    labels = np.repeat(np.arange(8), sizes)
    vectors = (centres[labels] + random.normal(0, 0.01, (len(labels), 8))).astype(np.float32)
    chosen = covering_sample(vectors, 16, seed=0)
    assert len(chosen) == 16
    assert chosen == sorted(set(chosen))
    assert set(labels[chosen]) == set(range(8))
    assert covering_sample(vectors, 16, seed=0) == chosen
    assert covering_sample(vectors, 16, seed=1) != chosen
    assert covering_sample(vectors, 10**6, seed=0) == list(range(len(vectors)))


def test_coverage_of_equal_documents_warns_of_nothing() -> None:
    assert len(covering_sample(np.ones((20, 4), np.float32), 5, seed=0)) == 5


def test_coverage_limits_what_is_asked_and_keeps_the_corpus(generate: Generate, encoder: Any) -> None:
    texts = {f"d{i}": f"text number {i}" for i in range(30)}
    model = Scripted()
    dataset = generate(texts, model, prompt=PROMPT, coverage=7, encoder=encoder)
    assert len(model.prompts) == 7
    assert dataset.corpus == texts
    assert len(dataset) == 14


def test_a_report_is_logged_even_when_nobody_asked(generate: Generate, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="nudge_integrations"):
        generate(TEXTS, Scripted(), prompt=PROMPT)
    assert "3 documents (0 on file already), 6 questions: 6 kept, 0 dropped" in caplog.text


def test_flipped_bit_in_the_file_gives_the_same_questions_or_an_error(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    expected = generate_qa_pairs(TEXTS, Scripted(), prompt=PROMPT, output_path=path, workers=1)
    whole = path.read_bytes()
    for position in range(0, len(whole), 5):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :])
        with contextlib.suppress(DatasetError):
            assert generate_qa_pairs(TEXTS, Scripted(), prompt=PROMPT, output_path=path) == expected
