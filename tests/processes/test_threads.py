"""Threads at one object: many read while one writes; what is read is the state before or after, and nothing fails."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import TextNode
from served_machines import Encoding, Words, vector_of

from nudge_integrations import RetrievalDataset, fit
from nudge_integrations.artifact import Nudge
from nudge_integrations.encoding import CachedEncoder
from nudge_integrations.feedback import FeedbackLog, LabelLog
from nudge_integrations.fusion import LexicalIndex
from nudge_integrations.index import ExactIndex
from nudge_integrations.langchain import NudgeRetriever, NudgeVectorStore
from nudge_integrations.llama_index import NudgeRetriever as LlamaRetriever
from nudge_integrations.pipeline.nudged_index import NudgedIndex
from nudge_integrations.stores import open_store
from nudge_integrations.stores.memory import MemoryStore

TURNS = int(os.environ.get("NUDGE_OVERWRITES", "60")) // 4
TEXTS = {"d0": "cats purr", "d1": "dogs", "d2": "birds sing", "d3": "bark", "d4": "cats dogs"}
LABELS = RetrievalDataset(TEXTS, {"q0": "bark", "q1": "sing"}, {"q0": {"d1": 1.0}, "q1": {"d2": 1.0}})

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _often_switched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Switch threads ten times as often as usual, and do not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-4)
    yield
    sys.setswitchinterval(usual)


def together(write: Callable[[int], object], read: Callable[[], object], readers: int = 2, turns: int = TURNS) -> None:
    """Write so often while others read, and read at least twice; fail with what anybody raised."""
    done, faults = threading.Event(), list[str]()

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:
            faults.append(traceback.format_exc(limit=-4))

    def reading() -> None:
        read()
        while not done.is_set() and not faults:
            read()
        read()

    def writing() -> None:
        for turn in range(turns):
            write(turn)

    threads = [threading.Thread(target=guarded, args=(reading,)) for _ in range(readers)]
    for thread in threads:
        thread.start()
    guarded(writing)
    done.set()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]


def nudges() -> tuple[Nudge, Nudge]:
    one, other = (fit(LABELS, Encoding(), method="nudge-n", step=step) for step in (0.2, 0.7))
    return one, other


def filled() -> NudgedIndex:
    index = NudgedIndex()
    index.insert(list(TEXTS), [vector_of(t) for t in TEXTS.values()], [*TEXTS.values()], [{"row": i} for i in TEXTS])
    return index


def test_threads_at_a_nudge() -> None:
    nudge = nudges()[0]
    base = Encoding().encode_documents([*TEXTS.values()])
    expected = nudge.apply(list(TEXTS), base).tobytes()

    def read() -> None:
        assert nudge.apply(list(TEXTS), base).tobytes() == expected
        assert (len(nudge.labels), len(nudge.vector("d1"))) == (2, 4)
        repr(nudge), nudge.fingerprint, nudge.base_hashes

    together(lambda _: read(), read)


def test_threads_at_a_nudged_index_and_its_file(tmp_path: Path) -> None:
    index, both = filled(), nudges()
    states = set()
    for nudge in both:
        index.apply(nudge)
        states.add(tuple((hit.id, hit.score) for hit in index.search(vector_of("bark"), 9)))

    def write(turn: int) -> None:
        index.apply(both[turn % 2])
        index.insert(["new"], [vector_of("purr")], ["purr"], [{"row": "new"}])
        index.save(tmp_path / "index")
        index.delete(["new"])

    def read() -> None:
        hits = [(hit.id, hit.score) for hit in index.search(vector_of("bark"), 9)]
        assert tuple(hit for hit in hits if hit[0] != "new") in states
        assert len(index.snapshot().texts) in (5, 6)
        index.search(vector_of("sing"), 2, where={"row": "d1"})
        index.get(["d1", "new"])

    together(write, read)


def test_threads_at_words_and_vectors_together() -> None:
    index = filled()
    nudge = fit(LABELS, Encoding(), method="nudge-n", step=0.2, signals=("bm25",))
    index.apply(nudge)

    def write(turn: int) -> None:
        index.insert([f"n{turn % 3}"], [vector_of("purr bark")], ["purr bark"], [{"row": "new"}])
        index.discard([f"n{(turn + 1) % 3}"])

    def read() -> None:
        hits = index.search(vector_of("bark"), 9, text="dogs bark")
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert {hit.id for hit in hits} >= set(TEXTS)

    together(write, read)


def test_threads_at_an_exact_and_a_lexical_index() -> None:
    exact, lexical = ExactIndex(), LexicalIndex()
    exact.insert(list(TEXTS), [vector_of(text) for text in TEXTS.values()])
    lexical.insert(list(TEXTS), list(TEXTS.values()))

    def write(turn: int) -> None:
        exact.insert([f"n{turn % 7}"], [vector_of("purr")])
        lexical.insert([f"n{turn % 7}"], ["purr"])
        exact.discard([f"n{(turn + 3) % 7}"])
        lexical.discard([f"n{(turn + 3) % 7}"])

    def read() -> None:
        assert exact.search([vector_of("bark")], 1)[0] == [["d3"]]
        assert lexical.score("bark").best(1) == ["d3"]
        ids, vectors, metadata = exact.contents()
        assert len(ids) == len(vectors) == len(metadata)
        assert set(ids) >= set(TEXTS)

    together(write, read)


def test_threads_at_a_vector_store_and_its_retriever() -> None:
    store = NudgeVectorStore(Encoding())
    store.add_documents([Document(id=i, page_content=text) for i, text in TEXTS.items()])
    retriever, steps = NudgeRetriever(vectorstore=store, k=9), (0.2, 0.7)
    states = set()
    for step in steps:
        store.fit(LABELS, method="nudge-n", step=step)
        states.add(tuple(hit.metadata["score"] for hit in retriever.invoke("bark")))

    def write(turn: int) -> None:
        store.add_texts(["purr"], ids=["new"])
        store.delete(["new"])
        store.fit(LABELS, method="nudge-n", step=steps[turn % 2])
        store.refit() if turn % 5 == 0 else None

    def read() -> None:
        hits = [hit for hit in retriever.invoke("bark") if hit.id != "new"]
        assert tuple(hit.metadata["score"] for hit in hits) in states
        store.max_marginal_relevance_search("bark", k=2)
        store.get_by_ids(["d1", "new"])

    together(write, read, turns=TURNS // 2)


def test_threads_at_a_retriever_of_llama_index() -> None:
    nodes = [TextNode(id_=i, text=text) for i, text in TEXTS.items()]
    labels = fit(LABELS, Encoding(), method="nudge-n", step=0.2)
    retriever = LlamaRetriever(nodes, Words(), fit_of(labels), similarity_top_k=9)
    expected = [(hit.node.node_id, hit.score) for hit in retriever.retrieve("bark")]

    def write(turn: int) -> None:
        retriever.insert_nodes([TextNode(id_=f"n{turn % 3}", text="purr")])
        retriever.delete_nodes([f"n{turn % 3}"])

    def read() -> None:
        hits = [(hit.node.node_id, hit.score) for hit in retriever.retrieve("bark")]
        assert [hit for hit in hits if hit[0] in TEXTS] == expected
        assert len(retriever.vectors) in (5, 6)

    together(write, read)


def fit_of(nudge: Nudge) -> Nudge:
    """The same fit by the fingerprint of LlamaIndex's model."""
    from nudge_integrations.llama_index import NudgeFinetuneEngine

    engine = NudgeFinetuneEngine(LABELS, Words(), method="nudge-n", step=nudge.step)
    engine.finetune()
    return engine.nudge if engine.nudge is not None else nudge


