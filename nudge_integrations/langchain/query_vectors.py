"""Vectors of many queries from LangChain embeddings, which embed one query a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor

from nudge_integrations.corpus.texts import whole
from nudge_integrations.encoding.encoder import checked_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["QueryVectors"]

# Calls that a remote model is sent at once.
_AT_ONCE = 8


class QueryVectors:
    """Vectors of queries, each embedded once: those that are there stay, also where a call fails halfway.

    A remote model, one with an async path of its own for queries, is sent several calls at once.

    Args:
        embedding: The embeddings.
        encode: Embeds many queries in one call, where that is possible: texts to (m, d) vectors.
    """

    def __init__(self, embedding: Embeddings, encode: Callable[[Sequence[str]], object] | None = None) -> None:
        self._embedding = embedding
        self._encode = encode
        self._known: dict[str, NDArray[np.float32]] = {}

    def of(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the (m, d) float32 vectors of m queries.

        Raises:
            InputError: If the embeddings return no vector of numbers; names the query. What they raise is passed on,
                and asking again goes on where it stopped.
        """
        missing = self._missing(texts)
        if self._encode is not None:
            self._known |= zip(missing, checked_vectors(self._encode(missing), missing), strict=True)
        elif self._is_remote:
            pool = ThreadPoolExecutor(_AT_ONCE)
            try:
                for _ in pool.map(self._embed, missing):
                    pass
            finally:
                pool.shutdown(cancel_futures=True)
        else:
            for text in missing:
                self._embed(text)
        return self._vectors(texts)

    async def aof(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Do the same as `of` with the embeddings' own async path."""
        if not self._is_remote:
            return await run_in_executor(None, self.of, texts)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def embed(text: str) -> None:
            async with turns:
                self._keep(text, await self._embedding.aembed_query(whole(text)))

        tasks = [asyncio.create_task(embed(text)) for text in self._missing(texts)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return self._vectors(texts)

    @property
    def _is_remote(self) -> bool:
        return self._encode is None and type(self._embedding).aembed_query is not Embeddings.aembed_query

    def _missing(self, texts: Sequence[str]) -> list[str]:
        return [text for text in dict.fromkeys(texts) if text not in self._known]

    def _embed(self, text: str) -> None:
        self._keep(text, self._embedding.embed_query(whole(text)))

    def _keep(self, text: str, vector: object) -> None:
        self._known[text] = checked_vectors([vector], [text])[0]

    def _vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # Once more together: a remote model may change its width between two calls.
        return checked_vectors([self._known[text] for text in texts], texts)
