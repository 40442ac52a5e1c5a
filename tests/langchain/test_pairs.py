"""Training pairs from documents, and datasets and evaluators for LangSmith, without a network."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel, FakeListChatModel, FakeListLLM
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda
from langsmith import evaluate as langsmith_evaluate
from langsmith.schemas import Example

from nudge_integrations import RetrievalDataset
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.evaluation import evaluate
from nudge_integrations.generation import GenerationReport
from nudge_integrations.langchain import (
    NudgeRetriever,
    agenerate_qa_pairs,
    as_embedding,
    generate_qa_pairs,
    langsmith_evaluators,
    to_documents,
)

DOCUMENTS = [
    Document(id="cat", page_content="cats purr and sleep"),
    Document(page_content="dogs bark at night", metadata={"key": "dog"}),
]


class Scripted(BaseChatModel):
    """Answers with tool calls, as models with structured output do."""

    calls: list[str] = []  # noqa: RUF012  a pydantic field

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=[tool.__name__ for tool in tools])

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        prompt = str(messages[-1].content)
        self.calls.append(prompt)
        animal = next(name for name in ("cats", "dogs") if name in prompt)
        arguments = {"questions": [f"what do {animal} do", f"tell me about {animal}"]}
        call = {"name": kwargs["tools"][0], "args": arguments, "id": "1"}
        return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=[call]))])


def test_structured_output_is_used_where_the_model_has_it() -> None:
    llm = Scripted(calls=[])
    dataset = generate_qa_pairs(DOCUMENTS, llm, id_key="key")
    assert sorted(dataset.queries.values()) == [
        "tell me about cats", "tell me about dogs", "what do cats do", "what do dogs do",
    ]  # fmt: skip
    assert dataset.document_ids == ["cat", "dog"]
    asked = {text: dict(dataset.qrels[query]) for query, text in dataset.queries.items()}
    assert asked["what do dogs do"] == {"dog": 1}
    assert len(llm.calls) == 2


async def test_async_gives_the_same() -> None:
    dataset = await agenerate_qa_pairs(DOCUMENTS, Scripted(calls=[]), id_key="key")
    assert dataset.hash == generate_qa_pairs(DOCUMENTS, Scripted(calls=[]), id_key="key").hash


@pytest.mark.parametrize(
    "llm",
    [
        FakeListChatModel(responses=["1. who purrs?\n2. who sleeps?"]),
        FakeListLLM(responses=["1. who purrs?\n2. who sleeps?"]),
        RunnableLambda(lambda prompt: "1. who purrs?\n2. who sleeps?"),
    ],
    ids=["chat", "completion", "runnable"],
)
def test_text_is_read_where_the_model_has_no_structured_output(llm: Runnable[Any, Any]) -> None:
    dataset = generate_qa_pairs(DOCUMENTS[:1], llm)
    assert list(dataset.queries.values()) == ["who purrs?", "who sleeps?"]


def test_structured_output_may_be_demanded_and_declined() -> None:
    with pytest.raises(InputError, match="no structured output"):
        generate_qa_pairs(DOCUMENTS, FakeListChatModel(responses=["x"]), structured=True)
    with pytest.raises(DatasetError):  # as text its answer is empty
        generate_qa_pairs(DOCUMENTS, Scripted(calls=[]).bind(tools=["t"]), structured=False, retries=0)


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    llm = Scripted(calls=[])
    generate_qa_pairs(DOCUMENTS[:1], llm, output_path=tmp_path / "pairs.jsonl")
    both = generate_qa_pairs(DOCUMENTS, llm, id_key="key", output_path=tmp_path / "pairs.jsonl")
    assert len(llm.calls) == 2
    assert len(both) == 4


def test_options_are_those_of_the_other_edge(encoder: Encoder) -> None:
    reports: list[GenerationReport] = []
    dataset = generate_qa_pairs(
        DOCUMENTS,
        Scripted(calls=[]),
        id_key="key",
        embedding=as_embedding(encoder),
        round_trip=1,
        coverage=2,
        questions_per_document=1,
        on_report=reports.append,
    )
    assert len(dataset) == reports[0].kept == 2 - reports[0].dropped


def example(question: str, doc_ids: Any) -> Example:
    return Example(
        id=uuid.uuid4(), dataset_id=uuid.uuid4(), inputs={"question": question}, outputs={"doc_ids": doc_ids}
    )


EXAMPLES = [example("who purrs", ["cat"]), example("who barks", {"dog": 2, "cat": 1})]
CORPUS = {"cat": "cats purr and sleep", "dog": "dogs bark at night", "cow": "cows moo"}


def test_langsmith_examples_become_a_dataset_and_a_retriever(encoder: Encoder) -> None:
    dataset = RetrievalDataset.from_langsmith(EXAMPLES, corpus=CORPUS)
    assert sorted(dataset.qrels[str(EXAMPLES[1].id)].items()) == [("cat", 1), ("dog", 2)]
    retriever = NudgeRetriever.from_documents(to_documents(dataset), as_embedding(encoder), dataset, k=2)
    assert len(retriever.invoke("who barks")) == 2


@pytest.mark.filterwarnings("ignore:.*is in beta")  # LangSmith's own evaluation without an upload
def test_evaluators_work_in_langsmith_and_agree_with_our_own_evaluation(encoder: Encoder) -> None:
    dataset = RetrievalDataset.from_langsmith(EXAMPLES, corpus=CORPUS)
    retriever = NudgeRetriever.from_documents(to_documents(dataset), as_embedding(encoder), dataset, k=2)
    metrics = ["recall@1", "ndcg@10", "recall@10"]
    evaluators = langsmith_evaluators(dataset, metrics)
    results = langsmith_evaluate(
        lambda inputs: {"documents": retriever.invoke(inputs["question"])},
        data=EXAMPLES,
        evaluators=evaluators,
        upload_results=False,
        max_concurrency=1,
        client=None,
    )
    rows = [{found.key: found.score for found in row["evaluation_results"]["results"]} for row in results]
    assert len(rows) == 2
    expected = evaluate(lambda text: [str(d.id) for d in retriever.invoke(text)], dataset, metrics).means
    for metric in metrics:
        assert sum(row[metric] or 0 for row in rows) / 2 == pytest.approx(expected[metric])


def test_evaluators_say_what_is_wrong() -> None:
    dataset = RetrievalDataset.from_langsmith(EXAMPLES, corpus=CORPUS)
    recall = langsmith_evaluators(dataset, ["recall@10"])[0]
    assert recall({"question": "who purrs"}, {"output": ["elsewhere", "cat"]}) == {"key": "recall@10", "score": 1.0}
    assert recall({"question": "who purrs"}, {"output": []})["score"] == 0
    with pytest.raises(DatasetError, match="no labels for 'who'"):
        recall({"question": "who"}, {"output": []})
    with pytest.raises(InputError, match="question_key"):
        recall({"query": "who purrs"}, {"output": []})
    with pytest.raises(InputError, match="documents_key"):
        recall({"question": "who purrs"}, {"answer": "x", "context": []})
    with pytest.raises(InputError, match="expected documents or ids"):
        recall({"question": "who purrs"}, {"answer": "x"})
    named = langsmith_evaluators(dataset, ["recall@10"], documents_key="context", id_key="key")[0]
    found = [Document(page_content="?", metadata={"key": "cat"})]
    assert named({"question": "who purrs"}, {"answer": "x", "context": found})["score"] == 1
    with pytest.raises(InputError):
        langsmith_evaluators(dataset, ["recall"])
