"""NudgedEmbeddings: LangChain embeddings that return nudged vectors, for any vector store or the indexing API."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor

from nudge_integrations.artifact import Nudge
from nudge_integrations.encoding import Encoder, text_hash
from nudge_integrations.encoding.encoder import checked_vectors
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.index import with_extra_coordinate, with_zero_coordinate
from nudge_integrations.langchain.encoder import as_embedding, check_model, checked_query

__all__ = ["NudgedEmbeddings"]


class NudgedEmbeddings(Embeddings):
    """Embeddings that give a known text its nudged vector, and any other text the base model's.

    A text is known by its content, so any vector store and the indexing API get nudged vectors, and embedding again
    keeps them. An edited text is a new one.

    Setup:
        Fit a nudge (``nudge_integrations.fit``) or load one (``Nudge.load``); no further package is needed.

    Key init args:
        base: Embeddings | Encoder
            The embeddings, or the encoder, that the nudge was fitted with.
        nudge: Nudge
            The nudge to serve texts with.
        extra_coordinate: bool | None
            Whether to add one coordinate, with which cosine, L2 and inner product all rank by inner product: vectors
            of d + 1 numbers. None adds it exactly where vectors have lengths that matter; with False such vectors are
            right under inner product only (``check_store`` checks a store).

    Instantiate:
        .. code-block:: python

            from nudge_integrations import Nudge
            from nudge_integrations.langchain import NudgedEmbeddings

            embedding = NudgedEmbeddings(base, Nudge.load("nudged"))

    Use:
        .. code-block:: python

            store = Chroma.from_documents(documents, embedding)

            # The indexing API skips texts that have not changed. After another fit the vectors have, so:
            index(documents, record_manager, store, force_update=True)

            # A cache must not outlive the nudge: its namespace is the fingerprint.
            cached = CacheBackedEmbeddings.from_bytes_store(embedding, files, namespace=embedding.fingerprint)

    Async:
        .. code-block:: python

            vectors = await embedding.aembed_documents(texts)
            vector = await embedding.aembed_query("who purrs?")

    Raises:
        DatasetError: If documents with the same text are in different places, so that texts cannot tell them apart.
        InputError: If the nudge has no texts, or the base is nudged already.
        MismatchError: If the nudge was made with another model; on embedding, if a known text gets another vector.
    """

    def __init__(self, base: Embeddings | Encoder, nudge: Nudge, *, extra_coordinate: bool | None = None) -> None:
        base = as_embedding(base)
        if isinstance(base, NudgedEmbeddings):
            raise InputError("the base embeddings are nudged already; give their own base embeddings (.base)")
        if len(nudge) and not nudge.text_hashes:
            raise InputError("this nudge knows its documents by id only; fit it with texts to find them by text")
        if nudge.ambiguous_texts:
            ids = next(iter(nudge.ambiguous_texts.values()))
            raise DatasetError(
                f"{len(nudge.ambiguous_texts)} texts belong to documents in different places ({', '.join(ids)}), so a "
                "text does not say which: fit with duplicates='merge' to move them as one, or search by id "
                "(NudgeRetriever, NudgeVectorStore)"
            )
        check_model(base, nudge)
        self.base = base
        self._nudge = nudge
        self.extra_coordinate = nudge.similarity == "dot" if extra_coordinate is None else extra_coordinate

    def __repr__(self) -> str:
        return f"NudgedEmbeddings({type(self.base).__name__}, {self.nudge!r}, extra_coordinate={self.extra_coordinate})"

    @property
    def nudge(self) -> Nudge:
        """The nudge that texts are served with."""
        return self._nudge

    @property
    def fingerprint(self) -> str:
        """A namespace for caches of these vectors, which changes with every refit."""
        return hashlib.sha256(f"{self.nudge.fingerprint}:{self.extra_coordinate}".encode()).hexdigest()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed n documents: nudged vectors for texts that moved, else base vectors of unit length.

        Returns:
            n lists of d floats; d + 1 with the extra coordinate.
        """
        return self._placed(texts, self.base.embed_documents(texts))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Do the same with the base model's own async path."""
        return await run_in_executor(None, self._placed, texts, await self.base.aembed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """Embed a query: as the base model does, through the nudge's query map if it has one.

        Returns:
            d floats; d + 1 with the extra coordinate.
        """
        return self._mapped(text, self.base.embed_query(text))

    async def aembed_query(self, text: str) -> list[float]:
        """Do the same with the base model's own async path."""
        return self._mapped(text, await self.base.aembed_query(text))

    def _placed(self, texts: Sequence[str], vectors: list[list[float]]) -> list[list[float]]:
        if not len(texts):
            return []
        base = checked_vectors(vectors, texts)
        placed = self.nudge.apply_texts([text_hash(text) for text in texts], base)
        if self.extra_coordinate:
            placed = with_extra_coordinate(placed, self.nudge.max_norm)
        rows: list[list[float]] = placed.tolist()
        return rows

    def _mapped(self, text: str, vector: list[float]) -> list[float]:
        mapped = self.nudge.transform_queries([checked_query(text, vector)])
        row: list[float] = (with_zero_coordinate(mapped) if self.extra_coordinate else mapped)[0].tolist()
        return row