def test_threads_at_a_cached_encoder(tmp_path: Path) -> None:
    encoder = CachedEncoder(Encoding(), tmp_path)
    words = list(TEXTS.values())
    expected = Encoding().encode_documents(words)

    def write(turn: int) -> None:
        encoder.encode_documents([words[turn % 5], "purr sing"])

    def read() -> None:
        np.testing.assert_array_equal(encoder.encode_documents(words), expected)
        np.testing.assert_array_equal(encoder.encode_queries(words[:2]), expected[:2])

    together(write, read)


@pytest.mark.parametrize("where", ["memory", "file"])
def test_threads_at_a_label_log(where: str, tmp_path: Path) -> None:
    log = LabelLog(tmp_path / "labels.jsonl" if where == "file" else None)
    log.add(LABELS, source="kept")

    def dataset(turn: int) -> RetrievalDataset:
        return RetrievalDataset({"d9": "t"}, {f"q {turn}": f"query {turn}"}, {f"q {turn}": {"d9": 1.0}})

    def write(turn: int) -> None:
        log.add(dataset(turn), source="new")
        if turn % 4 == 3:
            log.delete(source="new")

    def read() -> None:
        assert [one.source for one in log.labels][:2] == ["kept", "kept"]
        assert 2 <= len(log.dataset().queries) <= 6
        repr(log), log.copy()
        log.add(LABELS, source="kept")  # says nothing new

    together(write, read)
    log.delete(source="new")
    assert [one.source for one in log.labels] == ["kept", "kept"]


def test_threads_that_add_to_one_log_lose_nothing(tmp_path: Path) -> None:
    for log in (LabelLog(), LabelLog(tmp_path / "labels.jsonl")):

        def add(log: LabelLog = log) -> None:
            name = threading.current_thread().name
            for turn in range(5):
                qrels = {f"{name} {turn}": {"d0": 1.0}}
                log.add(RetrievalDataset(TEXTS, {f"{name} {turn}": f"{name} {turn}"}, qrels))

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(log) == 20


def test_threads_at_a_feedback_log(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path / "feedback.jsonl", largest=1000)
    log.record("q", "d0", "yes")
    seen = [1]

    def write(turn: int) -> None:
        log.record("q", f"d{turn + 1}", "yes")

    def read() -> None:
        before = seen[0]
        found = [one.document for one in log.read().verdicts]
        assert found == [f"d{number}" for number in range(len(found))]
        assert len(found) >= before
        seen[0] = max(seen[0], len(found))

    together(write, read)
    assert len(log.read().verdicts) == TURNS + 1


def test_threads_at_a_store_that_is_nudged_in_place(tmp_path: Path) -> None:
    held: dict[str, Any] = {i: vector_of(text).tolist() for i, text in TEXTS.items()}
    store = open_store(MemoryStore(held), journal=tmp_path)
    known = {i: [np.array(held[i])] for i in TEXTS}
    both = nudges()
    for plan in (store.plan(nudge) for nudge in both):
        for i, target in zip(plan.ids, plan.target, strict=True):
            known[i].append(np.array(target))

    def write(turn: int) -> None:
        store.apply(store.plan(both[turn % 2]))
        store.rollback()

    write(0)  # there is a journal

    def read() -> None:
        ids, rows = store.adapter.fetch(list(TEXTS))
        assert list(ids) == list(TEXTS)
        for i, row in zip(ids, rows, strict=True):
            near = min(np.abs(np.subtract(row, one)).max() for one in known[i])
            assert near < 1e-5, i
        store.info, store.verify()

    together(write, read, turns=TURNS // 4)
