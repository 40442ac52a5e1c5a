"""A fine-tuned encoder under both frameworks: what is searched with is what was trained."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import TextNode
from llama_index_doubles import WordEmbedding, nudge_of
from sentence_transformers import SentenceTransformer
from tiny_encoder import planted_dataset, tiny_model

from nudge_integrations.encoding import SentenceTransformerEncoder
from nudge_integrations.errors import InputError
from nudge_integrations.finetune import finetune_encoder
from nudge_integrations.langchain import NudgeRetriever as LangChainRetriever
from nudge_integrations.llama_index import NudgeFinetuneEngine, as_embedding, as_encoder, to_nodes
from nudge_integrations.pipeline import fit

QUICK: dict[str, Any] = {"batch_size": 8, "epochs": 2, "hard_negatives": 0, "learning_rate": 5e-3}
TRAIN, VALIDATION, TEST = planted_dataset().split((0.6, 0.2, 0.2))


class HuggingFaceEmbedding(WordEmbedding):
    """What the engine reads of the embedding model of that name, whose package is not needed for it."""

    text_instruction: str = ""
    max_length: int = 12

    @classmethod
    def class_name(cls) -> str:
        return "HuggingFaceEmbedding"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(tmp_path_factory.mktemp("transformer")).save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.fixture(scope="module")
def tuned(folder: Path) -> SentenceTransformerEncoder:
    return finetune_encoder(TRAIN, folder, validation=VALIDATION, progress=False, **QUICK)


def engine_of(model: Any, **options: Any) -> NudgeFinetuneEngine:
    given = {"finetune_encoder": QUICK, "method": "nudge-n", "step": 0.2, **options}
    return NudgeFinetuneEngine(TRAIN, model, VALIDATION, **given)


def found(retriever: Any, text: str) -> list[str]:
    return [result.node.node_id for result in retriever.retrieve(text)]


def test_the_engine_trains_the_encoder_and_everything_is_searched_with_it(
    folder: Path, tuned: SentenceTransformerEncoder
) -> None:
    engine = engine_of(folder)
    engine.finetune()
    nudge = fit(TRAIN, tuned, validation=VALIDATION, method="nudge-n", step=0.2)
    assert as_encoder(engine.embed_model).fingerprint == tuned.fingerprint == nudge_of(engine).encoder
    np.testing.assert_array_equal(nudge_of(engine).vectors, nudge.vectors)
    corpus = nudge.apply(TRAIN.document_ids, tuned.encode_documents(list(TRAIN.corpus.values())))
    np.testing.assert_allclose(engine.get_finetuned_corpus_embeddings(), corpus, atol=1e-6)
    for text in TEST.queries.values():
        best = np.argsort(-(corpus @ tuned.encode_queries([text])[0]), kind="stable")[:3]
        expected = [TRAIN.document_ids[row] for row in best]
        assert found(engine.as_retriever(similarity_top_k=3), text) == expected
        assert found(engine.as_index().as_retriever(similarity_top_k=3), text) == expected
    assert engine.get_finetuned_model().base is engine.embed_model


def test_passing_the_trained_encoder_is_the_same(folder: Path, tuned: SentenceTransformerEncoder) -> None:
    trained, passed = engine_of(folder), engine_of(tuned, finetune_encoder=False)
    trained.finetune()
    passed.finetune()
    np.testing.assert_array_equal(nudge_of(trained).vectors, nudge_of(passed).vectors)


def test_fitting_again_starts_again_and_new_labels_count(folder: Path) -> None:
    engine = engine_of(folder)
    asyncio.run(engine.afinetune())
    first = nudge_of(engine)
    engine.finetune()
    assert nudge_of(engine).encoder == first.encoder
    # One query at a time, or all at once: that changes last bits of what a model gives.
    np.testing.assert_allclose(nudge_of(engine).vectors, first.vectors, atol=1e-6)
    engine.insert_data_and_finetune(TEST)
    assert nudge_of(engine).encoder != first.encoder


@pytest.mark.parametrize("form", ["model", "encoder", "embedding", "hugging face", "name"])
def test_a_sentence_transformers_model_may_come_in_any_form(folder: Path, form: str) -> None:
    model = SentenceTransformer(str(folder), device="cpu")
    encoder = SentenceTransformerEncoder(model)
    forms: dict[str, Any] = {
        "model": model,
        "encoder": encoder,
        "embedding": as_embedding(encoder),
        "hugging face": HuggingFaceEmbedding(model_name=str(folder), query_instruction="who "),
        "name": str(folder),
    }
    taken = engine_of(forms[form], finetune_encoder=True).embed_model
    if form == "hugging face":
        expected = SentenceTransformer(str(folder), device="cpu")
        expected.max_seq_length = 12
        encoder = SentenceTransformerEncoder(expected, query_prompt="who ", document_prompt="")
    assert as_encoder(taken).fingerprint == encoder.fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"finetune_encoder": "train"}, "finetune_encoder is 'train', expected True, False or a mapping"),
        ({"finetune_encoder": {"validation": None, "progress": True}}, "progress, validation cannot be given here"),
        ({"query_transform": object()}, "leave query_transform out"),
        ({"model": WordEmbedding()}, "whose weights cannot be trained here"),
        ({"finetune_encoder": False}, "expected a LlamaIndex embedding model or an encoder"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(options: dict[str, Any], message: str, folder: Path) -> None:
    model = options.pop("model", str(folder))
    with pytest.raises(InputError, match=message):
        engine_of(model, **options)


def test_vectors_of_another_model_are_refused_before_training(folder: Path) -> None:
    nodes = [*to_nodes(TRAIN), TextNode(id_="old", text="the tell1", embedding=[0.1] * 32)]
    engine = engine_of(folder, nodes=nodes)
    with pytest.raises(InputError, match="node 'old' has an embedding, and not of the encoder that is trained"):
        engine.finetune()


def test_langchain_takes_the_trained_encoder_as_its_embedding(tuned: SentenceTransformerEncoder) -> None:
    documents = [Document(id=name, page_content=text) for name, text in TRAIN.corpus.items()]
    retriever = LangChainRetriever.from_documents(documents, tuned, TRAIN, k=3, method="nudge-n", step=0.2)
    assert retriever.nudge is not None
    assert retriever.nudge.encoder == tuned.fingerprint
    nudge = fit(TRAIN, tuned, method="nudge-n", step=0.2)
    corpus = nudge.apply(TRAIN.document_ids, tuned.encode_documents(list(TRAIN.corpus.values())))
    for text in TEST.queries.values():
        best = np.argsort(-(corpus @ tuned.encode_queries([text])[0]), kind="stable")[:3]
        assert [document.id for document in retriever.invoke(text)] == [TRAIN.document_ids[row] for row in best]
