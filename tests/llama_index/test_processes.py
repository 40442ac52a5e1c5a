"""Embedding models in other processes: copies, pickles, and pipelines with workers."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode

from nudge_integrations import RetrievalDataset, fit
from nudge_integrations.encoding import CachedEncoder, Encoder
from nudge_integrations.llama_index import NudgedEmbedding, NudgeFinetuneEngine, as_embedding

DATASET = RetrievalDataset({"d": "cats purr", "e": "dogs bark"}, {"q": "who purrs?"}, {"q": {"d": 1}})


def models(encoder: Encoder, folder: Path) -> list[BaseEmbedding]:
    base = as_embedding(CachedEncoder(encoder, folder))
    return [base, NudgedEmbedding(base, fit(DATASET, encoder, method="nudge-m", step=0.5))]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])  # noqa: S301  our own
def test_models_over_a_cache_are_copied_and_sent_to_other_processes(
    encoder: Encoder, tmp_path: Path, copied: Callable[[Any], Any]
) -> None:
    for model in models(encoder, tmp_path):
        again = copied(model)
        assert again.to_dict() == model.to_dict()
        assert again.get_text_embedding_batch(["cats purr", "owls"]) == model.get_text_embedding_batch(
            ["cats purr", "owls"]
        )
        assert again.get_query_embedding("who purrs?") == model.get_query_embedding("who purrs?")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])  # noqa: S301  our own
def test_engines_and_retrievers_are_copied_and_sent_to_other_processes(
    encoder: Encoder, tmp_path: Path, copied: Callable[[Any], Any]
) -> None:
    nodes = [TextNode(id_=name, text=text) for name, text in DATASET.corpus.items()]
    model = as_embedding(CachedEncoder(encoder, tmp_path))
    engine = NudgeFinetuneEngine(DATASET, model, nodes=nodes, method="nudge-n", step=0.5)
    engine.finetune()
    retriever = engine.as_retriever(similarity_top_k=2)
    expected = [(hit.node_id, hit.score) for hit in retriever.retrieve("who purrs?")]
    again = copied(engine)
    again.finetune()
    for one in (copied(retriever), again.as_retriever(similarity_top_k=2)):
        assert [(hit.node_id, hit.score) for hit in one.retrieve("who purrs?")] == expected


def test_a_model_that_cannot_be_pickled_says_so_and_stays_whole(encoder: Encoder, tmp_path: Path) -> None:
    object.__setattr__(encoder, "client", threading.Lock())
    for model in models(encoder, tmp_path):
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(model)
        assert len(model.get_text_embedding("cats purr")) >= 32


def test_a_pipeline_with_workers_embeds_through_a_cache(encoder: Encoder, tmp_path: Path) -> None:
    nodes = [TextNode(text=text) for text in ("cats purr", "dogs bark")]
    pipeline = IngestionPipeline(transformations=[as_embedding(CachedEncoder(encoder, tmp_path))])
    found = pipeline.run(nodes=nodes, num_workers=2)
    expected = encoder.encode_documents([node.text for node in nodes])
    assert sorted(node.embedding or [] for node in found) == sorted(expected.tolist())
    cached = CachedEncoder(encoder, tmp_path)
    cached.encode_documents(["cats purr", "dogs bark"])
    assert (cached.hits, cached.misses) == (2, 0)
