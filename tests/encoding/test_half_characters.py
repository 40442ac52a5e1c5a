"""Half a character in a text (a lone surrogate): no tokenizer takes one, so a model gets U+FFFD in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import TextNode
from numpy.typing import NDArray

from nudge_integrations import RetrievalDataset, langchain, llama_index
from nudge_integrations.encoding import CachedEncoder
from nudge_integrations.errors import DatasetError
from nudge_integrations.evaluation import read_run, write_run

HALF, WHOLE = "cats \ud83d", "cats \ufffd"
DATASET = RetrievalDataset({"d": "dogs", "c": "cows"}, {"q": "who barks?"}, {"q": {"d": 1}})


class Strict:
    """An encoder as a tokenizer is: it takes nothing that is no Unicode."""

    fingerprint = "strict"

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[len(text.encode()), 1.0] for text in texts], np.float32).reshape(-1, 2)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode_documents(texts)


def test_a_cached_encoder_embeds_the_text_with_the_replacement_character(tmp_path: Path) -> None:
    cached = CachedEncoder(Strict(), tmp_path)
    np.testing.assert_array_equal(cached.encode_documents([HALF]), Strict().encode_documents([WHOLE]))
    np.testing.assert_array_equal(cached.encode_queries([HALF]), Strict().encode_queries([WHOLE]))


def test_a_langchain_store_takes_documents_and_queries_with_half_a_character() -> None:
    store = langchain.NudgeVectorStore.from_texts([HALF, "dogs"], langchain.as_embedding(Strict()))
    asyncio.run(store.aadd_documents([Document(HALF, id="again")]))
    assert store.similarity_search(HALF, 1)[0].page_content.startswith("cats ")
    assert asyncio.run(store.asimilarity_search(HALF, 1))[0].page_content.startswith("cats ")
    assert len(store.max_marginal_relevance_search(HALF, 2)) == 2


def test_a_llama_index_retriever_takes_queries_with_half_a_character_and_a_fit_names_such_nodes() -> None:
    engine = llama_index.NudgeFinetuneEngine(DATASET, llama_index.as_embedding(Strict()))
    engine.finetune()
    retriever = engine.as_retriever(similarity_top_k=2)
    assert {hit.node_id for hit in retriever.retrieve(HALF)} == {"d", "c"}
    assert len(asyncio.run(retriever.aretrieve(HALF))) == 2
    nodes = [TextNode(id_=name, text=text) for name, text in {**DATASET.corpus, "h": HALF}.items()]
    broken = llama_index.NudgeFinetuneEngine(DATASET, llama_index.as_embedding(Strict()), nodes=nodes)
    with pytest.raises(DatasetError, match="half a character: 1: 'h'"):
        broken.finetune()


def test_an_id_with_half_a_character_is_kept_in_json_and_refused_in_columns(tmp_path: Path) -> None:
    run = {"q\ud800": ["d\ud800"]}
    write_run(run, tmp_path / "run.json")
    assert {query: list(ranking) for query, ranking in read_run(tmp_path / "run.json").items()} == run
    with pytest.raises(DatasetError, match="write JSON instead"):
        write_run(run, tmp_path / "run.trec")
    assert not (tmp_path / "run.trec").exists()
