"""Live stores and engines that grow: nothing is lost, doubled or forgotten."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import IndexNode, NodeRelationship, QueryBundle, RelatedNodeInfo, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters, SimpleVectorStore
from llama_index_doubles import WordEmbedding, found, halves, labelled, nudge_of, words_vector

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import CorruptArtifactError, InputError
from nudge_integrations.evaluation import evaluate
from nudge_integrations.llama_index import (
    NudgeFinetuneEngine,
    NudgeRetriever,
    NudgeTransform,
    evaluate_retriever,
    replacing,
    rewrite_documents,
    to_nodes,
)
from nudge_integrations.pipeline.nudged_index import NudgedIndex

SEEN, ASKED = halves(labelled())


def fitted(**options: Any) -> NudgeFinetuneEngine:
    engine = NudgeFinetuneEngine(SEEN, WordEmbedding(), **{"method": "nudge-n", "step": 0.3, **options})
    engine.finetune()
    return engine


class Failing(SimpleVectorStore):
    """Counts what is written, and refuses to take more."""

    written: int = 0
    refuses: bool = False

    def add(self, nodes: Any, **kwargs: Any) -> list[str]:
        if self.refuses:
            raise ConnectionError("gone")
        self.written += len(nodes)
        return super().add(nodes, **kwargs)


def base_index(store: SimpleVectorStore) -> VectorStoreIndex:
    context = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex(to_nodes(SEEN), storage_context=context, embed_model=WordEmbedding())


def test_a_store_that_fails_while_it_is_written_loses_nothing() -> None:
    store = Failing()
    base_index(store)
    before = copy.deepcopy(store.data.embedding_dict)
    store.refuses = True
    with pytest.raises(ConnectionError):
        fitted().as_index(store)
    assert store.data.embedding_dict == before


class Unknown(Failing):
    """A store of which only the framework's own methods are known: it ignores ids that are there."""

    def get_nodes(self, node_ids: Any = None, filters: Any = None) -> Any:
        known = [i for i in node_ids if i in self.data.embedding_dict]
        return [TextNode(id_=i, text=SEEN.corpus[i], embedding=self.data.embedding_dict[i]) for i in known]

    def add(self, nodes: Any, **kwargs: Any) -> list[str]:
        refuses, self.refuses = self.refuses, False  # fails once
        if refuses:
            raise ConnectionError("gone")
        return super().add([node for node in nodes if node.node_id not in self.data.embedding_dict], **kwargs)


def test_a_store_that_cannot_replace_gets_its_nodes_back_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacing, "_WRITE", {})
    monkeypatch.setattr(replacing, "_HELD", {})
    monkeypatch.setattr(replacing, "_CONTENT", {})
    store = Unknown()
    base_index(store)
    before = copy.deepcopy(store.data.embedding_dict)
    engine = fitted()
    store.refuses = True
    with pytest.raises(ConnectionError):
        engine.as_index(store)
    assert store.data.embedding_dict == before
    engine.as_index(store)
    np.testing.assert_allclose(store.get("d3"), nudge_of(engine).vector("d3"), atol=1e-6)


def test_only_what_differs_is_written() -> None:
    store = Failing()
    engine = fitted()
    engine.as_index(store)
    assert store.written == len(SEEN.corpus)
    index = engine.as_index(store)
    assert store.written == len(SEEN.corpus)
    store.data.embedding_dict["d3"] = [1.0] * 32
    engine.as_index(store)
    assert store.written == len(SEEN.corpus) + 1
    text = "nickname3 nickname3"
    assert found(index.as_retriever(similarity_top_k=9), text) == found(engine.as_retriever(similarity_top_k=9), text)


def test_a_document_inserted_through_the_index_is_one_of_the_engines() -> None:
    engine = fitted()
    store = SimpleVectorStore()
    index = engine.as_index(store)
    index.insert(Document(doc_id="late", text="something late"))
    new = RetrievalDataset({"late": "something late"}, {"n": "petname petname"}, {"n": {"late": 1}})
    engine.insert_data_and_finetune(new)
    assert len(engine.nodes) == len(SEEN.corpus) + 1
    engine.as_index(store)
    assert len(store.data.embedding_dict) == len(SEEN.corpus) + 1
    (moved,) = [node.node_id for node in engine.nodes if node.ref_doc_id == "late"]
    assert moved in nudge_of(engine)


