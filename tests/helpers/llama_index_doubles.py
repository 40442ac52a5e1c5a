"""Doubles for the tests of the LlamaIndex edge: an embedding model that counts its calls, and labels it can learn."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings.multi_modal_base import MultiModalEmbedding
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.llms.custom import CustomLLM
from numpy.typing import NDArray

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.llama_index import NudgeFinetuneEngine

WIDTH = 32


@cache
def word_vector(word: str) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(WIDTH)


def words_vector(text: str) -> list[float]:
    """A vector that depends on a text's words alone; not of unit length."""
    total: list[float] = np.sum([word_vector(word) for word in text.lower().split() or [""]], axis=0).tolist()
    return total


class WordEmbedding(BaseEmbedding):
    """Texts with common words are near; queries may carry an instruction; every call is noted as (path, texts)."""

    query_instruction: str = ""
    _calls: list[tuple[str, list[str]]] = PrivateAttr(default_factory=list)

    @property
    def calls(self) -> list[tuple[str, list[str]]]:
        return self._calls

    def texts(self, path: str) -> list[str]:
        """All texts that went one path, in order."""
        return [text for name, texts in self._calls if name == path for text in texts]

    def _get_query_embedding(self, query: str) -> list[float]:
        self._calls.append(("query", [query]))
        return words_vector(f"{self.query_instruction} {query}" if self.query_instruction else query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        self._calls.append(("aquery", [query]))
        return words_vector(f"{self.query_instruction} {query}" if self.query_instruction else query)

    def _get_text_embedding(self, text: str) -> list[float]:
        self._calls.append(("text", [text]))
        return words_vector(text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        self._calls.append(("batch", list(texts)))
        return [words_vector(text) for text in texts]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        self._calls.append(("abatch", list(texts)))
        return [words_vector(text) for text in texts]


class SightEmbedding(WordEmbedding, MultiModalEmbedding):
    """The same with images: bytes are words too."""

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        content = img_file_path.getvalue() if isinstance(img_file_path, BytesIO) else str(img_file_path).encode()
        self._calls.append(("image", [content.decode()]))
        return words_vector(content.decode())

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._get_image_embedding(img_file_path)


class ScriptedLLM(CustomLLM):
    """Answers by the first key of the script that the prompt contains."""

    script: Mapping[str, str]
    _prompts: list[str] = PrivateAttr(default_factory=list)

    @property
    def prompts(self) -> list[str]:
        return self._prompts

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="scripted")

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        self._prompts.append(prompt)
        answer = next((answer for key, answer in self.script.items() if key in prompt), "")
        return CompletionResponse(text=answer)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        yield self.complete(prompt)


def labelled(
    documents: int = 40, answered: int = 10, queries: int = 6, *, seed: int = 0, prefix: str = ""
) -> RetrievalDataset:
    """Documents and queries without a common word; each query says its document's nickname among other words."""
    choose = random.Random(seed)  # noqa: S311  no secret
    words = [f"word{i}" for i in range(60)]
    corpus = {f"{prefix}d{i}": " ".join([f"{prefix}title{i}", *choose.sample(words, 5)]) for i in range(documents)}
    texts: dict[str, str] = {}
    qrels: dict[str, dict[str, float]] = {}
    for document in range(answered):
        for number in range(queries):
            query = f"{prefix}q{document}-{number}"
            texts[query] = f"{prefix}nickname{document} {prefix}nickname{document} ask{choose.randrange(50)} {number}"
            qrels[query] = {f"{prefix}d{document}": 1.0}
    return RetrievalDataset(corpus, texts, qrels)


def halves(dataset: RetrievalDataset) -> tuple[RetrievalDataset, RetrievalDataset]:
    """Two datasets over one corpus, with every second query each."""
    parts = []
    for start in (0, 1):
        ids = dataset.query_ids[start::2]
        queries = {query: dataset.queries[query] for query in ids}
        parts.append(RetrievalDataset(dataset.corpus, queries, {query: dataset.qrels[query] for query in ids}))
    return parts[0], parts[1]


def found(retriever: Any, text: str) -> list[str]:
    """Ids of the nodes that a retriever finds, best first."""
    return [hit.node.node_id for hit in retriever.retrieve(text)]


def unit(rows: Sequence[Sequence[float]] | NDArray[Any]) -> NDArray[np.float32]:
    array = np.asarray(rows, dtype=np.float64)
    return np.asarray(array / np.linalg.norm(array, axis=1, keepdims=True), dtype=np.float32)


def nudge_of(engine: NudgeFinetuneEngine) -> Nudge:
    """The nudge of an engine that was fitted."""
    assert engine.nudge is not None
    return engine.nudge
