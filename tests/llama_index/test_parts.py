"""The parts of the LlamaIndex edge: embedding model, transform, retriever, filters, questions, evaluation."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.evaluation import RetrieverEvaluator
from llama_index.core.indices.query.query_transform.base import BaseQueryTransform
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index_doubles import WIDTH, ScriptedLLM, WordEmbedding, found, halves, labelled, nudge_of, words_vector
from query_maps import asked, map_alone, mapped

from nudge_integrations.artifact import Nudge
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import ArtifactError, CorruptArtifactError, DatasetError, InputError, MismatchError
from nudge_integrations.generation import GenerationReport
from nudge_integrations.llama_index import (
    NudgedEmbedding,
    NudgeFinetuneEngine,
    NudgeRetriever,
    NudgeTransform,
    aevaluate_retriever,
    agenerate_qa_pairs,
    as_embedding,
    as_encoder,
    evaluate_retriever,
    generate_qa_pairs,
    to_nodes,
)
from nudge_integrations.llama_index.encoder import fingerprint_of
from nudge_integrations.llama_index.filters import passes

SEEN, ASKED = halves(labelled())
QUERY = "nickname3 nickname3"


def fit(method: str = "nudge-n", step: float | None = None) -> Nudge:
    engine = NudgeFinetuneEngine(SEEN, WordEmbedding(), method=method, step=step)
    engine.finetune()
    return nudge_of(engine)


NUDGE, FARTHER, LONGER = fit(), fit(step=0.2), fit("nudge-m")
MAPPED = {"both": mapped(NUDGE), "lengths": mapped(LONGER), "map alone": map_alone(NUDGE)}


class Shouting(BaseQueryTransform):
    """Rewrites every query to the same."""

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: Any) -> None:
        return

    def _run(self, query_bundle: QueryBundle, metadata: Any) -> QueryBundle:
        return QueryBundle(query_bundle.query_str, custom_embedding_strs=[QUERY])


def retriever(nudge: Nudge = NUDGE, **options: Any) -> NudgeRetriever:
    return NudgeRetriever(to_nodes(SEEN), WordEmbedding(), nudge, **{"similarity_top_k": 5, **options})


# the embedding model


def test_a_known_text_gets_its_nudged_vector_and_any_other_the_base_models_direction() -> None:
    model = NudgedEmbedding(WordEmbedding(), NUDGE)
    known, other, query = SEEN.corpus["d3"], "never seen", "who asks"
    np.testing.assert_allclose(model.get_text_embedding(known), NUDGE.vector("d3"), atol=1e-6)
    base = np.asarray(words_vector(other))
    np.testing.assert_allclose(model.get_text_embedding(other), base / np.linalg.norm(base), atol=1e-6)
    np.testing.assert_allclose(model.get_query_embedding(query), words_vector(query), rtol=1e-6)
    assert model.get_text_embedding_batch([known, other]) == [model.get_text_embedding(t) for t in (known, other)]


async def test_the_asynchronous_paths_give_the_same_through_the_base_models_own() -> None:
    base = WordEmbedding()
    model = NudgedEmbedding(base, LONGER)
    texts = list(SEEN.corpus.values())[:15]
    assert await model.aget_text_embedding_batch(texts) == model.get_text_embedding_batch(texts)
    assert await model.aget_query_embedding("a b") == model.get_query_embedding("a b")
    both = ["a b", "c"]
    assert await model.aget_agg_embedding_from_queries(both) == model.get_agg_embedding_from_queries(both)
    assert await model.aget_text_embedding(texts[0]) == model.get_text_embedding(texts[0])
    assert {"abatch", "aquery"} <= {path for path, _ in base.calls}


@pytest.mark.parametrize("name", MAPPED)
async def test_queries_are_mapped_on_every_path_once_and_texts_on_none(name: str) -> None:
    nudge, several = MAPPED[name], ["a b", "c"]
    model = NudgedEmbedding(WordEmbedding(embeddings_cache=SimpleKVStore()), nudge)
    zero = [0.0] * model.extra_coordinate
    mean = np.mean([words_vector(text) for text in several], axis=0)
    for _ in range(2):  # the second time from the base model's cache
        for vectors, base in (
            ((model.get_query_embedding("a b"), await model.aget_query_embedding("a b")), words_vector("a b")),
            ((model.get_agg_embedding_from_queries(several),), mean),
            ((await model.aget_agg_embedding_from_queries(several),), mean),
        ):
            for vector in vectors:
                np.testing.assert_allclose(vector, [*asked(nudge, [base])[0], *zero], atol=1e-6)
    texts = list(SEEN.corpus.values())[:9]
    plain = NudgedEmbedding(WordEmbedding(), dataclasses.replace(nudge, query_map=None))
    assert model.get_text_embedding_batch(texts) == plain.get_text_embedding_batch(texts)
    assert model.fingerprint != plain.fingerprint


@pytest.mark.parametrize("name", MAPPED)
async def test_the_retriever_asks_by_mapped_queries_whatever_they_come_from(name: str, tmp_path: Path) -> None:
    nudge = MAPPED[name]
    served = retriever(nudge)
    served.persist(tmp_path)
    rewritten = retriever(nudge, query_transform=Shouting())
    again = NudgeRetriever.from_persist_dir(tmp_path, WordEmbedding(), similarity_top_k=5)
    again.insert_nodes(to_nodes(SEEN)[:3])
    scores = served.vectors @ asked(nudge, [words_vector(QUERY)])[0]
    best = [SEEN.document_ids[row] for row in np.argsort(-scores)[:5]]
    assert best != found(retriever(dataclasses.replace(nudge, query_map=None)), QUERY)
    preset: Any = QueryBundle("ignored", embedding=words_vector(QUERY))
    for one in (served, again):
        assert found(one, QUERY) == found(one, preset) == best
        assert [hit.node.node_id for hit in await one.aretrieve(QUERY)] == best
    assert found(rewritten, "nothing") == best


def test_another_model_is_refused_by_name_or_at_the_latest_by_its_vectors() -> None:
    with pytest.raises(MismatchError, match="belongs to the encoder"):
        NudgedEmbedding(WordEmbedding(query_instruction="find"), NUDGE)
    with pytest.raises(MismatchError, match="belongs to the encoder"):
        NudgeRetriever(to_nodes(SEEN), WordEmbedding(model_name="other"), NUDGE)

    class Backwards(WordEmbedding):
        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return [vector[::-1] for vector in super()._get_text_embeddings(texts)]

        @classmethod
        def class_name(cls) -> str:
            return WordEmbedding.class_name()

    with pytest.raises(MismatchError, match="from another model"):
        NudgedEmbedding(Backwards(), NUDGE).get_text_embedding_batch(list(SEEN.corpus.values()))


def test_what_does_not_change_vectors_does_not_change_the_fingerprint() -> None:
    one = fingerprint_of(WordEmbedding())
    assert one == fingerprint_of(WordEmbedding(embed_batch_size=3, num_workers=7))
    assert one.startswith("llama_index:")
    assert (
        len({one, fingerprint_of(WordEmbedding(model_name="b")), fingerprint_of(WordEmbedding(query_instruction="c"))})
        == 3
    )


def test_a_cache_keyed_by_text_alone_is_refused() -> None:
    with pytest.raises(InputError, match="give it to the base model"):
        NudgedEmbedding(WordEmbedding(), NUDGE, embeddings_cache=SimpleKVStore())
    base = WordEmbedding(embeddings_cache=SimpleKVStore())
    text = SEEN.corpus["d3"]
    for nudge in (NUDGE, FARTHER):
        served = NudgedEmbedding(base, nudge).get_text_embedding(text)
        np.testing.assert_allclose(served, nudge.vector("d3"), atol=1e-6)


def test_a_nudge_on_a_nudge_starts_from_the_base() -> None:
    twice = NudgedEmbedding(NudgedEmbedding(WordEmbedding(), NUDGE), FARTHER)
    assert isinstance(twice.base, WordEmbedding)
    np.testing.assert_allclose(twice.get_text_embedding(SEEN.corpus["d3"]), FARTHER.vector("d3"), atol=1e-6)


def test_encoders_and_embedding_models_stand_for_each_other(encoder: Encoder) -> None:
    wrapped = as_embedding(encoder)
    texts = ["cats purr", "dogs bark"]
    np.testing.assert_allclose(wrapped.get_text_embedding_batch(texts), encoder.encode_documents(texts), atol=1e-6)
    np.testing.assert_allclose(wrapped.get_query_embedding("a"), encoder.encode_queries(["a"])[0], atol=1e-6)
    assert asyncio.run(wrapped.aget_text_embedding_batch(texts)) == wrapped.get_text_embedding_batch(texts)
    assert as_encoder(wrapped) is encoder
    assert as_embedding(wrapped) is wrapped
    model = WordEmbedding(query_instruction="find")
    back = as_encoder(model)
    assert back.fingerprint == fingerprint_of(model)
    assert as_encoder(back) is back
    np.testing.assert_allclose(back.encode_queries(texts)[0], words_vector("find cats purr"), rtol=1e-6)
    np.testing.assert_allclose(back.encode_documents(texts)[0], words_vector("cats purr"), rtol=1e-6)
    engines = [NudgeFinetuneEngine(SEEN, either, method="nudge-n") for either in (encoder, wrapped)]
    for engine in engines:
        engine.finetune()
    assert nudge_of(engines[0]).encoder == encoder.fingerprint
    assert nudge_of(engines[0]).fingerprint == nudge_of(engines[1]).fingerprint


def test_without_the_framework_the_pip_line_is_said() -> None:
    code = (
        "import sys; sys.modules['llama_index.core'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name.startswith('llama_index') else find(name, *rest)\n"
        "import nudge_integrations.llama_index"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "MissingExtraError" in done.stderr
    assert "pip install 'nudge-integrations[llama-index]'" in done.stderr


# pipelines and indexes


@pytest.mark.parametrize("steps", [1, 2])
def test_a_pipelines_cache_never_serves_the_vectors_of_another_nudge(steps: int) -> None:
    cache = IngestionCache()
    nodes = to_nodes(SEEN)

    def run(nudge: Nudge) -> Any:
        own = [NudgedEmbedding(WordEmbedding(), nudge)] if steps == 1 else [WordEmbedding(), NudgeTransform(nudge)]
        pipeline = IngestionPipeline(transformations=own, cache=cache)  # type: ignore[arg-type]
        return {node.node_id: node.embedding for node in pipeline.run(nodes=copy.deepcopy(nodes))}

    for nudge in (NUDGE, FARTHER, NUDGE):
        np.testing.assert_allclose(run(nudge)["d3"], nudge.vector("d3"), atol=1e-6)


def test_the_transform_needs_base_vectors() -> None:
    nodes = to_nodes(SEEN)
    with pytest.raises(InputError, match="after the embedding model"):
        NudgeTransform(NUDGE)(nodes)
    nudged = NudgeTransform(NUDGE)(WordEmbedding()(nodes))
    with pytest.raises(MismatchError, match="nudged already"):
        NudgeTransform(NUDGE)(nudged)
    assert NudgeTransform(NUDGE)([]) == []


def test_the_transform_and_the_embedding_model_agree_on_the_extra_coordinate() -> None:
    nodes = NudgeTransform(LONGER)(WordEmbedding()(to_nodes(SEEN)))
    assert len(nodes[0].embedding or []) == WIDTH + 1
    index = VectorStoreIndex(list(nodes), embed_model=NudgedEmbedding(WordEmbedding(), LONGER))
    assert found(index.as_retriever(similarity_top_k=5), QUERY) == found(retriever(LONGER), QUERY)


def test_refreshing_documents_keeps_nudges_and_drops_those_of_edited_texts() -> None:
    documents = [Document(doc_id=i, text=text) for i, text in SEEN.corpus.items()]
    index = VectorStoreIndex.from_documents(documents, embed_model=NudgedEmbedding(WordEmbedding(), NUDGE))
    documents[3] = Document(doc_id="d3", text="something else entirely")
    documents[4] = Document(
        doc_id="d4", text=SEEN.corpus["d4"], metadata={"note": ""}, excluded_embed_metadata_keys=["note"]
    )
    assert sum(index.refresh_ref_docs(documents)) == 2
    rows = {
        index.docstore.get_node(i).ref_doc_id: vector
        for i, vector in index.vector_store.data.embedding_dict.items()  # type: ignore[attr-defined]
    }
    edited = np.asarray(words_vector("something else entirely"))
    np.testing.assert_allclose(rows["d3"], edited / np.linalg.norm(edited), atol=1e-6)
    np.testing.assert_allclose(rows["d4"], NUDGE.vector("d4"), atol=1e-6)


# the retriever


def test_the_retriever_honours_a_preset_embedding_and_several_strings() -> None:
    model = WordEmbedding()
    served = NudgeRetriever(to_nodes(SEEN), model, NUDGE, similarity_top_k=5)
    model.calls.clear()
    preset = QueryBundle("ignored", embedding=words_vector(QUERY))
    assert found(served, preset) == found(retriever(), QUERY)  # type: ignore[arg-type]
    assert model.calls == []
    mean = np.mean([words_vector("a"), words_vector("b")], axis=0)
    (hit,) = retriever(similarity_top_k=1).retrieve(QueryBundle("x", custom_embedding_strs=["a", "b"]))
    best = float((retriever().vectors @ mean).max())
    assert hit.score == pytest.approx(best, rel=1e-5)


def test_inserted_nodes_are_seen_at_once_and_deleted_ones_no_more() -> None:
    served = retriever()
    assert found(served, QUERY)[0] == "d3"
    served.delete_nodes(["d3"])
    assert "d3" not in found(served, QUERY)
    served.insert_nodes([TextNode(id_="late", text="nickname3"), TextNode(id_="again", text=SEEN.corpus["d3"])])
    assert set(found(served, QUERY)[:2]) == {"late", "again"}  # known by its text, under another id
    asyncio.run(served.ainsert_nodes([TextNode(id_="late", text="nothing alike")]))
    assert "late" not in found(served, QUERY)[:2]
    assert len(served) == len(SEEN.corpus) + 1
    with pytest.raises(InputError, match="not in the index"):
        served.delete_nodes(["absent"])
    with pytest.raises(InputError, match="comes twice"):
        served.insert_nodes([TextNode(id_="same", text="a"), TextNode(id_="same", text="b")])
    assert len(served) == len(SEEN.corpus) + 1


def test_a_retriever_is_written_and_read_when_all_that_moved_is_gone(tmp_path: Path) -> None:
    served = NudgeRetriever(to_nodes(SEEN), WordEmbedding(), NUDGE, similarity_top_k=5)
    served.delete_nodes(list(NUDGE.ids[1:]))
    served.insert_nodes([TextNode(id_=NUDGE.ids[0], text="another text")])
    expected = found(served, QUERY)
    for _ in range(2):
        served.persist(tmp_path)
        served = NudgeRetriever.from_persist_dir(tmp_path, WordEmbedding(), similarity_top_k=5)
        assert found(served, QUERY) == expected
    served.insert_nodes([TextNode(id_="late", text=SEEN.corpus[NUDGE.ids[0]])])
    np.testing.assert_allclose(served.vectors[-1], NUDGE.vector(NUDGE.ids[0]), rtol=1e-6)


def test_a_retriever_is_written_and_read_without_embedding_anything(tmp_path: Path) -> None:
    nodes = [TextNode(id_=i, text=text, metadata={"row": row}) for row, (i, text) in enumerate(SEEN.corpus.items())]
    for node in nodes:
        node.excluded_embed_metadata_keys = ["row"]
    served = NudgeRetriever(nodes, WordEmbedding(), LONGER, similarity_top_k=5)
    served.persist(tmp_path / "kept")
    model = WordEmbedding()
    again = NudgeRetriever.from_persist_dir(tmp_path / "kept", model, similarity_top_k=5)
    assert model.calls == []
    mine, theirs = (
        [(hit.node.node_id, hit.score, hit.node.metadata) for hit in one.retrieve(QUERY)] for one in (served, again)
    )
    assert mine == theirs
    assert all(hit.node.embedding is None for hit in again.retrieve(QUERY))
    again.insert_nodes([TextNode(id_="late", text=SEEN.corpus["d3"])])
    np.testing.assert_allclose(again.vectors[-1], LONGER.vector("d3"), rtol=1e-6)
    with pytest.raises(MismatchError):
        NudgeRetriever.from_persist_dir(tmp_path / "kept", WordEmbedding(model_name="other"))
    with pytest.raises(ArtifactError):
        NudgeRetriever.from_persist_dir(tmp_path, WordEmbedding())
    for path in (tmp_path / "kept").rglob("*"):
        if path.is_file() and path.stat().st_size:
            content = path.read_bytes()
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
            with pytest.raises(CorruptArtifactError):
                NudgeRetriever.from_persist_dir(tmp_path / "kept", WordEmbedding())
            path.write_bytes(content)


def test_filters_choose_by_metadata() -> None:
    nodes = to_nodes(SEEN)
    for row, node in enumerate(nodes):
        node.metadata = {"row": row}
        node.excluded_embed_metadata_keys = ["row"]
    small = MetadataFilters(filters=[MetadataFilter(key="row", value=3, operator=FilterOperator.LT)])
    served = NudgeRetriever(nodes, WordEmbedding(), NUDGE, similarity_top_k=40, filters=small)
    assert sorted(found(served, QUERY)) == ["d0", "d1", "d2"]
    assert {hit.node.node_id for hit in asyncio.run(served.aretrieve(QUERY))} == {"d0", "d1", "d2"}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [(FilterCondition.AND, False), (FilterCondition.OR, True), (FilterCondition.NOT, False)],
)
def test_filters_join_and_nest(condition: FilterCondition, expected: bool) -> None:
    yes, no = MetadataFilter(key="a", value=1), MetadataFilter(key="a", value=2)
    assert passes(MetadataFilters(filters=[yes, no], condition=condition), {"a": 1}) is expected
    inner = MetadataFilters(filters=[yes, no], condition=FilterCondition.OR)
    outer = MetadataFilters(filters=[inner, MetadataFilter(key="b", value="x", operator=FilterOperator.NE)])
    assert passes(outer, {"a": 1, "b": "y"})
    assert not passes(outer, {"a": 3, "b": "y"})
    assert passes(MetadataFilters(filters=[]), {})


METADATA: dict[str, Any] = {"number": 3, "word": "Red cat", "list": ["a", "b"], "blank": ""}


@pytest.mark.parametrize(
    ("key", "operator", "value", "expected"),
    [
        ("number", FilterOperator.EQ, 3, True),
        ("number", FilterOperator.NE, 3, False),
        ("number", FilterOperator.GT, 3, False),
        ("number", FilterOperator.GTE, 3, True),
        ("number", FilterOperator.LT, 4, True),
        ("number", FilterOperator.LTE, 2, False),
        ("word", FilterOperator.IN, ["Red cat", "dog"], True),
        ("word", FilterOperator.NIN, ["Red cat", "dog"], False),
        ("list", FilterOperator.CONTAINS, "a", True),
        ("list", FilterOperator.ANY, ["b", "c"], True),
        ("list", FilterOperator.ALL, ["b", "c"], False),
        ("word", FilterOperator.TEXT_MATCH, "red", False),
        ("word", FilterOperator.TEXT_MATCH_INSENSITIVE, "red", True),
        ("blank", FilterOperator.IS_EMPTY, None, True),
        ("absent", FilterOperator.IS_EMPTY, None, True),
        ("absent", FilterOperator.EQ, 3, False),
        ("absent", FilterOperator.NE, 3, True),
        ("absent", FilterOperator.NIN, ["a"], True),
    ],
)
def test_each_operator_means_what_the_framework_says(
    key: str, operator: FilterOperator, value: Any, expected: bool
) -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])
    assert passes(filters, METADATA) is expected


def test_a_filter_that_cannot_be_asked_is_named() -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key="number", value="x", operator=FilterOperator.TEXT_MATCH)])
    with pytest.raises(InputError, match="'number' text_match 'x' cannot be applied to 3"):
        passes(filters, METADATA)


def test_index_nodes_lead_on_and_a_query_engine_answers() -> None:
    answer = TextNode(id_="answer", text="the whole page")
    leading = IndexNode(id_="lead", index_id="lead", text="page3 page3 page3", obj=answer)
    served = NudgeRetriever([*to_nodes(SEEN), leading], WordEmbedding(), NUDGE, similarity_top_k=1)
    assert found(served, "page3") == ["answer"]
    engine = RetrieverQueryEngine.from_args(served, llm=ScriptedLLM(script={"the whole page": "It says so."}))
    assert str(engine.query("page3")) == "It says so."
    assert "NudgeRetriever(41 nodes, similarity_top_k=1" in repr(served)


def test_nodes_that_a_nudge_does_not_know_are_refused() -> None:
    with pytest.raises(MismatchError, match="none of the"):
        NudgeRetriever(to_nodes(labelled(prefix="z")), WordEmbedding(), NUDGE)
    empty = NudgeRetriever([], WordEmbedding(), NUDGE)
    assert empty.retrieve(QUERY) == []


# questions


def test_questions_are_asked_of_the_frameworks_language_models_and_resumed_by_content(tmp_path: Path) -> None:
    nodes = [TextNode(id_="a", text="cats purr"), TextNode(id_="b", text="dogs bark"), TextNode(id_="c", text="odd")]
    script = {
        "cats purr": "1. purr and cats\n2. what cats do",
        "dogs bark": "bark of dogs\nwhat dogs do",
        "odd": "cats purr\nodd ones",
    }
    llm = ScriptedLLM(script=script)
    reports: list[GenerationReport] = []
    options: dict[str, Any] = {"output_path": tmp_path / "answers.jsonl", "embed_model": WordEmbedding()}
    dataset = generate_qa_pairs(nodes, llm, round_trip=1, on_report=reports.append, **options)
    assert dict(dataset.corpus) == {"a": "cats purr", "b": "dogs bark", "c": "odd"}
    assert (reports[0].questions, reports[0].kept, reports[0].dropped) == (6, 5, 1)
    kept = {text: list(dataset.qrels[query]) for query, text in dataset.queries.items()}
    assert kept["what cats do"] == ["a"]
    assert "cats purr" not in kept  # it finds another node than its own
    assert len(llm.prompts) == 3
    other = [TextNode(id_="b", text="dogs bark"), TextNode(id_="d", text="cats purr"), TextNode(id_="a", text="odd")]
    again = generate_qa_pairs(other, llm, **options)
    assert len(llm.prompts) == 5  # one is on file; a new id and a changed text are asked for
    assert {i for judged in again.qrels.values() for i in judged} == {"a", "b", "d"}
    with_example = generate_qa_pairs(nodes[:1], llm, examples=[("cows moo", "who moos?")])
    assert len(with_example) == 2
    assert "who moos?" in llm.prompts[-1]
    with pytest.raises(DatasetError, match="no question for document 'x'"):
        generate_qa_pairs([TextNode(id_="x", text=" ")], llm)


async def test_questions_are_asked_asynchronously_too() -> None:
    nodes = to_nodes(SEEN)
    llm = ScriptedLLM(script={"": "what is it?"})
    dataset = await agenerate_qa_pairs(nodes, llm, workers=3, coverage=7, embed_model=WordEmbedding())
    assert len(llm.prompts) == 7
    assert len({i for judged in dataset.qrels.values() for i in judged}) == 7
    engine = NudgeFinetuneEngine(dataset, WordEmbedding(), nodes=nodes)
    assert len(engine.nodes) == 40


# evaluation


class Silent(BaseRetriever):
    """Finds nothing for some queries."""

    def __init__(self, other: BaseRetriever) -> None:
        self.other = other
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [] if query_bundle.query_str.endswith("1") else self.other.retrieve(query_bundle)


def test_every_retriever_can_be_judged_and_no_result_counts_as_zero() -> None:
    whole = evaluate_retriever(retriever(), ASKED, ["hit@1", "recall"], k=3)
    assert set(whole.means) == {"hit@1", "recall@3"}
    silent = evaluate_retriever(Silent(retriever()), ASKED, ["hit@1"])
    answered = {q: value for q, value in whole.per_query["hit@1"].items() if not ASKED.queries[q].endswith("1")}
    assert 0 < len(answered) < len(ASKED)
    assert silent.means["hit@1"] == pytest.approx(sum(answered.values()) / len(ASKED))
    assert silent.queries == len(ASKED)
    assert asyncio.run(aevaluate_retriever(retriever(), ASKED)) == evaluate_retriever(retriever(), ASKED)


def test_a_retriever_is_asked_as_deep_as_the_metrics_look_and_stays_as_it_is() -> None:
    shallow = retriever(similarity_top_k=1)
    assert evaluate_retriever(shallow, ASKED).means == evaluate_retriever(retriever(similarity_top_k=10), ASKED).means
    assert shallow.similarity_top_k == 1
    index = VectorStoreIndex(to_nodes(SEEN), embed_model=NudgedEmbedding(WordEmbedding(), NUDGE))
    assert evaluate_retriever(index.as_retriever(), ASKED).means == evaluate_retriever(shallow, ASKED).means


def test_the_frameworks_own_evaluator_takes_our_retriever() -> None:
    evaluator = RetrieverEvaluator.from_metric_names(["hit_rate", "mrr", "ndcg"], retriever=retriever())
    query = ASKED.query_ids[0]
    result = evaluator.evaluate(ASKED.queries[query], list(ASKED.qrels[query]))
    assert result.metric_vals_dict["hit_rate"] == 1.0
    assert result.retrieved_ids == found(retriever(), ASKED.queries[query])