async def test_what_is_deleted_through_the_index_is_not_written_again(caplog: pytest.LogCaptureFixture) -> None:
    engine = fitted()
    store = SimpleVectorStore()
    index = engine.as_index(store)
    index.insert(Document(doc_id="late", text="something late"))
    index.update_ref_doc(Document(doc_id="late", text="something later"))
    index.delete_nodes(["d3"])
    await index.adelete_nodes(["d4"])
    await index.adelete_ref_doc("late")
    await index.ainsert_nodes([TextNode(id_="last", text="something last")])
    engine.insert_data_and_finetune(ASKED)
    engine.as_index(store)
    assert set(store.data.embedding_dict) == {*SEEN.corpus, "last"} - {"d3", "d4"}
    assert "left out: their documents were deleted" in caplog.text


def pieces() -> list[TextNode]:
    """Each document in two."""
    made = []
    for document, text in SEEN.corpus.items():
        words = text.split()
        for half in (words[:3], words[3:]):
            source = RelatedNodeInfo(node_id=document)
            made.append(TextNode(text=" ".join(half), relationships={NodeRelationship.SOURCE: source}))
    return made


def test_new_labels_of_parents_add_no_parents_as_nodes() -> None:
    engine = fitted(nodes=pieces())
    engine.insert_data_and_finetune(ASKED, new_nontrain_dataset_batch=SEEN)
    assert len(engine.nodes) == 2 * len(SEEN.corpus)


def test_new_labels_add_no_second_copy_of_nodes_that_have_other_ids() -> None:
    engine = fitted(nodes=[TextNode(text=text) for text in SEEN.corpus.values()])
    engine.insert_data_and_finetune(ASKED)
    assert len(engine.nodes) == len(SEEN.corpus)


def test_new_labels_do_not_undo_a_saved_nudge() -> None:
    nudge = nudge_of(fitted())
    engine = NudgeFinetuneEngine.from_artifact(nudge, WordEmbedding(), to_nodes(SEEN))
    with pytest.raises(InputError, match="give from_artifact its train_dataset"):
        engine.insert_data_and_finetune(ASKED)
    options: dict[str, Any] = {"method": "nudge-n", "step": 0.3}
    whole = NudgeFinetuneEngine.from_artifact(nudge, WordEmbedding(), to_nodes(SEEN), SEEN, **options)
    whole.insert_data_and_finetune(ASKED)
    at_once = NudgeFinetuneEngine(SEEN.merge(ASKED), WordEmbedding(), **options)
    at_once.finetune()
    assert nudge_of(whole).fingerprint == nudge_of(at_once).fingerprint


def test_evaluation_knows_pieces_by_the_document_that_they_were_cut_from() -> None:
    nodes = [*pieces()[2:], *to_nodes(SEEN)[:1]]  # the first document is whole
    retriever = fitted(nodes=nodes).as_retriever(similarity_top_k=10)
    ours = evaluate_retriever(retriever, ASKED)
    assert ours.means == evaluate(retriever, ASKED).means
    assert ours.means["ndcg@10"] > 0.2


# the retriever


def test_what_is_done_to_a_hit_is_done_to_no_other() -> None:
    nodes = to_nodes(SEEN)
    nodes[3].metadata = {"tags": ["a"]}
    nodes[3].excluded_embed_metadata_keys = ["tags"]
    retriever = NudgeRetriever(nodes, WordEmbedding(), nudge_of(fitted()), similarity_top_k=len(nodes))
    text = "nickname3 nickname3"

    def third() -> Any:
        return next(hit.node for hit in retriever.retrieve(text) if hit.node.node_id == "d3")

    third().metadata["tags"].append("b")
    third().set_content("another text")
    nodes[3].metadata["tags"].append("c")
    assert third().metadata == {"tags": ["a"]}
    assert third().get_content() == SEEN.corpus["d3"]
    assert nodes[3].text == SEEN.corpus["d3"]


