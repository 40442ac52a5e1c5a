"""Embeddings in and out: a nudge as LangChain embeddings, our encoders as theirs, and theirs as ours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import as_rows
from nudge_integrations.encoding import Encoder, text_hash
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.index import with_extra_coordinate, with_zero_coordinate

if TYPE_CHECKING:
    from numpy.typing import NDArray

# How the fingerprints begin that stand for a framework's embeddings.
FRAMEWORKS = ("langchain:", "llama_index:")

__all__ = ["EmbeddingsEncoder", "EncoderEmbeddings", "NudgedEmbeddings", "as_embeddings", "check_model", "encoder_of"]


class NudgedEmbeddings(Embeddings):
    """Embeddings that give documents which moved their nudged vectors, and anything else what the base model gives.

    Documents are known by their text, so whatever embeds texts, any vector store or the indexing API, gets nudged
    vectors without knowing it, and embedding again cannot lose them. A text that was edited is a new text.

    Setup:
        Fit a nudge (``nudge_integrations.fit``) or load one (``Nudge.load``); no further package is needed.

    Key init args:
        base: Embeddings | Encoder
            The embeddings, or the encoder, that the nudge was fitted with.
        nudge: Nudge
            What moved.
        extra_coordinate: bool | None
            Serve vectors of one more coordinate, with which stores that rank by cosine or L2 rank by inner product,
            exactly. By default so for nudges whose ``similarity`` is ``"dot"``, and then right in every store; with
            False their vectors are right under inner product only (``check_store`` tells).

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
        InputError: If the nudge knows no texts, or the base is nudged already.
        MismatchError: If the base says that it is another model; on embedding, if a known text gets another vector.
    """

    def __init__(self, base: Embeddings | Encoder, nudge: Nudge, *, extra_coordinate: bool | None = None) -> None:
        base = as_embeddings(base)
        if isinstance(base, NudgedEmbeddings):
            raise InputError("the base embeddings are nudged already; give those that they stand on (.base)")
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
        self.nudge = nudge
        self.extra_coordinate = nudge.similarity == "dot" if extra_coordinate is None else extra_coordinate

    def __repr__(self) -> str:
        return f"NudgedEmbeddings({type(self.base).__name__}, {self.nudge!r}, extra_coordinate={self.extra_coordinate})"

    @property
    def fingerprint(self) -> str:
        """What these vectors depend on beside the base model: a name for caches, which changes with every refit."""
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
        return self._asked(self.base.embed_query(text))

    async def aembed_query(self, text: str) -> list[float]:
        """Do the same with the base model's own async path."""
        return self._asked(await self.base.aembed_query(text))

    def _placed(self, texts: Sequence[str], vectors: list[list[float]]) -> list[list[float]]:
        if not len(texts):
            return []
        placed = self.nudge.apply_texts([text_hash(text) for text in texts], vectors)
        if self.extra_coordinate:
            placed = with_extra_coordinate(placed, self.nudge.max_norm)
        rows: list[list[float]] = placed.tolist()
        return rows

    def _asked(self, vector: list[float]) -> list[float]:
        asked = self.nudge.transform_queries([vector])
        row: list[float] = (with_zero_coordinate(asked) if self.extra_coordinate else asked)[0].tolist()
        return row


class EncoderEmbeddings(Embeddings):
    """One of our encoders as LangChain embeddings.

    Args:
        encoder: Any ``Encoder``, such as a ``SentenceTransformerEncoder``.

    >>> embedding = EncoderEmbeddings(SentenceTransformerEncoder("all-MiniLM-L6-v2"))  # doctest: +SKIP
    >>> len(embedding.embed_query("who purrs?"))  # doctest: +SKIP
    384
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def __repr__(self) -> str:
        return f"EncoderEmbeddings({self.encoder!r})"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed n documents with the encoder's document prompt: n lists of d floats."""
        rows: list[list[float]] = self.encoder.encode_documents(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Embed a query with the encoder's query prompt: d floats."""
        row: list[float] = self.encoder.encode_queries([text])[0].tolist()
        return row


class EmbeddingsEncoder:
    """LangChain embeddings as one of our encoders, for `fit`.

    Args:
        embedding: Any LangChain embeddings. Where they have a ``fingerprint`` it is theirs; else their class and the
            name of their model stand for it, and a nudge recognises them by the vectors that they give.
    """

    def __init__(self, embedding: Embeddings) -> None:
        self.embedding = embedding

    @property
    def fingerprint(self) -> str:
        """What tells these embeddings from others."""
        given = getattr(self.embedding, "fingerprint", None)
        if isinstance(given, str):
            return given
        kind = type(self.embedding)
        names = (getattr(self.embedding, name, None) for name in ("model", "model_name", "model_id", "deployment"))
        name = next((name for name in names if isinstance(name, str)), "")
        return f"langchain:{kind.__module__}.{kind.__qualname__}:{name}"

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed documents, all in one call, which the embeddings may cut into batches; (n, d) float32."""
        return as_rows(self.embedding.embed_documents(list(texts)), "document vectors")

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed queries one by one through the query path, for which LangChain knows no batch; (m, d) float32."""
        return as_rows([self.embedding.embed_query(text) for text in texts], "query vectors")


def as_embeddings(model: Embeddings | Encoder) -> Embeddings:
    """Take embeddings as they are, and an encoder as `EncoderEmbeddings`.

    Raises:
        InputError: If it is neither.
    """
    if isinstance(model, Embeddings):
        return model
    if isinstance(model, Encoder):
        return EncoderEmbeddings(model)
    raise InputError(f"embedding is {model!r}, expected LangChain embeddings or an encoder")


def encoder_of(embedding: Embeddings) -> Encoder:
    """Return the encoder that embeddings stand on, or an encoder that stands on them.

    Raises:
        InputError: If they are nudged: every fit starts from base vectors.
    """
    if isinstance(embedding, NudgedEmbeddings):
        raise InputError("these embeddings are nudged; a fit starts from base vectors, so give it their .base")
    return embedding.encoder if isinstance(embedding, EncoderEmbeddings) else EmbeddingsEncoder(embedding)


def check_model(base: Embeddings, nudge: Nudge) -> None:
    """Refuse an encoder that a nudge was not made with.

    A framework's embeddings have no fingerprint of their weights; they are known by the vectors that they give.

    Raises:
        MismatchError: If the fingerprints differ.
    """
    if isinstance(base, EncoderEmbeddings) and not nudge.encoder.startswith(FRAMEWORKS):
        nudge.check_encoder(base.encoder)
