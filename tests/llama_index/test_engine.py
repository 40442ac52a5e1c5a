"""NudgeFinetuneEngine: what goes in, what comes out, and that all that comes out agrees."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.indices.query.query_transform.base import HyDEQueryTransform
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.schema import ImageNode, MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index_doubles import (
    WIDTH,
    ScriptedLLM,
    SightEmbedding,
    WordEmbedding,
    found,
    halves,
    labelled,
    nudge_of,
    unit,
    words_vector,
)

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError, MismatchError
from nudge_integrations.llama_index import (
    NudgedEmbedding,
    NudgeFinetuneEndEvent,
    NudgeFinetuneEngine,
    NudgeFinetuneStartEvent,
    evaluate_retriever,
    to_nodes,
)
from nudge_integrations.solver import solve

DATASET = labelled()
SEEN, ASKED = halves(DATASET)
METHODS = ("nudge-n", "nudge-m")


def fitted(method: str = "nudge-n", **options: Any) -> NudgeFinetuneEngine:
    engine = NudgeFinetuneEngine(SEEN, WordEmbedding(), method=method, **options)
    engine.finetune()
    return engine


@pytest.mark.parametrize("method", METHODS)
def test_what_comes_out_is_what_the_solver_says_on_the_same_vectors(method: str) -> None:
    engine = fitted(method)
    documents = np.array([words_vector(text) for text in SEEN.corpus.values()], dtype=np.float32)
    queries = np.array([words_vector(text) for text in SEEN.queries.values()], dtype=np.float32)
    solution = solve(documents, queries, SEEN.relevance(), method=method)
    assert nudge_of(engine).status == "improved"
    np.testing.assert_array_equal(nudge_of(engine).vectors, solution.vectors)
    expected = solution.apply(documents)
    np.testing.assert_allclose(engine.get_finetuned_corpus_embeddings(), expected, atol=1e-6)
    text = ASKED.queries[ASKED.query_ids[0]]
    order = np.argsort(-(expected @ np.asarray(words_vector(text))), kind="stable")[:7]
    assert found(engine.as_retriever(similarity_top_k=7), text) == [SEEN.document_ids[row] for row in order]


@pytest.mark.parametrize("method", METHODS)
def test_retriever_index_model_and_nodes_rank_alike(method: str) -> None:
    engine = fitted(method)
    retriever = engine.as_retriever(similarity_top_k=8)
    model = engine.get_finetuned_model()
    others = [
        engine.as_index().as_retriever(similarity_top_k=8),
        VectorStoreIndex(to_nodes(SEEN), embed_model=model).as_retriever(similarity_top_k=8),
        VectorStoreIndex(engine.get_finetuned_nodes(), embed_model=model).as_retriever(similarity_top_k=8),
    ]
    assert isinstance(retriever, BaseRetriever)
    assert isinstance(model, BaseEmbedding)
    for text in list(ASKED.queries.values())[:10]:
        expected = found(retriever, text)
        for other in others:
            assert found(other, text) == expected


def test_queries_that_were_never_seen_find_more() -> None:
    engine = fitted("auto")
    before = evaluate_retriever(
        VectorStoreIndex(to_nodes(SEEN), embed_model=WordEmbedding()).as_retriever(similarity_top_k=10), ASKED
    )
    after = evaluate_retriever(engine.as_retriever(similarity_top_k=10), ASKED)
    assert after.means["ndcg@10"] > before.means["ndcg@10"] + 0.3


def test_a_fit_may_map_queries_and_move_nothing() -> None:
    seen, asked = halves(labelled(answered=30, queries=8))
    engine = NudgeFinetuneEngine(seen, WordEmbedding(), method="query-map")
    engine.finetune()
    nudge = nudge_of(engine)
    assert len(nudge) == 0
    assert nudge.method in ("ridge", "iterated-ridge")
    assert nudge.query_map is not None
    exact, served = engine.as_retriever(similarity_top_k=10), engine.as_index().as_retriever(similarity_top_k=10)
    plain = VectorStoreIndex(to_nodes(seen), embed_model=WordEmbedding()).as_retriever(similarity_top_k=10)
    before, after, again = (evaluate_retriever(one, asked).means["ndcg@10"] for one in (plain, exact, served))
    assert after == pytest.approx(again)
    assert after > before + 0.5


def test_query_maps_that_would_take_too_long_are_left_out() -> None:
    engine = NudgeFinetuneEngine(labelled(answered=20), WordEmbedding(), max_seconds=0.0)
    engine.finetune()
    assert nudge_of(engine).query_map is None
    assert "left out for want of time" in nudge_of(engine).warnings[-1]


def test_an_artifact_of_another_model_is_refused(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    with pytest.raises(MismatchError, match="belongs to the encoder"):
        NudgeFinetuneEngine.from_artifact(tmp_path, WordEmbedding(query_instruction="find"), to_nodes(SEEN))
    engine = NudgeFinetuneEngine.from_artifact(tmp_path, WordEmbedding(), to_nodes(SEEN))
    with pytest.raises(InputError, match="no labelled queries"):
        engine.finetune()


def test_fitting_twice_is_fitting_once_and_embeds_nothing_again() -> None:
    model = WordEmbedding()
    engine = NudgeFinetuneEngine(SEEN, model, method="nudge-n")
    engine.finetune()
    first, calls = nudge_of(engine), len(model.calls)
    engine.finetune()
    assert nudge_of(engine).fingerprint == first.fingerprint
    assert len(model.calls) == calls
    again = NudgeFinetuneEngine(SEEN, engine.get_finetuned_model(), method="nudge-n")
    again.finetune()
    assert nudge_of(again).fingerprint == first.fingerprint


async def test_the_asynchronous_fit_is_the_same_and_goes_through_asynchronous_calls() -> None:
    model = WordEmbedding(num_workers=3)
    engine = NudgeFinetuneEngine(SEEN, model, ASKED, method="nudge-n")
    await engine.afinetune()
    other = NudgeFinetuneEngine(SEEN, WordEmbedding(), ASKED, method="nudge-n")
    other.finetune()
    np.testing.assert_array_equal(nudge_of(engine).vectors, nudge_of(other).vectors)
    assert {path for path, _ in model.calls} == {"abatch", "aquery"}
    retriever = engine.as_retriever(similarity_top_k=3)
    text = "nickname3 nickname3"
    assert [hit.node.node_id for hit in await retriever.aretrieve(text)] == found(retriever, text)


def test_nodes_are_embedded_as_the_index_embeds_them_and_labels_find_them() -> None:
    whole = [TextNode(id_="book", text="cats purr and dogs bark")]
    pieces = [
        TextNode(text=text, metadata={"file": "pets.txt"}, relationships={NodeRelationship.SOURCE: source})
        for text in ("cats purr", "dogs bark")
        for source in [RelatedNodeInfo(node_id="book")]
    ]
    rest = to_nodes(labelled(answered=0))
    by_text = {"other": "word1 word2"}
    other = TextNode(text="word1 word2")
    labels = RetrievalDataset(
        {"book": whole[0].text, **by_text, "d3": "anything"},
        {"q1": "pets", "q2": "pair", "q3": "third"},
        {"q1": {"book": 1}, "q2": {"other": 1}, "q3": {"d3": 1}},
    )
    model = WordEmbedding()
    engine = NudgeFinetuneEngine(labels, model, nodes=[*pieces, other, *rest], method="nudge-n", step=0.3)
    engine.finetune()
    assert set(nudge_of(engine).ids) == {pieces[0].node_id, pieces[1].node_id, other.node_id, "d3"}
    assert "file: pets.txt\n\ncats purr" in model.texts("batch")
    assert pieces[0].get_content(metadata_mode=MetadataMode.EMBED) == "file: pets.txt\n\ncats purr"
    embedded = engine.get_finetuned_model().get_text_embedding("file: pets.txt\n\ncats purr")
    np.testing.assert_allclose(embedded, nudge_of(engine).vector(pieces[0].node_id), atol=1e-6)
    assert pieces[0].embedding is None


def test_query_transforms_apply_alike_to_fitting_and_retrieving() -> None:
    script = {text: f"hypothetical {text.split()[0]}" for text in DATASET.queries.values()}
    hyde = HyDEQueryTransform(llm=ScriptedLLM(script=script), include_original=True)
    model = WordEmbedding()
    engine = NudgeFinetuneEngine(SEEN, model, method="nudge-n", query_transform=hyde)
    engine.finetune()
    text = next(iter(SEEN.queries.values()))
    assert {text, script[text]} <= set(model.texts("query"))
    model.calls.clear()
    hits = engine.as_retriever(similarity_top_k=3).retrieve(text)
    assert set(model.texts("query")) == {text, script[text]}
    mean = (np.asarray(words_vector(text)) + words_vector(script[text])) / 2
    assert hits[0].score == pytest.approx(float(engine.get_finetuned_corpus_embeddings()[0] @ mean), rel=1e-4)


async def test_query_transforms_apply_asynchronously_too() -> None:
    script = {text: f"hypothetical {text.split()[0]}" for text in DATASET.queries.values()}
    transform = HyDEQueryTransform(llm=ScriptedLLM(script=script))
    engines = [NudgeFinetuneEngine(SEEN, WordEmbedding(), method="nudge-n", query_transform=transform) for _ in "ab"]
    engines[0].finetune()
    await engines[1].afinetune()
    np.testing.assert_array_equal(nudge_of(engines[0]).vectors, nudge_of(engines[1]).vectors)
    retriever = engines[1].as_retriever(similarity_top_k=3)
    text = next(iter(SEEN.queries.values()))
    assert [hit.score for hit in await retriever.aretrieve(text)] == [hit.score for hit in retriever.retrieve(text)]


def test_given_vectors_are_used_and_images_go_the_image_path() -> None:
    model = SightEmbedding()
    given = TextNode(id_="given", text="whatever", embedding=words_vector("the given one"))
    silent = TextNode(id_="silent", text="", embedding=words_vector("no text at all"))
    image = ImageNode(id_="image", text="", image=base64.b64encode(b"a red cat").decode())
    captioned = ImageNode(id_="captioned", text="caption", image=base64.b64encode(b"a blue cat").decode())
    nodes = [given, silent, image, captioned, *to_nodes(labelled(answered=0))]
    queries = {node.node_id: f"nickname-{node.node_id}" for node in nodes[:4]}
    labels = RetrievalDataset({i: "" for i in queries}, queries, {i: {i: 1.0} for i in queries})
    engine = NudgeFinetuneEngine(labels, model, nodes=nodes, method="nudge-n", step=1.2)
    engine.finetune()
    assert sorted(model.texts("image")) == ["a blue cat", "a red cat"]
    assert not {"whatever", "", "caption"} & set(model.texts("batch"))
    bases = [words_vector(text) for text in ("the given one", "no text at all", "a red cat", "a blue cat")]
    np.testing.assert_allclose(nudge_of(engine).base, unit(bases), atol=1e-6)
    assert {found(engine.as_retriever(similarity_top_k=1), text)[0] for text in queries.values()} == set(queries)
    index = engine.as_index().as_retriever(similarity_top_k=1)
    assert {found(index, text)[0] for text in queries.values()} == set(queries)


def test_images_without_a_model_that_sees_are_refused() -> None:
    nodes = [*to_nodes(SEEN), ImageNode(id_="image", image="aW1hZ2U=")]
    engine = NudgeFinetuneEngine(SEEN, WordEmbedding(), nodes=nodes)
    with pytest.raises(InputError, match=r"'image' .* is an image, and .* embeds no images"):
        engine.finetune()


def test_an_event_tells_of_start_and_end() -> None:
    class Listener(BaseEventHandler):
        events: list[Any] = []  # noqa: RUF012  pydantic copies it

        @classmethod
        def class_name(cls) -> str:
            return "Listener"

        def handle(self, event: Any, **kwargs: Any) -> None:
            self.events.append(event)

    listener, root = Listener(), get_dispatcher("root")
    root.add_event_handler(listener)
    try:
        engine = fitted()
    finally:
        root.event_handlers.remove(listener)
    start = next(event for event in listener.events if isinstance(event, NudgeFinetuneStartEvent))
    end = next(event for event in listener.events if isinstance(event, NudgeFinetuneEndEvent))
    assert (start.method, start.documents, start.queries) == ("nudge-n", 40, len(SEEN))
    nudge = nudge_of(engine)
    assert (end.method, end.step, end.moved_documents) == ("nudge-n", nudge.step, len(nudge))
    assert end.queries_mapped is False
    assert (end.before, end.after, end.status) == (nudge.baseline, nudge.score, "improved")
    assert end.after > end.before


def test_callbacks_trace_the_fit_and_go_to_what_is_built(capfd: pytest.CaptureFixture[str]) -> None:
    traces: list[str | None] = []

    class Tracing(LlamaDebugHandler):
        def start_trace(self, trace_id: str | None = None) -> None:
            traces.append(trace_id)

    debug = Tracing(print_trace_on_end=False)
    manager = CallbackManager([debug])
    engine = fitted(callback_manager=manager, show_progress=True)
    assert traces == ["nudge_finetune"]
    assert "Embedding queries" in capfd.readouterr().err
    engine.as_retriever().retrieve("nickname3")
    assert traces == ["nudge_finetune", "query"]
    assert len(debug.get_event_pairs(CBEventType.RETRIEVE)) == 1
    assert engine.as_retriever().callback_manager is manager
    fitted()
    assert capfd.readouterr().err == ""


def test_what_it_accepts_as_a_dataset(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    SEEN.to_json(path)
    parts = json.loads(path.read_text())
    object_like = SimpleNamespace(
        queries=parts["queries"], corpus=parts["corpus"], relevant_docs=parts["relevant_docs"]
    )
    results = []
    for source in (SEEN, path, str(path), object_like, parts):
        engine = NudgeFinetuneEngine(source, WordEmbedding(), method="nudge-n")
        engine.finetune()
        results.append(nudge_of(engine).fingerprint)
    assert len(set(results)) == 1
    with pytest.raises(DatasetError):
        NudgeFinetuneEngine(tmp_path / "absent.json", WordEmbedding())
    with pytest.raises(InputError, match="expected a LlamaIndex embedding model"):
        NudgeFinetuneEngine(SEEN, "text-embedding-3-small")


def test_as_index_takes_one_place_to_write_to() -> None:
    engine = fitted()
    with pytest.raises(InputError, match="a vector_store and a storage_context"):
        engine.as_index(SimpleVectorStore(), StorageContext.from_defaults())
    context = StorageContext.from_defaults()
    index = engine.as_index(storage_context=context)
    assert index.storage_context is context
    assert set(context.vector_store.data.embedding_dict) == set(SEEN.corpus)  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m"])
def test_an_index_stays_nudged_when_documents_are_refreshed_or_inserted(method: str) -> None:
    engine = fitted(method)
    index = engine.as_index()
    index.insert_nodes([TextNode(id_="late", text="nickname3 nickname3 nickname3 nickname3")])
    assert "late" in found(index.as_retriever(similarity_top_k=12), "nickname3 nickname3")
    (node,) = [node for node in to_nodes(SEEN) if node.node_id == "d3"]
    before = index.vector_store.get("d3")  # type: ignore[attr-defined]
    index.delete_nodes(["d3"])
    index.insert_nodes([node])
    np.testing.assert_allclose(index.vector_store.get("d3"), before, atol=1e-6)  # type: ignore[attr-defined]


def test_before_a_fit_there_is_nothing_to_serve() -> None:
    engine = NudgeFinetuneEngine(SEEN, WordEmbedding())
    assert repr(engine) == "NudgeFinetuneEngine(40 nodes, 30 queries, method='auto', not fitted)"
    for call in (engine.as_retriever, engine.as_index, engine.get_finetuned_model, engine.get_finetuned_nodes):
        with pytest.raises(InputError, match=r"call finetune\(\) first"):
            call()
    engine.finetune()
    assert "documents moved by" in repr(engine)


def test_a_magnitude_method_carries_the_extra_coordinate_where_it_is_needed() -> None:
    engine = fitted("nudge-m")
    assert nudge_of(engine).similarity == "dot"
    assert len(engine.get_finetuned_model().get_query_embedding("x")) == WIDTH + 1
    assert len(engine.get_finetuned_nodes()[0].embedding or []) == WIDTH + 1
    assert engine.get_finetuned_corpus_embeddings().shape == (40, WIDTH)
    plain = engine.get_finetuned_model(extra_coordinate=False)
    assert len(plain.get_text_embedding("x")) == WIDTH
    assert isinstance(plain, NudgedEmbedding)
    assert isinstance(nudge_of(engine), Nudge)
