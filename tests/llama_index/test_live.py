"""Live stores and engines that grow: nothing is lost, doubled or forgotten."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index_doubles import WordEmbedding, found, halves, labelled, nudge_of

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import InputError
from nudge_integrations.evaluation import evaluate
from nudge_integrations.llama_index import NudgeFinetuneEngine, evaluate_retriever, replacing, to_nodes

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
