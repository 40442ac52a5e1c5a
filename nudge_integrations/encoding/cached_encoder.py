"""An encoder whose vectors are kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nudge_integrations.encoding.embedding_cache import EmbeddingCache, text_key
from nudge_integrations.encoding.encoder import Encoder, Role, Vectors, checked_texts, checked_vectors
from nudge_integrations.errors import InputError

__all__ = ["CachedEncoder"]

# How many texts are embedded before they are written to the cache: what a killed run loses at most.
FLUSH = 512


class CachedEncoder:
    """An encoder whose vectors are kept on disk, so that no text is embedded twice by one model in one role.

    Vectors are written as they are made: a run that is killed goes on where it was. Several processes may share a
    folder, and several models. Files hold numbers alone and nothing that could run.

    Args:
        encoder: The encoder that embeds what is not in the cache.
        cache_dir: The folder; created where it is absent.
        progress: Whether to show a bar over the texts that need embedding.

    Raises:
        InputError: The folder cannot be created; on encoding, the texts or the encoder's vectors are unusable.

    Example:
        >>> cached = CachedEncoder(encoder, "embeddings")  # doctest: +SKIP
        >>> cached.encode_documents(["cats purr", "cats purr"]).shape, cached.hits, cached.misses  # doctest: +SKIP
        ((2, 384), 0, 1)
    """

    def __init__(self, encoder: Encoder, cache_dir: str | Path, *, progress: bool = False) -> None:
        self.encoder = encoder
        self.progress = progress
        self.hits = 0  # texts that were read
        self.misses = 0  # texts that were embedded
        self._cache = EmbeddingCache(cache_dir, encoder.fingerprint)
        self._dimension: int | None = None  # known once something was embedded

    def __repr__(self) -> str:
        return f"CachedEncoder({self.encoder!r}, {str(self._cache.folder)!r}, hits={self.hits}, misses={self.misses})"

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the encoder itself: a cache changes no vector."""
        return self.encoder.fingerprint

    @property
    def similarity(self) -> str:
        """The similarity that ranks the encoder's vectors."""
        return getattr(self.encoder, "similarity", "cosine")

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed documents, or read them; (n, d) float32."""
        return self._through_cache("document", texts, self.encoder.encode_documents)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Embed queries, or read them; (m, d) float32."""
        return self._through_cache("query", texts, self.encoder.encode_queries)

    def _through_cache(self, role: Role, texts: Sequence[str], encode: Callable[[Sequence[str]], Vectors]) -> Vectors:
        texts = checked_texts(texts)
        if not len(texts):
            return np.asarray(encode([]), np.float32)
        keys = [text_key(role, text) for text in texts]
        vectors: dict[bytes, Vectors] = self._cache.read(keys, self._dimension)
        embedded: set[bytes] = set()
        # A second round only where vectors were read before the model's dimension was known, and have another.
        while missing := {key: text for key, text in zip(keys, texts, strict=True) if key not in vectors}:
            self._embed(role, missing, encode, vectors)
            embedded |= missing.keys()
            vectors = {key: vector for key, vector in vectors.items() if len(vector) == self._dimension}
        self.hits += sum(key not in embedded for key in keys)
        self.misses += len(embedded)
        return np.stack([vectors[key] for key in keys])

    def _embed(
        self,
        role: Role,
        missing: Mapping[bytes, str],
        encode: Callable[[Sequence[str]], Vectors],
        vectors: dict[bytes, Vectors],
    ) -> None:
        """Embed texts, write them to the cache and add them to the vectors."""
        what = "documents" if role == "document" else "queries"
        with tqdm(total=len(missing), desc=f"Embedding {what}", unit="text", disable=not self.progress) as bar:
            pending = list(missing)
            for start in range(0, len(pending), FLUSH):
                batch = pending[start : start + FLUSH]
                some = [missing[key] for key in batch]
                made = checked_vectors(encode(some), some)
                if self._dimension not in (None, made.shape[1]):
                    raise InputError(
                        f"the encoder gave vectors of {made.shape[1]} dimensions, and of {self._dimension} before; "
                        "one model has one dimension: give another model another fingerprint"
                    )
                self._dimension = made.shape[1]
                self._cache.append(batch, made)
                vectors.update(zip(batch, made, strict=True))
                bar.update(len(batch))