@pytest.mark.parametrize("k", [None, 0, -1, 1.5, "3", True])
async def test_odd_numbers_of_results_and_empty_queries_are_refused(k: Any) -> None:
    engine = fitted()
    with pytest.raises(InputError, match=r"similarity_top_k is .* expected a whole number"):
        engine.as_retriever(similarity_top_k=k)
    with pytest.raises(InputError, match=r"k is .* expected a whole number"):
        evaluate_retriever(engine.as_retriever(), ASKED, ["ndcg"], k)
    for query in ("", "  ", QueryBundle("", custom_embedding_strs=[])):
        with pytest.raises(InputError, match="the query is empty"):
            engine.as_retriever().retrieve(query)
        with pytest.raises(InputError, match="the query is empty"):
            await engine.as_retriever().aretrieve(query)


@pytest.mark.parametrize("options", [{"device": "zz"}, {"seed": -1}, {"seed": 1.5}])
def test_options_that_cannot_be_used_are_refused_before_anything_is_embedded(options: Any) -> None:
    model = WordEmbedding()
    with pytest.raises(InputError, match=next(iter(options))):
        NudgeFinetuneEngine(SEEN, model, **options)
    assert model.calls == []


def test_a_node_that_leads_to_a_retriever_is_written_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inner = fitted().as_retriever(similarity_top_k=1)
    leading = IndexNode(id_="lead", index_id="all", text="page3 page3 page3", obj=inner)
    served = NudgeRetriever([*to_nodes(SEEN), leading], WordEmbedding(), nudge_of(fitted()), similarity_top_k=1)
    expected = found(served, "page3")
    served.persist(tmp_path)
    assert "give it to from_persist_dir as object_map={'all': ...}" in caplog.text
    again = NudgeRetriever.from_persist_dir(tmp_path, WordEmbedding(), object_map={"all": inner}, similarity_top_k=1)
    assert found(again, "page3") == expected


@pytest.mark.parametrize("entry", [{}, {"__data__": 3, "__type__": "1"}, {"__data__": {"id_": "d9"}, "__type__": "1"}])
def test_a_persisted_entry_that_is_no_node_is_damage(entry: Any, tmp_path: Path) -> None:
    written = NudgedIndex()
    written.insert(["d0"], [words_vector(SEEN.corpus["d0"])], [SEEN.corpus["d0"]], [entry])
    written.apply(nudge_of(fitted()))
    written.save(tmp_path)
    with pytest.raises(CorruptArtifactError, match="persist the retriever again"):
        NudgeRetriever.from_persist_dir(tmp_path, WordEmbedding())


def test_filters_of_one_request_build_nothing() -> None:
    nodes = to_nodes(SEEN)
    for row, node in enumerate(nodes):
        node.metadata = {"row": row}
        node.excluded_embed_metadata_keys = ["row"]
    model = WordEmbedding()
    retriever = NudgeRetriever(nodes, model, nudge_of(fitted()), similarity_top_k=3)
    model.calls.clear()
    small = MetadataFilters(filters=[MetadataFilter(key="row", value=3, operator=FilterOperator.LT)])
    one = retriever.with_filters(small)
    assert sorted(found(one, "word1")) == ["d0", "d1", "d2"]
    assert len(found(retriever, "word1")) == 3
    assert not model.texts("batch")
    retriever.delete_nodes(["d0"])
    assert sorted(found(one, "word1")) == ["d1", "d2"]


# pipelines


def pipeline_of(nudge: Nudge, docstore: SimpleDocumentStore, store: SimpleVectorStore) -> IngestionPipeline:
    steps: list[Any] = [WordEmbedding(), NudgeTransform(nudge)]
    return IngestionPipeline(transformations=steps, docstore=docstore, vector_store=store)


def test_a_pipeline_with_upserts_says_that_it_wrote_nothing_and_writes_when_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    documents = [Document(doc_id=i, text=text) for i, text in SEEN.corpus.items()]
    docstore, store = SimpleDocumentStore(), SimpleVectorStore()
    first, second = (nudge_of(fitted(step=step)) for step in (0.2, 0.4))
    assert rewrite_documents(docstore, first) == 0
    pipeline_of(first, docstore, store).run(documents=copy.deepcopy(documents))
    assert pipeline_of(second, docstore, store).run(documents=copy.deepcopy(documents)) == []
    assert "rewrite_documents" in caplog.text
    assert rewrite_documents(docstore, second) == len(documents)
    nodes = pipeline_of(second, docstore, store).run(documents=copy.deepcopy(documents))
    assert len(nodes) == len(documents)
    np.testing.assert_allclose(store.get("d3"), second.vector("d3"), atol=1e-6)
    assert rewrite_documents(docstore, second) == 0
